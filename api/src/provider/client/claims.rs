//! Claims about users: a closed list of sources, and which of them go into which token.
//!
//! A claim that names a person is given only for a verified address, except `email`, which brings `email_verified`
//! along. In many programs, a local part or an address that nobody proved is the account of another person.

use serde_json::{Map, Value};

use super::Client;
use super::settings::{IdTokenClaims, Settings};
use crate::base::scope::Scopes;
use crate::identity::user::User;
pub use crate::identity::user::source::Source;
use crate::identity::user::source::{put, put_all};

/// A kind of answer that contains claims about a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ID token.
    IdToken,
    /// The answer of the userinfo endpoint.
    Userinfo,
    /// An access token for APIs.
    AccessToken,
}

/// The claims that each scope brings (OpenID Connect Core, section 5.4).
const OF_SCOPES: [(&str, &[&str]); 3] = [
    ("profile", &["name", "given_name", "family_name", "website", "preferred_username"]),
    ("email", &["email"]),
    ("groups", &["groups"]),
];

/// Returns the source of a claim that a scope brings.
fn usual(claim: &str) -> Option<Source> {
    Some(match claim {
        "name" => Source::Name,
        "given_name" => Source::GivenName,
        "family_name" => Source::FamilyName,
        "website" => Source::Website,
        // The whole address: a local part is the account of another person in programs that trust it.
        "preferred_username" | "email" => Source::Email,
        "groups" => Source::Words("group:".to_owned()),
        _ => return None,
    })
}

/// Returns all claims that scopes can bring, for the discovery document.
pub fn supported() -> Vec<&'static str> {
    let claims = OF_SCOPES.iter().flat_map(|(_, claims)| claims.iter().copied());
    claims.chain(["email_verified"]).collect()
}

/// Returns the claims about a user for a token of a client: those that the granted scopes bring, and those that the
/// client's settings map. It contains no claim of the protocol.
pub fn for_token(client: &Client, user: &User, scopes: &Scopes, kind: Kind) -> Map<String, Value> {
    let Settings { claims, access_token_claims, id_token_claims, .. } = &client.settings;
    let brings_scopes = match kind {
        Kind::IdToken => *id_token_claims == IdTokenClaims::All,
        Kind::Userinfo => true,
        Kind::AccessToken => false,
    };
    let mut found = Map::new();
    if brings_scopes {
        let granted = OF_SCOPES.iter().filter(|(scope, _)| scopes.contains(scope));
        for claim in granted.flat_map(|(_, claims)| claims.iter()) {
            if let Some(source) = usual(claim) {
                put(&mut found, claim, &source, user);
            }
        }
    }
    let mapped = if kind == Kind::AccessToken { access_token_claims } else { claims };
    put_all(&mut found, mapped, user);
    found
}

/// Returns the scope that brings a claim. If a request asks for the claim by name, the user must consent to this scope.
pub fn scope_of(name: &str) -> Option<&'static str> {
    let name = if name == "email_verified" { "email" } else { name };
    let brings = OF_SCOPES.iter().find(|(_, claims)| claims.contains(&name));
    brings.map(|(scope, _)| *scope)
}

/// Returns the claims that a request asks for by name (OpenID Connect Core, section 5.5). A client gets only those that
/// the scopes of its token bring, and those that its settings map.
pub fn requested<'a>(
    client: &Client,
    user: &User,
    scopes: &Scopes,
    names: impl IntoIterator<Item = &'a str>,
) -> Map<String, Value> {
    let mut found = Map::new();
    for name in names {
        let name = if name == "email_verified" { "email" } else { name };
        let mapped = client.settings.claims.get(name).cloned();
        let scope = scope_of(name).filter(|scope| scopes.contains(scope));
        let usual = scope.and_then(|_| usual(name));
        if let Some(source) = mapped.or(usual) {
            put(&mut found, name, &source, user);
        }
    }
    found
}
