//! Sessions of browsers: what a cookie opens on the pages.
//!
//! The cookie has an id nobody can guess, and the table its digest. The session is one like any other: it
//! stands in the list, ends from elsewhere, and with a new password. It is looked up at each page, so that
//! it ends at once, on every replica.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::Refusal;

use super::open::{SessionKind, open};
use super::{Device, is_live, store};
use crate::access::grant::Limits;
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

/// How many letters and digits an id has: 256 bits.
const ID_LENGTH: usize = 43;

/// How often it is written that a session is in use, in seconds; more often where it ends soon.
const NOTED_EVERY: u64 = 60;

/// How far the clock of the replica that took the password may be ahead of this one's, in seconds.
const MAX_SKEW: u64 = 5;

/// What a browser has that is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Its session.
    pub session: SessionId,
    /// Whose it is.
    pub user: Arc<User>,
    last_used: Timestamp,
}

/// A new id for a cookie, whether somebody is signed in by it or not.
pub fn new_id() -> String {
    random::letters_and_digits(ID_LENGTH)
}

/// Signs in someone who has proved who they are; the id for the cookie is a new one, whatever the browser had.
///
/// # Errors
///
/// As [`login`](super::login).
pub async fn sign_in(app: &App, authentication: Authentication, device: Device) -> Result<String> {
    let id = new_id();
    open(app, authentication, device, SessionKind::Browser(digest_of(&id))).await?;
    Ok(id)
}

/// Who is signed in by an id, at this moment.
///
/// # Errors
///
/// When the database does not answer.
pub async fn find(app: &App, id: &str) -> Result<Option<SignedIn>> {
    if id.len() != ID_LENGTH {
        return Ok(None);
    }
    let row = store::of_browser(app.database.reader(), &digest_of(id), clock::now()).await?;
    let Some(row) = row else { return Ok(None) };
    let user = user::current(app, row.user_id).await?.filter(|user| user.may_act(&app.config));
    let last_used = Timestamp::from_millis(row.last_used_at);
    Ok(user.map(|user| SignedIn { session: row.id, user, last_used }))
}

/// Lets a session that is in use go on, once a minute at most. Nobody waits for it.
pub fn keep(app: &App, signed_in: &SignedIn, device: Device) {
    let now = clock::now();
    let every = NOTED_EVERY.min(app.config.browser_session_idle_expires / 4);
    if signed_in.last_used.plus_seconds(every) > now {
        return;
    }
    // Of many pages at once one writes.
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
            tracing::warn!(error.cause = %error, "it could not be noted that a session is in use");
        }
    });
}

/// Lets a session count as fresh, for the time of the settings, because its user has proved once more who they are. The
/// browser has another id from then on, so that a copy of its cookie does not become fresh with it.
///
/// # Errors
///
/// [`Code::LoginBadCredentials`] for a proof that was overtaken; [`Code::Unauthorized`] for a session that ended
/// meanwhile.
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
    // Somebody else may have changed it since: the old one proves nothing any more.
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

/// Whether the password of a session was given within the time that it counts as fresh, by the table. A time that lies
/// ahead of the clock is none.
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

/// Gives a session another id for its cookie, with something that a thief of the old one must not share.
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
/// When the database does not answer: the session goes on then.
pub async fn sign_out(app: &App, signed_in: &SignedIn, device: Device) -> Result<()> {
    let (session, user) = (signed_in.session, signed_in.user.id);
    let work = UnitOfWork::begin(app).await?;
    super::end(app, work, user, session, &Reason::Logout, device).await.map(drop)
}

/// Signs every browser of somebody out who may more than before: a cookie of theirs that somebody else has
/// opens nothing new.
pub(crate) async fn sign_out_everywhere(
    transaction: &DatabaseTransaction,
    user: UserId,
) -> Result<()> {
    Ok(store::end_in_browsers(transaction, user, &Reason::Raised, clock::now()).await?)
}

/// How long a browser stays signed in.
pub(super) fn limits(app: &App) -> Limits {
    let idle = app.config.browser_session_idle_expires;
    Limits { idle, absolute: app.config.browser_session_expires }
}

fn digest_of(id: &str) -> String {
    hex(digest(&SHA256, id.as_bytes()))
}
