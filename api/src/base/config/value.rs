//! The types of settings, and the functions that parse them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
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

pub(super) fn parse_name(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must be a name") } else { Ok(text.to_owned()) }
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
    let names = ["HS256", "RS256", "ES256", "EdDSA"];
    let known = names.into_iter().find(|name| name.eq_ignore_ascii_case(text.trim()));
    known.and_then(|name| name.parse().ok()).ok_or("must be HS256, RS256, ES256 or EdDSA")
}

/// Reads the address to listen on. It can be `localhost`, and an IPv6 address can be in brackets, as in a URL.
pub(super) fn parse_host(text: &str) -> Result<IpAddr, &'static str> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text).parse().map_err(|_| {
        "must be an IP address or localhost, without a port, such as 127.0.0.1, 0.0.0.0 or [::]"
    })
}

/// Makes a parser of numbers in a range.
pub(super) fn number<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + fmt::Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| format!("must be a number from {least} to {most}"))
    }
}

/// The units of times, in seconds.
const UNITS: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];

/// Makes a parser of times in a range: a number of seconds, or a number and a unit, such as `15m`.
pub(super) fn seconds(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let seconds = parse_seconds(text.trim()).filter(|seconds| range.contains(seconds));
        let (least, most) = (range.start(), range.end());
        seconds.ok_or_else(|| {
            format!(
                "must be a time from {least} to {most} seconds{}: a number of seconds, or a number \
                 with a unit, such as 45s, 15m, 2h or 30d",
                in_units(*most)
            )
        })
    }
}

pub(super) fn parse_seconds(text: &str) -> Option<u64> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim_start() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A time in its largest whole unit, in parentheses. Empty for seconds.
fn in_units(seconds: u64) -> String {
    let whole =
        UNITS[1..4].iter().rev().find(|(_, length)| seconds > 0 && seconds.is_multiple_of(*length));
    whole.map_or(String::new(), |(name, length)| format!(" ({}{name})", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_seconds_or_has_a_unit() {
        let parse = seconds(1..=31_622_400);
        for (text, expected) in [
            ("900", 900),
            (" 900 ", 900),
            ("45s", 45),
            ("15m", 900),
            ("15 m", 900),
            ("2h", 7200),
            ("30d", 2_592_000),
            ("1w", 604_800),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "15M", "1.5h", "-1", "+1", "0", "0d", "367d", "15 minutes", "1h30m"] {
            let fault = parse(text).unwrap_err();
            assert!(fault.starts_with("must be a time from 1 to 31622400"), "{text}: {fault}");
        }
        assert!(parse("99999999999999999999").is_err() && parse("9999999999999999w").is_err());
    }

    #[test]
    fn a_host_is_an_address_or_localhost() {
        for (text, expected) in [
            ("localhost", "127.0.0.1"),
            ("LOCALHOST", "127.0.0.1"),
            ("[::]", "::"),
            ("::1", "::1"),
            ("0.0.0.0", "0.0.0.0"),
        ] {
            assert_eq!(parse_host(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "[]", "[::", "*", "0.0.0.0:8000", "[::]:8000", "id.example.com"] {
            assert!(parse_host(text).is_err(), "{text}");
        }
    }
}
