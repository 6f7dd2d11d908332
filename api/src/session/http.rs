//! `/auth/jwt/…`, and the changes of `/users/me` that end sessions.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::{Device, Tokens};
use crate::app::App;
use crate::error::{Code, Result};
use crate::factor::Password;
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::caller::{BearerToken, Caller, TokenHolder};
use crate::user::Email;
use crate::user::http::UserResponse;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    (
        "login",
        &[
            Code::LoginBadCredentials,
            Code::LoginUserNotVerified,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
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
    ("logout", &[Code::Unauthorized]),
    ("logout_all", &[Code::Unauthorized]),
    (
        "update_me",
        &[
            Code::Unauthorized,
            Code::FreshTokenRequired,
            Code::UpdateUserEmailAlreadyExists,
            Code::UpdateUserInvalidPassword,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::ServiceBusy,
        ],
    ),
];

/// The password grant (RFC 6749, section 4.3.2), as Swagger and FastAPI clients send it.
#[derive(Object)]
#[oai(example)]
struct LoginRequest {
    /// The e-mail address, in any case.
    username: String,
    /// The password.
    password: String,
    /// `password`, where it is given.
    grant_type: Option<String>,
    /// Read by no rule yet: every token has the scope of its user.
    scope: Option<String>,
    /// Ignored: no client is needed.
    client_id: Option<String>,
    /// Ignored: no client is needed.
    client_secret: Option<String>,
}

impl Example for LoginRequest {
    fn example() -> Self {
        Self {
            username: "first@user.com".to_owned(),
            password: "correct horse battery".to_owned(),
            grant_type: Some("password".to_owned()),
            scope: None,
            client_id: None,
            client_secret: None,
        }
    }
}

impl Input for LoginRequest {
    type Parsed = (String, Password);
    const ACCEPTS: Accepts = Accepts::Form;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.constant("grant_type", "password");
        let username = fields.required("username");
        let password = fields.required("password");
        Some((username?, Password::new(password?)))
    }
}

/// A refresh token in a body; in the header, as bearer, is as good.
#[derive(Object)]
struct RefreshRequest {
    /// The refresh token, where it is not in the header.
    refresh_token: Option<String>,
}

impl Input for RefreshRequest {
    type Parsed = Option<String>;
    const ACCEPTS: Accepts = Accepts::AnyOrNothing;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        Some(fields.optional("refresh_token"))
    }
}

/// What a user changes of themself. What is missing or null stays; other members are ignored.
#[derive(Object)]
#[oai(example)]
struct UpdateMeRequest {
    /// A new e-mail address. It is not verified.
    email: Option<String>,
    /// A new password.
    password: Option<String>,
}

impl Example for UpdateMeRequest {
    fn example() -> Self {
        Self { email: None, password: Some("battery staple correct".to_owned()) }
    }
}

impl Input for UpdateMeRequest {
    type Parsed = (Option<Email>, Option<Password>);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let email = fields.optional("email").map(|text| fields.email("email", &text));
        let password = fields.optional("password").map(Password::new);
        match email {
            Some(email) => Some((Some(email?), password)),
            None => Some((None, password)),
        }
    }
}

/// What a session gives.
#[derive(Object)]
#[oai(rename = "Tokens")]
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

#[derive(ApiResponse)]
enum Done {
    /// Done.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi]
impl Api {
    /// Sign in
    ///
    /// Exchanges an e-mail address and a password for a fresh access token and a refresh token.
    #[oai(path = "/auth/jwt/login", method = "post", operation_id = "login", tag = "Tag::Auth")]
    async fn login(
        &self,
        app: Data<&App>,
        device: Device,
        body: Body<LoginRequest>,
    ) -> Result<Json<TokenResponse>> {
        let (username, password) = body.0;
        let tokens = super::login(&app, &username, password, device).await?;
        Ok(Json(tokens.into()))
    }

    /// Stay signed in
    ///
    /// Exchanges a refresh token, as bearer or in the body, for the next pair. A body goes before
    /// the header. A token is spent by its first use; within some seconds it gives the same
    /// successor again, for the answer that was lost; after that, using it ends the session.
    #[oai(path = "/auth/jwt/refresh", method = "post", operation_id = "refresh", tag = "Tag::Auth")]
    async fn refresh(
        &self,
        app: Data<&App>,
        device: Device,
        bearer: BearerToken,
        body: Body<RefreshRequest>,
    ) -> Result<Json<TokenResponse>> {
        let token = body.0.or(bearer.0).ok_or(Code::RefreshTokenInvalid)?;
        let tokens = super::refresh(&app, &token, device).await?;
        Ok(Json(tokens.into()))
    }

    /// Sign out
    ///
    /// Ends the session of an access or a refresh token. Once this is answered, no token of that
    /// session is accepted.
    #[oai(path = "/auth/jwt/logout", method = "post", operation_id = "logout", tag = "Tag::Auth")]
    async fn logout(&self, app: Data<&App>, holder: TokenHolder) -> Result<Done> {
        super::logout(&app, &holder.claims).await?;
        Ok(Done::NoContent)
    }

    /// Sign out everywhere
    ///
    /// Ends every session of the user an access or a refresh token speaks of.
    #[oai(
        path = "/auth/jwt/logout-all",
        method = "post",
        operation_id = "logout_all",
        tag = "Tag::Auth"
    )]
    async fn logout_all(&self, app: Data<&App>, holder: TokenHolder) -> Result<Done> {
        super::logout_all(&app, &holder.claims).await?;
        Ok(Done::NoContent)
    }

    /// Change me
    ///
    /// Changes the caller's e-mail address or password, which wants an access token from a sign-in.
    /// A new address is not verified. A new password ends every other session and every access
    /// token, this one included; the refresh token of this session goes on.
    #[oai(path = "/users/me", method = "patch", operation_id = "update_me", tag = "Tag::Users")]
    async fn update_me(
        &self,
        app: Data<&App>,
        caller: Caller,
        body: Body<UpdateMeRequest>,
    ) -> Result<Json<UserResponse>> {
        let (email, password) = body.0;
        let user = super::change_user(&app, &caller.claims, email, password).await?;
        Ok(Json(UserResponse::from(&user)))
    }
}
