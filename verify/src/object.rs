//! JSON objects read strictly: a member that stands twice is an error.
//!
//! Two readers of one token must not see different claims; parsers that keep the first and parsers
//! that keep the last of two equal members do.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A struct that takes its members one by one.
pub(crate) trait Members<'de>: Default {
    /// Takes the value of the member `name`, if this struct has it; says whether it did.
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// The members of an object, each of which stood there once.
pub(crate) struct Strict<T>(pub(crate) T);

impl<'de, T: Members<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(T);

        impl<'de, T: Members<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Strict<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Strict<T>, A::Error> {
                let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    if !self.0.take(&name, &mut map)? {
                        map.next_value::<IgnoredAny>()?;
                    }
                    if !seen.insert(name) {
                        return Err(A::Error::custom("a member stands twice"));
                    }
                }
                Ok(Strict(self.0))
            }
        }

        deserializer.deserialize_map(ObjectVisitor(T::default()))
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
