//! Request bodies, which are read into domain types.
//!
//! All errors of a body are collected, in FastAPI's form. A field that is given twice is an error, because two programs
//! could read different values.

use std::fmt;
use std::str::FromStr;

use poem::http::header;
use poem::web::Multipart;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use uuid::Uuid;

use crate::base::change::Change;
use crate::base::error::{Code, Error, Face, Problem, Result};
use crate::base::scope::{MAX_SCOPES, Scope, Scopes};

/// The maximum length of a person's name, in characters.
const MAX_NAME: usize = 100;

/// The lifetimes that a request can set, in seconds.
pub(crate) const SECONDS: std::ops::RangeInclusive<u64> = 1..=315_360_000;

const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// The kinds of body that an operation accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    /// A JSON object.
    Json,
    /// A form in one of the two encodings.
    Form,
    /// A JSON object, a form, or no body.
    AnyOrNothing,
}

/// A body as the OpenAPI document describes it, and its conversion to the type that the rules take.
pub(crate) trait Input: Type {
    /// The type that the rules take.
    type Parsed: Send;
    /// The kind of body that the operation accepts.
    const ACCEPTS: Accepts;
    /// The face of errors in the body.
    const FACE: Face = Face::Rest;
    /// Reads the fields. Returns `None` if one of them is invalid; `fields` then contains the error.
    fn read(fields: &mut Fields) -> Option<Self::Parsed>;
}

/// A body of the kind `T`, parsed.
pub(crate) struct Body<T: Input>(pub(crate) T::Parsed);

impl<'a, T: Input> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        // Each operation documents one kind of body, because generated clients send every kind that they find. Forms
        // are also accepted as multipart, and where a body is optional, also instead of JSON.
        let content_type = match T::ACCEPTS {
            Accepts::Json | Accepts::AnyOrNothing => JSON,
            Accepts::Form => FORM,
        };
        let content = vec![MetaMediaType { content_type, schema: T::schema_ref() }];
        let required = T::ACCEPTS != Accepts::AnyOrNothing;
        Some(MetaRequest { description: None, content, required })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let read = Fields::from_request(T::ACCEPTS, request, body).await.and_then(|mut fields| {
            match T::read(&mut fields) {
                Some(parsed) if fields.problems.is_empty() => Ok(Self(parsed)),
                _ => Err(Error::unprocessable(fields.problems)),
            }
        });
        read.map_err(|error| match T::FACE {
            // OAuth has one code for every error in a request.
            Face::Oauth if error.code().status().is_client_error() => {
                Error::from(Code::InvalidRequest).with_face(Face::Oauth).into()
            }
            Face::Rest | Face::Oauth => error.into(),
        })
    }
}

/// The fields of a body that were not taken yet, and the errors of those that were.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    fields: Vec<(String, Value)>,
    problems: Vec<Problem>,
}

