//! The request of prepared items: what was rendered early, what only the moment of sending tells, and the signature
//! over both.

use bytes::Bytes;
use minijinja::{Error, ErrorKind, Value};

use super::{Bound, native_content};
use crate::error::Fault;
use crate::platforms::declared::blobs::Reader;
use crate::platforms::declared::engine::{Content, Scope, Template, Uses, Variable};
use crate::platforms::declared::filters::{percent, signature_input};
use crate::platforms::declared::json::JsonObject;
use crate::platforms::declared::program::{Address, Body, Form, JsonText, Op, SignPlace, Slot};
use crate::platforms::declared::write::Written;
use crate::platforms::{Context, Prepared, Request};
use crate::secret::SecretString;

/// What changes from attempt to attempt.
pub(super) struct AttemptValues {
    pub now_ms: i64,
    /// With the members `access` and `refresh`; undefined without tokens.
    pub token: Value,
    /// Somebody looks at the request: it tells the text that is signed.
    pub shown: bool,
}

/// A part of a request that cannot be rendered.
pub(super) struct Failure {
    pub key: String,
    pub error: Error,
    /// What the part names.
    pub uses: Uses,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Fault::whole(format!("{} cannot be rendered: {}", failure.key, failure.error.kind()))
    }
}

impl Bound {
    /// `shown`: with the text that is signed, and with the places of secrets.
    pub(super) fn request(&self, items: &[&Prepared], context: &Context<'_>, shown: bool) -> Result<Request, Fault> {
        let parts = AttemptValues { now_ms: context.now_ms, token: self.token(context)?, shown };
        if !shown {
            return self.compose(items, &parts).map_err(Fault::from);
        }
        let form = items.first().and_then(|item| self.form(item)).map(|(form, _)| form);
        let Some(form) = form else { return Err(Fault::whole("no item of this platform")) };
        self.masked(form, context.token.map(SecretString::expose), || self.compose(items, &parts)).map_err(Fault::from)
    }

    /// The token of a request as expressions see it.
    pub(super) fn token(&self, context: &Context<'_>) -> Result<Value, Fault> {
        match (context.token, &self.program.token) {
            (Some(token), _) => Ok(Value::from_pairs([("access", token.expose())])),
            (None, Some(_)) if self.seed.is_some() => Err(Fault::new("token", "there is no access token")),
            (None, _) => Ok(Value::UNDEFINED),
        }
    }

    /// The form that an item was prepared for, and its texts.
    fn form<'a>(&self, item: &'a Prepared) -> Option<(&Form, Reader<'a>)> {
        let (number, texts) = Reader::new(item.item.text()?)?;
        Some((self.program.forms.get(usize::from(number))?, texts))
    }

    pub(super) fn compose(&self, items: &[&Prepared], parts: &AttemptValues) -> Result<Request, Failure> {
        let alien = || Failure {
            key: "request".to_owned(),
            error: Error::from(ErrorKind::InvalidOperation),
            uses: Uses::default(),
        };
        let (first, form, mut texts) = items
            .first()
            .and_then(|item| self.form(item).map(|(form, texts)| (*item, form, texts)))
            .filter(|(_, form, _)| form.is_batched || items.len() == 1)
            .ok_or_else(alien)?;
        // The item's own JSON goes before its other texts.
        let (own, late) = (texts.next(), texts.next());
        let event = late.map(|late| JsonObject::event(Bytes::copy_from_slice(late.as_bytes())));
        let mut scope = Scope::new();
        scope.set(Variable::Account, Content::Account(&self.account));
        scope.set(Variable::Native, native_content(form, &first.native));
        scope.set(Variable::NowMs, Content::Int(parts.now_ms));
        scope.set(Variable::Token, Content::Value(parts.token.clone()));
        if let Some((late, event)) = late.zip(event.as_ref()) {
            scope.set(Variable::Event, Content::Event(event));
            scope.set(Variable::Published, Content::Text(late));
        }
        if form.is_batched {
            let mut list = String::with_capacity(items.iter().map(|item| item.bytes()).sum::<usize>() + 2);
            list.push('[');
            list.push_str(own.unwrap_or_default());
            for item in items.iter().skip(1) {
                let text = self.form(item).and_then(|(_, mut texts)| texts.next()).ok_or_else(alien)?;
                list.push(',');
                list.push_str(text);
            }
            list.push(']');
            scope.set(Variable::Items, Content::Value(Value::from_object(Written(list))));
        }
        self.rendered(form, texts, scope, parts.shown)
    }

    /// The request itself. `texts`: what was rendered early, in the order of the form's slots.
    pub(super) fn rendered(
        &self,
        form: &Form,
        texts: Reader<'_>,
        scope: Scope<'_>,
        shown: bool,
    ) -> Result<Request, Failure> {
        let mut rendering = Rendering { form, texts, late: &scope };
        let (origin, mut path) = rendering.address()?;
        let query = rendering.pairs("query", &form.query)?;
        for (name, value) in &query {
            parameter(name, value, &mut path);
        }
        let mut headers = rendering.headers()?;
        let (content_type, mut body) = rendering.body()?;
        if let Some(content_type) = content_type
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type", content_type.to_owned()));
        }
        let mut request_input = None;
        if let Some(sign) = &form.sign {
            let whole = sign.sees.contains(&Variable::Url).then(|| format!("{origin}{path}"));
            let mut seen = scope;
            seen.set(Variable::Method, Content::Text(form.method));
            if let Some(url) = &whole {
                seen.set(Variable::Url, Content::Text(url));
            }
            if sign.sees.contains(&Variable::Body) {
                seen.set(Variable::Body, Content::Text(&body));
            }
            if sign.sees.contains(&Variable::Query) {
                seen.set(Variable::Query, Content::Value(Value::from_pairs(query)));
            }
            if sign.sees.contains(&Variable::Form) {
                let fields = url::form_urlencoded::parse(body.as_bytes());
                let fields = fields.map(|(name, value)| (name.into_owned(), value.into_owned()));
                seen.set(Variable::Form, Content::Value(Value::from_pairs(fields)));
            }
            let mut value = String::new();
            let signed = if shown {
                let (signed, input) = signature_input(|| sign.value.render(&seen, &mut value));
                request_input = input.map(SecretString::new);
                signed
            } else {
                sign.value.render(&seen, &mut value)
            };
            signed.map_err(|error| failure(form, "sign", "", error, &sign.value))?;
            match &sign.place {
                // An account without a secret may send unsigned, where the file says so.
                _ if value.is_empty() => {}
                SignPlace::Header(name) => headers.push((name, value)),
                SignPlace::Query(name) => parameter(name, &value, &mut path),
                SignPlace::Form(name) => {
                    body = url::form_urlencoded::Serializer::new(body).append_pair(name, &value).finish();
                }
            }
        }
        Ok(Request {
            method: form.method,
            path: path.into(),
            headers,
            body: Bytes::from(body),
            signature_input: request_input,
            ..Request::default()
        })
    }
}

