//! Introspection and revocation of JWTs and API tokens, for other services.

pub(crate) mod http;

use tessera_verify::{Claims, TokenKind, TokenType};

use crate::access::api_token::{self, Presented};
use crate::access::caller::Caller;
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::clock;
use crate::base::error::Result;
use crate::base::scope::{Scope, Scopes};
use crate::platform::revocation;

/// The content of an active token. Times are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct Active {
    /// `access`, `refresh` or `api`.
    pub kind: &'static str,
    /// The scopes, separated by spaces; `None` for a refresh token.
    pub scope: Option<String>,
    /// The address of the user, or the name of the service.
    pub username: String,
    /// `true` if the user's address is verified; `None` for a service.
    pub email_verified: Option<bool>,
    /// The id of the user or service.
    pub sub: String,
    /// The time of issue.
    pub iat: u64,
    /// The time of expiry, if the token expires.
    pub exp: Option<u64>,
    /// The id of the token.
    pub jti: String,
    /// The claims, if the token is a JWT.
    pub claims: Option<Claims>,
}

/// Returns the content of a token, if it is accepted now (RFC 7662), and `None` otherwise. A token for an audience in
/// `JWT_AUDIENCES` is returned only to the service of that name and to superusers.
///
/// # Errors
///
/// If the database does not answer, or the revocation list is out of date.
pub async fn introspect(app: &App, caller: &Caller, token: &str) -> Result<Option<Active>> {
    match Presented::of(token) {
        Presented::ApiToken(secret) => of_api_token(app, secret).await,
        Presented::Jwt(token) => of_jwt(app, caller, token).await,
        // Applications ask at /oauth2/introspect.
        Presented::OfClient(_) => Ok(None),
    }
}

async fn of_jwt(app: &App, caller: &Caller, token: &str) -> Result<Option<Active>> {
    revocation::require_known(app)?;
    let Ok(claims) = app.key.verifier.verify_any(token, clock::now().seconds()) else {
        return Ok(None);
    };
    let is_for_all = claims.token_type() == TokenType::Refresh
        || claims.aud.is_only(&app.config.jwt_audience)
        || caller.may(Scope::SUPER);
    let is_for_caller =
        caller.principal().is_some_and(|principal| claims.aud.is_only(principal.name()));
    if !is_for_all && !is_for_caller {
        return Ok(None);
    }
    let user = session::active_user(app, &claims).await?;
    let Some(user) = user.filter(|user| user.may_act(&app.config)) else { return Ok(None) };
    // A service that shares a secret can make tokens for itself. Only tokens of a session that Tessera opened are
    // active.
    if !session::is_of_session(app, &claims).await? {
        return Ok(None);
    }
    if session::explain_refresh(app, &claims).await?.is_some() {
        return Ok(None);
    }
    let (kind, scope) = match &claims.kind {
        TokenKind::Access { scope, .. } => {
            ("access", Some(Scopes::parse(scope).within(&user.scopes()).to_string()))
        }
        TokenKind::Refresh { .. } => ("refresh", None),
        _ => return Ok(None),
    };
    Ok(Some(Active {
        kind,
        scope,
        username: user.email.clone(),
        email_verified: Some(user.is_verified),
        sub: claims.sub.to_string(),
        iat: claims.iat,
        exp: Some(claims.exp),
        jti: claims.jti.to_string(),
        claims: Some(claims),
    }))
}

async fn of_api_token(app: &App, secret: &str) -> Result<Option<Active>> {
    let Some((token, principal)) = api_token::check(app, secret).await? else {
        return Ok(None);
    };
    let scope = token.scopes.within(&principal.scopes());
    Ok(Some(Active {
        kind: "api",
        scope: Some(scope.to_string()),
        username: principal.name().to_owned(),
        email_verified: principal.is_verified(),
        sub: principal.id().to_string(),
        iat: token.created,
        exp: token.expires,
        jti: token.id.to_string(),
        claims: None,
    }))
}

/// Revokes a token for anyone who holds it (RFC 7009). An access token is revoked alone, a refresh token ends its
/// session, and an API token is deleted. Other tokens are ignored.
///
/// # Errors
///
/// If the database does not answer. Then nothing is revoked.
pub async fn revoke(app: &App, token: &str, device: Device) -> Result<()> {
    match Presented::of(token) {
        Presented::ApiToken(secret) => api_token::give_up(app, secret).await,
        Presented::Jwt(token) => session::revoke(app, token, device).await,
        Presented::OfClient(_) => Ok(()),
    }
}
