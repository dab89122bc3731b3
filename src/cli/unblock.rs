//! `postback unblock offsets | dedupe | storm`: releases what the worker parked because only a person can decide.

use std::io::Write;

use anyhow::{Context as _, bail};
use chrono::Utc;
use clap::Subcommand;
use tokio::task::spawn_blocking;

use super::source::{Access, Known, not_confirmed};
use crate::exit::Exit;
use crate::kafka::topics::Cluster;
use crate::operate::audit::Via;
use crate::operate::orders::{Epoch, give_order, renew_epoch};
use crate::operate::snapshot::read_snapshots;
use crate::operate::storms;
use crate::operate::{By, PartitionRow, Place, ReplicaSnapshot, Target};
use crate::units::show_span;

/// The most bad records that one order lets pass. Without a bound the brake would be off.
const MOST_PASS: u64 = 100_000_000;

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
        match &self.command {
            Command::Offsets(offsets) => &offsets.asked.access,
            Command::Dedupe(asked) => &asked.access,
            Command::Storm(storm) => &storm.asked.access,
        }
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

The topic was stopped because 100 records in a row, or half of the last 1,000, could not be decoded or named no configured
account. It goes on where it stopped; what still cannot be delivered becomes a dead letter, and 100 of it stop the topic
again. `postback blocked` shows a sample.

With --pass N, up to N such records of the topic become dead letters without stopping it, over all replicas together; then
it is judged as before. Each replica takes shares of N, a twentieth of what is left and at most 10,000. What it has not used
of its share when it ends is lost, and `postback blocked` shows only what no replica has taken.")]
    Storm(Unstorm),
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
    /// The topic that is not read
    #[arg(long)]
    topic: String,
    /// Let up to so many bad records pass, then judge it again: 1 to 100000000
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=MOST_PASS))]
    pass: Option<u64>,
    #[command(flatten)]
    asked: Asked,
}

/// Runs the command.
///
/// # Errors
/// There is nothing to unblock, or Redis does not answer.
pub async fn run(args: &Args, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    if args.access().admin.is_some() && known.redis.url.expose() != "embedded" {
        bail!(Exit::usage("unblock works through Redis, not through --admin: redis.url names a real one"));
    }
    match &args.command {
        Command::Offsets(offsets) => unblock_offsets(offsets, known, out).await,
        Command::Dedupe(asked) => unblock_dedupe(asked, known, out).await,
        Command::Storm(storm) => unblock_storm(storm, known, out).await,
    }
}

impl Asked {
    fn by(&self) -> anyhow::Result<By> {
        let by = By::new(Via::Cli, &self.who, &self.reason);
        if by.why.is_empty() { bail!(Exit::usage("say why: --reason TEXT")) } else { Ok(by) }
    }
}

async fn unblock_offsets(args: &Offsets, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let by = args.asked.by()?;
    let (mut connection, keys) = (known.connect().await?, known.keys());
    let place = Place { topic: args.topic.clone(), partition: args.partition };
    let now = Utc::now().timestamp_millis();
    let snapshots = read_snapshots(&mut connection, &keys).await.context("Redis does not answer")?;
    let note = judge(&place, &snapshots, now)?;
    let is_owned = |p: &PartitionRow| p.topic == place.topic && p.partition == place.partition;
    if !snapshots.iter().flat_map(|replica| &replica.partitions).any(is_owned) {
        exists(&place, known).await?;
    }
    let given = give_order(&mut connection, &keys, &place, args.to, &by, now).await;
    given.map_err(|error| not_confirmed(&error))?;
    known.publish_audit(&mut connection).await;
    writeln!(out, "{place} goes on at {}: {note}", args.to)?;
    Ok(())
}

/// Refuses a partition that Kafka does not know: its order would wait for ever. Where Kafka does not answer, nobody
/// knows.
async fn exists(place: &Place, known: &Known<'_>) -> anyhow::Result<()> {
    let Some(kafka) = known.kafka.filter(|kafka| !kafka.embedded).cloned() else { return Ok(()) };
    let topics = spawn_blocking(move || Cluster::new(&kafka).ok()?.topics().ok()).await;
    let Ok(Some(topics)) = topics else { return Ok(()) };
    match topics.iter().find(|topic| topic.name == place.topic) {
        Some(topic) if (0..topic.partitions).contains(&place.partition) => Ok(()),
        Some(topic) => bail!(Exit::usage(format!(
            "--partition: {} has no partition {}: it has {}",
            topic.name, place.partition, topic.partitions
        ))),
        None => bail!(Exit::usage(format!("--topic: {} does not exist, or this user may not see it", place.topic))),
    }
}