/// The parts of a request while they are rendered, in the order of the form's slots.
struct Rendering<'r> {
    form: &'r Form,
    texts: Reader<'r>,
    late: &'r Scope<'r>,
}

fn failure(form: &Form, part: &str, name: &str, error: Error, template: &Template) -> Failure {
    let key = [&form.key, part, name].iter().filter(|step| !step.is_empty()).copied().collect::<Vec<_>>();
    Failure { key: key.join("."), error, uses: template.uses() }
}

impl Rendering<'_> {
    fn text(&mut self, slot: &Slot, part: &str, name: &str, out: &mut String) -> Result<(), Failure> {
        if slot.is_early {
            out.push_str(self.texts.next().unwrap_or_default());
            return Ok(());
        }
        slot.template.render(self.late, out).map_err(|error| failure(self.form, part, name, error, &slot.template))
    }

    /// Scheme and host of a callback, else nothing; and the path.
    fn address(&mut self) -> Result<(String, String), Failure> {
        let mut path = String::with_capacity(160);
        match &self.form.address {
            Address::Below(slot) => {
                self.text(slot, "url", "", &mut path)?;
                Ok((String::new(), path))
            }
            Address::Callback { .. } => {
                let origin = self.texts.next().unwrap_or_default().to_owned();
                path.push_str(self.texts.next().unwrap_or_default());
                Ok((origin, path))
            }
        }
    }

    /// Names and values; empty values are left out.
    fn pairs<'f>(&mut self, part: &str, pairs: &'f [(Box<str>, Slot)]) -> Result<Vec<(&'f str, String)>, Failure> {
        let mut there = Vec::with_capacity(pairs.len());
        for (name, slot) in pairs {
            let mut value = String::new();
            self.text(slot, part, name, &mut value)?;
            if !value.is_empty() {
                there.push((&**name, value));
            }
        }
        Ok(there)
    }

    fn headers(&mut self) -> Result<Vec<(&'static str, String)>, Failure> {
        let mut headers = Vec::with_capacity(self.form.headers.len() + 2);
        let form = self.form;
        for (name, slot) in &form.headers {
            let mut value = String::new();
            self.text(slot, "headers", name, &mut value)?;
            if !value.is_empty() {
                headers.push((*name, value));
            }
        }
        Ok(headers)
    }

    /// The usual `Content-Type`, and the body.
    fn body(&mut self) -> Result<(Option<&'static str>, String), Failure> {
        let mut body = String::new();
        let form = self.form;
        let content_type = match &form.body {
            Body::None => None,
            Body::Text(slot) => {
                self.text(slot, "body", "", &mut body)?;
                None
            }
            Body::Form(pairs) => {
                let pairs = self.pairs("form", pairs)?;
                body = url::form_urlencoded::Serializer::new(body).extend_pairs(pairs).finish();
                Some("application/x-www-form-urlencoded")
            }
            Body::Json(ops) => {
                let mut json = JsonText::with_capacity(512);
                for op in ops {
                    match op {
                        Op::Raw(raw) => json.push(raw),
                        Op::Open(before) => json.open(before),
                        Op::Close => json.close(),
                        Op::Member(_, slot) if slot.is_early => json.push(self.texts.next().unwrap_or_default()),
                        Op::Member(before, slot) => json
                            .member(before, &slot.template, self.late)
                            .map_err(|error| failure(form, "json", "", error, &slot.template))?,
                    }
                }
                body = json.finish();
                Some("application/json")
            }
        };
        Ok((content_type, body))
    }
}

/// Adds a parameter to the query of a path.
fn parameter(name: &str, value: &str, path: &mut String) {
    path.push(if path.contains('?') { '&' } else { '?' });
    percent(name, path);
    path.push('=');
    percent(value, path);
}
