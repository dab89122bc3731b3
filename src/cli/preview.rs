//! `postback preview`: shows the exact request that an event would cause, or why there would be none.

use std::path::PathBuf;

use super::table::time;
use super::{load, print, print_json, read_input};
use crate::clock::now_ms;
use crate::exit::Exit;
use crate::inspect::preview::{Accepted, Preview, Previewer, Refused};

/// Shows the exact request that an event would cause; sends nothing.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  postback preview config/examples/qihoo360-ps-order.json       with the accounts of `postback demo`
  postback preview --config postback.toml event.json
  jq -c . event.json | postback preview --config postback.toml --json -
  postback preview --now 1736899200000 --json event.json        the same bytes at every run
  postback preview --now 1736899201000 config/examples/baizhu-install.json

config/examples holds an event per platform, product line and dimension, all of one moment in January 2025; a platform that
takes none older than validate.max_event_age has its examples shown as of then.

Method, URL, headers, body and what was signed are the ones that the worker would send at that moment; a secret in them
is masked unless --show-secrets. The dedupe key is the claim's key in Redis, its 16 bytes written as hexadecimal digits.
The deadline is the last moment an attempt may start: the end of the platform's natural day less its guard, or the
event's own deadline_ms.

Exit code: 0 it would be sent, or the person opted out; 3 it would end in the dead letters, with the same reason and
field; 2 the configuration is bad, the file cannot be read, or the account has no credential that holds.")]
pub struct Args {
    /// File of one event as JSON; `-` reads standard input
    #[arg(value_name = "EVENT.json")]
    file: PathBuf,
    /// Configuration file; without it the accounts of `postback demo`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// The present, in epoch ms: makes the output reproducible
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..=9_999_999_999_999))]
    now: Option<i64>,
    /// Show secrets and tokens as they are
    #[arg(long)]
    show_secrets: bool,
}

/// Runs the command.
///
/// # Errors
/// 3 where the event would be a dead letter, 2 where its account cannot send or there is no event to be read.
pub fn run(args: &Args) -> Result<(), Exit> {
    let config = load(args.config.as_deref())?;
    let value = read_input(&args.file)?;
    let previewer =
        Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix).knowing(&config.platforms);
    match previewer.look(Some(&value), Vec::new(), args.now.unwrap_or_else(now_ms)) {
        Preview::Accepted(accepted) if args.json => print_json(&accepted.json(args.show_secrets)),
        Preview::Accepted(accepted) => print(&show(&accepted, args.show_secrets)),
        Preview::Refused(refused) => {
            // A dead letter goes to standard output too, because the caller asked what would become of the event.
            if args.json {
                print_json(&refused)?
            } else {
                let next =
                    [whose_accounts(&refused, args.config.is_some()), what_is_one_event(&refused, &value)].concat();
                print(&format!("{}{next}", tell(&refused)))?
            }
            if refused.reason == "suppressed" { Ok(()) } else { Err(Exit { code: 3, text: String::new() }) }
        }
        Preview::Halted(why) => Err(Exit::usage(format!("{why}: the account would halt"))),
    }
}

/// The request as it goes over the network, and what belongs to it.
pub(super) fn show(accepted: &Accepted, show_secrets: bool) -> String {
    let request = &accepted.request;
    let mut text = String::from("would be sent\n");
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<11} {value}\n"));
    line("event", &format!("{} of {} ({})", accepted.event, accepted.account, accepted.platform));
    line("lane", &accepted.account);
    line("dedupe key", &accepted.dedupe_key);
    let moment = |ms: Option<i64>| ms.map(|ms| format!("{} ({ms})", time(Some(ms))));
    line("deadline", moment(accepted.deadline_ms).as_deref().unwrap_or("none"));
    if let Some(too_old) = moment(accepted.too_old_ms) {
        line("too old", &format!("after {too_old}"));
    }
    for warning in accepted.warnings(show_secrets) {
        line("warning", warning);
    }
    text.push_str(&format!("\n{} {}\n", request.request.method, request.url(show_secrets)));
    for (name, value) in request.headers(show_secrets) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    let body = match request.text(show_secrets) {
        Some(body) => body,
        None if request.request.body.is_empty() => "(no body)".to_owned(),
        None => format!("({} bytes that are no text: --json shows them)", request.request.body.len()),
    };
    text.push_str(&format!("\n{body}\n"));
    if let Some(input) = request.signature_input(show_secrets) {
        text.push_str(&format!("\nsigned text\n{input}\n"));
    }
    // The body may contain line breaks and tabs. Other control characters could steer the terminal.
    text.chars().map(|c| if c.is_control() && !"\r\n\t".contains(c) { '\u{fffd}' } else { c }).collect()
}

