//! What the tokens of a session say.

use entity::session::Model;
use tessera_verify::{Claims, TokenKind};
use uuid::Uuid;

use super::Tokens;
use crate::app::App;
use crate::clock::Time;
use crate::error::{Code, Error, Result};
use crate::random;
use crate::revocation;
use crate::scope::Scopes;

/// The tokens of a session as its row stands.
pub(super) fn tokens(
    app: &App,
    row: &Model,
    now: Time,
    fresh: bool,
    audience: &str,
    scopes: &Scopes,
) -> Result<Tokens> {
    let access = access_claims(app, row, now, fresh, audience, scopes);
    let refresh = refresh_claims(app, row);
    Ok(Tokens {
        access_token: sign(app, &access)?,
        expires_in: access.exp.saturating_sub(access.iat),
        refresh_token: sign(app, &refresh)?,
        refresh_expires_in: refresh.exp.saturating_sub(now.seconds()),
    })
}

/// A token that says this, signed with the key that is for it.
pub(super) fn sign(app: &App, claims: &Claims) -> Result<String> {
    if matches!(claims.kind, TokenKind::Access { .. }) {
        revocation::require_noted_life(app)?;
    }
    let keys = app.verifier.keys();
    let key = match claims.kind {
        TokenKind::Access { .. } => keys.access(&claims.aud),
        TokenKind::Refresh { .. } => keys.refresh(),
    };
    let none = || Error::because(Code::InternalServerError, "no key signs such a token");
    Ok(key.ok_or_else(none)?.sign(claims)?)
}

/// The audience that was asked for, if tokens are made for it.
pub(super) fn audience<'a>(app: &'a App, asked: Option<&'a str>) -> Result<&'a str> {
    let own = app.config.jwt_audience.as_str();
    match asked {
        Some(asked)
            if asked != own && !app.config.jwt_audiences.iter().any(|known| known == asked) =>
        {
            Err(Error::field("audience", "No tokens are made for this audience"))
        }
        asked => Ok(asked.unwrap_or(own)),
    }
}

pub(super) fn access_claims(
    app: &App,
    row: &Model,
    now: Time,
    fresh: bool,
    audience: &str,
    scopes: &Scopes,
) -> Claims {
    let given = Time::from_millis(row.auth_time);
    let recently = now <= given.plus_seconds(app.config.fresh_token_expires);
    let kind = TokenKind::Access {
        fresh: fresh && recently,
        auth_time: Time::from_millis(row.auth_time).seconds(),
        scope: scopes.to_string(),
    };
    // No token outlives its session.
    let end = Time::from_millis(row.expires_at).seconds();
    let exp = now.plus_seconds(app.config.access_token_expires).seconds().min(end);
    // The row has the order of its tokens: a cut-off covers those before it, whatever clocks say.
    let id = random::id_at(Time::from_millis(row.issued_at));
    Claims { aud: audience.to_owned(), ..claims(app, row, id, now, exp, kind) }
}

/// A function of the row alone: the same on every replica, however often it is asked.
fn refresh_claims(app: &App, row: &Model) -> Claims {
    let id = Uuid::new_v5(&row.id.0, row.generation.to_string().as_bytes());
    let kind = TokenKind::Refresh { generation: row.generation.cast_unsigned() };
    let exp = Time::from_millis(row.expires_at).seconds();
    claims(app, row, id, Time::from_millis(row.rotated_at), exp, kind)
}

fn claims(app: &App, row: &Model, id: Uuid, issued: Time, exp: u64, kind: TokenKind) -> Claims {
    Claims {
        iss: app.config.public_url.as_str().to_owned(),
        sub: row.user_id.0,
        aud: app.config.jwt_audience.clone(),
        iat: issued.seconds(),
        nbf: issued.seconds(),
        exp,
        jti: id,
        sid: row.id.0,
        kind,
    }
}
