//! All accounts and their fakes, and how a request finds its own.

use super::account::SandboxAccount;
use super::fake::Fake;
use super::fakes::LIST;
use super::judgement::{Judgement, Refusal};
use super::request::{Answer, Request};

/// The name of whatever belongs to no account.
pub const UNKNOWN: &str = "unknown";

/// All accounts, and the fakes that serve them: what the sandbox is without its server. A program that receives and
/// answers requests itself judges them with it.
#[derive(Debug)]
pub struct Directory {
    accounts: Vec<SandboxAccount>,
    fakes: Vec<Box<dyn Fake>>,
}

impl Directory {
    /// Checks the accounts together; every problem is named.
    pub fn new(accounts: Vec<SandboxAccount>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        for (index, account) in accounts.iter().enumerate() {
            let name = &account.name;
            if name.is_empty() || name == UNKNOWN {
                problems.push(format!("account name `{name}` is reserved"));
            }
            if accounts.iter().take(index).any(|earlier| earlier.name == *name) {
                problems.push(format!("account {name} is listed twice"));
            }
            if !LIST.iter().any(|platform| platform.name == account.platform) {
                problems.push(format!("account {name}: the sandbox has no fake of platform `{}`", account.platform));
            }
        }
        let mut fakes = Vec::new();
        for platform in &LIST {
            let own: Vec<_> = accounts.iter().enumerate().filter(|(_, a)| a.platform == platform.name).collect();
            match (platform.open)(&own) {
                Ok(fake) => fakes.push(fake),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(Self { accounts, fakes }) } else { Err(problems) }
    }

    /// Every account, in the order given.
    pub(super) fn accounts(&self) -> &[SandboxAccount] {
        &self.accounts
    }

    /// Names a fault may be set for.
    pub(super) fn names(&self) -> Vec<&str> {
        self.accounts.iter().map(|account| account.name.as_str()).chain([UNKNOWN]).collect()
    }

    /// Judges a request, and says which fake did; `None`: it is to no endpoint of any. `now` in Unix seconds.
    pub fn judge(&self, request: &Request, now: i64) -> (Judgement, Option<&dyn Fake>) {
        let judged = self.fakes.iter().find_map(|fake| Some((fake.judge(request, now)?, Some(fake.as_ref()))));
        judged.unwrap_or_else(|| {
            let found = self.fakes.iter().find_map(|fake| Some((fake.account_of(request)?, fake.as_ref())));
            (lost(found.map(|(index, _)| index)), found.map(|(_, fake)| fake))
        })
    }
}

/// A path that no platform has.
fn lost(account: Option<usize>) -> Judgement {
    Judgement {
        account,
        trans_id: None,
        event: None,
        ids: Vec::new(),
        id: None,
        verdict: Err(Refusal { answer: Answer::text(404, "not found\n"), problem: "path: unknown".to_owned() }),
    }
}
