//! The table of error codes: status, name on the wire, sentence for people.

use poem::http::StatusCode;
use serde_json::Value;
use strum::VariantArray;

use super::{Error, Face, Problem, oauth, rest};

/// A stable code by which callers distinguish refusals. A code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Code {
    /// A user with this address exists.
    RegisterUserAlreadyExists,
    /// The password of a registration breaks a rule.
    RegisterInvalidPassword,
    /// Users cannot register themselves.
    RegistrationClosed,
    /// No mail is sent, because no mail server is set up.
    MailNotSetUp,
    /// Only people who were invited can register.
    RegistrationByInvitation,
    /// The token of an invitation makes no account.
    InvitationBadToken,
    /// The address has an invitation.
    InvitationAlreadyExists,
    /// The text is no cursor of the revocation feed.
    RevocationCursorInvalid,
    /// The revocation feed does not continue after a cursor.
    RevocationCursorGone,
    /// The user is unknown or inactive, or the password is wrong.
    LoginBadCredentials,
    /// The password is right, but the user's address is not verified.
    LoginUserNotVerified,
    /// The user must sign in with the provider that they are linked to.
    LoginWithProvider,
    /// The state of a sign-in with a provider belongs to something else.
    OauthInvalidState,
    /// The state of a sign-in with a provider cannot be read.
    AccessTokenDecodeError,
    /// The state of a sign-in with a provider has expired.
    AccessTokenAlreadyExpired,
    /// The person declined at the provider.
    OauthAccessDenied,
    /// The provider says no address.
    OauthNotAvailableEmail,
    /// An account that is not linked has the address, or the identity is linked to another account.
    OauthUserAlreadyExists,
    /// The provider does not answer, or its answer cannot be used.
    OauthUpstreamError,
    /// The user could not sign in any more.
    LastWayIn,
    /// The token or code of a mail does not verify the address.
    VerifyUserBadToken,
    /// The address is already verified.
    VerifyUserAlreadyVerified,
    /// The token or code of a mail does not set a new password.
    ResetPasswordBadToken,
    /// The new password that is set by a mail breaks a rule.
    ResetPasswordInvalidPassword,
    /// The token of a mail does not restore a previous address.
    RestoreEmailBadToken,
    /// Another user has the new address.
    UpdateUserEmailAlreadyExists,
    /// The new password of a user breaks a rule.
    UpdateUserInvalidPassword,
    /// The token is missing or is not accepted.
    Unauthorized,
    /// The token was not issued in exchange for a password, or was issued too long ago.
    FreshTokenRequired,
    /// The refresh token is missing or was not issued by this server.
    RefreshTokenInvalid,
    /// The refresh token has expired.
    RefreshTokenExpired,
    /// The refresh token was used before.
    RefreshTokenReused,
    /// The session of the refresh token has ended.
    SessionEnded,
    /// The session's password was given too long ago for an action on another account.
    FreshProofRequired,
    /// The caller is known, but may not do this.
    Forbidden,
    /// The API token lacks a scope that its owner has.
    InsufficientScope,
    /// Another account has an API token with this secret.
    ApiTokenAlreadyExists,
    /// The owner of the API token does not exist.
    ApiTokenUserUnknown,
    /// The API token would have a scope that its owner does not have.
    ApiTokenInvalidScopes,
    /// The account has the maximum number of API tokens.
    ApiTokenLimitReached,
    /// The request does not say which API tokens to delete.
    ApiTokenNotNamed,
    /// A service with this name exists.
    ServiceAlreadyExists,
    /// A client with this `client_id` exists.
    ClientAlreadyExists,
    /// `CLIENTS_FILE` declares the client or the resource.
    DeclaredInFile,
    /// A resource with this URI exists.
    ResourceAlreadyExists,
    /// The key signs tokens.
    KeyInUse,
    /// No other superuser could sign in.
    LastSuperuser,
    /// The owner of the previous address can still take the account back.
    EmailChangePending,
    /// A page of another site may have sent this request with a cookie.
    CsrfTokenMismatch,
    /// The request is not valid in OAuth (RFC 6749, section 5.2).
    InvalidRequest,
    /// The service did not authenticate with HTTP Basic (RFC 6749, section 5.2).
    InvalidClient,
    /// The request does not name exactly one host.
    HostInvalid,
    /// The headers about the request that a gateway asks about cannot be read.
    ForwardedRequestInvalid,
    /// There is nothing at this path or with this id.
    NotFound,
    /// The path exists, but not for this method.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body is too large.
    ContentTooLarge,
    /// The operation does not accept bodies of this type.
    UnsupportedMediaType,
    /// The body has the right type, but a field is missing or invalid.
    UnprocessableContent,
    /// There were too many attempts.
    TooManyAttempts,
    /// The server has too much to do, or another change overtook this request.
    ServiceBusy,
    /// A part that the server needs does not answer.
    ServiceUnavailable,
    /// An internal error occurred.
    InternalServerError,
}

