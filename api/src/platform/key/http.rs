//! The operation that publishes the public keys: `/.well-known/jwks.json`.

use aws_lc_rs::digest;
use poem::web::Data;
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;
use tessera_verify::Jwk;

use crate::app::App;
use crate::base::error::Code;
use crate::base::hex::hex;
use crate::http::Tag;

/// The refusals of the operation: none.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[];

/// The time for which services can cache the keys: half as long as a key is published before it signs.
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
    /// The id of the key, which the header of a token names: its thumbprint (RFC 7638).
    kid: String,
    /// The curve (`EC` and `OKP`).
    #[oai(skip_serializing_if_is_none)]
    crv: Option<String>,
    /// A coordinate of the point (`EC`), or the public key (`OKP`).
    #[oai(skip_serializing_if_is_none)]
    x: Option<String>,
    /// The other coordinate (`EC`).
    #[oai(skip_serializing_if_is_none)]
    y: Option<String>,
    /// The modulus (`RSA`).
    #[oai(skip_serializing_if_is_none)]
    n: Option<String>,
    /// The exponent (`RSA`).
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
    /// The keys that sign, will sign, or signed tokens that are still valid. If `APP_SECRET` signs the tokens of
    /// sessions, the list has only the keys for clients: a secret is never published.
    keys: Vec<JwkResponse>,
}

impl Example for JwksResponse {
    fn example() -> Self {
        Self { keys: vec![JwkResponse::example()] }
    }
}

#[derive(ApiResponse)]
enum Published {
    /// The public keys of this issuer (RFC 7517, section 5).
    #[oai(status = 200)]
    Keys(
        Json<JwksResponse>,
        /// A value that changes with the keys.
        #[oai(header = "ETag")]
        String,
        /// The time for which the keys can be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The caller already has the current keys.
    #[oai(status = 304)]
    Unchanged(
        /// The ETag of the current keys.
        #[oai(header = "ETag")]
        String,
        /// The time for which the keys can be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

pub(crate) struct Api;

#[OpenApi]
impl Api {
    /// List the public keys
    ///
    /// Services verify access tokens with these keys, unless `JWT_ALGORITHM` is HS256. A key is published ten minutes
    /// before it signs. So a service that reads the keys every five minutes, with `If-None-Match`, has the key of every
    /// token.
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
        let sets = [app.key.verifier.keys(), app.key.clients.verifier.keys()];
        let keys = sets.iter().flat_map(|set| set.public()).map(JwkResponse::from).collect();
        let set = JwksResponse { keys };
        let text = set.to_json().unwrap_or(Value::Null).to_string();
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let tag = format!("\"{}\"", hex(&digest.as_ref()[..16]));
        if known.0.is_some_and(|known| known.contains(&tag)) {
            return Published::Unchanged(tag, CACHE.to_owned());
        }
        Published::Keys(Json(set), tag, CACHE.to_owned())
    }
}
