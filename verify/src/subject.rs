//! The subject and the audiences of a token (RFC 7519, sections 4.1.2 and 4.1.3).

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The subject of a token: the id of a user, or the name of another party, such as a client.
///
/// A UUID in its usual form of 36 characters is the same subject in upper and lower case. All other texts are names,
/// which are compared byte by byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Form);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Id(Uuid),
    Name(Box<str>),
}

impl Subject {
    /// Returns the id, if the subject is a UUID.
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
        // `Uuid` also parses other forms, such as 32 digits. These are names here.
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

/// The audiences of a token: the services that it is for. There is at least one. In a token, one audience is a text,
/// and several are a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audiences {
    first: String,
    others: Vec<String>,
}

impl Audiences {
    /// Adds an audience.
    #[must_use]
    pub fn and(mut self, audience: impl Into<String>) -> Self {
        self.others.push(audience.into());
        self
    }

    /// Returns the first audience. Most tokens have only one.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// Returns all audiences, in the order of the token.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.others).map(String::as_str)
    }

    /// Returns true if `audience` is one of the audiences.
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|own| own == audience)
    }

    /// Returns true if `audience` is the only audience.
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

/// The claim `aud`, as a token contains it.
pub(crate) enum WrittenAudiences {
    One(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for WrittenAudiences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AudiencesVisitor)
    }
}

struct AudiencesVisitor;

impl<'de> Visitor<'de> for AudiencesVisitor {
    type Value = WrittenAudiences;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an audience, or a list of audiences")
    }

    fn visit_str<E: Error>(self, audience: &str) -> Result<WrittenAudiences, E> {
        Ok(WrittenAudiences::One(audience.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<WrittenAudiences, A::Error> {
        let mut list = Vec::new();
        while let Some(audience) = seq.next_element()? {
            list.push(audience);
        }
        Ok(WrittenAudiences::List(list))
    }
}

impl WrittenAudiences {
    /// Returns the audiences, unless this is an empty list.
    pub(crate) fn any(self) -> Option<Audiences> {
        match self {
            Self::One(audience) => Some(audience.into()),
            Self::List(list) => {
                let mut list = list.into_iter();
                Some(Audiences { first: list.next()?, others: list.collect() })
            }
        }
    }

    /// Returns the audience, unless this is a list.
    pub(crate) fn one(self) -> Option<Audiences> {
        match self {
            Self::One(audience) => Some(audience.into()),
            Self::List(_) => None,
        }
    }
}
