//! `postback dead-letters show`: one dead letter in full.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::search;
use crate::cli::reach::Reach;
use crate::cli::reading;
use crate::cli::{preview, print, print_bytes, print_json};
use crate::clock::now_ms;
use crate::envelope::own_headers;
use crate::exit::Exit;
use crate::inspect::dead_letters::{DeadLetter, Filter, Full, State, Today, advice, meaning, place, scan};
use crate::inspect::preview::{Preview, Previewer};
use crate::kafka::record::{Header, Record};
use crate::kafka::scan::Span;
use crate::redact::{mask_event, mask_fields, mask_header, mask_text};
use crate::settings::Config;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// PARTITION:OFFSET as `list` prints it, or a trans_id, also one that looks like a place where nothing lies there
    #[arg(value_name = "PARTITION:OFFSET|TRANS_ID")]
    which: String,
    /// One JSON array instead of text
    #[arg(long)]
    json: bool,
    /// The stored bytes of the event alone, unmasked
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    let config = args.reach.config()?;
    let found = find(&config, &args.which)?;
    if args.raw {
        return raw(&found.iter().map(|(record, _)| record).collect::<Vec<_>>());
    }
    let previewer =
        Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix).knowing(&config.platforms);
    let shown: Vec<Shown> =
        found.iter().map(|(record, state)| Shown::new(record, *state, &previewer, now_ms())).collect();
    if args.json {
        return print_json(&shown.iter().map(|shown| &shown.full).collect::<Vec<_>>());
    }
    print(&shown.iter().map(Shown::text).collect::<Vec<_>>().join("\n"))
}

/// Writes the stored bytes of the value alone.
fn raw(records: &[&Record]) -> Result<(), Exit> {
    let [record] = records else {
        let places: Vec<String> = records.iter().map(|r| format!("{}:{}", r.partition, r.offset)).collect();
        let text = format!("several dead letters have this trans_id: name one of them, {}", places.join(", "));
        return Err(Exit::usage(text));
    };
    let letter = DeadLetter::read(record);
    match &record.value {
        Some(value) if letter.text("truncated").is_none() => print_bytes(value),
        Some(_) => Err(Exit::failed(format!(
            "{}:{} holds only the SHA-256 of the value, because the broker refused the value by its size",
            record.partition, record.offset
        ))),
        None => Err(Exit::failed(format!("{}:{} has no value", record.partition, record.offset))),
    }
}

/// Finds the record at this place, or else the dead letters of the event with this name. A trans_id may look like a
/// place.
fn find(config: &Config, which: &str) -> Result<Vec<(Record, Option<State>)>, Exit> {
    let spans = reading::dead_letters(config)?;
    let place = place(which);
    if let Some((partition, offset)) = place {
        let found = find_place(config, &spans, partition, offset)?;
        if !found.is_empty() {
            return Ok(with_states(config, found));
        }
    }
    let found = find_event(config, which)?;
    if found.is_empty() {
        return Err(Exit::failed(nothing(&config.kafka.dead_letter, which, place.is_some())));
    }
    Ok(found)
}

/// Without Redis the letter is shown without its state.
fn with_states(config: &Config, records: Vec<Record>) -> Vec<(Record, Option<State>)> {
    let letters: Vec<DeadLetter> = records.iter().map(DeadLetter::read).collect();
    let known = scan::states(&search::source(config), &letters);
    let states = known.unwrap_or_else(|why| {
        eprintln!("warning: whether it was replayed or discarded is not known: {why}");
        Vec::new()
    });
    let mut states = states.into_iter();
    records.into_iter().map(|record| (record, states.next())).collect()
}

fn nothing(topic: &str, which: &str, is_place: bool) -> String {
    let shown = mask_text(which);
    let place = if is_place {
        format!("no record at {shown} (never written, or deleted by retention), and ")
    } else {
        String::new()
    };
    format!("topic {topic} has {place}no dead letter of {shown}; `postback trace {shown}` looks everywhere")
}

