//! The class of a request that got no usable answer. The texts are our own, because a library's text may contain an
//! address.

use crate::error::{Answer, DeliveryError};
use crate::platforms::http_status::unreadable;
use crate::send::client::{Failure, PrivateAddress, PrivateName, ProxyFailure, is_bad_certificate, sources};

pub(super) fn unsent(detail: &str) -> Answer {
    Answer { detail: detail.to_owned(), ..Answer::default() }
}

pub(super) fn private_host() -> DeliveryError {
    DeliveryError::Halt(unsent(
        "the host resolves to a private or loopback address: set allow_private on the account if that is meant",
    ))
}

pub(super) fn ambiguous(status: Option<u16>, why: &str) -> DeliveryError {
    DeliveryError::Ambiguous(Answer { status, detail: why.to_owned(), sent: true, ..Answer::default() })
}

/// The class of a request of this account that got no answer (SPEC 0.2).
pub(super) fn refused(account: &str, failure: &Failure) -> DeliveryError {
    match failure {
        Failure::Connect(error) => match find_cause(&**error) {
            Some(Cause::PrivateAddress) => private_host(),
            Some(Cause::PrivateName) => DeliveryError::Halt(unsent(
                "the host is named by a private or loopback address, and behind a proxy its name is all that can be \
                 judged: set allow_private on the account if that is meant",
            )),
            Some(Cause::Proxy(failure)) => by_proxy(account, failure),
            Some(Cause::Certificate) => DeliveryError::Halt(unsent("the host's TLS certificate is not valid for it")),
            None => DeliveryError::Retry(unsent("no connection")),
        },
        Failure::ConnectTimeout | Failure::Unsent => DeliveryError::Retry(unsent(&failure.to_string())),
        Failure::Unreadable => unreadable(None, &failure.to_string()),
        Failure::Timeout | Failure::Broken => ambiguous(None, &failure.to_string()),
    }
}

fn by_proxy(account: &str, failure: ProxyFailure) -> DeliveryError {
    match failure {
        ProxyFailure::Refused => DeliveryError::Halt(unsent(&format!(
            "the proxy refuses the account's user and password: correct accounts.{account}.proxy"
        ))),
        ProxyFailure::Certificate => DeliveryError::Halt(unsent(&format!(
            "the TLS certificate of the proxy of accounts.{account}.proxy is not valid for it"
        ))),
        ProxyFailure::Unreached => {
            DeliveryError::Retry(unsent(&format!("the proxy of accounts.{account}.proxy cannot be reached")))
        }
        ProxyFailure::NoWay => DeliveryError::Retry(unsent(&format!(
            "the proxy of accounts.{account}.proxy makes no connection to the platform"
        ))),
    }
}

enum Cause {
    PrivateAddress,
    PrivateName,
    Proxy(ProxyFailure),
    Certificate,
}

fn find_cause(error: &(dyn std::error::Error + 'static)) -> Option<Cause> {
    sources(error).find_map(|error| {
        if error.is::<PrivateAddress>() {
            Some(Cause::PrivateAddress)
        } else if error.is::<PrivateName>() {
            Some(Cause::PrivateName)
        } else if let Some(failure) = error.downcast_ref::<ProxyFailure>() {
            Some(Cause::Proxy(*failure))
        } else {
            is_bad_certificate(error).then_some(Cause::Certificate)
        }
    })
}
