//! `postback send`: publishes events to the input topic, with the keys of the contract. It checks the whole input
//! first.

mod input;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::input::{Bad, Event, Input};
use crate::cli::embedded::reach;
use crate::cli::progress::Progress;
use crate::cli::read_input;
use crate::exit::Exit;
use crate::kafka::matching::Matching;
use crate::kafka::producer::{Producer, PublishError};
use crate::kafka::settings;
use crate::kafka::topics::{AdminError, Cluster};
use crate::settings::Config;

/// Publishes events to the input topic.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  postback send --config postback.toml events.json     a JSON array, or one event after the other
  postback send events.json                            to a running `postback demo` or `postback run`
  jq -c . event.json | postback send --config postback.toml -
  postback send --config postback.toml --topic conversions.eu -   where kafka.input is a pattern
  postback send --config postback.toml --skip-bad events.json     what can be sent of a file

The key is platform:account:ORDER_ID, or the trans_id where there is no order. All of the input is judged first: whether
it is JSON, and whether the topic takes its size (max.message.bytes, before compression). Each bad line is named, and
nothing is published then unless --skip-bad. An event that the worker will not accept is published all the same, and
ends in the dead letters.

Exit code: 0 published, 1 Kafka did not take it, 2 the topic is not clear or the file cannot be read, 3 the input has bad
lines.")]
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
    /// Leave bad lines out, name them, and publish the others.
    #[arg(long)]
    pub skip_bad: bool,
}

/// The number of publishes under way at once.
const UNDER_WAY: usize = 1000;
/// A command that waits for longer says what it waits for.
const SILENCE: Duration = Duration::from_secs(2);
/// The longest wait for an unreachable broker.
const PATIENCE: Duration = Duration::from_secs(30);
/// The number of bad lines that are named one by one.
const NAMED: usize = 1000;

/// Runs the command.
///
/// # Errors
/// 3 where the input has bad lines, 2 where the topic is not clear, 1 where it does not exist or Kafka does not take
/// it.
pub async fn run(args: Args, mut config: Config) -> Result<(), Exit> {
    let topic = topic(args.topic.as_deref(), &config.kafka)?;
    let bytes = read_input(&args.file)?;
    let mut input = Input::read(&bytes);
    if input.is_empty() {
        return Err(Exit::input("there is no event in the input: expected a JSON array, or one event per line"));
    }
    let refused = !input.bad.is_empty() && !args.skip_bad;
    // If the input is bad already, the command does not wait for Kafka. If Kafka answers, the command names all bad
    // lines at once.
    let patience = if refused { Duration::ZERO } else { PATIENCE };
    let place = match reach(&mut config, args.admin.as_deref()).await {
        Ok(()) => saying(place(&config, &topic, patience), SILENCE, || say_what_it_waits_for(&config)).await,
        Err(error) => Err(error),
    };
    let limit = match place {
        Ok(limit) => limit,
        Err(_) if refused => None,
        Err(error) => return Err(error),
    };
    if let Some(limit) = limit {
        input.judge_sizes(limit, |event| key(event).map_or(0, |key| key.len()));
    }
    if !input.bad.is_empty() && !args.skip_bad {
        let (bad, all) = (input.bad.len(), input.bad.len() + input.events.len());
        let text = format!("nothing was published: {bad} of {all} cannot be sent (--skip-bad leaves them out)");
        return Err(Exit::input(format!("{text}\n{}", named(&input.bad))));
    }
    if !input.bad.is_empty() {
        eprintln!("left out:\n{}", named(&input.bad));
    }
    publish_all(&config, &topic, &input.events).await
}

fn say_what_it_waits_for(config: &Config) {
    eprintln!("waiting for Kafka at {}: it does not answer yet", config.kafka.brokers);
}

/// Waits for `work`, and says what it waits for if that takes longer than `silence`.
async fn saying<T>(work: impl Future<Output = T>, silence: Duration, say: impl FnOnce()) -> T {
    let mut work = pin!(work);
    match timeout(silence, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            say();
            work.await
        }
    }
}

/// Returns the largest record in bytes that the topic takes; `None`: Kafka does not say it.
async fn place(config: &Config, topic: &str, patience: Duration) -> Result<Option<usize>, Exit> {
    let refused = |e: settings::SettingsError| Exit::failed(e.to_string());
    let cluster = Arc::new(Cluster::new(&config.kafka).map_err(refused)?);
    let began = Instant::now();
    loop {
        let (cluster, name, embedded) = (cluster.clone(), topic.to_owned(), config.kafka.embedded);
        let look = move || {
            if !cluster.topics()?.iter().any(|known| known.name == name) {
                return Ok(None);
            }
            // The embedded broker cannot describe a topic. Elsewhere the user may lack the right to read its settings.
            let settings = if embedded { Ok(Default::default()) } else { cluster.describe(&[&name]) };
            match settings {
                Ok(settings) => Ok(Some(settings.get(&name).and_then(|s| s.max_message_bytes))),
                Err(AdminError::Refused(_)) => Ok(Some(None)),
                Err(error) => Err(error),
            }
        };
        let looked = spawn_blocking(look).await.unwrap_or_else(|_| Err(AdminError::NoAnswer("it broke off".into())));
        return match looked {
            Ok(Some(limit)) => Ok(limit.and_then(|bytes| usize::try_from(bytes).ok())),
            Ok(None) => Err(Exit::failed(missing(config, topic))),
            Err(AdminError::NoAnswer(_)) if began.elapsed() < patience => continue,
            Err(error) => Err(crate::cli::reading::failed(error)),
        };
    }
}

