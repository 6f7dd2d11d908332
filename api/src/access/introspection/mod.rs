//! What other services ask of any token, JWT or API token: what it says, and to give it up.

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

/// What an active token says. Instants are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct Active {
    /// `access`, `refresh` or `api`.
    pub kind: &'static str,
    /// What it may be used for: words separated by spaces; nothing of a refresh token.
    pub scope: Option<String>,
    /// Whom it speaks of: a user's address, or a service's name.
    pub username: String,
    /// Whether a user's address is verified; nothing for a service.
    pub email_verified: Option<bool>,
    /// Their id.
    pub sub: String,
    /// When it was issued.
    pub iat: u64,
    /// When it expires, if it does.
    pub exp: Option<u64>,
    /// Its own id.
    pub jti: String,
    /// What a JWT says besides.
    pub claims: Option<Claims>,
}

/// What a token says, if it is accepted now (RFC 7662); nothing of any other. A token that is for one
/// service of `JWT_AUDIENCES` is told to the service of that name, and to superusers.
///
/// # Errors
///
/// When the database does not answer, or it cannot be known what was revoked.
pub async fn introspect(app: &App, caller: &Caller, token: &str) -> Result<Option<Active>> {
    match Presented::of(token) {
        Presented::ApiToken(secret) => of_api_token(app, secret).await,
        Presented::Jwt(token) => of_jwt(app, caller, token).await,
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
    // A service can make tokens for itself: what Tessera did not issue, it does not vouch for.
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

/// Gives a token up for its holder (RFC 7009): an access token alone, a refresh token with its
/// session, an API token for good. One that is not ours, or over already, is nothing to do.
///
/// # Errors
///
/// When the database does not answer; nothing is revoked then.
pub async fn revoke(app: &App, token: &str, device: Device) -> Result<()> {
    match Presented::of(token) {
        Presented::ApiToken(secret) => api_token::give_up(app, secret).await,
        Presented::Jwt(token) => session::revoke(app, token, device).await,
    }
}
