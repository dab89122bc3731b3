//! TCP connections to addresses that the account may reach.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::lookup::lookup;
use crate::account::address::private;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Tcp = HttpConnector<Resolver>;

/// The host resolves to an address that the account may not reach.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to a private address")]
pub struct PrivateAddress;

pub(super) fn tcp(allow_private: bool) -> Tcp {
    let mut tcp = HttpConnector::new_with_resolver(Resolver { allow_private });
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

/// Resolves names. It is the resolved address that is checked, because a name may point anywhere, and somewhere else
/// later.
#[derive(Clone)]
pub(super) struct Resolver {
    allow_private: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow_private = self.allow_private;
        Box::pin(async move { Ok(addresses(name.as_str(), 0, allow_private).await?.into_iter()) })
    }
}

/// Refuses all addresses if one of them is private and that is not allowed, because the system chooses the one that is
/// used.
pub fn reachable(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, PrivateAddress> {
    if !allow_private && found.iter().any(|a| private(a.ip()).is_some()) {
        return Err(PrivateAddress);
    }
    Ok(found)
}

/// The addresses of a host. All are refused if one of them is private and that is not allowed.
///
/// # Errors
/// The name does not resolve, or [`PrivateAddress`].
pub async fn addresses(host: &str, port: u16, allow_private: bool) -> Result<Vec<SocketAddr>, BoxError> {
    let found = lookup(host).await?;
    Ok(reachable(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect(), allow_private)?)
}
