//! The keys of a 数环通 account (contract section 2), and what is wrong with them.

mod classify;
mod common_params;
mod token;

use serde::{Deserialize, Serialize};

use crate::platforms::Problem;
use crate::platforms::solinkup::catalog::{Common, Name};
use crate::platforms::solinkup::sign::{Algorithm, Profile, Recipe, VersionLabel};
use crate::platforms::tokens::Seed;
use classify::{Classify, Patterns};
use common_params::CallKeys;
use token::TokenKeys;

/// The days of the past that a report may span: the platform states the number without a unit (A21).
const SPAN_DAYS: u32 = 180;

/// The keys that only 数环通 accounts have. Credentials are not among them: they come with each request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// Whose data the calls ask for: the id that the platform gave the shop or advertiser.
    pub open_id: Option<String>,
    pub sign: Sign,
    pub token: TokenKeys,
    /// Calls that cannot be taken back may be made.
    pub allow_destructive: bool,
    /// Which answers mean what, where no code tells.
    pub classify: Classify,
    /// The most days from the first to the last day of a report.
    pub max_span_days: u32,
    /// Reports are asked for the metrics alone that the platform's tables list.
    pub strict_fields: bool,
    /// Per call.
    pub call: CallKeys,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            open_id: None,
            sign: Sign::default(),
            token: TokenKeys::default(),
            allow_destructive: false,
            classify: Classify::default(),
            max_span_days: SPAN_DAYS,
            strict_fields: false,
            call: CallKeys::default(),
        }
    }
}

/// `sign`: what the platform's three descriptions of its signature leave open (SPEC 4.3).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Sign {
    pub profile: Profile,
    pub version_label: VersionLabel,
    /// `md5`, `hmac-sha256` or `sha256`.
    pub algorithm: String,
    /// Whether trigger calls say how they are signed; absent: as `profile` is `demo`.
    pub send_sign_method: Option<bool>,
    /// Members of the body that are signed as well, e.g. `refreshToken`.
    pub extra_params: Vec<String>,
    /// Whether trigger calls are signed at all.
    pub trigger: bool,
}

impl Default for Sign {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            version_label: VersionLabel::default(),
            algorithm: Algorithm::default().as_str().into(),
            send_sign_method: None,
            extra_params: Vec::new(),
            trigger: true,
        }
    }
}

impl Config {
    /// Checks every key; all problems at once.
    pub(super) fn check(self) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, reason: String| problems.push((key.to_owned(), reason));

        match self.open_id.as_deref() {
            Some("") => wrong("open_id", "is empty; leave it out where only templates are listed".into()),
            Some(id) if id.chars().any(char::is_control) => wrong("open_id", "holds control characters".into()),
            _ => {}
        }
        let algorithm = Algorithm::of(&self.sign.algorithm).unwrap_or_else(|| {
            wrong("sign.algorithm", no_algorithm(&self.sign.algorithm));
            Algorithm::default()
        });
        for name in &self.sign.extra_params {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                wrong("sign.extra_params", format!("{name:?} is no name of a member of the body"));
            }
        }
        if self.max_span_days == 0 {
            wrong("max_span_days", "is 0: every report would be refused".into());
        }
        let common = self.call.check(&mut wrong);
        let patterns = self.classify.check(&mut wrong);
        let refresh_before_ms = self.token.check(&mut wrong);
        let (Some(patterns), Some(refresh_before_ms), true) = (patterns, refresh_before_ms, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Settings {
            open_id: self.open_id,
            recipe: Recipe {
                profile: self.sign.profile,
                label: self.sign.version_label,
                algorithm,
                extra: self.sign.extra_params,
            },
            sends_sign_method: self.sign.send_sign_method.unwrap_or(self.sign.profile == Profile::Demo),
            signs_trigger: self.sign.trigger,
            seed: self.token.seed(),
            refresh_before_ms,
            allow_destructive: self.allow_destructive,
            patterns,
            max_span_days: self.max_span_days,
            strict_fields: self.strict_fields,
            common,
        })
    }
}

fn no_algorithm(text: &str) -> String {
    match text {
        "base64" => "base64 is refused: it would publish the secret with every request".into(),
        other => {
            let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
            format!("{other:?} is none of {known}")
        }
    }
}

/// A checked [`Config`].
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) open_id: Option<String>,
    pub(super) recipe: Recipe,
    pub(super) sends_sign_method: bool,
    pub(super) signs_trigger: bool,
    pub(super) seed: Seed,
    /// How long before the first end of a pair it is refreshed.
    pub(super) refresh_before_ms: i64,
    pub(super) allow_destructive: bool,
    pub(super) patterns: Patterns,
    pub(super) max_span_days: u32,
    pub(super) strict_fields: bool,
    /// The calls whose common parameters the account states.
    pub(super) common: Vec<(Name, Vec<Common>)>,
}

impl Settings {
    /// What `check` warns of.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        if self.open_id.is_none() {
            let why = "is not configured: every call but template.list will be refused";
            warnings.push(("open_id".into(), why.into()));
        }
        warnings
    }
}