fn find_place(config: &Config, spans: &[Span], partition: i32, offset: i64) -> Result<Vec<Record>, Exit> {
    let here = spans.iter().filter(|span| span.partition == partition && (span.from..span.end).contains(&offset));
    let one = here.map(|span| Span { from: offset, end: offset + 1, ..span.clone() }).collect();
    let found = Mutex::new(Vec::new());
    reading::read(config, one, &|record| found.lock().unwrap_or_else(PoisonError::into_inner).push(record))?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Finds the newest dead letter of each origin of this event.
fn find_event(config: &Config, trans_id: &str) -> Result<Vec<(Record, Option<State>)>, Exit> {
    let filter = Filter { trans_id: Some(trans_id.to_owned()), ..Filter::default() };
    let mut found = Vec::new();
    let scan = search::all(config)?;
    search::each_page(&scan, &filter, false, &mut |page| {
        found.extend(page.iter().map(|(record, state)| (record.clone(), Some(*state))));
        Ok(())
    })?;
    Ok(found)
}

/// A dead letter with everything that the command says about it.
struct Shown {
    letter: DeadLetter,
    producer: Vec<(String, String)>,
    key: Option<String>,
    event: Value,
    today: Today,
    full: Full,
}

impl Shown {
    fn new(record: &Record, state: Option<State>, previewer: &Previewer, now_ms: i64) -> Self {
        let producer = &record.headers[..record.headers.len() - own_headers(record).len()];
        let today = Today::of(record, previewer, now_ms);
        Self {
            letter: DeadLetter::read(record),
            producer: producer.iter().map(header).collect(),
            key: record.key.as_deref().map(|key| mask_text(&String::from_utf8_lossy(key)).into_owned()),
            event: mask_event(record.value.as_deref().unwrap_or_default()),
            full: Full::new(record, state, &today),
            today,
        }
    }

    fn text(&self) -> String {
        let letter = &self.letter;
        let state = self.full.item.state.map(|state| format!(", {}", state.as_str())).unwrap_or_default();
        let mut text = format!("dead letter {}:{}{state}\n", letter.partition, letter.offset);
        for (name, value) in letter.lines() {
            text.push_str(&format!("  {name:<20} {}{}\n", one_line(&value), self.note(&name)));
        }
        if let Some(key) = &self.key {
            text.push_str(&format!("\nkey\n  {}\n", one_line(key)));
        }
        if !self.producer.is_empty() {
            text.push_str("\nthe producer's headers\n");
            for (name, value) in &self.producer {
                text.push_str(&format!("  {}: {}\n", one_line(name), one_line(value)));
            }
        }
        let event = match &self.event {
            Value::String(bytes) => bytes.clone(),
            value => serde_json::to_string_pretty(value).unwrap_or_default(),
        };
        text.push_str(&format!("\nevent\n{}\n", indented(&event)));
        if let Some(reason) = letter.reason() {
            text.push_str(&format!("\nwhat {} means\n  {}\n", reason.as_str(), meaning(reason)));
            text.push_str(&format!("\nwhat to do\n  {}\n", advice(reason)));
        }
        let today = match &self.today {
            Today::Truncated(why) => why.clone(),
            Today::Preview(Preview::Halted(why)) => format!("none: {why}: the account would halt"),
            Today::Preview(Preview::Refused(refused)) => preview::tell(refused).trim_end().to_owned(),
            Today::Preview(Preview::Accepted(accepted)) => {
                let request = &accepted.request;
                let headers: Vec<String> =
                    request.headers(false).map(|(name, value)| format!("{name}: {value}")).collect();
                let (url, body) = (request.url(false), mask_fields(&request.text(false).unwrap_or_default()));
                format!("{} {}\n{}\n\n{body}", request.request.method, mask_fields(&url), headers.join("\n"))
            }
        };
        text.push_str(&format!("\nthe request it would cause today\n{}\n", indented(&today)));
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
    }

    /// Explains a header that holds a moment: the time in words, to stand behind the number.
    fn note(&self, header: &str) -> String {
        let is_moment = ["pb-first-seen", "pb-first-attempt", "pb-failed-at", "pb-origin-timestamp"].contains(&header);
        let moment = header.strip_prefix("pb-").filter(|_| is_moment).and_then(|name| self.letter.number(name));
        moment.map(|ms| format!("  ({})", crate::cli::table::time(Some(ms)))).unwrap_or_default()
    }
}

fn header(header: &Header) -> (String, String) {
    let value = match &header.value {
        None => "null".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => mask_header(&header.name, text),
            Err(_) => format!("({} bytes that are no text)", bytes.len()),
        },
    };
    (mask_text(&header.name).into_owned(), value)
}

