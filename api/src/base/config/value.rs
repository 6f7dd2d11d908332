//! The types of settings, and the functions that parse them.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// When to apply migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Migrate {
    /// Apply missing migrations at start.
    Auto,
    /// Apply none, and refuse to start if some are missing.
    Check,
    /// Apply none, and do not check.
    Off,
}

/// How far SQLite writes data before it acknowledges a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SqliteSynchronous {
    /// To the disk.
    Full,
    /// To the operating system.
    Normal,
}

/// The users who can register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Registration {
    /// Anyone can register.
    Open,
    /// Only people whom a superuser invited can register.
    Invite,
    /// Nobody can register. Superusers and operators create users.
    Closed,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// Text for people.
    Pretty,
    /// JSON for programs, one object on each line.
    Json,
}

/// A secret text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret from a text.
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

pub(super) fn parse_audience(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}

/// Reads a name that is one line and fits its column in the database.
pub(super) fn parse_replica_name(text: &str) -> Result<String, &'static str> {
    let fits = (1..=128).contains(&text.chars().count());
    if fits && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("must be one line of at most 128 characters")
    }
}

pub(super) fn parse_algorithm(
    text: &str,
) -> Result<tessera_verify::SigningAlgorithm, &'static str> {
    text.parse().map_err(|_| "must be HS256, RS256, ES256 or EdDSA")
}

/// Reads a network, or an IP address as a network that contains only this address.
pub(super) fn parse_network(text: &str) -> Result<ipnet::IpNet, &'static str> {
    let text = text.trim();
    let address = text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "must be an IP address or a network")
}
