//! A strict parser for JSON objects: a member that appears twice is an error.
//!
//! All readers of a token must see the same claims. If a member appears twice, some parsers keep the first value and
//! others keep the last.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A struct that is built from the members of an object, one by one.
pub(crate) trait Members<'de>: Default {
    /// Reads the value of the member `name`.
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// The members of an object in which no member appears twice.
pub(crate) struct Strict<T>(pub(crate) T);

impl<'de, T: Members<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(T::default()))
    }
}

struct ObjectVisitor<T>(T);

impl<'de, T: Members<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Strict<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Strict<T>, A::Error> {
        let mut seen = Seen::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            self.0.take(&name, &mut map)?;
            if !seen.insert(name) {
                return Err(A::Error::custom("a member appears twice"));
            }
        }
        Ok(Strict(self.0))
    }
}

/// The number of names that are compared one by one. This is faster than a table, unless there are many.
const FEW: usize = 16;

/// The names of the members so far.
#[derive(Default)]
struct Seen<'de> {
    few: Vec<Cow<'de, str>>,
    others: HashSet<Cow<'de, str>>,
}

impl<'de> Seen<'de> {
    /// Adds a name. Returns false if it is already there.
    fn insert(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < FEW {
            // One allocation instead of three: tokens of sessions have 13 members.
            if self.few.is_empty() {
                self.few.reserve_exact(FEW);
            }
            self.few.push(name);
            return true;
        }
        self.others.insert(name)
    }
}

/// The name of a member, borrowed if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Any JSON value. In none of its objects does a member appear twice.
pub(crate) struct StrictValue(pub(crate) Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = StrictValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<StrictValue, E> {
        Ok(StrictValue(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<StrictValue, E> {
        Ok(StrictValue(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<StrictValue, E> {
        Ok(StrictValue(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<StrictValue, E> {
        Ok(StrictValue(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<StrictValue, E> {
        Ok(StrictValue(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StrictValue, A::Error> {
        let mut values = Vec::new();
        while let Some(StrictValue(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(StrictValue(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StrictValue, A::Error> {
        let Strict(StrictObject(members)) =
            ObjectVisitor(StrictObject::default()).visit_map(map)?;
        Ok(StrictValue(members.into()))
    }
}

/// The members of a JSON object.
#[derive(Default)]
pub(crate) struct StrictObject(pub(crate) Map<String, Value>);

impl<'de> Members<'de> for StrictObject {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let StrictValue(value) = map.next_value()?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }
}
