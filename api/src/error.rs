//! What can go wrong, said once: stable code, status, public sentence, private cause.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponses, Registry};
use sea_orm::{DbErr, RuntimeErr, sqlx};
use serde_json::{Value, json};
use tessera_verify::{Denied, KeyError, Refusal};

/// The result of a rule.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What callers tell one refusal from another by. Never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Somebody has registered this address.
    RegisterUserAlreadyExists,
    /// The password of a registration breaks a rule.
    RegisterInvalidPassword,
    /// People may not register themselves here.
    RegistrationClosed,
    /// Unknown user, wrong password or inactive user.
    LoginBadCredentials,
    /// The right password of a user whose address is not verified.
    LoginUserNotVerified,
    /// The address a user wants is another user's.
    UpdateUserEmailAlreadyExists,
    /// The password a user wants breaks a rule.
    UpdateUserInvalidPassword,
    /// No token, or one that is not accepted.
    Unauthorized,
    /// The token was not issued for a password.
    FreshTokenRequired,
    /// Not a refresh token of ours.
    RefreshTokenInvalid,
    /// A refresh token whose time is over.
    RefreshTokenExpired,
    /// A refresh token that was spent before.
    RefreshTokenReused,
    /// A refresh token of a session that ended.
    SessionEnded,
    /// A known caller who may not.
    Forbidden,
    /// A token that may less than its owner, and not this.
    InsufficientScope,
    /// The secret of an API token is another's.
    ApiTokenAlreadyExists,
    /// An API token for somebody there is none of.
    ApiTokenUserUnknown,
    /// An API token that would be allowed more than its owner.
    ApiTokenInvalidScopes,
    /// More API tokens than anybody has a use for.
    ApiTokenLimitReached,
    /// Which API tokens to delete was not said.
    ApiTokenNotNamed,
    /// A service with this name exists.
    ServiceAlreadyExists,
    /// The key is the one that signs.
    KeyInUse,
    /// A request with a cookie that a page of somebody else may have sent.
    CsrfTokenMismatch,
    /// A request that OAuth does not know (RFC 6749, section 5.2).
    InvalidRequest,
    /// Nothing is here.
    NotFound,
    /// Something is here, but not for this method.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body is too large.
    ContentTooLarge,
    /// The body is of a type that is not read here.
    UnsupportedMediaType,
    /// The body is of the right type and says what cannot be.
    UnprocessableContent,
    /// Nothing went wrong but the number of requests.
    ServiceBusy,
    /// Something that is needed does not answer.
    ServiceUnavailable,
    /// A fault of ours.
    InternalServerError,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 33] = [
        Code::RegisterUserAlreadyExists,
        Code::RegisterInvalidPassword,
        Code::RegistrationClosed,
        Code::LoginBadCredentials,
        Code::LoginUserNotVerified,
        Code::UpdateUserEmailAlreadyExists,
        Code::UpdateUserInvalidPassword,
        Code::Unauthorized,
        Code::FreshTokenRequired,
        Code::RefreshTokenInvalid,
        Code::RefreshTokenExpired,
        Code::RefreshTokenReused,
        Code::SessionEnded,
        Code::Forbidden,
        Code::InsufficientScope,
        Code::ApiTokenAlreadyExists,
        Code::ApiTokenUserUnknown,
        Code::ApiTokenInvalidScopes,
        Code::ApiTokenLimitReached,
        Code::ApiTokenNotNamed,
        Code::ServiceAlreadyExists,
        Code::KeyInUse,
        Code::CsrfTokenMismatch,
        Code::InvalidRequest,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::RequestTimeout,
        Code::ContentTooLarge,
        Code::UnsupportedMediaType,
        Code::UnprocessableContent,
        Code::ServiceBusy,
        Code::ServiceUnavailable,
        Code::InternalServerError,
    ];

    /// The one table: status, name on the wire, sentence for people.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Code::RegisterUserAlreadyExists => (
                S::BAD_REQUEST,
                "REGISTER_USER_ALREADY_EXISTS",
                "A user with this e-mail address exists. Addresses are compared without case.",
            ),
            Code::RegisterInvalidPassword => (
                S::BAD_REQUEST,
                "REGISTER_INVALID_PASSWORD",
                "The password breaks a rule; `reason` says which.",
            ),
            Code::RegistrationClosed => (
                S::FORBIDDEN,
                "REGISTRATION_CLOSED",
                "People cannot register themselves here; an operator makes users.",
            ),
            Code::LoginBadCredentials => (
                S::BAD_REQUEST,
                "LOGIN_BAD_CREDENTIALS",
                "Unknown user, wrong password or inactive user: which, is not said.",
            ),
            Code::LoginUserNotVerified => (
                S::BAD_REQUEST,
                "LOGIN_USER_NOT_VERIFIED",
                "The password is right, but the e-mail address is not verified yet.",
            ),
            Code::UpdateUserEmailAlreadyExists => (
                S::BAD_REQUEST,
                "UPDATE_USER_EMAIL_ALREADY_EXISTS",
                "Another user has this e-mail address.",
            ),
            Code::UpdateUserInvalidPassword => (
                S::BAD_REQUEST,
                "UPDATE_USER_INVALID_PASSWORD",
                "The password breaks a rule; `reason` says which.",
            ),
            Code::Unauthorized => (
                S::UNAUTHORIZED,
                "Unauthorized",
                "No token, or one that is not accepted; `WWW-Authenticate` says why.",
            ),
            Code::FreshTokenRequired => (
                S::UNAUTHORIZED,
                "FRESH_TOKEN_REQUIRED",
                "This wants an access token that was issued for a password: see `/auth/jwt/fresh`.",
            ),
            Code::RefreshTokenInvalid => (
                S::UNAUTHORIZED,
                "REFRESH_TOKEN_INVALID",
                "No refresh token of this service; `WWW-Authenticate` says why.",
            ),
            Code::RefreshTokenExpired => (
                S::UNAUTHORIZED,
                "REFRESH_TOKEN_EXPIRED",
                "The refresh token has expired: sign in again.",
            ),
            Code::RefreshTokenReused => (
                S::UNAUTHORIZED,
                "REFRESH_TOKEN_REUSED",
                "The refresh token was spent before. Two parties hold it, so its session ended.",
            ),
            Code::SessionEnded => (
                S::UNAUTHORIZED,
                "SESSION_ENDED",
                "The session ended: signed out, password changed or user inactive. Sign in again.",
            ),
            Code::Forbidden => (
                S::FORBIDDEN,
                "Forbidden",
                "The caller is known, and may not: this is for superusers, or wants a scope.",
            ),
            Code::InsufficientScope => (
                S::FORBIDDEN,
                "INSUFFICIENT_SCOPE",
                "The API token lacks a scope that its owner has; `WWW-Authenticate` says which.",
            ),
            Code::ApiTokenAlreadyExists => (
                S::CONFLICT,
                "API_TOKEN_ALREADY_EXISTS",
                "This secret is another user's or service's.",
            ),
            Code::ApiTokenUserUnknown => (
                S::BAD_REQUEST,
                "API_TOKEN_USER_UNKNOWN",
                "There is no user with this address, and no service with this name.",
            ),
            Code::ApiTokenInvalidScopes => (
                S::BAD_REQUEST,
                "API_TOKEN_INVALID_SCOPES",
                "The owner does not have what the token should be allowed; `reason` says what.",
            ),
            Code::ApiTokenLimitReached => (
                S::BAD_REQUEST,
                "API_TOKEN_LIMIT_REACHED",
                "There are 100 API tokens of this owner: delete one that nobody uses.",
            ),
            Code::ApiTokenNotNamed => (
                S::BAD_REQUEST,
                "Cannot delete, either username or token must be provided",
                "Say whose API tokens to delete, or which one.",
            ),
            Code::ServiceAlreadyExists => {
                (S::CONFLICT, "SERVICE_ALREADY_EXISTS", "A service with this name exists.")
            }
            Code::KeyInUse => (
                S::CONFLICT,
                "KEY_IN_USE",
                "This key signs: make another that signs at once first, with `now`.",
            ),
            Code::CsrfTokenMismatch => (
                S::FORBIDDEN,
                "CSRF_TOKEN_MISMATCH",
                "A cookie without the `X-CSRF-Token` that belongs to it, or another site's page.",
            ),
            Code::InvalidRequest => (
                S::BAD_REQUEST,
                "invalid_request",
                "Not a request of OAuth: a parameter is missing, given twice or of the wrong type.",
            ),
            Code::NotFound => (S::NOT_FOUND, "Not Found", "Nothing is here."),
            Code::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "Method Not Allowed",
                "Something is here, but not for this method; `Allow` says for which.",
            ),
            Code::RequestTimeout => {
                (S::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "The body did not arrive in time.")
            }
            Code::ContentTooLarge => {
                (S::PAYLOAD_TOO_LARGE, "CONTENT_TOO_LARGE", "The body is larger than 65536 bytes.")
            }
            Code::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "The `Content-Type` of the body is missing, or neither JSON nor a form.",
            ),
            Code::UnprocessableContent => (
                S::UNPROCESSABLE_ENTITY,
                "UNPROCESSABLE_CONTENT",
                "A field is missing or cannot be; each item says which and why.",
            ),
            Code::ServiceBusy => (
                S::SERVICE_UNAVAILABLE,
                "SERVICE_BUSY",
                "Too many passwords are being checked: try again after `Retry-After` seconds.",
            ),
            Code::ServiceUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "SERVICE_UNAVAILABLE",
                "The service cannot answer now: try again after `Retry-After` seconds.",
            ),
            Code::InternalServerError => (
                S::INTERNAL_SERVER_ERROR,
                "INTERNAL_SERVER_ERROR",
                "A fault of this service. The log has its cause under the `X-Request-Id`.",
            ),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// A sentence for people.
    pub const fn sentence(self) -> &'static str {
        self.row().2
    }

    /// What the body looks like, for the documents.
    pub fn example(self) -> Value {
        let error = match self {
            Code::RegisterInvalidPassword | Code::UpdateUserInvalidPassword => {
                Error::with_reason(self, "Password should be at least 8 characters")
            }
            Code::ApiTokenInvalidScopes => {
                Error::with_reason(self, "first@user.com does not have the scope super")
            }
            Code::UnprocessableContent => {
                Error::unprocessable(vec![Problem::missing(vec!["password".into()])])
            }
            _ => Error::from(self),
        };
        error.body()
    }
}

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

