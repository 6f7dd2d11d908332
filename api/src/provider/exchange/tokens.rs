//! The tokens of clients: access tokens (RFC 9068), ID tokens (OpenID Connect Core, section 2) and refresh tokens.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::{GrantId, oauth_grant};
use serde_json::{Map, Value, json};
use tessera_verify::{Audiences, GrantClaims};

use crate::access::grant::client::ClientToken;
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Result};
use crate::base::random;
use crate::base::scope::Scopes;
use crate::identity::factor::class_of;
use crate::identity::factor::federated::UNKNOWN;
use crate::identity::user::User;
use crate::platform::key::signing_for_clients;
use crate::platform::revocation::{self, MAX_CLIENT_LIFE};
use crate::provider::authorization::ClaimsRequest;
use crate::provider::client::claims::{self, Kind};
use crate::provider::client::settings::TokenAlgorithm;
use crate::provider::client::{Client, GrantType};

/// The default lifetime of access tokens and ID tokens, in seconds.
const EXPIRES: u64 = 900;

/// The time before its issue from which an access token is valid, in seconds. Clocks of services may be behind.
const VALID_BEFORE: u64 = 5;

/// The scope of OpenID Connect.
pub(super) const OPENID: &str = "openid";

/// The answer of the token endpoint.
pub struct Issued {
    /// The access token.
    pub access_token: String,
    /// Its lifetime, in seconds.
    pub expires_in: u64,
    /// Its scopes.
    pub scope: Scopes,
    /// The refresh token, if the client gets one.
    pub refresh_token: Option<String>,
    /// The ID token, if the scopes contain `openid`.
    pub id_token: Option<String>,
}

/// The values that the tokens of one answer share.
pub(super) struct Order<'a> {
    /// The client.
    pub(super) client: &'a Client,
    /// The time of issue.
    pub(super) now: Timestamp,
    /// The scopes of the access token.
    pub(super) scopes: &'a Scopes,
    /// The resources that were asked for.
    pub(super) resources: &'a [String],
}

/// The tokens of a grant.
pub(super) async fn of_grant(
    app: &App,
    order: &Order<'_>,
    grant: &oauth_grant::Model,
    user: &User,
    nonce: Option<&str>,
) -> Result<Issued> {
    let Order { client, scopes, .. } = order;
    let end = Timestamp::from_millis(grant.expires_at);
    let auth_time = Timestamp::from_millis(grant.auth_time).seconds();
    let amr: Vec<&str> = grant.amr.split(' ').collect();
    let issued = Timestamp::from_millis(grant.issued_at);
    let claims = access_claims(app, order, &user.id.to_string(), grant.id, issued, Some(end));
    let mut claims = claims.with_proof(auth_time, class_of(&grant.amr), &amr);
    let mapped = claims::for_token(client, user, scopes, Kind::AccessToken);
    claims.extra.extend(mapped);
    let expires_in = claims.exp.saturating_sub(claims.iat);
    let access_token = sign_access(app, client, &claims).await?;
    let id_token = match scopes.contains(OPENID) {
        true => Some(id_token(app, order, grant, user, nonce, &access_token).await?),
        false => None,
    };
    let refreshes = client.can_use(GrantType::RefreshToken);
    let refresh_token = ClientToken::of(grant).filter(|_| refreshes).map(|token| token.text());
    Ok(Issued { access_token, expires_in, scope: (*scopes).clone(), refresh_token, id_token })
}

/// The access token that a client gets for itself.
pub(super) async fn of_client(app: &App, order: &Order<'_>, grant: GrantId) -> Result<Issued> {
    let Order { client, now, scopes, .. } = order;
    let claims = access_claims(app, order, &client.client_id, grant, *now, None);
    let expires_in = claims.exp.saturating_sub(claims.iat);
    let access_token = sign_access(app, client, &claims).await?;
    let scope = (*scopes).clone();
    Ok(Issued { access_token, expires_in, scope, refresh_token: None, id_token: None })
}

