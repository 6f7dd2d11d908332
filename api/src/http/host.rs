//! The host that a request names.
//!
//! If a proxy and a server read different hosts from one request, an attacker can use the difference: the proxy applies
//! the rules or the cache of one host, and the server answers for another. So a request must name its host once, in a
//! form that all programs read in the same way.

use std::net::Ipv6Addr;

use poem::Request;
use poem::http::uri::{Authority, Scheme};
use poem::http::{Version, header};

use crate::base::error::{Code, Result};

/// Refuses a request that does not name its host exactly once (RFC 9112, section 3.2). A request in HTTP/1.0 does not
/// have to name one. This allocates no memory, because it runs for every request.
///
/// # Errors
///
/// `HOST_INVALID` if `Host` is missing, given twice or not a host, or if the request target names another host.
pub(super) fn check(request: &Request) -> Result<()> {
    let mut given = request.headers().get_all(header::HOST).iter();
    let authority = request.uri().authority();
    let good = match (given.next(), given.next()) {
        (Some(host), None) => Host::read(host.as_bytes())
            .is_some_and(|host| authority.is_none_or(|authority| host.is(authority, request))),
        (None, _) => {
            let is_host = |target: &Authority| Host::read(target.as_str().as_bytes()).is_some();
            request.version() < Version::HTTP_11 && authority.is_none_or(is_host)
        }
        (Some(_), Some(_)) => false,
    };
    if good { Ok(()) } else { Err(Code::HostInvalid.into()) }
}

/// A host and its port, if one is given.
struct Host<'a> {
    name: &'a [u8],
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads a DNS name, an IPv4 address or an IPv6 address in brackets, and an optional port. User names, paths, lists
    /// and spaces are refused.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = match bytes {
            [b'[', ..] => bytes.iter().position(|byte| *byte == b']')? + 1,
            _ => bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len()),
        };
        let (name, port) = bytes.split_at(end);
        let good = match name {
            [b'[', address @ .., b']'] => {
                std::str::from_utf8(address).ok()?.parse::<Ipv6Addr>().is_ok()
            }
            _ => is_name(name),
        };
        let port = match port {
            [] | [b':'] => None,
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
            }
            _ => return None,
        };
        good.then_some(Self { name, port })
    }

    /// Returns true if the authority of the request target is this host.
    fn is(&self, authority: &Authority, request: &Request) -> bool {
        let Some(target) = Host::read(authority.as_str().as_bytes()) else { return false };
        let usual = match request.uri().scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
            Some(scheme) if *scheme == Scheme::HTTP => Some(80),
            _ => None,
        };
        self.name.eq_ignore_ascii_case(target.name) && self.port.or(usual) == target.port.or(usual)
    }
}

/// Returns true if this is a name: letters, digits, `-._~`, and percent-encoded bytes.
fn is_name(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return !bytes.is_empty(),
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => rest,
            _ => return false,
        };
    }
}
