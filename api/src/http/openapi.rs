//! The OpenAPI document: the document that the framework generates, with additions that the framework cannot know.
//!
//! The descriptions of refusals come from the table in `error/code.rs`, so that the document agrees with the answers.

use std::collections::{BTreeMap, BTreeSet};

use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::body::FORM;
use crate::base::error::{Code, Face};

/// The refusals that every operation can answer.
const EVERYWHERE: [Code; 4] = [
    Code::ContentTooLarge,
    Code::RequestTimeout,
    Code::ServiceUnavailable,
    Code::InternalServerError,
];

/// The descriptions of operations that the framework cannot know, each with the id of its operation.
#[derive(Debug, Default)]
pub(crate) struct Described {
    /// The refusals of each operation.
    pub(crate) refusals: Vec<(&'static str, &'static [Code])>,
    /// Further notes on some operations.
    pub(crate) notes: Vec<(&'static str, Note)>,
}

/// A note on an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// The operation sends a mail with a code. The answer has the value that the client keeps for it.
    SendsCode,
    /// The operation takes the code of a mail, with the value that the client kept for it.
    TakesCode,
    /// The operation takes a token as a bearer token or in another place.
    BearerIsOptional,
    /// The operation answers this refusal in the form of OAuth.
    RefusesAsOauth(Code),
}

impl Described {
    fn refusals(&self, id: &str) -> &'static [Code] {
        self.refusals.iter().find(|(known, _)| *known == id).map_or(&[], |(_, codes)| codes)
    }

    fn oauth_refusals(&self, id: &str) -> impl Iterator<Item = Code> {
        self.notes.iter().filter(move |(known, _)| *known == id).filter_map(
            |(_, note)| match note {
                Note::RefusesAsOauth(code) => Some(*code),
                _ => None,
            },
        )
    }

    fn has(&self, id: &str, note: Note) -> bool {
        self.notes.iter().any(|(known, its)| *known == id && *its == note)
    }
}

/// Writes the document as YAML, as `openapi.yaml` contains it.
pub(crate) fn to_yaml(document: &Value) -> String {
    serde_yaml::to_string(document).expect("a JSON value is YAML")
}

/// The paths of operations, each with its methods in the spelling of the document: `get`.
///
/// A server needs only these when it starts. The whole document takes more memory than all users that it knows.
#[derive(Debug, Deserialize)]
pub(crate) struct Outline {
    pub(crate) paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

/// Reads the paths and methods of these operations.
pub(crate) fn outline<T: OpenApi, W: Webhook>(service: &OpenApiService<T, W>) -> Outline {
    serde_json::from_str(&service.spec()).expect("the framework writes JSON")
}

/// Makes the document of these operations.
pub(crate) fn document<T: OpenApi, W: Webhook>(
    service: &OpenApiService<T, W>,
    described: &Described,
) -> Value {
    let mut document: Value =
        serde_json::from_str(&service.spec()).expect("the framework writes JSON");
    document["components"]["schemas"]["Error"] = error_schema();
    document["components"]["schemas"]["OauthError"] = oauth_error_schema();
    let schemes = document["components"]["securitySchemes"].as_object_mut().into_iter();
    schemes.flat_map(|schemes| schemes.values_mut()).for_each(complete_flows);
    let schemas = document["components"]["schemas"].as_object_mut().into_iter();
    schemas.flat_map(|schemas| schemas.values_mut()).for_each(mark_nullable);
    give_examples_to_forms(&mut document);
    let schemas = document["components"]["schemas"].clone();
    let items = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for item in items {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete(method, operation, described, &schemas);
        }
    }
    plain_json(&mut document);
    order_tags(&mut document);
    document
}

/// Puts all operations of the document below the path of `PUBLIC_URL`, so that clients send their requests there.
pub(crate) fn put_below(document: &mut Value, path: &str) {
    if path.is_empty() {
        return;
    }
    document["servers"][0]["url"] = path.into();
    let schemes = document["components"]["securitySchemes"].as_object_mut();
    let flows = schemes.into_iter().flat_map(|schemes| schemes.values_mut());
    let flows = flows.filter_map(|scheme| scheme.get_mut("flows")?.as_object_mut()).flatten();
    for (_, flow) in flows {
        for name in ["tokenUrl", "refreshUrl"] {
            if let Some(url) = flow.get_mut(name) {
                *url = format!("{path}{}", url.as_str().unwrap_or_default()).into();
            }
        }
    }
}

