//! `/auth/jwt/…`

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
use crate::http::cookie::{Cookies, OwnPage};
use crate::http::openapi::Note;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{Authentication, Password};

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    (
        "login",
        &[
            Code::LoginBadCredentials,
            Code::LoginUserNotVerified,
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
        "freshen",
        &[
            Code::LoginBadCredentials,
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

/// What else the documents say of operations.
pub(crate) const NOTES: &[(&str, Note)] = &[("refresh", Note::BearerIsOptional)];

/// The password grant (RFC 6749, section 4.3.2), as Swagger and FastAPI clients send it.
#[derive(Object)]
#[oai(example)]
struct LoginRequest {
    /// The e-mail address, in any case.
    username: String,
    /// The password.
    password: String,
    /// `password`, where it is given.
    #[oai(skip_serializing_if_is_none)]
    grant_type: Option<String>,
    /// Read by no rule yet: every token has the scope of its user.
    #[oai(skip_serializing_if_is_none)]
    scope: Option<String>,
    /// Whom the access token is for, of `JWT_AUDIENCE` and `JWT_AUDIENCES`; the first if not given.
    #[oai(skip_serializing_if_is_none)]
    audience: Option<String>,
    /// Ignored: no client is needed.
    #[oai(skip_serializing_if_is_none)]
    client_id: Option<String>,
    /// Ignored: no client is needed.
    #[oai(skip_serializing_if_is_none)]
    client_secret: Option<String>,
}

impl Example for LoginRequest {
    fn example() -> Self {
        Self {
            username: "first@user.com".to_owned(),
            password: "correct horse battery".to_owned(),
            grant_type: Some("password".to_owned()),
            scope: None,
            audience: None,
            client_id: None,
            client_secret: None,
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

/// A refresh token in a body; in the header, as bearer, is as good.
#[derive(Object)]
#[oai(example)]
struct RefreshRequest {
    /// The refresh token, where it is not in the header.
    refresh_token: Option<String>,
    /// Whom the access token is for, of `JWT_AUDIENCE` and `JWT_AUDIENCES`; the first if not given.
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

/// What a session gives.
#[derive(Object)]
#[oai(rename = "Tokens", example)]
struct TokenResponse {
    /// Opens protected operations: `Authorization: Bearer …`.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// How long the access token lives, in seconds.
    expires_in: u64,
    /// Is exchanged for the next pair at `/auth/jwt/refresh`, once.
    refresh_token: String,
    /// How long the refresh token lives, in seconds.
    refresh_expires_in: u64,
}

/// The beginning of a token, for the documents.
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

/// The password, once more.
#[derive(Object)]
#[oai(example)]
struct FreshRequest {
    /// The caller's password.
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
    /// Opens protected operations, those that want a fresh token too.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// How long it lives, in seconds.
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
    /// A fresh access token.
    #[oai(status = 200)]
    Token(Json<FreshTokenResponse>),
    /// The caller's cookie holds it.
    #[oai(status = 204)]
    InCookie,
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done.
    #[oai(status = 204)]
    NoContent,
}

/// Proves who signs in, by their password.
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
    /// Lets the browser keep the token in its cookie.
    pub(crate) fn keep_in(&self, cookies: &Cookies, app: &App) {
        cookies.keep(app, self.session.0, &self.token, self.expires_in);
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// Sign in
    ///
    /// Exchanges an e-mail address and a password for a fresh access token and a refresh token.
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

    /// Stay signed in
    ///
    /// Exchanges a refresh token, as bearer or in the body, for the next pair. A body goes before
    /// the header. A token is spent by its first use; within some seconds it gives the same
    /// successor again, for the answer that was lost; after that, using it ends the session.
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

    /// Give the password once more
    ///
    /// A fresh access token of the same session, for what wants one.
    #[oai(path = "/auth/jwt/fresh", method = "post", operation_id = "freshen")]
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
            // A script that could read the token could take it away.
            access.keep_in(&cookies, &app);
            return Ok(Freshened::InCookie);
        }
        Ok(Freshened::Token(Json(access.into())))
    }

    /// Sign out
    ///
    /// Ends the session of an access or a refresh token. Once this is answered, no token of that
    /// session is accepted.
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
    /// Ends every session of the user an access or a refresh token speaks of.
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

    /// Sign a browser in
    ///
    /// As `/auth/jwt/login`, with the access token in a cookie that scripts cannot read. A second
    /// cookie, and the header `X-CSRF-Token` of the answer, hold a value that requests which change
    /// something repeat in `X-CSRF-Token`. The cookie is renewed by requests in the second half of
    /// its life.
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

    /// Sign a browser out
    ///
    /// Ends the session of the cookie, and takes the cookies back.
    #[oai(path = "/auth/cookie/logout", method = "post", operation_id = "cookie_logout")]
    async fn cookie_logout(
        &self,
        app: Data<&App>,
        holder: CookieHolder,
        cookies: Cookies,
        device: Device,
    ) -> Result<EmptyResponse> {
        // Whatever comes of it, the browser need not keep them.
        cookies.forget(&app);
        super::logout(&app, &holder.claims, device).await?;
        Ok(EmptyResponse::NoContent)
    }
}
