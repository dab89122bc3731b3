//! The access tokens of one account, as its platform issues them.

use md5::{Digest, Md5};
use serde_json::Value;

use super::evaluate::below;
use super::expression::{Expr, Op, bodies};
use super::file::{Token, set};
use super::filters::hex;
use crate::sandbox::request::Answer;

/// How long an issued access token lives.
const LIFE_S: i64 = 7200;
/// So many tokens are remembered, so that an old one is known to be expired.
const REMEMBERED: usize = 16;

/// The tokens of one account.
#[derive(Debug)]
pub(super) struct Tokens {
    access: Vec<Issued>,
    refresh: Option<String>,
    count: u64,
}

#[derive(Debug)]
struct Issued {
    token: String,
    /// Unix seconds; `None`: permanent.
    ends: Option<i64>,
    expired: bool,
}

/// What a request may carry.
#[derive(Debug)]
pub(super) enum CarriedToken {
    /// The account has no tokens: its keys alone say who it is.
    Keys,
    /// None was issued so far.
    Nothing,
    /// A token that the account has or had.
    Token { access: String, valid: bool },
}

impl Tokens {
    /// Begins with the tokens of the account's keys.
    pub(super) fn new(keys: &Value) -> Tokens {
        let seed = |name: &str| below(keys, &format!("token.{name}")).json().and_then(Value::as_str).map(str::to_owned);
        let access = seed("access").map(|token| Issued { token, ends: None, expired: false });
        Tokens { access: access.into_iter().collect(), refresh: seed("refresh"), count: 0 }
    }

    /// What a request of the account may carry, the newest token first.
    pub(super) fn known(&self, now: i64) -> Vec<CarriedToken> {
        if self.access.is_empty() {
            return vec![if self.refresh.is_some() { CarriedToken::Nothing } else { CarriedToken::Keys }];
        }
        let carried = |issued: &Issued| CarriedToken::Token {
            access: issued.token.clone(),
            valid: !issued.expired && issued.ends.is_none_or(|ends| now < ends),
        };
        self.access.iter().rev().map(carried).collect()
    }

    /// What the next refresh has to bring.
    pub(super) fn refresh(&self) -> Option<String> {
        self.refresh.clone()
    }

    /// Every access token that was issued so far is expired.
    pub(super) fn expire(&mut self) {
        self.access.iter_mut().for_each(|issued| issued.expired = true);
    }

    /// Issues new tokens; the old refresh token is used up. The older access tokens live on until their end.
    pub(super) fn issue(&mut self, token: &Token, platform: &str, now: i64) -> Answer {
        self.count += 1;
        let make = |kind: &str| {
            let text =
                format!("{platform} {kind} {} {} {now}", self.refresh.as_deref().unwrap_or_default(), self.count);
            format!("{kind}-{}", hex(&Md5::digest(text)))
        };
        let (access, refresh) = (make("access"), make("refresh"));
        let mut body = Value::Null;
        let mut put = |expr: &str, value: Value| {
            if let Some(path) = expr.strip_prefix("body.") {
                set(&mut body, path, value);
            }
        };
        put(&token.access, access.clone().into());
        put(&token.refresh, refresh.clone().into());
        put(&token.expires_in, LIFE_S.into());
        put(&token.expires_at_ms, ((now + LIFE_S) * 1000).into());
        if let Some(failed) = &token.failed {
            bodies(failed).iter().for_each(|path| set(&mut body, path, 0.into()));
        }
        if !token.refresh.is_empty() {
            self.refresh = Some(refresh);
        }
        self.access.push(Issued { token: access, ends: Some(now + LIFE_S), expired: false });
        if self.access.len() > REMEMBERED {
            self.access.remove(0);
        }
        Answer::json(200, body.to_string())
    }
}

/// The answer to a request for tokens that is refused: one for which `failed` holds.
pub(super) fn refused(token: &Token) -> Answer {
    let mut body = Value::Null;
    let mut failing = None;
    if let Some(failed) = &token.failed {
        failed.walk(&mut |part| {
            if let Expr::Two(op, name, other) = part
                && let (Expr::Name(name), true) = (name.as_ref(), failing.is_none())
                && let Some(path) = name.strip_prefix("body.")
            {
                let value = match (op, other.as_ref()) {
                    (Op::In, Expr::List(list)) => match list.first() {
                        Some(Expr::Value(value)) => Some(value.clone()),
                        _ => None,
                    },
                    (Op::Equal, Expr::Value(value)) => Some(value.clone()),
                    (Op::Unequal, Expr::Value(value)) => value.as_i64().map(|number| Value::from(number + 1)),
                    _ => None,
                };
                failing = value.map(|value| (path.to_owned(), value));
            }
        });
    }
    match failing {
        Some((path, value)) => {
            set(&mut body, &path, value);
            Answer::json(200, body.to_string())
        }
        None => Answer::text(400, "the grant is refused\n"),
    }
}
