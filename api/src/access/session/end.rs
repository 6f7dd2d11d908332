//! Functions that end sessions and revoke their tokens.

use std::net::IpAddr;
use std::time::Duration;

use entity::{FederatedIdentityId, SessionId, UserId};
use tessera_verify::{Claims, Refusal, Revocation, SigningAlgorithm};
use uuid::Uuid;

use super::{Device, is_live, store};
use crate::access::grant;
use crate::app::App;
use crate::base::claims::{session_of, user_of};
use crate::base::clock::{self, SKEW, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::identity::user;
use crate::platform::audit::{Act, Entry};
use crate::platform::rate_limit;
use crate::platform::revocation::{self, Life, Reason};
use crate::platform::unit_of_work::{UnitOfWork, revoke_at_once};

/// The number of access tokens of a session that can be revoked alone before the session ends instead. So one sign-in
/// cannot fill the table or the memory of the servers.
pub(super) const MAX_REVOKED_ALONE: u64 = 20;

/// Revokes an access token alone, or ends its session if too many of its tokens were revoked alone and may still be
/// valid. A revoked token counts towards the user's allowance, unless the holder of an audience's secret may have made
/// it.
///
/// # Errors
///
/// [`Code::TooManyAttempts`] instead of the end of the session, if the holder of an audience's secret may have made the
/// token. Such a holder can revoke tokens, but not end sessions.
pub(super) async fn revoke_alone(
    app: &App,
    claims: &Claims,
    entry: Revocation,
    device: Device,
) -> Result<()> {
    let (user, session) = (user_of(claims), session_of(claims));
    let mut work = UnitOfWork::begin(app).await?;
    // Locked, so that of several requests at once each counts the ones before it.
    let row = store::find_and_lock(&*work, session).await?;
    let Some(row) = row.filter(|row| row.user_id == user) else { return Ok(()) };
    // Another request or replica may have revoked it in the meantime.
    if revocation::is_revoked(app, &*work, claims).await? {
        return Ok(());
    }
    let now = clock::now();
    let record = Entry::own(Act::Revoke, user);
    let counted = counted_with(app, claims);
    let is_one_more = revocation::count_alone(&work, counted, now).await? < MAX_REVOKED_ALONE;
    let entry = if is_one_more {
        if counted == session {
            rate_limit::revocation(app, user)?;
        }
        work.revoke_alone(entry, counted, &Reason::Revoked, now);
        record.with("token", claims.jti.to_string())
    } else if counted != session {
        let wait = claims.exp.saturating_sub(now.seconds()).max(1);
        return Err(Error::try_again_after(Duration::from_secs(wait)));
    } else {
        store::end(&*work, session, user, &Reason::Revoked, device.ip, now).await?;
        grant::client::end_of_sessions(&mut work, vec![session], &Reason::Revoked, now).await?;
        let life = Life::read(app, &*work).await?;
        let issued = Timestamp::from_millis(row.issued_at);
        work.revoke([life.of_session(session, issued, now)], &Reason::Revoked, now);
        record.with("session", session.to_string())
    };
    work.record(entry);
    work.commit().await
}

/// The id that a token is counted under if it is revoked alone: the id of its session. With HS256, anyone who holds the
/// secret of another audience can make tokens for it, for any session. Those are counted separately, so they can
/// neither end the session nor bring its end closer.
fn counted_with(app: &App, claims: &Claims) -> SessionId {
    let is_own = claims.aud.is_only(&app.config.jwt_audience);
    if is_own || app.config.jwt_algorithm != SigningAlgorithm::Hs256 {
        session_of(claims)
    } else {
        SessionId(Uuid::new_v5(&session_of(claims).0, claims.aud.first().as_bytes()))
    }
}

/// Ends a session of any user. Returns false if there is no such session.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_by_id(
    app: &App,
    work: &mut UnitOfWork<'_>,
    session: SessionId,
    reason: &Reason,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<bool> {
    let Some(row) = store::find_and_lock(&**work, session).await? else { return Ok(false) };
    store::end(&**work, session, row.user_id, reason, ip, now).await?;
    grant::client::end_of_sessions(work, vec![session], reason, now).await?;
    let life = Life::read(app, &**work).await?;
    work.revoke(
        [life.of_session(session, Timestamp::from_millis(row.issued_at), now)],
        reason,
        now,
    );
    Ok(true)
}

/// Ends the sessions that identities at another provider proved, and revokes their tokens. With `sid`, only those of that
/// session there. Returns the sessions that ended, with their users.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_proven_by(
    app: &App,
    work: &mut UnitOfWork<'_>,
    identities: &[FederatedIdentityId],
    sid: Option<&str>,
    reason: &Reason,
) -> Result<Vec<(SessionId, UserId)>> {
    let now = clock::now();
    let mut ended = Vec::new();
    for row in store::of_identities(&**work, identities, sid).await? {
        if end_by_id(app, work, row.id, reason, None, now).await? {
            ended.push((row.id, row.user_id));
        }
    }
    Ok(ended)
}

