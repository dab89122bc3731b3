//! `[[request]]`, compiled.

pub(super) mod facts;

use http::uri::PathAndQuery;

use crate::platforms::callback::is_callback_host;
use crate::platforms::declared::definition::{Native, Ordered, RequestPart, Sign as SignText, Template as Text};
use crate::platforms::declared::engine::{Compiler, Condition, Template, Uses, Variable};
use crate::platforms::declared::interner::intern;
use crate::platforms::declared::program::shape::Op;
use crate::platforms::declared::program::slot::{OF_EVENT, Slot};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Headers that belong to the connection.
const OWN_HEADERS: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

/// Whether a text is sent as it is, as the path of a URL with its query: what follows a `#` would not be.
pub(in crate::platforms::declared) fn is_path(text: &str) -> bool {
    text.starts_with('/') && PathAndQuery::try_from(text).is_ok_and(|path| path.as_str() == text)
}

/// Where a request goes.
#[derive(Debug)]
pub(in crate::platforms::declared) enum Address {
    /// Below the account's base URL.
    Below(Slot),
    /// To the URL that stands in this field of the event, or to what `url` makes of it.
    Callback { field: &'static str, url: Option<Template>, hosts: Vec<String> },
}

#[derive(Debug)]
pub(in crate::platforms::declared) enum Body {
    None,
    Text(Slot),
    Form(Vec<(Box<str>, Slot)>),
    Json(Vec<Op>),
}

#[derive(Debug)]
pub(in crate::platforms::declared) enum SignPlace {
    Header(&'static str),
    Query(Box<str>),
    /// The last field of the form.
    Form(Box<str>),
}

#[derive(Debug)]
pub(in crate::platforms::declared) struct Sign {
    pub place: SignPlace,
    pub value: Template,
    /// What it names of the finished request.
    pub sees: Vec<Variable>,
}

/// One form of request.
#[derive(Debug)]
pub(in crate::platforms::declared) struct Form {
    /// `request.0`.
    pub key: String,
    pub when: Option<Condition>,
    pub method: &'static str,
    pub address: Address,
    pub query: Vec<(Box<str>, Slot)>,
    pub headers: Vec<(&'static str, Slot)>,
    pub body: Body,
    pub sign: Option<Sign>,
    /// It carries the items of a batch.
    pub is_batched: bool,
    /// Canonical event to native one, where the form has its own.
    pub events: Vec<(String, Native)>,
    /// All native events are numbers.
    pub integers: bool,
    /// Everything that some part of it names.
    pub uses: Uses,
    /// What its late parts need of the event, as dotted paths; an empty path is all of it.
    pub late_paths: Vec<String>,
    /// The ids of the event that it names.
    pub ids: Vec<&'static str>,
    /// A filter of a late part can refuse the event, so that it is tried before the event is accepted.
    pub late_refuses: bool,
    /// A header that is rendered late holds something of the event, so that it is tried for an event with control
    /// characters.
    pub late_headers: bool,
    /// A secret of the account, or a token, may stand in it.
    pub shows_secrets: bool,
    /// Some part needs the event as it was published.
    pub needs_published: bool,
}

impl Compiler<'_> {
    pub(super) fn form(&self, at: usize, part: &RequestPart) -> Form {
        let definition = &self.source.definition;
        let mut known = [&OF_EVENT[..], &[Variable::NowMs]].concat();
        if definition.token.is_some() {
            known.push(Variable::Token);
        }
        if definition.batch.is_some() {
            known.push(Variable::Items);
        }
        self.compiled_form(format!("request.{at}"), part, &known)
    }

    /// A request whose templates can name what is `known`.
    pub(super) fn compiled_form(&self, key: String, part: &RequestPart, known: &[Variable]) -> Form {
        let below = |name: &str| format!("{key}.{name}");
        let slot = |name: &str, text: &str| Slot::new(self.template(&below(name), text, known));
        let pairs = |name: &str, pairs: &Ordered<Text>| -> Vec<(Box<str>, Slot)> {
            pairs.iter().map(|(member, text)| (member.into(), slot(&format!("{name}.{member}"), &text.0))).collect()
        };
        let bodies = [part.body.is_some(), part.form.is_some(), part.json.is_some()];
        if bodies.iter().filter(|there| **there).count() > 1 {
            self.problem(&key, "has more than one of body, form and json");
        }
        let body = match (&part.body, &part.form, &part.json) {
            (Some(text), ..) if !text.is_empty() => Body::Text(slot("body", text)),
            (_, Some(form), _) => Body::Form(pairs("form", form)),
            (.., Some(shape)) => {
                let mut ops = Vec::new();
                self.shape(&below("json"), shape, known, &mut ops);
                Body::Json(ops)
            }
            _ => Body::None,
        };
        let is_form = matches!(body, Body::Form(_));
        self.natives(&below("events"), &part.events);
        let events = if part.events.0.is_empty() { &self.source.definition.events.0 } else { &part.events.0 };
        let mut form = Form {
            when: self.condition(&below("when"), &part.when, &OF_EVENT),
            method: self.method(&below("method"), &part.method, &body),
            address: self.address(&key, part, known),
            query: pairs("query", &part.query),
            headers: pairs("headers", &part.headers).into_iter().map(|(name, slot)| (intern(&name), slot)).collect(),
            body,
            sign: part.sign.as_ref().and_then(|sign| self.sign(&below("sign"), sign, known, is_form)),
            is_batched: false,
            integers: !events.is_empty() && events.iter().all(|(_, native)| matches!(native, Native::Integer(_))),
            events: part.events.0.clone(),
            uses: Uses::default(),
            late_paths: Vec::new(),
            ids: Vec::new(),
            late_refuses: false,
            late_headers: false,
            shows_secrets: false,
            needs_published: false,
            key,
        };
        for (name, _) in &form.headers {
            self.header(&format!("{}.headers.{name}", form.key), name);
        }
        self.finish(&mut form);
        form
    }

