//! Opening a session after a proof of identity, by any method.

use entity::session::Model;
use entity::{FederatedIdentityId, SessionId};

use super::claims::{Audience, tokens};
use super::{AccessToken, Device, Tokens, access_token, browser, limits, store};
use crate::access::grant::{Limits, SECRET_LENGTH};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Result};
use crate::base::random;
use crate::base::request_context::{CallerIds, note_caller};
use crate::identity::factor::{self, Authentication, federated};
use crate::identity::user::{self, User};
use crate::platform::audit::{Act, Entry};
use crate::platform::revocation;
use crate::platform::unit_of_work::UnitOfWork;

/// The way in which a client keeps a session.
pub(super) enum SessionKind {
    /// With tokens.
    Tokens,
    /// With the cookie of a browser on the pages. The id in it has this digest.
    Browser(String),
}

/// A session that was just opened, with its user and the time of the proof.
pub(super) struct Opened {
    pub(super) row: Model,
    pub(super) user: User,
    pub(super) at: Timestamp,
}

/// Fails while this server cannot open sessions. Callers check this before they check a password, so that no attempt is
/// counted in vain. `open` checks again.
///
/// # Errors
///
/// [`Code::ServiceUnavailable`].
pub(crate) fn require_ready(app: &App) -> Result<()> {
    revocation::require_noted_life(app)
}

/// Signs in a client that keeps a refresh token.
///
/// # Errors
///
/// [`Code::LoginBadCredentials`] if the user is inactive or the password was changed in the meantime;
/// [`Code::LoginUserNotVerified`]; [`Code::ServiceUnavailable`]; [`Code::ServiceBusy`].
pub async fn login(
    app: &App,
    authentication: Authentication,
    audience: Audience<'_>,
    device: Device,
) -> Result<Tokens> {
    let Opened { row, user, at } = open(app, authentication, device, SessionKind::Tokens).await?;
    tokens(app, &row, at, true, audience, &user.scopes()).await
}

/// Signs in a browser that keeps no refresh token, but a cookie with an access token.
///
/// # Errors
///
/// Like [`login`].
pub async fn login_with_cookie(
    app: &App,
    authentication: Authentication,
    device: Device,
) -> Result<AccessToken> {
    let Opened { row, user, at } = open(app, authentication, device, SessionKind::Tokens).await?;
    access_token(app, &row, at, true, &user).await
}

/// Opens a session for a user who gave a proof. Every session is opened here.
///
/// Hashing takes time, so the password may have been changed since the proof was made. A change must end all other
/// sessions, and no session may be opened after it with the old password. So the proof is compared with the user's row,
/// which this transaction has locked. If it does not match, the proof is made again. Everything that ends a user's
/// sessions locks the user too. So it runs before the comparison, or it finds the session.
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
        // An identity at another provider was unlinked in the meantime, so it proves nothing here.
        if !authentication.is_linked(&*work, &locked).await? {
            return Err(Code::LoginBadCredentials.into());
        }
        let user = &locked.user;
        let allowed = federated::require_no_other(app, &*work, user, &authentication).await;
        let code = match allowed {
            _ if !user.may_act(&app.config) => Some(Code::LoginUserNotVerified),
            Err(error) => Some(error.code()),
            Ok(()) => None,
        };
        if let Some(code) = code {
            work.rollback().await?;
            return Err(factor::refuse(app, Some(user.id), code).await);
        }
        return insert(app, work, locked.user, &authentication, device, kind).await;
    }
}

/// Inserts the session of a locked user whose proof is valid, and commits.
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
    // The session begins when its proof is accepted: that is the `iat` of its first tokens.
    let at = authentication.made();
    // Later than every cut-off of the user, even if the clock that wrote one was ahead of this one.
    let issued_at = revocation::next_issue(app, &work, user.id, at).await?;
    let row = new_row(&user, device, authentication, issued_at, limits);
    let row = store::open(&*work, row).await?;
    if let SessionKind::Browser(digest) = kind {
        store::open_in_browser(&*work, digest, row.id).await?;
    }
    let amr = authentication.amr();
    work.record(entry_of(Act::Login, &row, &amr));
    work.commit().await?;
    app.factor.count_accepted(authentication);
    note_caller(CallerIds { user: Some(user.id.0), session: Some(row.id.0), token: None });
    tracing::debug!(user.id = %user.id, session.id = %row.id, amr, "a session was opened");
    Ok(Opened { row, user, at })
}

/// The audit entry of a proof that opened a session, or made it fresh. Without `amr`, it was a password.
pub(super) fn entry_of(act: Act, row: &Model, amr: &str) -> Entry {
    let entry = Entry::own(act, row.user_id).with("session", row.id.to_string());
    if amr == "pwd" { entry } else { entry.with("amr", amr) }
}

fn new_row(
    user: &User,
    device: Device,
    authentication: &Authentication,
    issued_at: Timestamp,
    limits: Limits,
) -> Model {
    let Limits { idle, absolute } = limits;
    let at = authentication.made();
    let proved = Proved::of(authentication);
    let expires = at.plus_seconds(idle.min(absolute)).millis();
    Model {
        id: SessionId(random::id()),
        user_id: user.id,
        created_at: at.millis(),
        auth_time: authentication.at().millis(),
        expires_at: proved.ends_at.map_or(expires, |ends| expires.min(ends)),
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
        amr: proved.amr,
        second_at: proved.second_at,
        federated_identity_id: proved.identity,
        upstream_sid: proved.sid,
        ends_at: proved.ends_at,
        proved_at: None,
    }
}

/// The part of a proof that the row of a session keeps.
pub(super) struct Proved {
    pub(super) amr: String,
    pub(super) second_at: Option<i64>,
    pub(super) identity: Option<FederatedIdentityId>,
    pub(super) sid: Option<String>,
    pub(super) ends_at: Option<i64>,
}

impl Proved {
    pub(super) fn of(authentication: &Authentication) -> Self {
        let provider = authentication.of_provider();
        let worth = provider.and_then(|proof| proof.worth);
        let is_second = provider.is_some_and(|proof| proof.is_second);
        Self {
            amr: authentication.amr(),
            second_at: is_second.then(|| authentication.at().millis()),
            identity: authentication.identity(),
            sid: provider.and_then(|proof| proof.sid.clone()),
            ends_at: worth.map(|worth| authentication.made().plus_seconds(worth).millis()),
        }
    }
}
