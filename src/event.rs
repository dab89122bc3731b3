//! The conversion event as producers publish it (SPEC section 7): its parts, the decoding, and the rules of the
//! envelope.
//!
//! The doc comments in `types` and `person` are the descriptions in `config/event.schema.json`, which is generated from
//! these types. The senders judge the rules of platforms, and [`admit`](crate::admit) judges time, account and consent.

mod decode;
mod fields;
mod fingerprint;
mod json;
mod members;
mod node;
mod number;
mod person;
mod placeholder;
mod schema;
#[cfg(test)]
mod tests;
mod types;

pub use decode::{Identity, NamedReply, decode, identify};
pub use members::Members;
pub use node::safe_name;
pub use number::whole;
pub use person::{Consent, Device, Hashed, User, Wechat, hash_digits, is_hash};
pub use placeholder::{is_placeholder, is_unfilled};
pub use schema::join_lines;
pub use types::{Click, ConversionEvent, Item, Kind, Money, Order, Paginate, Published, Reply, Schema};
