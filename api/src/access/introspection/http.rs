//! `/auth/introspect`, `/auth/revoke` and `/auth/tokens/check`

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Active;
use crate::access::api_token;
use crate::access::caller::Caller;
use crate::access::session::Device;
use crate::access::session::http::EXAMPLE_TOKEN;
use crate::app::App;
use crate::base::error::{Code, Face, Result};
use crate::base::scope::Scope;
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::openapi::Note;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("revoke", &[Code::TooManyAttempts]),
    ("introspect", &[Code::Unauthorized, Code::Forbidden]),
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

/// What else the documents say of operations.
pub(crate) const NOTES: &[(&str, Note)] = &[
    ("revoke", Note::RefusesAsOauth(Code::InvalidRequest)),
    ("introspect", Note::RefusesAsOauth(Code::InvalidRequest)),
];

/// The beginning of an API token, for the documents.
pub(crate) const EXAMPLE_SECRET: &str = "tsr_7hQ2…";

/// A token that is given up or asked about (RFC 7009, RFC 7662).
#[derive(Object)]
#[oai(example)]
struct TokenRequest {
    /// An access, a refresh or an API token.
    token: String,
    /// Ignored: a token says itself what it is.
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

/// What a token says (RFC 7662, section 2.2): of one that is not active, nothing. Instants are seconds
/// since the epoch.
#[derive(Object)]
#[oai(rename = "Introspection", example)]
struct IntrospectionResponse {
    /// Whether it is accepted now, where its kind is.
    active: bool,
    /// `access`, `refresh` or `api`. A refresh token must not be accepted where an access token is.
    #[oai(rename = "type", skip_serializing_if_is_none)]
    kind: Option<String>,
    /// `Bearer` of a token that opens operations; a refresh token has none.
    #[oai(skip_serializing_if_is_none)]
    token_type: Option<String>,
    /// What it may be used for: words separated by spaces.
    #[oai(skip_serializing_if_is_none)]
    scope: Option<String>,
    /// A user's e-mail address, or a service's name.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// Whether a user's e-mail address is verified: only then is it proved to be theirs. A service has none.
    #[oai(skip_serializing_if_is_none)]
    email_verified: Option<bool>,
    /// The id of the user or the service.
    #[oai(skip_serializing_if_is_none)]
    sub: Option<String>,
    /// Who issued it.
    #[oai(skip_serializing_if_is_none)]
    iss: Option<String>,
    /// The services it is for.
    #[oai(skip_serializing_if_is_none)]
    aud: Option<String>,
    /// When it was issued.
    #[oai(skip_serializing_if_is_none)]
    iat: Option<u64>,
    /// When it begins to be valid.
    #[oai(skip_serializing_if_is_none)]
    nbf: Option<u64>,
    /// When it expires.
    #[oai(skip_serializing_if_is_none)]
    exp: Option<u64>,
    /// Its own id.
    #[oai(skip_serializing_if_is_none)]
    jti: Option<String>,
    /// Its session's id.
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

/// An API token that is asked about.
#[derive(Object)]
#[oai(example)]
struct CheckRequest {
    /// Its secret.
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

/// Whether an API token is accepted.
#[derive(Object)]
#[oai(rename = "Checked", example)]
struct CheckedResponse {
    /// Whether it is.
    valid: bool,
    /// Whose it is, where it is valid.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// What its owner calls it.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// What it may do now.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
    /// When it expires, in seconds since the epoch, if it does.
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
    /// The token is not accepted, whether or not it was before.
    #[oai(status = 200)]
    Done,
}

pub(crate) struct Api;

#[OpenApi]
impl Api {
    /// What does this token say
    ///
    /// RFC 7662, of access, refresh and API tokens. A token that is unknown, expired, revoked or
    /// somebody else's is `{"active": false}`, and nothing more is said of it. Wants the scope
    /// `tokens:introspect`: an API token of a service that has it, or a superuser. A token for an
    /// audience of `JWT_AUDIENCES` is told to the service of that name.
    #[oai(
        path = "/auth/introspect",
        method = "post",
        operation_id = "introspect",
        tag = "Tag::Services"
    )]
    async fn introspect(
        &self,
        app: Data<&App>,
        caller: Caller,
        body: Body<TokenRequest>,
    ) -> Result<Json<IntrospectionResponse>> {
        caller.require(Scope::INTROSPECT)?;
        let active = super::introspect(&app, &caller, &body.0).await?;
        Ok(Json(active.map_or(IntrospectionResponse::INACTIVE, IntrospectionResponse::from)))
    }

    /// Give a token up
    ///
    /// RFC 7009: an access token is not accepted any more, a refresh token ends its session, an API
    /// token is deleted. Whoever holds a token may. A token that is not ours, or over already, is answered in the same way.
    /// A session of which twenty access tokens were revoked so, and have not expired, ends with the next.
    #[oai(path = "/auth/revoke", method = "post", operation_id = "revoke", tag = "Tag::Services")]
    async fn revoke(
        &self,
        app: Data<&App>,
        device: Device,
        body: Body<TokenRequest>,
    ) -> Result<RevokedResponse> {
        super::revoke(&app, &body.0, device).await?;
        Ok(RevokedResponse::Done)
    }

    /// Is this API token accepted
    ///
    /// Asking is not using it. Wants the scope `tokens:check`.
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
