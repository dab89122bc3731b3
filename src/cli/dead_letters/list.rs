//! `postback dead-letters list`: one line per dead letter, newest first.

use super::search::{self, Found, Selection};
use crate::cli::{print, table};
use crate::exit::Exit;
use crate::inspect::dead_letters::{DeadLetter, Export, State, object};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// For another program or a spreadsheet, masked: all that match
    #[arg(long, value_enum, conflicts_with = "json")]
    export: Option<Export>,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    let (filter, all) = (&args.selection.filter, args.selection.all);
    let scan = search::enough(&args.selection.reach.config()?, filter, all)?;
    let mut out = match args.export {
        Some(export) => Out::Export { export, any: false },
        None if args.json => Out::Json { any: false },
        None => Out::Table(table::Wide::new(&HEADINGS)),
    };
    search::each_page(&scan, filter, all, &mut |page| print(&out.page(&letters(page))))?;
    print(&out.end())
}

fn letters(page: &[Found]) -> Vec<(DeadLetter, State)> {
    page.iter().map(|(record, state)| (DeadLetter::read(record), *state)).collect()
}

const HEADINGS: [&str; 10] =
    ["AT", "FAILED", "ACCOUNT", "EVENT", "TRANS_ID", "REASON", "FIELD", "CODE", "STATE", "DETAIL"];

/// Writes the pages one after the other.
enum Out {
    Table(table::Wide),
    Json { any: bool },
    Export { export: Export, any: bool },
}

impl Out {
    fn page(&mut self, letters: &[(DeadLetter, State)]) -> String {
        match self {
            Out::Table(table) => table.rows(&letters.iter().map(row).collect::<Vec<_>>()),
            Out::Export { export, any } => export.lines(letters, !std::mem::replace(any, true)),
            Out::Json { any } => {
                let mut text = String::new();
                for (letter, state) in letters {
                    text.push_str(if std::mem::replace(any, true) { ",\n" } else { "[\n" });
                    text.push_str(&serde_json::to_string_pretty(&object(letter, *state)).unwrap_or_default());
                }
                text
            }
        }
    }

    fn end(&self) -> String {
        match self {
            Out::Table(table) if table.is_empty() => "no dead letters\n",
            Out::Export { export, any: false } => return export.lines(&[], true),
            Out::Table(_) | Out::Export { .. } => "",
            Out::Json { any: false } => "[]\n",
            Out::Json { any: true } => "\n]\n",
        }
        .to_owned()
    }
}

fn row((letter, state): &(DeadLetter, State)) -> Vec<String> {
    let text = |name| letter.text(name).unwrap_or_default().to_owned();
    let at = format!("{}:{}", letter.partition, letter.offset);
    let mut row = vec![at, table::time(Some(letter.failed_at_ms()))];
    row.extend(["account", "event", "trans-id", "reason", "field", "last-code"].map(text));
    row.extend([state.as_str().to_owned(), text("detail")]);
    row
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::inspect::dead_letters::tests::letter;

    fn personal(offset: i64) -> (DeadLetter, State) {
        let headers = [
            ("account", "acme-ps"),
            ("trans-id", "t-1"),
            ("reason", "rejected"),
            ("last-code", "3"),
            ("detail", "no such user 13812345678"),
            ("failed-at", "1736956740000"),
        ];
        (letter(3, offset, &headers), State::Open)
    }

    #[test]
    fn a_table_has_one_line_per_letter_and_masks_what_is_personal() {
        let mut out = Out::Table(table::Wide::new(&HEADINGS));
        assert_eq!(out.end(), "no dead letters\n");
        let text = out.page(&[personal(7)]) + &out.page(&[personal(1_000_000)]) + &out.end();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("3:7  2025-01-15T15:59:00Z  acme-ps  -"), "{text}");
        assert!(lines[1].ends_with("open   no such user 138****5678"), "{text}");
    }

    #[test]
    fn an_export_has_its_headings_once_also_where_nothing_matches() {
        let mut out = Out::Export { export: Export::Csv, any: false };
        assert!(out.end().starts_with("partition,offset,state"), "{}", out.end());
        let text = out.page(&[personal(7)]) + &out.page(&[personal(8)]) + &out.end();
        assert_eq!((text.matches("partition,offset").count(), text.lines().count()), (1, 3), "{text}");
        assert_eq!(Out::Export { export: Export::Jsonl, any: false }.end(), "");
    }

    #[test]
    fn json_is_one_array_over_all_pages() {
        let mut out = Out::Json { any: false };
        assert_eq!(out.end(), "[]\n");
        let text = out.page(&[personal(7)]) + &out.page(&[personal(8)]) + &out.end();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json[0]["offset"], &json[1]["offset"], &json[1]["state"]), (&7.into(), &8.into(), &"open".into()));
        assert!(!text.contains("13812345678"), "{text}");
    }
}
