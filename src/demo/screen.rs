//! Standard error as a terminal that is redrawn in place, or as a pipe that gets lines.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::dashboard::Picture;
use super::layout::wrap;

/// Between two pictures on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Between two lines in a pipe.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// News that are kept for the picture.
const NEWS: usize = 12;

/// The screen.
pub struct Screen {
    live: bool,
    colors: bool,
    drawn: usize,
    last: Option<Instant>,
    news: Vec<String>,
}

impl Screen {
    /// Standard error as it is.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = std::io::stderr().is_terminal() && !dumb;
        Self { live, colors: live && std::env::var_os("NO_COLOR").is_none(), drawn: 0, last: None, news: Vec::new() }
    }

    /// Text that stays where it is, above whatever comes.
    pub fn print(&mut self, text: &str) {
        self.put(&format!("{}{text}\n", self.back()));
        self.drawn = 0;
    }

    /// Something has happened.
    pub fn tell(&mut self, text: String) {
        if self.live {
            if self.news.len() == NEWS {
                self.news.remove(0);
            }
            self.news.push(text);
            self.last = None;
        } else {
            self.put(&format!("{text}\n"));
        }
    }

    /// Shows the picture, if it is time.
    pub fn show(&mut self, picture: impl FnOnce() -> Picture) {
        let every = if self.live { DRAW_EVERY } else { LINE_EVERY };
        if self.last.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.last = Some(Instant::now());
        let mut picture = picture();
        if self.live {
            picture.news.clone_from(&self.news);
            self.draw(&picture);
        } else {
            self.put(&format!("{}\n", picture.line()));
        }
    }

    /// The last picture, in full.
    pub fn close(&mut self, picture: Picture) {
        self.last = None;
        self.show(|| picture);
        self.drawn = 0;
    }

    fn draw(&mut self, picture: &Picture) {
        let (width, height) = size();
        // The last row stays free, or the line break after it would scroll.
        let lines = picture.draw(width, height.saturating_sub(1), self.colors);
        let mut text = self.back();
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.put(&text);
        self.drawn = lines.len();
    }

    /// To the first line that was drawn last, and everything from there on cleared.
    fn back(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\r\x1b[{}A\x1b[0J", self.drawn) }
    }

    fn put(&self, text: &str) {
        // A reader that has gone is no reason to stop.
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A paragraph as wide as the terminal.
    pub fn paragraph(&mut self, text: &str) {
        let width = if self.live { size().0.min(110) } else { 110 };
        self.print(&wrap(text, width, 0).join("\n"));
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// Columns and rows of the terminal behind standard error.
fn size() -> (usize, usize) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call only fills the struct it is given.
    let known = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) } == 0;
    if known && size.ws_col > 0 && size.ws_row > 0 { (size.ws_col.into(), size.ws_row.into()) } else { (80, 24) }
}