impl Code {
    /// Every code.
    pub const ALL: &[Code] = Code::VARIANTS;

    /// The status, the name on the wire and the sentence for people of this code.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Code::RegisterUserAlreadyExists => (
                S::BAD_REQUEST,
                "REGISTER_USER_ALREADY_EXISTS",
                "A user with this e-mail address already exists (upper and lower case make no difference). \
                 Sign in, or ask for a new password.",
            ),
            Code::RegisterInvalidPassword => (
                S::BAD_REQUEST,
                "REGISTER_INVALID_PASSWORD",
                "The password breaks a rule, which `reason` describes. Choose another password.",
            ),
            Code::RegistrationClosed => (
                S::FORBIDDEN,
                "REGISTRATION_CLOSED",
                "Users cannot register themselves here. Ask an operator for an account.",
            ),
            Code::MailNotSetUp => (
                S::FORBIDDEN,
                "MAIL_NOT_SET_UP",
                "This server sends no mail to anybody, because MAIL_URL is not set. Ask an operator to set \
                 it, or to set a password or verify an address.",
            ),
            Code::RegistrationByInvitation => (
                S::FORBIDDEN,
                "REGISTRATION_BY_INVITATION",
                "Only people who were invited can register here. Ask an administrator for an invitation.",
            ),
            Code::InvitationBadToken => (
                S::BAD_REQUEST,
                "INVITATION_BAD_TOKEN",
                "The token of the invitation is wrong, has expired, was used, was replaced by a later mail, or \
                 was withdrawn. Ask the person who invited you for another invitation.",
            ),
            Code::InvitationAlreadyExists => (
                S::CONFLICT,
                "INVITATION_ALREADY_EXISTS",
                "This e-mail address already has an invitation. Send it again with \
                 `POST /admin/invitations/{id}/resend`, or withdraw it first.",
            ),
            Code::RevocationCursorInvalid => (
                S::BAD_REQUEST,
                "REVOCATION_CURSOR_INVALID",
                "The value of `after` or `Last-Event-ID` is no cursor of the revocation feed. Send a cursor of an \
                 earlier answer as it is, or take a snapshot at `/auth/revocations/snapshot`.",
            ),
            Code::RevocationCursorGone => (
                S::GONE,
                "REVOCATION_CURSOR_GONE",
                "The revocation feed does not continue after this cursor: its rows were deleted, or the database \
                 was restored. Keep all revocations that you know, and take a snapshot at \
                 `/auth/revocations/snapshot`.",
            ),
            Code::LoginBadCredentials => (
                S::BAD_REQUEST,
                "LOGIN_BAD_CREDENTIALS",
                "The user is unknown or inactive, or the password is wrong; the answer does not say which. \
                 Check the address and the password.",
            ),
            Code::LoginUserNotVerified => (
                S::BAD_REQUEST,
                "LOGIN_USER_NOT_VERIFIED",
                "The password is right, but the e-mail address is not verified. Verify it with the mail, or \
                 request another one at `/auth/request-verify-token`.",
            ),
            Code::LoginWithProvider => (
                S::BAD_REQUEST,
                "LOGIN_WITH_PROVIDER",
                "The account belongs to a provider, and its user signs in there alone. Use \
                 `/auth/{provider}/authorize`, or the button on the sign-in page.",
            ),
            Code::OauthInvalidState => (
                S::BAD_REQUEST,
                "OAUTH_INVALID_STATE",
                "The state belongs to another browser, to another purpose or to a sign-in that was completed. \
                 Begin again at `/auth/{provider}/authorize`.",
            ),
            Code::AccessTokenDecodeError => (
                S::BAD_REQUEST,
                "ACCESS_TOKEN_DECODE_ERROR",
                "The state is missing or cannot be read. Begin again at `/auth/{provider}/authorize`.",
            ),
            Code::AccessTokenAlreadyExpired => (
                S::BAD_REQUEST,
                "ACCESS_TOKEN_ALREADY_EXPIRED",
                "The sign-in began more than an hour ago. Begin again at `/auth/{provider}/authorize`.",
            ),
            Code::OauthAccessDenied => (
                S::BAD_REQUEST,
                "OAUTH_ACCESS_DENIED",
                "The person declined at the provider. They can begin again, or sign in otherwise.",
            ),
            Code::OauthNotAvailableEmail => (
                S::BAD_REQUEST,
                "OAUTH_NOT_AVAILABLE_EMAIL",
                "The provider says no e-mail address of the person. Add one there, or use the sign-in page, which \
                 asks for one.",
            ),
            Code::OauthUserAlreadyExists => (
                S::BAD_REQUEST,
                "OAUTH_USER_ALREADY_EXISTS",
                "An account with this e-mail address exists and is not linked, or the identity is linked to another \
                 account. Sign in as before, and link it with `/auth/associate/{provider}/authorize`.",
            ),
            Code::OauthUpstreamError => (
                S::BAD_GATEWAY,
                "OAUTH_UPSTREAM_ERROR",
                "The provider does not answer, or its answer cannot be used. An operator finds the reason with \
                 `tessera upstream explain` and the `X-Request-Id`.",
            ),
            Code::LastWayIn => (
                S::CONFLICT,
                "LAST_WAY_IN",
                "This is the only way to sign in to the account. Add another one first, for example a password.",
            ),
            Code::VerifyUserBadToken => (
                S::BAD_REQUEST,
                "VERIFY_USER_BAD_TOKEN",
                "The token or code is wrong, has expired, was used, or was replaced by a later mail. Request \
                 another mail at `/auth/request-verify-token`.",
            ),
            Code::VerifyUserAlreadyVerified => (
                S::BAD_REQUEST,
                "VERIFY_USER_ALREADY_VERIFIED",
                "The e-mail address is already verified. Nothing more is necessary.",
            ),
            Code::ResetPasswordBadToken => (
                S::BAD_REQUEST,
                "RESET_PASSWORD_BAD_TOKEN",
                "The token or code is wrong, has expired, was used, or was replaced by a later mail. Request \
                 another mail at `/auth/forgot-password`.",
            ),
            Code::ResetPasswordInvalidPassword => (
                S::BAD_REQUEST,
                "RESET_PASSWORD_INVALID_PASSWORD",
                "The password breaks a rule, which `reason` describes. Choose another password: the token is \
                 still valid.",
            ),
            Code::RestoreEmailBadToken => (
                S::BAD_REQUEST,
                "RESTORE_EMAIL_BAD_TOKEN",
                "The token that restores the previous e-mail address is wrong, has expired, was used or was \
                 cancelled. If you still need that address, ask a superuser.",
            ),
            Code::UpdateUserEmailAlreadyExists => (
                S::BAD_REQUEST,
                "UPDATE_USER_EMAIL_ALREADY_EXISTS",
                "Another user has this e-mail address. Choose another address.",
            ),
            Code::UpdateUserInvalidPassword => (
                S::BAD_REQUEST,
                "UPDATE_USER_INVALID_PASSWORD",
                "The password breaks a rule, which `reason` describes. Choose another password.",
            ),
            Code::Unauthorized => (
                S::UNAUTHORIZED,
                "Unauthorized",
                "The token is missing or is not accepted; `WWW-Authenticate` says why. Refresh the session or \
                 sign in again.",
            ),
            Code::FreshTokenRequired => (
                S::UNAUTHORIZED,
                "FRESH_TOKEN_REQUIRED",
                "This requires a fresh token: one that was issued in exchange for a password a short time ago. \
                 Send the password to `/auth/jwt/fresh`, and repeat the request with the new token.",
            ),
            Code::RefreshTokenInvalid => (
                S::UNAUTHORIZED,
                "REFRESH_TOKEN_INVALID",
                "The refresh token is missing or was not issued by this server; `WWW-Authenticate` says why. \
                 Sign in again.",
            ),
            Code::RefreshTokenExpired => (
                S::UNAUTHORIZED,
                "REFRESH_TOKEN_EXPIRED",
                "The refresh token has expired. Sign in again.",
            ),
            Code::RefreshTokenReused => (
                S::UNAUTHORIZED,
                "REFRESH_TOKEN_REUSED",
                "The refresh token was used before. Two parties hold it, so the session was ended. Sign in \
                 again.",
            ),
            Code::SessionEnded => (
                S::UNAUTHORIZED,
                "SESSION_ENDED",
                "The session has ended (a sign-out, a new password or a revocation), or its user is inactive \
                 or not verified. Sign in again.",
            ),
            // The same name as the 401 for the caller's own account. Front ends answer a 401 with a refresh, which does
            // not help here.
            Code::FreshProofRequired => (
                S::FORBIDDEN,
                "FRESH_TOKEN_REQUIRED",
                "A session can do this to another account only for a short time after its user gave the \
                 password. Send the password to `/auth/jwt/fresh`, or use an API token with the scope `super`.",
            ),
            Code::Forbidden => (
                S::FORBIDDEN,
                "Forbidden",
                "The caller may not do this: it requires a superuser, or a scope that the caller does not \
                 have. Ask a superuser.",
            ),
            Code::InsufficientScope => (
                S::FORBIDDEN,
                "INSUFFICIENT_SCOPE",
                "The API token lacks a scope that its owner has; `WWW-Authenticate` names it. Use a token with \
                 this scope.",
            ),
            Code::ApiTokenAlreadyExists => (
                S::CONFLICT,
                "API_TOKEN_ALREADY_EXISTS",
                "Another user or service has an API token with this secret. Choose another secret, or leave it \
                 out: Tessera then makes one.",
            ),
            Code::ApiTokenUserUnknown => (
                S::BAD_REQUEST,
                "API_TOKEN_USER_UNKNOWN",
                "There is no user with this address and no service with this name. Check the spelling.",
            ),
            Code::ApiTokenInvalidScopes => (
                S::BAD_REQUEST,
                "API_TOKEN_INVALID_SCOPES",
                "The token or the service cannot have one of these scopes; `reason` says which and why. Leave \
                 that scope out.",
            ),
            Code::ApiTokenLimitReached => (
                S::BAD_REQUEST,
                "API_TOKEN_LIMIT_REACHED",
                "The owner already has 100 API tokens. Delete one that is not used.",
            ),
            Code::ApiTokenNotNamed => (
                S::BAD_REQUEST,
                "Cannot delete, either username or token must be provided",
                "The request does not say which API tokens to delete. Send `username` or `token`.",
            ),
            Code::ServiceAlreadyExists => (
                S::CONFLICT,
                "SERVICE_ALREADY_EXISTS",
                "A service with this name already exists. Choose another name.",
            ),
            Code::ClientAlreadyExists => (
                S::CONFLICT,
                "CLIENT_ALREADY_EXISTS",
                "A client or a service with this id already exists. Choose another id.",
            ),
            Code::DeclaredInFile => (
                S::CONFLICT,
                "DECLARED_IN_FILE",
                "This client or resource comes from `CLIENTS_FILE` or `CLIENTS`. Change it there, and run \
                 `tessera client apply`. One that is no longer in the file can be deleted.",
            ),
            Code::ResourceAlreadyExists => (
                S::CONFLICT,
                "RESOURCE_ALREADY_EXISTS",
                "A resource with this URI already exists. Delete it first, or choose another URI.",
            ),
            Code::LastSuperuser => (
                S::CONFLICT,
                "LAST_SUPERUSER",
                "No other superuser can sign in. Make another user a superuser first.",
            ),
            Code::EmailChangePending => (
                S::CONFLICT,
                "EMAIL_CHANGE_PENDING",
                "The address was changed within the last 72 hours, and the owner of the previous address can \
                 take the account back. Try again after that time, or ask a superuser.",
            ),
            Code::KeyInUse => (
                S::CONFLICT,
                "KEY_IN_USE",
                "This key signs tokens, or it is the last key that can sign with its algorithm. First create \
                 another key that signs at once (`now`).",
            ),
            Code::CsrfTokenMismatch => (
                S::FORBIDDEN,
                "CSRF_TOKEN_MISMATCH",
                "The request has a cookie but not the `X-CSRF-Token` that belongs to it, or a page of another \
                 site sent it. Send the header with the value that belongs to the cookie.",
            ),
            Code::InvalidRequest => (
                S::BAD_REQUEST,
                "invalid_request",
                "This is not a valid OAuth request: a parameter is missing, given twice or of the wrong type. \
                 Correct the parameters.",
            ),
            Code::InvalidClient => (
                S::UNAUTHORIZED,
                "invalid_client",
                "The user name and the password of HTTP Basic are not the name of a service and its API token. Send \
                 both in this way, or the API token as a bearer token.",
            ),
            Code::HostInvalid => (
                S::BAD_REQUEST,
                "HOST_INVALID",
                "The request does not name exactly one host. Send one `Host` header with a host and an \
                 optional port. If the request target names a host, it must be the same.",
            ),
            Code::ForwardedRequestInvalid => (
                S::BAD_REQUEST,
                "FORWARDED_REQUEST_INVALID",
                "The headers of the gateway about the original request cannot be read, or say different things; `reason` \
                 says which. Let the gateway set each header once, instead of passing on that of its caller.",
            ),
            Code::NotFound => {
                (S::NOT_FOUND, "Not Found", "There is nothing at this path or with this id.")
            }
            Code::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "Method Not Allowed",
                "The path exists, but not for this method. Use a method that the header `Allow` lists.",
            ),
            Code::RequestTimeout => (
                S::REQUEST_TIMEOUT,
                "REQUEST_TIMEOUT",
                "The body did not arrive within 10 seconds. Send the request again.",
            ),
            Code::ContentTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "CONTENT_TOO_LARGE",
                "The body is larger than 65536 bytes. Send a smaller one.",
            ),
            Code::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "The `Content-Type` of the body is missing, or the operation does not accept it. Send JSON or \
                 a form, as the operation requires.",
            ),
            Code::UnprocessableContent => (
                S::UNPROCESSABLE_ENTITY,
                "UNPROCESSABLE_CONTENT",
                "A field is missing or invalid; each item names a field and says what is wrong. Correct these \
                 fields.",
            ),
            Code::TooManyAttempts => (
                S::TOO_MANY_REQUESTS,
                "TOO_MANY_ATTEMPTS",
                "There were too many attempts. Try again after `Retry-After` seconds.",
            ),
            Code::ServiceBusy => (
                S::SERVICE_UNAVAILABLE,
                "SERVICE_BUSY",
                "Too many passwords wait to be checked, too many exports run, too many services wait for \
                 revocations, or the password was changed at the same time. Try again after `Retry-After` seconds.",
            ),
            Code::ServiceUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "SERVICE_UNAVAILABLE",
                "The server cannot answer now, for example because its database is unreachable. Try again \
                 after `Retry-After` seconds.",
            ),
            Code::InternalServerError => (
                S::INTERNAL_SERVER_ERROR,
                "INTERNAL_SERVER_ERROR",
                "An internal error occurred. Send the `X-Request-Id` to the operator, who finds the cause in the log.",
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

    /// The sentence for people: what is wrong and what to do next.
    pub const fn sentence(self) -> &'static str {
        self.row().2
    }

    /// An example of the body, for the OpenAPI document.
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
