//! `postback unblock offsets | dedupe | storm`: releases what the worker parked because only a person can decide.

use std::io::Write;

use anyhow::bail;
use chrono::Utc;
use clap::Subcommand;
use serde_json::{Value, json};

use super::source::{Access, Known, not_confirmed};
use crate::admin::client::Api;
use crate::exit::Exit;
use crate::operate::audit::Via;
use crate::operate::unblock::{self, MOST_PASS, Refused};
use crate::operate::{By, Place, Target};

/// Arguments of `postback unblock`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Let go on what only a person may decide: parked partitions, a store that forgot, a topic full of garbage",
    after_help = "Examples:
  postback unblock offsets --topic conversions --partition 3 --to earliest --reason 'topic was recreated'
  postback unblock dedupe --reason 'Redis was replaced, repeats are acceptable'
  postback unblock storm --topic conversions --reason 'the publisher is mended'

All are written to the audit trail. `postback blocked` shows what is parked."
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// The options that say which worker or Redis to ask.
    pub fn access(&self) -> &Access {
        &self.command.asked().access
    }
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Say where a partition goes on whose position was lost or is out of range
    #[command(after_help = "Example:
  postback unblock offsets --topic conversions --partition 3 --to 120000 --reason 'restored from the backup'

`earliest` may send events again (claims suppress what is still remembered); `latest` and a later offset skip events.")]
    Offsets(Offsets),
    /// Let accounts send again after Redis lost what was claimed
    #[command(after_help = "Example:
  postback unblock dedupe --reason 'Redis was replaced, repeats are acceptable'

What was delivered before the loss is not remembered any more: a copy of it would be sent again.")]
    Dedupe(Asked),
    /// Let a topic be read on that the storm brake stopped
    #[command(after_help = "Examples:
  postback unblock storm --topic conversions --reason 'the publisher is mended'
  postback unblock storm --topic conversions --pass 1000000 --reason 'a million bad ones are left, the publisher is mended'
  postback unblock storm --topic conversions --pass 0 --reason 'they are not the ones we know'

The topic was stopped because 100 records in a row, or half of the last 1,000, could not be decoded or named no configured
account. It goes on where it stopped; what still cannot be delivered becomes a dead letter, and 100 of it stop the topic
again. `postback blocked` shows a sample.

With --pass N, up to N such records of the topic become dead letters without stopping it, over all replicas together; then
it is judged as before. Each replica takes shares of N, a twentieth of what is left and at most 10,000. What it has not used
of its share when it ends is lost, and `postback blocked` shows only what no replica has taken.

While bad records pass, another --pass N says how many may pass from then on, more or fewer: it replaces what is left, also
what replicas have taken. Given twice, it counts once. --pass 0 ends it: from then on each bad record is judged.")]
    Storm(Unstorm),
}

impl Command {
    fn asked(&self) -> &Asked {
        match self {
            Command::Offsets(offsets) => &offsets.asked,
            Command::Dedupe(asked) => asked,
            Command::Storm(storm) => &storm.asked,
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
struct Offsets {
    /// Topic of the parked partition
    #[arg(long)]
    topic: String,
    /// Its number
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// Where it goes on: earliest, latest or an offset
    #[arg(long, value_name = "earliest|latest|N")]
    to: Target,
    #[command(flatten)]
    asked: Asked,
}

/// What every order says beside its own: why, who, and which worker or Redis to ask.
#[derive(Clone, Debug, clap::Args)]
struct Asked {
    /// Why; kept in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who asks for it
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true, default_value = "cli")]
    who: String,
    #[command(flatten)]
    access: Access,
}

#[derive(Clone, Debug, clap::Args)]
struct Unstorm {
    /// The topic that is not read, or of which bad records pass
    #[arg(long)]
    topic: String,
    /// Let up to so many bad records pass from now on, then judge it again; 0 lets none pass: 0 to 100000000
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(0..=MOST_PASS))]
    pass: Option<u64>,
    #[command(flatten)]
    asked: Asked,
}

/// Runs the command.
///
/// # Errors
/// The order does not fit what is there, or Redis or the worker does not answer.
pub async fn run(args: &Args, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let by = args.command.asked().by()?;
    if let Some(api) = args.access().api()? {
        return ask(&api, &args.command, &by, out).await;
    }
    let (mut connection, keys, now_ms) = (known.connect().await?, known.keys(), Utc::now().timestamp_millis());
    let c = &mut connection;
    let done = match &args.command {
        Command::Offsets(Offsets { topic, partition, to, .. }) => {
            let place = Place { topic: topic.clone(), partition: *partition };
            unblock::offsets((c, &keys), known.kafka, &place, *to, &by, now_ms).await
        }
        Command::Dedupe(_) => unblock::dedupe(c, &keys, &by, now_ms).await,
        Command::Storm(Unstorm { topic, pass, .. }) => unblock::storm(c, &keys, topic, *pass, &by, now_ms).await,
    };
    match done {
        Ok(text) => {
            known.publish_audit(&mut connection).await;
            writeln!(out, "{text}")?;
        }
        Err(Refused::Nothing(text)) => writeln!(out, "{text}")?,
        Err(Refused::NotNow(text)) => bail!(text),
        Err(Refused::Wrong { field, text }) => bail!(Exit::usage(format!("--{field}: {text}"))),
        Err(Refused::Unavailable(error)) => return Err(not_confirmed(&mut connection, &keys, &error).await),
    }
    Ok(())
}

