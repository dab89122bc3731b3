//! Finds the settings that every request of a platform needs and that an account does not have. The account is refused
//! when the configuration is read. Without this check its first event would halt it.

use minijinja::Value;
use serde_json::Map;

use super::Bound;
use crate::platforms::Problem;
use crate::platforms::declared::engine::{Content, Scope, Template, Uses, Variable};
use crate::platforms::declared::keys::get;
use crate::platforms::declared::program::{Address, Body, Form, Op, Program, is_path};

/// What is known of an account without an event.
const OF_ACCOUNT: [Variable; 3] = [Variable::Account, Variable::Token, Variable::NowMs];

/// The keys of an account, while its requests are looked through.
struct Keys<'a> {
    program: &'a Program,
    settings: &'a Map<String, serde_json::Value>,
    has_tokens: bool,
    scope: Scope<'a>,
}

impl Bound {
    /// The problems of an account with these keys. `rotates`: it asks for tokens.
    pub(super) fn lacking(&self, settings: &Map<String, serde_json::Value>, rotates: bool) -> Vec<Problem> {
        let token = match self.seed.is_some() {
            true => Value::from_pairs([("access", "token"), ("refresh", "token"), ("code", "token")]),
            false => Value::UNDEFINED,
        };
        let scope = Scope::new()
            .with(Variable::Account, Content::Account(&self.account))
            .with(Variable::NowMs, Content::Int(0))
            .with(Variable::Token, Content::Value(token));
        let keys = Keys { program: &self.program, settings, has_tokens: self.seed.is_some(), scope };
        let mut problems = Vec::new();
        let forms: Vec<_> = self.program.forms.iter().map(|form| (form, keys.lacking(form))).collect();
        // Where one form can be made, the file's own rules say which events need the others.
        if forms.iter().all(|(_, lacks)| lacks.is_some())
            && let Some((_, Some(key))) = forms.last()
        {
            let told: Vec<_> =
                forms.iter().map(|(form, lacks)| format!("{} needs {}", form.key, lacks.unwrap_or_default())).collect();
            problems.push(((*key).to_owned(), format!("is missing, and nothing could be sent: {}", told.join(", "))));
        }
        let of_token = self.program.token.as_ref().filter(|_| rotates).map(|rules| &rules.request);
        for form in self.program.calls.iter().map(|call| &call.form).chain(of_token) {
            if let Some(key) = keys.lacking(form) {
                problems.push((key.to_owned(), format!("is missing: {} needs it", form.key)));
            }
        }
        let all = self.program.forms.iter().chain(self.program.calls.iter().map(|call| &call.form)).chain(of_token);
        for form in all {
            if let Some(key) = keys.no_path(form) {
                problems.push((
                    key.to_owned(),
                    format!("makes no path that begins with /: {}.url is made of it", form.key),
                ));
            }
        }
        problems.extend(keys.no_number());
        problems.extend(of_token.and_then(|form| self.no_grant(form)));
        problems
    }

    /// What the request for tokens names of them and the account does not begin with.
    fn no_grant(&self, form: &Form) -> Option<Problem> {
        let seed = self.seed.as_ref()?;
        let (other, key) = if seed.refresh.is_some() { ("code", "auth_code") } else { ("refresh", "refresh") };
        let needs = |template: &Template| {
            uses(template)
                .is_some_and(|uses| !uses.is_conditional && uses.of(Variable::Token).any(|path| path == other))
        };
        let needs_it = form.slots().iter().any(|slot| needs(&slot.template))
            || form.sign.as_ref().is_some_and(|sign| needs(&sign.value));
        needs_it.then(|| (format!("token.{key}"), format!("is missing: {} needs it", form.key)))
    }
}

