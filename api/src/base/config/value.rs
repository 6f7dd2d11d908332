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

pub(super) fn parse_audience(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("empty") } else { Ok(text.to_owned()) }
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
