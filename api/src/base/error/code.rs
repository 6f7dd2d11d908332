//! The one table of codes: status, name on the wire, sentence for people.

use poem::http::StatusCode;
use serde_json::Value;
use strum::VariantArray;

use super::{Error, Face, Problem, oauth, rest};

/// What callers tell one refusal from another by. Never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
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
    /// What a mail brought does not verify its address.
    VerifyUserBadToken,
    /// The address was verified by this before.
    VerifyUserAlreadyVerified,
    /// What a mail brought does not set another password.
    ResetPasswordBadToken,
    /// The password that is to be set breaks a rule.
    ResetPasswordInvalidPassword,
    /// What a mail brought takes no address back.
    RestoreEmailBadToken,
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
    /// A session whose password was given too long ago for an act on others.
    FreshProofRequired,
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
    /// Nobody else could do what superusers may.
    LastSuperuser,
    /// Whoever had the former address may still take the account back.
    EmailChangePending,
    /// A request with a cookie that a page of somebody else may have sent.
    CsrfTokenMismatch,
    /// A request that OAuth does not know (RFC 6749, section 5.2).
    InvalidRequest,
    /// A request that does not name its host, or names several.
    HostInvalid,
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
    /// It was tried too often.
    TooManyAttempts,
    /// Nothing went wrong but the number of requests.
    ServiceBusy,
    /// Something that is needed does not answer.
    ServiceUnavailable,
    /// A fault of ours.
    InternalServerError,
}

impl Code {
    /// Every code.
    pub const ALL: &[Code] = Code::VARIANTS;

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
            Code::VerifyUserBadToken => (
                S::BAD_REQUEST,
                "VERIFY_USER_BAD_TOKEN",
                "This does not verify the address: it has expired, was used, or another was sent since.",
            ),
            Code::VerifyUserAlreadyVerified => {
                (S::BAD_REQUEST, "VERIFY_USER_ALREADY_VERIFIED", "The address is verified already.")
            }
            Code::ResetPasswordBadToken => (
                S::BAD_REQUEST,
                "RESET_PASSWORD_BAD_TOKEN",
                "This sets no password: it has expired, was used, or another was sent since.",
            ),
            Code::ResetPasswordInvalidPassword => (
                S::BAD_REQUEST,
                "RESET_PASSWORD_INVALID_PASSWORD",
                "The password breaks a rule; `reason` says which. The token is still good.",
            ),
            Code::RestoreEmailBadToken => (
                S::BAD_REQUEST,
                "RESTORE_EMAIL_BAD_TOKEN",
                "This takes no address back: it has expired, or was used.",
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
            // The same name as the 401 of one's own account. Front ends answer a 401 by refreshing, which would not help.
            Code::FreshProofRequired => (
                S::FORBIDDEN,
                "FRESH_TOKEN_REQUIRED",
                "A session may do this to others only soon after its password was given: give it to \
                 `/auth/jwt/fresh`, or use an API token with the scope `super`.",
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
            Code::LastSuperuser => (
                S::CONFLICT,
                "LAST_SUPERUSER",
                "Nobody else may sign in as a superuser: make another one first.",
            ),
            Code::EmailChangePending => (
                S::CONFLICT,
                "EMAIL_CHANGE_PENDING",
                "The address was changed within 72 hours, and its former holder may take the account back: \
                 delete it then, or ask a superuser.",
            ),
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
            Code::HostInvalid => (
                S::BAD_REQUEST,
                "HOST_INVALID",
                "A request must have exactly one `Host` header, which must be a host with or without a \
                 port, and a target that names a host must name the same.",
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
            Code::TooManyAttempts => (
                S::TOO_MANY_REQUESTS,
                "TOO_MANY_ATTEMPTS",
                "This was tried too often: try again after `Retry-After` seconds.",
            ),
            Code::ServiceBusy => (
                S::SERVICE_UNAVAILABLE,
                "SERVICE_BUSY",
                "Too many passwords are being checked, or too many exports run: try again after `Retry-After` seconds.",
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
    pub(crate) fn example(self, face: Face) -> Value {
        let error = match self {
            Code::RegisterInvalidPassword
            | Code::UpdateUserInvalidPassword
            | Code::ResetPasswordInvalidPassword => {
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
        match face {
            Face::Rest => rest::body(&error),
            Face::Oauth => oauth::body(&error),
        }
    }
}
