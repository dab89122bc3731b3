//! Declared platforms: what a platform's file states is what its fake demands.
//!
//! The fake reads the file by itself and shares no code with the worker: not the loader, not the language, not the
//! digests. It does not know the event that a request came from. So it reads the file's templates backwards
//! (`matching`), judges the rules of `[require]` and `[check]` as far as the request shows what they are about, and
//! computes signatures forwards, over the bytes that arrived. Its answers are those in the file's `[[test]]`s.

mod answers;
mod check;
mod evaluate;
mod expression;
mod file;
mod filters;
mod formats;
mod lexer;
mod matching;
mod parser;
mod signature;
mod template;
mod terms;
mod tokens;
mod value;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::sandbox::account::SandboxAccount;
use crate::sandbox::fake::Fake;
use crate::sandbox::judgement::{Judgement, Refusal};
use crate::sandbox::request::Request;
use answers::Answers;
use check::{Checked, Wrong};
use file::File;
use terms::{Terms, merge};
use tokens::Tokens;

/// The files that the worker ships.
const SHIPPED: [&str; 7] = [
    include_str!("../../../config/platforms/oceanengine.toml"),
    include_str!("../../../config/platforms/tencent_ads.toml"),
    include_str!("../../../config/platforms/baidu.toml"),
    include_str!("../../../config/platforms/kuaishou.toml"),
    include_str!("../../../config/platforms/meta.toml"),
    include_str!("../../../config/platforms/tiktok.toml"),
    include_str!("../../../config/platforms/webhook.toml"),
];

/// A platform with all its accounts.
#[derive(Debug)]
struct Declared {
    file: File,
    answers: Answers,
    /// The paths of callbacks, as the file's tests have them.
    callbacks: Vec<String>,
    accounts: Vec<Terms>,
    tokens: Mutex<Vec<Tokens>>,
}

/// The files of the accounts' platforms, those that nobody uses included.
fn files(accounts: &[SandboxAccount]) -> Vec<Arc<str>> {
    let mut files: Vec<Arc<str>> = SHIPPED.iter().map(|text| Arc::from(*text)).collect();
    for file in accounts.iter().filter_map(|account| account.platform_file.as_ref()) {
        if !files.contains(file) {
            files.push(file.clone());
        }
    }
    files
}

/// The names of the platforms that are declared: those that the worker ships, and those of these accounts.
pub(super) fn names(accounts: &[SandboxAccount]) -> Vec<String> {
    files(accounts).iter().filter_map(|text| File::parse(text).ok()).map(|file| file.name).collect()
}

/// A fake for each declared platform that has an account.
pub(super) fn open(accounts: &[SandboxAccount]) -> Result<Vec<Box<dyn Fake>>, Vec<String>> {
    let (mut fakes, mut problems) = (Vec::<Box<dyn Fake>>::new(), Vec::new());
    for text in files(accounts) {
        match File::parse(&text) {
            Err(problem) => problems.push(format!("a platform file: {problem}")),
            Ok(file) => {
                let own = accounts.iter().enumerate().filter(|(_, a)| a.platform == file.name);
                let own: Vec<_> = own.map(|(index, account)| Terms::new(index, account, &file)).collect();
                if !own.is_empty() {
                    fakes.push(Box::new(Declared::new(file, own)));
                }
            }
        }
    }
    if problems.is_empty() { Ok(fakes) } else { Err(problems) }
}

/// An account per shipped platform, with the invented keys of the file's first test.
pub(super) fn examples() -> Vec<SandboxAccount> {
    let files = SHIPPED.iter().filter_map(|text| File::parse(text).ok());
    files
        .map(|file| {
            let first = |name: &str| file.tests.first().and_then(|test| test.get(name)).cloned();
            let mut settings = first("account").unwrap_or(Value::Object(serde_json::Map::new()));
            if let Some(token) = first("token") {
                file::set(&mut settings, "token", token);
            }
            SandboxAccount::new(&format!("acme-{}", file.name.replace('_', "-")), &file.name, settings, &[])
        })
        .collect()
}

/// How to reach the example accounts.
pub(super) const BY_HAND: &str = "\
Each declared platform has one example account: acme- and its name, with the keys of the first [[test]] in its file
(`postback platforms show NAME`).
";

