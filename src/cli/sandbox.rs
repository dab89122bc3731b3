//! `postback sandbox`: runs the strict fake platforms alone, for joint debugging.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::sandbox::{self, LEDGER_CAPACITY, Sandbox, SandboxAccount};

const EXAMPLES: &str = r#"Examples:
  postback sandbox
  postback sandbox --config postback.toml --listen 127.0.0.1:9470
  postback sandbox --fault acme-ps:status=429,retry_after=7,share=0.5
  postback sandbox --fault 'acme-ms={"body": 3, "latency_ms": 200}'

  # what was received, and what was wrong with it
  curl -s http://127.0.0.1:9470/_ledger
  curl -s -X DELETE http://127.0.0.1:9470/_ledger
  curl -s http://127.0.0.1:9470/_status

  # break a platform, and heal it: PUT replaces all faults
  curl -s -X PUT http://127.0.0.1:9470/_faults -d '{"acme-ps": {"status": 500}}'
  curl -s -X PUT http://127.0.0.1:9470/_faults -d '{}'

Faults: latency_ms, status, body (a platform code, JSON or text), retry_after (seconds or a date), hang,
reset (before, during, after), garbage, endless, expired_token, share (0 to 1). `status`, `body`, `retry_after` and
`reset: before` do not take the request; the others take it, answered or not. The account `unknown` stands for
requests that belong to nobody.

Without --config the accounts are made up:"#;

fn help() -> String {
    format!("{EXAMPLES}\n\n{}", sandbox::by_hand())
}

/// Arguments of `postback sandbox`.
#[derive(Args, Clone, Debug)]
#[command(about = "Serve strict fakes of the platforms, with a ledger and faults", after_help = help())]
pub struct SandboxArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9470")]
    pub listen: SocketAddr,
    /// The worker's configuration: its accounts are served; without it, example accounts
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A fault to begin with: ACCOUNT:KEY=VALUE,... or ACCOUNT=JSON; may be repeated
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<String>,
    /// Requests the ledger keeps, about 1.1 KiB each, before the oldest are dropped; /_status counts those
    #[arg(long, value_name = "N", default_value_t = LEDGER_CAPACITY)]
    pub ledger_entries: usize,
    /// Print address and accounts as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl SandboxArgs {
    /// The `--fault` options as the JSON that `PUT /_faults` takes.
    pub fn faults(&self) -> anyhow::Result<Value> {
        let mut faults = Map::new();
        for text in &self.faults {
            let (account, fault) = parse_fault(text).with_context(|| format!("--fault {text}"))?;
            match faults.entry(account).or_insert_with(|| json!({})) {
                Value::Object(members) => members.extend(fault),
                _ => bail!("--fault {text}: not an object"),
            }
        }
        Ok(Value::Object(faults))
    }
}

fn parse_fault(text: &str) -> anyhow::Result<(String, Map<String, Value>)> {
    // The name of an account contains neither character, so the first of them ends the name.
    let at = text.find([':', '=']).context("write ACCOUNT:KEY=VALUE,... or ACCOUNT=JSON")?;
    let (account, rest) = text.split_at(at);
    if let Some(json) = rest.strip_prefix('=') {
        let members = serde_json::from_str(json).context("after ACCOUNT= stands a JSON object")?;
        return Ok((account.to_owned(), members));
    }
    let mut members = Map::new();
    for pair in rest.trim_start_matches(':').split(',') {
        // A switch needs no value, e.g. `acme-ps:hang`.
        let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        members.insert(key.trim().to_owned(), value);
    }
    Ok((account.to_owned(), members))
}

