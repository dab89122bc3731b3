//! Hides secrets.

/// The text that replaces a secret. It never contains a part of the secret.
pub const SECRET: &str = "***";

/// Shows the first four and the last four characters of a token with at least 16; a shorter token is hidden completely.
pub fn mask_token(token: &str) -> String {
    let count = token.chars().count();
    if count < 16 {
        return SECRET.to_owned();
    }
    let first: String = token.chars().take(4).collect();
    let last: String = token.chars().skip(count - 4).collect();
    format!("{first}…{last}")
}
