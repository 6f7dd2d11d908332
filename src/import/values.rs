//! The members of a record, read by name. Members that nothing reads are reported.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::{Map, Value};

/// The members of a record, and the names of those that were read.
pub(super) struct Members {
    members: Map<String, Value>,
    used: BTreeSet<String>,
}

impl Members {
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self { members, used: BTreeSet::new() }
    }

    /// Returns a member. A dot in the name leads into an object, or into an object that is written as a text.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        if let Some(value) = self.members.get(name) {
            self.used.insert(name.to_owned());
            return Some(value.clone()).filter(|value| !value.is_null() && *value != "");
        }
        let (first, rest) = name.split_once('.')?;
        let mut value = self.members.get(first)?.clone();
        self.used.insert(first.to_owned());
        for step in rest.split('.') {
            if let Value::String(text) = &value {
                value = serde_json::from_str(text).ok()?;
            }
            value = value.get(step)?.clone();
        }
        Some(value).filter(|value| !value.is_null() && *value != "")
    }

    /// Returns the first of these members that is a text or a number. An array has its first element.
    pub(super) fn text(&mut self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| match self.value(name)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Array(items) => items.first()?.as_str().map(str::to_owned),
            _ => None,
        })
    }

    /// Returns a flag, in any of the ways in which databases write one.
    ///
    /// # Errors
    ///
    /// If the member is there and is no flag.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text = match &value {
            Value::Bool(flag) => return Ok(Some(*flag)),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match text.as_str() {
            "1" | "t" | "true" | "yes" | "y" => Ok(Some(true)),
            "0" | "f" | "false" | "no" | "n" => Ok(Some(false)),
            _ => Err(format!("{name}: this must be true or false")),
        }
    }

    /// Returns the first of these members that is a time, in seconds since the epoch.
    pub(super) fn time(&mut self, names: &[&str]) -> Option<i64> {
        names.iter().find_map(|name| seconds(&self.value(name)?))
    }

    /// Removes a member.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    /// Counts the members that have content and were not read.
    pub(super) fn count_unused(self, counts: &mut BTreeMap<String, u64>) {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        for (name, value) in self.members {
            if !self.used.contains(&name) && !is_empty(&value) {
                *counts.entry(name).or_default() += 1;
            }
        }
    }
}

/// Reads a time: a number of seconds or milliseconds since the epoch, or one of the usual texts.
fn seconds(value: &Value) -> Option<i64> {
    /// Numbers above this are milliseconds: as seconds it is the year 5138.
    const MILLIS: i64 = 100_000_000_000;
    let of_number = |number: i64| if number > MILLIS { number / 1000 } else { number };
    let text = match value {
        Value::Number(number) => return number.as_i64().map(of_number).filter(is_plausible),
        Value::String(text) => text.trim(),
        Value::Object(members) => return seconds(members.get("$date")?),
        _ => return None,
    };
    if let Ok(number) = text.parse() {
        return Some(of_number(number)).filter(is_plausible);
    }
    // PostgreSQL writes +00 for a zone.
    let zoned = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"]
        .iter()
        .find_map(|form| DateTime::parse_from_str(text, form).ok())
        .or_else(|| DateTime::parse_from_rfc3339(text).ok())
        .map(|at| at.timestamp());
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
        .map(|at| at.and_utc().timestamp());
    zoned.or(local).filter(is_plausible)
}

fn is_plausible(at: &i64) -> bool {
    (0..=253_402_300_799).contains(at)
}

/// Decodes hexadecimal or base64.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    if text.len().is_multiple_of(2)
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        let pairs = (0..text.len()).step_by(2);
        return pairs.map(|place| u8::from_str_radix(&text[place..place + 2], 16).ok()).collect();
    }
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

/// Encodes bytes as passlib does: base64 with a dot instead of a plus sign, and without padding.
pub(super) fn adapted(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes).replace('+', ".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_is_read_in_the_forms_of_every_system() {
        for text in [
            json!(1_700_000_000),
            json!(1_700_000_000_000_i64),
            json!("1700000000000"),
            json!("2023-11-14T22:13:20Z"),
            json!("2023-11-14T22:13:20.000000Z"),
            json!("2023-11-14 22:13:20+00"),
            json!("2023-11-14 23:13:20.5+01:00"),
            json!("2023-11-14 22:13:20.533260"),
            json!({ "$date": "2023-11-14T22:13:20.000Z" }),
        ] {
            assert_eq!(seconds(&text), Some(1_700_000_000), "{text}");
        }
        assert_eq!(seconds(&json!("2023-11-14")), Some(1_699_920_000));
        for text in [json!("yesterday"), json!(-5), json!(""), json!([]), json!("9".repeat(18))] {
            assert_eq!(seconds(&text), None, "{text}");
        }
    }
}
