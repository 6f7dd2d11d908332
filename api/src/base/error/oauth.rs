//! Errors in the form of OAuth (RFC 6749, section 5.2).

use poem::Response;
use serde_json::{Value, json};

use super::{Error, rest};

/// The answer.
pub(super) fn response(error: &Error) -> Response {
    rest::with_body(error, &body(error))
}

/// The body.
pub(super) fn body(error: &Error) -> Value {
    json!({ "error": error.code.name(), "error_description": error.code.sentence() })
}
