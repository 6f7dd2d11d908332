//! The operations `/auth/jwt/…` and `/auth/cookie/…`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::{AccessToken, Audience, Device, Tokens};
use crate::access::caller::http::{BearerToken, CookieHolder, SessionCaller, TokenHolder};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::cookie::Cookies;
use crate::http::openapi::Note;
use crate::http::own_page::OwnPage;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{Authentication, Password};

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    (
        "login",
        &[
            Code::LoginBadCredentials,
            Code::LoginUserNotVerified,
            Code::LoginWithProvider,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    (
        "refresh",
        &[
            Code::RefreshTokenInvalid,
            Code::RefreshTokenExpired,
            Code::RefreshTokenReused,
            Code::SessionEnded,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
        ],
    ),
    (
        "confirm_password",
        &[
            Code::LoginBadCredentials,
            Code::LoginWithProvider,
            Code::Unauthorized,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    (
        "cookie_login",
        &[
            Code::LoginBadCredentials,
            Code::LoginUserNotVerified,
            Code::LoginWithProvider,
            Code::CsrfTokenMismatch,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    ("cookie_logout", &[Code::Unauthorized]),
    ("logout", &[Code::Unauthorized]),
    ("logout_all", &[Code::Unauthorized]),
];

/// Further notes on operations, for the OpenAPI document.
pub(crate) const NOTES: &[(&str, Note)] = &[("refresh", Note::BearerIsOptional)];

/// The password grant (RFC 6749, section 4.3.2), as Swagger and FastAPI clients send it. Its other fields, such as
/// `scope` and `client_id`, are ignored: clients are not registered, and a token has the scopes of its user.
#[derive(Object)]
#[oai(example)]
struct LoginRequest {
    /// The e-mail address of the user, in upper or lower case.
    username: String,
    /// The password of the user.
    password: String,
    /// `password`, if it is present.
    #[oai(skip_serializing_if_is_none)]
    grant_type: Option<String>,
    /// The audience of the access token: the value of `JWT_AUDIENCE` or one of `JWT_AUDIENCES`. Default:
    /// `JWT_AUDIENCE`.
    #[oai(skip_serializing_if_is_none)]
    audience: Option<String>,
}

impl Example for LoginRequest {
    fn example() -> Self {
        Self {
            username: "first@user.com".to_owned(),
            password: "correct horse battery".to_owned(),
            grant_type: Some("password".to_owned()),
            audience: None,
        }
    }
}

impl Input for LoginRequest {
    type Parsed = (String, Password, Option<String>);
    const ACCEPTS: Accepts = Accepts::Form;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.constant("grant_type", "password");
        let username = fields.required("username");
        let password = fields.required("password");
        let audience = fields.optional("audience").filter(|audience| !audience.is_empty());
        Some((username?, Password::new(password?), audience))
    }
}

/// A refresh token in the body. It can be sent as a bearer token instead.
#[derive(Object)]
#[oai(example)]
struct RefreshRequest {
    /// The refresh token. Required if there is none in the header `Authorization`.
    refresh_token: Option<String>,
    /// The audience of the access token: the value of `JWT_AUDIENCE` or one of `JWT_AUDIENCES`. Default:
    /// `JWT_AUDIENCE`.
    #[oai(skip_serializing_if_is_none)]
    audience: Option<String>,
}

impl Example for RefreshRequest {
    fn example() -> Self {
        Self { refresh_token: Some(EXAMPLE_TOKEN.to_owned()), audience: None }
    }
}

impl Input for RefreshRequest {
    type Parsed = (Option<String>, Option<String>);
    const ACCEPTS: Accepts = Accepts::AnyOrNothing;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let audience = fields.optional("audience").filter(|audience| !audience.is_empty());
        Some((fields.optional("refresh_token"), audience))
    }
}

/// The tokens of a session.
#[derive(Object)]
#[oai(rename = "Tokens", example)]
pub(crate) struct TokenResponse {
    /// The access token. Send it to protected operations as `Authorization: Bearer …`.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// The lifetime of the access token, in seconds.
    expires_in: u64,
    /// The refresh token. Exchange it once for the next pair of tokens, with `POST /auth/jwt/refresh`.
    refresh_token: String,
    /// The lifetime of the refresh token, in seconds.
    refresh_expires_in: u64,
}

/// The beginning of a token, as an example in the OpenAPI document.
pub(crate) const EXAMPLE_TOKEN: &str =
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6Ik1MVUF6S3BxLXQwTEtLT2sifQ…";

impl Example for TokenResponse {
    fn example() -> Self {
        Self {
            access_token: EXAMPLE_TOKEN.to_owned(),
            token_type: "bearer".to_owned(),
            expires_in: 900,
            refresh_token: EXAMPLE_TOKEN.to_owned(),
            refresh_expires_in: 2_592_000,
        }
    }
}

impl From<Tokens> for TokenResponse {
    fn from(tokens: Tokens) -> Self {
        let Tokens { access_token, expires_in, refresh_token, refresh_expires_in } = tokens;
        Self {
            access_token,
            token_type: "bearer".to_owned(),
            expires_in,
            refresh_token,
            refresh_expires_in,
        }
    }
}

/// The password of the signed-in user.
#[derive(Object)]
#[oai(example)]
struct FreshRequest {
    /// The password of the user who sends the request.
    password: String,
}

impl Example for FreshRequest {
    fn example() -> Self {
        Self { password: "correct horse battery".to_owned() }
    }
}

impl Input for FreshRequest {
    type Parsed = Password;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.required("password").map(Password::new)
    }
}

/// A fresh access token.
#[derive(Object)]
#[oai(rename = "FreshToken", example)]
struct FreshTokenResponse {
    /// The access token. It is also accepted by operations that require a fresh token.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// The lifetime of the access token, in seconds.
    expires_in: u64,
}

impl Example for FreshTokenResponse {
    fn example() -> Self {
        Self {
            access_token: EXAMPLE_TOKEN.to_owned(),
            token_type: "bearer".to_owned(),
            expires_in: 900,
        }
    }
}

impl From<AccessToken> for FreshTokenResponse {
    fn from(access: AccessToken) -> Self {
        let AccessToken { session: _, token, expires_in } = access;
        Self { access_token: token, token_type: "bearer".to_owned(), expires_in }
    }
}

#[derive(ApiResponse)]
enum Freshened {
    /// The fresh access token.
    #[oai(status = 200)]
    Token(Json<FreshTokenResponse>),
    /// The fresh access token is in the cookie. The response has no body.
    #[oai(status = 204)]
    InCookie,
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

/// Checks the password of a user who signs in.
async fn prove(
    app: &App,
    username: &str,
    password: Password,
    device: &Device,
) -> Result<Authentication> {
    super::require_ready(app)?;
    let account = Account::Address(username);
    password_check::prove(app, account, password, device.ip).await
}

impl AccessToken {
    /// Puts the token into the browser's cookie.
    pub(crate) fn keep_in(&self, cookies: &Cookies, app: &App) {
        cookies.keep(app, self.session.0, &self.token, self.expires_in);
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// Sign in with a password
    ///
    /// Checks an e-mail address and a password, and begins a session. Returns a fresh access token and a refresh token.
    /// Wrong passwords, unknown addresses and inactive users have the same answer. After several attempts the client
    /// must wait.
    #[oai(path = "/auth/jwt/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        app: Data<&App>,
        device: Device,
        body: Body<LoginRequest>,
    ) -> Result<Json<TokenResponse>> {
        let (username, password, audience) = body.0;
        let audience = Audience::parse(&app, audience.as_deref())?;
        let authentication = prove(&app, &username, password, &device).await?;
        let tokens = super::login(&app, authentication, audience, device).await?;
        Ok(Json(tokens.into()))
    }

    /// Refresh the tokens
    ///
    /// Exchanges a refresh token for a new access token and a new refresh token. Send the refresh token in the body or
    /// as a bearer token. If a request has both, the body is used.
    ///
    /// A refresh token can be used once. If the last one is sent again within `REFRESH_REUSE_LEEWAY` seconds, the
    /// answer has the same new refresh token, because the first answer may have been lost. After that, sending it again
    /// ends the session.
    #[oai(path = "/auth/jwt/refresh", method = "post", operation_id = "refresh")]
    async fn refresh(
        &self,
        app: Data<&App>,
        device: Device,
        bearer: BearerToken,
        body: Body<RefreshRequest>,
    ) -> Result<Json<TokenResponse>> {
        let (token, audience) = body.0;
        let token = token.or(bearer.0).ok_or(Code::RefreshTokenInvalid)?;
        let tokens = super::refresh(&app, &token, audience.as_deref(), device).await?;
        Ok(Json(tokens.into()))
    }

    /// Confirm the password
    ///
    /// Checks the password of the caller and returns a fresh access token of the same session, for operations that
    /// require one. If the access token came in a cookie, the fresh token is put into the cookie and the answer is 204.
    #[oai(path = "/auth/jwt/fresh", method = "post", operation_id = "confirm_password")]
    async fn freshen(
        &self,
        app: Data<&App>,
        caller: SessionCaller,
        cookies: Cookies,
        device: Device,
        body: Body<FreshRequest>,
    ) -> Result<Freshened> {
        let (account, ip) = (Account::of(&caller.claims), device.ip);
        let authentication = password_check::prove(&app, account, body.0, ip).await?;
        let access = super::freshen(&app, &caller.claims, &authentication).await?;
        if caller.in_cookie {
            // Scripts must not be able to read the token of a cookie.
            access.keep_in(&cookies, &app);
            return Ok(Freshened::InCookie);
        }
        Ok(Freshened::Token(Json(access.into())))
    }

    /// Sign out
    ///
    /// Ends the session of an access token or a refresh token. After the answer, no token of the session is accepted.
    #[oai(path = "/auth/jwt/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        app: Data<&App>,
        holder: TokenHolder,
        device: Device,
    ) -> Result<EmptyResponse> {
        super::logout(&app, &holder.claims, device).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// Sign out everywhere
    ///
    /// Ends every session of the user to whom an access token or a refresh token belongs.
    #[oai(path = "/auth/jwt/logout-all", method = "post", operation_id = "logout_all")]
    async fn logout_all(
        &self,
        app: Data<&App>,
        holder: TokenHolder,
        device: Device,
    ) -> Result<EmptyResponse> {
        super::logout_all(&app, &holder.claims, device).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// Sign in with a cookie
    ///
    /// Like `/auth/jwt/login`, but puts the access token into a cookie that scripts cannot read. A second cookie and
    /// the response header `X-CSRF-Token` contain a value. Requests that change something must repeat the value in the
    /// header `X-CSRF-Token`. Tessera renews the cookies when a request arrives in the second half of the access
    /// token's lifetime.
    #[oai(path = "/auth/cookie/login", method = "post", operation_id = "cookie_login")]
    async fn cookie_login(
        &self,
        app: Data<&App>,
        _own: OwnPage,
        cookies: Cookies,
        device: Device,
        body: Body<LoginRequest>,
    ) -> Result<EmptyResponse> {
        let (username, password, _) = body.0;
        let authentication = prove(&app, &username, password, &device).await?;
        let access = super::login_with_cookie(&app, authentication, device).await?;
        access.keep_in(&cookies, &app);
        Ok(EmptyResponse::NoContent)
    }

    /// Sign out with a cookie
    ///
    /// Ends the session of the cookie and deletes the cookies. The header `X-CSRF-Token` must repeat the value of the
    /// second cookie.
    #[oai(path = "/auth/cookie/logout", method = "post", operation_id = "cookie_logout")]
    async fn cookie_logout(
        &self,
        app: Data<&App>,
        holder: CookieHolder,
        cookies: Cookies,
        device: Device,
    ) -> Result<EmptyResponse> {
        // The browser does not need the cookies any more, whether or not the session ends.
        cookies.forget(&app);
        super::logout(&app, &holder.claims, device).await?;
        Ok(EmptyResponse::NoContent)
    }
}