/// Says why the event would not be sent.
pub(super) fn tell(refused: &Refused) -> String {
    let field = if refused.field.is_empty() { String::new() } else { format!(", field {}", refused.field) };
    let how = if refused.reason == "suppressed" { "suppressed, nothing is sent" } else { "dead letter" };
    let detail = refused.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let reason = if refused.reason == "suppressed" { String::new() } else { format!(" {}", refused.reason) };
    format!("would not be sent: {how}{reason}{field}{detail}\n")
}

/// What to do about an account that is not there.
fn whose_accounts(refused: &Refused, has_config: bool) -> &'static str {
    if refused.field != "account" || has_config {
        return "";
    }
    "  the accounts are those of `postback demo`: name your own with --config FILE\n"
}

/// What to give instead of an input that is no single event.
fn what_is_one_event(refused: &Refused, value: &[u8]) -> &'static str {
    if refused.reason != "malformed" {
        return "";
    }
    let value = value.trim_ascii();
    let mut values = serde_json::Deserializer::from_slice(value).into_iter::<serde::de::IgnoredAny>();
    let begins_another = |at: usize| value.get(at..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"));
    if value.is_empty() {
        "  the input is empty: it has to be one event as JSON, such as config/examples/qihoo360-ps-order.json\n"
    } else if value.starts_with(b"[") || matches!(values.next(), Some(Ok(_))) && begins_another(values.byte_offset()) {
        "  preview takes one event: give one of them; `postback send` takes an array, or one event per line\n"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Config;

    const NOW: i64 = 1_736_899_201_000;

    fn look(file: &str) -> Preview {
        let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let path = format!("{}/config/examples/{file}", env!("CARGO_MANIFEST_DIR"));
        Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix).look(
            Some(&std::fs::read(path).unwrap()),
            Vec::new(),
            NOW,
        )
    }

    #[test]
    fn the_text_shows_the_request_and_hides_the_secret() {
        let Preview::Accepted(accepted) = look("qihoo360-ps-order.json") else { panic!("refused") };
        let text = show(&accepted, false);
        for part in [
            "ORDER of demo-360-ps (qihoo360)",
            "deadline    2025-01-15T16:00:00Z (1736956800000)",
            "POST http://127.0.0.1:9470/uploadWebConvert\nApp-Key: demo360ps00000000001\nApp-Sign: ",
            "\n{\"data\":{\"request_time\":1736899201,",
            "\nsigned text\n***{\"data\":",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(show(&accepted, true).contains("d41d8cd98f00b204e9800998ecf8427e{"));
    }

    #[test]
    fn a_refusal_is_one_line_with_reason_and_field() {
        let refused =
            |reason, field: &str, detail| tell(&Refused { accepted: false, reason, field: field.to_owned(), detail });
        let text = refused("invalid", "click.qhclickid", Some("missing or empty".to_owned()));
        assert_eq!(text, "would not be sent: dead letter invalid, field click.qhclickid: missing or empty\n");
        let text = refused("suppressed", "consent.opt_out", None);
        assert_eq!(text, "would not be sent: suppressed, nothing is sent, field consent.opt_out\n");
    }

    #[test]
    fn an_account_that_the_demo_does_not_have_leads_to_a_configuration() {
        let refused =
            |field: &str| Refused { accepted: false, reason: "unknown_account", field: field.to_owned(), detail: None };
        assert!(whose_accounts(&refused("account"), false).contains("--config FILE"));
        assert_eq!(whose_accounts(&refused("account"), true), "");
        assert_eq!(whose_accounts(&refused("platform"), false), "");
    }

    #[test]
    fn an_input_that_is_no_single_event_leads_to_one() {
        let refused = |reason| Refused { accepted: false, reason, field: String::new(), detail: None };
        let says = |value: &[u8]| what_is_one_event(&refused("malformed"), value);
        for empty in [&b""[..], b" \r\n"] {
            assert!(says(empty).contains("the input is empty") && says(empty).contains("config/examples/"));
        }
        for several in [&b"[{}]"[..], b"{\"a\":1}\n{\"a\":2}\n", b"{}{}", b"[1"] {
            assert!(says(several).contains("takes one event"), "{several:?}");
        }
        for one in [&b"{\"a\":1"[..], b"{} x", b"hello", b"5"] {
            assert_eq!(says(one), "", "{one:?}");
        }
        assert_eq!(what_is_one_event(&refused("invalid"), b"[]"), "");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_mistake_of_usage_and_no_bad_input() {
        let args = Args { file: "no/such.json".into(), config: None, json: false, now: None, show_secrets: false };
        let exit = run(&args).err().unwrap();
        assert!(exit.code == 2 && exit.text.starts_with("no/such.json cannot be read: "), "{exit:?}");
    }
}
