//! What a caller may do: words (RFC 6749, section 3.3), parsed once.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The longest word of a scope, in characters.
const MAX_LENGTH: usize = 64;

/// The most words there are in one scope.
pub const MAX_SCOPES: usize = 32;

/// One word of a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(String);

impl Scope {
    /// What every user may do.
    pub const AUTHENTICATED: &'static str = "authenticated";
    /// Seeing what there is: everybody's accounts, sessions and acts.
    pub const ADMIN: &'static str = "admin";
    /// What superusers may do.
    pub const SUPER: &'static str = "super";
    /// Asking whether an API token is accepted.
    pub const CHECK: &'static str = "tokens:check";
    /// Asking what any token says (RFC 7662).
    pub const INTROSPECT: &'static str = "tokens:introspect";
    /// What is said of people, and never of a service.
    const OF_PEOPLE: [&'static str; 3] = [Self::AUTHENTICATED, Self::ADMIN, Self::SUPER];

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only people have it.
    pub fn is_of_people(&self) -> bool {
        Self::OF_PEOPLE.contains(&self.as_str())
    }
}

impl FromStr for Scope {
    /// What is wrong, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) && byte != 0x5c;
        if (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err("A scope is a word of up to 64 visible ASCII characters without \" and \\")
        }
    }
}

/// A set of such words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Words that are known to be some.
    pub(crate) fn of(words: &[&str]) -> Self {
        words.iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// Words separated by spaces, as tables and tokens have them; what is none is left out.
    pub fn parse(text: &str) -> Self {
        text.split(' ').filter_map(|word| word.parse().ok()).collect()
    }

    /// Whether a word is among them.
    pub fn contains(&self, word: &str) -> bool {
        self.0.iter().any(|scope| scope.as_str() == word)
    }

    /// The words that both have.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        self.0.intersection(&other.0).cloned().collect()
    }

    /// The first word that `other` has not.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> Option<&'a Scope> {
        self.0.difference(&other.0).next()
    }

    /// The words as texts, in order.
    pub fn words(&self) -> Vec<String> {
        self.iter().map(|scope| scope.as_str().to_owned()).collect()
    }

    /// The words, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// Words separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.iter().enumerate() {
            let space = if position > 0 { " " } else { "" };
            write!(formatter, "{space}{}", scope.as_str())?;
        }
        Ok(())
    }
}
