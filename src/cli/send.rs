//! `postback send`: publishes events to the input topic, keyed as the contract says.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;

use crate::byte_order_mark::skip_text;
use crate::cli::Exit;
use crate::cli::embedded::reach;
use crate::config::Config;
use crate::kafka::producer::{Producer, PublishError};

/// Publishes events to the input topic.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  postback send --config postback.toml events.json     a JSON array, or one event per line
  postback send events.json                            to a running `postback demo` or `postback run`
  jq -c . event.json | postback send --config postback.toml -
  postback send --config postback.toml --topic conversions.eu -   where kafka.input is a pattern

The key is platform:account:ORDER_ID, or the trans_id where there is no order. Nothing is published unless all of the
input is JSON. An event that the worker will not accept is published all the same, and ends in the dead letters.")]
pub struct Args {
    /// File of events; `-` reads standard input.
    pub file: PathBuf,
    /// Configuration file: where Kafka is; without one, that of a running `postback demo`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where Kafka is embedded: the worker that has it, e.g. http://127.0.0.1:9464 (the default).
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// Topic to publish to; needed where kafka.input is a pattern or more than one topic.
    #[arg(long)]
    pub topic: Option<String>,
}

/// How many publishes are under way at once.
const UNDER_WAY: usize = 1000;
/// So long an unreachable broker is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command.
///
/// # Errors
/// 3 where the input is no JSON, 2 where the topic is not clear, 1 where Kafka does not take it.
pub async fn run(args: Args, mut config: Config) -> Result<(), Exit> {
    let topic = topic(&args, &config.kafka)?;
    let text = read(&args.file)?;
    let events = parse(&text)?;
    if events.is_empty() {
        return Err(Exit::input("there is no event in the input: expected a JSON array, or one event per line"));
    }
    reach(&mut config, args.admin.as_deref()).await?;
    let kafka = &config.kafka;
    let producer = Producer::new(kafka, u64::MAX).map_err(|e| Exit::failed(format!("kafka: {e}")))?;
    let mut under_way = FuturesUnordered::new();
    let (mut done, mut shown, began) = (0_usize, Instant::now(), Instant::now());
    for event in &events {
        if under_way.len() >= UNDER_WAY
            && let Some(result) = under_way.next().await
        {
            result?;
            done += 1;
        }
        under_way.push(publish(&producer, &topic, event));
        if std::io::stderr().is_terminal() && shown.elapsed() > Duration::from_secs(2) {
            shown = Instant::now();
            eprint!("\r{done} of {} events published", events.len());
            let _ = std::io::stderr().flush();
        }
    }
    while let Some(result) = under_way.next().await {
        result?;
        done += 1;
    }
    if std::io::stderr().is_terminal() && began.elapsed() > Duration::from_secs(2) {
        eprintln!();
    }
    println!("published {done} event{} to {topic}", if done == 1 { "" } else { "s" });
    Ok(())
}

fn topic(args: &Args, kafka: &crate::kafka::Config) -> Result<String, Exit> {
    match (&args.topic, &kafka.input[..]) {
        (Some(topic), _) => Ok(topic.clone()),
        (None, [one]) if !one.starts_with('^') => Ok(one.clone()),
        _ => Err(Exit::usage("kafka.input is a pattern or names several topics: say which with --topic")),
    }
}

fn read(file: &PathBuf) -> Result<String, Exit> {
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).map_err(|e| Exit::input(format!("standard input: {e}")))?;
    } else {
        bytes = std::fs::read(file).map_err(|e| Exit::input(format!("{}: {e}", file.display())))?;
    }
    String::from_utf8(bytes).map_err(|e| Exit::input(format!("byte {}: not UTF-8", e.utf8_error().valid_up_to())))
}

