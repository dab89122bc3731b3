//! The file of a declared platform, compiled: everything that can be known before its first event.

mod call;
mod form;
mod keys;
mod reading;
mod rule;
mod shape;
mod slot;

use std::cell::RefCell;
use std::sync::Arc;

use super::definition::{Check, Definition, Ordered};
use super::engine::{Compiler, Uses, Variable};
use super::interner::{intern, intern_all};
use super::load::source;
use crate::config::problem::{Problems, Report};
use crate::platforms::reading::BatchLimits;

pub(super) use call::{Bounds, CallRules, bounds};
pub(super) use form::{Address, Body, Form, SignPlace, is_path};
pub(super) use reading::{AnswerRules, ItemRules, NO_RATIO, TokenRules, ratio};
pub(super) use rule::{CheckRule, Requirement};
pub(super) use shape::{JsonText, Op};
use slot::OF_EVENT;
pub(super) use slot::Slot;

/// A compiled file.
#[derive(Debug)]
pub(super) struct Program {
    pub name: &'static str,
    pub title: &'static str,
    pub base_url: &'static str,
    pub definition: Definition,
    pub require: Vec<Requirement>,
    pub check: Vec<CheckRule>,
    /// None: it takes no conversions.
    pub forms: Vec<Form>,
    /// The names of its calls, and their rules in the same order.
    pub call_names: &'static [&'static str],
    pub calls: Vec<CallRules>,
    pub batch: Option<BatchRule>,
    pub answer: AnswerRules,
    pub token: Option<TokenRules>,
    /// What some rule names of an answer beside its status and its body: nothing else is made of it.
    pub of_answers: Vec<Variable>,
    /// The keys of its accounts that are secret, dotted.
    pub secrets: Vec<String>,
    /// The members of `platform_params` that some expression names; `None`: it names all of them together.
    pub params: Option<Vec<&'static str>>,
}

/// `[batch]`.
#[derive(Debug)]
pub(super) struct BatchRule {
    pub limits: BatchLimits,
    pub item: Vec<Op>,
    /// The ids of the event that an item names.
    pub ids: Vec<&'static str>,
}

/// Reads and compiles a file.
///
/// # Errors
/// Every problem with its line, key, and place in an expression.
pub(super) fn compile(file: &str, text: &str) -> Result<Program, Problems> {
    let file: Arc<str> = file.into();
    let report = Report::new(Some(file.clone()));
    let program = source(&file, text, &report).and_then(|source| {
        let keys = &source.definition.account.keys;
        let mut account: Vec<_> = keys.iter().map(|(name, _)| name.to_owned()).collect();
        if source.definition.token.is_some() {
            account.extend(["token.access", "token.refresh", "token.auth_code"].map(str::to_owned));
        }
        Compiler { source: &source, report: &report, account, of_answers: RefCell::default() }.program()
    });
    let found = report.finish();
    match program {
        Some(program) if found.problems.is_empty() => Ok(program),
        _ => Err(found),
    }
}

