//! How a command ends: its runtime, its exit code, and its message.

/// How a command failed: its exit code and its message.
#[derive(Debug)]
pub struct Exit {
    /// 1 failed; 2 bad configuration or usage, or a refused start; 3 bad input.
    pub code: u8,
    /// One message per line, without a stack trace and without secrets.
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

    pub fn input(text: impl Into<String>) -> Self {
        Self { code: 3, text: text.into() }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Exit {}

/// An [`Exit`] that was passed on as an error keeps its code. Any other error means that the work could not be done.
impl From<anyhow::Error> for Exit {
    fn from(error: anyhow::Error) -> Self {
        let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
        Self { code, text: format!("{error:#}") }
    }
}

/// Runs a command's work on a runtime of its own.
///
/// # Errors
/// The error of the work, or 1 if no runtime can be made.
pub fn block_on<T>(work: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Exit::failed(format!("no runtime: {e}")))?;
    let result = runtime.block_on(work);
    // A blocking call that hangs must not keep the process alive.
    runtime.shutdown_background();
    result
}
