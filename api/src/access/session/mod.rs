//! Sessions: signing in, refreshing and signing out.
//!
//! A session is one row. Its n-th refresh token is computed from that row. So a client that lost the answer gets the
//! same token again. If somebody presents a token that was exchanged long ago, they hold a copy.

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
pub use claims::{Audience, expired_token, holder};
pub use end::logout_all;
pub(crate) use end::{
    end, end_all, end_by_id, end_others, end_proven_by, end_within, revoke_access,
};
pub(crate) use list::{Cursor, some_of};
pub use list::{Ended, Filter, Session, count, list, list_all};
pub(crate) use live::{Standing, began, is_live, proven_by, standing, stands, until};
pub(crate) use open::require_ready;
pub use open::{login, login_with_cookie};
pub use refresh::{explain_refresh, refresh};

use std::collections::BTreeMap;
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
use crate::base::cache::Cache as Recent;
use crate::base::claims::{session_of, user_of};
use crate::base::clock::{self, Timestamp};
use crate::base::config::{Config, ConfigError};
use crate::base::error::{Code, Error, Result};
use crate::identity::factor::{Authentication, federated};
use crate::identity::user::source::{self, Source};
use crate::identity::user::{self, User};
use crate::platform::audit::Act;
use crate::platform::revocation::{self, Reason};
use crate::platform::unit_of_work::UnitOfWork;

/// The maximum number of sessions in the memory of a replica.
const MAX_REMEMBERED: usize = 20_000;

/// The state of sessions in this replica's memory.
#[derive(Debug)]
pub struct State {
    /// The time at which it last wrote that a browser's session is in use.
    noted: Cache<SessionId, Timestamp>,
    /// The sessions of browsers that were read within the last second, by the digest of the cookie.
    in_browsers: Recent<[u8; 32], Arc<Model>>,
    /// The same, by their ids.
    recent: Recent<SessionId, Arc<Model>>,
    /// The users and secrets of grants, which never change.
    grants: Cache<SessionId, Arc<(UserId, Secret)>>,
    /// The claims of access tokens that a setting maps.
    mapping: BTreeMap<String, Source>,
}

impl State {
    /// A state that remembers nothing.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `ACCESS_TOKEN_CLAIMS` cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let mapping = source::mapping(&config.provider.access_token_claims)
            .map_err(|fault| ConfigError::new(&format!("ACCESS_TOKEN_CLAIMS: {fault}")))?;
        let (noted, grants) = (Cache::new(MAX_REMEMBERED), Cache::new(MAX_REMEMBERED));
        let (in_browsers, recent) = (Recent::default(), Recent::default());
        Ok(Self { noted, in_browsers, recent, grants, mapping })
    }
}

/// The client that sent a request.
#[derive(Debug, Clone)]
pub struct Device {
    /// The address that the request came from.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// The tokens of a session: an access token, and the refresh token for the next pair.
#[derive(Clone)]
pub struct Tokens {
    /// The access token, for protected operations.
    pub access_token: String,
    /// The lifetime of the access token, in seconds from now.
    pub expires_in: u64,
    /// The refresh token, which is exchanged for the next pair.
    pub refresh_token: String,
    /// The lifetime of the refresh token, in seconds from now.
    pub refresh_expires_in: u64,
}

/// An access token with its lifetime.
#[derive(Clone)]
pub struct AccessToken {
    /// The session it belongs to.
    pub session: SessionId,
    /// The access token, for protected operations.
    pub token: String,
    /// The lifetime, in seconds from now.
    pub expires_in: u64,
}

/// Returns a fresh access token of the caller's session after the user proved the password again.
///
/// # Errors
///
/// [`Code::Unauthorized`] if the session has ended; [`Code::ServiceBusy`] if the hash of the password was renewed in
/// the meantime.
pub async fn freshen(
    app: &App,
    claims: &Claims,
    authentication: &Authentication,
) -> Result<AccessToken> {
    let (session, user) = (session_of(claims), user_of(claims));
    let gone = || Error::token(Code::Unauthorized, Refusal::Revoked);
    let mut work = UnitOfWork::begin(app).await?;
    // As at a sign-in, the password may have been changed or the session ended in the meantime.
    let locked = user::lock(&*work, user).await?.ok_or_else(gone)?;
    let row = live::live_row(&work, session, user).await?;
    let row = row.filter(|_| locked.user.may_act(&app.config)).ok_or_else(gone)?;
    if revocation::is_revoked(app, &*work, claims).await? {
        return Err(gone());
    }
    if !authentication.holds_for(&locked) || !authentication.is_linked(&*work, &locked).await? {
        // A sign-in has renewed the hash. A change of the password would have ended the session.
        return Err(Code::ServiceBusy.into());
    }
    federated::require_no_other(app, &*work, &locked.user, authentication).await?;
    let at = authentication.made();
    let proved = open::Proved::of(authentication);
    let times = (authentication.at(), at);
    store::authenticate(&*work, &row, &limits(app), times, proved).await?;
    let row = store::find(&*work, session).await?.ok_or_else(gone)?;
    // Made before the commit, so that a later cut-off covers it.
    let access = access_token(app, &row, at, true, &locked.user).await?;
    work.record(open::entry_of(Act::Freshen, &row, &authentication.amr()));
    work.commit().await?;
    Ok(access)
}

/// Returns true if less than half of a token's lifetime is left.
pub fn is_in_its_second_half(claims: &Claims) -> bool {
    let left = claims.exp.saturating_sub(clock::now().seconds());
    left.saturating_mul(2) < claims.exp.saturating_sub(claims.iat)
}

/// Returns another access token of the caller's session, for clients that keep no refresh token. Returns `None` if the
/// session has ended or the token was revoked, so that a copy of a revoked token cannot be renewed.
///
/// # Errors
///
/// If the database does not answer.
pub async fn extend(app: &App, claims: &Claims, device: Device) -> Result<Option<AccessToken>> {
    let work = UnitOfWork::begin(app).await?;
    let access = next_of(app, &work, claims, device).await?;
    // Checked while the row is locked. A revocation waits for the lock, or was before it.
    if revocation::is_revoked(app, &*work, claims).await? {
        return Ok(None);
    }
    work.commit().await?;
    Ok(access)
}

/// Like [`extend`], for callers who have just revoked their own token by changing their password.
///
/// # Errors
///
/// If the database does not answer.
pub async fn replace(app: &App, claims: &Claims, device: Device) -> Result<Option<AccessToken>> {
    let work = UnitOfWork::begin(app).await?;
    let access = next_of(app, &work, claims, device).await?;
    work.commit().await?;
    Ok(access)
}

/// Issues a token that is as fresh as the one it replaces. A copy of that token must not become fresh because somebody
/// else gave the password since.
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
    access_token(app, &row, clock::now(), fresh, &user.user).await.map(Some)
}