impl Compiler<'_> {
    fn program(&self) -> Option<Program> {
        let definition = &self.source.definition;
        self.keys(definition);
        self.switches(definition);
        self.only_calls(definition);
        self.natives("events", &definition.events);
        let mut require = Vec::new();
        for (path, text) in definition.require.iter() {
            let key = format!("require.{path}");
            self.path(&key, path);
            if text.trim().is_empty() {
                self.problem(&key, "is empty; write \"true\" where it must always be there");
            }
            let when = self.condition(&key, text, &OF_EVENT).filter(|_| text.trim() != "true");
            require.push((intern(path), when));
        }
        let check = self.checks("check", &definition.check, &OF_EVENT);
        let batch = definition.batch.as_ref().map(|batch| {
            let key = "batch.item";
            let mut item = Vec::new();
            match &batch.item {
                Some(shape) => self.shape(key, shape, &OF_EVENT, &mut item),
                None => self.problem("batch", "has no `item`: state what each event contributes to `items`"),
            }
            let mut uses = Uses::default();
            item.iter().filter_map(Op::uses).for_each(|named| uses.add(&named));
            let limits = BatchLimits { items: batch.max_items, bytes: batch.max_bytes };
            BatchRule { limits, item, ids: form::facts::ids(&uses) }
        });
        let forms: Vec<Form> = definition.request.iter().enumerate().map(|(at, part)| self.form(at, part)).collect();
        if batch.is_some() && !forms.iter().any(|form| form.is_batched) {
            self.problem("batch", "no [[request]] names `items`");
        }
        if forms.len() > usize::from(u8::MAX) {
            self.problem("request", "is there more than 255 times");
        }
        if let Some(last) = forms.iter().position(|form| form.when.is_none())
            && last + 1 < forms.len()
        {
            self.problem(&format!("request.{}", last + 1), "is never reached: the one before it has no `when`");
        }
        let call_names: Vec<_> = definition.calls.iter().map(|(name, _)| intern(name)).collect();
        let calls: Vec<CallRules> = definition.calls.iter().map(|(name, call)| self.call(name, call)).collect();
        let answer = self.answer();
        let token = definition.token.as_ref().map(|token| self.token(token));
        let mut all = forms.iter().chain(calls.iter().map(|call| &call.form));
        if token.is_some() && !all.any(|form| form.uses.has(Variable::Token)) {
            self.problem("token", "is asked for, and no request names `token`: state where `token.access` goes");
        }
        let secrets = definition.account.keys.iter().filter(|(_, key)| key.secret).map(|(name, _)| name.to_owned());
        let mut program = Program {
            name: intern(&definition.name),
            title: intern(&definition.title),
            base_url: intern(&definition.base_url),
            definition: definition.clone(),
            require,
            check,
            forms,
            call_names: intern_all(&call_names),
            calls,
            batch,
            answer,
            token,
            of_answers: self.of_answers.take(),
            secrets: secrets.collect(),
            params: None,
        };
        program.params = program.platform_params();
        Some(program)
    }

    /// The rules of `[check]`, or of a call's own.
    fn checks(&self, key: &str, rules: &Ordered<Check>, known: &[Variable]) -> Vec<CheckRule> {
        let mut check = Vec::new();
        for (path, rule) in rules.iter() {
            let key = format!("{key}.{path}");
            self.path(&key, path);
            if rule.says.is_empty() {
                self.problem(&key, "says nothing: state in `says` why such an event is refused");
            }
            match self.condition(&format!("{key}.when"), &rule.when, known) {
                Some(when) => check.push(CheckRule { field: intern(path), when, says: rule.says.as_str().into() }),
                None if rule.when.trim().is_empty() => self.problem(&key, "has no `when`"),
                None => {}
            }
        }
        check
    }

    /// A dotted path of the event.
    fn path(&self, key: &str, path: &str) {
        let fine = |step: &str| !step.is_empty() && step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !path.split('.').all(fine) {
            self.problem(key, "is no dotted path of the event, e.g. \"click.ks_callback\" in quotes");
        }
    }
}

impl Program {
    fn platform_params(&self) -> Option<Vec<&'static str>> {
        let mut names = Vec::new();
        let conditions = self.require.iter().filter_map(|(_, when)| when.as_ref());
        let rules = self.check.iter().map(|rule| &rule.when);
        let uses = conditions.chain(rules).map(|condition| condition.uses().clone());
        let fields = self.require.iter().map(|(field, _)| *field).chain(self.check.iter().map(|rule| rule.field));
        let items = self.batch.iter().flat_map(|batch| &batch.item).filter_map(Op::uses);
        let named: Vec<String> = uses
            .chain(self.forms.iter().map(|form| form.uses.clone()))
            .chain(items)
            .flat_map(|uses| uses.of(Variable::Event).map(str::to_owned).collect::<Vec<_>>())
            .chain(fields.map(str::to_owned))
            .collect();
        for path in named {
            match path.strip_prefix("platform_params") {
                Some("") => return None,
                Some(rest) if rest.starts_with('.') => {
                    names.push(intern(rest.split('.').nth(1).unwrap_or_default()));
                }
                _ => {}
            }
        }
        Some(names)
    }
}
