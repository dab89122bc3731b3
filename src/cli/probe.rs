//! `postback probe`: finds out what a platform lets find out harmlessly about an account.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::{load, print, print_json};
use crate::account::Account;
use crate::clock::now_ms;
use crate::error::DeliveryError;
use crate::exit::{Exit, block_on};
use crate::operate::unknown_account;
use crate::platforms::headers::Headers;
use crate::platforms::http_status::judge;
use crate::platforms::probe::{Probe, ProbeReading, Variant};
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::{Context, Credential, Receipt};
use crate::redis::health::Health;
use crate::send::Dispatcher;
use crate::similar::nearest;

/// From one request to the next.
const PACE: Duration = Duration::from_secs(1);

/// Tries out on an account's platform what it lets find out harmlessly.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  postback probe --config postback.toml acme-doudian
  postback probe --config postback.toml --json acme-ps
  postback probe demo-360-ps                      an account of `postback demo`, while that runs

Where a platform's documents leave open how requests are signed, the variants are tried one after the other on a request that
changes nothing, at most one per second, until one is accepted; the keys to set are printed. Of every other platform
the connection alone is tested: DNS, TCP and TLS, and not a byte of HTTP goes out.

Exit code: 0 a variant was accepted, or the platform can be reached; 1 none was, or it cannot; 2 the configuration is bad,
or the account has no credential that holds.")]
pub struct Args {
    /// The account
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Configuration file; without it the accounts of `postback demo`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// 1 where nothing was accepted or reached, 2 where the account is unknown or cannot sign.
pub fn run(args: &Args) -> Result<(), Exit> {
    let config = load(args.config.as_deref())?;
    let account = config.accounts.get(args.account.as_str()).ok_or_else(|| {
        let close = nearest(&args.account, config.accounts.keys().map(|name| &**name));
        Exit::usage(unknown_account(&args.account, close))
    })?;
    let say = |line: &str| if args.json { Ok(()) } else { print(line) };
    let found = block_on(look(account, PACE, say))?;
    if args.json {
        print_json(&found.json())?;
    } else {
        print(&found.text())?;
    }
    found.exit()
}

/// What was found out.
#[derive(Debug)]
struct Found {
    account: Arc<str>,
    platform: &'static str,
    of: Of,
}

#[derive(Debug)]
enum Of {
    /// Per base URL, why it cannot be reached.
    Connections(Vec<(String, Option<String>)>),
    Variants {
        tried: Vec<Tried>,
        leaves_open: &'static str,
    },
}

/// A variant that was tried.
#[derive(Debug)]
struct Tried {
    variant: Variant,
    is_accepted: bool,
    why: String,
}

/// Looks at the platform of an account; `say` is told each step as it is done.
async fn look(account: &Arc<Account>, pace: Duration, say: impl Fn(&str) -> Result<(), Exit>) -> Result<Found, Exit> {
    // If a TLS provider is installed already, this call fails and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dispatcher = Dispatcher::new(account.clone(), Arc::new(Health::default())).map_err(Exit::usage)?;
    let of = match account.call.as_ref().and_then(|call| call.probe()) {
        Some(probe) => {
            let tried = variants(probe, &dispatcher, account, pace, say).await?;
            Of::Variants { tried, leaves_open: probe.leaves_open() }
        }
        None => {
            let mut all = Vec::new();
            for (base, url) in account.base_urls.iter().enumerate() {
                let why = dispatcher.probe(base).await.err().map(|error| why(&error));
                all.push((url.clone(), why));
            }
            Of::Connections(all)
        }
    };
    Ok(Found { account: account.name.clone(), platform: account.platform, of })
}

/// Tries the variants until one is accepted.
async fn variants(
    probe: &dyn Probe,
    dispatcher: &Dispatcher,
    account: &Account,
    pace: Duration,
    say: impl Fn(&str) -> Result<(), Exit>,
) -> Result<Vec<Tried>, Exit> {
    let mut tried = Vec::new();
    let mut next = Instant::now();
    for (n, variant) in probe.variants().iter().enumerate() {
        sleep_until(next).await;
        next = Instant::now() + pace;
        let now_ms = now_ms();
        let credential = Credential::in_force(&account.credentials, now_ms);
        let request = probe
            .request(n, &Context { now_ms, credential, token: None })
            .map_err(|fault| Exit::usage(format!("accounts.{}.{}: {}", account.name, fault.field, fault.detail)))?;
        let failed = |error: &DeliveryError| {
            let account = &account.name;
            Exit::failed(format!("account {account}: the platform judges no variant now: {}", why(error)))
        };
        let reply = dispatcher.ask(request).await.map_err(|error| failed(&error))?;
        let http = HttpAnswer {
            status: reply.status,
            retry_after: reply.retry_after.as_deref(),
            headers: Headers::new(&reply.headers),
            body: &reply.body,
            now_ms,
        };
        let (is_accepted, why) = match probe.read(&http) {
            ProbeReading::Accepted => (true, String::new()),
            ProbeReading::Refused(words) => (false, words),
            ProbeReading::Failed(error) => return Err(failed(&error)),
            ProbeReading::Nothing => match judge(1, &http, || Reading::Nothing).one() {
                Ok(Receipt { .. }) => (true, String::new()),
                // Whoever signs wrongly may be refused by the status alone.
                Err(DeliveryError::Halt(answer)) if matches!(answer.status, Some(401 | 403)) => (false, answer.detail),
                Err(error) => return Err(failed(&error)),
            },
        };
        let tried_now = Tried { variant: variant.clone(), is_accepted, why };
        say(&format!("  {}\n", tried_now.line()))?;
        tried.push(tried_now);
        if is_accepted {
            break;
        }
    }
    Ok(tried)
}

fn why(error: &DeliveryError) -> String {
    error.answer().map_or_else(|| "it cannot be used".to_owned(), |answer| answer.detail.clone())
}

impl Tried {
    fn keys(&self) -> String {
        self.variant.keys.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
    }

