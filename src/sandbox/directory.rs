//! All accounts and their fakes, and the search for the account of a request.

use super::account::SandboxAccount;
use super::fake::Fake;
use super::fakes;
use super::judgement::{Judgement, Refusal};
use super::request::{Answer, Request};

/// The name for requests that belong to no account.
pub const UNKNOWN: &str = "unknown";

/// All accounts and the fakes that serve them: the sandbox without its server. A program with its own server can use it
/// to judge requests.
#[derive(Debug)]
pub struct Directory {
    accounts: Vec<SandboxAccount>,
    fakes: Vec<Box<dyn Fake>>,
}

impl Directory {
    /// Checks the accounts together, and names every problem.
    pub fn new(accounts: Vec<SandboxAccount>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let known = fakes::names(&accounts);
        for (index, account) in accounts.iter().enumerate() {
            let name = &account.name;
            if name.is_empty() || name == UNKNOWN {
                problems.push(format!("account name `{name}` is reserved"));
            }
            if accounts.iter().take(index).any(|earlier| earlier.name == *name) {
                problems.push(format!("account {name} is listed twice"));
            }
            if !known.contains(&account.platform) {
                problems.push(format!("account {name}: the sandbox has no fake of platform `{}`", account.platform));
            }
        }
        let fakes = fakes::open(&accounts).unwrap_or_else(|found| {
            problems.extend(found);
            Vec::new()
        });
        if problems.is_empty() { Ok(Self { accounts, fakes }) } else { Err(problems) }
    }

    /// All accounts, in the order given.
    pub(super) fn accounts(&self) -> &[SandboxAccount] {
        &self.accounts
    }

    /// The names that may have a fault.
    pub(super) fn names(&self) -> Vec<&str> {
        self.accounts.iter().map(|account| account.name.as_str()).chain([UNKNOWN]).collect()
    }

    /// The access tokens that an account has are expired from now on.
    pub(super) fn expire_tokens(&self, account: usize) {
        self.fakes.iter().for_each(|fake| fake.expire_tokens(account));
    }

    /// Judges a request, and returns the fake that did; without a fake, the request is to no endpoint. `now` is in Unix
    /// seconds.
    pub fn judge(&self, request: &Request, now: i64) -> (Judgement, Option<&dyn Fake>) {
        let judged = self.fakes.iter().find_map(|fake| Some((fake.judge(request, now)?, Some(fake.as_ref()))));
        judged.unwrap_or_else(|| {
            let found = self.fakes.iter().find_map(|fake| Some((fake.account_of(request)?, fake.as_ref())));
            (lost(found.map(|(index, _)| index)), found.map(|(_, fake)| fake))
        })
    }
}

/// The judgement of a request to a path that no platform has.
fn lost(account: Option<usize>) -> Judgement {
    Judgement {
        account,
        trans_id: None,
        event: None,
        ids: Vec::new(),
        id: None,
        conversion: true,
        items: Vec::new(),
        verdict: Err(Refusal { answer: Answer::text(404, "not found\n"), problem: "path: unknown".to_owned() }),
    }
}
