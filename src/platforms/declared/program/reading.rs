//! `[answer]` and `[token]`, compiled.

use chrono_tz::Tz;

use crate::platforms::declared::definition::{Answer, AnswerItems, Token, Unmentioned};
use crate::platforms::declared::engine::{Compiler, Expr, Template, Variable};
use crate::platforms::declared::program::form::Form;

pub(super) const OF_ANSWER: [Variable; 5] =
    [Variable::Status, Variable::Headers, Variable::Body, Variable::Text, Variable::Account];
const OF_ITEM: [Variable; 6] =
    [Variable::Item, Variable::Status, Variable::Headers, Variable::Body, Variable::Text, Variable::Account];

/// What an answer means, class by class.
#[derive(Debug)]
pub(in crate::platforms::declared) struct AnswerRules {
    pub delivered: Option<Expr>,
    pub refresh: Option<Expr>,
    pub halt: Option<Expr>,
    pub throttled: Option<Expr>,
    pub minute: Option<Expr>,
    pub day: Option<Expr>,
    /// Whose midnight ends the day.
    pub tz: Tz,
    pub permanent: Option<Expr>,
    pub once_more: Option<Expr>,
    pub retry: Option<Expr>,
    pub code: Option<Expr>,
    pub platform_id: Option<Expr>,
    pub split: Option<Expr>,
    pub items: Option<ItemRules>,
}

/// What it means for each item of a batch.
#[derive(Debug)]
pub(in crate::platforms::declared) struct ItemRules {
    /// `None`: always.
    pub when: Option<Expr>,
    pub at: Option<Expr>,
    /// `None`: the list has the request's order.
    pub index: Option<Expr>,
    pub index_base: Template,
    pub unmentioned: Unmentioned,
    pub delivered: Option<Expr>,
    pub retry: Option<Expr>,
    pub throttled: Option<Expr>,
    pub permanent: Option<Expr>,
    pub code: Option<Expr>,
    pub platform_id: Option<Expr>,
}

/// How tokens are asked for, and what the answer brings.
#[derive(Debug)]
pub(in crate::platforms::declared) struct TokenRules {
    pub request: Form,
    pub access: Option<Expr>,
    pub refresh: Option<Expr>,
    pub expires_in: Option<Expr>,
    pub expires_at_ms: Option<Expr>,
    pub refresh_expires_at_ms: Option<Expr>,
    pub failed: Option<Expr>,
    /// Empty: as usual.
    pub refresh_ratio: Template,
}

impl Compiler<'_> {
    pub(super) fn answer(&self) -> AnswerRules {
        let definition = &self.source.definition;
        let answer = &definition.answer;
        let is_needed =
            !definition.request.is_empty() || definition.calls.iter().any(|(_, call)| call.answer.is_none());
        if is_needed && answer.delivered.trim().is_empty() && answer.items.is_none() {
            self.problem("answer.delivered", "is missing: without it nothing would ever be delivered");
        }
        self.answer_rules("answer", answer)
    }

    /// The rules that stand at a key.
    pub(super) fn answer_rules(&self, key: &str, answer: &Answer) -> AnswerRules {
        let expr = |name: &str, text: &str| self.expr(&format!("{key}.{name}"), text, &OF_ANSWER);
        AnswerRules {
            delivered: expr("delivered", &answer.delivered),
            refresh: expr("refresh", &answer.refresh),
            halt: expr("halt", &answer.halt),
            throttled: expr("throttled", &answer.throttled),
            minute: expr("minute", &answer.minute),
            day: expr("day", &answer.day),
            tz: self.zone(key, &answer.tz, &answer.day, "day"),
            permanent: expr("permanent", &answer.permanent),
            once_more: expr("once_more", &answer.once_more),
            retry: expr("retry", &answer.retry),
            code: expr("code", &answer.code),
            platform_id: expr("platform_id", &answer.platform_id),
            split: expr("split", &answer.split),
            items: answer.items.as_ref().map(|items| self.answer_items(items)),
        }
    }

    /// The zone of a limit that the key `limit` states for a day.
    pub(super) fn zone(&self, key: &str, name: &str, of_a_day: &str, limit: &str) -> Tz {
        let tz = name.parse();
        if tz.is_err() && !name.is_empty() {
            self.problem(&format!("{key}.tz"), format!("{name:?} is no time zone, e.g. Asia/Shanghai"));
        } else if tz.is_err() && !of_a_day.is_empty() {
            self.problem(&format!("{key}.{limit}"), "stands without `tz`, the zone whose midnight ends the day");
        }
        tz.unwrap_or_default()
    }

    fn answer_items(&self, items: &AnswerItems) -> ItemRules {
        if items.at.trim().is_empty() {
            self.problem("answer.items", "has no `at`: the list in the answer");
        }
        let expr = |name: &str, text: &str| self.expr(&format!("answer.items.{name}"), text, &OF_ITEM);
        // The name of a member, or an expression.
        let is_name = items.index.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && items.index != "item";
        let index = match items.index.as_str() {
            "" => None,
            name if is_name => expr("index", &format!("item.{name}")),
            text => expr("index", text),
        };
        let base = if items.index_base.0.is_empty() { "0" } else { &items.index_base.0 };
        let index_base = self.template("answer.items.index_base", base, &[Variable::Account]);
        if matches!(&index_base, Template::Fixed(text) if text.trim().parse::<i64>().is_err()) {
            let reason = "has to be a whole number, or a template that makes one of a key of the account";
            self.problem("answer.items.index_base", reason);
        }
        ItemRules {
            when: expr("when", &items.when),
            at: expr("at", &items.at),
            index,
            index_base,
            unmentioned: items.unmentioned,
            delivered: expr("delivered", &items.delivered),
            retry: expr("retry", &items.retry),
            throttled: expr("throttled", &items.throttled),
            permanent: expr("permanent", &items.permanent),
            code: expr("code", &items.code),
            platform_id: expr("platform_id", &items.platform_id),
        }
    }

    pub(super) fn token(&self, token: &Token) -> TokenRules {
        if token.access.trim().is_empty() {
            self.problem("token.access", "is missing: where the answer has the access token");
        }
        let expr = |name: &str, text: &str| self.expr(&format!("token.{name}"), text, &OF_ANSWER);
        let known = [Variable::Account, Variable::Token, Variable::NowMs];
        self.of_one_request("token.request", &token.request);
        let refresh_ratio = self.template("token.refresh_ratio", &token.refresh_ratio.0, &[Variable::Account]);
        if matches!(&refresh_ratio, Template::Fixed(text) if !text.is_empty() && ratio(text).is_none()) {
            self.problem("token.refresh_ratio", NO_RATIO);
        }
        TokenRules {
            request: self.compiled_form("token.request".to_owned(), &token.request, &known),
            access: expr("access", &token.access),
            refresh: expr("refresh", &token.refresh),
            expires_in: expr("expires_in", &token.expires_in),
            expires_at_ms: expr("expires_at_ms", &token.expires_at_ms),
            refresh_expires_at_ms: expr("refresh_expires_at_ms", &token.refresh_expires_at_ms),
            failed: expr("failed", &token.failed),
            refresh_ratio,
        }
    }
}

/// What the share of a token's life has to be. An earlier refresh could follow upon the one before.
pub(in crate::platforms::declared) const NO_RATIO: &str = "has to be a number from 0.5 to 1";

/// The share of a token's life after which it is refreshed.
pub(in crate::platforms::declared) fn ratio(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|ratio| (0.5..=1.0).contains(ratio))
}