/// Ends every session of a user, except one if `kept` names it.
///
/// # Errors
///
/// If the database does not answer. Then no session ends.
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
        // Nothing changed, so nothing is written, however often this is repeated.
        return Ok(());
    }
    let count = ended.len();
    let sessions = ended.iter().map(|(session, _)| *session).collect();
    grant::client::end_of_sessions(&mut work, sessions, &Reason::Ended, now).await?;
    let entries = Life::read(app, &*work).await?.of_sessions(ended, now);
    work.revoke(entries, &Reason::Ended, now);
    let entry = Entry::own(Act::SessionEnd, user).with("sessions", count);
    work.record(entry);
    work.commit().await
}

/// Ends a session of a user. Returns false if there was none to end.
///
/// # Errors
///
/// If the database refuses. Then the session continues.
pub(crate) async fn end(
    app: &App,
    user: UserId,
    session: SessionId,
    reason: &Reason,
    device: Device,
) -> Result<bool> {
    if end_at_once(app, user, session, reason, device.ip).await? {
        return Ok(true);
    }
    let work = UnitOfWork::begin(app).await?;
    end_within(app, work, user, session, reason, device).await
}

/// Like [`end`], in the unit of work of an operation.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_within(
    app: &App,
    mut work: UnitOfWork<'_>,
    user: UserId,
    session: SessionId,
    reason: &Reason,
    device: Device,
) -> Result<bool> {
    let now = clock::now();
    let Some(row) = store::end(&*work, session, user, reason, device.ip, now).await? else {
        return Ok(false);
    };
    grant::client::end_of_sessions(&mut work, vec![session], reason, now).await?;
    let life = Life::read(app, &*work).await?;
    let entries = [life.of_session(session, Timestamp::from_millis(row.issued_at), now)];
    work.revoke(entries, reason, now);
    work.record(record_of(user, session, reason));
    work.commit().await?;
    Ok(true)
}

/// Ends a session in the usual case, without a round trip in between: no application has a grant of it, its youngest access
/// token is not ahead of the clock, and no token lives longer than this server knows. Returns false otherwise, or if there
/// is no such session.
async fn end_at_once(
    app: &App,
    user: UserId,
    session: SessionId,
    reason: &Reason,
    ip: Option<IpAddr>,
) -> Result<bool> {
    let (now, life) = (clock::now(), Life::known(app));
    let change = store::ending(app.database.backend(), session, user, reason, ip, life, now);
    let revocation = life.of_session(session, now, now);
    revoke_at_once(app, change, revocation, reason, now, record_of(user, session, reason)).await
}