impl Fields {
    /// Returns true if a field is present and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, value)| known == name && !value.is_null())
    }

    /// The text of a required field.
    pub(crate) fn required(&mut self, name: &str) -> Option<String> {
        if !self.fields.iter().any(|(known, _)| known == name) {
            self.problems.push(Problem::missing(vec![name.into()]));
            return None;
        }
        match self.take(name) {
            Value::String(text) => Some(text),
            _ => self.problem("string_type", name, "Input should be a valid string"),
        }
    }

    /// The text of a field that can be missing or null.
    pub(crate) fn optional(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => self.problem("string_type", name, "Input should be a valid string"),
        }
    }

    /// Reads an e-mail address. An error has FastAPI's text.
    pub(crate) fn email<T: FromStr<Err = &'static str>>(
        &mut self,
        name: &str,
        text: &str,
    ) -> Option<T> {
        text.parse()
            .map_err(|reason| {
                let message = format!("value is not a valid email address: {reason}");
                self.problem::<T>("value_error", name, &message)
            })
            .ok()
    }

    /// Reads an id.
    pub(crate) fn uuid(&mut self, name: &str, text: &str) -> Option<Uuid> {
        match text.parse() {
            Ok(id) => Some(id),
            Err(_) => self.problem("uuid_parsing", name, "Input should be a valid UUID"),
        }
    }

    /// Parses the text as a domain type.
    pub(crate) fn parsed<T: FromStr<Err = &'static str>>(
        &mut self,
        name: &str,
        text: &str,
    ) -> Option<T> {
        text.parse().map_err(|fault| self.problem::<T>("value_error", name, fault)).ok()
    }

    /// A change of a person's name. A missing field keeps the name; null or an empty text removes it.
    pub(crate) fn person(&mut self, name: &str) -> Option<Change<String>> {
        Some(match self.change(name)? {
            Change::Set(text) => Change::Set(self.line(name, text, MAX_NAME)?),
            unset => unset,
        })
    }

    /// A change of a value that is parsed as a domain type, by the same rules as [`person`](Self::person).
    pub(crate) fn maybe_parsed<T: FromStr<Err = &'static str>>(
        &mut self,
        name: &str,
    ) -> Option<Change<T>> {
        Some(match self.change(name)? {
            Change::Set(text) => Change::Set(self.parsed(name, &text)?),
            Change::Clear => Change::Clear,
            Change::Keep => Change::Keep,
        })
    }

    /// A change of a text. A missing field keeps it; null or an empty text removes it.
    fn change(&mut self, name: &str) -> Option<Change<String>> {
        if !self.fields.iter().any(|(known, _)| known == name) {
            return Some(Change::Keep);
        }
        match self.take(name) {
            Value::Null => Some(Change::Clear),
            Value::String(text) => Some(Some(text).filter(|text| !text.is_empty()).into()),
            _ => self.problem("string_type", name, "Input should be a valid string"),
        }
    }

    /// A flag that can be missing or null.
    pub(crate) fn optional_flag(&mut self, name: &str) -> Option<Option<bool>> {
        match self.take(name) {
            Value::Null => Some(None),
            Value::Bool(flag) => Some(Some(flag)),
            _ => self.problem("bool_type", name, "Input should be a valid boolean"),
        }
    }

    /// A number of seconds, from 1 to ten years, that can be missing or null.
    pub(crate) fn seconds(&mut self, name: &str) -> Option<Option<u64>> {
        match self.take(name) {
            Value::Null => Some(None),
            Value::Number(number) if number.as_u64().is_some_and(|n| SECONDS.contains(&n)) => {
                Some(number.as_u64())
            }
            _ => self.problem("int_type", name, "Input should be 1 to 315360000 seconds"),
        }
    }

    /// An instant in seconds since the epoch, at most in the year 9999, that can be missing or null.
    pub(crate) fn time(&mut self, name: &str) -> Option<Option<i64>> {
        match self.take(name) {
            Value::Null => Some(None),
            Value::Number(number)
                if number.as_i64().is_some_and(|at| (0..=253_402_300_799).contains(&at)) =>
            {
                Some(number.as_i64())
            }
            _ => self.problem("int_type", name, "Input should be seconds since the epoch"),
        }
    }

    /// A flag. If it is missing or null, it is false.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take(name) {
            Value::Null => Some(false),
            Value::Bool(flag) => Some(flag),
            _ => self.problem("bool_type", name, "Input should be a valid boolean"),
        }
    }

    /// Scopes, as a list of words. The field can be missing or null.
    pub(crate) fn scopes(&mut self, name: &str) -> Option<Option<Scopes>> {
        let words: Vec<Value> = match self.take(name) {
            Value::Null => return Some(None),
            Value::Array(words) => words,
            _ => return self.problem("list_type", name, "Input should be a list of words"),
        };
        if words.len() > MAX_SCOPES {
            return self.problem("too_long", name, "Input should be at most 32 words");
        }
        let mut scopes = Vec::new();
        for word in words {
            scopes.push(self.parsed::<Scope>(name, word.as_str().unwrap_or_default())?);
        }
        Some(Some(scopes.into_iter().collect()))
    }

    /// A list of at most `max` objects.
    pub(crate) fn objects(&mut self, name: &str, max: usize) -> Option<Vec<Value>> {
        if !self.fields.iter().any(|(known, _)| known == name) {
            self.problems.push(Problem::missing(vec![name.into()]));
            return None;
        }
        match self.take(name) {
            Value::Array(items) if items.len() <= max => Some(items),
            Value::Array(_) => {
                self.problem("too_long", name, &format!("List should have at most {max} items"))
            }
            _ => self.problem("list_type", name, "Input should be a valid list"),
        }
    }

    /// Reads one object of a list. Errors in it get the path to the object.
    pub(crate) fn within<T>(
        &mut self,
        name: &str,
        place: usize,
        object: Value,
        read: impl Fn(&mut Fields) -> Option<T>,
    ) -> Option<T> {
        let Value::Object(members) = object else {
            return self.problem(
                "model_attributes_type",
                name,
                "Input should be a list of objects",
            );
        };
        let mut inner = Self { fields: members.into_iter().collect(), problems: Vec::new() };
        let found = read(&mut inner);
        let outside = [Value::from(name), place.into()];
        self.problems.extend(inner.problems.into_iter().map(|problem| Problem {
            location: outside.iter().cloned().chain(problem.location).collect(),
            ..problem
        }));
        found
    }

    /// Checks that a text is one line of at most `max` characters, without control characters.
    pub(crate) fn line(&mut self, name: &str, text: String, max: usize) -> Option<String> {
        if !is_line(&text, max) {
            let message = format!("Input should be one line of at most {max} characters");
            return self.problem("value_error", name, &message);
        }
        Some(text)
    }

    /// Checks that a field of a form has this value, if it is present.
    pub(crate) fn constant(&mut self, name: &str, value: &str) {
        if self.optional(name).is_some_and(|given| given != value) {
            let message = format!("String should match pattern '^{value}$'");
            self.problem::<()>("string_pattern_mismatch", name, &message);
        }
    }

    /// Takes all members, for a type that reads them itself.
    pub(crate) fn members(&mut self) -> serde_json::Map<String, Value> {
        self.fields.drain(..).collect()
    }

    fn take(&mut self, name: &str) -> Value {
        let position = self.fields.iter().position(|(known, _)| known == name);
        position.map_or(Value::Null, |position| self.fields.swap_remove(position).1)
    }

    pub(crate) fn problem<T>(
        &mut self,
        kind: &'static str,
        name: &str,
        message: &str,
    ) -> Option<T> {
        let location = vec![name.into()];
        self.problems.push(Problem { kind, part: "body", location, message: message.to_owned() });
        None
    }

    async fn from_request(
        accepts: Accepts,
        request: &Request,
        body: &mut RequestBody,
    ) -> Result<Self> {
        let content_type = request.header(header::CONTENT_TYPE).unwrap_or_default();
        let media_type =
            content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = media_type == JSON
            || media_type.starts_with("application/") && media_type.ends_with("+json");
        let multipart = media_type == MULTIPART;
        if multipart && accepts != Accepts::Json {
            return Self::from_multipart(request, body).await;
        }

        let bytes = body.take().map_err(unreadable)?.into_bytes().await.map_err(unreadable)?;
        if bytes.is_empty() && (media_type.is_empty() || is_json) {
            return match accepts {
                Accepts::Json => Err(Error::unprocessable(vec![Problem::missing(Vec::new())])),
                Accepts::Form | Accepts::AnyOrNothing => Ok(Self::default()),
            };
        }
        let fields = match accepts {
            Accepts::Json | Accepts::AnyOrNothing if is_json => json(&bytes)?,
            Accepts::Form | Accepts::AnyOrNothing if media_type == FORM => {
                serde_urlencoded::from_bytes::<Vec<(String, String)>>(&bytes)
                    .map_err(|_| not_fields())?
                    .into_iter()
                    .map(|(name, value)| (name, value.into()))
                    .collect()
            }
            // FastAPI sees a body without fields here, and Tessera answers in the same way.
            Accepts::Form if is_json => Vec::new(),
            Accepts::Json if media_type == FORM || multipart => return Err(not_fields()),
            _ => return Err(Code::UnsupportedMediaType.into()),
        };
        Self::without_doubles(fields)
    }

    async fn from_multipart(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let mut parts = <Multipart as FromRequest>::from_request(request, body)
            .await
            .map_err(|_| not_fields())?;
        let mut fields = Vec::new();
        while let Some(part) = parts.next_field().await.map_err(|_| not_fields())? {
            let name = part.name().ok_or_else(not_fields)?.to_owned();
            let text = part.text().await.map_err(|_| not_fields())?;
            fields.push((name, text.into()));
        }
        Self::without_doubles(fields)
    }

    fn without_doubles(fields: Vec<(String, Value)>) -> Result<Self> {
        let mut names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(double) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::unprocessable(vec![Problem {
                kind: "duplicate",
                part: "body",
                location: vec![double[0].into()],
                message: "Field given twice".to_owned(),
            }]));
        }
        Ok(Self { fields, problems: Vec::new() })
    }
}

