//! Ending sessions, and revoking their tokens.

use std::net::IpAddr;
use std::time::Duration;

use entity::{SessionId, UserId};
use tessera_verify::{Claims, Refusal, Revocation, SigningAlgorithm};
use uuid::Uuid;

use super::{Device, is_live, store};
use crate::app::App;
use crate::base::claims::{session_of, user_of};
use crate::base::clock::{self, SKEW, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::identity::user;
use crate::platform::audit::{Act, Entry};
use crate::platform::rate_limit;
use crate::platform::revocation::{self, Life, Reason};
use crate::platform::unit_of_work::UnitOfWork;

/// How many access tokens of one session may be revoked alone before the session ends instead: so one
/// sign-in cannot fill the table, and the memory of every server.
pub(super) const MAX_REVOKED_ALONE: u64 = 20;

/// Revokes an access token alone, or ends its session if too many of its tokens were revoked alone and
/// may still be valid. A token that is revoked alone takes from the allowance of its user, unless the holder of an
/// audience's secret may have made it.
///
/// # Errors
///
/// [`Code::TooManyAttempts`] instead of the end, for a token that the holder of an audience's secret may
/// have made: it ends nothing but tokens.
pub(super) async fn revoke_alone(
    app: &App,
    claims: &Claims,
    entry: Revocation,
    device: Device,
) -> Result<()> {
    let (user, session) = (user_of(claims), session_of(claims));
    let mut work = UnitOfWork::begin(app).await?;
    // Held: of many at once each counts those before it.
    let row = store::find_and_lock(&*work, session).await?;
    let Some(row) = row.filter(|row| row.user_id == user) else { return Ok(()) };
    // Another request, or another server, may have revoked it meanwhile.
    if revocation::is_revoked(app, &*work, claims).await? {
        return Ok(());
    }
    let now = clock::now();
    let told = Entry::own(Act::Revoke, user);
    let counted = counted_with(app, claims);
    let is_one_more = revocation::count_alone(&work, counted, now).await? < MAX_REVOKED_ALONE;
    let entry = if is_one_more {
        if counted == session {
            rate_limit::revocation(app, user)?;
        }
        work.revoke_alone(entry, counted, &Reason::Revoked, now);
        told.with("token", claims.jti.to_string())
    } else if counted != session {
        let wait = claims.exp.saturating_sub(now.seconds()).max(1);
        return Err(Error::try_again_after(Duration::from_secs(wait)));
    } else {
        store::end(&*work, session, user, &Reason::Revoked, device.ip, now).await?;
        let life = Life::read(app, &*work).await?;
        let issued = Timestamp::from_millis(row.issued_at);
        work.revoke([life.of_session(session, issued, now)], &Reason::Revoked, now);
        told.with("session", session.to_string())
    };
    work.record(entry);
    work.commit().await
}

/// With which tokens one is counted that is revoked alone: with those of its session. With HS256 whoever holds
/// the secret of another audience can make tokens for it, of any session: they are counted apart, so that
/// they cannot end it, nor bring its end nearer.
fn counted_with(app: &App, claims: &Claims) -> SessionId {
    let is_own = claims.aud.is_only(&app.config.jwt_audience);
    if is_own || app.config.jwt_algorithm != SigningAlgorithm::Hs256 {
        session_of(claims)
    } else {
        SessionId(Uuid::new_v5(&session_of(claims).0, claims.aud.first().as_bytes()))
    }
}

/// Ends a session of any user; `false` when there is none.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn end_by_id(
    app: &App,
    work: &mut UnitOfWork<'_>,
    session: SessionId,
    why: &Reason,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<bool> {
    let Some(row) = store::find_and_lock(&**work, session).await? else { return Ok(false) };
    store::end(&**work, session, row.user_id, why, ip, now).await?;
    let life = Life::read(app, &**work).await?;
    work.revoke([life.of_session(session, Timestamp::from_millis(row.issued_at), now)], why, now);
    Ok(true)
}

/// Ends every session of a user but one, if one is to stay.
///
/// # Errors
///
/// Nothing is ended when the database does not answer.
pub(crate) async fn end_others(
    app: &App,
    mut work: UnitOfWork<'_>,
    user: UserId,
    kept: Option<SessionId>,
    device: Device,
) -> Result<()> {
    let now = clock::now();
    let ended = store::end_all(&*work, user, kept, &Reason::Ended, device.ip, now).await?;
    if ended.is_empty() {
        // Nothing happened that could be told: whoever asks again and again writes nothing.
        return Ok(());
    }
    let count = ended.len();
    let entries = Life::read(app, &*work).await?.of_sessions(ended, now);
    work.revoke(entries, &Reason::Ended, now);
    let entry = Entry::own(Act::SessionEnd, user).with("sessions", count);
    work.record(entry);
    work.commit().await
}

/// Ends a session of a user; `false` when there was nothing to end.
pub(crate) async fn end(
    app: &App,
    mut work: UnitOfWork<'_>,
    user: UserId,
    session: SessionId,
    why: &Reason,
    device: Device,
) -> Result<bool> {
    let now = clock::now();
    let Some(row) = store::end(&*work, session, user, why, device.ip, now).await? else {
        return Ok(false);
    };
    let life = Life::read(app, &*work).await?;
    let entries = [life.of_session(session, Timestamp::from_millis(row.issued_at), now)];
    work.revoke(entries, why, now);
    let act = match why {
        Reason::Logout => Act::Logout,
        Reason::Revoked => Act::Revoke,
        _ => Act::SessionEnd,
    };
    let entry = Entry::own(act, user).with("session", session.to_string());
    work.record(entry);
    work.commit().await?;
    Ok(true)
}

/// Ends every session of the user a token speaks of.
///
/// # Errors
///
/// [`Code::Unauthorized`] when the token's session is over already; nothing is ended when the
/// database does not answer.
pub async fn logout_all(app: &App, claims: &Claims, device: Device) -> Result<()> {
    let mut work = UnitOfWork::begin(app).await?;
    let user = user_of(claims);
    // Held, so that a sign-in is wholly before this or wholly after.
    let locked = user::lock(&*work, user).await?;
    // A session that ended has no say in those that live on.
    let session = session_of(claims);
    if locked.is_none() || !is_live(&work, session, user).await? {
        return Err(Error::token(Code::Unauthorized, Refusal::Revoked));
    }
    let now = clock::now();
    end_all(app, &mut work, user, None, &Reason::LogoutAll, device.ip, now).await?;
    work.record(Entry::own(Act::LogoutAll, user));
    work.commit().await
}

/// Ends the sessions of a user but one, and every access token the user got up to now.
///
/// Each session that ends is revoked by itself, whatever the times of its tokens. What remains is the
/// session that is kept: of its tokens those are revoked that were issued before, by the order that its row
/// keeps. If its youngest token is ahead of this clock by more than clocks may differ, a clock is or
/// was wrong: a cut-off that covers the token would lie ahead as well. Then the session ends too.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn end_all(
    app: &App,
    work: &mut UnitOfWork<'_>,
    user: UserId,
    kept: Option<SessionId>,
    why: &Reason,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<()> {
    let kept = match kept {
        Some(session) => store::keep(&**work, session, user, now).await?,
        None => None,
    };
    let cut_off = kept.as_ref().map_or(now, |row| Timestamp::from_millis(row.issued_at));
    let kept = kept.map(|row| row.id);
    let ended = store::end_all(&**work, user, kept, why, ip, now).await?;
    let life = Life::read(app, &**work).await?;
    let mut entries = life.of_sessions(ended, now);
    entries.push(life.of_user(user, cut_off));
    work.revoke(entries, why, now);
    Ok(())
}

/// Revokes the access tokens that a user got up to now, and ends no session: a refresh gives each session a token that
/// says what the user may do now.
///
/// As [`end_all`] does of the session that is kept, it goes by the order that the rows keep, and ends a session whose
/// youngest token is ahead of this clock by more than clocks may differ.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn revoke_access(
    app: &App,
    work: &mut UnitOfWork<'_>,
    user: UserId,
    why: &Reason,
) -> Result<()> {
    let youngest = store::lock_all(&**work, user).await?;
    // A refresh that waits for its row reads the new scopes after it. One that has changed its row before is covered.
    let now = clock::now();
    let latest = now.plus_seconds(SKEW);
    let past = youngest.into_iter().filter(|issued| *issued <= latest);
    let cut_off = past.fold(now, Timestamp::max);
    let ended = store::end_younger(&**work, user, cut_off, why, now).await?;
    store::keep_all(&**work, user, cut_off).await?;
    let life = Life::read(app, &**work).await?;
    let mut entries = life.of_sessions(ended, now);
    entries.push(life.of_user(user, cut_off));
    work.revoke(entries, why, now);
    Ok(())
}
