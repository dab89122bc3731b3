//! Calls: requests whose answer is wanted (SPEC section 10).
//!
//! A [`Call`] speaks for one account's calls as a [`Sender`](super::Sender) speaks for its conversions, and like one it
//! is pure: event in, request out; answer in, result out. The worker claims a call, sends its requests one after the
//! other, publishes what they answer, and confirms the claim last.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{DeliveryError, Fault};
use crate::event::{Members, Paginate, Published, safe_name};
use crate::platforms::context::Context;
use crate::platforms::item::Item;
use crate::platforms::probe::Probe;
use crate::platforms::reading::HttpAnswer;
use crate::platforms::request::Request;
use crate::platforms::tokens::{Seed, TokenSource};

/// The answer to a call is read to so many bytes: [`Request::answer_bytes`] of its requests.
pub const CALL_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// A platform's requests whose answer is wanted, for one account.
pub trait Call: Send + Sync {
    /// The names of all calls that an event may ask for. The native name of a call, as it stands in claims and headers,
    /// is one of them.
    fn names(&self) -> &'static [&'static str];

    /// Judges a call (SPEC section 9, steps 4 to 8; section 12, 22).
    ///
    /// # Errors
    /// `Invalid`, with the first field at fault: `call` where it is unknown or not allowed, `args.…`, `reply.…`.
    fn prepare(&self, call: &CallEvent<'_>, now_ms: i64) -> Result<PreparedCall, DeliveryError>;

    /// The request for one part of a call, counted from 0: a page of [`Parts::Pages`], a chunk of [`Parts::Chunks`].
    ///
    /// # Errors
    /// A fault where no credential is in force: the account halts, nothing is signed with an empty secret.
    fn request(&self, call: &PreparedCall, part: u64, context: &Context<'_>) -> Result<Request, Fault>;

    /// What the answer to the request for a part says. It is not asked where the status alone decides (SPEC section
    /// 0.2).
    fn read(&self, call: &PreparedCall, part: u64, answer: &HttpAnswer<'_>) -> CallReading;

    /// The accounts that may answer a call of this name in place of this one while it is broken, in order. Only for
    /// calls that read.
    fn alternates(&self, _call: &str) -> &[String] {
        &[]
    }

    /// The keys of its account that limit its requests, and what the account states there. The requests of all accounts
    /// of one contract are counted together, so these accounts have to state the same.
    fn bounds(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// As [`Sender::tokens`](super::Sender::tokens).
    fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        None
    }

    /// What its account may try out harmlessly; `None`: nothing but whether the platform can be reached.
    fn probe(&self) -> Option<&dyn Probe> {
        None
    }
}

/// A call as its platform judges it.
#[derive(Clone, Copy, Debug)]
pub struct CallEvent<'a> {
    pub trans_id: &'a str,
    /// The member `call`.
    pub name: &'a str,
    pub args: &'a Members,
    /// The member `reply.paginate`. A call without pages ignores it.
    pub paginate: Paginate,
    /// The most pages that are wanted. The worker stops there; a platform need not look at it.
    pub max_pages: Option<u64>,
    /// The whole event. Only a platform that is a file reads it.
    pub published: &'a Published,
}

impl CallEvent<'_> {
    /// Refuses members of `args` that the call does not know, by their path.
    ///
    /// # Errors
    /// `Invalid`, with the first of them.
    pub fn knows_only(&self, names: &[&str]) -> Result<(), DeliveryError> {
        match self.args.names().find(|name| !names.contains(name)) {
            None => Ok(()),
            Some(unknown) => {
                let field = format!("args.{}", safe_name(unknown));
                let detail = format!("{} has no such argument: it knows {}", self.name, names.join(", "));
                Err(DeliveryError::Invalid(Fault::new(field, detail)))
            }
        }
    }
}