    fn line(&self) -> String {
        let became = if self.is_accepted { "accepted".to_owned() } else { format!("refused: {}", self.why) };
        // The words are the platform's.
        let line = format!("{}: {}", self.keys(), became.trim_end_matches([':', ' ']));
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl Found {
    /// The variant that was accepted.
    fn accepted(&self) -> Option<&Tried> {
        match &self.of {
            Of::Variants { tried, .. } => tried.iter().find(|tried| tried.is_accepted),
            Of::Connections(_) => None,
        }
    }

    /// What is said at the end, after a line for each variant.
    fn text(&self) -> String {
        match &self.of {
            Of::Connections(all) => {
                let line = |(url, why): &(String, Option<String>)| match why {
                    None => format!("{url}: connected; {} has nothing else to try out harmlessly\n", self.platform),
                    Some(why) => format!("{url}: {why}\n"),
                };
                all.iter().map(line).collect()
            }
            Of::Variants { leaves_open, .. } => {
                let Some(accepted) = self.accepted() else { return String::new() };
                let mut text = format!("set in [accounts.{}]:\n", self.account);
                for (key, value) in &accepted.variant.keys {
                    text.push_str(&format!("  {key} = {value}\n"));
                }
                if !leaves_open.is_empty() {
                    text.push_str(&format!("not found out: {leaves_open}\n"));
                }
                text
            }
        }
    }

    fn json(&self) -> Value {
        let keys = |tried: &Tried| -> Map<String, Value> {
            let plain = |value: &str| serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            tried.variant.keys.iter().map(|(key, value)| ((*key).to_owned(), plain(value))).collect()
        };
        let mut json = json!({ "account": &*self.account, "platform": self.platform });
        match &self.of {
            Of::Connections(all) => {
                let one = |(url, why): &(String, Option<String>)| json!({ "url": url, "connected": why.is_none(), "why": why });
                json["connections"] = all.iter().map(one).collect();
            }
            Of::Variants { tried, leaves_open } => {
                let one =
                    |tried: &Tried| json!({ "keys": keys(tried), "accepted": tried.is_accepted, "why": tried.why });
                json["tried"] = tried.iter().map(one).collect();
                json["keys"] = self.accepted().map_or(Value::Null, |accepted| keys(accepted).into());
                json["not_found_out"] = (*leaves_open).into();
            }
        }
        json
    }

    fn exit(&self) -> Result<(), Exit> {
        match &self.of {
            Of::Connections(all) if all.iter().any(|(_, why)| why.is_some()) => {
                Err(Exit::failed(format!("account {}: its platform cannot be reached", self.account)))
            }
            Of::Variants { tried, .. } if self.accepted().is_none() => Err(Exit::failed(format!(
                "account {}: the platform accepts none of {} variants: check key and secret, and ask it how it signs",
                self.account,
                tried.len()
            ))),
            Of::Connections(_) | Of::Variants { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
