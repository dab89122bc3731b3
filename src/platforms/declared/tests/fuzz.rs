//! Files that somebody broke: each has problems with a place, or is a platform; none ends the process.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::super::program::compile;
use crate::config::problem::Place;

const FILES: usize = 10_000;

/// What people and editors put where it does not belong.
const PIECES: [&str; 40] = [
    "\"",
    "'",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "|",
    "=",
    ".",
    ",",
    "\n",
    "\\",
    "\u{0}",
    "汉",
    "\u{feff}",
    " is ",
    " not ",
    " and ",
    "{{ event",
    "| md5",
    "| fen",
    "true",
    "-1",
    "1e400",
    "99999999999999999999",
    "[answer]",
    "[[request]]",
    "request = 5",
    "{% for x in range(1000000) %}{% endfor %}",
    "account.",
    "(",
    ")",
    "~",
    "{{ items }}",
];

fn broken(random: &mut StdRng, files: &[&str]) -> String {
    let mut text: Vec<char> = files.choose(random).copied().unwrap_or_default().chars().collect();
    for _ in 0..random.random_range(1..4) {
        let from = random.random_range(0..text.len().max(1));
        let until = (from + random.random_range(0..24)).min(text.len());
        match random.random_range(0..4) {
            0 => drop(text.drain(from..until)),
            1 => {
                let piece: Vec<char> = PIECES.choose(random).copied().unwrap_or_default().chars().collect();
                text.splice(from..from, piece);
            }
            2 => {
                let copied: Vec<char> = text[from..until].to_vec();
                let to = random.random_range(0..=text.len());
                text.splice(to..to, copied);
            }
            _ => text.truncate(from),
        }
    }
    text.into_iter().collect()
}

#[test]
fn ten_thousand_broken_files_have_problems_with_a_place() {
    let mut random = StdRng::seed_from_u64(18);
    let files = super::super::tests::FILES_TO_BREAK;
    let mut refused = 0;
    for number in 0..FILES {
        let text = broken(&mut random, files);
        if let Err(found) = compile("p.toml", &text) {
            refused += 1;
            assert!(!found.problems.is_empty(), "{number}: {text}");
            for problem in &found.problems {
                assert!(matches!(&problem.place, Place::File(file, _) if &**file == "p.toml"), "{number}: {problem}");
                assert!(!problem.reason.is_empty() && !problem.to_string().contains('\n'), "{number}: {problem}");
            }
        }
    }
    assert!(refused > FILES / 4, "only {refused} of {FILES} were refused");
}

#[test]
fn a_template_without_end_stops() {
    use super::account::{sender, sent};
    let platform = "name = \"loop\"\ntitle = \"L\"\nbase_url = \"https://l.example.com\"\n[events]\npay = 1\n[[request]]\nurl = \"/x\"\n\
                    body = \"{% for x in range(9999) %}{% for y in range(9999) %}{{ event.trans_id * 99 }}{% endfor %}{% endfor %}\"\n\
                    [answer]\ndelivered = \"true\"\n";
    let sender = sender(platform, "");
    let (_, detail) = sent(&*sender, serde_json::json!({})).unwrap_err();
    assert!(detail.contains("fuel"), "{detail}");
}
