//! Records that a bench reads back from its broker.

use std::collections::BTreeMap;

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{ClientConfig, Message as _};

use crate::embedded::broker::Broker;
use crate::error::Reason;

pub(super) fn reader(broker: &Broker) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("group.id", "reader").set("fetch.wait.max.ms", "20");
    config.create().unwrap()
}

/// One record of a topic.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Published {
    pub(super) fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|h| h.iter());
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
        }
    }

    pub(crate) fn is_of(&self, trans_id: &str) -> bool {
        self.text("pb-trans-id") == trans_id
            || String::from_utf8_lossy(&self.value).contains(&format!("\"{trans_id}\""))
    }

    pub(crate) fn text(&self, header: &str) -> &str {
        self.headers.get(header).map_or("", String::as_str)
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.as_str() == self.text("pb-reason"))
    }
}
