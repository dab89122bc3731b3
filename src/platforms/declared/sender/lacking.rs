//! Finds the settings that every request of a platform needs and that an account does not have. The account is refused when
//! the configuration is read. Without this check its first event would halt it.

use minijinja::Value;
use serde_json::Map;

use super::Bound;
use crate::platforms::Problem;
use crate::platforms::declared::engine::{Content, Scope, Template, Uses, Variable};
use crate::platforms::declared::keys::get;
use crate::platforms::declared::program::{Address, Body, Form, Op, Program};

/// What is known of an account without an event.
const OF_ACCOUNT: [Variable; 3] = [Variable::Account, Variable::Token, Variable::NowMs];

/// The keys of an account, while its requests are looked through.
struct Keys<'a> {
    program: &'a Program,
    settings: &'a Map<String, serde_json::Value>,
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
        let keys = Keys { program: &self.program, settings, scope };
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
        problems
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

    /// A text cannot be rendered without what it names.
    fn of_text(&self, template: &'a Template) -> Option<&'a str> {
        let uses = uses(template)?;
        let key = self.absent(uses, false)?;
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
        self.absent(uses, true).filter(|_| !uses.is_conditional)
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
