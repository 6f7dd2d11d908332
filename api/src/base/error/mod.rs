//! Errors: each has a stable code, a status, a public sentence and a private cause.
//!
//! An error can be shown in four ways, and the route chooses one: `rest` for programs, `oauth` for programs that know
//! only RFC 6749, `page` for people, and [`redirect`] for answers that go through a browser.

pub(crate) mod away;
mod code;
mod oauth;
pub(crate) mod page;
pub mod redirect;
mod rest;

pub use code::Code;
pub(crate) use oauth::described;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponses, Registry};
use sea_orm::DbErr;
use serde_json::Value;
use tessera_verify::{Denied, KeyError, Refusal};

/// The result of a rule.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One error in a request, in FastAPI's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind of error.
    pub kind: &'static str,
    /// The part of the request: `body` or `query`.
    pub part: &'static str,
    /// The path to the field within that part.
    pub location: Vec<Value>,
    /// A description of the error, for people.
    pub message: String,
}

impl Problem {
    /// The error that a required field is missing.
    pub fn missing(location: Vec<Value>) -> Self {
        Self { kind: "missing", part: "body", location, message: "Field required".to_owned() }
    }
}

/// A sentence for people, and the name of its translations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalizedMessage {
    /// The name of its translations.
    pub name: String,
    /// The sentence, in English.
    pub sentence: String,
    /// The number in the sentence, if it has one.
    pub number: Option<usize>,
    /// The field of a form that the sentence is about, if it is about one.
    pub field: Option<&'static str>,
}

impl LocalizedMessage {
    /// A sentence without a number.
    pub fn new(name: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { name: name.into(), sentence: sentence.into(), number: None, field: None }
    }

    /// A sentence with a number in it.
    pub fn with_number(name: &str, sentence: String, number: usize) -> Self {
        Self { number: Some(number), ..Self::new(name, sentence) }
    }

    /// Returns the same sentence, about a field of a form.
    pub fn about(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }
}

/// The details of a refusal beyond its code.
#[derive(Debug)]
enum Detail {
    None,
    Reason(Vec<LocalizedMessage>),
    Problems(Vec<Problem>),
    Token(TokenRefusal),
    Scope(Cow<'static, str>),
    MaxAge(u64),
    Wait(Duration),
}

/// The reason why a token of any kind is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRefusal {
    /// The stable name of the reason, in snake case.
    pub reason: &'static str,
    /// The reason, for people.
    pub sentence: &'static str,
}

impl TokenRefusal {
    /// An API token that was cut off or mistyped.
    pub const API_TOKEN_MALFORMED: Self = Self {
        reason: "api_token_malformed",
        sentence: "this is not an API token, or it was cut off or mistyped (Tessera's begin with tsr_)",
    };
    /// An API token that does not exist.
    pub const API_TOKEN_UNKNOWN: Self = Self {
        reason: "api_token_unknown",
        sentence: "there is no such API token: it was deleted, or another server issued it",
    };
    /// An API token that has expired.
    pub const API_TOKEN_EXPIRED: Self =
        Self { reason: "api_token_expired", sentence: "the API token has expired" };
    /// A token of any kind whose user's address is not verified, if `REQUIRE_VERIFICATION` is on.
    pub const USER_NOT_VERIFIED: Self = Self {
        reason: "user_not_verified",
        sentence: "the e-mail address of the user is not verified, and this server requires that",
    };
    /// The secret of a client, where a token is expected.
    pub const CLIENT_SECRET: Self = Self {
        reason: "client_secret",
        sentence: "this is the secret of an application (tsr_cs_), not a token: the application sends it only to /oauth2/token",
    };
    /// The refresh token of a client, where an access token or an API token is expected.
    pub const CLIENT_REFRESH_TOKEN: Self = Self {
        reason: "client_refresh_token",
        sentence: "this is the refresh token of an application (tsr_gr_): the application sends it only to /oauth2/token",
    };
    /// The refusals of API tokens and of users. The refusals of JWTs are in [`Refusal::ALL`].
    pub const OF_API_TOKENS: [Self; 6] = [
        Self::API_TOKEN_MALFORMED,
        Self::API_TOKEN_UNKNOWN,
        Self::API_TOKEN_EXPIRED,
        Self::USER_NOT_VERIFIED,
        Self::CLIENT_SECRET,
        Self::CLIENT_REFRESH_TOKEN,
    ];
}

impl From<Refusal> for TokenRefusal {
    fn from(refusal: Refusal) -> Self {
        Self { reason: refusal.reason(), sentence: refusal.sentence() }
    }
}

/// A refusal of a request, or a fault of the server.
#[derive(Debug)]
pub struct Error {
    code: Code,
    detail: Detail,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    face: Face,
}

/// The shape of an error's answer to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// Tessera's own shape, which is that of FastAPI Users.
    Rest,
    /// The shape of OAuth (RFC 6749, section 5.2).
    Oauth,
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self { code, detail: Detail::None, cause: None, face: Face::Rest }
    }
}

impl Error {
    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Makes a refusal with its own sentence, which programs read and no page shows.
    pub fn with_reason(code: Code, reason: impl Into<String>) -> Self {
        Self::with_messages(code, vec![LocalizedMessage::new("", reason)])
    }

