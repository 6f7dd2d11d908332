//! The address of the client, behind the trusted proxies.

use std::net::{IpAddr, Ipv6Addr};

use poem::http::HeaderMap;
use poem::web::RemoteAddr;
use poem::{FromRequest, Request, RequestBody};

use super::{app, forwarded};
use crate::base::config::{Config, ForwardedHeader, Peer};
use crate::base::log_limit::{OnceAMinute, shown};

/// The address that the request came from.
pub(crate) struct PeerAddress(pub(crate) Option<IpAddr>);

impl<'a> FromRequest<'a> for PeerAddress {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(peer_address(request, &app(request)?.config)))
    }
}

/// The word with which the address of a connection says that it came through a Unix socket.
pub(super) const UNIX: &str = "unix";

/// Returns true if the connection comes from a proxy in `TRUSTED_PROXIES`, so that its headers about the original request
/// count.
pub(crate) fn is_from_proxy(request: &Request, config: &Config) -> bool {
    peer_of(request).is_some_and(|peer| peer.is_of(&config.trusted_proxies))
}

/// The other end of the connection. Commands call operations without a connection.
fn peer_of(request: &Request) -> Option<Peer> {
    match request.remote_addr() {
        RemoteAddr(poem::Addr::SocketAddr(peer)) => Some(Peer::Address(peer.ip().to_canonical())),
        RemoteAddr(poem::Addr::Custom(UNIX, _)) => Some(Peer::Unix),
        RemoteAddr(_) => None,
    }
}

/// The address that the request came from. If the connection comes from a trusted proxy, this is the last address in
/// `FORWARDED_HEADER` that is not a trusted proxy. The entries before it are not reliable: anybody can write them.
pub(crate) fn peer_address(request: &Request, config: &Config) -> Option<IpAddr> {
    let peer = peer_of(request)?;
    let header = config.network.forwarded_header;
    let mut is_proxy = peer.is_of(&config.trusted_proxies);
    if !is_proxy {
        if config.trusted_proxies.is_empty() || peer == Peer::Unix {
            warn_of_unknown_proxy(request.headers(), header, peer);
        }
        return Some(peer.address());
    }
    let hops = hops(request.headers(), header);
    if hops.is_empty() {
        warn_of_other_header(request.headers(), header);
    }
    let mut address = peer.address();
    for hop in hops.into_iter().rev() {
        if !is_proxy {
            break;
        }
        // An entry that is not an address ends the search: entries before it are not reliable either.
        match hop {
            Ok(hop) => address = hop,
            Err(entry) => {
                warn_of_entry(&entry, header);
                break;
            }
        }
        is_proxy = Peer::Address(address).is_of(&config.trusted_proxies);
    }
    Some(address)
}

/// An address that a proxy wrote, or its entry if that is not an address.
type Hop = Result<IpAddr, Vec<u8>>;

/// The entries of a header, in the order in which the proxies wrote them. Each is read by itself, so that one which is
/// not an address does not hide the entry of the proxy.
fn hops(headers: &HeaderMap, header: ForwardedHeader) -> Vec<Hop> {
    let lines = headers.get_all(header.name()).iter().map(|value| value.as_bytes());
    let hop = |entry: &[u8]| node(entry).ok_or_else(|| entry.to_vec());
    match header {
        ForwardedHeader::XForwardedFor => {
            lines.flat_map(|line| line.split(|byte| *byte == b',')).map(hop).collect()
        }
        ForwardedHeader::Forwarded => lines
            .flat_map(forwarded::elements)
            .map(|element| {
                let given = forwarded::client(element);
                given.and_then(|given| node(&given)).ok_or_else(|| element.to_vec())
            })
            .collect(),
        // A proxy sets this header. If there are two, the client sent one of them.
        ForwardedHeader::XRealIp => match lines.collect::<Vec<_>>()[..] {
            [] => Vec::new(),
            [line] => vec![hop(line)],
            [..] => vec![Err(b"two headers".to_vec())],
        },
    }
}

/// Reads an address as proxies write it: with or without a port, an IPv6 address with or without brackets, with or
/// without a zone, in quotes or not, and an IPv4 address also as an IPv6 address.
fn node(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return has_port.then(|| v6(address)).flatten();
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    match text.split_once(':') {
        Some((address, port)) if is_port(port) => address.parse().ok().map(IpAddr::V4),
        _ => v6(text),
    }
}

/// Reads an IPv6 address. A zone is the name of an interface of the proxy's machine (RFC 4007), and is left out.
fn v6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address,
        Some(_) => return None,
        None => text,
    };
    address.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
}

/// Returns true if a text is a port: up to five digits, or a name that hides it (RFC 7239, section 6.3).
fn is_port(text: &str) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    digits || text.strip_prefix('_').is_some_and(|name| name.bytes().all(hidden))
}

