//! Signing in: what a password opens.

use entity::session::Model;
use entity::{SessionId, UserId};

use super::claims::{self, tokens};
use super::{AccessToken, Device, Tokens, access_token, browser, limits, store};
use crate::app::App;
use crate::base::clock::{self, Time};
use crate::base::error::{Code, Error, Result};
use crate::base::random;
use crate::identity::factor::{self, Password};
use crate::identity::user::{self, Changes, Credentials, PasswordHash, User};
use crate::platform::audit::{self, Act, Actor, Entry};
use crate::platform::{rate_limit, revocation};

/// Signs somebody in; the access token is for an audience of the settings, the first if none is
/// asked for.
///
/// # Errors
///
/// [`Code::LoginBadCredentials`] for an unknown user, a wrong password and an inactive user, at
/// one cost; [`Code::LoginUserNotVerified`]; [`Code::TooManyAttempts`]; [`Code::ServiceBusy`];
/// [`Code::UnprocessableContent`] for an audience that tokens are not made for.
pub async fn login(
    app: &App,
    username: &str,
    password: Password,
    audience: Option<&str>,
    device: Device,
) -> Result<Tokens> {
    let audience = claims::audience(app, audience)?;
    let (row, user, now) = begin(app, username, password, device, Opens::Tokens).await?;
    tokens(app, &row, now, true, audience, &user.scopes())
}

/// What a sign-in opens.
pub(super) enum Opens {
    /// A session that gives tokens.
    Tokens,
    /// One of a browser, which knows it by an id with this digest.
    Browser(String),
}

fn new_session(
    user: UserId,
    device: Device,
    now: Time,
    issued_at: Time,
    limits: store::Limits,
) -> Model {
    let store::Limits { idle, absolute } = limits;
    Model {
        id: SessionId(random::id()),
        user_id: user,
        created_at: now.millis(),
        auth_time: now.millis(),
        expires_at: now.plus_seconds(idle.min(absolute)).millis(),
        generation: 0,
        rotated_at: now.millis(),
        ended_at: None,
        ended_why: None,
        last_used_at: now.millis(),
        ip: device.ip,
        user_agent: device.user_agent,
        ended_ip: None,
        issued_at: issued_at.millis(),
        secret: entity::session::Secret(random::bytes::<{ claims::SECRET_LENGTH }>().to_vec()),
    }
}

/// Opens a session for somebody with a password.
pub(super) async fn begin(
    app: &App,
    username: &str,
    password: Password,
    device: Device,
    opens: Opens,
) -> Result<(Model, User, Time)> {
    revocation::require_noted_life(app)?;
    let (attempt, place) = admit(app, username, device.ip.as_deref()).await?;
    let found = user::by_email(&app.database, username).await?;
    let hash = found.as_ref().map(|found| found.hash.clone());
    let matches = match app.hasher.matches(place, password.clone(), hash).await {
        Ok(matches) => matches,
        // Nobody looked at it.
        Err(error) => {
            rate_limit::take_back(app, attempt).await?;
            return Err(error);
        }
    };
    let mut known = match found {
        Some(found) if matches && found.user.is_active => found,
        found => {
            let known = found.map(|found| found.user.id);
            return Err(refused(app, known, Code::LoginBadCredentials).await);
        }
    };
    rate_limit::succeeded(app, attempt).await?;
    if app.config.require_verification && !known.user.is_verified {
        return Err(refused(app, Some(known.user.id), Code::LoginUserNotVerified).await);
    }

    let upgraded = upgraded(app, &known, password.clone()).await;
    let before = known.hash.clone();
    loop {
        let transaction = app.database.begin().await?;
        // While the password was hashed, it may have been changed, by somebody who wants everybody
        // else out: a session must not slip in behind that.
        let held = user::hold(&transaction, known.user.id).await?;
        let held = held.filter(|held| held.user.is_active).ok_or(Code::LoginBadCredentials)?;
        if held.hash != known.hash {
            // Or hashed anew by another sign-in: that is told by trying it.
            transaction.rollback().await?;
            let place = app.hasher.reserve()?;
            let hash = Some(held.hash.clone());
            if !app.hasher.matches(place, password.clone(), hash).await? {
                let id = Some(known.user.id);
                return Err(refused(app, id, Code::LoginBadCredentials).await);
            }
            known = held;
            continue;
        }
        let mut user = held.user;
        if let Some(hash) = upgraded.clone().filter(|_| known.hash == before) {
            let changes = Changes { hash: Some(hash), ..Changes::default() };
            user = user::change(&transaction, user, changes).await?;
        }
        let now = clock::now();
        let limits = match &opens {
            Opens::Tokens => limits(app),
            Opens::Browser(_) => browser::limits(app),
        };
        // After every cut-off of theirs: the clock that wrote one may have been ahead of this.
        let issued_at = revocation::next_issue(app, &transaction, user.id, now).await?;
        let row = new_session(user.id, device, now, issued_at, limits);
        let row = store::open(&transaction, row).await?;
        if let Opens::Browser(digest) = opens {
            store::open_in_browser(&transaction, digest, row.id).await?;
        }
        let entry = Entry::own(Act::Login, user.id).with("session", row.id.to_string());
        audit::record(&transaction, entry).await?;
        transaction.commit().await?;
        return Ok((row, user, now));
    }
}

/// Tells of a refusal, of somebody known or not, at one cost.
pub(super) async fn refused(app: &App, known: Option<UserId>, code: Code) -> Error {
    let entry = Entry::new(Act::LoginRefused, Actor::anybody()).with("code", code.name());
    let entry = match known {
        Some(id) => entry.on_user(id),
        None => entry,
    };
    match audit::record_alone(app, entry).await {
        Ok(()) => code.into(),
        Err(error) => error,
    }
}

/// A hash of the same password, as they are made now, where the one there is is cheaper to try passwords
/// on. That there is no time for it is no reason to refuse a sign-in.
async fn upgraded(app: &App, known: &Credentials, password: Password) -> Option<PasswordHash> {
    if !app.hasher.is_outdated(&known.hash) {
        return None;
    }
    let place = app.hasher.reserve().ok()?;
    app.hasher.hash(place, password).await.ok()
}

/// Counts an attempt to give a password, and finds it a place among those that are checked.
pub(super) async fn admit(
    app: &App,
    name: &str,
    from: Option<&str>,
) -> Result<(Option<rate_limit::Attempt>, factor::Place)> {
    let attempt = rate_limit::sign_in(app, name, from).await?;
    match app.hasher.reserve() {
        Ok(place) => Ok((attempt, place)),
        Err(busy) => {
            rate_limit::take_back(app, attempt).await?;
            Err(busy)
        }
    }
}

/// Signs somebody in who keeps no refresh token: a browser, with a cookie.
///
/// # Errors
///
/// As [`login`].
pub async fn login_with_cookie(
    app: &App,
    username: &str,
    password: Password,
    device: Device,
) -> Result<AccessToken> {
    let (row, user, now) = begin(app, username, password, device, Opens::Tokens).await?;
    access_token(app, &row, now, true, &user)
}
