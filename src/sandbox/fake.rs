//! What each fake gives: the platform's endpoints, how it tells whose a request is, what it checks, and what it answers.

use std::fmt;

use serde_json::Value;

use super::account::SandboxAccount;
use super::judgement::Judgement;
use super::request::Request;

/// One line of the list of platforms.
pub(super) struct Platform {
    /// The name in the worker's configuration.
    pub(super) name: &'static str,
    /// Makes the fake of its accounts, each with its index among all accounts; every problem is named.
    pub(super) open: fn(&[(usize, &SandboxAccount)]) -> Opened,
    /// The accounts that `postback sandbox` has without a configuration file. Their secrets are made up and published.
    pub(super) examples: fn() -> Vec<SandboxAccount>,
    /// What these accounts are called and how one is reached by hand: commands for a shell.
    pub(super) by_hand: &'static str,
}

/// A fake that is ready, or every problem of its accounts.
pub(super) type Opened = Result<Box<dyn Fake>, Vec<String>>;

/// A platform as its accounts meet it.
pub trait Fake: fmt::Debug + Send + Sync {
    /// Judges a request to one of the platform's endpoints; `None`: it is to no endpoint. `now` in Unix seconds.
    fn judge(&self, request: &Request, now: i64) -> Option<Judgement>;

    /// The account that sent a request to no endpoint, as far as its credentials tell.
    fn account_of(&self, request: &Request) -> Option<usize>;

    /// The platform's body for the code that a `body` fault names; `None`: it names none.
    fn body_of(&self, code: &Value) -> Option<String>;
}