fn missing(config: &Config, topic: &str) -> String {
    format!(
        "topic {topic} does not exist, or this user may not see it (right: Describe): name another one with --topic, or make it: kafka-topics.sh --bootstrap-server {} \
         --create --topic {topic} --partitions {}",
        config.kafka.brokers, config.kafka.partitions
    )
}

fn named(bad: &[Bad]) -> String {
    let mut lines: Vec<String> = bad.iter().take(NAMED).map(ToString::to_string).collect();
    if bad.len() > NAMED {
        lines.push(format!("and {} more", bad.len() - NAMED));
    }
    lines.join("\n")
}

async fn publish_all(config: &Config, topic: &str, events: &[Event<'_>]) -> Result<(), Exit> {
    let producer = Producer::new(&config.kafka, u64::MAX).map_err(|e| Exit::failed(e.to_string()))?;
    let mut under_way = FuturesUnordered::new();
    let (mut done, mut failed) = (0_u64, Vec::new());
    let progress = Progress::new("events published");
    let mut waiting = events.iter();
    loop {
        while failed.is_empty()
            && under_way.len() < UNDER_WAY
            && let Some(event) = waiting.next()
        {
            under_way.push(publish(&producer, topic, event));
        }
        match under_way.next().await {
            Some(Ok(())) => done += 1,
            // The command waits for publishes under way, so that its count is right.
            Some(Err(bad)) => failed.push(bad),
            None => break,
        }
        progress.at(done, events.len() as u64);
    }
    drop(progress);
    if failed.is_empty() {
        println!("published {done} event{} to {topic}", if done == 1 { "" } else { "s" });
        return Ok(());
    }
    Err(Exit::failed(format!(
        "topic {topic}: {done} of {} events were published, then Kafka did not take these:\n{}\nWhat was published stays, \
         and sending the file again is harmless: the worker suppresses what it has delivered",
        events.len(),
        named(&failed)
    )))
}

fn topic(stated: Option<&str>, kafka: &crate::kafka::Config) -> Result<String, Exit> {
    match (stated, &kafka.input[..]) {
        (Some(topic), _) => {
            let matching = Matching::new(kafka).map_err(|e| Exit::usage(format!("kafka.input: the pattern {e}")))?;
            if matching.is_own(topic) {
                return Err(Exit::usage(format!(
                    "--topic {topic}: the worker writes that topic itself; events belong into one of kafka.input ({})",
                    kafka.input.join(", ")
                )));
            }
            if !matching.is_input(topic) {
                eprintln!(
                    "warning: --topic {topic}: kafka.input does not name it, so no worker with this configuration reads it"
                );
            }
            Ok(topic.to_owned())
        }
        (None, [one]) if !one.starts_with('^') => Ok(one.clone()),
        _ => Err(Exit::usage("kafka.input is a pattern or names several topics: say which with --topic")),
    }
}

/// Returns `platform:account:` and the order id, or the trans_id; `None`: the event lacks them.
fn key(event: &RawValue) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(event.get()).ok()?;
    let text = |value: &serde_json::Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
    let last = text(&event["order"]["order_id"]).or_else(|| text(&event["trans_id"]))?;
    Some(format!("{}:{}:{last}", text(&event["platform"])?, text(&event["account"])?))
}

async fn publish(producer: &Producer, topic: &str, event: &Event<'_>) -> Result<(), Bad> {
    let key = key(event.json);
    let (key, value) = (key.as_deref().map(str::as_bytes), event.json.get().as_bytes());
    let began = Instant::now();
    loop {
        let written = match producer.publish(topic, key, Some(value), &[]).await {
            // The broker refuses a whole batch by its size. The record may fit when it is sent alone.
            Err(PublishError::TooLarge) => producer.publish_alone((topic, None), key, Some(value), &[]).await,
            written => written,
        };
        match written {
            Ok(_) => return Ok(()),
            Err(PublishError::Unavailable(_)) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(Bad { line: event.line, why: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_order_or_else_the_trans_id() {
        let key_of = |text: &str| key(&RawValue::from_string(text.to_owned()).unwrap());
        let order = r#"{"platform":"p","account":"a","trans_id":"t","order":{"order_id":"o"}}"#;
        assert_eq!(key_of(order).as_deref(), Some("p:a:o"));
        assert_eq!(key_of(r#"{"platform":"p","account":"a","trans_id":"t"}"#).as_deref(), Some("p:a:t"));
        assert_eq!(key_of(r#"{"trans_id":"t"}"#), None);
    }

    #[test]
    fn events_go_to_no_topic_that_the_worker_writes_itself() {
        let config = crate::kafka::Config::stub("b:1", &[]);
        assert_eq!(topic(None, &config).ok().as_deref(), Some("conversions"));
        assert_eq!(topic(Some("conversions.eu"), &config).ok().as_deref(), Some("conversions.eu"));
        for own in ["postback.dlt", "postback.retry.5s", "postback.retry.7s", "postback.parked.acme"] {
            let error = topic(Some(own), &config).err().unwrap();
            assert!(error.code == 2 && error.text.contains("kafka.input (conversions)"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_command_that_waits_for_long_says_once_what_it_waits_for() {
        let silence = Duration::from_millis(50);
        for (ms, says) in [(0, false), (300, true)] {
            let mut said = false;
            let work = async {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                ms
            };
            assert_eq!(saying(work, silence, || said = true).await, ms);
            assert_eq!(said, says, "after {ms} ms");
        }
    }

    #[test]
    fn a_flood_of_bad_lines_is_counted_after_a_thousand() {
        let bad: Vec<Bad> = (1..=1002).map(|line| Bad { line, why: "x".into() }).collect();
        let text = named(&bad);
        assert!(text.starts_with("line 1: x\nline 2: x\n") && text.ends_with("line 1000: x\nand 2 more"), "{text}");
    }
}
