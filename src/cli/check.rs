//! `postback check`: validates a configuration and names everything that is wrong with it at once.

mod access;
mod connect;
mod rights;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::embedded;
use crate::kafka::{parking_topic, settings, tier_topic};
use crate::platforms::Platform;
use crate::platforms::declared::ExampleResult;
use crate::settings::{Config, Loaded, Problem, environment};

/// Validates the configuration and names every problem at once; connects to nothing unless asked to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postback check --config postback.toml
  POSTBACK__LIMITS__RPS=50 postback check --config postback.toml
  postback check --config postback.toml --connect

--connect looks at what the configuration names, and creates nothing: Kafka's topics and their settings, the version,
policy and memory of Redis and the rights of its user there, dedupe.window against the topics' retention, and each
account's host by DNS and TLS (a connection alone: not a byte of HTTP goes out). Each finding says what mends it.

--connect also compares this machine's clock with that of Redis: over 60 s apart is a warning, over 5 min an error.

Exit code: 0 where `postback run` would start with this configuration, 2 where it would not, an account would halt, or the
worker would hold because of its clock. What
`postback run` would wait for, such as a Kafka or Redis that does not answer, is a warning.")]
pub struct Args {
    /// The configuration file; without it, what `postback run` without a file would use.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Look at Kafka, Redis and the platforms' hosts too
    #[arg(long)]
    connect: bool,
}

/// The exit code for a bad configuration (contract, section 1).
const BAD_CONFIGURATION: u8 = 2;

/// Runs the command. Problems and warnings go to standard error, a summary goes to standard output.
pub fn run(args: &Args) -> ExitCode {
    let loaded = match Config::load(args.config.as_deref(), environment()) {
        Ok(loaded) => loaded,
        Err(found) => {
            tell("warning", &found.warnings);
            tell("error", &found.problems);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let halting = loaded.config.without_credential(chrono::Utc::now().timestamp_millis());
    tell("warning", &loaded.warnings);
    tell("error", &halting);
    let keyless: Vec<_> = loaded.config.without_token_key().into_iter().collect();
    tell("error", &keyless);
    let mut refused: Vec<String> =
        args.config.is_none().then(|| embedded::refusal(&loaded.config)).flatten().into_iter().collect();
    if !loaded.config.is_embedded() {
        // A start reads the file of issuers, so the check reads it too.
        refused.extend(loaded.config.redis.client().err());
        refused.extend(settings::try_clients(&loaded.config.kafka).err().map(|error| error.to_string()));
    }
    // What an own platform says of itself has to hold before its first event.
    for platform in loaded.config.platforms.own() {
        let unshown: Vec<String> =
            platform.unshown().iter().map(|what| format!("{}: {what}", platform.name())).collect();
        lines("warning", &unshown);
        let wrong = platform.examples().into_iter().filter(|outcome| !outcome.problems.is_empty());
        let told = |o: ExampleResult| format!("{} example {}: {}", platform.name(), o.number, o.problems.join("; "));
        refused.extend(wrong.map(told));
    }
    lines("error", &refused);
    let mut bad = !halting.is_empty() || !keyless.is_empty() || !refused.is_empty();
    let mut text = summary(&loaded);
    if args.connect {
        // It looks even if something is bad already, so that the user sees all problems at once.
        let found = connect::look(loaded.config, args.config.is_none());
        lines("warning", &found.warnings);
        lines("error", &found.errors);
        bad |= !found.errors.is_empty();
        text.push_str(&found.summary());
    }
    if bad {
        return ExitCode::from(BAD_CONFIGURATION);
    }
    // It is no failure if the reader has gone, e.g. `| head`.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Prints each finding to standard error. A finding of several lines becomes several lines with the same label.
fn lines(what: &str, found: &[String]) {
    let mut out = std::io::stderr().lock();
    for line in found.iter().flat_map(|text| text.lines()) {
        let _ = writeln!(out, "{what}: {}", crate::redact::mask_text(line));
    }
}

/// Prints each problem to standard error, one line each.
fn tell(what: &str, found: &[Problem]) {
    let mut out = std::io::stderr().lock();
    for problem in found {
        let _ = writeln!(out, "{what}: {problem}");
    }
}

/// Says what this configuration would do: its accounts, and the topics that it reads and writes.
fn summary(loaded: &Loaded) -> String {
    let Config { kafka, retry, accounts, .. } = &loaded.config;
    let mut platforms: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for account in accounts.values() {
        let note = if account.enabled { "" } else { " (disabled)" };
        platforms.entry(account.platform).or_default().push(format!("{}{note}", account.name));
    }
    let tiers = retry.tiers.iter().map(|tier| tier_topic(&kafka.retry_prefix, &tier.name));
    let mut ends = vec![kafka.dead_letter.clone()];
    if !kafka.receipts.is_empty() {
        ends.push(kafka.receipts.clone());
    }
    let mut text = String::from("configuration is valid\n");
    for (platform, names) in platforms {
        text.push_str(&format!("  {platform:<11} {}\n", names.join(", ")));
    }
    let parking = parking_topic(&kafka.parked_prefix, "<account>");
    let results = std::iter::once(&kafka.results).chain(&kafka.result_topics).cloned();
    for (what, topics) in [
        ("reads", kafka.input.join(", ")),
        ("retries", tiers.collect::<Vec<_>>().join(", ")),
        ("parks", parking),
        ("ends", ends.join(", ")),
        ("answers", results.collect::<Vec<_>>().join(", ")),
        ("audits", kafka.audit.clone()),
    ] {
        text.push_str(&format!("  {what:<11} {topics}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_command_line_definition_is_valid_and_has_an_example() {
        Line::command().debug_assert();
        let matches = Line::command().get_matches_from(["check", "--config", "a.toml"]);
        assert_eq!(Line::from_arg_matches(&matches).unwrap().args.config, Some(PathBuf::from("a.toml")));
        assert!(
            <Args as clap::Args>::augment_args(clap::Command::new("check"))
                .render_help()
                .to_string()
                .contains("Examples:")
        );
    }

    #[test]
    fn the_summary_names_accounts_and_topics_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let text = r#"
            kafka = { brokers = "h:9092", receipts = "done" }
            redis = { url = "redis://:MARKER@h" }
            [accounts.acme-bz]
            platform = "baizhu"
            enabled = false
            [accounts.acme-ps]
            platform = "qihoo360"
            secrets = [{ id = "a", key = "k", secret = "MARKER" }]
        "#;
        std::fs::write(&file, text).unwrap();
        let loaded = Config::load(Some(&file), []).unwrap_or_else(|found| panic!("{found}"));
        let text = summary(&loaded);
        for part in [
            "acme-bz (disabled)",
            "acme-ps",
            "conversions",
            "postback.retry.5s",
            "postback.parked.<account>",
            "postback.dlt, done",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(!text.contains("MARKER"));
    }
}
