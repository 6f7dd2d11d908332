//! The URL of this server and the origins of pages that can call it, parsed into the form that browsers send.
//!
//! A URL has many spellings (`HTTPS://ID.example.com:443/` is `https://id.example.com`). Browsers, services and Tessera
//! compare URLs as text, so the spelling that an operator typed would not match. The parser follows the WHATWG URL
//! standard, as browsers do.

use std::str::FromStr;

use url::{Host, Url};

const FORM: &str = "must be an http or https URL, such as https://id.example.com";

/// An origin as browsers send it (RFC 6454, section 6.2): scheme and host in lower case, names in
/// ASCII, no default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    text: String,
    https: bool,
    loopback: bool,
}

impl Origin {
    fn of(url: &Url) -> Self {
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let text = url.origin().ascii_serialization();
        Self { text, https: url.scheme() == "https", loopback }
    }

    /// The origin, of the form `https://app.example.com`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true if an `Origin` header names this origin.
    pub fn is(&self, header: &str) -> bool {
        self.text == header
    }

    /// Returns true if callers use TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host, and the port unless it is the default.
    pub fn host(&self) -> &str {
        self.text.split_once("://").map_or(&self.text, |(_, host)| host)
    }

    /// Returns true if a `Host` header names the host of this origin, with or without the default port.
    pub fn has_host(&self, header: &str) -> bool {
        let (host, usual) = (self.host(), if self.https { ":443" } else { ":80" });
        let has_port = !host.ends_with(']') && host.contains(':');
        let plain = header.strip_suffix(usual).filter(|_| !has_port).unwrap_or(header);
        plain.eq_ignore_ascii_case(host)
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "*" {
            return Err(
                "must name each origin, such as https://app.example.com: there are no wildcards",
            );
        }
        let url = parse(text)?;
        if !url.path().trim_matches('/').is_empty() {
            return Err("must be an origin, such as https://app.example.com, without a path");
        }
        Ok(Self::of(&url))
    }
}

/// The URL under which callers reach the server, in its normal form and without a slash at its end. It is the issuer of
/// tokens and the beginning of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: Origin,
    text: String,
}

impl PublicUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The host.
    pub fn host(&self) -> Host {
        let host =
            Url::parse(&self.text).ok().and_then(|url| url.host().map(|host| host.to_owned()));
        host.unwrap_or_else(|| Host::Domain("localhost".to_owned()))
    }

    /// The path below which callers reach the server; empty if the URL has none.
    pub fn path(&self) -> &str {
        &self.text[self.origin.text.len()..]
    }

    /// Returns true if an `Origin` header names the origin of this URL.
    pub fn is_of(&self, header: &str) -> bool {
        self.origin.is(header)
    }

    /// Returns true if callers use TLS.
    pub fn is_https(&self) -> bool {
        self.origin.https
    }

    /// The scheme that callers use: `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.is_https() { "https" } else { "http" }
    }

    /// Returns true if only programs on this machine can use this URL.
    pub fn is_loopback(&self) -> bool {
        self.origin.loopback
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = parse(text)?;
        let origin = Origin::of(&url);
        let text = format!("{}{}", origin.text, url.path().trim_end_matches('/'));
        Ok(Self { origin, text })
    }
}

/// Parses a URL with http or https and a host. It must not have credentials, a query or a fragment.
fn parse(text: &str) -> Result<Url, &'static str> {
    let text = text.trim_matches([' ', '\t']);
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err("must begin with https:// or http://, as https://id.example.com does");
    }
    // The parser of the standard corrects these. An operator who types them makes a mistake.
    let mended = |letter: char| letter.is_control() || letter.is_whitespace() || letter == '\\';
    if rest.starts_with('/') || rest.contains(mended) {
        return Err(FORM);
    }
    if rest.contains(['?', '#']) {
        return Err("must not have a query or a fragment");
    }
    // Every token contains this URL, so a password in it would be public.
    if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
        return Err("must not have a user name or a password");
    }
    let url = Url::parse(text).map_err(|_| FORM)?;
    if url.port() == Some(0) {
        return Err("must not have port 0");
    }
    match url.host() {
        Some(Host::Domain(name)) if name.ends_with('.') => {
            Err("must not have a dot after the host")
        }
        Some(Host::Domain(name)) if name.contains('*') => {
            Err("must name one host: there are no wildcards")
        }
        Some(_) => Ok(url),
        None => Err(FORM),
    }
}