/// The text with its line breaks and other control characters escaped, so that none looks like a further header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::tests::record;

    fn shown(value: &str, headers: &[(&str, &str)]) -> Shown {
        let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let mut record = record(1, 2, headers);
        record.value = Some(value.to_owned().into());
        Shown::new(
            &record,
            Some(State::Open),
            &Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix),
            1_736_899_201_000,
        )
    }

    const EVENT: &str = r#"{"trans_id":"t-1","platform":"qihoo360","account":"demo-360-ps","event_type":"order",
        "event_time_ms":1736899200123,"click":{"qhclickid":"a1b2c3d4e5f60718"},
        "user":{"user_id":"user-0001-of-li","phone":"13812345678"}}"#;

    #[test]
    fn a_letter_shows_everything_and_nothing_personal() {
        let shown = shown(EVENT, &[("reason", "rejected"), ("last-code", "3"), ("failed-at", "1736956740000")]);
        let text = shown.text();
        for part in [
            "dead letter 1:2",
            "pb-last-code         3",
            "pb-failed-at         1736956740000  (2025-01-15T15:59:00Z)",
            "pb-reason: a producer's own",
            "138****5678",
            "what rejected means\n  the platform refused it for good",
            "what to do\n  Read pb-last-code",
            "POST http://127.0.0.1:9470/uploadWebConvert",
            "\"request_time\":1736899201",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        let json = serde_json::to_value(&shown.full).unwrap().to_string();
        for raw in ["13812345678", "user-0001-of-li", "d41d8cd98f00b204"] {
            assert!(!text.contains(raw) && !json.contains(raw), "{raw} in\n{text}{json}");
        }
        assert_eq!(serde_json::to_value(&shown.full).unwrap()["today"]["accepted"], true);
    }

    #[test]
    fn ids_that_are_short_escaped_or_numbers_are_masked_in_the_request_and_moments_stay() {
        let of = |id: &str| EVENT.replace("user-0001-of-li", id).replace("\"phone\":", "\"age\":1736899201,\"phone\":");
        for (id, raw) in
            [("li", "\"li\""), ("a\\\"bcdef", "bcdef"), ("1736899201", "\"1736899201\""), ("张三丰李四", "张三")]
        {
            let shown = shown(&of(id), &[("reason", "rejected")]);
            for text in [shown.text(), serde_json::to_value(&shown.full).unwrap().to_string().replace("\\\"", "\"")] {
                assert!(!text.contains(raw), "{raw} in\n{text}");
                assert!(text.contains("\"outeruserid\":\"***\""), "{text}");
                assert!(text.contains("\"request_time\":1736899201"), "{text}");
            }
        }
        let form = |event: &str| event.replace("qihoo360", "baizhu").replace("demo-360-ps", "demo-baizhu");
        let uid = "0123456789abcdef0123456789abcdef";
        let install = form(EVENT).replace("\"order\"", "\"install\"").replace("user-0001-of-li", uid);
        let shown = shown(&install, &[("reason", "rejected")]);
        let text = shown.text();
        assert!(text.contains("name=\"uid\"") && !text.contains("56789abcdef01"), "{text}");
    }

    #[test]
    fn secrets_in_headers_and_members_are_not_shown() {
        let event = EVENT.replace("\"click\"", "\"params\":{\"app_token\":\"t0k3n-of-the-shop-0001\"},\"click\"");
        let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let mut record = record(1, 2, &[("reason", "rejected")]);
        record.value = Some(event.into());
        record.headers.insert(0, Header::text("X-Api-Key", "k3y-of-the-shop-000001"));
        record.headers.insert(0, Header::text("traceparent", "00-4bf92f35"));
        let shown = Shown::new(
            &record,
            Some(State::Open),
            &Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix),
            1_736_899_201_000,
        );
        for text in [shown.text(), serde_json::to_value(&shown.full).unwrap().to_string()] {
            assert!(!text.contains("t0k3") && !text.contains("k3y-"), "{text}");
            assert!(text.contains("00-4bf92f35"), "{text}");
        }
    }

    #[test]
    fn a_line_break_in_a_header_or_in_the_key_begins_no_line() {
        let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let mut record = record(1, 2, &[("reason", "rejected"), ("detail", "one\ntwo")]);
        record.value = Some(EVENT.into());
        record.key = Some("k\n  pb-reason: forged".into());
        record.headers.insert(0, Header::text("trace\nid", "a\r\n  pb-reason            forged\u{1b}[1m"));
        let previewer = Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix);
        let text = Shown::new(&record, None, &previewer, 1_736_899_201_000).text();
        assert!(
            !text.lines().any(|line| line.trim_start().starts_with("pb-reason") && line.contains("forged")),
            "{text}"
        );
        for part in
            [r"trace\nid: a\r\n  pb-reason", r"forged\u{1b}[1m", r"pb-detail            one\ntwo", r"k\n  pb-reason"]
        {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn what_would_still_be_refused_says_why_and_a_cut_value_says_so() {
        let still = shown("{}", &[("reason", "invalid")]);
        assert!(still.text().contains("would not be sent: dead letter invalid, field trans_id"), "{}", still.text());
        let cut = shown("0123", &[("reason", "rejected"), ("truncated", "5000000")]);
        assert!(cut.text().contains("5000000 bytes"), "{}", cut.text());
        assert_eq!(serde_json::to_value(&cut.full).unwrap()["today"]["accepted"], false);
        let whole = shown("0123", &[("reason", "rejected"), ("truncated", "5000000 headers=trace:70000 key=12")]);
        for part in ["(5000000 bytes)", "headers were left out", "as of its key", "trace:70000"] {
            assert!(whole.text().contains(part), "no {part} in {}", whole.text());
        }
        assert_eq!(serde_json::to_value(&whole.full).unwrap()["truncated"], "5000000 headers=trace:70000 key=12");
    }

    #[test]
    fn nothing_found_says_what_was_looked_for() {
        let place = nothing("dlt", "12:34", true);
        assert!(place.starts_with("topic dlt has no record at 12:34 (never written"), "{place}");
        assert!(place.contains("and no dead letter of 12:34; `postback trace 12:34`"), "{place}");
        assert!(nothing("dlt", "t-1", false).starts_with("topic dlt has no dead letter of t-1; "));
    }
}
