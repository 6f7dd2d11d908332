//! A strict parser for JSON objects: a member that appears twice is an error.
//!
//! All readers of a token must see the same claims. If a member appears twice, some parsers keep the first value and
//! others keep the last.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A struct that is built from the members of an object, one by one.
pub(crate) trait Members<'de>: Default {
    /// Reads the value of the member `name`. Fails if the member was read before.
    fn take<A: MapAccess<'de>>(&mut self, name: Text<'de>, map: &mut A) -> Result<(), A::Error>;
}

/// Reads an object in which no member appears twice. Returns `None` if the bytes are not one.
pub(crate) fn read<'de, T: Members<'de>>(json: &'de [u8]) -> Option<T> {
    // This checks the encoding of the whole text at once, instead of that of each string.
    let text = std::str::from_utf8(json).ok()?;
    let Strict(members) = serde_json::from_str(text).ok()?;
    Some(members)
}

/// Reads the value of a member into its place. Fails if the member was read before.
pub(crate) fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    place: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    match place {
        Some(_) => Err(A::Error::custom(TWICE)),
        None => {
            *place = Some(map.next_value()?);
            Ok(())
        }
    }
}

const TWICE: &str = "a member appears twice";

/// The members that have no place of their own.
pub(crate) type Others = BTreeMap<String, Value>;

/// Reads the value of a member without a place of its own. Fails if the member was read before.
pub(crate) fn other<'de, A: MapAccess<'de>>(
    others: &mut Others,
    name: Text<'de>,
    map: &mut A,
) -> Result<(), A::Error> {
    let StrictValue(value) = map.next_value()?;
    match others.insert(name.0.into_owned(), value) {
        Some(_) => Err(A::Error::custom(TWICE)),
        None => Ok(()),
    }
}

/// The names of members whose values are not used.
#[derive(Default)]
pub(crate) struct Ignored<'de>(BTreeSet<Text<'de>>);

impl<'de> Ignored<'de> {
    /// Skips the value of a member. Fails if the member was read before.
    pub(crate) fn take<A: MapAccess<'de>>(
        &mut self,
        name: Text<'de>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>()?;
        if self.0.insert(name) { Ok(()) } else { Err(A::Error::custom(TWICE)) }
    }
}

/// The members of an object in which no member appears twice.
struct Strict<T>(T);

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
        while let Some(name) = map.next_key()? {
            self.0.take(name, &mut map)?;
        }
        Ok(Strict(self.0))
    }
}

/// A text, borrowed if it has no escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Any JSON value. In none of its objects does a member appear twice.
struct StrictValue(Value);

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
        Ok(StrictValue(Value::Object(members.into_iter().collect())))
    }
}

/// The members of a JSON object.
#[derive(Default)]
pub(crate) struct StrictObject(pub(crate) Others);

impl<'de> Members<'de> for StrictObject {
    fn take<A: MapAccess<'de>>(&mut self, name: Text<'de>, map: &mut A) -> Result<(), A::Error> {
        other(&mut self.0, name, map)
    }
}