/// What a refusal says beyond its code.
#[derive(Debug)]
enum Detail {
    None,
    Reason(String),
    Problems(Vec<Problem>),
    Token(TokenRefusal),
    Scope(&'static str),
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
    /// The refusals of API tokens; those of JWTs are [`Refusal::ALL`].
    pub const OF_API_TOKENS: [Self; 3] =
        [Self::API_TOKEN_MALFORMED, Self::API_TOKEN_UNKNOWN, Self::API_TOKEN_EXPIRED];
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
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self { code, detail: Detail::None, cause: None }
    }
}

impl Error {
    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// A refusal with a sentence of its own.
    pub fn with_reason(code: Code, reason: impl Into<String>) -> Self {
        Self { detail: Detail::Reason(reason.into()), ..code.into() }
    }

    /// A refusal of a token.
    pub fn token(code: Code, refusal: impl Into<TokenRefusal>) -> Self {
        Self { detail: Detail::Token(refusal.into()), ..code.into() }
    }

    /// A token that lacks a scope which its owner has.
    pub fn scope(scope: &'static str) -> Self {
        Self { detail: Detail::Scope(scope), ..Code::InsufficientScope.into() }
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

    /// A refusal with a cause that only the log is told.
    pub fn because(code: Code, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..code.into() }
    }

