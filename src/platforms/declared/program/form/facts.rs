//! What follows from all parts of a request together.

use crate::platforms::declared::engine::{Compiler, Uses, Variable};
use crate::platforms::declared::interner::intern;
use crate::platforms::declared::program::form::{Address, Form, SignPlace};
use crate::platforms::declared::program::slot::Slot;

impl Compiler<'_> {
    /// Whether a request that names these may show a secret.
    fn shows_secrets(&self, uses: &Uses) -> bool {
        let below = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
        let is_secret = |path: &str| {
            let mut secrets = self.source.definition.account.keys.iter().filter(|(_, key)| key.secret);
            let mut named = secrets.any(|(key, _)| key == path || below(key, path) || below(path, key));
            named |= path.is_empty() || path == "token" || path.starts_with("token.");
            named
        };
        uses.has(Variable::Token) || uses.of(Variable::Account).any(is_secret)
    }

    /// Two headers of one name, of which a receiver takes either.
    fn headers_once(&self, form: &Form) {
        let sign = form.sign.as_ref().and_then(|sign| match &sign.place {
            SignPlace::Header(name) => Some(*name),
            SignPlace::Query(_) | SignPlace::Form(_) => None,
        });
        let names: Vec<&str> = form.headers.iter().map(|(name, _)| *name).chain(sign).collect();
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|other| other.eq_ignore_ascii_case(name)) {
                self.problem(&form.key, format!("has the header {name} twice"));
            }
        }
    }

    /// What follows from all parts together.
    pub(super) fn finish(&self, form: &mut Form) {
        self.headers_once(form);
        let (mut all, mut late) = (Uses::default(), Uses::default());
        for slot in form.slots() {
            let uses = slot.template.uses();
            all.add(&uses);
            if !slot.is_early {
                late.add(&uses);
            }
        }
        if let Address::Callback { url: Some(url), .. } = &form.address {
            all.add(&url.uses());
        }
        if let Some(sign) = &form.sign {
            all.add(&sign.value.uses());
            late.add(&sign.value.uses());
        }
        form.is_batched = all.has(Variable::Items);
        form.late_paths = late.of(Variable::Event).map(str::to_owned).collect();
        if late.has(Variable::Published) {
            form.late_paths.push(String::new());
        }
        let of_event = |slot: &Slot| !slot.is_early && slot.template.uses().has(Variable::Event);
        let path_is_late = matches!(&form.address, Address::Below(slot) if of_event(slot));
        form.late_refuses = late.refuses || path_is_late;
        let late_headers = form.header_templates().any(|template| template.uses().has_any(&OF_HEADERS));
        form.late_headers = late_headers;
        form.ids = ids(&all);
        form.shows_secrets = self.shows_secrets(&all);
        form.needs_published = all.has(Variable::Published);
        form.uses = all;
        if let Some(path) = form.late_paths.first().filter(|_| form.is_batched) {
            let reason = format!(
                "needs `event.{path}` beside what is known only when several events are sent; put it into batch.item"
            );
            self.problem(&form.key, reason);
        }
    }
}

/// What brings a text of the event into a late header. A body comes there only as its digest.
const OF_HEADERS: [Variable; 4] = [Variable::Event, Variable::Published, Variable::Native, Variable::Items];

/// Of a device only this is no id.
const NO_ID: &str = "user.device.os";

/// The ids of the event among what is named (SPEC section 9, and section 12, 17 and 35).
pub(in crate::platforms::declared::program) fn ids(uses: &Uses) -> Vec<&'static str> {
    const SECTIONS: [&str; 4] = ["click.", "user.hashed.", "user.wechat.", "user.device."];
    let is_id = |path: &&str| {
        let stands_below = SECTIONS.iter().any(|section| path.starts_with(section));
        stands_below && *path != NO_ID || matches!(*path, "order.order_id" | "user.user_id")
    };
    uses.of(Variable::Event).filter(is_id).map(intern).collect()
}
