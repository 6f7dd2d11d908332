//! Exchanging refresh tokens, and ending the sessions of those that were used twice.

use std::net::IpAddr;

use entity::SessionId;
use entity::session::Model;
use tessera_verify::{Claims, Refusal, TokenType};

use super::claims::{Audience, tokens, warn_of_forgery};
use super::{Device, Tokens, active_user, limits, store};
use crate::access::grant::{self, Grant, LastUse, RefreshToken, Worth};
use crate::app::App;
use crate::base::claims::{session_of, user_of};
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result, TokenRefusal};
use crate::identity::user;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::{self, Life, Reason};
use crate::platform::unit_of_work::{UnitOfWork, statement};

/// Exchanges a refresh token for the next pair.
///
/// `grant::worth` decides about the token. First the token's id is compared with the one that its session's row gives.
/// So a token that somebody made with `APP_SECRET` is refused and changes nothing, whatever its generation is.
///
/// # Errors
///
/// [`Code::RefreshTokenInvalid`], [`Code::RefreshTokenExpired`], [`Code::RefreshTokenReused`]; [`Code::SessionEnded`],
/// also if the user may not act now; [`Code::UnprocessableContent`] if Tessera does not make tokens for the audience.
pub async fn refresh(
    app: &App,
    token: &str,
    audience: Option<&str>,
    device: Device,
) -> Result<Tokens> {
    let audience = Audience::parse(app, audience)?;
    revocation::require_known(app)?;
    revocation::require_noted_life(app)?;
    let claims = verified(app, token)?;
    let token = RefreshToken::of(&claims).ok_or(Code::RefreshTokenInvalid)?;
    let session = session_of(&claims);
    // A row's secret and user never change, so this query and the update need no transaction.
    let row = store::find(app.database.reader(), session).await?;
    let row = row.ok_or(Code::RefreshTokenInvalid)?;
    if !Grant::from(&row).gives(&token) {
        warn_of_forgery(&claims);
        return Err(Code::RefreshTokenInvalid.into());
    }
    let holder = active_user(app, &claims).await?.ok_or(Code::SessionEnded)?;
    if !holder.may_act(&app.config) {
        // The token is not used up. It is accepted again after the address is verified.
        return Err(Error::token(Code::SessionEnded, TokenRefusal::USER_NOT_VERIFIED));
    }
    let Device { ip, user_agent } = device;
    let now = clock::now();
    let last_use = LastUse { at: now, ip, user_agent };
    let writer = statement(app);
    let spent = grant::spend(writer, session, &token, &limits(app), last_use.clone()).await?;
    let row = match spent {
        Some(row) => row,
        None => settle(app, session, &token, last_use).await?,
    };
    // The user is read again, because the row now has the place of the new token in the order. If the scopes read here
    // are old ones, the change of them looks at the row later, and its cut-off covers the token. See `revoke_access`.
    let user = user_of(&claims);
    let holder = user::by_id(&app.database, user).await?.ok_or(Code::SessionEnded)?.user;
    tokens(app, &row, now, false, audience, &holder.scopes())
}

/// The claims of a refresh token that the verifier accepts.
fn verified(app: &App, token: &str) -> Result<Claims> {
    let now = clock::now().seconds();
    app.key.verifier.verify(token, TokenType::Refresh, now).map_err(|refusal| match refusal {
        Refusal::Expired => Error::token(Code::RefreshTokenExpired, refusal),
        Refusal::Revoked => Error::token(Code::SessionEnded, refusal),
        _ => Error::token(Code::RefreshTokenInvalid, refusal),
    })
}

