//! Browser sessions: sessions on the pages, with an id in a cookie.
//!
//! The id has 256 random bits, and the table stores its digest. Otherwise the session is like any other: it is listed,
//! and it ends with a new password or from another device. It is looked up for each page, so its end takes effect at
//! once on every replica.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::Refusal;

use super::open::{SessionKind, open};
use super::{Device, is_live, store};
use crate::access::grant::{self, Limits};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::hex::hex;
use crate::base::random;
use crate::identity::factor::Authentication;
use crate::identity::user::{self, User};
use crate::platform::audit::{Act, Entry};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// The length of an id in letters and digits: 256 bits.
const ID_LENGTH: usize = 43;

/// The time between two writes of a session's use, in seconds. It is shorter if the session ends soon.
const NOTED_EVERY: u64 = 60;

/// The maximum difference by which the clock of the replica that checked the password may be ahead, in seconds.
const MAX_SKEW: u64 = 5;

/// The user and session of a browser that is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The session.
    pub session: SessionId,
    /// The user.
    pub user: Arc<User>,
    /// The time when the user last gave the password.
    pub auth_time: Timestamp,
    last_used: Timestamp,
}

/// Makes a new id for a cookie, before or after a sign-in.
pub fn new_id() -> String {
    random::letters_and_digits(ID_LENGTH)
}

/// Signs in a user who gave a proof. Returns a new id for the cookie, which replaces the browser's previous id.
///
/// # Errors
///
/// Like [`login`](super::login).
pub async fn sign_in(app: &App, authentication: Authentication, device: Device) -> Result<String> {
    let id = new_id();
    open(app, authentication, device, SessionKind::Browser(digest_of(&id))).await?;
    Ok(id)
}

/// Returns the user who is currently signed in with an id.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find(app: &App, id: &str) -> Result<Option<SignedIn>> {
    if id.len() != ID_LENGTH {
        return Ok(None);
    }
    let row = store::of_browser(app.database.reader(), &digest_of(id), clock::now()).await?;
    let Some(row) = row else { return Ok(None) };
    let user = user::current(app, row.user_id).await?.filter(|user| user.may_act(&app.config));
    let last_used = Timestamp::from_millis(row.last_used_at);
    let auth_time = Timestamp::from_millis(row.auth_time);
    Ok(user.map(|user| SignedIn { session: row.id, user, auth_time, last_used }))
}

/// Extends a session that is in use, at most once a minute. This happens in the background.
pub fn keep(app: &App, signed_in: &SignedIn, device: Device) {
    let now = clock::now();
    let every = NOTED_EVERY.min(app.config.browser_session_idle_expires / 4);
    if signed_in.last_used.plus_seconds(every) > now {
        return;
    }
    // If many pages load at once, only one writes.
    let since = app.session.noted.get(&signed_in.session);
    if since.is_some_and(|since| since.plus_seconds(every) > now && since <= now) {
        return;
    }
    app.session.noted.insert(signed_in.session, now);
    let (app, session, user) = (app.clone(), signed_in.session, signed_in.user.id);
    tokio::spawn(async move {
        let noted = async {
            let work = UnitOfWork::begin(&app).await?;
            let limits = limits(&app);
            store::extend(&*work, session, user, now, &limits, device).await?;
            work.commit().await
        };
        if let Err(error) = noted.await {
            tracing::warn!(error.cause = %error, "the last use of a session could not be stored");
        }
    });
}

/// Makes a session fresh for `FRESH_TOKEN_EXPIRES`, because its user proved the password again. The browser gets
/// another id, so a copy of the old cookie does not become fresh too.
///
/// # Errors
///
/// [`Code::LoginBadCredentials`] if the password was changed in the meantime; [`Code::Unauthorized`] if the session
/// ended in the meantime.
pub async fn freshen(
    app: &App,
    signed_in: &SignedIn,
    authentication: &Authentication,
    next: &str,
) -> Result<()> {
    let (session, user) = (signed_in.session, signed_in.user.id);
    let mut work = UnitOfWork::begin(app).await?;
    let locked = user::lock(&*work, user).await?;
    if !is_live(&work, session, user).await? {
        return Err(Error::token(Code::Unauthorized, Refusal::Revoked));
    }
    // The password was changed in the meantime, perhaps by somebody else, so the old one proves nothing.
    let locked = locked
        .filter(|locked| authentication.holds_for(locked))
        .ok_or(Code::LoginBadCredentials)?;
    if !locked.user.is_active {
        return Err(Code::Unauthorized.into());
    }
    store::authenticate(&*work, session, authentication.at()).await?;
    rename(&work, session, next).await?;
    let entry = Entry::own(Act::Freshen, user).with("session", session.to_string());
    work.record(entry);
    work.commit().await
}

/// Returns true if the session's password was given within `FRESH_TOKEN_EXPIRES`, according to the table. A time that
/// is ahead of the clock does not count.
pub(crate) async fn is_fresh(
    app: &App,
    transaction: &DatabaseTransaction,
    session: SessionId,
) -> Result<bool> {
    let Some(row) = store::find(transaction, session).await? else { return Ok(false) };
    let (given, now) = (Timestamp::from_millis(row.auth_time), clock::now());
    let is_past = given <= now.plus_seconds(MAX_SKEW);
    Ok(is_past && now <= given.plus_seconds(app.config.fresh_token_expires))
}

/// Gives a session another id for its cookie, before it gains something that a thief of the old cookie must not get.
pub(crate) async fn rename(
    transaction: &DatabaseTransaction,
    session: SessionId,
    id: &str,
) -> Result<()> {
    Ok(store::rename_in_browser(transaction, session, digest_of(id)).await?)
}

/// Signs a browser out.
///
/// # Errors
///
/// If the database does not answer. Then the session continues.
pub async fn sign_out(app: &App, signed_in: &SignedIn, device: Device) -> Result<()> {
    let (session, user) = (signed_in.session, signed_in.user.id);
    let work = UnitOfWork::begin(app).await?;
    super::end(app, work, user, session, &Reason::Logout, device).await.map(drop)
}

/// Ends the browser sessions of a user who gained a right, so that a stolen cookie does not gain it.
pub(crate) async fn sign_out_everywhere(work: &mut UnitOfWork<'_>, user: UserId) -> Result<()> {
    let now = clock::now();
    let ended = store::end_in_browsers(&**work, user, &Reason::Raised, now).await?;
    grant::client::end_of_sessions(work, ended, &Reason::Raised, now).await
}

/// The lifetime of a browser session.
pub(super) fn limits(app: &App) -> Limits {
    let idle = app.config.browser_session_idle_expires;
    Limits { idle, absolute: app.config.browser_session_expires }
}

fn digest_of(id: &str) -> String {
    hex(digest(&SHA256, id.as_bytes()))
}