/// The claims of an access token. `issued` is the time in its id, which orders the tokens of a user, and `end` the time
/// that it does not outlive.
fn access_claims(
    app: &App,
    order: &Order<'_>,
    sub: &str,
    grant: GrantId,
    issued: Timestamp,
    end: Option<Timestamp>,
) -> GrantClaims {
    let Order { client, now, scopes, resources } = order;
    let issuer = app.config.public_url.as_str();
    let life = client.settings.access_token_expires.unwrap_or(EXPIRES).min(MAX_CLIENT_LIFE);
    let exp = now.plus_seconds(life).seconds();
    let exp = end.map_or(exp, |end| exp.min(end.seconds()));
    let audiences = audiences(issuer, client, scopes, resources);
    let id = random::id_at(issued);
    GrantClaims::new(issuer, sub, audiences, &client.client_id, grant.0, id)
        .with_iat(now.seconds())
        .with_nbf(now.minus_seconds(VALID_BEFORE).seconds())
        .with_exp(exp)
        .with_scope(scopes.to_string())
}

/// The audiences of an access token: the resources that were asked for, otherwise those of the client, otherwise the
/// issuer. Userinfo requires the issuer, so an API that gets a token for itself cannot read the profile with it.
fn audiences(issuer: &str, client: &Client, scopes: &Scopes, resources: &[String]) -> Audiences {
    let named = if resources.is_empty() { &client.settings.audience } else { resources };
    let mut named = named.iter();
    let Some(first) = named.next() else { return issuer.into() };
    let audiences = named.fold(Audiences::from(first.as_str()), |all, one| all.and(one.as_str()));
    match resources.is_empty() && scopes.contains(OPENID) {
        true => audiences.and(issuer),
        false => audiences,
    }
}

async fn sign_access(app: &App, client: &Client, claims: &GrantClaims) -> Result<String> {
    revocation::require_noted_life(app)?;
    let key = signing_for_clients(app, client.settings.access_token_alg.into()).await?;
    Ok(key.sign_grant(claims)?)
}

async fn id_token(
    app: &App,
    order: &Order<'_>,
    grant: &oauth_grant::Model,
    user: &User,
    nonce: Option<&str>,
    access_token: &str,
) -> Result<String> {
    let Order { client, now, scopes, .. } = order;
    let life = client.settings.id_token_expires.unwrap_or(EXPIRES).min(MAX_CLIENT_LIFE);
    let asked = grant.claims.as_deref().and_then(ClaimsRequest::parse).unwrap_or_default();
    let mut claims = claims::for_token(client, user, scopes, Kind::IdToken);
    let more = claims::requested(client, user, scopes, asked.of_id_token());
    claims.extend(more);
    let amr: Vec<&str> = grant.amr.split(' ').collect();
    let own = json!({
        "iss": app.config.public_url.as_str(),
        "sub": user.id.to_string(),
        "aud": client.client_id,
        "exp": now.plus_seconds(life).seconds(),
        "iat": now.seconds(),
        "acr": class_of(&grant.amr),
        "amr": amr,
        "at_hash": half_digest(client.settings.id_token_alg, access_token),
        "sid": grant.sid,
    });
    // The claims of the protocol come last, so that no mapping can replace one.
    let Value::Object(own) = own else { return Err(Code::InternalServerError.into()) };
    claims.extend(own);
    // Of a user whose provider does not say when they signed in, the time is not known.
    let auth_time = Some(Timestamp::from_millis(grant.auth_time)).filter(|at| *at != UNKNOWN);
    claims.extend(auth_time.map(|at| ("auth_time".to_owned(), json!(at.seconds()))));
    claims.extend(nonce.map(|nonce| ("nonce".to_owned(), json!(nonce))));
    let key = signing_for_clients(app, client.settings.id_token_alg.into()).await?;
    Ok(key.sign_id_token(&claims)?)
}

/// The left half of the digest that belongs to an algorithm, as `at_hash` has it. Ed25519 uses SHA-512.
fn half_digest(algorithm: TokenAlgorithm, token: &str) -> String {
    let kind = if algorithm == TokenAlgorithm::EdDsa { &SHA512 } else { &SHA256 };
    let full = digest(kind, token.as_bytes());
    let full = full.as_ref();
    URL_SAFE_NO_PAD.encode(&full[..full.len() / 2])
}

/// The claims of an answer of userinfo.
pub(super) fn userinfo_claims(
    client: &Client,
    user: &User,
    scopes: &Scopes,
    asked: Option<&str>,
) -> Map<String, Value> {
    let asked = asked.and_then(ClaimsRequest::parse).unwrap_or_default();
    let mut claims = claims::for_token(client, user, scopes, Kind::Userinfo);
    claims.extend(claims::requested(client, user, scopes, asked.of_userinfo()));
    claims.insert("sub".to_owned(), json!(user.id.to_string()));
    claims
}
