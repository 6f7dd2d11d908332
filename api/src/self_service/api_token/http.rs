//! The operations `/auth/tokens…`.

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

/// The errors of each operation, for the OpenAPI document.
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

/// The maximum length of a token's name, in characters.
const MAX_NAME: usize = 64;

/// An API token to create. A member that is missing or `null` has its default.
#[derive(Object)]
#[oai(example)]
struct ApiTokenRequest {
    /// The owner: the e-mail address of a user, or the name of a service. Default: the caller. Only superusers can name
    /// others.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// A name for the token, up to 64 characters. Default: none.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// A secret that was made elsewhere: 16 to 256 letters, digits and `-_~+/=`, and not easy to guess. If the owner
    /// already has a token with it, that token keeps its age and gets the new expiry. Default: a new secret.
    #[oai(skip_serializing_if_is_none)]
    token: Option<String>,
    /// The lifetime, in seconds. Default: `API_TOKEN_EXPIRES`. If that is not set, the token never expires.
    #[oai(skip_serializing_if_is_none)]
    expire: Option<u64>,
    /// The scopes, which the owner must have. Default: `authenticated` for a user, all scopes of the service for a
    /// service.
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

/// An API token with its secret, which is shown only once. Times are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "NewApiToken", example)]
struct NewApiTokenResponse {
    /// The id of the token.
    id: String,
    /// The owner: the e-mail address of a user, or the name of a service.
    username: String,
    /// The secret. Send it as `Authorization: Bearer …`, `X-API-Key: …` or `Token: …`.
    token: String,
    /// The beginning of the secret, to recognise the token.
    prefix: String,
    /// The name of the token; `null` if it has none.
    name: Option<String>,
    /// The scopes that the token was granted. It has those of them that its owner currently has.
    scopes: Vec<String>,
    /// The time of creation, in seconds since the epoch.
    created: u64,
    /// The time of expiry, in seconds since the epoch; `null` if the token never expires.
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

/// An API token without its secret. Times are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "ApiToken", example)]
pub(crate) struct ApiTokenResponse {
    /// The id of the token.
    id: String,
    /// The owner: the e-mail address of a user, or the name of a service.
    username: String,
    /// The beginning of the secret, to recognise the token.
    prefix: String,
    /// The name of the token; `null` if it has none.
    name: Option<String>,
    /// The scopes that the token was granted. It has those of them that its owner currently has.
    scopes: Vec<String>,
    /// The age of the token, in seconds.
    age: u64,
    /// The time of creation, in seconds since the epoch.
    created: u64,
    /// The time of expiry, in seconds since the epoch; `null` if the token never expires.
    expires: Option<u64>,
    /// The time of the last use, in seconds since the epoch, to the minute; `null` if the token was never used.
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

/// A page of API tokens.
#[derive(Object)]
#[oai(rename = "ApiTokens", example)]
struct ApiTokensResponse {
    /// The API tokens, newest first.
    items: Vec<ApiTokenResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
    next: Option<String>,
}

impl Example for ApiTokensResponse {
    fn example() -> Self {
        Self { items: vec![ApiTokenResponse::example()], next: None }
    }
}

/// The API tokens to delete.
#[derive(Object)]
#[oai(example)]
struct DeleteRequest {
    /// The secret of the token to delete. Send either this or `username`.
    token: Option<String>,
    /// The owner whose tokens are all deleted. The query can contain it instead.
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

/// The result of a deletion.
#[derive(Object)]
#[oai(rename = "Removed", example)]
struct RemovedResponse {
    /// The number of API tokens that were deleted.
    removed: u64,
}

impl Example for RemovedResponse {
    fn example() -> Self {
        Self { removed: 1 }
    }
}

#[derive(ApiResponse)]
enum CreatedResponse {
    /// The API token with its secret.
    #[oai(status = 201)]
    Token(Json<NewApiTokenResponse>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Tokens")]
impl Api {
    /// Create an API token
    ///
    /// Creates an API token for scripts and services, and returns it with its secret. The secret is shown only once.
    /// The token lives until it is deleted or expires.
    ///
    /// Requires a fresh token, or an API token with the scope `super`. Only superusers can create tokens for others.
    /// For that, a session without a fresh token gets 403 `FRESH_TOKEN_REQUIRED`.
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

    /// List API tokens
    ///
    /// Returns the caller's API tokens without their secrets, newest first. Superusers can list the tokens of others
    /// with `username` or `all`.
    #[oai(path = "/auth/tokens", method = "get", operation_id = "list_api_tokens")]
    async fn list(
        &self,
        app: Data<&App>,
        caller: Caller,
        /// The owner: the e-mail address of a user, or the name of a service. Only superusers can name others.
        username: Query<Option<String>>,
        /// `true` to list the tokens of all owners. Only superusers can do this.
        all: Query<Option<bool>>,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
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
    /// Deletes the token with this id, and returns the number of deleted tokens. The token is not accepted any more.
    /// The number is 0 if there is no such token, or if it belongs to another owner. Superusers can also delete tokens
    /// of others. For that, a session without a fresh token gets 403 `FRESH_TOKEN_REQUIRED`.
    #[oai(path = "/auth/tokens/:id", method = "delete", operation_id = "delete_api_token")]
    async fn delete(
        &self,
        app: Data<&App>,
        caller: Caller,
        /// The id of the token.
        id: Path<String>,
    ) -> Result<Json<RemovedResponse>> {
        let removed = super::delete(&app, &caller, Selection::Id(id.0)).await?;
        Ok(Json(RemovedResponse { removed }))
    }

    /// Delete API tokens
    ///
    /// Deletes either the token with a secret (`token`) or all tokens of an owner (`username`), and returns their
    /// number. They are not accepted any more. Superusers can also delete tokens of others. For that, a session without
    /// a fresh token gets 403 `FRESH_TOKEN_REQUIRED`.
    #[oai(path = "/auth/tokens", method = "delete", operation_id = "delete_api_tokens")]
    async fn delete_some(
        &self,
        app: Data<&App>,
        caller: Caller,
        /// The owner whose tokens are all deleted: the e-mail address of a user, or the name of a service. Only
        /// superusers can name others.
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
