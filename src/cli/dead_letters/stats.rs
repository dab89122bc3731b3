//! `postback dead-letters stats`: counts.

use super::search::{self, Selection};
use crate::cli::{print, print_json, table};
use crate::exit::Exit;
use crate::inspect::dead_letters::index::Stats;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    let scan = search::all(&args.selection.reach.config()?)?;
    let stats = scan.index().stats(&args.selection.filter, args.selection.all);
    if args.json { print_json(&stats) } else { print(&text(&stats)) }
}

fn text(stats: &Stats) -> String {
    if stats.total == 0 {
        return "no dead letters\n".to_owned();
    }
    let headings = ["REASON", "PLATFORM", "ACCOUNT", "COUNT", "OPEN", "OLDEST", "NEWEST"];
    let mut rows: Vec<Vec<String>> = stats
        .counts
        .iter()
        .map(|c| {
            let name = |text: &Option<String>| text.clone().unwrap_or_default();
            let (oldest, newest) = (table::time(Some(c.oldest)), table::time(Some(c.newest)));
            let numbers = [c.count, c.open].map(|number| number.to_string());
            [c.reason.clone(), name(&c.platform), name(&c.account)]
                .into_iter()
                .chain(numbers)
                .chain([oldest, newest])
                .collect()
        })
        .collect();
    let mut total = ["total", " ", " "].map(str::to_owned).to_vec();
    total.extend([stats.total, stats.open].map(|number| number.to_string()));
    total.extend([table::time(stats.oldest), table::time(stats.newest)]);
    rows.push(total);
    let states = format!("{} open, {} replayed, {} discarded\n", stats.open, stats.replayed, stats.discarded);
    table::render(&headings, &rows) + &states
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::Filter;
    use crate::inspect::dead_letters::index::Index;
    use crate::inspect::dead_letters::tests::letter;

    #[test]
    fn stats_end_in_a_line_of_totals_and_one_of_states() {
        let of =
            |offset, reason| letter(0, offset, &[("account", "a"), ("reason", reason), ("failed-at", "1736956740000")]);
        let mut index = Index::default();
        index.begin(0, 1);
        index.newer(0, 4, &[of(1, "invalid"), of(2, "invalid"), of(3, "expired")]);
        index.set_replayed(0, 0, &[0x40]);
        let text = text(&index.stats(&Filter::default(), false));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].starts_with("invalid  -         a        2      1     2025-01-15T"), "{text}");
        let total: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(total[..3], ["total", "3", "2"]);
        assert_eq!(lines[4], "2 open, 1 replayed, 0 discarded");
    }
}
