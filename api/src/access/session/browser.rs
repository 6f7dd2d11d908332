//! Browser sessions: sessions on the pages, with an id in a cookie.
//!
//! The id has 256 random bits, and the table stores its digest. Otherwise the session is like any other: it is listed,
//! and it ends with a new password or from another device. It is looked up for each page, so its end takes effect at
//! once on every replica.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use entity::session::Model;
use entity::{FederatedIdentityId, SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::Refusal;

use super::live::live_row;
use super::open::{Proved, SessionKind, entry_of, open};
use super::{Device, store};
use crate::access::grant::{self, Limits};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::hex::hex;
use crate::base::random;
use crate::identity::factor::{Authentication, federated};
use crate::identity::user::{self, Credentials, User};
use crate::platform::audit::Act;
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
    /// The time when it began.
    pub began: Timestamp,
    /// The time when the user last proved who they are; the epoch if their provider does not say it.
    pub auth_time: Timestamp,
    /// The methods by which they did, separated by spaces.
    pub amr: String,
    identity: Option<FederatedIdentityId>,
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
    match row {
        Some(row) => signed_in(app, &row).await,
        None => Ok(None),
    }
}

async fn signed_in(app: &App, row: &Model) -> Result<Option<SignedIn>> {
    let user = user::current(app, row.user_id).await?.filter(|user| user.may_act(&app.config));
    let last_used = Timestamp::from_millis(row.last_used_at);
    let auth_time = Timestamp::from_millis(row.auth_time);
    let began = Timestamp::from_millis(row.created_at);
    let (amr, identity) = (row.amr.clone(), row.federated_identity_id);
    Ok(user.map(|user| SignedIn {
        session: row.id,
        user,
        began,
        auth_time,
        amr,
        identity,
        last_used,
    }))
}

/// Like [`find`], but as the session was in the database within the last second, so that a busy browser costs about one
/// query a second. If this server knows that the session has ended, it is not returned.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn find_recent(app: &App, id: &str) -> Result<Option<SignedIn>> {
    let Ok(key) = <[u8; 32]>::try_from(digest(&SHA256, id.as_bytes()).as_ref()) else {
        return Ok(None);
    };
    if let Some(row) = app.session.in_browsers.get(key) {
        return if_it_lives(app, &row).await;
    }
    if id.len() != ID_LENGTH {
        return Ok(None);
    }
    let since = app.session.in_browsers.since();
    let row = store::of_browser(app.database.reader(), &digest_of(id), clock::now()).await?;
    let Some(row) = row.map(Arc::new) else { return Ok(None) };
    app.session.in_browsers.put(key, Arc::clone(&row), since);
    if_it_lives(app, &row).await
}

/// Like [`find_recent`], for the id of a session.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn of_session(app: &App, session: SessionId) -> Result<Option<SignedIn>> {
    if let Some(row) = app.session.recent.get(session) {
        return if_it_lives(app, &row).await;
    }
    let since = app.session.recent.since();
    let row = store::find(app.database.reader(), session).await?;
    let Some(row) = row.map(Arc::new) else { return Ok(None) };
    app.session.recent.put(session, Arc::clone(&row), since);
    if_it_lives(app, &row).await
}

async fn if_it_lives(app: &App, row: &Model) -> Result<Option<SignedIn>> {
    let has_ended = row.ended_at.is_some() || row.has_expired(clock::now().millis());
    if has_ended || app.revocation.list().has_session(&row.id.0) {
        return Ok(None);
    }
    signed_in(app, row).await
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

/// Makes a session fresh for `FRESH_TOKEN_EXPIRES`, because its user proved again who they are. The browser gets
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
    let (mut work, row, locked) = locked(app, signed_in, authentication).await?;
    federated::require_no_other(app, &*work, &locked.user, authentication).await?;
    let times = (authentication.at(), authentication.made());
    let proved = Proved::of(authentication);
    store::authenticate(&*work, &row, &limits(app), times, proved).await?;
    if authentication.is_by_password() {
        store::prove(&*work, row.id, Some(authentication.made())).await?;
    }
    rename(&work, row.id, next).await?;
    work.record(entry_of(Act::Freshen, &row, &authentication.amr()));
    work.commit().await
}

