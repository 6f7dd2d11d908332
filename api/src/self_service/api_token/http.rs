//! `/auth/tokens`

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::{CreatedApiToken, Filter, NewApiToken, Selection};
use crate::access::api_token::{ApiToken, Secret};
use crate::access::caller::Caller;
use crate::access::introspection::http::EXAMPLE_SECRET;
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Code, Result};
use crate::base::scope::Scope;
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    (
        "create_api_token",
        &[
            Code::Unauthorized,
            Code::FreshTokenRequired,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::ApiTokenUserUnknown,
            Code::ApiTokenInvalidScopes,
            Code::ApiTokenLimitReached,
            Code::ApiTokenAlreadyExists,
            Code::TooManyAttempts,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
        ],
    ),
    (
        "list_api_tokens",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::ApiTokenUserUnknown,
            Code::UnprocessableContent,
        ],
    ),
    (
        "delete_api_token",
        &[Code::Unauthorized, Code::Forbidden, Code::FreshProofRequired, Code::TooManyAttempts],
    ),
    (
        "delete_api_tokens",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::ApiTokenUserUnknown,
            Code::ApiTokenNotNamed,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
];

/// The most characters of a token's name.
const MAX_NAME: usize = 64;

/// An API token that is to be. What is missing or null is the default.
#[derive(Object)]
#[oai(example)]
struct ApiTokenRequest {
    /// Whose it is: an e-mail address, or a service's name. The caller's; others are for superusers.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// What its owner calls it: up to 64 characters.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// A secret that was made elsewhere: 16 to 256 letters, digits and `-_~+/=`, and not easy to guess. One
    /// that its owner has already keeps its age and takes the new expiry.
    #[oai(skip_serializing_if_is_none)]
    token: Option<String>,
    /// How long it lives, in seconds; as `API_TOKEN_EXPIRES` says, else for ever.
    #[oai(skip_serializing_if_is_none)]
    expire: Option<u64>,
    /// What it may do: no more than its owner. `authenticated` for a user, everything the service
    /// may for a service.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
}

impl Example for ApiTokenRequest {
    fn example() -> Self {
        Self {
            username: None,
            name: Some("ci".to_owned()),
            token: None,
            expire: Some(86_400),
            scopes: None,
        }
    }
}

impl Input for ApiTokenRequest {
    type Parsed = NewApiToken;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<NewApiToken> {
        let username = fields.optional("username");
        let name = fields.optional("name").map(|name| fields.line("name", name, MAX_NAME));
        let secret = fields.optional("token").map(|text| fields.parsed::<Secret>("token", &text));
        let expire = fields.seconds("expire");
        let scopes = fields.scopes("scopes");
        let (name, secret) = (name.unwrap_or(Some(String::new()))?, secret);
        let secret = match secret {
            Some(secret) => Some(secret?),
            None => None,
        };
        let name = Some(name).filter(|name| !name.is_empty());
        Some(NewApiToken { id: None, username, name, secret, expire: expire?, scopes: scopes? })
    }
}

/// An API token with its secret, which is shown this once. Instants are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "NewApiToken", example)]
struct NewApiTokenResponse {
    /// Its id.
    id: String,
    /// Whose it is.
    username: String,
    /// Its secret: `Authorization: Bearer …`, `Token: …` or `X-API-Key: …`.
    token: String,
    /// The beginning of its secret, to know it by.
    prefix: String,
    /// What its owner calls it.
    name: Option<String>,
    /// What it may do, as far as its owner may.
    scopes: Vec<String>,
    /// When it was made.
    created: u64,
    /// When it expires; null for never.
    expires: Option<u64>,
}

const EXAMPLE_ID: &str = "b2a1c6de-3a55-4c39-9b83-3f2a8b0f8a41";

impl Example for NewApiTokenResponse {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID.to_owned(),
            username: "first@user.com".to_owned(),
            token: EXAMPLE_SECRET.to_owned(),
            prefix: "tsr_7hQ2".to_owned(),
            name: Some("ci".to_owned()),
            scopes: vec![Scope::AUTHENTICATED.to_owned()],
            created: 1_795_306_672,
            expires: Some(1_795_393_072),
        }
    }
}

impl From<CreatedApiToken> for NewApiTokenResponse {
    fn from(created: CreatedApiToken) -> Self {
        let CreatedApiToken { token, username, secret } = created;
        let ApiToken { id, owner: _, name, prefix, scopes, created, expires, last_used: _ } = token;
        Self {
            id: id.to_string(),
            username,
            token: secret.expose().to_owned(),
            prefix,
            name,
            scopes: scopes.words(),
            created,
            expires,
        }
    }
}

/// An API token, without its secret. Instants are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "ApiToken", example)]
pub(crate) struct ApiTokenResponse {
    /// Its id.
    id: String,
    /// Whose it is.
    username: String,
    /// The beginning of its secret, to know it by.
    prefix: String,
    /// What its owner calls it.
    name: Option<String>,
    /// What it may do, as far as its owner may.
    scopes: Vec<String>,
    /// How old it is, in seconds.
    age: u64,
    /// When it was made.
    created: u64,
    /// When it expires; null for never.
    expires: Option<u64>,
    /// When it was last used, to the minute; null for never.
    last_used: Option<u64>,
}

impl Example for ApiTokenResponse {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID.to_owned(),
            username: "first@user.com".to_owned(),
            prefix: "tsr_7hQ2".to_owned(),
            name: Some("ci".to_owned()),
            scopes: vec![Scope::AUTHENTICATED.to_owned()],
            age: 3600,
            created: 1_795_306_672,
            expires: Some(1_795_393_072),
            last_used: Some(1_795_310_272),
        }
    }
}