    fn method(&self, key: &str, method: &str, body: &Body) -> &'static str {
        match (method, body) {
            ("", Body::None) => "GET",
            ("", _) => "POST",
            _ => METHODS.into_iter().find(|known| *known == method).unwrap_or_else(|| {
                self.problem(key, format!("has to be one of {}", METHODS.join(", ")));
                "POST"
            }),
        }
    }

    fn address(&self, key: &str, part: &RequestPart, known: &[Variable]) -> Address {
        let url_key = format!("{key}.url");
        if part.callback.is_empty() {
            if !part.hosts.is_empty() {
                self.problem(&format!("{key}.hosts"), "stands without `callback`");
            }
            if !part.url.starts_with('/') && !part.url.starts_with("{{") {
                self.problem(&url_key, "has to be a path below base_url, beginning with /");
            }
            let url = self.template(&url_key, &part.url, known);
            if let Template::Fixed(path) = &url
                && path.starts_with('/')
                && !is_path(path)
            {
                self.problem(&url_key, "holds what the path of a URL cannot hold, e.g. a space or #");
            }
            return Address::Below(Slot::new(url));
        }
        self.path(&format!("{key}.callback"), &part.callback);
        if part.hosts.is_empty() {
            self.problem(&format!("{key}.hosts"), "is missing: the hosts to which the event may lead");
        }
        for (at, host) in part.hosts.iter().enumerate().filter(|(_, host)| !is_callback_host(host)) {
            let reason = format!("has to be a host name without scheme and port, not {host:?}");
            self.problem(&format!("{key}.hosts.{at}"), reason);
        }
        // Where a request goes is decided when its event is prepared.
        let url = (!part.url.is_empty()).then(|| self.template(&url_key, &part.url, &OF_EVENT));
        Address::Callback { field: intern(&part.callback), url, hosts: part.hosts.clone() }
    }

    fn sign(&self, key: &str, sign: &SignText, known: &[Variable], is_form: bool) -> Option<Sign> {
        let mut sees = [known, &[Variable::Method, Variable::Url, Variable::Query, Variable::Body]].concat();
        if is_form {
            sees.push(Variable::Form);
        } else if !sign.form.is_empty() {
            self.problem(&format!("{key}.form"), "stands in a request without a form");
        }
        if sign.value.is_empty() {
            self.problem(key, "has no `value`");
        }
        let value = self.template(&format!("{key}.value"), &sign.value, &sees);
        let place = match (sign.header.as_str(), sign.query.as_str(), sign.form.as_str()) {
            (header, "", "") if !header.is_empty() => {
                self.header(&format!("{key}.header"), header);
                SignPlace::Header(intern(header))
            }
            ("", query, "") if !query.is_empty() => SignPlace::Query(query.into()),
            ("", "", field) if !field.is_empty() => SignPlace::Form(field.into()),
            _ => {
                self.problem(key, "has to have either `header` or `query` or `form`");
                return None;
            }
        };
        let uses = value.uses();
        let of_request = [Variable::Url, Variable::Query, Variable::Body, Variable::Form];
        let sees = of_request.into_iter().filter(|of| uses.has(*of)).collect();
        Some(Sign { place, value, sees })
    }

    /// What only a conversion's request can have.
    pub(super) fn of_one_request(&self, key: &str, part: &RequestPart) {
        let stated = [
            ("when", !part.when.is_empty()),
            ("callback", !part.callback.is_empty()),
            ("hosts", !part.hosts.is_empty()),
            ("events", !part.events.0.is_empty()),
        ];
        for (name, _) in stated.iter().filter(|(_, is_stated)| *is_stated) {
            self.problem(&format!("{key}.{name}"), "is for conversions: here is one request, below base_url");
        }
    }

    fn header(&self, key: &str, name: &str) {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            self.problem(key, format!("{name:?} is no name of a header"));
        } else if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            self.problem(key, format!("the worker alone writes {name}"));
        }
    }
}

impl Form {
    /// Keeps what is named of the event until the answer is read.
    pub(super) fn keep(&mut self, uses: &Uses) {
        for path in uses.of(Variable::Event) {
            if !self.late_paths.iter().any(|known| known == path) {
                self.late_paths.push(path.to_owned());
            }
        }
    }

    /// The headers that are rendered when the request is sent.
    pub fn header_templates(&self) -> impl Iterator<Item = &Template> {
        let late = self.headers.iter().filter(|(_, slot)| !slot.is_early).map(|(_, slot)| &slot.template);
        let sign = self.sign.iter().filter(|sign| matches!(sign.place, SignPlace::Header(_)));
        late.chain(sign.map(|sign| &sign.value))
    }

    /// Its texts, in the order in which they are rendered.
    pub fn slots(&self) -> Vec<&Slot> {
        let address = match &self.address {
            Address::Below(slot) => Some(slot),
            Address::Callback { .. } => None,
        };
        let body: Vec<&Slot> = match &self.body {
            Body::None => Vec::new(),
            Body::Text(slot) => vec![slot],
            Body::Form(pairs) => pairs.iter().map(|(_, slot)| slot).collect(),
            Body::Json(ops) => ops
                .iter()
                .filter_map(|op| match op {
                    Op::Member(_, slot) => Some(slot),
                    Op::Raw(_) | Op::Open(_) | Op::Close => None,
                })
                .collect(),
        };
        let query = self.query.iter().map(|(_, slot)| slot);
        let headers = self.headers.iter().map(|(_, slot)| slot);
        address.into_iter().chain(query).chain(headers).chain(body).collect()
    }
}