/// A call that passed every rule but those of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedCall {
    /// Which of [`Call::names`] it is.
    pub name: &'static str,
    /// What [`Call::request`] and [`Call::read`] need of it.
    pub item: Item,
    pub parts: Parts,
    /// A repeat does harm: it is never sent again after an answer that did not come.
    pub destructive: bool,
    /// Things that were dropped or doubted; shown by `preview`, counted nowhere.
    pub warnings: Vec<String>,
    /// What the platform allows for all replicas together, where that is less than the rate of the account.
    pub limit: Option<CallLimit>,
}

/// How many requests a call takes, and how many results it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// One request, one result.
    One,
    /// One request and one result for each page, one after the other, for as long as the answers say that more follow.
    Pages {
        /// The number of the first page as the event asks for it. Results carry it and count on from it.
        first: u64,
        /// The most pages by the platform's own limits, at least 1.
        most: u64,
    },
    /// So many requests, at least 1, whose items make one result in their order.
    Chunks(u64),
}

/// A limit beside the rate: on what a call asks about, and on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimit {
    /// What a call asks about, e.g. the number of a waybill; it becomes part of a key in Redis, hashed.
    pub about: String,
    /// From one request about it to the next.
    pub interval: Duration,
    /// The most requests of the account between two midnights of [`CallLimit::tz`].
    pub per_day: Option<u64>,
    /// The zone whose midnight ends the day.
    pub tz: chrono_tz::Tz,
}

/// What a body says, in the words of one platform.
#[derive(Clone, Debug)]
pub enum CallReading {
    /// The platform answered the call. It is believed only on a 2xx.
    Answer(Box<CallAnswer>),
    /// The platform refused it, or failed.
    Failed(DeliveryError),
    /// Nothing that the platform's rules know: the status decides.
    Nothing,
}

/// The answer to one request of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallAnswer {
    /// The platform's own code as text; empty: it gives none.
    pub code: String,
    /// The platform's own words; empty: it says nothing.
    pub message: String,
    /// What the caller wants to know. `Null` where the items say it all.
    pub data: Value,
    /// The items of a call that has items, in the order of the event.
    pub items: Option<Vec<ItemResult>>,
    /// Another page follows this one. Only [`Parts::Pages`] asks.
    pub more: bool,
    /// Where personal data stands in `data` and in the `data` of each item. It is masked unless the account may publish
    /// it.
    pub personal: Vec<Personal>,
}

/// What became of one item of a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemResult {
    /// Its place in the event, from 0, over all chunks.
    pub index: u64,
    /// What names the item on the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_id: Option<String>,
    pub status: ItemStatus,
    /// The platform's own code of the item.
    pub code: String,
    /// The platform's own words about the item.
    pub message: String,
    pub data: Value,
}

/// Whether an item succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    Ok,
    Error,
}

/// A place of personal data in a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personal {
    /// Names of members, with `*` for every member of a list: `Traces.*.AcceptStation`. A place that is not there is no
    /// error.
    pub at: Cow<'static, str>,
    pub kind: PersonalKind,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonalKind {
    /// A value that is personal as a whole: a phone number keeps its ends, anything else is hidden.
    Value,
    /// Words that may hold phone numbers, mail addresses, house numbers and names of people: those alone are masked.
    Text,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_that_a_call_does_not_know_is_refused_by_its_path() {
        let field = |args: &[&str]| {
            let args = Members(args.iter().map(|name| ((*name).to_owned(), json!(1))).collect());
            let call = CallEvent {
                trans_id: "c",
                name: "list",
                args: &args,
                paginate: Paginate::None,
                max_pages: None,
                published: &Published::default(),
            };
            match call.knows_only(&["page", "size"]) {
                Err(DeliveryError::Invalid(fault)) => Some(fault.field.into_owned()),
                other => other.map(|()| None).unwrap(),
            }
        };
        assert_eq!(field(&["size", "page"]), None);
        assert_eq!(field(&["page", "pagesize"]).as_deref(), Some("args.pagesize"));
        assert_eq!(field(&["13812345678"]).as_deref(), Some("args.?"), "a name may be personal data");
    }
}
