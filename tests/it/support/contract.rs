//! Compares answers with openapi.yaml.

use std::sync::LazyLock;

use serde_json::Value;

use super::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml"));
    serde_yaml::from_str(&text.unwrap()).unwrap()
});

/// Returns every operation: method, path, and its entry in the document.
pub(crate) fn operations() -> Vec<(String, String, Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(|(method, operation)| {
                (method.to_ascii_uppercase(), path.clone(), operation.clone())
            })
        })
        .collect()
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(one, other)| one.starts_with('{') || *one == other)
}

/// Asserts that a body has the members of its schema, and null only if the schema allows it.
fn conforms(schema: &Value, body: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return conforms(&DOCUMENT["components"]["schemas"][name], body, place);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        // A description can stand beside a reference.
        let parts =
            parts.iter().filter(|part| part["description"].is_null() || !part["type"].is_null());
        return parts.for_each(|part| conforms(part, body, place));
    }
    // A schema of nothing but a description allows any JSON, such as the claims of a token.
    let members = schema.as_object().unwrap();
    if members.keys().all(|name| name == "description") {
        return;
    }
    let nullable = schema["nullable"] == true;
    match schema["type"].as_str().unwrap() {
        _ if body.is_null() && nullable => {}
        "object" => {
            let (members, known) = (body.as_object().unwrap(), &schema["properties"]);
            for (name, value) in members {
                assert!(!known[name].is_null(), "{place} answers {name}, which is not documented");
                conforms(&known[name], value, &format!("{place} {name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(members.contains_key(name.as_str().unwrap()), "{place} lacks {name}");
            }
        }
        "array" => {
            body.as_array()
                .unwrap()
                .iter()
                .for_each(|item| conforms(&schema["items"], item, place));
        }
        "string" => assert!(body.is_string(), "{place}: {body}"),
        "integer" => assert!(body.is_i64() || body.is_u64(), "{place}: {body}"),
        "boolean" => assert!(body.is_boolean(), "{place}: {body}"),
        other => panic!("{place}: the schema has the unknown type {other}"),
    }
}

/// Asserts that the document has this answer: the status of the operation, and the code of a refusal.
pub(super) fn check(method: &str, path: &str, answer: &Answer) {
    assert!(answer.headers.contains_key("x-request-id"), "no X-Request-Id on {method} {path}");
    // A path can end in a slash.
    let path = path.split('?').next().unwrap().trim_end_matches('/');
    let known = DOCUMENT["paths"].as_object().unwrap();
    let Some((_, item)) = known.iter().find(|(pattern, _)| matches(pattern, path)) else { return };
    let operation = &item[method.to_ascii_lowercase()];
    if operation.is_null() {
        return;
    }
    let response = &operation["responses"][answer.status.to_string()];
    assert!(
        !response.is_null(),
        "{method} {path} answered {}, which is not in openapi.yaml: {}",
        answer.status,
        answer.body
    );
    if answer.status >= 400 && answer.json.get("status").is_none() {
        let code = answer.code();
        assert!(
            !response["content"]["application/json"]["examples"][&code].is_null(),
            "{method} {path} refused with {code}, which is not in openapi.yaml"
        );
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let content = &response["content"]["application/json"]["schema"];
    if answer.status < 300 && !content.is_null() {
        conforms(content, &answer.json, &format!("{method} {path}"));
    }
    if answer.status == 401 {
        let scheme = if answer.code() == "invalid_client" { "Basic" } else { "Bearer" };
        assert!(answer.header("www-authenticate").starts_with(scheme), "{method} {path}");
    }
    // Public keys may be cached.
    let cache = if path.ends_with("jwks.json") { "public, max-age=300" } else { "no-store" };
    assert_eq!(answer.header("cache-control"), cache, "{method} {path}");
}
