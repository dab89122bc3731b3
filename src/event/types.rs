//! The parts of an event. The same structs define how an event is decoded (`node` reads them) and the published schema,
//! whose descriptions are the doc comments here.
//!
//! Every member is declared only here, in the order in which members are judged.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::fields::{
    FIRST_MS, LAST_MS, MOST, click_texts, currency, moment, optional_count, optional_moment, or_empty, trans_id,
};
use super::members::{Members, params};
use super::person::{Consent, User, hash_digits, is_hash};
use super::schema;

/// One conversion or one call, as a producer publishes it to the input topic. Members that are not listed are kept in
/// the record and ignored; `null` is the same as absent for every member that is not required. Numbers count by their
/// value: `5.0` is the whole number 5. Moments (`*_ms`) are of the years 2001 to 2100.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(transform = schema::require_type_or_call)]
pub struct ConversionEvent {
    /// The format and its major version; absent: `postback.event/1`.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Schema>")]
    pub schema: Schema,
    /// Absent: `conversion`.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Kind>")]
    pub kind: Kind,
    /// Unique per conversion; with platform, account and native event it is the key that suppresses repeats.
    /// 1 to 128 visible ASCII characters, and no macro that was never filled in (`__X__`, `${x}`, `[x]`, `null`).
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[\x21-\x7e]+$"), transform = schema::no_placeholder)]
    #[serde(deserialize_with = "trans_id")]
    pub trans_id: String,
    /// The platform, by its name in the configuration.
    pub platform: String,
    /// A configured account of that platform; never a credential.
    pub account: String,
    /// The canonical name, e.g. `form_submit`, `order`, `pay`; absent only where `kind` is `call`.
    #[schemars(with = "Option<String>")]
    pub event_type: String,
    /// The platform's own code; overrides the mapping of `event_type`.
    pub platform_event: Option<String>,
    /// Of a call: its name, e.g. `doudian.order_list`. Required where `kind` is `call`.
    pub call: Option<String>,
    /// When it happened, UTC epoch milliseconds.
    #[serde(deserialize_with = "moment")]
    #[schemars(range(min = FIRST_MS, max = LAST_MS))]
    pub event_time_ms: i64,
    /// When it was published, UTC epoch milliseconds; for the latency metric.
    #[serde(deserialize_with = "optional_moment")]
    #[schemars(range(min = FIRST_MS, max = LAST_MS))]
    pub produced_at_ms: Option<i64>,
    /// Never attempted after this, UTC epoch milliseconds; the platform's own window still applies.
    #[serde(deserialize_with = "optional_moment")]
    #[schemars(range(min = FIRST_MS, max = LAST_MS))]
    pub deadline_ms: Option<i64>,
    /// What ties the conversion to a click.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Click>")]
    pub click: Click,
    /// The order behind it.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Order>")]
    pub order: Order,
    /// The person behind it.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<User>")]
    pub user: User,
    /// What the person agreed to.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Consent>")]
    pub consent: Consent,
    /// Extras that are no platform's own, e.g. `score`, `bname`, `product_name`. At most 32 members and 8 KiB of
    /// compact JSON.
    #[serde(deserialize_with = "params")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>", extend("maxProperties" = 32))]
    pub params: Members,
    /// What only the platform understands, e.g. `data_industry`; it can not name hosts, paths or credentials.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub platform_params: Members,
    /// Of a call: what it asks for. Each call has its own closed list of members.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub args: Members,
    /// Of a call: where its results go.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Reply>")]
    pub reply: Reply,
    /// The event as it was published, with the members that no field here has.
    #[serde(skip)]
    #[schemars(skip)]
    pub published: Published,
}

/// The bytes of an event. Two events are the same if their members are.
#[derive(Clone, Default)]
pub struct Published(pub Bytes);

