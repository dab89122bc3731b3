//! The causes of an error.

use std::error::Error;
use std::{io, iter};

/// The error and its causes, outermost first. An `io::Error` hides the error that it wraps from `source`, and TLS
/// errors are wrapped twice.
pub fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

/// Whether this error says that a certificate is not valid for its host.
pub fn is_bad_certificate(error: &(dyn Error + 'static)) -> bool {
    let tls = error.downcast_ref::<rustls::Error>();
    matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}
