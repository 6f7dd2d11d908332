//! The web page that a profile links to.

use std::str::FromStr;

/// The URL of a web page. A browser runs nothing when it opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Website(String);

impl Website {
    /// Returns the URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Website {
    /// A sentence for people that describes the fault.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.strip_prefix("https://").or(text.strip_prefix("http://"));
        let host = place.and_then(|place| place.split(['/', '?', '#']).next()).unwrap_or_default();
        let plain = |char: char| char.is_ascii_graphic() && !"\"<>\\^`{|}".contains(char);
        if !host.is_empty() && !host.contains('@') && text.len() <= 256 && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("Input should be a URL of up to 256 characters, such as https://example.com/me")
        }
    }
}

impl From<Website> for String {
    fn from(website: Website) -> Self {
        website.0
    }
}
