//! What to say of a file that cannot be read.

use std::io::{Error, ErrorKind};

/// That a file cannot be read, why, and what to do.
pub fn why(error: &Error) -> String {
    let advice = match error.kind() {
        ErrorKind::NotFound => "; correct the path or make the file",
        ErrorKind::PermissionDenied => "; let the user that runs this command read it",
        ErrorKind::IsADirectory => "; name a file in it",
        ErrorKind::InvalidData => "; save it as UTF-8",
        _ => "",
    };
    format!("cannot be read: {error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_to_do() {
        for (kind, advice) in [
            (ErrorKind::NotFound, "correct the path"),
            (ErrorKind::PermissionDenied, "let the user"),
            (ErrorKind::IsADirectory, "name a file"),
            (ErrorKind::InvalidData, "save it as UTF-8"),
        ] {
            let said = why(&kind.into());
            assert!(said.starts_with("cannot be read: ") && said.contains(&format!("; {advice}")), "{said}");
        }
        assert_eq!(why(&Error::other("the disk is broken")), "cannot be read: the disk is broken");
    }
}
