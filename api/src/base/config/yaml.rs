//! Faults of settings in YAML. The text of the library may contain the value that is wrong, which may be a secret.

use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

/// The text of a fault of the library without the value that is wrong, which may be a secret.
pub(super) fn without_value(text: &str) -> String {
    let kind = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
    let expected = text.rsplit_once(", expected ");
    match (kind, expected) {
        (Some(kind), Some((_, expected))) => {
            let kind = kind.split(['`', '"', ',']).next().unwrap_or_default().trim();
            format!("a value of the kind {kind} is not {expected}")
        }
        _ => text.to_owned(),
    }
}

/// The fault of an entry that cannot be read: the member, and what it must be. It never shows the value.
pub(super) fn fault_of<T: DeserializeOwned>(entry: &Value, text: &str) -> String {
    let fault = |entry: &Mapping| {
        let read = serde_yaml::from_value::<T>(Value::Mapping(entry.clone()));
        read.err().map(|error| error.to_string())
    };
    let is_of_value = text.starts_with("invalid ");
    let Some(members) = entry.as_mapping().filter(|_| is_of_value) else {
        return without_value(text);
    };
    let mut left = members.clone();
    for name in members.keys() {
        left.remove(name);
        // The fault changes when its member is left out.
        if fault(&left).as_deref() != Some(text) {
            let name = name.as_str().unwrap_or_default();
            return format!("{name}: {}", without_value(text));
        }
    }
    without_value(text)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the faults are compared")]
    struct Entry {
        name: String,
        #[serde(rename = "secret")]
        given: Option<String>,
        private: Option<bool>,
        domains: Option<Vec<String>>,
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_and_never_shown() {
        for (text, member) in [
            ("{name: a, secret: 73313373}", "secret: "),
            ("{name: a, secret: [hunter2]}", "secret: "),
            ("{name: a, secret: {hunter2: 1}}", "secret: "),
            ("{name: 73313373}", "name: "),
            ("{name: a, private: hunter2}", "private: "),
            ("{name: a, private: 'hunter2, expected'}", "private: "),
            ("{name: a, domains: hunter2}", "domains: "),
            ("{name: a, domains: [73313373]}", "domains: "),
            ("'hunter2, expected'", "a value of the kind"),
        ] {
            let entry: Value = serde_yaml::from_str(text).unwrap();
            let error = serde_yaml::from_value::<Entry>(entry.clone()).unwrap_err();
            let found = fault_of::<Entry>(&entry, &error.to_string());
            assert!(found.starts_with(member), "{text}: {found}");
            assert!(!found.contains("hunter2") && !found.contains("73313373"), "{text}: {found}");
        }
    }
}
