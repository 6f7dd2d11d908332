//! The settings of requests: the header of proxies, and the headers of pages of other origins.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use poem::http::HeaderName;

/// The settings of requests that come through proxies or from pages of other origins.
#[derive(Debug, Clone, Args)]
pub struct NetworkSettings {
    /// The header in which the proxies of TRUSTED_PROXIES write the client's address. Tessera ignores the other two.
    /// The proxy must add to this header or replace it, so that no client can choose its address
    #[arg(
        long,
        env = "FORWARDED_HEADER",
        global = true,
        value_enum,
        ignore_case = true,
        ignore_case = true,
        value_name = "HEADER",
        default_value = "x-forwarded-for"
    )]
    pub forwarded_header: ForwardedHeader,

    /// Further request headers that pages of CORS_ORIGINS can send, separated by commas, for example
    /// `X-Tenant,X-Client-Version`. Tessera always allows its own headers and those of the usual tracing programs
    #[arg(
        long,
        env = "CORS_ALLOW_HEADERS",
        global = true,
        value_name = "HEADERS",
        value_delimiter = ','
    )]
    pub cors_allow_headers: Vec<AllowedHeader>,
}

/// The header in which a proxy writes the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list, to which each proxy adds an address.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): a list, to which each proxy adds an element.
    Forwarded,
    /// `X-Real-IP`: one address, which the proxy sets.
    XRealIp,
}

impl ForwardedHeader {
    /// All headers.
    pub const ALL: [Self; 3] = [Self::XForwardedFor, Self::Forwarded, Self::XRealIp];

    /// The name of the header.
    pub fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
            Self::XRealIp => "x-real-ip",
        })
    }
}

/// The name of a request header that pages of other origins can send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHeader(HeaderName);

impl AllowedHeader {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for AllowedHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Browsers take `*` for a header of this name if a request carries cookies (Fetch standard).
        if text.trim() == "*" {
            return Err("must list the names of headers: there is no wildcard");
        }
        let name =
            text.trim().parse().map_err(|_| "must be the name of a header, such as X-Tenant");
        name.map(Self)
    }
}
