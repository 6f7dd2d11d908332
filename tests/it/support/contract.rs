//! openapi.yaml, and whether an answer keeps what it promises.

use std::sync::LazyLock;

use serde_json::Value;

use super::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml"));
    serde_yaml::from_str(&text.unwrap()).unwrap()
});

/// Every operation: method, path, and what the document says of it.
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

/// That the document knows this answer: the operation's status, and a refusal's code.
pub(super) fn check(method: &str, path: &str, answer: &Answer) {
    assert!(answer.headers.contains_key("x-request-id"), "no X-Request-Id on {method} {path}");
    let path = path.split('?').next().unwrap();
    let known = DOCUMENT["paths"].as_object().unwrap();
    let Some((_, item)) = known.iter().find(|(pattern, _)| matches(pattern, path)) else { return };
    let operation = &item[method.to_ascii_lowercase()];
    if operation.is_null() {
        return;
    }
    let response = &operation["responses"][answer.status.to_string()];
    assert!(
        !response.is_null(),
        "{method} {path} answered {}, which openapi.yaml does not know: {}",
        answer.status,
        answer.body
    );
    if answer.status >= 400 && answer.json.get("status").is_none() {
        let code = answer.code();
        assert!(
            !response["content"]["application/json"]["examples"][&code].is_null(),
            "{method} {path} refused with {code}, which openapi.yaml does not know"
        );
        assert_eq!(answer.header("content-type"), "application/json");
    }
    if answer.status == 401 {
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
    }
    assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}");
}
