//! The operations `/auth/introspect`, `/auth/revoke` and `/auth/tokens/check`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Active;
use crate::access::api_token;
use crate::access::caller::Caller;
use crate::access::caller::http::OauthCaller;
use crate::access::session::Device;
use crate::access::session::http::EXAMPLE_TOKEN;
use crate::app::App;
use crate::base::error::{Code, Face, Result};
use crate::base::scope::Scope;
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::openapi::Note;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("revoke_token", &[Code::TooManyAttempts]),
    ("introspect_token", &[Code::Unauthorized, Code::Forbidden]),
    (
        "check_api_token",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
        ],
    ),
];

/// Further notes on operations, for the OpenAPI document.
pub(crate) const NOTES: &[(&str, Note)] = &[
    ("revoke_token", Note::RefusesAsOauth(Code::InvalidRequest)),
    ("introspect_token", Note::RefusesAsOauth(Code::InvalidRequest)),
    ("introspect_token", Note::RefusesAsOauth(Code::InvalidClient)),
];

/// The beginning of an API token, as an example in the OpenAPI document.
pub(crate) const EXAMPLE_SECRET: &str = "tsr_7hQ2…";

/// A token to introspect or revoke (RFC 7662, RFC 7009).
#[derive(Object)]
#[oai(example)]
struct TokenRequest {
    /// An access token, a refresh token or an API token.
    token: String,
    /// Ignored. Tessera recognises the kind of the token itself.
    #[oai(skip_serializing_if_is_none)]
    token_type_hint: Option<String>,
}

impl Example for TokenRequest {
    fn example() -> Self {
        Self { token: EXAMPLE_TOKEN.to_owned(), token_type_hint: None }
    }
}

impl Input for TokenRequest {
    type Parsed = String;
    const ACCEPTS: Accepts = Accepts::Form;
    const FACE: Face = Face::Oauth;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.required("token")
    }
}

/// The answer about a token (RFC 7662, section 2.2). If the token is not active, only `active` is present. Times are
/// seconds since the epoch.
#[derive(Object)]
#[oai(rename = "Introspection", example)]
struct IntrospectionResponse {
    /// `true` if the token is accepted now, by the operations for its kind.
    active: bool,
    /// The kind of the token: `access`, `refresh` or `api`. Never accept a refresh token where you expect an access
    /// token.
    #[oai(rename = "type", skip_serializing_if_is_none)]
    kind: Option<String>,
    /// `Bearer` for access tokens and API tokens. Absent for refresh tokens.
    #[oai(skip_serializing_if_is_none)]
    token_type: Option<String>,
    /// The scopes of the token that its owner currently has, separated by spaces. Absent for refresh tokens.
    #[oai(skip_serializing_if_is_none)]
    scope: Option<String>,
    /// The e-mail address of the user, or the name of the service.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// `true` if the user's e-mail address is verified. Rely on the address only then. Absent for services.
    #[oai(skip_serializing_if_is_none)]
    email_verified: Option<bool>,
    /// The id of the user or service.
    #[oai(skip_serializing_if_is_none)]
    sub: Option<String>,
    /// The issuer: the value of `PUBLIC_URL`. Absent for API tokens.
    #[oai(skip_serializing_if_is_none)]
    iss: Option<String>,
    /// The audience: the service that the token is for. Absent for API tokens.
    #[oai(skip_serializing_if_is_none)]
    aud: Option<String>,
    /// The time of issue, in seconds since the epoch.
    #[oai(skip_serializing_if_is_none)]
    iat: Option<u64>,
    /// The time from which the token is valid, in seconds since the epoch. Absent for API tokens.
    #[oai(skip_serializing_if_is_none)]
    nbf: Option<u64>,
    /// The time of expiry, in seconds since the epoch. Absent if the token never expires.
    #[oai(skip_serializing_if_is_none)]
    exp: Option<u64>,
    /// The id of the token.
    #[oai(skip_serializing_if_is_none)]
    jti: Option<String>,
    /// The id of the session. Absent for API tokens.
    #[oai(skip_serializing_if_is_none)]
    sid: Option<String>,
}

