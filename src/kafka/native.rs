//! Reads what librdkafka knows and its Rust crate does not expose: the ids of topics, and the leader epochs of
//! positions.
//!
//! Names and offsets alone cannot tell two cases: a topic that is deleted and created again keeps its name but has
//! another id; a log that was truncated at a leader election holds records of another leader epoch where ours were.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::ptr;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

/// The prefix of the metadata that is committed with a position.
const NOTE: &str = "topic-id=";

/// Distinguishes a topic from an earlier topic with the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicId(Box<str>);

impl TopicId {
    /// Reads an id as it was written. `None` for an empty text.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The metadata to commit with a position, so that the position says which topic it belongs to.
    pub(in crate::kafka) fn note(&self) -> String {
        format!("{NOTE}{}", self.0)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of each topic that exists. `None` if the brokers have no ids (before Kafka 2.8).
pub type TopicIds = BTreeMap<String, Option<TopicId>>;

/// Asks for the ids of these topics. The answer leaves out a topic that does not exist, or whose partitions have no
/// leader yet. This call blocks.
///
/// # Errors
/// Fails if no broker answers within the time.
pub(in crate::kafka) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    within: Duration,
) -> KafkaResult<TopicIds> {
    let names: Vec<CString> = names.iter().filter_map(|name| CString::new(*name).ok()).collect();
    if names.is_empty() {
        return Ok(TopicIds::new());
    }
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let within_ms = c_int::try_from(within.as_millis()).unwrap_or(c_int::MAX / 2);
    // SAFETY: the client and the names outlive the calls, and the calls copy the names. This block destroys each object
    // that it creates, and destroys the event only after it has read everything in it.
    unsafe {
        let rk = client.native_ptr();
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options = sys::rd_kafka_AdminOptions_new(rk, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, within_ms, ptr::null_mut(), 0);
        let queue = sys::rd_kafka_queue_new(rk);
        sys::rd_kafka_DescribeTopics(rk, topics, options, queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        // The request has its own timeout. The additional second allows for a busy machine.
        let event = sys::rd_kafka_queue_poll(queue, within_ms + 1000);
        let ids = if event.is_null() { Err(timed_out()) } else { described(event) };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        ids
    }
}

fn timed_out() -> KafkaError {
    KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)
}

/// # Safety
/// `event` must be a live event of the client library.
unsafe fn described(event: *mut sys::rd_kafka_event_t) -> KafkaResult<TopicIds> {
    use sys::rd_kafka_resp_err_t as E;
    // SAFETY: the event lives through the call, and everything that is read from it lives as long as the event.
    unsafe {
        let error = sys::rd_kafka_event_error(event);
        if error != E::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::AdminOp(error.into()));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(timed_out());
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut ids = TopicIds::new();
        for n in 0..count {
            let topic = *topics.add(n);
            // The answer leaves this topic out.
            if topic.is_null() {
                continue;
            }
            let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
            let error = sys::rd_kafka_TopicDescription_error(topic);
            let code = if error.is_null() { E::RD_KAFKA_RESP_ERR_NO_ERROR } else { sys::rd_kafka_error_code(error) };
            match code {
                E::RD_KAFKA_RESP_ERR_NO_ERROR => ids.insert(name, id_of(topic)),
                // A client that may not describe the topic cannot compare its id either. Reading the topic reports the
                // missing right more clearly.
                E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => ids.insert(name, None),
                _ => None,
            };
        }
        Ok(ids)
    }
}

/// # Safety
/// `topic` must be a live description of a topic.
unsafe fn id_of(topic: *const sys::rd_kafka_TopicDescription_t) -> Option<TopicId> {
    // SAFETY: the description lives through the call. The text belongs to the id and is copied.
    unsafe {
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)) == (0, 0)
        {
            return None;
        }
        let text = sys::rd_kafka_Uuid_base64str(id);
        // The text is null if the library could not allocate memory for it.
        if text.is_null() { None } else { TopicId::new(&CStr::from_ptr(text).to_string_lossy()) }
    }
}

