//! Writes to standard error. On a terminal it redraws the dashboard below the news; in a pipe it writes lines.

use std::io::Write as _;
use std::time::{Duration, Instant};

use comfy_table::{ContentArrangement, Table, presets};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::dashboard::Dashboard;

/// Time between two redraws of the dashboard on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Time between two lines in a pipe.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// The largest width of a paragraph.
const WIDEST: u16 = 110;

pub struct Screen {
    /// `None`: the output is a pipe and gets lines.
    bar: Option<ProgressBar>,
    last: Option<Instant>,
    line: String,
}

impl Screen {
    /// Writes to standard error as it is. The bar ends at `total` where the total is known.
    pub fn new(total: Option<u64>) -> Self {
        let target = ProgressDrawTarget::stderr();
        // indicatif hides the bar in a pipe, and on a terminal that cannot move its cursor.
        let live = !target.is_hidden();
        Self { bar: live.then(|| bar(target, total)), last: None, line: String::new() }
    }

    /// Prints text that stays in place; whatever follows is drawn below it.
    pub fn print(&self, text: &str) {
        // The demo goes on when nobody reads its output any more.
        let put = || drop(writeln!(std::io::stderr().lock(), "{text}"));
        match &self.bar {
            Some(bar) => bar.suspend(put),
            None => put(),
        }
    }

    /// Prints a paragraph as wide as the terminal.
    pub fn paragraph(&self, text: &str) {
        let width = if self.bar.is_some() { width().min(WIDEST) } else { WIDEST };
        self.print(&wrapped([text], width));
    }

    /// Prints news: `text` happened `at` this time of the run.
    pub fn tell(&self, at: &str, text: &str) {
        match self.bar {
            Some(_) => self.print(&wrapped([at, text], width())),
            None => self.print(&format!("{at}  {text}")),
        }
    }

    /// Shows the dashboard if it is time.
    pub fn show(&mut self, dashboard: impl FnOnce() -> Dashboard) {
        let every = if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
        if self.last.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.last = Some(Instant::now());
        match &self.bar {
            Some(bar) => draw(bar, &dashboard(), width(), console::colors_enabled_stderr()),
            None => {
                let line = dashboard().line();
                // The last line may follow at once.
                if line != self.line {
                    self.print(&line);
                    self.line = line;
                }
            }
        }
    }

    /// Shows the last state in full. Later output is printed below it.
    pub fn close(&mut self, dashboard: Dashboard) {
        self.last = None;
        self.show(|| dashboard);
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }
}

fn width() -> u16 {
    Term::stderr().size().1
}

fn bar(target: ProgressDrawTarget, total: Option<u64>) -> ProgressBar {
    let template = if total.is_some() { "{prefix:.bold}  [{bar:20}]  {msg}" } else { "{prefix:.bold}  {msg}" };
    // A test parses both templates.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(total, target).with_style(style.progress_chars("#--"))
}

fn draw(bar: &ProgressBar, dashboard: &Dashboard, width: u16, colors: bool) {
    let mut text = dashboard.headline();
    for line in dashboard.lines(width, colors) {
        text.push('\n');
        text.push_str(&line);
    }
    bar.set_prefix(dashboard.clock());
    bar.set_position(dashboard.published);
    bar.set_message(text);
}

/// Lays out columns two spaces apart; wraps the last one so that no line is longer than `width`.
fn wrapped<const N: usize>(cells: [&str; N], width: u16) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.add_row(cells);
    for column in table.column_iter_mut() {
        column.set_padding((0, if column.index + 1 == N { 0 } else { 2 }));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::super::dashboard::tests::dashboard;
    use super::*;

    /// Returns the content of a terminal of this size after the news and the dashboard.
    fn shown(width: u16, height: u16, news: usize) -> String {
        let terminal = InMemoryTerm::new(height, width);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let bar = bar(target, dashboard().total);
        draw(&bar, &dashboard(), width, false);
        for n in 0..news {
            bar.println(wrapped([&format!("00:{n:02}"), &"demo-360-ps: something happened ".repeat(4)], width));
        }
        draw(&bar, &dashboard(), width, false);
        terminal.contents()
    }

    #[test]
    fn the_live_view_fits_every_terminal() {
        for (width, height) in [(80, 24), (120, 50), (40, 10), (20, 4)] {
            let text = shown(width, height, 30);
            let last = text.lines().position(|line| line.contains("01:12"));
            assert!(last.is_some(), "the view begins above {width}x{height}:\n{text}");
        }
    }

    #[test]
    fn the_newest_news_stay_and_every_account_shows() {
        let text = shown(80, 24, 30);
        for part in
            ["00:29", "demo-360-zs", "halted", "refuses the secret", "invalid 60, conflict 3", "8,400 of 20,000"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.contains("01:12  [########------------]  8,400 of 20,000 published, 240/s delivered"), "{text}");
    }

    #[test]
    fn a_run_without_an_end_has_no_bar() {
        let terminal = InMemoryTerm::new(24, 80);
        let bar = bar(ProgressDrawTarget::term_like(Box::new(terminal.clone())), None);
        draw(&bar, &Dashboard { total: None, ..dashboard() }, 80, false);
        assert!(
            terminal.contents().starts_with("01:12  8,400 published, 240/s delivered\n"),
            "{}",
            terminal.contents()
        );
    }

    #[test]
    fn a_text_that_goes_on_begins_below_itself_and_chinese_takes_two_columns() {
        assert_eq!(wrapped(["00:01", "one two three"], 15), "00:01  one two\n       three");
        assert_eq!(wrapped(["百助 x y"], 6), "百助 x\ny");
    }
}
