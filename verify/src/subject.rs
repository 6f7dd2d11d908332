//! Of whom a token speaks, and for whom it is (RFC 7519, sections 4.1.2 and 4.1.3).

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// The subject of a token: a user by their id, or somebody else by a name, such as a client.
///
/// A UUID in its usual form of 36 characters is one subject, whatever the case of its letters. Every other
/// text is a name, and names are compared byte by byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Form);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Id(Uuid),
    Name(Box<str>),
}

impl Subject {
    /// The id, of a subject that is a UUID.
    pub const fn uuid(&self) -> Option<Uuid> {
        match self.0 {
            Form::Id(id) => Some(id),
            Form::Name(_) => None,
        }
    }
}

impl From<Uuid> for Subject {
    fn from(id: Uuid) -> Self {
        Self(Form::Id(id))
    }
}

impl From<&str> for Subject {
    fn from(text: &str) -> Self {
        // `Uuid` reads other forms too, which are names here: a name of 32 digits is no id.
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
        Self(id.map_or_else(|| Form::Name(text.into()), Form::Id))
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Id(id) => id.fmt(formatter),
            Form::Name(name) => name.fmt(formatter),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Id(id) => id.fmt(formatter),
            Form::Name(name) => fmt::Debug::fmt(name, formatter),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The services that a token is for, of which there is at least one. A token writes one as a text and
/// several as a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audiences {
    first: String,
    others: Vec<String>,
}

impl Audiences {
    /// Adds another.
    #[must_use]
    pub fn and(mut self, audience: impl Into<String>) -> Self {
        self.others.push(audience.into());
        self
    }

    /// The first, which is the only one of most tokens.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// All of them, in the token's order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.others).map(String::as_str)
    }

    /// Tells whether this is one of them.
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|own| own == audience)
    }

    /// Tells whether the token is for this one alone.
    pub fn is_only(&self, audience: &str) -> bool {
        self.iter().all(|own| own == audience)
    }
}

impl From<String> for Audiences {
    fn from(first: String) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl From<&str> for Audiences {
    fn from(first: &str) -> Self {
        first.to_owned().into()
    }
}

impl Serialize for Audiences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.others.is_empty() {
            return self.first.serialize(serializer);
        }
        serializer.collect_seq(self.iter())
    }
}

/// `aud` as it stands in a token.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum WrittenAudiences {
    One(String),
    List(Vec<String>),
}

impl WrittenAudiences {
    /// The audiences, of a text or of a list that is not empty.
    pub(crate) fn any(self) -> Option<Audiences> {
        match self {
            Self::One(audience) => Some(audience.into()),
            Self::List(list) => {
                let mut list = list.into_iter();
                Some(Audiences { first: list.next()?, others: list.collect() })
            }
        }
    }

    /// The audience, of a text.
    pub(crate) fn one(self) -> Option<Audiences> {
        match self {
            Self::One(audience) => Some(audience.into()),
            Self::List(_) => None,
        }
    }
}
