//! The address that a request came from, past the proxies that are trusted.

use std::net::IpAddr;
use std::sync::Once;

use ipnet::IpNet;
use poem::web::RemoteAddr;
use poem::{FromRequest, Request, RequestBody};

use super::app;

/// Where a request came from.
pub(crate) struct PeerAddress(pub(crate) Option<IpAddr>);

impl<'a> FromRequest<'a> for PeerAddress {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(peer_address(request, &app(request)?.config.trusted_proxies)))
    }
}

/// The peer's address; where the peer is a proxy that is trusted, the last one that proxies which are
/// trusted did not add. What stands before that anybody may have written.
pub(crate) fn peer_address(request: &Request, proxies: &[IpNet]) -> Option<IpAddr> {
    let RemoteAddr(poem::Addr::SocketAddr(peer)) = request.remote_addr() else { return None };
    let mut address = peer.ip().to_canonical();
    let is_proxy = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
    if proxies.is_empty() && request.headers().contains_key("x-forwarded-for") {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!(
                "a request has X-Forwarded-For, and nobody is believed who sends it: behind a proxy, \
                 name it in TRUSTED_PROXIES, or everybody seems to come from one address"
            );
        });
    }
    let forwarded = request.headers().get_all("x-forwarded-for").iter();
    // Each by itself: what is no text must not hide the proxy's own word.
    let hops: Vec<_> = forwarded
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|hop| std::str::from_utf8(hop).unwrap_or_default().trim().parse::<IpAddr>())
        .map(|hop| hop.map(|hop| hop.to_canonical()))
        .collect();
    for hop in hops.into_iter().rev() {
        if !is_proxy(&address) {
            break;
        }
        // What is no address is not believed, nor what stands before it.
        let Ok(hop) = hop else { break };
        address = hop;
    }
    Some(address)
}