    fn body(&self) -> Value {
        let name = self.code.name();
        // OAuth has a shape of its own (RFC 6749, section 5.2).
        if self.code == Code::InvalidRequest {
            return json!({ "error": name, "error_description": self.code.sentence() });
        }
        match &self.detail {
            Detail::None | Detail::Token(_) | Detail::Scope(_) => json!({ "detail": name }),
            Detail::Reason(reason) => json!({ "detail": { "code": name, "reason": reason } }),
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

    /// RFC 6750, section 3: no `error` where no token was presented.
    fn challenge(&self) -> HeaderValue {
        let (error, description, reason) = match &self.detail {
            Detail::Token(TokenRefusal { reason, sentence }) => {
                ("invalid_token", (*sentence).to_owned(), Some(*reason))
            }
            Detail::Scope(scope) => {
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
                return HeaderValue::try_from(challenge)
                    .unwrap_or(HeaderValue::from_static("Bearer"));
            }
            // No token was presented.
            Detail::None
                if [Code::Unauthorized, Code::RefreshTokenInvalid].contains(&self.code) =>
            {
                return HeaderValue::from_static("Bearer");
            }
            // RFC 9470, section 3: another token of the same kind would not do.
            _ if self.code == Code::FreshTokenRequired => {
                ("insufficient_user_authentication", self.code.sentence().replace('`', "'"), None)
            }
            _ => ("invalid_token", self.code.sentence().replace('`', "'"), None),
        };
        let reason = reason.map(|reason| format!(", reason=\"{reason}\"")).unwrap_or_default();
        HeaderValue::try_from(format!(
            "Bearer error=\"{error}\", error_description=\"{description}\"{reason}"
        ))
        .unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let mut response = Response::builder()
            .status(status)
            .content_type("application/json")
            .body(self.body().to_string());
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED || self.code == Code::InsufficientScope {
            headers.insert(header::WWW_AUTHENTICATE, self.challenge());
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(cause) = &self.cause {
            response.extensions_mut().insert(Cause(cause.to_string().into()));
        }
        response
    }
}

/// Why a request failed: the answer takes it along to the one place that logs it.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) Arc<str>);

impl From<Error> for poem::Error {
    fn from(error: Error) -> Self {
        poem::Error::from_response(error.into_response())
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
            (Detail::Reason(reason), _) => formatter.write_str(reason),
            _ => formatter.write_str(self.code.sentence()),
        }
    }
}

impl StdError for Error {}

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
            Denied::NotFresh => Code::FreshTokenRequired.into(),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Error::because(Code::InternalServerError, error)
    }
}