/// Judges whether an order makes sense now, and says what it will do.
fn judge(place: &Place, snapshots: &[ReplicaSnapshot], now_ms: i64) -> anyhow::Result<String> {
    let owners = snapshots.iter().filter_map(|replica| {
        let owned = replica.partitions.iter().find(|p| p.topic == place.topic && p.partition == place.partition)?;
        Some((replica, owned))
    });
    match owners.max_by_key(|(replica, _)| replica.at_ms) {
        Some((replica, owned)) if owned.parked.is_none() => bail!(
            "{place} is not parked: {} reads it ({} ago); `postback blocked` shows what is",
            replica.id,
            show_span(now_ms - replica.at_ms)
        ),
        Some((replica, _)) => Ok(format!("{} carries it out within seconds", replica.id)),
        None if snapshots.is_empty() => Ok("no worker runs; the next one that owns it carries it out".to_owned()),
        None => Ok("no running worker owns it now; the next one that does carries it out".to_owned()),
    }
}

async fn unblock_dedupe(asked: &Asked, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let by = asked.by()?;
    let (mut connection, keys) = (known.connect().await?, known.keys());
    let epoch = renew_epoch(&mut connection, &keys, &by, Utc::now().timestamp_millis()).await;
    match epoch.map_err(|error| not_confirmed(&error))? {
        Epoch::Renewed(id) => {
            known.publish_audit(&mut connection).await;
            writeln!(out, "accounts send again; what was delivered before is forgotten (epoch {id})")?
        }
        Epoch::Present(id) => writeln!(out, "nothing to unblock: the store has not forgotten (epoch {id})")?,
        Epoch::Starting => bail!("a first start is under way; wait for it: postback blocked"),
    }
    Ok(())
}

