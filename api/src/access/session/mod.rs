//! Sessions: sign in, stay signed in, sign out.
//!
//! A session is one row. Its n-th refresh token is a function of that row, so a client whose
//! answer was lost gets the same token again, and whoever presents one that was spent long ago is
//! known to hold a copy.

pub mod browser;
mod claims;
mod end;
pub(crate) mod http;
pub(crate) mod jobs;
mod list;
mod live;
mod open;
pub(crate) mod pages;
mod refresh;
mod store;

pub(crate) use claims::is_of_session;
pub use claims::{Audience, holder};
pub use end::logout_all;
pub(crate) use end::{end, end_all, end_by_id, end_others, revoke_access};
pub(crate) use list::{Cursor, some_of};
pub use list::{Ended, Filter, Session, count, list, list_all};
pub(crate) use live::{began, is_live, stands};
pub(crate) use open::require_ready;
pub use open::{login, login_with_cookie};
pub use refresh::{explain_refresh, refresh};

use std::net::IpAddr;
use std::sync::Arc;

use entity::session::{Model, Secret};
use entity::{SessionId, UserId};
use quick_cache::sync::Cache;
use sea_orm::DatabaseTransaction;
use tessera_verify::{Claims, MAX_LEEWAY, Refusal, Revocation, TokenKind};

use self::claims::access_claims;
use crate::access::grant::Limits;
use crate::app::App;
use crate::base::claims::{session_of, user_of};
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::identity::factor::Authentication;
use crate::identity::user::{self, User};
use crate::platform::audit::{Act, Entry};
use crate::platform::revocation::{self, Reason};
use crate::platform::unit_of_work::UnitOfWork;

/// The most sessions that a replica remembers something of.
const MAX_REMEMBERED: usize = 20_000;

/// The things that this replica remembers of sessions.
#[derive(Debug)]
pub struct State {
    /// The time at which it last wrote that a browser's session is in use.
    noted: Cache<SessionId, Timestamp>,
    /// The users and secrets of grants, which never change.
    grants: Cache<SessionId, Arc<(UserId, Secret)>>,
}

impl Default for State {
    fn default() -> Self {
        Self { noted: Cache::new(MAX_REMEMBERED), grants: Cache::new(MAX_REMEMBERED) }
    }
}

/// Where a request came from, and with what.
#[derive(Debug, Clone)]
pub struct Device {
    /// The peer's address.
    pub ip: Option<IpAddr>,
    /// What the program calls itself.
    pub user_agent: Option<String>,
}

/// What a session gives: an access token and the refresh token for the next.
#[derive(Clone)]
pub struct Tokens {
    /// Opens protected operations.
    pub access_token: String,
    /// In seconds from now.
    pub expires_in: u64,
    /// Is exchanged for the next pair.
    pub refresh_token: String,
    /// In seconds from now.
    pub refresh_expires_in: u64,
}

/// An access token and how long it lives, in seconds.
#[derive(Clone)]
pub struct AccessToken {
    /// The session it belongs to.
    pub session: SessionId,
    /// Opens protected operations.
    pub token: String,
    /// In seconds from now.
    pub expires_in: u64,
}

/// Gives a fresh access token of the caller's session to someone who has proved once more who they are.
///
/// # Errors
///
/// [`Code::Unauthorized`] when the session is over; [`Code::ServiceBusy`] when the proof was overtaken.
pub async fn freshen(
    app: &App,
    claims: &Claims,
    authentication: &Authentication,
) -> Result<AccessToken> {
    let (session, user) = (session_of(claims), user_of(claims));
    let gone = || Error::token(Code::Unauthorized, Refusal::Revoked);
    let mut work = UnitOfWork::begin(app).await?;
    // As at a sign-in: the password may have been changed, and the session ended, meanwhile.
    let locked = user::lock(&*work, user).await?.ok_or_else(gone)?;
    if !locked.user.may_act(&app.config) || !is_live(&work, session, user).await? {
        return Err(gone());
    }
    if revocation::is_revoked(app, &*work, claims).await? {
        return Err(gone());
    }
    if !authentication.holds_for(&locked) {
        // Hashed anew by a sign-in, for another password would have ended the session.
        return Err(Code::ServiceBusy.into());
    }
    let at = authentication.at();
    store::authenticate(&*work, session, at).await?;
    let row = store::find(&*work, session).await?.ok_or_else(gone)?;
    // Made before the commit: a cut-off that comes after it must cover it.
    let access = access_token(app, &row, at, true, &locked.user)?;
    let entry = Entry::own(Act::Freshen, user).with("session", session.to_string());
    work.record(entry);
    work.commit().await?;
    Ok(access)
}

/// Whether less than half of a token's life is left.
pub fn is_in_its_second_half(claims: &Claims) -> bool {
    let left = claims.exp.saturating_sub(clock::now().seconds());
    left.saturating_mul(2) < claims.exp.saturating_sub(claims.iat)
}

/// Another access token of the caller's session, for who keeps no refresh token; `None` when the
/// session is over, or theirs was revoked: a copy of it must not outlive that.
///
/// # Errors
///
/// When the database does not answer.
pub async fn extend(app: &App, claims: &Claims, device: Device) -> Result<Option<AccessToken>> {
    let work = UnitOfWork::begin(app).await?;
    let access = next_of(app, &work, claims, device).await?;
    // Asked with the row locked: who revokes it waits, or was before this.
    if revocation::is_revoked(app, &*work, claims).await? {
        return Ok(None);
    }
    work.commit().await?;
    Ok(access)
}

