//! Scopes: words for what a caller may do (RFC 6749, section 3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The maximum length of a scope, in characters.
const MAX_LENGTH: usize = 64;

/// The maximum number of scopes in a request.
pub const MAX_SCOPES: usize = 32;

/// A scope: one word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(String);

impl Scope {
    /// Everything that every user may do with their own account.
    pub const AUTHENTICATED: &'static str = "authenticated";
    /// Viewing the administration pages: all accounts, sessions and audit entries.
    pub const ADMIN: &'static str = "admin";
    /// Everything that superusers may do.
    pub const SUPER: &'static str = "super";
    /// Checking if an API token is accepted.
    pub const CHECK: &'static str = "tokens:check";
    /// Introspection: asking what a token says (RFC 7662).
    pub const INTROSPECT: &'static str = "tokens:introspect";
    /// Reading the revocation feed.
    pub const REVOCATIONS: &'static str = "revocations:read";
    /// The scopes that every superuser has.
    pub(crate) const OF_SUPERUSERS: [&'static str; 4] =
        [Self::SUPER, Self::CHECK, Self::INTROSPECT, Self::REVOCATIONS];
    /// The scopes that only users can have, and no service.
    const OF_PEOPLE: [&'static str; 3] = [Self::AUTHENTICATED, Self::ADMIN, Self::SUPER];

    /// The word of the scope.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if only users can have this scope, and no service.
    pub fn is_of_people(&self) -> bool {
        Self::OF_PEOPLE.contains(&self.as_str())
    }
}

impl FromStr for Scope {
    /// A description of the error, for people.
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

/// A set of scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Makes a set from words that are known to be valid scopes.
    pub(crate) fn of(words: &[&str]) -> Self {
        words.iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// Reads words that are separated by spaces, as tables and tokens contain them. Invalid words are left out.
    pub fn parse(text: &str) -> Self {
        text.split(' ').filter_map(|word| word.parse().ok()).collect()
    }

    /// Returns true if the set contains this word.
    pub fn contains(&self, word: &str) -> bool {
        self.0.iter().any(|scope| scope.as_str() == word)
    }

    /// The scopes that both sets have.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        self.0.intersection(&other.0).cloned().collect()
    }

    /// The first scope that `other` does not have.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> Option<&'a Scope> {
        self.0.difference(&other.0).next()
    }

    /// The scopes as texts, in order.
    pub fn words(&self) -> Vec<String> {
        self.iter().map(|scope| scope.as_str().to_owned()).collect()
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// Writes the words, separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.iter().enumerate() {
            let space = if position > 0 { " " } else { "" };
            write!(formatter, "{space}{}", scope.as_str())?;
        }
        Ok(())
    }
}