/// The events as they stand in the input, byte for byte.
fn parse(text: &str) -> Result<Vec<&RawValue>, Exit> {
    let text = skip_text(text);
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|e| Exit::input(format!("not a JSON array of events: {e}")));
    }
    // One per line; a single event over several lines is what `jq .` prints.
    if let Ok(one) = serde_json::from_str::<&RawValue>(text) {
        return Ok(vec![one]);
    }
    let mut events = Vec::new();
    let mut bad = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        // Files that were joined carry a mark in the middle.
        match serde_json::from_str(skip_text(line)) {
            Ok(event) => events.push(event),
            Err(error) => bad.push(format!("line {}: {error}", n + 1)),
        }
    }
    if bad.is_empty() {
        return Ok(events);
    }
    let more = bad.len().saturating_sub(10);
    bad.truncate(10);
    let tail = if more > 0 { format!("\nand {more} more") } else { String::new() };
    Err(Exit::input(format!("nothing was published: the input is not JSON\n{}{tail}", bad.join("\n"))))
}

/// `platform:account:` and the order, else the trans_id; `None` where the event lacks them.
fn key(event: &RawValue) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(event.get()).ok()?;
    let text = |value: &serde_json::Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
    let last = text(&event["order"]["order_id"]).or_else(|| text(&event["trans_id"]))?;
    Some(format!("{}:{}:{last}", text(&event["platform"])?, text(&event["account"])?))
}

async fn publish(producer: &Producer, topic: &str, event: &RawValue) -> Result<(), Exit> {
    let key = key(event);
    let began = Instant::now();
    loop {
        let value = event.get().as_bytes();
        match producer.publish(topic, key.as_deref().map(str::as_bytes), Some(value), &[]).await {
            Ok(_) => return Ok(()),
            Err(PublishError::Unavailable(_)) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => {
                return Err(Exit::failed(format!(
                    "topic {topic}: {error}; what was published before stays, and sending the file again is harmless: \
                     the worker suppresses what it has delivered"
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &str) -> Vec<String> {
        parse(input).unwrap().into_iter().map(|e| e.get().to_owned()).collect()
    }

    #[test]
    fn arrays_lines_and_a_single_event_are_read_byte_for_byte() {
        assert_eq!(texts(r#"[{"a": 1},{"b":2.50}]"#), [r#"{"a": 1}"#, r#"{"b":2.50}"#]);
        assert_eq!(texts("{\"a\":1}\n\n{\"b\": 2}\n"), [r#"{"a":1}"#, r#"{"b": 2}"#]);
        assert_eq!(texts("{\n  \"a\": 1\n}\n"), ["{\n  \"a\": 1\n}"]);
    }

    #[test]
    fn a_byte_order_mark_before_a_file_or_a_line_is_skipped() {
        for input in ["\u{feff}{\"a\":1}", "\u{feff}[{\"a\":1}]", "\u{feff}{\"a\":1}\n\u{feff}{\"b\":2}\n"] {
            let read = texts(input);
            assert_eq!(read[0], r#"{"a":1}"#, "{input:?}");
            assert!(read.get(1).is_none_or(|second| second == r#"{"b":2}"#), "{read:?}");
        }
    }

    #[test]
    fn a_broken_line_is_named_and_nothing_is_taken() {
        let error = parse("{\"a\":1}\n{broken\n").unwrap_err();
        assert_eq!(error.code, 3);
        assert!(error.text.contains("line 2"), "{}", error.text);
    }

    #[test]
    fn the_key_is_the_order_or_else_the_trans_id() {
        let key_of = |text: &str| key(&RawValue::from_string(text.to_owned()).unwrap());
        let order = r#"{"platform":"p","account":"a","trans_id":"t","order":{"order_id":"o"}}"#;
        assert_eq!(key_of(order).as_deref(), Some("p:a:o"));
        assert_eq!(key_of(r#"{"platform":"p","account":"a","trans_id":"t"}"#).as_deref(), Some("p:a:t"));
        assert_eq!(key_of(r#"{"trans_id":"t"}"#), None);
    }
}
