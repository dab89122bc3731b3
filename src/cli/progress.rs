//! Shows a progress bar on a terminal for work that takes long.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The bar appears after this time; shorter work shows nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// A progress bar. It disappears when it is dropped.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// A bar that counts. `what` stands behind the numbers, e.g. `records read`.
    pub fn new(what: &str) -> Self {
        let style = ProgressStyle::with_template("[{bar:20}] {pos} of {len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("## ");
        Self { bar: ProgressBar::new(0).with_style(style).with_message(what.to_owned()), began: Instant::now() }
    }

    /// Whether the bar is hidden, because nobody would see it.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Shows that `done` of `total` is done.
    pub fn at(&self, done: u64, total: u64) {
        if self.began.elapsed() > PATIENCE {
            self.bar.set_length(total);
            self.bar.set_position(done);
        }
    }

    /// Shows that `done` of `total` is done, and this text behind it, from the beginning on.
    pub fn say(&self, done: u64, total: u64, text: String) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