/// Gives the order through the API of a worker.
async fn ask(api: &Api, command: &Command, by: &By, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let (path, mut body) = match command {
        Command::Offsets(args) => {
            ("unblock/offsets", json!({ "topic": args.topic, "partition": args.partition, "to": args.to }))
        }
        Command::Dedupe(_) => ("unblock/dedupe", json!({})),
        Command::Storm(args) => ("unblock/storm", json!({ "topic": args.topic, "pass": args.pass })),
    };
    for (name, text) in [("reason", &*by.why), ("who", &*by.who), ("via", "cli")] {
        body[name] = Value::from(text);
    }
    let answer = api.post(path, &body).await?;
    writeln!(out, "{}", answer["note"].as_str().unwrap_or_default())?;
    Ok(())
}

impl Asked {
    fn by(&self) -> anyhow::Result<By> {
        let by = By::new(Via::Cli, &self.who, &self.reason);
        if by.why.is_empty() { bail!(Exit::usage("say why: --reason TEXT")) } else { Ok(by) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;
    use crate::operate::storms;
    use crate::storm::Storm;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        use clap::FromArgMatches as _;
        let command = <Args as clap::Args>::augment_args(clap::Command::new("unblock"));
        let words = ["unblock"].into_iter().chain(words.iter().copied());
        command.try_get_matches_from(words).map(|found| Args::from_arg_matches(&found).unwrap())
    }

    async fn said(known: &Known<'_>, words: &[&str]) -> Result<String, Exit> {
        let mut out = Vec::new();
        run(&parse(words).unwrap(), known, &mut out).await.map_err(Exit::from)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_number_that_may_pass_has_bounds() {
        let pass = |pass| parse(&["storm", "--topic", "t", "--reason", "x", "--pass", pass]);
        for number in ["0", "1", "100000000"] {
            assert!(pass(number).is_ok(), "{number}");
        }
        for wrong in ["-1", "100000001", "all", ""] {
            let error = pass(wrong).unwrap_err().to_string();
            assert!(error.contains("--pass"), "{wrong}: {error}");
        }
    }

    #[tokio::test]
    async fn an_order_that_was_carried_out_and_one_that_changes_nothing_are_no_failures() {
        let store = Store::start().unwrap();
        let redis = crate::redis::Config::stub(store.url());
        let known = Known { redis: &redis, kafka: None, accounts: &[], admin: "" };
        let storm = Storm { topic: "clicks".into(), ..Storm::default() };
        let by = By::new(Via::Worker, "worker w1", "100 records in a row");
        let mut c = known.connect().await.unwrap();
        assert!(storms::stop(&mut c, &known.keys(), &storm, &by, None, 5).await.unwrap());
        let unblock = ["storm", "--topic", "clicks", "--reason", "a test"];
        assert_eq!(said(&known, &unblock).await.unwrap(), "clicks is read on within seconds, from where it stopped\n");
        assert!(said(&known, &unblock).await.unwrap().starts_with("nothing to unblock"));
        let dedupe = ["dedupe", "--reason", "a test"];
        assert!(said(&known, &dedupe).await.unwrap().starts_with("accounts send again"));
        assert!(said(&known, &dedupe).await.unwrap().starts_with("nothing to unblock"));
        let exit = said(&known, &["dedupe", "--reason", "  "]).await.unwrap_err();
        assert!(exit.code == 2 && exit.text.contains("--reason"), "{exit:?}");
    }

    #[tokio::test]
    async fn an_order_through_an_api_says_who_and_why_and_shows_what_the_worker_answers() {
        use axum::routing::post;
        let echo = |body: String| async move { format!(r#"{{"note":{}}}"#, Value::from(body)) };
        let busy = || async { (axum::http::StatusCode::CONFLICT, r#"{"error":{"message":"a first start"}}"#) };
        let router = axum::Router::new()
            .route("/api/v1/unblock/storm", post(echo))
            .route("/api/v1/unblock/offsets", post(echo))
            .route("/api/v1/unblock/dedupe", post(busy));
        let server = crate::admin::Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap();
        let redis = crate::redis::Config::stub("redis://127.0.0.1:1");
        let known = Known { redis: &redis, kafka: None, accounts: &[], admin: "" };
        let url = format!("http://{}", server.address());
        let told = async |words: &[&str]| {
            let who = ["--reason", "a test", "--who", "li", "--admin", &url];
            said(&known, &[words, &who].concat()).await
        };
        let storm: Value =
            serde_json::from_str(&told(&["storm", "--topic", "t", "--pass", "7"]).await.unwrap()).unwrap();
        assert_eq!(storm, json!({"topic": "t", "pass": 7, "reason": "a test", "who": "li", "via": "cli"}));
        let offsets = ["offsets", "--topic", "t", "--partition", "3", "--to", "120"];
        let offsets: Value = serde_json::from_str(&told(&offsets).await.unwrap()).unwrap();
        assert_eq!([&offsets["topic"], &offsets["partition"], &offsets["to"]], [&json!("t"), &json!(3), &json!("120")]);
        let exit = told(&["dedupe"]).await.unwrap_err();
        assert!(exit.code == 1 && exit.text.contains("a first start"), "{exit:?}");
    }
}
