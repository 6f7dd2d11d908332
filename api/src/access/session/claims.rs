//! The claims of a session's tokens.

use std::sync::atomic::{AtomicI64, Ordering};

use entity::UserId;
use entity::session::Model;
use serde_json::{Map, Value};
use tessera_verify::{Claims, TokenKind, TokenType};

use super::refresh::known_grant;
use super::{Tokens, store};
use crate::access::grant::{Issuer, RefreshToken};
use crate::app::App;
use crate::base::claims::{session_of, user_of};
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::random;
use crate::base::scope::Scopes;
use crate::identity::factor::class_of;
use crate::identity::user;
use crate::identity::user::source::put_all;
use crate::platform::revocation;

/// The time before its issue from which an access token is valid, in seconds. Clocks of services that verify it may be
/// behind.
const VALID_BEFORE: u64 = 5;

/// The age of a token that was made to be refused, in seconds.
const EXPIRED_FOR: u64 = 3600;

/// The least time between two log lines about forged refresh tokens, in milliseconds. Anyone who can make one can make
/// many.
const WARN_EVERY: i64 = 60_000;

/// The tokens of a session, from the current state of its row.
pub(super) async fn tokens(
    app: &App,
    row: &Model,
    now: Timestamp,
    fresh: bool,
    audience: Audience<'_>,
    scopes: &Scopes,
) -> Result<Tokens> {
    let access = access_claims(app, row, now, fresh, audience, scopes).await?;
    let refresh = refresh_claims(app, row)?;
    Ok(Tokens {
        access_token: sign(app, &access)?,
        expires_in: access.exp.saturating_sub(access.iat),
        refresh_token: sign(app, &refresh)?,
        refresh_expires_in: refresh.exp.saturating_sub(now.seconds()),
    })
}

/// Signs claims with the key for their kind of token.
pub(super) fn sign(app: &App, claims: &Claims) -> Result<String> {
    if matches!(claims.kind, TokenKind::Access { .. }) {
        revocation::require_noted_life(app)?;
    }
    let keys = app.key.verifier.keys();
    let key = match claims.kind {
        TokenKind::Access { .. } => keys.access(claims.aud.first()),
        TokenKind::Refresh { .. } => keys.refresh(),
        _ => None,
    };
    let none = || Error::because(Code::InternalServerError, "no key signs tokens of this kind");
    Ok(key.ok_or_else(none)?.sign(claims)?)
}

/// Makes an access token that has expired. A server with the same keys, issuer and audience refuses it for this reason,
/// and every other server for another one.
///
/// # Errors
///
/// If no key signs access tokens.
pub fn expired_token(app: &App) -> Result<String> {
    let issued = clock::now().minus_seconds(EXPIRED_FOR);
    let kind = TokenKind::access(false, issued.seconds(), String::new());
    let (issuer, audience) = (app.config.public_url.as_str(), app.config.jwt_audience.as_str());
    let claims = Claims::new(kind, issuer, random::id(), audience, random::id_at(issued))
        .with_iat(issued.seconds())
        .with_nbf(issued.seconds())
        .with_exp(issued.plus_seconds(1).seconds())
        .with_sid(random::id());
    let none = || Error::because(Code::InternalServerError, "no key signs access tokens");
    Ok(app.key.verifier.keys().access(audience).ok_or_else(none)?.sign(&claims)?)
}

/// The audience of an access token: one that Tessera makes tokens for.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a>(&'a str);

impl<'a> Audience<'a> {
    /// The value of `JWT_AUDIENCE`.
    pub fn own(app: &'a App) -> Self {
        Self(&app.config.jwt_audience)
    }

    /// The requested audience, or `JWT_AUDIENCE` if none was requested.
    ///
    /// # Errors
    ///
    /// [`Code::UnprocessableContent`] if Tessera does not make tokens for it.
    pub fn parse(app: &'a App, requested: Option<&'a str>) -> Result<Self> {
        let own = Self::own(app);
        let Some(requested) = requested.filter(|requested| *requested != own.0) else {
            return Ok(own);
        };
        if !app.config.jwt_audiences.iter().any(|known| known == requested) {
            return Err(Error::field(
                "audience",
                "Input should be the value of JWT_AUDIENCE or one of JWT_AUDIENCES",
            ));
        }
        Ok(Self(requested))
    }
}