impl PartialEq for Published {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

// By hand: they hold what the event says of a person.
impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl ConversionEvent {
    /// Whether the person opted out. The event then ends as `suppressed`.
    pub fn opted_out(&self) -> bool {
        self.consent.opt_out == Some(true)
    }

    /// The dotted path of the first raw identifier (SPEC section 12, 37). An empty text identifies nobody. What is
    /// called a hash and is none is one that its producer forgot to hash.
    pub fn raw_identifier(&self) -> Option<Cow<'static, str>> {
        let (user, device, hashed) = (&self.user, &self.user.device, &self.user.hashed);
        let named = [
            (&user.phone, "user.phone"),
            (&user.email, "user.email"),
            (&device.imei, "user.device.imei"),
            (&device.idfa, "user.device.idfa"),
            (&device.oaid, "user.device.oaid"),
            (&device.android_id, "user.device.android_id"),
            (&device.caid, "user.device.caid"),
        ];
        let hashes = [
            (&hashed.phone_md5, "user.hashed.phone_md5"),
            (&hashed.phone_sha256, "user.hashed.phone_sha256"),
            (&hashed.email_sha256, "user.hashed.email_sha256"),
        ];
        let is_raw = |value: &str, path| !value.is_empty() && hash_digits(path).is_none_or(|n| !is_hash(value, n));
        let find = |of: &[(&Option<String>, &'static str)]| {
            let found = of.iter().find(|(value, path)| value.as_deref().is_some_and(|value| is_raw(value, path)));
            found.map(|(_, path)| Cow::Borrowed(*path))
        };
        find(&named)
            .or_else(|| device.others.first().map(|name| format!("user.device.{name}").into()))
            .or_else(|| find(&hashes))
    }
}

/// The format's name and major version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Schema {
    /// The only one there is.
    #[default]
    #[serde(rename = "postback.event/1")]
    V1,
}

impl Schema {
    /// The text for it in events.
    pub const TEXT: &str = "postback.event/1";
}

/// What a record asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To report one conversion.
    #[default]
    Conversion,
    /// To call an API and publish its answer; only for platforms that take calls.
    Call,
}

/// Where the results of a call go, how many are wanted, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Reply {
    /// The topic of the results: one that the configuration names (`kafka.results`, `kafka.result_topics`). Absent:
    /// `kafka.results`.
    pub topic: Option<String>,
    /// The Kafka key of the results. Absent: the `trans_id`.
    pub key: Option<String>,
    /// Absent: `none`.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Paginate>")]
    pub paginate: Paginate,
    /// The most pages of `paginate = "all"`.
    #[serde(deserialize_with = "optional_count")]
    #[schemars(range(min = 1, max = MOST))]
    pub max_pages: Option<i64>,
    /// No page is asked for later than so many seconds after `event_time_ms`.
    #[serde(deserialize_with = "optional_count")]
    #[schemars(range(min = 1, max = MOST))]
    pub ttl_s: Option<i64>,
}

/// Which pages a call wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Paginate {
    /// The one that `args` name.
    #[default]
    None,
    /// That one and those that follow it.
    All,
}

/// Click ids and other texts of the click, at most 4096 bytes each. They are opaque: never trimmed, re-cased, truncated
/// or re-encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(transform = schema::click_texts)]
pub struct Click {
    /// When the click happened, UTC epoch milliseconds.
    #[serde(deserialize_with = "optional_moment")]
    #[schemars(range(min = FIRST_MS, max = LAST_MS))]
    pub click_time_ms: Option<i64>,
    /// Every other member, in the order of the event.
    #[serde(rename = "*", deserialize_with = "click_texts")]
    #[schemars(skip)]
    pub ids: Vec<(String, String)>,
}

impl Click {
    /// The text with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.ids.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The order behind a conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Order {
    /// The order's number; with it events of one order share a partition.
    pub order_id: Option<String>,
    /// What was paid.
    pub amount: Option<Money>,
    /// What was paid back.
    pub refund: Option<Money>,
    /// What was bought.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Vec<Item>>")]
    pub items: Vec<Item>,
}

/// An amount in the currency's smallest unit; never a float.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Money {
    /// Minor units, e.g. fen.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub minor: i64,
    /// ISO 4217, e.g. `CNY`.
    #[serde(deserialize_with = "currency")]
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
}

/// One position of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Item {
    /// The article's number.
    pub id: Option<String>,
    /// The article's name.
    pub name: Option<String>,
    /// How many.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub quantity: Option<i64>,
    /// The price of one.
    pub unit: Option<Money>,
}
