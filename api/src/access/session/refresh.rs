//! Staying signed in: how a refresh token is spent, once.

use entity::session::Model;
use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::{Claims, Refusal, Revocation, TokenKind, TokenType};

use super::claims::{Audience, is_of, tokens, warn_of_forgery};
use super::{Device, Tokens, active_user, limits, store};
use crate::app::App;
use crate::base::clock::{self, Time};
use crate::base::error::{Code, Error, Result, TokenRefusal};
use crate::identity::user;
use crate::platform::audit::{self, Act, Actor, Entry};
use crate::platform::revocation::{self, Life, Why};

/// Exchanges a refresh token for the next pair.
///
/// Presented again within the leeway after it was spent, it gives the same refresh token once more:
/// the answer may have been lost, or two tabs may have asked at once. Later than that, two parties
/// hold it, and its session ends (RFC 9700, section 4.14.2). Before anything else the token's id is
/// compared with the one that its session's row gives: a token that somebody made with `APP_SECRET` is
/// refused and changes nothing, whatever generation it names.
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
    let audience = Audience::parse(app, audience)?;
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
    // A row's secret and user never change: this look-up and the update need no transaction.
    let row = store::find(app.database.reader(), session).await?;
    let row = row.ok_or(Code::RefreshTokenInvalid)?;
    if !is_of(&row, &claims) {
        warn_of_forgery(&claims);
        return Err(Code::RefreshTokenInvalid.into());
    }
    let holder = active_user(app, &claims).await?.ok_or(Code::SessionEnded)?;
    if !holder.may_act(&app.config) {
        // The token is not spent: it is good again once the address is verified.
        return Err(Error::token(Code::SessionEnded, TokenRefusal::USER_NOT_VERIFIED));
    }
    let generation = i64::try_from(generation).ok().filter(|generation| *generation < i64::MAX);
    let generation = generation.ok_or(Code::RefreshTokenInvalid)?;

    let now = clock::now();
    let (limits, from) = (limits(app), device.ip.clone());
    let writer = app.database.writer();
    let spent = store::spend(writer, session, user, generation, now, &limits, device).await?;
    let row = match spent {
        Some(row) => row,
        None => not_spent(app, session, generation, from, now).await?,
    };
    // Read anew, now that the row has the token's place in their order. If the scopes that are read are old ones, whoever
    // takes some away has yet to look at the row, and the cut-off covers the token: see `revoke_access`.
    let holder = user::by_id(&app.database, user).await?.ok_or(Code::SessionEnded)?.user;
    tokens(app, &row, now, false, audience, &holder.scopes())
}

/// Finds out why a token of a session could not be spent, and ends the session if that is a reason to.
/// Returns the row if the token was spent just before: it has the successor.
async fn not_spent(
    app: &App,
    session: SessionId,
    generation: i64,
    from: Option<String>,
    now: Time,
) -> Result<Model> {
    let transaction = app.database.begin().await?;
    let spent = judge(app, &transaction, session, generation, from, now).await?;
    transaction.commit().await?;
    match spent {
        Spent::JustBefore(row) => Ok(row),
        Spent::LongAgo(entries) => {
            app.revocations.apply(entries);
            tracing::warn!(
                session.id = %session,
                "a spent refresh token was used again; its session was ended"
            );
            Err(Code::RefreshTokenReused.into())
        }
        Spent::Ahead(entries) => {
            app.revocations.apply(entries);
            tracing::warn!(
                session.id = %session,
                "a refresh token is ahead of its session: the database was restored from an older \
                 copy; the session was ended"
            );
            Err(Code::SessionEnded.into())
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
        Some(row) if !is_of(&row, claims) => Some((
            "token_not_issued",
            "its id is not the one that its session gives: somebody else made it with APP_SECRET",
        )),
        Some(row) if row.ended_at.is_some() => Some(("session_ended", "its session ended")),
        Some(row) if row.has_expired(now.millis()) => {
            Some(("session_expired", "its session has expired"))
        }
        Some(row) if row.generation.cast_unsigned() < generation => Some((
            "token_ahead",
            "its session is older than it is: the database was restored from an older copy",
        )),
        Some(row) if row.generation.cast_unsigned() != generation => {
            Some(("token_spent", "it was spent; within the leeway it gives its successor again"))
        }
        Some(_) => None,
        None => Some(("session_unknown", "there is no such session")),
    })
}

/// What became of a refresh token that its session gave and that is not the current one.
enum Spent {
    /// It was the one before, and within the leeway; the row has its successor.
    JustBefore(Model),
    /// It was spent too long ago; the session was ended.
    LongAgo(Vec<Revocation>),
    /// The row does not know of it yet: the database was restored from an older copy, in which the
    /// session may live although it was ended since. The session was ended.
    Ahead(Vec<Revocation>),
    /// It cannot be spent.
    Never(Code),
}

/// Ending the session of a reused token must be committed although the caller is refused: so that
/// is an outcome, not an error.
async fn judge(
    app: &App,
    transaction: &DatabaseTransaction,
    session: SessionId,
    generation: i64,
    from: Option<String>,
    now: Time,
) -> Result<Spent> {
    let Some(row) = store::find_and_lock(transaction, session).await? else {
        return Ok(Spent::Never(Code::RefreshTokenInvalid));
    };
    let leeway = app.config.refresh_reuse_leeway;
    let spent_at = Time::from_millis(row.rotated_at);
    Ok(if row.ended_at.is_some() {
        Spent::Never(Code::SessionEnded)
    } else if row.has_expired(now.millis()) {
        Spent::Never(Code::RefreshTokenExpired)
    } else if row.generation < generation {
        let entry = Entry::new(Act::SessionEnd, Actor::anybody()).with("why", Why::Restored.told());
        Spent::Ahead(end(app, transaction, &row, &Why::Restored, from, entry).await?)
    } else if row.generation == generation + 1
        && now <= spent_at.plus_seconds(leeway)
        && spent_at <= now.plus_seconds(leeway)
    {
        Spent::JustBefore(store::issue(transaction, session, now).await?.unwrap_or(row))
    } else {
        let entry = Entry::new(Act::RefreshReuse, Actor::anybody());
        Spent::LongAgo(end(app, transaction, &row, &Why::Reuse, from, entry).await?)
    })
}

/// Ends a session whose token was refused. What is returned was recorded in the transaction; the caller
/// puts it into memory once that was committed.
async fn end(
    app: &App,
    transaction: &DatabaseTransaction,
    row: &Model,
    why: &Why,
    from: Option<String>,
    entry: Entry,
) -> Result<Vec<Revocation>> {
    let now = clock::now();
    store::end(transaction, row.id, row.user_id, why, from, now).await?;
    let life = Life::read(app, transaction).await?;
    let entries = vec![life.of_session(row.id, Time::from_millis(row.issued_at), now)];
    revocation::record(transaction, &entries, why, now).await?;
    let entry = entry.on_user(row.user_id).with("session", row.id.to_string());
    audit::record(transaction, entry).await?;
    Ok(entries)
}
