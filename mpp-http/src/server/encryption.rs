//! Whether a request came over an encrypted connection (SECURITY-CASES A19).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::ConnectInfo;
use http::Request;

/// Where a proxy says how its client connected.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Says, among a request's extensions, that its connection is encrypted.
///
/// A server that ends TLS itself puts it there for each request of such a
/// connection. No header field stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encrypted;

/// How a route knows that a request came encrypted.
///
/// A credential that travels in the clear can be used by whoever reads it, so
/// a request that did not come encrypted gets neither a challenge nor service.
#[derive(Clone, Debug, Default)]
pub struct Encryption {
    proxies: Arc<[IpAddr]>,
}

impl Encryption {
    /// By the extension [`Encrypted`] alone: this server ends TLS.
    #[must_use]
    pub fn here() -> Self {
        Self::default()
    }

    /// Also by `X-Forwarded-Proto: https` from one of these addresses, where
    /// proxies end TLS. They must set the field themselves, whatever their
    /// clients send.
    ///
    /// The server must know its peers: with axum, serve with
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Of an unknown
    /// peer nothing is believed.
    #[must_use]
    pub fn at_proxies(proxies: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            proxies: proxies.into_iter().map(|ip| ip.to_canonical()).collect(),
        }
    }

    /// Whether nobody could read the request on its way.
    pub(super) fn covers<B>(&self, request: &Request<B>) -> bool {
        let extensions = request.extensions();
        if extensions.get::<Encrypted>().is_some() {
            return true;
        }
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let is_proxy = peer.is_some_and(|ConnectInfo(address)| {
            self.proxies.contains(&address.ip().to_canonical())
        });
        is_proxy && says_https(request)
    }
}

/// Whether every hop that is told of was encrypted, and at least one is.
fn says_https<B>(request: &Request<B>) -> bool {
    let mut hops = request
        .headers()
        .get_all(FORWARDED_PROTO)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .peekable();
    hops.peek().is_some() && hops.all(|hop| hop.eq_ignore_ascii_case(b"https"))
}
