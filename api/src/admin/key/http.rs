//! `/admin/keys`

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
use crate::platform::key::{self, SigningKey};

/// The refusals of each operation, for the documents.
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

/// A key that is to be.
#[derive(Object)]
#[oai(example)]
struct RotateRequest {
    /// `RS256`, `ES256` or `EdDSA`; that of the settings if not given.
    #[oai(skip_serializing_if_is_none)]
    algorithm: Option<String>,
    /// Whether it signs at once, rather than after services had ten minutes to read it.
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

/// A key of the database, without what is private. Instants are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "SigningKey", example)]
struct SigningKeyResponse {
    /// Its name, as tokens say it.
    kid: String,
    /// What it signs with.
    algorithm: String,
    /// `pending`, `active`, `verifying` (what it signed is accepted), `past` (nothing it signed can be
    /// valid), `retired`, or `unreadable` (kept under another `APP_SECRET`).
    state: String,
    /// When it was made.
    created: u64,
    /// When it begins to sign.
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

/// The keys of the database.
#[derive(Object)]
#[oai(rename = "SigningKeys", example)]
struct SigningKeysResponse {
    /// In the order in which they begin to sign.
    items: Vec<SigningKeyResponse>,
}

impl Example for SigningKeysResponse {
    fn example() -> Self {
        Self { items: vec![SigningKeyResponse::example()] }
    }
}

#[derive(ApiResponse)]
enum CreatedResponse {
    /// The key.
    #[oai(status = 201)]
    Key(Json<SigningKeyResponse>),
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done, on every replica within a second.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi]
impl Api {
    /// Which keys sign
    ///
    /// And which signed what is still accepted. Where `APP_SECRET` signs, there need not be any.
    #[oai(path = "/admin/keys", method = "get", operation_id = "list_keys", tag = "Tag::Admin")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
    ) -> Result<Json<SigningKeysResponse>> {
        let items = key::list(&app).await?.into_iter().map(SigningKeyResponse::from).collect();
        Ok(Json(SigningKeysResponse { items }))
    }

    /// Make the next key
    ///
    /// It is published at once, and signs ten minutes later. What the one before it signed is accepted
    /// until it expires.
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

    /// Retire a key
    ///
    /// What it signed is not accepted any more. The one that signs cannot be retired: make another
    /// with `now` first. One that would sign if `JWT_ALGORITHM` were its own wants `force`.
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
        /// The key's name.
        kid: Path<String>,
        /// Whether to retire the last one of an algorithm that no server signs with.
        force: Query<Option<bool>>,
    ) -> Result<EmptyResponse> {
        super::retire(&app, &superuser, &kid, force.0.unwrap_or(false)).await?;
        Ok(EmptyResponse::NoContent)
    }
}
