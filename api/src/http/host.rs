//! The host that a request is for.
//!
//! A proxy and a server that read different hosts from one request can be played against each other:
//! one applies its rules or keeps its answer for one name, the other answers for another. So a request
//! names its host once, in a spelling that everybody reads alike, or is refused.

use std::net::Ipv6Addr;

use poem::Request;
use poem::http::uri::{Authority, Scheme};
use poem::http::{Version, header};

use crate::base::error::{Code, Result};

/// Refuses a request that does not name its host exactly once (RFC 9112, section 3.2). HTTP/1.0 need
/// not name any. Allocates nothing: every request passes here.
///
/// # Errors
///
/// `HOST_INVALID` if `Host` is missing, given twice or is no host, or if the target names another.
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

/// A host with the port that was given with it.
struct Host<'a> {
    name: &'a [u8],
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads a name of DNS, an IPv4 address or an IPv6 address in brackets, and a port. User names, paths,
    /// lists and spaces are in none of them.
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

    /// Whether the authority of a request's target is this host.
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

/// Whether this is a name: letters, digits, `-._~`, and bytes written with `%`.
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