impl Example for IntrospectionResponse {
    fn example() -> Self {
        Self {
            active: true,
            kind: Some("access".to_owned()),
            token_type: Some("Bearer".to_owned()),
            scope: Some("authenticated".to_owned()),
            username: Some("first@user.com".to_owned()),
            email_verified: Some(true),
            sub: Some("56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned()),
            iss: Some("http://localhost:8000".to_owned()),
            aud: Some("tessera".to_owned()),
            iat: Some(1_795_306_672),
            nbf: Some(1_795_306_672),
            exp: Some(1_795_307_572),
            jti: Some("01a2009d-d180-750f-98fc-dce79cb02959".to_owned()),
            sid: Some("0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11".to_owned()),
        }
    }
}

impl IntrospectionResponse {
    const INACTIVE: Self = Self {
        active: false,
        kind: None,
        token_type: None,
        scope: None,
        username: None,
        email_verified: None,
        sub: None,
        iss: None,
        aud: None,
        iat: None,
        nbf: None,
        exp: None,
        jti: None,
        sid: None,
    };
}

impl From<Active> for IntrospectionResponse {
    fn from(active: Active) -> Self {
        let Active { kind, scope, username, email_verified, sub, iat, exp, jti, claims } = active;
        Self {
            active: true,
            kind: Some(kind.to_owned()),
            token_type: (kind != "refresh").then(|| "Bearer".to_owned()),
            scope,
            username: Some(username),
            email_verified,
            sub: Some(sub),
            iss: claims.as_ref().map(|claims| claims.iss.clone()),
            aud: claims.as_ref().map(|claims| claims.aud.first().to_owned()),
            iat: Some(iat),
            nbf: claims.as_ref().map(|claims| claims.nbf),
            exp,
            jti: Some(jti),
            sid: claims.as_ref().and_then(|claims| claims.sid).map(|sid| sid.to_string()),
        }
    }
}

/// An API token to check.
#[derive(Object)]
#[oai(example)]
struct CheckRequest {
    /// The secret of the API token.
    token: String,
}

impl Example for CheckRequest {
    fn example() -> Self {
        Self { token: EXAMPLE_SECRET.to_owned() }
    }
}

impl Input for CheckRequest {
    type Parsed = String;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.required("token")
    }
}

/// The answer about an API token. If it is not accepted, only `valid` is present.
#[derive(Object)]
#[oai(rename = "Checked", example)]
struct CheckedResponse {
    /// `true` if the token is accepted now.
    valid: bool,
    /// The owner of the token: the e-mail address of a user, or the name of a service.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// The name that the owner gave the token.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The scopes of the token that its owner currently has.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
    /// The time of expiry, in seconds since the epoch. Absent if the token never expires.
    #[oai(skip_serializing_if_is_none)]
    expires: Option<u64>,
}

impl Example for CheckedResponse {
    fn example() -> Self {
        Self {
            valid: true,
            username: Some("first@user.com".to_owned()),
            name: Some("ci".to_owned()),
            scopes: Some(vec![Scope::AUTHENTICATED.to_owned()]),
            expires: Some(1_795_393_072),
        }
    }
}

#[derive(ApiResponse)]
enum RevokedResponse {
    /// The token is not accepted, whether or not it was accepted before.
    #[oai(status = 200)]
    Done,
}

pub(crate) struct Api;

#[OpenApi]
impl Api {
    /// Introspect a token
    ///
    /// Says whether an access token, refresh token or API token is accepted now, and what it contains (RFC 7662). For a
    /// token that is unknown, expired, revoked or from another issuer, the answer is only `{"active": false}`. A token
    /// for an audience in `JWT_AUDIENCES` is active only for the service of that name and for superusers.
    ///
    /// Requires the scope `tokens:introspect`. Superusers have it and can give it to services and users. A service can
    /// send its name and its API token with HTTP Basic, as many libraries do, or the API token as a bearer token.
    #[oai(
        path = "/auth/introspect",
        method = "post",
        operation_id = "introspect_token",
        tag = "Tag::Services"
    )]
    async fn introspect(
        &self,
        app: Data<&App>,
        OauthCaller(caller): OauthCaller,
        body: Body<TokenRequest>,
    ) -> Result<Json<IntrospectionResponse>> {
        caller.require(Scope::INTROSPECT)?;
        let active = super::introspect(&app, &caller, &body.0).await?;
        Ok(Json(active.map_or(IntrospectionResponse::INACTIVE, IntrospectionResponse::from)))
    }

    /// Revoke a token
    ///
    /// Makes a token invalid before it expires (RFC 7009). An access token is not accepted any more, the session of a
    /// refresh token ends, and an API token is deleted. Anyone who holds a token can revoke it, without other
    /// credentials. The answer is the same if the token is not one of Tessera's or is not valid any more.
    ///
    /// If 20 access tokens of a session were revoked in this way and have not expired, the next revocation ends the
    /// session.
    #[oai(
        path = "/auth/revoke",
        method = "post",
        operation_id = "revoke_token",
        tag = "Tag::Services"
    )]
    async fn revoke(
        &self,
        app: Data<&App>,
        device: Device,
        body: Body<TokenRequest>,
    ) -> Result<RevokedResponse> {
        super::revoke(&app, &body.0, device).await?;
        Ok(RevokedResponse::Done)
    }

    /// Check an API token
    ///
    /// Says whether an API token is accepted now and who owns it. This does not count as a use of the token. Requires
    /// the scope `tokens:check`.
    #[oai(
        path = "/auth/tokens/check",
        method = "post",
        operation_id = "check_api_token",
        tag = "Tag::Tokens"
    )]
    async fn check(
        &self,
        app: Data<&App>,
        caller: Caller,
        body: Body<CheckRequest>,
    ) -> Result<Json<CheckedResponse>> {
        caller.require(Scope::CHECK)?;
        let found = api_token::check(&app, &body.0).await?;
        Ok(Json(match found {
            Some((token, principal)) => CheckedResponse {
                valid: true,
                username: Some(principal.name().to_owned()),
                name: token.name.clone(),
                scopes: Some(token.scopes.within(&principal.scopes()).words()),
                expires: token.expires,
            },
            None => CheckedResponse {
                valid: false,
                username: None,
                name: None,
                scopes: None,
                expires: None,
            },
        }))
    }
}
