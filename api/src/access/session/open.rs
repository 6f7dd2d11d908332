//! Opening sessions: what a proof of who someone is leads to, by whichever method.

use entity::SessionId;
use entity::session::Model;

use super::claims::{Audience, tokens};
use super::{AccessToken, Device, Tokens, access_token, browser, limits, store};
use crate::access::grant::{Limits, SECRET_LENGTH};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Result};
use crate::base::random;
use crate::base::request_context::{CallerIds, note_caller};
use crate::identity::factor::{self, Authentication};
use crate::identity::user::{self, User};
use crate::platform::audit::{Act, Entry};
use crate::platform::revocation;
use crate::platform::unit_of_work::UnitOfWork;

/// How a session is carried on.
pub(super) enum SessionKind {
    /// By tokens.
    Tokens,
    /// By the cookie of a browser on the pages, whose id has this digest.
    Browser(String),
}

/// A session that has just been opened, with the instants of the proof.
pub(super) struct Opened {
    pub(super) row: Model,
    pub(super) user: User,
    pub(super) at: Timestamp,
}

/// Fails while this server can open no session. Those who ask for a proof ask this first, so that nobody's attempt is
/// counted and checked for nothing; `open` asks again.
///
/// # Errors
///
/// [`Code::ServiceUnavailable`].
pub(crate) fn require_ready(app: &App) -> Result<()> {
    revocation::require_noted_life(app)
}

/// Signs in someone who keeps a refresh token.
///
/// # Errors
///
/// [`Code::LoginBadCredentials`] for a user who is inactive, or whose password was changed, by now;
/// [`Code::LoginUserNotVerified`]; [`Code::ServiceUnavailable`]; [`Code::ServiceBusy`].
pub async fn login(
    app: &App,
    authentication: Authentication,
    audience: Audience<'_>,
    device: Device,
) -> Result<Tokens> {
    let Opened { row, user, at } = open(app, authentication, device, SessionKind::Tokens).await?;
    tokens(app, &row, at, true, audience, &user.scopes())
}

/// Signs in someone who keeps no refresh token: a browser, with a cookie that has an access token.
///
/// # Errors
///
/// As [`login`].
pub async fn login_with_cookie(
    app: &App,
    authentication: Authentication,
    device: Device,
) -> Result<AccessToken> {
    let Opened { row, user, at } = open(app, authentication, device, SessionKind::Tokens).await?;
    access_token(app, &row, at, true, &user)
}

/// Opens a session for someone who has proved who they are. There is no other way to one.
///
/// The proof was made a moment ago, and a hash takes long. Meanwhile the password may have been changed by its owner,
/// who wants everybody else out: a session must not slip in behind that. So the proof is compared with the user as this
/// transaction has locked them, and one that does not fit any more is made anew. Whoever ends the user's sessions locks
/// them too, and so comes before the comparison or finds the session.
pub(super) async fn open(
    app: &App,
    mut authentication: Authentication,
    device: Device,
    kind: SessionKind,
) -> Result<Opened> {
    require_ready(app)?;
    loop {
        let work = UnitOfWork::begin(app).await?;
        let locked = user::lock(&*work, authentication.user()).await?;
        let locked = locked.filter(|locked| locked.user.is_active);
        let locked = locked.ok_or(Code::LoginBadCredentials)?;
        if !authentication.holds_for(&locked) {
            work.rollback().await?;
            authentication = authentication.renew(app, locked).await?;
            continue;
        }
        if !locked.user.may_act(&app.config) {
            work.rollback().await?;
            let user = Some(locked.user.id);
            return Err(factor::refuse(app, user, Code::LoginUserNotVerified).await);
        }
        return insert(app, work, locked.user, &authentication, device, kind).await;
    }
}

/// Writes the session of a user who is locked and whose proof holds, and commits.
async fn insert(
    app: &App,
    mut work: UnitOfWork<'_>,
    user: User,
    authentication: &Authentication,
    device: Device,
    kind: SessionKind,
) -> Result<Opened> {
    let limits = match &kind {
        SessionKind::Tokens => limits(app),
        SessionKind::Browser(_) => browser::limits(app),
    };
    // The session begins with the proof: `auth_time` and the `iat` of its first tokens are one instant.
    let at = authentication.at();
    // After every cut-off of theirs: the clock that wrote one may have been ahead of this.
    let issued_at = revocation::next_issue(app, &work, user.id, at).await?;
    let row = new_row(&user, device, at, issued_at, limits);
    let row = store::open(&*work, row).await?;
    if let SessionKind::Browser(digest) = kind {
        store::open_in_browser(&*work, digest, row.id).await?;
    }
    let entry = Entry::own(Act::Login, user.id).with("session", row.id.to_string());
    work.record(entry);
    work.commit().await?;
    note_caller(CallerIds { user: Some(user.id.0), session: Some(row.id.0), token: None });
    let amr = authentication.amr();
    tracing::debug!(user.id = %user.id, session.id = %row.id, amr, "a session was opened");
    Ok(Opened { row, user, at })
}

fn new_row(
    user: &User,
    device: Device,
    at: Timestamp,
    issued_at: Timestamp,
    limits: Limits,
) -> Model {
    let Limits { idle, absolute } = limits;
    Model {
        id: SessionId(random::id()),
        user_id: user.id,
        created_at: at.millis(),
        auth_time: at.millis(),
        expires_at: at.plus_seconds(idle.min(absolute)).millis(),
        generation: 0,
        rotated_at: at.millis(),
        ended_at: None,
        ended_why: None,
        last_used_at: at.millis(),
        ip: device.ip.map(|ip| ip.to_string()),
        user_agent: device.user_agent,
        ended_ip: None,
        issued_at: issued_at.millis(),
        secret: entity::session::Secret(random::bytes::<SECRET_LENGTH>().to_vec()),
        cuts: 0,
    }
}
