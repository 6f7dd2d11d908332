//! The kinds of values that settings have.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// When the schema is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Migrate {
    /// At the start.
    Auto,
    /// Never; a schema that is behind refuses the start.
    Check,
    /// Never.
    Off,
}

/// What SQLite waits for before a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SqliteSynchronous {
    /// For the disk.
    Full,
    /// For the operating system.
    Normal,
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Nobody: an operator makes users.
    Closed,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// For programs: one object a line.
    Json,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The URL under which callers find the service, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the origin of the URL.
    pub fn is_of(&self, origin: &str) -> bool {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        origin.eq_ignore_ascii_case(&format!("{scheme}://{authority}"))
    }

    /// Whether callers come over TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_end_matches('/');
        let uri: poem::http::Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
        match (uri.scheme_str(), uri.authority(), uri.query()) {
            // It stands in every token: a password in it would, too.
            (Some("http" | "https"), Some(authority), None)
                if !authority.as_str().contains('@') && !text.contains('#') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err("not of the form https://id.example.com".to_owned()),
        }
    }
}

pub(super) fn parse_audience(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("empty") } else { Ok(text.to_owned()) }
}

/// An origin (RFC 6454), as browsers send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (scheme, rest) =
            text.split_once("://").ok_or("not of the form https://app.example.com")?;
        if !["http", "https"].contains(&scheme)
            || rest.is_empty()
            || rest.contains(['/', '*', '?', '#', '@', ' '])
        {
            return Err("not of the form https://app.example.com".to_owned());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// One line that fits its column.
pub(super) fn parse_replica_name(text: &str) -> Result<String, &'static str> {
    let fits = (1..=128).contains(&text.chars().count());
    if fits && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("not one line of up to 128 characters")
    }
}

pub(super) fn parse_algorithm(
    text: &str,
) -> Result<tessera_verify::SigningAlgorithm, &'static str> {
    text.parse().map_err(|_| "neither HS256, RS256, ES256 nor EdDSA")
}

/// A network, or one address as a network of its own.
pub(super) fn parse_network(text: &str) -> Result<ipnet::IpNet, &'static str> {
    let text = text.trim();
    let address = text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "neither an address nor a network")
}