async fn unblock_storm(args: &Unstorm, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let by = args.asked.by()?;
    let (mut connection, keys) = (known.connect().await?, known.keys());
    let released =
        storms::release(&mut connection, &keys, &args.topic, args.pass, &by, Utc::now().timestamp_millis()).await;
    if released.map_err(|error| not_confirmed(&error))? {
        known.publish_audit(&mut connection).await;
        let passes = args.pass.map_or_else(String::new, |pass| format!("; up to {pass} bad records pass"));
        writeln!(out, "{} is read on within seconds, from where it stopped{passes}", args.topic)?;
        return Ok(());
    }
    let (others, ..) = storms::read_storms(&mut connection, &keys).await.context("Redis does not answer")?;
    let others: Vec<_> = others.into_keys().collect();
    let others = if others.is_empty() { "no topic is".to_owned() } else { format!("stopped: {}", others.join(", ")) };
    writeln!(out, "nothing to unblock: the storm brake has not stopped {} ({others})", args.topic)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;
    use crate::storm::Storm;

    fn asked(reason: &str) -> Asked {
        Asked { reason: reason.into(), who: "li".into(), access: Access::default() }
    }

    fn replica(parked: Option<&str>) -> ReplicaSnapshot {
        let partition = PartitionRow {
            topic: "conversions".into(),
            partition: 3,
            parked: parked.map(Into::into),
            ..PartitionRow::default()
        };
        ReplicaSnapshot { id: "w1".into(), at_ms: 1_000, partitions: vec![partition], ..ReplicaSnapshot::default() }
    }

    #[test]
    fn a_partition_that_flows_is_not_moved() {
        let place: Place = "conversions/3".parse().unwrap();
        let error = judge(&place, &[replica(None)], 4_000).unwrap_err().to_string();
        assert_eq!(error, "conversions/3 is not parked: w1 reads it (3s ago); `postback blocked` shows what is");
        assert_eq!(judge(&place, &[replica(Some("lost"))], 4_000).unwrap(), "w1 carries it out within seconds");
    }

    #[test]
    fn an_order_to_nobody_waits_and_says_so() {
        let place: Place = "conversions/4".parse().unwrap();
        assert!(judge(&place, &[], 0).unwrap().starts_with("no worker runs"));
        assert!(judge(&place, &[replica(None)], 0).unwrap().starts_with("no running worker owns it"));
    }

    #[tokio::test]
    async fn a_partition_that_does_not_exist_gets_no_order() {
        let mock = rdkafka::mocking::MockCluster::new(1).unwrap();
        mock.create_topic("conversions", 2, 1).unwrap();
        let kafka = crate::kafka::Config::stub(&mock.bootstrap_servers(), &[]);
        let store = Store::start().unwrap();
        let redis = crate::redis::Config::stub(store.url());
        let known = Known { redis: &redis, kafka: Some(&kafka), accounts: &[], admin: "" };
        let found = async |place: &str| match exists(&place.parse().unwrap(), &known).await {
            Ok(()) => None,
            Err(error) => Some(Exit::from(error)),
        };
        assert!(found("conversions/1").await.is_none());
        let no_partition = found("conversions/2").await.unwrap();
        assert_eq!((no_partition.code, no_partition.text.contains("it has 2")), (2, true), "{}", no_partition.text);
        let no_topic = found("conversion/0").await.unwrap();
        assert_eq!((no_topic.code, no_topic.text.contains("does not exist")), (2, true), "{}", no_topic.text);
        let args = Offsets { topic: "conversion".into(), partition: 0, to: Target::Latest, asked: asked("a test") };
        assert!(run(&Args { command: Command::Offsets(args) }, &known, &mut Vec::new()).await.is_err());
        let (mut connection, keys) = (known.connect().await.unwrap(), known.keys());
        assert!(crate::operate::orders::read_orders(&mut connection, &keys).await.unwrap().is_empty());
    }

    #[test]
    fn a_number_that_may_pass_has_bounds() {
        use clap::FromArgMatches as _;
        let parse = |pass: &str| {
            let command = <Args as clap::Args>::augment_args(clap::Command::new("unblock"));
            let words = ["unblock", "storm", "--topic", "t", "--reason", "x", "--pass", pass];
            command.try_get_matches_from(words).map(|found| Args::from_arg_matches(&found).unwrap())
        };
        for pass in ["1", "100000000"] {
            assert!(parse(pass).is_ok(), "{pass}");
        }
        for pass in ["0", "-1", "100000001", "all", ""] {
            let error = parse(pass).unwrap_err().to_string();
            assert!(error.contains("--pass"), "{pass}: {error}");
        }
    }

    #[test]
    fn a_reason_of_spaces_is_none() {
        assert_eq!(Exit::from(asked("  ").by().unwrap_err()).code, 2);
    }

    #[tokio::test]
    async fn a_stopped_topic_is_released_once_and_the_second_time_says_so() {
        let store = Store::start().unwrap();
        let redis = crate::redis::Config::stub(store.url());
        let known = Known { redis: &redis, kafka: None, accounts: &[], admin: "" };
        let (mut connection, keys) = (known.connect().await.unwrap(), known.keys());
        for topic in ["clicks", "orders"] {
            let storm = Storm { topic: topic.into(), ..Storm::default() };
            let by = By::new(Via::Worker, "worker w1", "100 records in a row");
            assert!(storms::stop(&mut connection, &keys, &storm, &by, None, 5).await.unwrap());
        }
        let unblock = async |topic: &str, pass| {
            let args = Unstorm { topic: topic.into(), pass, asked: asked("a test") };
            let mut out = Vec::new();
            run(&Args { command: Command::Storm(args) }, &known, &mut out).await.unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(unblock("clicks", None).await, "clicks is read on within seconds, from where it stopped\n");
        let again = "nothing to unblock: the storm brake has not stopped clicks (stopped: orders)\n";
        assert_eq!(unblock("clicks", Some(5)).await, again);
        assert!(unblock("orders", Some(500)).await.ends_with("; up to 500 bad records pass\n"));
        assert_eq!(storms::read_storms(&mut connection, &keys).await.unwrap().2, [("orders".into(), 500)].into());
        assert!(unblock("orders", None).await.ends_with("(no topic is)\n"));
    }

    #[tokio::test]
    async fn an_api_beside_a_real_redis_is_a_matter_of_usage() {
        let redis = crate::redis::Config::stub("redis://127.0.0.1:1");
        let known = Known { redis: &redis, kafka: None, accounts: &[], admin: "" };
        let access = Access { admin: Some("http://127.0.0.1:1".into()), ..Access::default() };
        let args = Args { command: Command::Dedupe(Asked { reason: "a test".into(), who: "li".into(), access }) };
        let exit = Exit::from(run(&args, &known, &mut Vec::new()).await.unwrap_err());
        assert!(exit.code == 2 && exit.text.contains("--admin"), "{exit:?}");
    }
}
