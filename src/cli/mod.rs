//! One file per command of the contract: arguments in, calls, text or JSON out.

pub mod check;
pub mod send;

/// How a command failed: its exit code and what to tell.
#[derive(Debug)]
pub struct Exit {
    /// 1 failed, 2 configuration, usage or a refused start, 3 bad input.
    pub code: u8,
    /// One message per line; no stack trace, no secret.
    pub text: String,
}

impl Exit {
    /// The work could not be done.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// Bad configuration or usage, or a start that was refused.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// Bad input.
    pub fn input(text: impl Into<String>) -> Self {
        Self { code: 3, text: text.into() }
    }
}