    /// Makes a refusal with its own sentences.
    pub fn with_messages(code: Code, messages: Vec<LocalizedMessage>) -> Self {
        Self { detail: Detail::Reason(messages), ..code.into() }
    }

    /// The refusal's own sentences.
    pub fn messages(&self) -> &[LocalizedMessage] {
        match &self.detail {
            Detail::Reason(messages) => messages,
            _ => &[],
        }
    }

    /// Makes a refusal of a token.
    pub fn token(code: Code, refusal: impl Into<TokenRefusal>) -> Self {
        Self { detail: Detail::Token(refusal.into()), ..code.into() }
    }

    /// Makes the refusal of a token that lacks a scope which its owner has.
    pub fn scope(scope: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Detail::Scope(scope.into()), ..Code::InsufficientScope.into() }
    }

    /// Makes the refusal of a caller who proved who they are more than `max_age` seconds ago.
    pub fn not_fresh(max_age: u64) -> Self {
        Self { detail: Detail::MaxAge(max_age), ..Code::FreshTokenRequired.into() }
    }

    /// Makes the refusal of a session that can act on other accounts only within `max_age` seconds after its password
    /// was given.
    pub fn fresh_proof(max_age: u64) -> Self {
        Self { detail: Detail::MaxAge(max_age), ..Code::FreshProofRequired.into() }
    }

    /// Makes the refusal of a request with these errors.
    pub fn unprocessable(problems: Vec<Problem>) -> Self {
        Self { detail: Detail::Problems(problems), ..Code::UnprocessableContent.into() }
    }

    /// Makes the refusal of an invalid parameter of the query.
    pub fn query(name: &str, message: impl Into<String>) -> Self {
        Self::part("query", name, message.into())
    }

    /// Makes the refusal of an invalid field of the body.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        Self::part("body", name, message.into())
    }

    fn part(part: &'static str, name: &str, message: String) -> Self {
        let location = vec![name.into()];
        Self::unprocessable(vec![Problem { kind: "value_error", part, location, message }])
    }

    /// Returns the same error with another face.
    pub(crate) fn with_face(self, face: Face) -> Self {
        Self { face, ..self }
    }

    /// The time to wait before the next attempt, if it is known.
    pub fn wait(&self) -> Option<Duration> {
        match self.detail {
            Detail::Wait(wait) => Some(wait),
            _ => None,
        }
    }

    /// Makes the refusal of too many attempts.
    pub fn try_again_after(wait: Duration) -> Self {
        Self { detail: Detail::Wait(wait), ..Code::TooManyAttempts.into() }
    }

    /// Makes the refusal of a server that has no room now.
    pub fn busy(wait: Duration) -> Self {
        Self { detail: Detail::Wait(wait), ..Code::ServiceBusy.into() }
    }

    /// Makes an error with a cause that is only written to the log.
    pub fn because(code: Code, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..code.into() }
    }

    /// The answer to a program.
    pub(crate) fn response(&self) -> Response {
        self.response_with(self.face)
    }

    /// The answer to a program, with this face.
    pub(crate) fn response_with(&self, face: Face) -> Response {
        match face {
            Face::Rest => rest::response(self),
            Face::Oauth => oauth::response(self),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.response()
    }
}

/// The cause of a failed request. The answer carries it to the layer that logs it.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) Arc<str>);

impl From<Error> for poem::Error {
    fn from(error: Error) -> Self {
        // The framework keeps the data of its errors, but not the extensions of their responses.
        let response = error.response();
        let cause = response.extensions().get::<Cause>().cloned();
        let mut carrier = poem::Error::from_response(response);
        if let Some(cause) = cause {
            carrier.set_data(cause);
        }
        carrier.set_data(Arc::new(error));
        carrier
    }
}

/// Documents no responses: `http/openapi.rs` adds the refusals of each operation from one table.
impl ApiResponse for Error {
    fn meta() -> MetaResponses {
        MetaResponses { responses: Vec::new() }
    }

    fn register(_: &mut Registry) {}
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.detail, &self.cause) {
            (_, Some(cause)) => write!(formatter, "{} ({cause})", self.code.sentence()),
            (Detail::Reason(messages), _) => formatter.write_str(&joined(messages)),
            _ => formatter.write_str(self.code.sentence()),
        }
    }
}

impl StdError for Error {}

fn joined(messages: &[LocalizedMessage]) -> String {
    messages.iter().map(|message| message.sentence.as_str()).collect::<Vec<_>>().join(" ")
}

/// An unreachable database, or one that cannot be written, makes the server unavailable. A row that cannot be read is a
/// fault of the server.
impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        away::note(&error);
        let code = match away::is_away(&error) {
            true => Code::ServiceUnavailable,
            false => Code::InternalServerError,
        };
        Error::because(code, error)
    }
}

/// Converts the refusals of a guard, so that they have the same codes.
impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoToken => Code::Unauthorized.into(),
            Denied::Scope(_) => Code::Forbidden.into(),
            Denied::Refused(refusal) => Error::token(Code::Unauthorized, refusal),
            Denied::NotFresh { .. } => Code::FreshTokenRequired.into(),
            Denied::Unavailable => Code::ServiceUnavailable.into(),
            _ => Code::Unauthorized.into(),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Error::because(Code::InternalServerError, error)
    }
}