async fn access_token(
    app: &App,
    row: &Model,
    now: Timestamp,
    fresh: bool,
    user: &User,
) -> Result<AccessToken> {
    let access = access_claims(app, row, now, fresh, Audience::own(app), &user.scopes()).await?;
    let token = claims::sign(app, &access)?;
    Ok(AccessToken { session: row.id, token, expires_in: access.exp.saturating_sub(access.iat) })
}

/// Returns the claims of an access token and its user, if it is accepted by protected operations now.
///
/// # Errors
///
/// [`Code::Unauthorized`] with the reason; [`Code::ServiceUnavailable`] while the revocation list is out of date.
pub async fn authenticate(app: &App, token: &str) -> Result<(Claims, Arc<User>)> {
    revocation::require_known(app)?;
    let claims = app.key.guard.required(Some(token), clock::now().seconds())?;
    let user = active_user(app, &claims).await?.ok_or(Code::Unauthorized)?;
    user.require_verified(&app.config)?;
    Ok((claims, user))
}

/// The user of a token, if they are active. The caller must check whether their address is verified.
pub(crate) async fn active_user(app: &App, claims: &Claims) -> Result<Option<Arc<User>>> {
    let user = user::current(app, user_of(claims)).await?;
    Ok(user.filter(|user| user.is_active))
}

/// Ends the session of a token.
///
/// # Errors
///
/// [`Code::Unauthorized`] if it has ended already. If the database does not answer, nothing ends.
pub async fn logout(app: &App, claims: &Claims, device: Device) -> Result<()> {
    let (user, session) = (user_of(claims), session_of(claims));
    if end(app, user, session, &Reason::Logout, device).await? {
        Ok(())
    } else {
        Err(Error::token(Code::Unauthorized, Refusal::Revoked))
    }
}

/// Revokes a token for its holder (RFC 7009). An access token is revoked alone, a refresh token ends its session. If
/// twenty revoked access tokens of a session may still be valid, the next revocation ends the session. Tokens that are
/// not Tessera's or are not valid any more are ignored.
///
/// # Errors
///
/// [`Code::TooManyAttempts`]. Signing out and revoking the refresh token still end the session. If the database does
/// not answer, nothing is revoked.
pub async fn revoke(app: &App, token: &str, device: Device) -> Result<()> {
    let now = clock::now();
    let Ok(claims) = app.key.verifier.read_past(token, now.seconds()) else { return Ok(()) };
    if matches!(claims.kind, TokenKind::Refresh { .. }) {
        if !is_of_session(app, &claims).await? {
            return Ok(());
        }
        let (user, session) = (user_of(&claims), session_of(&claims));
        end(app, user, session, &Reason::Revoked, device).await?;
        return Ok(());
    }
    let until = claims.exp.saturating_add(MAX_LEEWAY);
    if until <= now.seconds()
        || !app.config.blacklist_enabled
        || app.key.verifier.is_revoked(&claims)
    {
        return Ok(());
    }
    // Anyone who holds the secret of another audience can make such a token with the id of a refresh token, which is
    // computed from its session. Such a token must change nothing.
    if claims.jti.get_version_num() != 7 {
        return Ok(());
    }
    end::revoke_alone(app, &claims, Revocation::token(claims.jti, until), device).await
}

/// The user of a session, if the session exists.
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
