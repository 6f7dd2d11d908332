//! Staying signed in: how a refresh token is spent, once.

use entity::session::Model;
use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::{Claims, Refusal, TokenKind, TokenType};

use super::claims::{self, tokens};
use super::{Device, Tokens, active_user, limits, store};
use crate::app::App;
use crate::audit::{self, Act, Actor, Entry};
use crate::clock::{self, Time};
use crate::error::{Code, Error, Result, TokenRefusal};
use crate::revocation::{self, Life, Why};

/// Exchanges a refresh token for the next pair.
///
/// Presented again within the leeway after it was spent, it gives the same refresh token once more:
/// the answer may have been lost, or two tabs may have asked at once. Later than that, two parties
/// hold it, and its session ends (RFC 9700, section 4.14.2).
///
/// # Errors
///
/// [`Code::RefreshTokenInvalid`], [`Code::RefreshTokenExpired`], [`Code::RefreshTokenReused`],
/// [`Code::SessionEnded`], also for a user who may not act now; [`Code::UnprocessableContent`] for an audience that tokens are not made for.
pub async fn refresh(
    app: &App,
    token: &str,
    audience: Option<&str>,
    device: Device,
) -> Result<Tokens> {
    let audience = claims::audience(app, audience)?;
    revocation::require_known(app)?;
    revocation::require_noted_life(app)?;
    let now = clock::now();
    let claims =
        app.verifier.verify(token, TokenType::Refresh, now.seconds()).map_err(|refusal| {
            match refusal {
                Refusal::Expired => Error::token(Code::RefreshTokenExpired, refusal),
                Refusal::Revoked => Error::token(Code::SessionEnded, refusal),
                _ => Error::token(Code::RefreshTokenInvalid, refusal),
            }
        })?;
    let TokenKind::Refresh { generation } = claims.kind else {
        return Err(Code::RefreshTokenInvalid.into());
    };
    let (session, user) = (SessionId(claims.sid), UserId(claims.sub));
    let holder = active_user(app, &claims).await?.ok_or(Code::SessionEnded)?;
    if !holder.may_act(&app.config) {
        // The token is not spent: it is good again once the address is verified.
        return Err(Error::token(Code::SessionEnded, TokenRefusal::USER_NOT_VERIFIED));
    }

    let transaction = app.database.begin().await?;
    let now = clock::now();
    let outcome = spend(app, &transaction, session, user, generation, device, now).await?;
    transaction.commit().await?;
    match outcome {
        Spent::Now(row) | Spent::JustBefore(row) => {
            tokens(app, &row, now, false, audience, &holder.scopes())
        }
        Spent::LongAgo(entries) => {
            app.revocations.apply(entries);
            tracing::warn!(
                session.id = %session,
                user.id = %user,
                "a spent refresh token was used again; its session was ended"
            );
            Err(Code::RefreshTokenReused.into())
        }
        Spent::Never(code) => Err(code.into()),
    }
}

/// Why a refresh token that verifies would not be exchanged now, by its session's row.
///
/// # Errors
///
/// When the database does not answer.
pub async fn why_not_refreshed(
    app: &App,
    claims: &Claims,
) -> Result<Option<(&'static str, &'static str)>> {
    let TokenKind::Refresh { generation } = claims.kind else { return Ok(None) };
    let row = store::find(app.database.reader(), SessionId(claims.sid)).await?;
    let now = clock::now();
    Ok(match row {
        Some(row) if row.ended_at.is_some() => Some(("session_ended", "its session ended")),
        Some(row) if row.has_expired(now.millis()) => {
            Some(("session_expired", "its session has expired"))
        }
        Some(row) if row.generation.cast_unsigned() != generation => {
            Some(("token_spent", "it was spent; within the leeway it gives its successor again"))
        }
        Some(_) => None,
        None => Some(("session_unknown", "there is no such session")),
    })
}

/// What became of a refresh token that was presented.
enum Spent {
    /// It was the current one; the row has its successor.
    Now(Model),
    /// It was the one before, and within the leeway.
    JustBefore(Model),
    /// It was spent too long ago; the session was ended.
    LongAgo(Vec<tessera_verify::Revocation>),
    /// It cannot be spent.
    Never(Code),
}

/// Ending the session of a reused token must be committed although the caller is refused: so that
/// is an outcome, not an error.
async fn spend(
    app: &App,
    transaction: &DatabaseTransaction,
    session: SessionId,
    user: UserId,
    generation: u64,
    device: Device,
    now: Time,
) -> Result<Spent> {
    let generation = i64::try_from(generation).ok().filter(|generation| *generation < i64::MAX);
    let Some(generation) = generation else {
        return Ok(Spent::Never(Code::RefreshTokenInvalid));
    };
    let limits = limits(app);
    let from = device.ip.clone();
    if let Some(row) =
        store::spend(transaction, session, user, generation, now, &limits, device).await?
    {
        return Ok(Spent::Now(row));
    }
    let Some(row) = store::find_and_lock(transaction, session).await? else {
        return Ok(Spent::Never(Code::RefreshTokenInvalid));
    };
    let spent_at = Time::from_millis(row.rotated_at);
    Ok(if row.user_id != user || row.generation < generation {
        // A generation that is yet to come: the database was restored from an older copy.
        Spent::Never(Code::RefreshTokenInvalid)
    } else if row.ended_at.is_some() {
        Spent::Never(Code::SessionEnded)
    } else if row.has_expired(now.millis()) {
        Spent::Never(Code::RefreshTokenExpired)
    } else if row.generation == generation + 1
        && now <= spent_at.plus_seconds(app.config.refresh_reuse_leeway)
        && spent_at <= now.plus_seconds(app.config.refresh_reuse_leeway)
    {
        Spent::JustBefore(store::issue(transaction, session, now).await?.unwrap_or(row))
    } else {
        store::end(transaction, session, user, &Why::Reuse, from, now).await?;
        let life = Life::read(app, transaction).await?;
        let entries = vec![life.of_session(session, Time::from_millis(row.issued_at), now)];
        revocation::record(transaction, &entries, &Why::Reuse, now).await?;
        let entry = Entry::new(Act::RefreshReuse, Actor::anybody()).on_user(user);
        audit::record(transaction, entry.with("session", session.to_string())).await?;
        Spent::LongAgo(entries)
    })
}
