//! The filters of `dead-letters` and `replay` (contract section 6).

use chrono::DateTime;

use crate::error::Reason;
use crate::inspect::dead_letters::letter::DeadLetter;
use crate::similar::nearest;
use crate::units::parse_duration;

/// Selects dead letters; what is not set selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Filter {
    /// Of this platform
    #[arg(long)]
    pub platform: Option<String>,
    /// Of this account
    #[arg(long)]
    pub account: Option<String>,
    /// With this reason, e.g. invalid or rejected
    #[arg(long, value_parser = reason)]
    pub reason: Option<Reason>,
    /// With this code of the platform's last answer
    #[arg(long)]
    pub code: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    pub trans_id: Option<String>,
    /// Ended at or after: RFC 3339, epoch ms, or a span before now, e.g. 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<i64>,
    /// Ended before; as --since
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<i64>,
    /// At most so many, the newest ones
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

impl Filter {
    /// Whether the filter selects this dead letter.
    pub fn selects(&self, letter: &DeadLetter) -> bool {
        let same = |wanted: &Option<String>, name| wanted.as_deref().is_none_or(|w| letter.text(name) == Some(w));
        let at = letter.failed_at_ms();
        same(&self.platform, "platform")
            && same(&self.account, "account")
            && same(&self.code, "last-code")
            && same(&self.trans_id, "trans-id")
            && self.reason.is_none_or(|reason| letter.reason() == Some(reason))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        let close = nearest(text, names.iter().copied());
        let hint = close.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        format!("no such reason{hint}; one of: {}", names.join(", "))
    })
}

fn moment(text: &str) -> Result<i64, String> {
    moment_at(text, crate::kafka::now_ms())
}

/// Reads a moment as epoch ms.
fn moment_at(text: &str, now_ms: i64) -> Result<i64, String> {
    let wrong = || "neither RFC 3339 (2025-01-15T08:00:00Z), nor epoch ms, nor a span such as 90m, 2h or 7d".to_owned();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| wrong());
    }
    if let Some(span) = parse_duration(text) {
        return Ok(now_ms.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)));
    }
    DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_millis()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::tests::letter;

    #[test]
    fn a_moment_is_written_in_three_ways() {
        assert_eq!(moment_at("1736899200123", 0), Ok(1_736_899_200_123));
        assert_eq!(moment_at("2h", 10_000_000), Ok(2_800_000));
        assert_eq!(moment_at("2025-01-15T08:00:00+08:00", 0), Ok(1_736_899_200_000));
        for wrong in ["", "yesterday", "2025-01-15", "-5", "2 h", "1e3"] {
            assert!(moment_at(wrong, 0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_filter_selects_by_its_own_header() {
        let one = letter(0, 1, &[("platform", "baizhu"), ("account", "acme-bz"), ("reason", "rejected")]);
        let two =
            letter(0, 2, &[("trans-id", "t-2"), ("last-code", "3"), ("failed-at", "5000"), ("reason", "invalid")]);
        let selected = |filter: Filter| [&one, &two].map(|letter| filter.selects(letter));
        assert_eq!(selected(Filter::default()), [true, true]);
        let text = |text: &str| Some(text.to_owned());
        for (filter, wanted) in [
            (Filter { platform: text("baizhu"), ..Filter::default() }, [true, false]),
            (Filter { account: text("acme-bz"), ..Filter::default() }, [true, false]),
            (Filter { reason: Some(Reason::Invalid), ..Filter::default() }, [false, true]),
            (Filter { code: text("3"), ..Filter::default() }, [false, true]),
            (Filter { trans_id: text("t-2"), ..Filter::default() }, [false, true]),
            (Filter { since: Some(5000), ..Filter::default() }, [false, true]),
            (Filter { until: Some(5000), ..Filter::default() }, [true, false]),
            (Filter { since: Some(5001), ..Filter::default() }, [false, false]),
        ] {
            assert_eq!(selected(filter.clone()), wanted, "{filter:?}");
        }
    }

    #[test]
    fn a_wrong_reason_names_the_right_ones() {
        assert_eq!(reason("attempts_exhausted"), Ok(Reason::AttemptsExhausted));
        let error = reason("reject").unwrap_err();
        assert!(error.starts_with("no such reason; did you mean rejected?; one of: malformed, "), "{error}");
        assert!(reason("zzzzzzzzzz").unwrap_err().starts_with("no such reason; one of: malformed, "));
    }
}