fn warn_of_unknown_proxy(headers: &HeaderMap, header: ForwardedHeader, peer: Peer) {
    static WARNED: OnceAMinute = OnceAMinute::new();
    if !headers.contains_key(header.name()) || !WARNED.is_due() {
        return;
    }
    let name = header.name();
    match peer {
        Peer::Address(_) => tracing::warn!(
            "a request has {name}, but TRUSTED_PROXIES is not set: if there is a proxy, name it in TRUSTED_PROXIES; \
             otherwise all callers seem to come from its address"
        ),
        Peer::Unix => tracing::warn!(
            "a request through a Unix socket has {name}, but TRUSTED_PROXIES does not contain unix: if only proxies \
             can connect to the socket, add unix; otherwise all callers seem to come from 127.0.0.1"
        ),
    }
}

fn warn_of_other_header(headers: &HeaderMap, header: ForwardedHeader) {
    static WARNED: OnceAMinute = OnceAMinute::new();
    let mut others = ForwardedHeader::ALL.into_iter().map(ForwardedHeader::name);
    let given = others.find(|name| headers.contains_key(name));
    if let Some(given) = given
        && WARNED.is_due()
    {
        tracing::warn!(
            "a trusted proxy sent {given}, but not {}: all its callers seem to come from its address; set \
             FORWARDED_HEADER to the header that the proxy adds to or replaces",
            header.name()
        );
    }
}

fn warn_of_entry(entry: &[u8], header: ForwardedHeader) {
    static WARNED: OnceAMinute = OnceAMinute::new();
    if WARNED.is_due() {
        tracing::warn!(
            "a trusted proxy wrote {} in {}, which is not an IP address: its caller seems to come from the address \
             of the proxy; let the proxy write the address",
            shown(entry),
            header.name()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (entry, address) in [
            ("203.0.113.7", "203.0.113.7"),
            (" 203.0.113.7\t", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("203.0.113.7:_hidden", "203.0.113.7"),
            ("\"203.0.113.7:51234\"", "203.0.113.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:51234", "203.0.113.7"),
            ("::ffff:cb00:7107", "203.0.113.7"),
        ] {
            assert_eq!(node(entry.as_bytes()), address.parse().ok(), "{entry}");
        }
        for entry in [
            "",
            "unknown",
            "_hidden",
            "203.0.113.7:",
            "203.0.113.7:123456",
            "203.0.113.7:http",
            "203.0.113",
            "203.0.113.7 203.0.113.8",
            "0313.0.113.7",
            "[203.0.113.7]:80",
            "[2001:db8::1",
            "[2001:db8::1]443",
            "2001:db8::1]:443",
            "fe80::1%",
            "203.0.113.7%eth0",
            "id.example.com",
            "\"203.0.113.7",
        ] {
            assert_eq!(node(entry.as_bytes()), None, "{entry}");
        }
    }

    fn address(line: &str, header: ForwardedHeader) -> Vec<Option<String>> {
        let mut headers = HeaderMap::new();
        for line in line.split('\n') {
            headers.append(header.name(), line.parse().unwrap_or_else(|_| panic!("{line}")));
        }
        let hops = hops(&headers, header).into_iter();
        hops.map(|hop| hop.ok().map(|address| address.to_string())).collect()
    }

    #[test]
    fn a_list_is_read_from_its_end_whatever_stands_before() {
        let (list, elements) = (ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded);
        for (line, header) in [
            ("6.6.6.6, 203.0.113.7:1", list),
            ("\"6.6.6.6, 203.0.113.7", list),
            ("\u{fc}\n203.0.113.7", list),
            ("for=203.0.113.7", elements),
            ("For=\"203.0.113.7:1\";Proto=https;by=_x", elements),
            ("for=6.6.6.6, for=203.0.113.7", elements),
            ("for=\"6.6.6.6\nfor=203.0.113.7", elements),
            // A client cannot hide the element of the proxy in a quoted text of its own.
            ("for=\"6.6.6.6, for=203.0.113.7", elements),
            ("for=6.6.6.6;x=\"a\\\", for=203.0.113.7;proto=http", elements),
            ("for=6.6.6.6;x=\", for=203.0.113.7;host=\"id.example.com, x\"", elements),
            (" proto=http ; for = 203.0.113.7 ", elements),
        ] {
            let last = address(line, header).pop().flatten();
            assert_eq!(last.as_deref(), Some("203.0.113.7"), "{line}");
        }
        for (line, header) in [
            ("203.0.113.7, unknown", list),
            ("203.0.113.7,", list),
            ("for=203.0.113.7, for=_secret", elements),
            ("for=203.0.113.7, proto=http", elements),
            ("for=203.0.113.7;for=6.6.6.6", elements),
            ("for=6.6.6.6\", for=203.0.113.7\"", elements),
            ("for", elements),
            ("203.0.113.7, 203.0.113.8", ForwardedHeader::XRealIp),
            ("203.0.113.7\n203.0.113.8", ForwardedHeader::XRealIp),
        ] {
            assert_eq!(address(line, header).pop().flatten(), None, "{line}");
        }
    }
}