/// Serves until SIGINT or SIGTERM; a second signal ends the process with 130.
pub async fn run(args: SandboxArgs, accounts: Vec<SandboxAccount>) -> anyhow::Result<()> {
    let faults = args.faults()?;
    // The handlers have to stand before the address is printed: a reader of the address may stop the process at once.
    let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listing = accounts.clone();
    let sandbox = Sandbox::start_with_capacity(args.listen, accounts, args.ledger_entries)
        .await
        .with_context(|| format!("cannot serve on {}", args.listen))?;
    if let Err(problems) = sandbox.set_faults(&faults) {
        bail!("--fault: {}", problems.join("; "));
    }
    if !args.listen.ip().is_loopback() {
        eprintln!("warning: {} is not loopback, and the ledger shows every request to anyone", args.listen);
    }
    let text = if args.json { announce_json(&sandbox, &listing) } else { announce(&sandbox, &listing) };
    // The command goes on when nobody reads its output.
    let _ = std::io::stdout().write_all(text.as_bytes());
    next(&mut signals).await;
    tokio::select! {
        () = sandbox.shutdown() => Ok(()),
        () = next(&mut signals) => std::process::exit(130),
    }
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn announce(sandbox: &Sandbox, accounts: &[SandboxAccount]) -> String {
    let url = sandbox.base_url();
    let mut text = format!("sandbox on {url}, ledger {url}/_ledger, faults {url}/_faults, sums {url}/_status\n");
    text.push_str("accounts, as the worker's configuration reaches them:\n");
    for account in accounts {
        text.push_str(&format!(
            "\n[accounts.{}]\nplatform = \"{}\"\nbase_url = \"{url}\"\nallow_http = true\nallow_private = true\n",
            account.name, account.platform
        ));
    }
    text
}

fn announce_json(sandbox: &Sandbox, accounts: &[SandboxAccount]) -> String {
    let url = sandbox.base_url();
    let accounts: Vec<Value> = accounts
        .iter()
        .map(|account| json!({ "name": account.name, "platform": account.platform, "base_url": url }))
        .collect();
    format!("{}\n", json!({ "address": sandbox.address().to_string(), "accounts": accounts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: SandboxArgs,
    }

    fn faults(options: &[&str]) -> anyhow::Result<Value> {
        let words = std::iter::once("sandbox").chain(options.iter().flat_map(|option| ["--fault", option]));
        Cli::from_arg_matches(&Cli::command().get_matches_from(words))?.args.faults()
    }

    #[test]
    fn a_fault_is_written_as_pairs_or_as_json() {
        let json = faults(&[
            "acme-ps:status=429,retry_after=7",
            "acme-ps:share=0.5",
            "acme-zs:hang,reset=during",
            "acme-baizhu={\"body\": \"error\"}",
        ]);
        let expected = json!({
            "acme-ps": {"status": 429, "retry_after": 7, "share": 0.5},
            "acme-zs": {"hang": true, "reset": "during"},
            "acme-baizhu": {"body": "error"},
        });
        assert_eq!(json.unwrap(), expected);
    }

    #[test]
    fn a_fault_that_cannot_be_read_names_the_option() {
        for bad in ["acme-ps", "acme-ps=429", "acme-ps={"] {
            let error = faults(&[bad]).unwrap_err();
            assert!(error.to_string().contains(&format!("--fault {bad}")), "{error}");
        }
    }

    #[test]
    fn the_help_has_examples_and_the_definition_is_valid() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for part in ["Examples:", "postback sandbox", "curl", "127.0.0.1:9470"] {
            assert!(help.contains(part), "{part}");
        }
    }

    #[tokio::test]
    async fn the_announcement_holds_lines_that_can_be_pasted_into_a_configuration() {
        let accounts = SandboxAccount::examples();
        let sandbox = Sandbox::start(([127, 0, 0, 1], 0).into(), accounts.clone()).await.unwrap();
        let text = announce(&sandbox, &accounts);
        assert!(text.contains("[accounts.acme-zs]\nplatform = \"qihoo360\"\n"), "{text}");
        assert!(text.contains(&format!("base_url = \"{}\"", sandbox.base_url())));
        let json: Value = serde_json::from_str(&announce_json(&sandbox, &accounts)).unwrap();
        assert_eq!(json["accounts"].as_array().unwrap().len(), accounts.len());
        sandbox.shutdown().await;
    }

    #[tokio::test]
    async fn a_fault_of_an_unknown_account_is_refused_at_the_start() {
        let args = SandboxArgs {
            listen: ([127, 0, 0, 1], 0).into(),
            config: None,
            faults: vec!["acme-pz:status=500".to_owned()],
            ledger_entries: 10,
            json: false,
        };
        let error = run(args, SandboxAccount::examples()).await.unwrap_err().to_string();
        assert!(error.contains("did you mean `acme-ps`"), "{error}");
    }
}
