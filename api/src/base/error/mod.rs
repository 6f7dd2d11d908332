//! What can go wrong, said once: stable code, status, public sentence, private cause.
//!
//! A refusal has several faces, and the route chooses: `rest` for programs, `oauth` for those that know RFC 6749 alone,
//! `page` for people, and [`redirect`] for what is answered by way of a browser.

mod code;
mod oauth;
pub(crate) mod page;
pub mod redirect;
mod rest;

pub use code::Code;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponses, Registry};
use sea_orm::{DbErr, RuntimeErr, sqlx};
use serde_json::Value;
use tessera_verify::{Denied, KeyError, Refusal};

/// The result of a rule.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that is wrong with a body, as FastAPI says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of fault.
    pub kind: &'static str,
    /// Which part of the request: `body` or `query`.
    pub part: &'static str,
    /// Where in it.
    pub location: Vec<Value>,
    /// What is wrong, for people.
    pub message: String,
}

impl Problem {
    /// A field that must be there is not.
    pub fn missing(location: Vec<Value>) -> Self {
        Self { kind: "missing", part: "body", location, message: "Field required".to_owned() }
    }
}

/// A sentence for people, and what its translations are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalizedMessage {
    /// The name of its translations.
    pub name: String,
    /// The sentence, in English.
    pub sentence: String,
    /// The number in it, where there is one.
    pub number: Option<usize>,
    /// The field of a form that it is about, where it is about one.
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

    /// The same, about a field of a form.
    pub fn about(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }
}

/// What a refusal says beyond its code.
#[derive(Debug)]
enum Detail {
    None,
    Reason(Vec<LocalizedMessage>),
    Problems(Vec<Problem>),
    Token(TokenRefusal),
    Scope(&'static str),
    MaxAge(u64),
    Wait(Duration),
}

/// Why a token of any kind is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRefusal {
    /// The stable name of the reason, in snake case.
    pub reason: &'static str,
    /// The reason, for people.
    pub sentence: &'static str,
}

impl TokenRefusal {
    /// An API token that was cut off or mistyped.
    pub const API_TOKEN_MALFORMED: Self =
        Self { reason: "api_token_malformed", sentence: "no API token looks like this" };
    /// An API token that there is none of.
    pub const API_TOKEN_UNKNOWN: Self = Self {
        reason: "api_token_unknown",
        sentence: "there is no such API token: it was deleted, or is another service's",
    };
    /// An API token whose time is over.
    pub const API_TOKEN_EXPIRED: Self =
        Self { reason: "api_token_expired", sentence: "the API token has expired" };
    /// A token of either kind whose user has an address that is not verified, if `REQUIRE_VERIFICATION` is on.
    pub const USER_NOT_VERIFIED: Self = Self {
        reason: "user_not_verified",
        sentence: "the address of the user is not verified, and this service requires that",
    };
    /// The refusals of API tokens and of users; those of JWTs are [`Refusal::ALL`].
    pub const OF_API_TOKENS: [Self; 4] = [
        Self::API_TOKEN_MALFORMED,
        Self::API_TOKEN_UNKNOWN,
        Self::API_TOKEN_EXPIRED,
        Self::USER_NOT_VERIFIED,
    ];
}

impl From<Refusal> for TokenRefusal {
    fn from(refusal: Refusal) -> Self {
        Self { reason: refusal.reason(), sentence: refusal.sentence() }
    }
}

/// A refusal, or a fault.
#[derive(Debug)]
pub struct Error {
    code: Code,
    detail: Detail,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    face: Face,
}

/// The shape of the answer that programs are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// Ours, which FastAPI Users has too.
    Rest,
    /// That of OAuth (RFC 6749, section 5.2).
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

    /// A refusal with a sentence of its own, which programs read and no page shows.
    pub fn with_reason(code: Code, reason: impl Into<String>) -> Self {
        Self::with_messages(code, vec![LocalizedMessage::new("", reason)])
    }

    /// A refusal with sentences of its own.
    pub fn with_messages(code: Code, messages: Vec<LocalizedMessage>) -> Self {
        Self { detail: Detail::Reason(messages), ..code.into() }
    }

    /// The sentences that it has of its own.
    pub fn messages(&self) -> &[LocalizedMessage] {
        match &self.detail {
            Detail::Reason(messages) => messages,
            _ => &[],
        }
    }

    /// A refusal of a token.
    pub fn token(code: Code, refusal: impl Into<TokenRefusal>) -> Self {
        Self { detail: Detail::Token(refusal.into()), ..code.into() }
    }

    /// A token that lacks a scope which its owner has.
    pub fn scope(scope: &'static str) -> Self {
        Self { detail: Detail::Scope(scope), ..Code::InsufficientScope.into() }
    }

    /// A session that may act on others only within so many seconds after its password was given.
    pub fn fresh_proof(max_age: u64) -> Self {
        Self { detail: Detail::MaxAge(max_age), ..Code::FreshProofRequired.into() }
    }

    /// A body that says what cannot be.
    pub fn unprocessable(problems: Vec<Problem>) -> Self {
        Self { detail: Detail::Problems(problems), ..Code::UnprocessableContent.into() }
    }

    /// A parameter of the query that cannot be.
    pub fn query(name: &str, message: impl Into<String>) -> Self {
        Self::part("query", name, message.into())
    }

    /// A field of the body that cannot be.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        Self::part("body", name, message.into())
    }

    fn part(part: &'static str, name: &str, message: String) -> Self {
        let location = vec![name.into()];
        Self::unprocessable(vec![Problem { kind: "value_error", part, location, message }])
    }

    /// The same with another face.
    pub(crate) fn with_face(self, face: Face) -> Self {
        Self { face, ..self }
    }

    /// How long to wait before it is tried again, where that is known.
    pub fn wait(&self) -> Option<Duration> {
        match self.detail {
            Detail::Wait(wait) => Some(wait),
            _ => None,
        }
    }

    /// Something that was tried too often.
    pub fn try_again_after(wait: Duration) -> Self {
        Self { detail: Detail::Wait(wait), ..Code::TooManyAttempts.into() }
    }

    /// A refusal with a cause that only the log is told.
    pub fn because(code: Code, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..code.into() }
    }

    /// The answer that programs are given.
    pub(crate) fn response(&self) -> Response {
        match self.face {
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

/// Why a request failed: the answer takes it along to the one place that logs it.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) Arc<str>);

impl From<Error> for poem::Error {
    fn from(error: Error) -> Self {
        // The framework keeps what its errors carry, not what their responses do.
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

/// The refusals of each operation are documented from one table, in `http/openapi.rs`.
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

/// A database that does not answer is nobody's fault here; a row that cannot be read is ours.
impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        let unavailable = match &error {
            DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => true,
            DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => is_away(error),
            _ => false,
        };
        let code = if unavailable { Code::ServiceUnavailable } else { Code::InternalServerError };
        Error::because(code, error)
    }
}

/// Whether a statement failed because the database is away, busy, full or going down, and may do
/// well another time.
fn is_away(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(fault) = error else {
        return !matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
    };
    let code = fault.code().unwrap_or_default();
    if code.len() == 5 {
        // Classes of PostgreSQL, and a transaction that idled for too long.
        let classes = ["08", "40", "53", "55", "57", "58"];
        return code == "25P03" || classes.iter().any(|class| code.starts_with(class));
    }
    // SQLite's BUSY, LOCKED, IOERR, FULL and CANTOPEN, with whatever they are extended by.
    code.parse::<u32>().is_ok_and(|code| [5, 6, 10, 13, 14].contains(&(code & 0xff)))
}

/// What a guard asks is asked of callers in the same words.
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