impl From<(ApiToken, String)> for ApiTokenResponse {
    fn from((token, username): (ApiToken, String)) -> Self {
        let ApiToken { id, owner: _, name, prefix, scopes, created, expires, last_used } = token;
        Self {
            id: id.to_string(),
            username,
            prefix,
            name,
            scopes: scopes.words(),
            age: clock::now().seconds().saturating_sub(created),
            created,
            expires,
            last_used,
        }
    }
}

/// Some API tokens.
#[derive(Object)]
#[oai(rename = "ApiTokens", example)]
struct ApiTokensResponse {
    /// The newest first.
    items: Vec<ApiTokenResponse>,
    /// What to give as `after` for more; null when there are none.
    next: Option<String>,
}

impl Example for ApiTokensResponse {
    fn example() -> Self {
        Self { items: vec![ApiTokenResponse::example()], next: None }
    }
}

/// Which API token to delete.
#[derive(Object)]
#[oai(example)]
struct DeleteRequest {
    /// Its secret, where nobody is named.
    token: Option<String>,
    /// Whose to delete, all of them; in the query is as good.
    username: Option<String>,
}

impl Example for DeleteRequest {
    fn example() -> Self {
        Self { token: Some(EXAMPLE_SECRET.to_owned()), username: None }
    }
}

impl Input for DeleteRequest {
    type Parsed = (Option<String>, Option<String>);
    const ACCEPTS: Accepts = Accepts::AnyOrNothing;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        Some((fields.optional("token"), fields.optional("username")))
    }
}

/// How many there were.
#[derive(Object)]
#[oai(rename = "Removed", example)]
struct RemovedResponse {
    /// How many API tokens were deleted.
    removed: u64,
}

impl Example for RemovedResponse {
    fn example() -> Self {
        Self { removed: 1 }
    }
}

#[derive(ApiResponse)]
enum CreatedResponse {
    /// The token, with its secret.
    #[oai(status = 201)]
    Token(Json<NewApiTokenResponse>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Tokens")]
impl Api {
    /// Make an API token
    ///
    /// For scripts and services: it lives until it is deleted or expires. Its secret is shown this
    /// once. Wants an access token from a sign-in, or an API token with the scope `super`. A session that makes one
    /// for somebody else requires that its password was given a short time ago: otherwise it gets 403
    /// `FRESH_TOKEN_REQUIRED`.
    #[oai(path = "/auth/tokens", method = "post", operation_id = "create_api_token")]
    async fn create(
        &self,
        app: Data<&App>,
        caller: Caller,
        body: Body<ApiTokenRequest>,
    ) -> Result<CreatedResponse> {
        let created = super::create(&app, &caller, body.0).await?;
        Ok(CreatedResponse::Token(Json(created.into())))
    }

    /// Which API tokens there are
    ///
    /// The caller's, the newest first, and never their secrets. Superusers see others' as well.
    #[oai(path = "/auth/tokens", method = "get", operation_id = "list_api_tokens")]
    async fn list(
        &self,
        app: Data<&App>,
        caller: Caller,
        /// Whose: an e-mail address, or a service's name.
        username: Query<Option<String>>,
        /// Everybody's.
        all: Query<Option<bool>>,
        /// At most so many, 20 if not given; less than 1 is taken for 1, more than 100 for 100.
        limit: Query<Option<u64>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
    ) -> Result<Json<ApiTokensResponse>> {
        let filter = Filter {
            username: username.0,
            all: all.0.unwrap_or(false),
            after: after.0.filter(|after| !after.is_empty()),
            limit: limit.0.unwrap_or(20),
        };
        let tokens = super::list(&app, &caller, filter).await?;
        let next = tokens.next(|(last, _)| last.id.to_string());
        let items = tokens.items.into_iter().map(ApiTokenResponse::from).collect();
        Ok(Json(ApiTokensResponse { items, next }))
    }

    /// Delete an API token
    ///
    /// By its id. Somebody else's, and one that is none, count for nothing. A superuser deletes others' too; their
    /// session requires that its password was given a short time ago.
    #[oai(path = "/auth/tokens/:id", method = "delete", operation_id = "delete_api_token")]
    async fn delete(
        &self,
        app: Data<&App>,
        caller: Caller,
        /// The token's id.
        id: Path<String>,
    ) -> Result<Json<RemovedResponse>> {
        let removed = super::delete(&app, &caller, Selection::Id(id.0)).await?;
        Ok(Json(RemovedResponse { removed }))
    }

    /// Delete API tokens
    ///
    /// One by its secret, or all of somebody's. They are accepted nowhere any more. A superuser deletes others' too;
    /// their session requires that its password was given a short time ago.
    #[oai(path = "/auth/tokens", method = "delete", operation_id = "delete_api_tokens")]
    async fn delete_some(
        &self,
        app: Data<&App>,
        caller: Caller,
        /// Whose: an e-mail address, or a service's name.
        username: Query<Option<String>>,
        body: Body<DeleteRequest>,
    ) -> Result<Json<RemovedResponse>> {
        let (token, named) = body.0;
        let selection = match (token, username.0.or(named)) {
            (Some(token), None) => Selection::Secret(token),
            (None, Some(username)) => Selection::Username(username),
            _ => return Err(Code::ApiTokenNotNamed.into()),
        };
        let removed = super::delete(&app, &caller, selection).await?;
        Ok(Json(RemovedResponse { removed }))
    }
}
