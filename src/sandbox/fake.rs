//! What a fake provides: the platform's endpoints, how it finds the account of a request, its checks and its answers.

use std::fmt;

use serde_json::Value;

use super::account::SandboxAccount;
use super::judgement::Judgement;
use super::request::Request;

/// One line of the list of platforms.
pub(super) struct FakePlatform {
    /// The name in the worker's configuration.
    pub(super) name: &'static str,
    /// Makes the fake for its accounts, each with its index among all accounts. A failure names every problem.
    pub(super) open: fn(&[(usize, &SandboxAccount)]) -> Opened,
    /// The accounts of `postback sandbox` without a configuration file. Their secrets are invented and public.
    pub(super) examples: fn() -> Vec<SandboxAccount>,
    /// The names of these accounts, and shell commands to reach them by hand.
    pub(super) by_hand: &'static str,
}

/// A working fake, or every problem of its accounts.
pub(super) type Opened = Result<Box<dyn Fake>, Vec<String>>;

/// A platform as its accounts see it.
pub trait Fake: fmt::Debug + Send + Sync {
    /// Judges a request to one of the platform's endpoints; `None`: it is to no endpoint. `now` is in Unix seconds.
    fn judge(&self, request: &Request, now: i64) -> Option<Judgement>;

    /// The account that sent a request to no endpoint, if its credentials tell.
    fn account_of(&self, request: &Request) -> Option<usize>;

    /// The platform's body for the code that a `body` fault names; `None`: it names no code.
    fn body_of(&self, code: &Value) -> Option<String>;

    /// The access tokens that this account has are expired from now on; new ones are good. Only for platforms with
    /// tokens.
    fn expire_tokens(&self, _account: usize) {}
}
