//! `/.well-known/jwks.json`

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

/// The operation refuses nothing.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[];

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
        let keys = app.key.verifier.keys().public().map(JwkResponse::from).collect();
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
