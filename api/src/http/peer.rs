//! The address of the client, behind the trusted proxies.

use std::net::IpAddr;
use std::sync::Once;

use ipnet::IpNet;
use poem::web::RemoteAddr;
use poem::{FromRequest, Request, RequestBody};

use super::app;

/// The address that the request came from.
pub(crate) struct PeerAddress(pub(crate) Option<IpAddr>);

impl<'a> FromRequest<'a> for PeerAddress {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(peer_address(request, &app(request)?.config.trusted_proxies)))
    }
}

/// The address that the request came from. If the connection comes from a trusted proxy, this is the last address in
/// `X-Forwarded-For` that is not a trusted proxy. The entries before it are not reliable: anybody can write them.
pub(crate) fn peer_address(request: &Request, proxies: &[IpNet]) -> Option<IpAddr> {
    let RemoteAddr(poem::Addr::SocketAddr(peer)) = request.remote_addr() else { return None };
    let mut address = peer.ip().to_canonical();
    let is_proxy = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
    if proxies.is_empty() && request.headers().contains_key("x-forwarded-for") {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                "a request has X-Forwarded-For, but TRUSTED_PROXIES is not set: if there is a proxy, name it \
                 in TRUSTED_PROXIES; otherwise all callers seem to come from its address"
            );
        });
    }
    let forwarded = request.headers().get_all("x-forwarded-for").iter();
    // Each entry is read by itself, so that one which is not text does not hide the entry of the proxy.
    let hops: Vec<_> = forwarded
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|hop| std::str::from_utf8(hop).unwrap_or_default().trim().parse::<IpAddr>())
        .map(|hop| hop.map(|hop| hop.to_canonical()))
        .collect();
    for hop in hops.into_iter().rev() {
        if !is_proxy(&address) {
            break;
        }
        // An entry that is not an address ends the search: entries before it are not reliable either.
        let Ok(hop) = hop else { break };
        address = hop;
    }
    Some(address)
}