fn json(bytes: &[u8]) -> Result<Vec<(String, Value)>> {
    let members: JsonBody = serde_json::from_slice(bytes).map_err(|error| {
        Error::unprocessable(vec![Problem {
            kind: "json_invalid",
            part: "body",
            location: vec![offset(bytes, error.line(), error.column()).into()],
            message: "JSON decode error".to_owned(),
        }])
    })?;
    match members {
        JsonBody::Object(members) => Ok(members),
        JsonBody::Null => Err(Error::unprocessable(vec![Problem::missing(Vec::new())])),
        JsonBody::Other => Err(not_fields()),
    }
}

/// The offset of an error in the text, from its line and column.
fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[_]>::len)
        .sum();
    before + column.saturating_sub(1)
}

fn not_fields() -> Error {
    Error::unprocessable(vec![Problem {
        kind: "model_attributes_type",
        part: "body",
        location: Vec::new(),
        message: "Input should be a valid dictionary or object to extract fields from".to_owned(),
    }])
}

fn unreadable(_: impl fmt::Debug) -> Error {
    Code::RequestTimeout.into()
}

/// A JSON text with every member of its object, also those with the same name.
enum JsonBody {
    Object(Vec<(String, Value)>),
    Null,
    Other,
}

impl<'de> Deserialize<'de> for JsonBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BodyVisitor;

        impl<'de> Visitor<'de> for BodyVisitor {
            type Value = JsonBody;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonBody, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonBody::Object(members))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut sequence: A,
            ) -> Result<JsonBody, A::Error> {
                while sequence.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(JsonBody::Other)
            }

            fn visit_unit<E>(self) -> Result<JsonBody, E> {
                Ok(JsonBody::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<JsonBody, E> {
                Ok(JsonBody::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<JsonBody, E> {
                Ok(JsonBody::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<JsonBody, E> {
                Ok(JsonBody::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<JsonBody, E> {
                Ok(JsonBody::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<JsonBody, E> {
                Ok(JsonBody::Other)
            }
        }

        deserializer.deserialize_any(BodyVisitor)
    }
}

/// Returns true if a text is one line of at most `max` characters. Marks that change the direction of the text are not
/// allowed, because they can make it look like another text.
pub(crate) fn is_line(text: &str, max: usize) -> bool {
    let misleads = |char| matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().count() <= max && !text.chars().any(|char| char.is_control() || misleads(char))
}