/// Gives each field of a form its example, or an empty one. Swagger UI would fill the form with the word "string".
fn give_examples_to_forms(document: &mut Value) {
    let operations = document["paths"].as_object().into_iter().flat_map(Map::values);
    let operations = operations.filter_map(Value::as_object).flat_map(Map::values);
    let forms = operations.filter_map(|operation| {
        operation["requestBody"]["content"][FORM]["schema"]["$ref"].as_str()?.rsplit('/').next()
    });
    let names: BTreeSet<_> = forms.map(ToOwned::to_owned).collect();
    for name in names {
        let schema = &mut document["components"]["schemas"][name];
        let example = schema["example"].clone();
        for (name, field) in schema["properties"].as_object_mut().into_iter().flatten() {
            field["example"] = example.get(name).cloned().unwrap_or_else(|| "".into());
        }
    }
}

/// Puts the tags into an order in which newcomers need them. The framework orders them by name.
fn order_tags(document: &mut Value) {
    let order = ["Auth", "Me", "Recovery", "Tokens", "Services", "Users", "Admin", "Operation"];
    let place = |tag: &Value| order.iter().position(|name| tag["name"] == *name);
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.sort_by_key(place);
    }
}

fn complete(method: &str, operation: &mut Value, described: &Described, schemas: &Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let own = described.refusals(&id);
    let has_body = operation.get("requestBody").is_some();
    // Browsers send cookies for pages of other sites too, so a change requires the CSRF value.
    let takes_cookie = operation["security"].to_string().contains("\"Cookie\"");
    let csrf = [Code::CsrfTokenMismatch];
    let csrf = if takes_cookie && method != "get" { &csrf[..] } else { &[] };
    // An API token can have fewer scopes than its owner.
    let takes_api_token = operation["security"].to_string().contains("\"ApiKey\"");
    let scope = [Code::InsufficientScope];
    let scope = if takes_api_token { &scope[..] } else { &[] };
    // Guesses of API tokens are limited for each address.
    let guesses = [Code::TooManyAttempts];
    let guesses = if takes_api_token && !own.contains(&guesses[0]) { &guesses[..] } else { &[] };
    let codes =
        own.iter().chain(guesses).chain(scope).chain(csrf).chain(EVERYWHERE.iter().filter(
            |code| has_body || !matches!(code, Code::ContentTooLarge | Code::RequestTimeout),
        ));
    if described.has(&id, Note::BearerIsOptional) {
        operation["security"] = json!([{ "Bearer": [] }, {}]);
    }
    let [sends_code, takes_code] =
        [Note::SendsCode, Note::TakesCode].map(|note| described.has(&id, note));
    bind_codes(sends_code, takes_code, operation);
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for response in responses.values_mut() {
        if response["description"] == "" {
            response["description"] = description_of(response, schemas);
        }
        response["headers"]["X-Request-Id"] = header("The id of this request in the log.");
    }
    for code in codes {
        refuse(responses, *code, Face::Rest);
    }
    for code in described.oauth_refusals(&id) {
        refuse(responses, code, Face::Oauth);
    }
}

/// Describes the header that binds the code of a mail to a client: in the answers that set it, and in the operations
/// that take it.
fn bind_codes(sends: bool, takes: bool, operation: &mut Value) {
    let name = "X-Code-Binding";
    let kept = "The value that binds the code of the mail to this client. Send it with the code. Browsers keep it in \
                the cookie `tessera-code` instead.";
    if sends {
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            if status.starts_with('2') {
                response["headers"][name] = header(kept);
            }
        }
    }
    if sends || takes {
        let parameter = json!({
            "name": name, "in": "header", "required": false, "schema": { "type": "string" },
            "description": "The value from an earlier answer that binds codes to this client, if it keeps no cookies.",
        });
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        operation["parameters"] = parameters.into_iter().chain([parameter]).collect();
    }
}

/// Marks members that are not required as nullable. For example, `next` is null on the last page.
fn mark_nullable(schema: &mut Value) {
    let required = schema["required"].clone();
    let is_required = |name: &str| {
        required.as_array().is_some_and(|required| required.iter().any(|known| known == name))
    };
    let members = schema["properties"].as_object_mut().into_iter().flatten();
    for (_, member) in members.filter(|(name, _)| !is_required(name)) {
        member["nullable"] = true.into();
    }
}

