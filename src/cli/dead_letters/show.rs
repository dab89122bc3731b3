//! `postback dead-letters show`: one dead letter in full.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::cli::reach::Reach;
use crate::cli::reading;
use crate::cli::{preview, print, print_json};
use crate::envelope::own_headers;
use crate::exit::Exit;
use crate::inspect::dead_letters::{DeadLetter, Filter, LatestPerOrigin, advice, meaning};
use crate::inspect::preview::{Preview, Previewer};
use crate::kafka::now_ms;
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
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    let config = args.reach.config()?;
    let records = find(&config, &args.which)?;
    let previewer =
        Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix).knowing(&config.platforms);
    let shown: Vec<Shown> = records.iter().map(|record| Shown::new(record, &previewer, now_ms())).collect();
    if args.json {
        return print_json(&shown.iter().map(Shown::json).collect::<Vec<_>>());
    }
    print(&shown.iter().map(Shown::text).collect::<Vec<_>>().join("\n"))
}

fn place(which: &str) -> Option<(i32, i64)> {
    let (partition, offset) = which.split_once(':')?;
    Some((partition.parse().ok().filter(|n| *n >= 0)?, offset.parse().ok().filter(|n| *n >= 0)?))
}

/// Finds the record at this place, or else the dead letters of the event with this name. A trans_id may look like a
/// place.
fn find(config: &Config, which: &str) -> Result<Vec<Record>, Exit> {
    let spans = reading::dead_letters(config)?;
    let place = place(which);
    if let Some((partition, offset)) = place {
        let found = find_place(config, &spans, partition, offset)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let found = find_event(config, spans, which)?;
    if found.is_empty() {
        return Err(Exit::failed(nothing(&config.kafka.dead_letter, which, place.is_some())));
    }
    Ok(found)
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
fn find_event(config: &Config, spans: Vec<Span>, trans_id: &str) -> Result<Vec<Record>, Exit> {
    let filter = Filter { trans_id: Some(trans_id.to_owned()), ..Filter::default() };
    let state = Mutex::new((LatestPerOrigin::new(filter.clone(), false), Vec::new()));
    reading::read(config, spans, &|record| {
        let letter = DeadLetter::read(&record);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if filter.selects(&letter) {
            state.1.push(record);
        }
        state.0.add(letter);
    })?;
    let (gathering, records) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let newest = gathering.finish();
    let record_of = |letter: &DeadLetter| {
        records.iter().find(|r| (r.partition, r.offset) == (letter.partition, letter.offset)).cloned()
    };
    Ok(newest.iter().filter_map(record_of).collect())
}

/// A dead letter with everything that the command says about it.
struct Shown {
    letter: DeadLetter,
    producer: Vec<(String, String)>,
    key: Option<String>,
    event: Value,
    today: Today,
}

enum Today {
    Preview(Preview),
    /// The worker had to leave out a part of the record, so the value is not the event any more; the text says what is
    /// missing.
    Truncated(String),
}

impl Shown {
    fn new(record: &Record, previewer: &Previewer, now_ms: i64) -> Self {
        let letter = DeadLetter::read(record);
        let producer = &record.headers[..record.headers.len() - own_headers(record).len()];
        let value = record.value.as_deref();
        let today = match letter.text("truncated") {
            Some(cut) => Today::Truncated(truncated(cut)),
            None => Today::Preview(previewer.look(value, producer.to_vec(), now_ms)),
        };
        Self {
            letter,
            producer: producer.iter().map(header).collect(),
            key: record.key.as_deref().map(|key| mask_text(&String::from_utf8_lossy(key)).into_owned()),
            event: mask_event(value.unwrap_or_default()),
            today,
        }
    }

    fn json(&self) -> Value {
        let mut members = self.letter.json();
        members.insert("key".to_owned(), self.key.clone().into());
        let producer: Vec<Value> =
            self.producer.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        members.insert("headers".to_owned(), producer.into());
        members.insert("value".to_owned(), self.event.clone());
        let reason = self.letter.reason();
        members.insert("meaning".to_owned(), reason.map(meaning).into());
        members.insert("advice".to_owned(), reason.map(advice).into());
        members.insert("today".to_owned(), self.today_json());
        Value::Object(members)
    }

    fn today_json(&self) -> Value {
        match &self.today {
            Today::Truncated(why) => json!({"accepted": false, "detail": why}),
            Today::Preview(Preview::Halted(why)) => json!({"accepted": false, "detail": why}),
            Today::Preview(Preview::Refused(refused)) => serde_json::to_value(refused).unwrap_or_default(),
            Today::Preview(Preview::Accepted(accepted)) => {
                let mut object = accepted.json(false);
                if let Some(request) = object["request"].as_object_mut() {
                    mask_request(request);
                }
                object
            }
        }
    }

    fn text(&self) -> String {
        let letter = &self.letter;
        let mut text = format!("dead letter {}:{}\n", letter.partition, letter.offset);
        for (name, value) in letter.lines() {
            text.push_str(&format!("  {name:<20} {value}{}\n", self.note(&name)));
        }
        if let Some(key) = &self.key {
            text.push_str(&format!("\nkey\n  {key}\n"));
        }
        if !self.producer.is_empty() {
            text.push_str("\nthe producer's headers\n");
            for (name, value) in &self.producer {
                text.push_str(&format!("  {name}: {value}\n"));
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

/// Masks the request that the event would cause. A masked request has no exact bytes.
fn mask_request(request: &mut Map<String, Value>) {
    request.remove("body_base64");
    request.remove("signature_input");
    for name in ["url", "body"] {
        if let Some(Value::String(text)) = request.get_mut(name) {
            *text = mask_fields(text);
        }
    }
}

/// Explains what is missing. `cut` is the header `pb-truncated`.
fn truncated(cut: &str) -> String {
    let bytes = cut.split(' ').next().unwrap_or_default();
    let more = match (cut.contains(" headers="), cut.contains(" key=")) {
        (false, false) => "",
        (true, false) => ", the producer's headers were left out",
        (false, true) => ", as of its key",
        (true, true) => ", as of its key, the producer's headers were left out",
    };
    format!(
        "none: the broker refused the event by its size ({} bytes), and only its SHA-256 was kept{more}; its original \
         stands at pb-origin-* while that topic keeps it",
        mask_text(bytes)
    )
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
        let json = shown.json().to_string();
        for raw in ["13812345678", "user-0001-of-li", "d41d8cd98f00b204"] {
            assert!(!text.contains(raw) && !json.contains(raw), "{raw} in\n{text}{json}");
        }
        assert_eq!(shown.json()["today"]["accepted"], true);
    }

    #[test]
    fn ids_that_are_short_escaped_or_numbers_are_masked_in_the_request_and_moments_stay() {
        let of = |id: &str| EVENT.replace("user-0001-of-li", id).replace("\"phone\":", "\"age\":1736899201,\"phone\":");
        for (id, raw) in
            [("li", "\"li\""), ("a\\\"bcdef", "bcdef"), ("1736899201", "\"1736899201\""), ("张三丰李四", "张三")]
        {
            let shown = shown(&of(id), &[("reason", "rejected")]);
            for text in [shown.text(), shown.json().to_string().replace("\\\"", "\"")] {
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
            &Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix),
            1_736_899_201_000,
        );
        for text in [shown.text(), shown.json().to_string()] {
            assert!(!text.contains("t0k3") && !text.contains("k3y-"), "{text}");
            assert!(text.contains("00-4bf92f35"), "{text}");
        }
    }

    #[test]
    fn what_would_still_be_refused_says_why_and_a_cut_value_says_so() {
        let still = shown("{}", &[("reason", "invalid")]);
        assert!(still.text().contains("would not be sent: dead letter invalid, field trans_id"), "{}", still.text());
        let cut = shown("0123", &[("reason", "rejected"), ("truncated", "5000000")]);
        assert!(cut.text().contains("5000000 bytes"), "{}", cut.text());
        assert_eq!(cut.json()["today"]["accepted"], false);
        let whole = shown("0123", &[("reason", "rejected"), ("truncated", "5000000 headers=trace:70000 key=12")]);
        for part in ["(5000000 bytes)", "headers were left out", "as of its key", "trace:70000"] {
            assert!(whole.text().contains(part), "no {part} in {}", whole.text());
        }
        assert_eq!(whole.json()["truncated"], "5000000 headers=trace:70000 key=12");
    }

    #[test]
    fn nothing_found_says_what_was_looked_for() {
        let place = nothing("dlt", "12:34", true);
        assert!(place.starts_with("topic dlt has no record at 12:34 (never written"), "{place}");
        assert!(place.contains("and no dead letter of 12:34; `postback trace 12:34`"), "{place}");
        assert!(nothing("dlt", "t-1", false).starts_with("topic dlt has no dead letter of t-1; "));
    }

    #[test]
    fn a_place_is_two_numbers_and_all_else_is_a_trans_id() {
        assert_eq!(place("3:1207"), Some((3, 1207)));
        for other in ["order:1", "3", "3:", ":3", "-1:3", "1:2:3"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
