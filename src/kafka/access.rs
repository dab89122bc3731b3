//! Who may read a topic, as the brokers say it: whether this user may, and which users the rules of access name.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_AclOperation_t as Operation;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// Which users the rules of access let read a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The brokers check no rights.
    Everybody,
    /// Those who are named, e.g. `User:postback`; `User:*` stands for all. Who is above the rules is not told.
    Named(Vec<String>),
    /// The brokers do not tell this user.
    Untold,
}

/// One rule of access: whom it names, what it lets do, and whether it lets or forbids it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    principal: String,
    operation: Operation,
    allows: bool,
}

/// Who may read by these rules.
fn named(rules: &[Rule]) -> Vec<String> {
    let reads = |rule: &&Rule| {
        matches!(rule.operation, Operation::RD_KAFKA_ACL_OPERATION_READ | Operation::RD_KAFKA_ACL_OPERATION_ALL)
    };
    let of = |allows: bool| -> BTreeSet<&String> {
        rules.iter().filter(reads).filter(|rule| rule.allows == allows).map(|rule| &rule.principal).collect()
    };
    of(true).difference(&of(false)).map(|name| (*name).clone()).collect()
}

/// Whether this client's user may read the topic; `None`: there is no such topic, or the brokers do not tell. It
/// blocks.
///
/// # Errors
/// No broker answers within the time.
pub(in crate::kafka) fn may_read<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    within: Duration,
) -> KafkaResult<Option<bool>> {
    let Ok(name) = CString::new(topic) else { return Ok(None) };
    let mut names: Vec<*const c_char> = vec![name.as_ptr()];
    // SAFETY: the name outlives the call, which copies it; what is made here is destroyed here.
    let request = |rk: *mut _, options: *mut _, queue: *mut _| unsafe {
        let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        sys::rd_kafka_DescribeTopics(rk, topics, options, queue);
        sys::rd_kafka_TopicCollection_destroy(topics);
    };
    // SAFETY: everything that is read lives as long as the event.
    let read = |event| unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(timed_out());
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 || (*topics).is_null() {
            return Ok(None);
        }
        let error = sys::rd_kafka_TopicDescription_error(*topics);
        if !error.is_null() {
            return Ok(match sys::rd_kafka_error_code(error).into() {
                RDKafkaErrorCode::NoError => None,
                RDKafkaErrorCode::TopicAuthorizationFailed => Some(false),
                _ => None,
            });
        }
        let mut count = 0;
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(*topics, &mut count);
        if operations.is_null() {
            return Ok(None);
        }
        let operations: Vec<Operation> = (0..count).map(|n| *operations.add(n)).collect();
        Ok(Some(operations.contains(&Operation::RD_KAFKA_ACL_OPERATION_READ)))
    };
    ask(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, within, request, read)
}

/// Which users the rules of access let read the topic. It blocks. An answer that refuses, and one of brokers that check
/// no rights, name nobody: the client library drops their errors.
///
/// # Errors
/// No broker answers within the time.
pub(in crate::kafka) fn readers<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    within: Duration,
) -> KafkaResult<Readers> {
    let Ok(name) = CString::new(topic) else { return Ok(Readers::Untold) };
    // SAFETY: the name outlives the call, which copies it; what is made here is destroyed here.
    let request = |rk: *mut _, options: *mut _, queue: *mut _| unsafe {
        let mut why = [0 as c_char; 128];
        let filter = sys::rd_kafka_AclBindingFilter_new(
            sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            name.as_ptr(),
            // Every rule that applies to this name, also those for prefixes and for all topics.
            sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_MATCH,
            ptr::null(),
            ptr::null(),
            Operation::RD_KAFKA_ACL_OPERATION_ANY,
            sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
            why.as_mut_ptr(),
            why.len(),
        );
        sys::rd_kafka_DescribeAcls(rk, filter, options, queue);
        sys::rd_kafka_AclBinding_destroy(filter);
    };
    // SAFETY: everything that is read lives as long as the event.
    let read = |event| unsafe {
        let result = sys::rd_kafka_event_DescribeAcls_result(event);
        if result.is_null() {
            return Err(timed_out());
        }
        let mut count = 0;
        let bindings = sys::rd_kafka_DescribeAcls_result_acls(result, &mut count);
        let allow = sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW;
        let rules: Vec<Rule> = (0..count)
            .map(|n| *bindings.add(n))
            .map(|binding| Rule {
                principal: CStr::from_ptr(sys::rd_kafka_AclBinding_principal(binding)).to_string_lossy().into_owned(),
                operation: sys::rd_kafka_AclBinding_operation(binding),
                allows: sys::rd_kafka_AclBinding_permission_type(binding) == allow,
            })
            .collect();
        Ok(Readers::Named(named(&rules)))
    };
    let asked = ask(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS, within, request, read);
    match asked {
        Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedVersion)) => Ok(Readers::Untold),
        other => other,
    }
}

fn timed_out() -> KafkaError {
    KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)
}

/// Makes one request of an administrator, and reads its answer.
fn ask<C: ClientContext, T>(
    client: &Client<C>,
    operation: sys::rd_kafka_admin_op_t,
    within: Duration,
    request: impl FnOnce(*mut sys::rd_kafka_t, *mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> KafkaResult<T>,
) -> KafkaResult<T> {
    let within_ms = c_int::try_from(within.as_millis()).unwrap_or(c_int::MAX / 2);
    // SAFETY: the client outlives the calls. Each object that is made here is destroyed here, the event last.
    unsafe {
        let rk = client.native_ptr();
        let options = sys::rd_kafka_AdminOptions_new(rk, operation);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, within_ms, ptr::null_mut(), 0);
        let queue = sys::rd_kafka_queue_new(rk);
        request(rk, options, queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        // The request has its own timeout. The additional second allows for a busy machine.
        let event = sys::rd_kafka_queue_poll(queue, within_ms + 1000);
        let answer = if event.is_null() {
            Err(timed_out())
        } else {
            match sys::rd_kafka_event_error(event).into() {
                RDKafkaErrorCode::NoError => read(event),
                code => Err(KafkaError::AdminOp(code)),
            }
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_is_who_is_let_and_not_forbidden() {
        use Operation::{
            RD_KAFKA_ACL_OPERATION_ALL as ALL, RD_KAFKA_ACL_OPERATION_READ as READ,
            RD_KAFKA_ACL_OPERATION_WRITE as WRITE,
        };
        let rule = |principal: &str, operation, allows| Rule { principal: principal.to_owned(), operation, allows };
        let rules = [
            rule("User:postback", READ, true),
            rule("User:postback", WRITE, true),
            rule("User:audit", ALL, true),
            rule("User:producer", WRITE, true),
            rule("User:*", READ, true),
            rule("User:audit", READ, false),
        ];
        assert_eq!(named(&rules), ["User:*", "User:postback"]);
        assert!(named(&rules[3..4]).is_empty());
    }
}
