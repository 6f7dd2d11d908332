//! The document that describes this server to applications (OpenID Connect Discovery; RFC 8414). It announces only what
//! exists: a test compares it with the routes.

use serde_json::{Value, json};
use strum::VariantArray;

use crate::base::config::Config;
use crate::identity::factor;
use crate::platform::key::CLIENT_ALGORITHMS;
use crate::provider::authorization::{Mode, prompts};
use crate::provider::client::{GrantType, claims};

/// The scopes that every client can have. Those of resources are not listed, because they are not everybody's business.
const SCOPES: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// The claims of the protocol in ID tokens.
const CLAIMS: [&str; 11] =
    ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid"];

/// The methods by which clients with a secret authenticate.
const WITH_SECRET: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// Makes the document.
pub fn document(config: &Config) -> Value {
    let issuer = config.public_url.as_str();
    let place = |path: &str| format!("{}{path}", issuer.trim_end_matches('/'));
    let algorithms = CLIENT_ALGORITHMS.map(|algorithm| algorithm.name());
    let grants: Vec<&'static str> = GrantType::VARIANTS.iter().map(Into::into).collect();
    let claims: Vec<_> = CLAIMS.into_iter().chain(claims::supported()).collect();
    let methods: Vec<_> = WITH_SECRET.into_iter().chain(["none"]).collect();
    json!({
        "issuer": issuer,
        "authorization_endpoint": place("/oauth2/authorize"),
        "token_endpoint": place("/oauth2/token"),
        "userinfo_endpoint": place("/oauth2/userinfo"),
        "jwks_uri": place("/.well-known/jwks.json"),
        "introspection_endpoint": place("/oauth2/introspect"),
        "revocation_endpoint": place("/oauth2/revoke"),
        "response_types_supported": ["code"],
        "response_modes_supported": Mode::NAMES,
        "grant_types_supported": grants,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": WITH_SECRET,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": SCOPES,
        "claims_supported": claims,
        "claim_types_supported": ["normal"],
        "acr_values_supported": factor::classes(config),
        "prompt_values_supported": prompts(),
        "ui_locales_supported": ["en", "de"],
        "claims_parameter_supported": true,
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    })
}
