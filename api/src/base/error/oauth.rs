//! Errors in the form of OAuth (RFC 6749, section 5.2; RFC 6750, section 3).

use poem::Response;
use poem::http::StatusCode;
use serde_json::{Value, json};

use super::{Code, Detail, Error, rest};
use crate::base::request_context;

/// The answer.
pub(super) fn response(error: &Error) -> Response {
    rest::with_body(error, &body(error))
}

/// The body. It ends with the id of the request, if there is one.
pub(super) fn body(error: &Error) -> Value {
    let sentence = match &error.detail {
        Detail::Token(refusal) => refusal.sentence,
        _ => error.code.sentence(),
    };
    let id = request_context::current().request_id;
    let id = id.map(|id| format!(" (request {id})")).unwrap_or_default();
    json!({ "error": name(error.code), "error_description": described(&format!("{sentence}{id}")) })
}

/// The name of the error in OAuth.
fn name(code: Code) -> &'static str {
    match code.status() {
        _ if [Code::InvalidRequest, Code::InvalidClient].contains(&code) => code.name(),
        StatusCode::UNAUTHORIZED => "invalid_token",
        StatusCode::FORBIDDEN => "insufficient_scope",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "temporarily_unavailable"
        }
        status if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

/// Returns a text with the characters that RFC 6749, section 5.2, allows in `error_description`.
pub(crate) fn described(text: &str) -> String {
    let allowed =
        |character: &char| matches!(character, ' '..='~') && !['"', '\\'].contains(character);
    text.chars().filter(allowed).collect()
}