fn record_of(user: UserId, session: SessionId, reason: &Reason) -> Entry {
    let act = match reason {
        Reason::Logout => Act::Logout,
        Reason::Revoked => Act::Revoke,
        _ => Act::SessionEnd,
    };
    Entry::own(act, user).with("session", session.to_string())
}

/// Ends every session of a token's user.
///
/// # Errors
///
/// [`Code::Unauthorized`] if the token's session has ended already. If the database does not answer, no session ends.
pub async fn logout_all(app: &App, claims: &Claims, device: Device) -> Result<()> {
    let mut work = UnitOfWork::begin(app).await?;
    let user = user_of(claims);
    // Locked, so that a sign-in is completely before this or completely after it.
    let locked = user::lock(&*work, user).await?;
    // A session that has ended may not end the others.
    let session = session_of(claims);
    if locked.is_none() || !is_live(&work, session, user).await? {
        return Err(Error::token(Code::Unauthorized, Refusal::Revoked));
    }
    let now = clock::now();
    end_all(app, &mut work, user, None, &Reason::LogoutAll, device.ip, now).await?;
    work.record(Entry::own(Act::LogoutAll, user));
    work.commit().await
}

/// Ends the sessions of a user except `kept`, and revokes every access token that the user got until now.
///
/// Each session that ends is revoked by its id, independent of the times of its tokens. Of the kept session, the tokens
/// issued until now are revoked, in the order that its row keeps. If its latest token is ahead of this server's clock
/// by more than clocks may differ, a clock is or was wrong. A cut-off that covers that token would be in the future
/// too, so the session ends as well. With `PASSWORD_CHANGE_KEEPS_TOKENS`, the tokens of the kept session stay valid.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_all(
    app: &App,
    work: &mut UnitOfWork<'_>,
    user: UserId,
    kept: Option<SessionId>,
    reason: &Reason,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<()> {
    let kept = match kept {
        Some(session) => store::keep(&**work, session, user, now).await?,
        None => None,
    };
    let cut_off = kept.as_ref().map_or(now, |row| Timestamp::from_millis(row.issued_at));
    let kept = kept.map(|row| row.id);
    let ended = store::end_all(&**work, user, kept, reason, ip, now).await?;
    let keeps_tokens = kept.is_some() && app.config.front_end.password_change_keeps_tokens;
    let cut_off = (!keeps_tokens).then_some(cut_off);
    grant::client::end_of_user(work, user, kept, cut_off, reason, now).await?;
    let life = Life::read(app, &**work).await?;
    let mut entries = life.of_sessions(ended, now);
    entries.extend(cut_off.map(|cut_off| life.of_user(user, cut_off)));
    work.revoke(entries, reason, now);
    Ok(())
}

/// Revokes the access tokens that a user got until now, but ends no session. A refresh gives each session a token with
/// the user's current scopes.
///
/// Like [`end_all`] for the kept session, this uses the order in the rows. It ends sessions whose latest token is ahead
/// of this server's clock by more than clocks may differ.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn revoke_access(
    app: &App,
    work: &mut UnitOfWork<'_>,
    user: UserId,
    reason: &Reason,
) -> Result<()> {
    let youngest = store::lock_all(&**work, user).await?;
    // A refresh that waits for its row reads the new scopes afterwards. The cut-off covers one that has changed its
    // row.
    let now = clock::now();
    let latest = now.plus_seconds(SKEW);
    let past = youngest.into_iter().filter(|issued| *issued <= latest);
    let cut_off = past.fold(now, Timestamp::max);
    let ended = store::end_younger(&**work, user, cut_off, reason, now).await?;
    store::keep_all(&**work, user, cut_off).await?;
    let sessions = ended.iter().map(|(session, _)| *session).collect();
    grant::client::end_of_sessions(work, sessions, reason, now).await?;
    let life = Life::read(app, &**work).await?;
    let mut entries = life.of_sessions(ended, now);
    entries.push(life.of_user(user, cut_off));
    work.revoke(entries, reason, now);
    Ok(())
}