/// The description of an answer's body, for answers that the framework does not describe.
fn description_of(response: &Value, schemas: &Value) -> Value {
    let content = response["content"].as_object().and_then(|content| content.values().next());
    let reference = content.and_then(|content| content["schema"]["$ref"].as_str());
    let name = reference.and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
    schemas[name]["description"].clone()
}

/// Adds the member `scopes` to each flow of OAuth. The specification requires it, and the framework leaves it out if it
/// is empty.
fn complete_flows(scheme: &mut Value) {
    let flows = scheme.get_mut("flows").and_then(Value::as_object_mut).into_iter();
    for flow in flows.flat_map(|flows| flows.values_mut()).filter(|flow| flow["scopes"].is_null()) {
        flow["scopes"] = json!({});
    }
}

/// Adds one refusal to the responses of an operation.
fn refuse(responses: &mut Map<String, Value>, code: Code, face: Face) {
    let status = code.status();
    let response = responses.entry(status.as_u16().to_string()).or_insert_with(|| {
        json!({
            "description": "",
            "headers": headers(&[("X-Request-Id", "The id of this request in the log.")]),
            "content": {},
        })
    });
    let line = format!("* `{}`: {}", code.name(), code.sentence());
    let description = response["description"].as_str().unwrap_or_default();
    response["description"] =
        if description.is_empty() { line } else { format!("{description}\n{line}") }.into();
    if status.as_u16() == 401 {
        response["headers"]["WWW-Authenticate"] =
            header("The reason of the refusal (RFC 6750, section 3).");
    }
    if code == Code::FreshProofRequired {
        let header = header(
            "The maximum time since the password was given, in seconds: `max_age` (RFC 9470, section 3).",
        );
        response["headers"]["WWW-Authenticate"] = header;
    }
    if [429, 503].contains(&status.as_u16()) {
        response["headers"]["Retry-After"] =
            header("The number of seconds to wait before a retry.");
    }
    let content = &mut response["content"]["application/json"];
    let schema = json!({ "$ref": format!("#/components/schemas/{}", schema_of(face)) });
    if content.is_null() {
        *content = json!({ "schema": schema, "examples": {} });
    } else if content["schema"] != schema && content["schema"]["oneOf"].is_null() {
        content["schema"] = json!({ "oneOf": [content["schema"], schema] });
    }
    content["examples"][code.name()] =
        json!({ "summary": code.sentence(), "value": code.example(face) });
}

fn headers(named: &[(&str, &str)]) -> Value {
    named.iter().map(|(name, description)| ((*name).to_owned(), header(description))).collect()
}

fn header(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

/// The name of the schema of a refusal with this face.
fn schema_of(face: Face) -> &'static str {
    match face {
        Face::Rest => "Error",
        Face::Oauth => "OauthError",
    }
}

fn oauth_error_schema() -> Value {
    json!({
        "title": "OauthError",
        "description": "A refusal of an operation of OAuth (RFC 6749, section 5.2).",
        "type": "object",
        "required": ["error", "error_description"],
        "properties": {
            "error": { "description": "A stable code.", "type": "string" },
            "error_description": { "description": "What the code means.", "type": "string" },
        },
        "example": {
            "error": "invalid_client",
            "error_description": "The client could not be authenticated.",
        },
    })
}

fn error_schema() -> Value {
    json!({
        "title": "Error",
        "description": "A refusal. `detail` is a stable code, an object with a code and a reason, or, if \
                        the request is invalid, a list of errors.",
        "type": "object",
        "required": ["detail"],
        "properties": {
            "detail": {
                "oneOf": [
                    { "type": "string" },
                    {
                        "type": "object",
                        "required": ["code", "reason"],
                        "properties": {
                            "code": { "type": "string" },
                            "reason": { "type": "string" },
                        },
                    },
                    {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["type", "loc", "msg"],
                            "properties": {
                                "type": { "type": "string" },
                                "loc": {
                                    "type": "array",
                                    "items": {
                                        "oneOf": [{ "type": "string" }, { "type": "integer" }],
                                    },
                                },
                                "msg": { "type": "string" },
                            },
                        },
                    },
                ],
            },
        },
    })
}

/// Removes the charset parameter of JSON, which does not exist (RFC 8259, section 11) but which the framework writes.
fn plain_json(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(content) = members.remove("application/json; charset=utf-8") {
                members.insert("application/json".to_owned(), content);
            }
            members.values_mut().for_each(plain_json);
        }
        Value::Array(items) => items.iter_mut().for_each(plain_json),
        _ => {}
    }
}
