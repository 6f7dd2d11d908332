//! The document of `CLIENTS_FILE` and `CLIENTS`: declared clients and resources in YAML, and the lines of its parts.

use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::definition::Fault;

/// The maximum size of a document, in bytes. A larger one would be refused as a request.
const MAX_LENGTH: usize = 60_000;

/// A declared list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The member `clients`.
    Clients,
    /// The member `resources`.
    Resources,
}

impl List {
    /// The name of the member.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Resources => "resources",
        }
    }
}

/// A fault in one item of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The list.
    pub list: List,
    /// The place of the item in the list.
    pub place: usize,
    /// The fault.
    pub fault: Fault,
}

/// A step to a part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A member of an object.
    Member(String),
    /// An item of a list.
    Item(usize),
}

impl Misfit {
    /// The path to the faulty part.
    pub fn path(&self) -> Vec<Step> {
        let item = self.fault.item.map(Step::Item);
        let field = Some(self.fault.field.clone()).filter(|field| !field.is_empty());
        [Step::Member(self.list.name().to_owned()), Step::Item(self.place)]
            .into_iter()
            .chain(field.map(Step::Member))
            .chain(item)
            .collect()
    }
}

/// The functions that read what a document refers to.
pub struct Sources<'a> {
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file. Its path is relative to the document.
    pub file: &'a dyn Fn(&Path) -> std::io::Result<String>,
}

/// Reads a document. In each client, `secret_file` and `secret_env` are replaced by the secret.
///
/// # Errors
///
/// Sentences for the operator, each with a line.
pub fn read(text: &str, sources: &Sources<'_>) -> Result<Map<String, Value>, Vec<String>> {
    let line = |error: &serde_yaml::Error| error.location().map_or(1, |place| place.line());
    if text.len() > MAX_LENGTH {
        return Err(vec![format!("line 1: the document is larger than {MAX_LENGTH} bytes")]);
    }
    // This kind of value refuses a member that is given twice.
    let value: Value = serde_yaml::from_str::<serde_yaml::Value>(text)
        .and_then(|_| serde_yaml::from_str(text))
        .map_err(|error| vec![format!("line {}: this is not valid YAML: {error}", line(&error))])?;
    let mut document = match value {
        Value::Object(document) => document,
        Value::Null => Map::new(),
        _ => {
            return Err(vec![
                "line 1: the document must have the members clients and resources".to_owned(),
            ]);
        }
    };
    let mut faults = Vec::new();
    for (name, list) in &mut document {
        let path = vec![Step::Member(name.clone())];
        let known = [List::Clients, List::Resources].into_iter().find(|list| list.name() == name);
        match (known, list) {
            (Some(List::Clients), Value::Array(clients)) => {
                for (place, client) in clients.iter_mut().enumerate() {
                    let path = [&path[..], &[Step::Item(place)]].concat();
                    if let Err((member, fault)) = with_secret(client, sources) {
                        let path = [&path[..], &[Step::Member(member.to_owned())]].concat();
                        faults.push(format!("line {}: {fault}", line_of(text, &path)));
                    }
                }
            }
            (Some(List::Resources), Value::Array(_)) => {}
            (Some(_), list) if list.is_null() => *list = Value::Array(Vec::new()),
            (Some(_), _) => {
                faults.push(format!("line {}: {name} must be a list", line_of(text, &path)));
            }
            (None, _) => faults.push(format!(
                "line {}: the member {name:?} is unknown: it must be clients or resources",
                line_of(text, &path)
            )),
        }
    }
    if faults.is_empty() { Ok(document) } else { Err(faults) }
}

/// Replaces `secret_file` or `secret_env` of a client by the secret. An error names the member.
fn with_secret(client: &mut Value, sources: &Sources<'_>) -> Result<(), (&'static str, String)> {
    let Value::Object(members) = client else { return Ok(()) };
    let mut take = |name: &'static str| members.remove(name).map(|value| (name, value));
    let found: Vec<_> = [take("secret_file"), take("secret_env")].into_iter().flatten().collect();
    let count = found.len() + usize::from(members.contains_key("secret"));
    let Some((name, value)) = found.into_iter().next() else { return Ok(()) };
    if count > 1 {
        return Err((
            name,
            "the client must have only one of secret, secret_file and secret_env".to_owned(),
        ));
    }
    let Value::String(text) = value else {
        return Err((name, format!("{name} must be a text")));
    };
    let secret = if name == "secret_env" {
        (sources.variable)(&text)
            .ok_or_else(|| (name, format!("the environment variable {text} is not set")))
    } else {
        (sources.file)(Path::new(&text))
            .map_err(|error| (name, format!("the file {text} cannot be read: {error}")))
    }?;
    members.insert("secret".to_owned(), Value::String(secret.trim().to_owned()));
    Ok(())
}