/// Handles a token that could not be exchanged: its successor is issued again, its session ends, or neither. The
/// session is locked, so nothing can happen in between.
///
/// The end of a session must be committed although the caller gets an error. So a refusal is a value here, and becomes
/// an error after the commit.
async fn settle(
    app: &App,
    session: SessionId,
    token: &RefreshToken,
    last_use: LastUse,
) -> Result<Model> {
    let mut work = UnitOfWork::begin(app).await?;
    let row = store::find_and_lock(&*work, session).await?;
    let row = row.ok_or(Code::RefreshTokenInvalid)?;
    let now = last_use.at;
    let worth = grant::worth(&Grant::from(&row), token, now, app.config.refresh_reuse_leeway);
    let outcome = match worth {
        Worth::Current => {
            // It has become the current token in the meantime. It is exchanged as usual.
            let spent = grant::spend(&*work, session, token, &limits(app), last_use).await?;
            Ok(spent.ok_or(Code::RefreshTokenInvalid)?)
        }
        Worth::Previous => Ok(store::issue(&*work, session, now).await?.unwrap_or(row)),
        Worth::Reused => {
            let entry = Entry::new(Act::RefreshReuse, Actor::anybody());
            end(app, &mut work, &row, &Reason::Reuse, last_use.ip, entry).await?;
            Err(Code::RefreshTokenReused)
        }
        Worth::Ahead => {
            let reason = Reason::Restored;
            let entry = Entry::new(Act::SessionEnd, Actor::anybody()).with("why", reason.name());
            end(app, &mut work, &row, &reason, last_use.ip, entry).await?;
            Err(Code::SessionEnded)
        }
        Worth::NotIssued => Err(Code::RefreshTokenInvalid),
        Worth::Ended => Err(Code::SessionEnded),
        Worth::Expired => Err(Code::RefreshTokenExpired),
    };
    work.commit().await?;
    outcome.map_err(|code| {
        warn_of_end(session, worth);
        code.into()
    })
}

/// Logs that a refresh token ended its session, if it did.
fn warn_of_end(session: SessionId, worth: Worth) {
    match worth {
        Worth::Reused => tracing::warn!(
            session.id = %session,
            "a refresh token was used again after its exchange, so its session was ended"
        ),
        Worth::Ahead => tracing::warn!(
            session.id = %session,
            "a refresh token is newer than its session, because the database was restored from an \
             older copy; the session was ended"
        ),
        _ => {}
    }
}

/// Explains why a valid refresh token would not be exchanged now. Returns the name of the reason and a sentence, or
/// `None` if it would be exchanged or is an access token.
///
/// # Errors
///
/// If the database does not answer.
pub async fn explain_refresh(
    app: &App,
    claims: &Claims,
) -> Result<Option<(&'static str, &'static str)>> {
    let Some(token) = RefreshToken::of(claims) else { return Ok(None) };
    let row = store::find(app.database.reader(), session_of(claims)).await?;
    let Some(row) = row else {
        return Ok(Some(("session_unknown", "its session does not exist")));
    };
    let leeway = app.config.refresh_reuse_leeway;
    Ok(match grant::worth(&Grant::from(&row), &token, clock::now(), leeway) {
        Worth::Current => None,
        Worth::NotIssued => Some((
            "token_not_issued",
            "its session did not issue it: somebody made it with APP_SECRET",
        )),
        Worth::Ended => Some(("session_ended", "its session has ended")),
        Worth::Expired => Some(("session_expired", "its session has expired")),
        Worth::Ahead => Some((
            "token_ahead",
            "it is newer than its session: the database was restored from an older copy",
        )),
        Worth::Previous | Worth::Reused => Some((
            "token_spent",
            "it was exchanged already; within REFRESH_REUSE_LEEWAY it gives its successor again",
        )),
    })
}

/// Ends a session whose token was refused.
async fn end(
    app: &App,
    work: &mut UnitOfWork<'_>,
    row: &Model,
    reason: &Reason,
    ip: Option<IpAddr>,
    entry: Entry,
) -> Result<()> {
    let now = clock::now();
    store::end(&**work, row.id, row.user_id, reason, ip, now).await?;
    let life = Life::read(app, &**work).await?;
    work.revoke([life.of_session(row.id, Timestamp::from_millis(row.issued_at), now)], reason, now);
    let entry = entry.on_user(row.user_id).with("session", row.id.to_string());
    work.record(entry);
    Ok(())
}