/// The id of the topic that a committed position belongs to, if the worker committed the position. The crate's own
/// accessor panics on metadata that is not UTF-8, and other tools may commit any bytes.
pub(in crate::kafka) fn noted_id(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<TopicId> {
    let element = find(list, topic, partition)?;
    // SAFETY: the element belongs to the list, which outlives the call. Its metadata is `metadata_size` bytes long.
    let note = unsafe {
        let element = &*element;
        if element.metadata.is_null() {
            return None;
        }
        std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size)
    };
    TopicId::new(std::str::from_utf8(note).ok()?.strip_prefix(NOTE)?)
}

/// The leader epoch of a position in a list.
pub(in crate::kafka) fn leader_epoch(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i32> {
    let element = find(list, topic, partition)?;
    // SAFETY: the element belongs to the list, which outlives the call.
    let epoch = unsafe { sys::rd_kafka_topic_partition_get_leader_epoch(element) };
    (epoch >= 0).then_some(epoch)
}

/// Sets the leader epoch of the record before a position.
pub(in crate::kafka) fn set_leader_epoch(list: &mut TopicPartitionList, topic: &str, partition: i32, epoch: i32) {
    if let Some(element) = find(list, topic, partition) {
        // SAFETY: the element belongs to the list, and nobody else uses the list during the call.
        unsafe { sys::rd_kafka_topic_partition_set_leader_epoch(element, epoch) };
    }
}

fn find(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<*mut sys::rd_kafka_topic_partition_t> {
    let topic = CString::new(topic).ok()?;
    // SAFETY: the list and the name outlive the call, and the call only compares.
    let element = unsafe { sys::rd_kafka_topic_partition_list_find(list.ptr(), topic.as_ptr(), partition) };
    (!element.is_null()).then_some(element)
}

/// The leader epoch of a record. `None` if its broker states none.
pub(in crate::kafka) fn record_epoch(message: &BorrowedMessage<'_>) -> Option<i32> {
    // SAFETY: the message lives through the call, and the call only reads it.
    let epoch = unsafe { sys::rd_kafka_message_leader_epoch(message.ptr()) };
    (epoch >= 0).then_some(epoch)
}

/// Marks one partition of a list as refused, as a broker does in its answer.
#[cfg(test)]
pub(in crate::kafka) fn refuse(list: &TopicPartitionList, topic: &str, partition: i32) {
    use sys::rd_kafka_resp_err_t as E;
    let element = find(list, topic, partition).unwrap();
    // SAFETY: the element belongs to the list, which outlives the call and is not used by anybody else.
    unsafe { (*element).err = E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED };
}

#[cfg(test)]
mod tests {
    use rdkafka::Offset;

    use super::*;

    #[test]
    fn a_position_carries_its_leader_epoch_and_the_id_of_its_topic() {
        let id = TopicId::new("q3xE0y1RSh2cVnTJ8r2bGA").unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 2, Offset::Offset(7)).unwrap();
        assert_eq!((leader_epoch(&list, "t", 2), noted_id(&list, "t", 2)), (None, None));
        set_leader_epoch(&mut list, "t", 2, 5);
        list.find_partition("t", 2).unwrap().set_metadata(id.note());
        let list = list.clone();
        assert_eq!((leader_epoch(&list, "t", 2), noted_id(&list, "t", 2)), (Some(5), Some(id)));
        assert_eq!((leader_epoch(&list, "t", 3), noted_id(&list, "u", 2)), (None, None));
    }

    #[test]
    fn a_note_of_another_tool_is_no_id() {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(7)).unwrap();
        list.find_partition("t", 0).unwrap().set_metadata("moved by hand");
        assert_eq!(noted_id(&list, "t", 0), None);
        assert_eq!(TopicId::new(""), None);
    }
}
