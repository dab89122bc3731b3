//! What may be seen of a secret.

/// What stands for a secret: never a part of it.
pub const SECRET: &str = "***";

/// A token's first four and last four characters, where it has at least 16; else nothing of it.
pub fn mask_token(token: &str) -> String {
    let count = token.chars().count();
    if count < 16 {
        return SECRET.to_owned();
    }
    let first: String = token.chars().take(4).collect();
    let last: String = token.chars().skip(count - 4).collect();
    format!("{first}…{last}")
}
