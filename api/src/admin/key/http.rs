//! The operations `/admin/keys…`.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use tessera_verify::SigningAlgorithm;

use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::platform::key::SigningKey;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("list_keys", &[Code::Unauthorized, Code::Forbidden]),
    (
        "rotate_keys",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    (
        "retire_key",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::NotFound,
            Code::KeyInUse,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
];

/// A signing key to create.
#[derive(Object)]
#[oai(example)]
struct RotateRequest {
    /// The algorithm: `RS256`, `ES256` or `EdDSA`. Default: `JWT_ALGORITHM`.
    #[oai(skip_serializing_if_is_none)]
    algorithm: Option<String>,
    /// `true` to sign with it at once. By default it signs after ten minutes, in which services can read it.
    #[oai(skip_serializing_if_is_none)]
    now: Option<bool>,
}

impl Example for RotateRequest {
    fn example() -> Self {
        Self { algorithm: Some("EdDSA".to_owned()), now: None }
    }
}

impl Input for RotateRequest {
    type Parsed = (Option<SigningAlgorithm>, bool);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let algorithm = match fields.optional("algorithm") {
            Some(name) => match name.parse() {
                Ok(algorithm) => Some(algorithm),
                Err(_) => {
                    let message = "Input should be 'RS256', 'ES256' or 'EdDSA'";
                    return fields.problem("enum", "algorithm", message);
                }
            },
            None => None,
        };
        Some((algorithm, fields.flag("now")?))
    }
}

/// A signing key in the database, without its private part. Times are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "SigningKey", example)]
struct SigningKeyResponse {
    /// The id of the key, which is in the header `kid` of tokens.
    kid: String,
    /// The algorithm that the key signs with.
    algorithm: String,
    /// `pending`; `active`; `verifying` (it does not sign any more, but tokens that it signed are accepted); `past`
    /// (all tokens that it signed have expired); `retired`; or `unreadable` (it was stored with another `APP_SECRET`).
    state: String,
    /// The time of creation, in seconds since the epoch.
    created: u64,
    /// The time from which it signs, in seconds since the epoch.
    active: u64,
}

impl Example for SigningKeyResponse {
    fn example() -> Self {
        Self {
            kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".to_owned(),
            algorithm: "EdDSA".to_owned(),
            state: "active".to_owned(),
            created: 1_795_306_672,
            active: 1_795_307_272,
        }
    }
}

impl From<SigningKey> for SigningKeyResponse {
    fn from(key: SigningKey) -> Self {
        let SigningKey { kid, algorithm, state, created, active } = key;
        Self { kid, algorithm, state: state.as_str().to_owned(), created, active }
    }
}

/// The signing keys in the database.
#[derive(Object)]
#[oai(rename = "SigningKeys", example)]
struct SigningKeysResponse {
    /// The keys, in the order in which they begin to sign.
    items: Vec<SigningKeyResponse>,
    /// The algorithms that the servers which run now sign access tokens with. HS256 signs with `APP_SECRET`, which is
    /// not in the list of keys. Empty if no server runs.
    signs_with: Vec<String>,
}

impl Example for SigningKeysResponse {
    fn example() -> Self {
        let signs_with = vec!["EdDSA".to_owned()];
        Self { items: vec![SigningKeyResponse::example()], signs_with }
    }
}

#[derive(ApiResponse)]
enum CreatedResponse {
    /// The signing key.
    #[oai(status = 201)]
    Key(Json<SigningKeyResponse>),
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. All replicas apply it within a second. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi]
impl Api {
    /// List signing keys
    ///
    /// Returns the keys that sign, and those that signed tokens which are still accepted, and the algorithms that the
    /// servers sign with. There may be no keys if `JWT_ALGORITHM` is HS256. Requires the scope `super`.
    #[oai(path = "/admin/keys", method = "get", operation_id = "list_keys", tag = "Tag::Admin")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
    ) -> Result<Json<SigningKeysResponse>> {
        let (keys, algorithms) = super::list(&app).await?;
        let items = keys.into_iter().map(SigningKeyResponse::from).collect();
        let signs_with = algorithms.iter().map(|algorithm| algorithm.name().to_owned()).collect();
        Ok(Json(SigningKeysResponse { items, signs_with }))
    }

    /// Create a signing key
    ///
    /// Creates the next signing key. It is published at once and signs after ten minutes, or at once with `now`. Tokens
    /// that the previous key signed are accepted until they expire. Requires the scope `super`, and for sessions a
    /// fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/keys", method = "post", operation_id = "rotate_keys", tag = "Tag::Admin")]
    async fn rotate(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<RotateRequest>,
    ) -> Result<CreatedResponse> {
        let (algorithm, now) = body.0;
        let made = super::rotate(&app, &superuser, algorithm, now).await?;
        Ok(CreatedResponse::Key(Json(made.into())))
    }

    /// Retire a signing key
    ///
    /// Retires a key: tokens that it signed are not accepted any more. The key that signs cannot be retired: create
    /// another one with `now` first. A key that would sign if `JWT_ALGORITHM` named its algorithm requires `force`.
    /// Requires the scope `super`.
    #[oai(
        path = "/admin/keys/:kid",
        method = "delete",
        operation_id = "retire_key",
        tag = "Tag::Admin"
    )]
    async fn retire(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The id of the key.
        kid: Path<String>,
        /// `true` to retire the last key of an algorithm that no server signs with. Default: `false`.
        force: Query<Option<bool>>,
    ) -> Result<EmptyResponse> {
        super::retire(&app, &superuser, &kid, force.0.unwrap_or(false)).await?;
        Ok(EmptyResponse::NoContent)
    }
}
