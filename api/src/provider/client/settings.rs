//! The settings of a client, as its row contains them in JSON and `CLIENTS_FILE` in YAML.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tessera_verify::SigningAlgorithm;

use crate::identity::user::source::Source;

/// The settings of a client. Members that a newer release added are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `true` if nobody is asked for consent.
    pub trusted: bool,
    /// The requests that must have a PKCE challenge.
    pub pkce: Pkce,
    /// The scopes of which a user needs one to sign in. Empty: everybody can.
    pub only: Vec<String>,
    /// `true` if only users with a verified address can sign in.
    pub verified_email: bool,
    /// The algorithm of ID tokens.
    pub id_token_alg: TokenAlgorithm,
    /// The algorithm of access tokens.
    pub access_token_alg: TokenAlgorithm,
    /// The lifetime of ID tokens, in seconds.
    pub id_token_expires: Option<u64>,
    /// The lifetime of access tokens, in seconds.
    pub access_token_expires: Option<u64>,
    /// The claims of scopes that ID tokens contain.
    pub id_token_claims: IdTokenClaims,
    /// The `aud` of access tokens if a request names no resource.
    pub audience: Vec<String>,
    /// The resources that it can ask for.
    pub resources: Vec<String>,
    /// The resources that it is the API of.
    pub serves: Vec<String>,
    /// The tokens that it can introspect.
    pub introspects: Introspects,
    /// `true` if plain HTTP to other machines is allowed in redirect URIs.
    pub insecure_http: bool,
    /// Additional claims of ID tokens and userinfo, with their sources.
    pub claims: BTreeMap<String, Source>,
    /// Additional claims of access tokens, with their sources.
    pub access_token_claims: BTreeMap<String, Source>,
}

impl Settings {
    /// The algorithms that sign the tokens of the client.
    pub fn algorithms(&self) -> [SigningAlgorithm; 2] {
        [self.id_token_alg.into(), self.access_token_alg.into()]
    }
}

/// The requests that must have a PKCE challenge (RFC 7636).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    /// Every request must have one.
    #[default]
    Required,
    /// A request can have one. Only confidential clients can have this setting.
    Optional,
}

/// An algorithm that signs tokens for clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// RSA with SHA-256, which every library knows.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl From<TokenAlgorithm> for SigningAlgorithm {
    fn from(algorithm: TokenAlgorithm) -> Self {
        match algorithm {
            TokenAlgorithm::Rs256 => Self::Rs256,
            TokenAlgorithm::Es256 => Self::Es256,
            TokenAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}

/// The claims of scopes that an ID token contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdTokenClaims {
    /// All that userinfo has too, because many programs read nothing else.
    #[default]
    All,
    /// None: the client reads userinfo.
    Minimal,
}

/// The tokens that a client can introspect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Introspects {
    /// Those that were issued to it.
    #[default]
    Own,
    /// Those, and access tokens for the resources that it is the API of.
    Served,
    /// All access tokens of clients, and its own refresh tokens.
    Any,
}