impl Terms {
    fn new(index: usize, account: &SandboxAccount, file: &File) -> Terms {
        let mut keys = file.defaults.clone();
        for (name, value) in &account.settings {
            merge(&mut keys, name, value);
        }
        let path = account.settings.get("path").and_then(Value::as_str).map(str::to_owned);
        Terms { index, keys, path }
    }
}

impl Declared {
    fn new(file: File, accounts: Vec<Terms>) -> Declared {
        let tokens = accounts.iter().map(|terms| Tokens::new(&terms.keys)).collect();
        let answers = Answers::new(&file);
        let callbacks = check::callback_paths(&file);
        Declared { file, answers, callbacks, accounts, tokens: Mutex::new(tokens) }
    }

    fn tokens(&self) -> MutexGuard<'_, Vec<Tokens>> {
        // No code under the lock can panic halfway through a change.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The best reading of a request: by the account and the form that leave the fewest problems. `None`: it is to no
    /// endpoint.
    fn check(&self, request: &Request, now: i64) -> Option<Checked> {
        let mut best: Option<Checked> = None;
        for (position, terms) in self.accounts.iter().enumerate() {
            for (number, form) in self.file.forms.iter().enumerate() {
                if !check::leads_to(form, terms, &self.callbacks, request) {
                    continue;
                }
                let tokens = self.tokens()[position].known(now);
                for token in &tokens {
                    let mut checked = check::check(&self.file, number, terms, token, request, now);
                    checked.account = position;
                    if best.as_ref().is_none_or(|best| checked.weight() < best.weight()) {
                        best = Some(checked);
                    }
                    if best.as_ref().is_some_and(|best| best.weight() == 0) {
                        return best;
                    }
                }
            }
        }
        best
    }

    /// A request to the endpoint that issues tokens.
    fn issue(&self, request: &Request, now: i64) -> Option<Judgement> {
        let token = self.file.token.as_ref()?;
        let asked = self.accounts.iter().find(|terms| check::leads_to(&token.form, terms, &[], request))?;
        let mut tokens = self.tokens();
        let mut found = None;
        for (position, terms) in self.accounts.iter().enumerate() {
            let refresh = tokens[position].refresh();
            if check::grants(&token.form, terms, refresh.as_deref(), request, now) {
                found = Some(position);
                break;
            }
        }
        let position = found.unwrap_or_default();
        let account = found.map_or(asked.index, |position| self.accounts[position].index);
        let verdict = match found {
            Some(_) => Ok(tokens[position].issue(token, &self.file.name, now)),
            None => Err(Refusal {
                answer: tokens::refused(token),
                problem: "token: this grant is not known, or was used before".to_owned(),
            }),
        };
        Some(Judgement {
            account: Some(account),
            trans_id: None,
            event: Some("token".to_owned()),
            ids: Vec::new(),
            id: None,
            conversion: false,
            items: Vec::new(),
            verdict,
        })
    }
}

impl Fake for Declared {
    fn judge(&self, request: &Request, now: i64) -> Option<Judgement> {
        if let Some(issued) = self.issue(request, now) {
            return Some(issued);
        }
        let checked = self.check(request, now)?;
        let known = !checked.stranger || self.accounts.len() == 1;
        let account = known.then(|| self.accounts[checked.account].index);
        let terms = &self.accounts[checked.account];
        let verdict = match checked.wrong() {
            None => Ok(self.answers.accepted(&checked, &terms.keys)),
            Some(Wrong { class, problem }) => {
                Err(Refusal { answer: self.answers.refused(class, checked.form), problem })
            }
        };
        Some(Judgement {
            account,
            trans_id: None,
            event: None,
            ids: Vec::new(),
            id: None,
            conversion: self.file.forms.get(checked.form).is_none_or(|form| form.call.is_none()),
            items: checked.items,
            verdict,
        })
    }

    fn account_of(&self, _request: &Request) -> Option<usize> {
        None
    }

    fn body_of(&self, code: &Value) -> Option<String> {
        self.answers.of_code(code)
    }

    fn expire_tokens(&self, account: usize) {
        if let Some(position) = self.accounts.iter().position(|terms| terms.index == account)
            && let Some(tokens) = self.tokens().get_mut(position)
        {
            tokens.expire();
        }
    }
}

#[cfg(test)]
mod tests;