/// Lets the forms of the account ask for no other proof for [`RECENT`] seconds, because the user gave the password in one
/// of them. Nothing else becomes fresh. The browser gets another id, so a copy of the old cookie gains nothing.
///
/// # Errors
///
/// Like [`freshen`].
pub(crate) async fn remember_proof(
    app: &App,
    signed_in: &SignedIn,
    authentication: &Authentication,
    next: &str,
) -> Result<()> {
    let (mut work, row, _) = locked(app, signed_in, authentication).await?;
    store::prove(&*work, row.id, Some(authentication.made())).await?;
    rename(&work, row.id, next).await?;
    work.record(entry_of(Act::Freshen, &row, &authentication.amr()));
    work.commit().await
}

/// Begins a unit of work in which the user and the session are locked, and the proof holds.
async fn locked<'a>(
    app: &'a App,
    signed_in: &SignedIn,
    authentication: &Authentication,
) -> Result<(UnitOfWork<'a>, Model, Credentials)> {
    let (session, user) = (signed_in.session, signed_in.user.id);
    let work = UnitOfWork::begin(app).await?;
    let locked = user::lock(&*work, user).await?;
    let row = live_row(&work, session, user).await?;
    let row = row.ok_or_else(|| Error::token(Code::Unauthorized, Refusal::Revoked))?;
    // The password was changed in the meantime, perhaps by somebody else, so the old one proves nothing.
    let locked = locked
        .filter(|locked| authentication.holds_for(locked))
        .ok_or(Code::LoginBadCredentials)?;
    if !authentication.is_linked(&*work, &locked).await? {
        return Err(Code::LoginBadCredentials.into());
    }
    if !locked.user.is_active {
        return Err(Code::Unauthorized.into());
    }
    Ok((work, row, locked))
}

/// The maximum time for which the forms of an account ask for no other proof, in seconds.
const RECENT: u64 = 300;

/// Returns true if a proof was given a moment ago. A time that is ahead of the clock does not count.
fn is_recent(app: &App, given: Timestamp) -> bool {
    let now = clock::now();
    let is_past = given <= now.plus_seconds(MAX_SKEW);
    is_past && now <= given.plus_seconds(RECENT.min(app.config.fresh_token_expires))
}

/// Returns true if the user signed in or proved again who they are a moment ago.
pub(crate) fn has_just_proved(app: &App, signed_in: &SignedIn) -> bool {
    is_recent(app, signed_in.auth_time)
}

/// Returns the proof that the user gave in this browser a moment ago, if it still holds. If the user has a password, they
/// gave it again since the sign-in: somebody who only found the browser signed in does not know it. Otherwise it is the
/// last sign-in at a provider.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn standing_proof(
    app: &App,
    signed_in: &SignedIn,
) -> Result<Option<Authentication>> {
    // The user is read before the session. If the password changes in between, the session has no proof any more. If it
    // changes later, the proof does not hold for the locked user.
    let known = user::by_id(&app.database, signed_in.user.id).await?;
    let row = store::find(app.database.reader(), signed_in.session).await?;
    let (Some(known), Some(row)) = (known, row) else { return Ok(None) };
    let given = match known.hash.is_none() {
        true => Some(row.auth_time),
        false => row.proved_at,
    };
    let given = given.map(Timestamp::from_millis).filter(|given| is_recent(app, *given));
    Ok(given.map(|given| Authentication::standing(&known, given)))
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

/// Gives a session another id after its user chose a new password. A proof by the previous password ends.
pub(crate) async fn move_on(
    transaction: &DatabaseTransaction,
    session: SessionId,
    id: &str,
) -> Result<()> {
    store::prove(transaction, session, None).await?;
    rename(transaction, session, id).await
}

/// Signs a browser out.
///
/// # Errors
///
/// If the database does not answer. Then the session continues.
pub async fn sign_out(app: &App, signed_in: &SignedIn, device: Device) -> Result<()> {
    let (session, user) = (signed_in.session, signed_in.user.id);
    super::end(app, user, session, &Reason::Logout, device).await.map(drop)
}

/// The name of the provider where the user of a session signs out too, if the settings say so.
pub(super) async fn ends_at(app: &App, signed_in: &SignedIn) -> Option<String> {
    let upstreams = &app.config.federation.upstreams;
    let identity = signed_in.identity.filter(|_| upstreams.iter().any(|known| known.ends_there))?;
    let name = federated::name_of(app, identity).await.ok().flatten()?;
    upstreams.iter().any(|known| known.ends_there && known.name == name).then_some(name)
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
