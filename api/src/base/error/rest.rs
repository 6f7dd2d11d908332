//! Errors in the form of JSON: `detail` as in FastAPI Users, and a challenge if a token is missing or refused.

use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{Cause, Code, Detail, Error, TokenRefusal, joined};

/// The answer.
pub(super) fn response(error: &Error) -> Response {
    with_body(error, &body(error))
}

/// An answer with the status and the headers of an error, and this body.
pub(super) fn with_body(error: &Error, body: &Value) -> Response {
    let status = error.code.status();
    let mut response =
        Response::builder().status(status).content_type("application/json").body(body.to_string());
    let headers = response.headers_mut();
    let is_challenged = [Code::InsufficientScope, Code::FreshProofRequired];
    if status == StatusCode::UNAUTHORIZED || is_challenged.contains(&error.code) {
        headers.insert(header::WWW_AUTHENTICATE, challenge(error));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    if let Detail::Wait(wait) = &error.detail {
        // Rounded up, so that a client which waits this long does not have to wait again.
        let seconds = wait.as_millis().div_ceil(1000).max(1).to_string();
        let seconds = HeaderValue::try_from(seconds).unwrap_or(HeaderValue::from_static("1"));
        headers.insert(header::RETRY_AFTER, seconds);
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(cause) = &error.cause {
        response.extensions_mut().insert(Cause(cause.to_string().into()));
    }
    response
}

/// The body.
pub(super) fn body(error: &Error) -> Value {
    let name = error.code.name();
    match &error.detail {
        Detail::None
        | Detail::Token(_)
        | Detail::Scope(_)
        | Detail::MaxAge(_)
        | Detail::Wait(_) => {
            json!({ "detail": name })
        }
        Detail::Reason(messages) => {
            json!({ "detail": { "code": name, "reason": joined(messages) } })
        }
        Detail::Problems(problems) => {
            let items: Vec<_> = problems
                .iter()
                .map(|problem| {
                    let location: Vec<_> = std::iter::once(Value::from(problem.part))
                        .chain(problem.location.iter().cloned())
                        .collect();
                    json!({ "type": problem.kind, "loc": location, "msg": problem.message })
                })
                .collect();
            json!({ "detail": items })
        }
    }
}

/// The challenge. It has no `error` if the request had no token (RFC 6750, section 3).
fn challenge(refusal: &Error) -> HeaderValue {
    if refusal.code == Code::InvalidClient {
        return HeaderValue::from_static("Basic realm=\"tessera\"");
    }
    let (error, description, reason) = match &refusal.detail {
        Detail::Token(TokenRefusal { reason, sentence }) => {
            ("invalid_token", (*sentence).to_owned(), Some(*reason))
        }
        Detail::Scope(scope) => {
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            return HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
        }
        // RFC 9470, section 3: the maximum time since the password was given, in seconds.
        Detail::MaxAge(seconds) => {
            let sentence = refusal.code.sentence().replace('`', "'");
            let challenge = format!(
                "Bearer error=\"insufficient_user_authentication\", \
                 error_description=\"{sentence}\", max_age=\"{seconds}\""
            );
            return HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
        }
        // The request had no token.
        Detail::None if [Code::Unauthorized, Code::RefreshTokenInvalid].contains(&refusal.code) => {
            return HeaderValue::from_static("Bearer");
        }
        // RFC 9470, section 3: another token of the same kind would not help.
        _ if refusal.code == Code::FreshTokenRequired => {
            ("insufficient_user_authentication", refusal.code.sentence().replace('`', "'"), None)
        }
        _ => ("invalid_token", refusal.code.sentence().replace('`', "'"), None),
    };
    let reason = reason.map(|reason| format!(", reason=\"{reason}\"")).unwrap_or_default();
    HeaderValue::try_from(format!(
        "Bearer error=\"{error}\", error_description=\"{description}\"{reason}"
    ))
    .unwrap_or(HeaderValue::from_static("Bearer"))
}
