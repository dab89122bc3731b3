//! A bar on a terminal for work that takes its time.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// The bar; it goes when this is dropped.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// Of what is counted, in words that follow the numbers: `records read`.
    pub fn new(what: &str) -> Self {
        let style = ProgressStyle::with_template("[{bar:20}] {pos} of {len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("## ");
        Self { bar: ProgressBar::new(0).with_style(style).with_message(what.to_owned()), began: Instant::now() }
    }

    /// Whether anybody sees it.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// So much is done.
    pub fn at(&self, done: u64, total: u64) {
        if self.began.elapsed() > PATIENCE {
            self.bar.set_length(total);
            self.bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