/// As [`extend`], for a caller who revoked their own token just now, by changing their password.
///
/// # Errors
///
/// When the database does not answer.
pub async fn replace(app: &App, claims: &Claims, device: Device) -> Result<Option<AccessToken>> {
    let work = UnitOfWork::begin(app).await?;
    let access = next_of(app, &work, claims, device).await?;
    work.commit().await?;
    Ok(access)
}

/// It is as fresh as the token that it replaces: a copy of that does not become fresh by the password that somebody else
/// gave since.
async fn next_of(
    app: &App,
    transaction: &DatabaseTransaction,
    claims: &Claims,
    device: Device,
) -> Result<Option<AccessToken>> {
    let (session, user) = (session_of(claims), user_of(claims));
    let now = clock::now();
    let row = store::extend(transaction, session, user, now, &limits(app), device).await?;
    let (Some(row), Some(user)) = (row, user::by_id_in(transaction, user).await?) else {
        return Ok(None);
    };
    let TokenKind::Access { fresh, auth_time, .. } = claims.kind else { return Ok(None) };
    let given = i64::try_from(auth_time.saturating_mul(1000)).unwrap_or(i64::MAX);
    let row = Model { auth_time: row.auth_time.min(given), ..row };
    access_token(app, &row, clock::now(), fresh, &user.user).map(Some)
}

fn access_token(
    app: &App,
    row: &Model,
    now: Timestamp,
    fresh: bool,
    user: &User,
) -> Result<AccessToken> {
    let access = access_claims(app, row, now, fresh, Audience::own(app), &user.scopes());
    let token = claims::sign(app, &access)?;
    Ok(AccessToken { session: row.id, token, expires_in: access.exp.saturating_sub(access.iat) })
}

/// What a token says and whom it speaks of, if it opens protected operations now.
///
/// # Errors
///
/// [`Code::Unauthorized`] with the reason; [`Code::ServiceUnavailable`] while it cannot be known
/// what was revoked.
pub async fn authenticate(app: &App, token: &str) -> Result<(Claims, Arc<User>)> {
    revocation::require_known(app)?;
    let claims = app.key.guard.required(Some(token), clock::now().seconds())?;
    let user = active_user(app, &claims).await?.ok_or(Code::Unauthorized)?;
    user.require_verified(&app.config)?;
    Ok((claims, user))
}

/// The user a token speaks of, if they are active. The caller asks whether their address is verified.
pub(crate) async fn active_user(app: &App, claims: &Claims) -> Result<Option<Arc<User>>> {
    let user = user::current(app, user_of(claims)).await?;
    Ok(user.filter(|user| user.is_active))
}

/// Ends the session that a token belongs to.
///
/// # Errors
///
/// [`Code::Unauthorized`] when it is over already; nothing is ended when the database does not
/// answer.
pub async fn logout(app: &App, claims: &Claims, device: Device) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    let (user, session) = (user_of(claims), session_of(claims));
    if end(app, work, user, session, &Reason::Logout, device).await? {
        Ok(())
    } else {
        Err(Error::token(Code::Unauthorized, Refusal::Revoked))
    }
}

/// Revokes a token for its holder (RFC 7009): an access token alone, a refresh token with its
/// session. A session of which twenty such access tokens may still be valid ends with the next. A token
/// that is not ours, or over already, is nothing to do.
///
/// # Errors
///
/// [`Code::TooManyAttempts`]: signing out and giving up the refresh token still end the session. Nothing is revoked
/// either when the database does not answer.
pub async fn revoke(app: &App, token: &str, device: Device) -> Result<()> {
    let now = clock::now();
    let Ok(claims) = app.key.verifier.read_past(token, now.seconds()) else { return Ok(()) };
    if matches!(claims.kind, TokenKind::Refresh { .. }) {
        if !is_of_session(app, &claims).await? {
            return Ok(());
        }
        let work = UnitOfWork::begin(app).await?;
        let (user, session) = (user_of(&claims), session_of(&claims));
        end(app, work, user, session, &Reason::Revoked, device).await?;
        return Ok(());
    }
    let until = claims.exp.saturating_add(MAX_LEEWAY);
    if until <= now.seconds()
        || !app.config.blacklist_enabled
        || app.key.verifier.is_revoked(&claims)
    {
        return Ok(());
    }
    // Whoever holds the secret of another audience can make such a token: of a refresh token's id, which
    // follows from its session's, it must make nothing.
    if claims.jti.get_version_num() != 7 {
        return Ok(());
    }
    end::revoke_alone(app, &claims, Revocation::token(claims.jti, until), device).await
}

/// Whose a session is, if there is one.
pub(crate) async fn owner(
    transaction: &DatabaseTransaction,
    session: SessionId,
) -> Result<Option<UserId>> {
    Ok(store::find(transaction, session).await?.map(|row| row.user_id))
}

fn limits(app: &App) -> Limits {
    let idle = app.config.refresh_token_expires;
    Limits { idle, absolute: app.config.session_expires }
}