/// The claims of an access token of a session.
pub(super) async fn access_claims(
    app: &App,
    row: &Model,
    now: Timestamp,
    fresh: bool,
    audience: Audience<'_>,
    scopes: &Scopes,
) -> Result<Claims> {
    let given = Timestamp::from_millis(row.auth_time);
    let recently = now <= given.plus_seconds(app.config.fresh_token_expires);
    let kind = TokenKind::access(fresh && recently, given.seconds(), scopes.to_string());
    // No token outlives its session.
    let end = Timestamp::from_millis(row.expiry()).seconds();
    let exp = now.plus_seconds(app.config.access_token_expires).seconds().min(end);
    // The row keeps the order of its tokens, so that a cut-off covers all earlier ones even if clocks differ.
    let id = random::id_at(Timestamp::from_millis(row.issued_at));
    let claims = Claims::new(kind, app.config.public_url.as_str(), row.user_id.0, audience.0, id)
        .with_iat(now.seconds())
        .with_nbf(now.minus_seconds(VALID_BEFORE).seconds())
        .with_exp(exp)
        .with_sid(row.id.0);
    let amr: Vec<Value> = row.amr.split(' ').map(Value::from).collect();
    let claims = claims.with_extra("amr", amr).with_extra("acr", class_of(&row.amr));
    let mapped = mapped_claims(app, row.user_id).await?;
    Ok(mapped.into_iter().fold(claims, |claims, (name, value)| claims.with_extra(name, value)))
}

/// The claims that `ACCESS_TOKEN_CLAIMS` maps. They are read after the row of the session. So if they are old ones, the
/// change of them looks at the row later, and its cut-off covers the token.
async fn mapped_claims(app: &App, user: UserId) -> Result<Map<String, Value>> {
    let mut mapped = Map::new();
    if app.session.mapping.is_empty() {
        return Ok(mapped);
    }
    let holder = user::by_id(&app.database, user).await?.ok_or(Code::SessionEnded)?;
    put_all(&mut mapped, &app.session.mapping, &holder.user);
    Ok(mapped)
}

/// Computes the claims of the refresh token from the row alone, so they are the same on every replica and each time.
fn refresh_claims(app: &App, row: &Model) -> Result<Claims> {
    let generation = row.generation.cast_unsigned();
    let none = || Error::because(Code::InternalServerError, "a session has no secret");
    let issued = Timestamp::from_millis(row.rotated_at).seconds();
    let issuer = app.config.public_url.as_str();
    let id = Issuer::from(row).token_id(generation).ok_or_else(none)?;
    Ok(Claims::new(TokenKind::refresh(generation), issuer, row.user_id.0, issuer, id)
        .with_iat(issued)
        .with_nbf(issued)
        .with_exp(Timestamp::from_millis(row.expiry()).seconds())
        .with_sid(row.id.0))
}

/// Returns true if the session in a token exists and the token belongs to it. An access token belongs to the session of
/// its user; memory can know whose it is. A refresh token belongs to the session that issues it, now or later.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn is_of_session(app: &App, claims: &Claims) -> Result<bool> {
    let Some(token) = RefreshToken::of(claims) else {
        let known = known_grant(app, session_of(claims)).await?;
        return Ok(known.is_some_and(|known| known.0 == user_of(claims)));
    };
    let row = store::find(app.database.reader(), session_of(claims)).await?;
    let is_of = row.as_ref().is_some_and(|row| Issuer::from(row).gives(&token));
    if row.is_some() && !is_of {
        warn_of_forgery(claims);
    }
    Ok(is_of)
}

/// Verifies an access or refresh token that should end its session. Returns the claims.
///
/// # Errors
///
/// [`Code::Unauthorized`]; [`Code::ServiceUnavailable`] while the revocation list is out of date.
pub async fn holder(app: &App, token: &str) -> Result<Claims> {
    revocation::require_known(app)?;
    let claims = app
        .key
        .verifier
        .verify_either(token, clock::now().seconds())
        .map_err(|refusal| Error::token(Code::Unauthorized, refusal))?;
    if claims.token_type() == TokenType::Refresh && !is_of_session(app, &claims).await? {
        return Err(Code::Unauthorized.into());
    }
    Ok(claims)
}

/// Logs that a refresh token has a valid signature but was not issued by its session, at most once in [`WARN_EVERY`].
pub(super) fn warn_of_forgery(claims: &Claims) {
    static LAST: AtomicI64 = AtomicI64::new(i64::MIN);
    let now = clock::now().millis();
    let is_due = |last: i64| {
        (now.saturating_sub(last).unsigned_abs() >= WARN_EVERY.unsigned_abs()).then_some(now)
    };
    if LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_due).is_ok() {
        tracing::warn!(
            session.id = %session_of(claims),
            user.id = %claims.sub,
            "a refresh token has a valid signature, but its session did not issue it: somebody \
             made it with APP_SECRET, or the database was restored from an older copy"
        );
    }
}