impl<'a> Keys<'a> {
    /// The first key that a request of this form needs and the account lacks.
    fn lacking(&self, form: &'a Form) -> Option<&'a str> {
        let address = match &form.address {
            Address::Below(slot) => Some(&slot.template),
            Address::Callback { url, .. } => url.as_ref(),
        };
        let query = form.query.iter().map(|(_, slot)| &slot.template);
        let headers = form.headers.iter().map(|(_, slot)| &slot.template);
        let sign = form.sign.iter().map(|sign| &sign.value);
        let mut texts: Vec<&Template> = address.into_iter().chain(query).chain(headers).chain(sign).collect();
        let mut json: Vec<&Op> = Vec::new();
        match &form.body {
            Body::None => {}
            Body::Text(slot) => texts.push(&slot.template),
            Body::Form(pairs) => texts.extend(pairs.iter().map(|(_, slot)| &slot.template)),
            Body::Json(ops) => json.extend(ops),
        }
        if let Some(batch) = self.program.batch.as_ref().filter(|_| form.is_batched) {
            json.extend(&batch.item);
        }
        let of_texts = texts.into_iter().find_map(|text| self.of_text(text));
        of_texts.or_else(|| json.into_iter().find_map(|op| self.of_json(op)))
    }

    /// The key of which an address is made that is no path below the base URL.
    fn no_path(&self, form: &'a Form) -> Option<&'a str> {
        let Address::Below(slot) = &form.address else { return None };
        let uses = uses(&slot.template).filter(|uses| knows_all(uses))?;
        let mut path = String::new();
        slot.template.render(&self.scope, &mut path).ok()?;
        if is_path(&path) {
            return None;
        }
        let is_at_fault = |key: &&str| {
            let text = get(self.settings, key).and_then(serde_json::Value::as_str);
            text.is_some_and(|text| !is_path(&format!("/{text}")))
        };
        let named = || uses.of(Variable::Account);
        named().find(is_at_fault).or_else(|| named().next())
    }

    /// The key of which the first index of a batch is made, where it makes no number.
    fn no_number(&self) -> Option<Problem> {
        let base = &self.program.answer.items.as_ref()?.index_base;
        let uses = uses(base)?;
        let mut text = String::new();
        let is_number = base.render(&self.scope, &mut text).is_ok() && text.trim().parse::<i64>().is_ok();
        let key = uses.of(Variable::Account).next().filter(|_| !is_number)?;
        Some((key.to_owned(), "has to be a whole number: answer.items.index_base is made of it".to_owned()))
    }

    /// A text cannot be rendered without what it names.
    fn of_text(&self, template: &'a Template) -> Option<&'a str> {
        let uses = uses(template)?;
        let key = self.absent(uses, false).or_else(|| self.no_token(uses))?;
        let fails = match knows_all(uses) {
            true => template.render(&self.scope, &mut String::new()).is_err(),
            false => !uses.is_conditional,
        };
        fails.then_some(key)
    }

    /// A member without a value is left out, so that only a secret has to be there.
    fn of_json(&self, op: &'a Op) -> Option<&'a str> {
        let Op::Member(_, slot) = op else { return None };
        let uses = uses(&slot.template)?;
        self.absent(uses, true).or_else(|| self.no_token(uses)).filter(|_| !uses.is_conditional)
    }

    /// A token is named, and the account sends without one.
    fn no_token(&self, uses: &Uses) -> Option<&'static str> {
        (uses.has(Variable::Token) && !self.has_tokens).then_some("token.access")
    }

    /// The first of the named keys that the account does not have.
    fn absent<'u>(&self, uses: &'u Uses, only_secrets: bool) -> Option<&'u str> {
        uses.of(Variable::Account).find(|path| {
            let key = self.program.definition.account.keys.get(path);
            key.is_some_and(|key| key.secret || !only_secrets) && get(self.settings, path).is_none()
        })
    }
}

fn uses(template: &Template) -> Option<&Uses> {
    match template {
        Template::Fixed(_) => None,
        Template::Whole(expr) => Some(&expr.uses),
        Template::Mixed(_, uses) | Template::Tags(_, uses) => Some(uses),
    }
}

/// Whether it names nothing but what is known of the account.
fn knows_all(uses: &Uses) -> bool {
    uses.paths.iter().all(|path| OF_ACCOUNT.iter().any(|known| path.split('.').next() == Some(known.name())))
}
