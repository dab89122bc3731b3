//! The keys of a 快递鸟 account (contract section 2), and what is wrong with them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::platforms::Problem;
use crate::units::parse_duration;

/// Its midnight ends the day of the platform's limits.
pub(super) const ZONE: chrono_tz::Tz = chrono_tz::Asia::Shanghai;

/// The keys that only 快递鸟 accounts have. Credentials are not among them: they come with each request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// How requests are signed.
    pub data_sign: DataSign,
    /// What a track query asks for.
    pub request_type: i64,
    /// Between two queries of one waybill at least, e.g. `30m`; `0s`: any time.
    pub min_interval: String,
    /// Queries a day, at most, of all accounts with one EBusinessID.
    pub daily_limit: i64,
    /// Accounts that answer track queries in place of this one while it is broken, in order.
    pub alternates: Vec<String>,
    /// Codes of carriers beside those of the list that is compiled in.
    pub carriers: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_sign: DataSign::default(),
            request_type: 1002,
            // No source of 快递鸟 states an interval; this is what 快递100 asks for (PUBLIC section 5).
            min_interval: "30m".into(),
            daily_limit: 500,
            alternates: Vec::new(),
            carriers: Vec::new(),
        }
    }
}

/// `data_sign` (A15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSign {
    /// Base64 of the MD5 in lower-case hex: the published worked example.
    #[default]
    Base64Md5,
    /// The MD5 in upper-case hex.
    Md5Upper,
}

/// What a request asks for: its `RequestType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestType {
    /// 即时查询.
    Query,
    /// 在途监控, the paid query.
    PaidQuery,
    /// 快递查询, which finds the carrier by itself.
    DetectingQuery,
    /// 物流跟踪: pushes of the platform to an address that is set in its console.
    Subscription,
}

impl RequestType {
    const ALL: [RequestType; 4] = [Self::Query, Self::PaidQuery, Self::DetectingQuery, Self::Subscription];

    /// Its number, as it is sent.
    pub(super) fn number(self) -> &'static str {
        match self {
            Self::Query => "1002",
            Self::PaidQuery => "8001",
            Self::DetectingQuery => "8002",
            Self::Subscription => "1008",
        }
    }

    pub(super) fn of(number: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Queries go to one address and subscriptions to another one (PUBLIC section 5).
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Query | Self::PaidQuery | Self::DetectingQuery => "/Ebusiness/EbusinessOrderHandle.aspx",
            Self::Subscription => "/api/dist",
        }
    }

    /// Whether interval and daily limit apply: they are about queries, and a subscription is what replaces these.
    pub(super) fn is_limited(self) -> bool {
        self != Self::Subscription
    }
}

impl Config {
    /// Checks every key; all problems at once.
    pub(super) fn check(self) -> Result<Settings, Vec<Problem>> {
        let mut problems: Vec<Problem> = Vec::new();
        let mut wrong = |key: &str, reason: String| problems.push((key.to_owned(), reason));
        let request_type = RequestType::of(&self.request_type.to_string());
        if request_type.is_none() {
            let known = RequestType::ALL.map(RequestType::number).join(", ");
            wrong("request_type", format!("{} is none of {known}", self.request_type));
        }
        let min_interval =
            parse_duration(&self.min_interval).filter(|interval| *interval <= Duration::from_secs(86_400));
        if min_interval.is_none() {
            wrong("min_interval", format!("{:?} is no duration up to a day, e.g. \"30m\"", self.min_interval));
        }
        let daily_limit = u64::try_from(self.daily_limit).ok().filter(|limit| *limit > 0);
        if daily_limit.is_none() {
            wrong("daily_limit", format!("{} is below 1: nothing could be asked", self.daily_limit));
        }
        for code in &self.carriers {
            if code.is_empty() || !code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                wrong("carriers", format!("{code:?} is no carrier code: letters, digits and `_`"));
            }
        }
        let (Some(request_type), Some(min_interval), Some(daily_limit), true) =
            (request_type, min_interval, daily_limit, problems.is_empty())
        else {
            return Err(problems);
        };
        let Self { data_sign, alternates, carriers, .. } = self;
        Ok(Settings { data_sign, request_type, min_interval, daily_limit, alternates, carriers })
    }
}

/// A checked [`Config`].
pub(super) struct Settings {
    pub(super) data_sign: DataSign,
    pub(super) request_type: RequestType,
    pub(super) min_interval: Duration,
    pub(super) daily_limit: u64,
    pub(super) alternates: Vec<String>,
    pub(super) carriers: Vec<String>,
}
