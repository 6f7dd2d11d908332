//! `/.well-known/jwks.json` and `/admin/keys`

use aws_lc_rs::digest;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;
use tessera_verify::{Jwk, SigningAlgorithm};

use super::SigningKey;
use crate::app::App;
use crate::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::caller::Superuser;

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

/// How long services may keep what was published: half as long as a key is published before it signs.
const CACHE: &str = "public, max-age=300";

/// A public key (RFC 7517).
#[derive(Object)]
#[oai(rename = "Jwk", example)]
struct JwkResponse {
    /// `RSA`, `EC` or `OKP`.
    kty: String,
    /// Always `sig`.
    #[oai(rename = "use")]
    purpose: String,
    /// `RS256`, `ES256` or `EdDSA`.
    alg: String,
    /// Its name, as tokens say it: its thumbprint (RFC 7638).
    kid: String,
    /// The curve, of `EC` and `OKP`.
    #[oai(skip_serializing_if_is_none)]
    crv: Option<String>,
    /// A coordinate of the point, of `EC`; the public key, of `OKP`.
    #[oai(skip_serializing_if_is_none)]
    x: Option<String>,
    /// The other coordinate, of `EC`.
    #[oai(skip_serializing_if_is_none)]
    y: Option<String>,
    /// The modulus, of `RSA`.
    #[oai(skip_serializing_if_is_none)]
    n: Option<String>,
    /// The exponent, of `RSA`.
    #[oai(skip_serializing_if_is_none)]
    e: Option<String>,
}

impl Example for JwkResponse {
    fn example() -> Self {
        Self {
            kty: "OKP".to_owned(),
            purpose: "sig".to_owned(),
            alg: "EdDSA".to_owned(),
            kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".to_owned(),
            crv: Some("Ed25519".to_owned()),
            x: Some("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned()),
            y: None,
            n: None,
            e: None,
        }
    }
}

impl From<&Jwk> for JwkResponse {
    fn from(jwk: &Jwk) -> Self {
        let members = serde_json::to_value(jwk).unwrap_or_default();
        let member = |name: &str| members[name].as_str().map(ToOwned::to_owned);
        let required = |name: &str| member(name).unwrap_or_default();
        Self {
            kty: required("kty"),
            purpose: required("use"),
            alg: required("alg"),
            kid: required("kid"),
            crv: member("crv"),
            x: member("x"),
            y: member("y"),
            n: member("n"),
            e: member("e"),
        }
    }
}

/// The public keys of this issuer (RFC 7517, section 5).
#[derive(Object)]
#[oai(rename = "Jwks", example)]
struct JwksResponse {
    /// Those that sign, will sign, or signed what is still valid. None where `APP_SECRET` signs: a
    /// secret is never published.
    keys: Vec<JwkResponse>,
}

impl Example for JwksResponse {
    fn example() -> Self {
        Self { keys: vec![JwkResponse::example()] }
    }
}

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
enum Published {
    /// The public keys of this issuer (RFC 7517, section 5).
    #[oai(status = 200)]
    Keys(
        Json<JwksResponse>,
        /// Changes with the keys.
        #[oai(header = "ETag")]
        String,
        /// How long they may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// They are those that the caller has.
    #[oai(status = 304)]
    Unchanged(
        /// That of the keys.
        #[oai(header = "ETag")]
        String,
        /// How long they may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Made {
    /// The key.
    #[oai(status = 201)]
    Key(Json<SigningKeyResponse>),
}

#[derive(ApiResponse)]
enum Done {
    /// Done, on every replica within a second.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi]
impl Api {
    /// The public keys
    ///
    /// What services verify access tokens with, where `JWT_ALGORITHM` is not HS256. A key is here ten
    /// minutes before it signs: who reads them once in five minutes, and keeps them by their ETag, never
    /// meets a token of a key they do not have.
    #[oai(
        path = "/.well-known/jwks.json",
        method = "get",
        operation_id = "read_jwks",
        tag = "Tag::Services"
    )]
    async fn read_jwks(
        &self,
        app: Data<&App>,
        /// The ETag of the keys that the caller has.
        #[oai(name = "If-None-Match")]
        known: Header<Option<String>>,
    ) -> Published {
        let keys = app.verifier.keys().public().map(JwkResponse::from).collect();
        let set = JwksResponse { keys };
        let text = set.to_json().unwrap_or(Value::Null).to_string();
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let tag: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = format!("\"{tag}\"");
        if known.0.is_some_and(|known| known.contains(&tag)) {
            return Published::Unchanged(tag, CACHE.to_owned());
        }
        Published::Keys(Json(set), tag, CACHE.to_owned())
    }

    /// Which keys sign
    ///
    /// And which signed what is still accepted. Where `APP_SECRET` signs, there need not be any.
    #[oai(path = "/admin/keys", method = "get", operation_id = "list_keys", tag = "Tag::Admin")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
    ) -> Result<Json<SigningKeysResponse>> {
        let items = super::list(&app).await?.into_iter().map(SigningKeyResponse::from).collect();
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
    ) -> Result<Made> {
        let (algorithm, now) = body.0;
        let made = super::rotate(&app, &superuser.authority, algorithm, now).await?;
        Ok(Made::Key(Json(made.into())))
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
    ) -> Result<Done> {
        super::retire(&app, &superuser.authority, &kid, force.0.unwrap_or(false)).await?;
        Ok(Done::NoContent)
    }
}
