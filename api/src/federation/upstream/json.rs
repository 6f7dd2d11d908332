//! Reading what a provider writes in JSON. A fault names the member and the kind of its value. It never shows the value,
//! because an answer contains tokens, and a claim is personal.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};

/// The maximum number of members in which the wrong one is looked for.
const MAX_MEMBERS: usize = 200;

/// Reads a document.
///
/// # Errors
///
/// The fault, for operators.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => fault_of::<T>(bytes, &error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => {
            format!("no JSON from line {}, column {} on", error.line(), error.column())
        }
    })
}

/// The fault of a document that is JSON. `text` is the one of the library, which may contain a value.
fn fault_of<T: DeserializeOwned>(bytes: &[u8], text: &str) -> String {
    // The types name their members, so these names are ours.
    let named = |before: &str| text.strip_prefix(before)?.split('`').next().map(str::to_owned);
    if let Some(name) = named("missing field `") {
        return format!("{name} is missing");
    }
    if let Some(name) = named("duplicate field `") {
        return format!("{name} is there twice");
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(members)) => wrong_member::<T>(members),
        Ok(other) => format!("the document is {}", kind_of(&other)),
        Err(_) => "the document cannot be read".to_owned(),
    }
}

/// Finds the member that cannot be read: the fault changes when it is left out.
fn wrong_member<T: DeserializeOwned>(members: Map<String, Value>) -> String {
    let fault = |members: &Map<String, Value>| {
        let read = serde_json::from_value::<T>(Value::Object(members.clone()));
        read.err().map(|error| error.to_string())
    };
    let (first, mut left) = (fault(&members), members);
    if fault(&Map::new()) == first {
        return "the document is an object".to_owned();
    }
    let names: Vec<String> = left.keys().take(MAX_MEMBERS).cloned().collect();
    for name in names {
        let Some(value) = left.remove(&name) else { continue };
        if fault(&left) != first {
            // The name is one of those that the type knows, because others are ignored.
            return format!("{name} is {}", kind_of(&value));
        }
    }
    "a member has a value of the wrong kind".to_owned()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the faults are compared")]
    struct Document {
        exp: f64,
        iat: f64,
        sub: String,
        names: Option<Vec<String>>,
    }

    #[test]
    fn a_fault_names_the_member_and_the_kind_and_never_the_value() {
        for (text, expected) in [
            (r#"{"exp":"secret","iat":1,"sub":"a"}"#, "exp is a text"),
            (r#"{"exp":1,"iat":"secret","sub":"a"}"#, "iat is a text"),
            (r#"{"exp":1,"iat":1,"sub":73313373}"#, "sub is a number"),
            (r#"{"exp":1,"iat":1,"sub":{"a":"secret"}}"#, "sub is an object"),
            (r#"{"exp":1,"iat":null,"sub":"a"}"#, "iat is null"),
            (r#"{"exp":1,"iat":1,"sub":"a","names":["a",73313373]}"#, "names is a list"),
            (r#"{"exp":1,"iat":1,"sub":"a","names":true}"#, "names is true or false"),
            (r#"{"secret":"secret","iat":1,"sub":"a"}"#, "exp is missing"),
            (r#"{"exp":1,"exp":2,"iat":1,"sub":"secret"}"#, "exp is there twice"),
            (r#"["secret"]"#, "the document is a list"),
            (r#""secret""#, "the document is a text"),
            (r#"{"exp":1,"secret"#, "no JSON from line 1, column 16 on"),
            ("secret", "no JSON from line 1, column 1 on"),
            ("", "no JSON from line 1, column 0 on"),
        ] {
            let fault = read::<Document>(text.as_bytes()).unwrap_err();
            assert_eq!(fault, expected, "{text}");
        }
        assert_eq!(read::<Vec<u8>>(br#"{"a":"secret"}"#).unwrap_err(), "the document is an object");
        // Two members have the same fault.
        let fault = read::<Document>(br#"{"exp":"secret","iat":"secret","sub":"a"}"#).unwrap_err();
        assert!(["exp is a text", "iat is a text"].contains(&fault.as_str()), "{fault}");
    }
}