/// Returns the line of a part of a document, counted from 1. If the part does not exist, this is the line of the part
/// around it.
pub fn line_of(text: &str, path: &[Step]) -> usize {
    let found = |path: &[Step]| {
        let error = Locate(path).deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
        (error.to_string().contains(FOUND)).then(|| error.location().map(|place| place.line()))?
    };
    (0..=path.len()).rev().find_map(|length| found(&path[..length])).unwrap_or(1)
}

/// The error that means that the part was found. The parser adds its line.
const FOUND: &str = "the part was found";

/// Follows a path and fails at its end.
struct Locate<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(FOUND)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Step::Item(place), rest)) = self.0.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        for _ in 0..*place {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Locate(rest))?;
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Some((Step::Member(name), rest)) = self.0.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        while let Some(member) = members.next_key::<String>()? {
            match member == *name {
                true => members.next_value_seed(Locate(rest))?,
                false => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Applications\nresources:\n  - uri: https://api.example.com\nclients:\n  - client_id: grafana\n    \
                        redirect_uris:\n      - https://a.example/cb\n      - https://b.example/*\n    trusted: true\n  \
                        - {client_id: wiki, scopes: [openid,\n     email]}\n";

    fn member(name: &str) -> Step {
        Step::Member(name.to_owned())
    }

    #[test]
    fn the_line_of_each_part_is_found() {
        let clients = || vec![member("clients")];
        let rows = [
            (vec![member("resources"), Step::Item(0), member("uri")], 3),
            ([clients(), vec![Step::Item(0), member("client_id")]].concat(), 5),
            ([clients(), vec![Step::Item(0), member("redirect_uris"), Step::Item(1)]].concat(), 8),
            ([clients(), vec![Step::Item(0), member("trusted")]].concat(), 9),
            ([clients(), vec![Step::Item(1)]].concat(), 10),
            ([clients(), vec![Step::Item(1), member("scopes"), Step::Item(1)]].concat(), 11),
            ([clients(), vec![Step::Item(1), member("missing")]].concat(), 10),
        ];
        for (path, line) in rows {
            assert_eq!(line_of(TEXT, &path), line, "{path:?}");
        }
    }

    #[test]
    fn a_document_is_read_with_its_secrets_and_faults_have_lines() {
        let variable =
            |name: &str| (name == "GRAFANA").then(|| "from the environment\n".to_owned());
        let file = |path: &Path| match path.to_str() {
            Some("secret.txt") => Ok("from the file\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let sources = Sources { variable: &variable, file: &file };
        let text = "clients:\n- {client_id: a, secret_env: GRAFANA}\n- {client_id: b, secret_file: secret.txt}\n";
        let document = read(text, &sources).unwrap();
        assert_eq!(document["clients"][0]["secret"], "from the environment");
        assert_eq!(document["clients"][1]["secret"], "from the file");
        let bad = [
            ("a: [", "line 2: this is not valid YAML"),
            ("clients:\n- client_id: a\n  client_id: b", "line 2: this is not valid YAML"),
            ("resources: []\nclients: []\nresources: []", "line 1: this is not valid YAML"),
            ("- a", "line 1: the document must"),
            ("\nclients: x", "line 2: clients must be a list"),
            ("clients:\nusers: []", "line 2: the member \"users\""),
            (
                "clients:\n- client_id: a\n  secret_env: NONE",
                "line 3: the environment variable NONE",
            ),
            (
                "clients:\n- client_id: a\n  secret_file: none",
                "line 3: the file none cannot be read",
            ),
            (
                "clients:\n- secret: x\n  secret_env: GRAFANA",
                "line 3: the client must have only one",
            ),
        ];
        for (text, begin) in bad {
            let faults = read(text, &sources).unwrap_err();
            assert!(faults[0].starts_with(begin), "{text}: {faults:?}");
        }
    }
}
