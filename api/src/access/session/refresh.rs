//! Exchanging refresh tokens, and ending the sessions of those that were used twice.

use std::net::IpAddr;
use std::sync::Arc;

use entity::session::{Model, Secret};
use entity::{SessionId, UserId};
use sea_orm::{ConnectionTrait, Statement};
use tessera_verify::{Claims, Refusal, TokenType};

use super::claims::{Audience, tokens, warn_of_forgery};
use super::{Device, Tokens, limits, store};
use crate::access::grant::{self, Grant, Issuer, LastUse, RefreshToken, Spent, Worth};
use crate::app::App;
use crate::base::claims::session_of;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result, TokenRefusal};
use crate::identity::user;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::{self, Life, Reason};
use crate::platform::unit_of_work::{UnitOfWork, statement};

/// Exchanges a refresh token for the next pair.
///
/// `grant::worth` decides about the token. First the token's id is compared with the one that its session's row gives.
/// So a token that somebody made with `APP_SECRET` is refused and changes nothing, for every generation.
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
    let known = known_grant(app, session).await?.ok_or(Code::RefreshTokenInvalid)?;
    if !Issuer::new(known.0, &known.1).gives(&token) {
        warn_of_forgery(&claims);
        return Err(Code::RefreshTokenInvalid.into());
    }
    let Device { ip, user_agent } = device;
    let now = clock::now();
    let last_use = LastUse { at: now, ip, user_agent };
    let spending = spending(app, session, &token, &last_use).ok_or(Code::RefreshTokenInvalid)?;
    let Spent { row, scopes } = match statement(app, spending).await? {
        Some(row) => Spent::try_from(row)?,
        None => settle(app, session, &token, last_use).await?,
    };
    let scopes = match scopes {
        Some(scopes) => scopes,
        // The user is read again, because the row now has the place of the new token in the order. If the scopes read
        // here are old ones, the change of them looks at the row later, and its cut-off covers the token. See
        // `revoke_access`.
        None => {
            let holder = user::by_id(&app.database, row.user_id).await?;
            holder.ok_or(Code::SessionEnded)?.user.scopes()
        }
    };
    tokens(app, &row, now, false, audience, &scopes).await
}

/// The user and the secret of a session's grant, which never change. A replica remembers those of sessions that it
/// refreshed or introspected, so that a refresh needs one statement and an introspection none.
pub(super) async fn known_grant(
    app: &App,
    session: SessionId,
) -> Result<Option<Arc<(UserId, Secret)>>> {
    if let Some(known) = app.session.grants.get(&session) {
        return Ok(Some(known));
    }
    let row = store::find(app.database.reader(), session).await?;
    let known = row.map(|row| Arc::new((row.user_id, row.secret)));
    if let Some(known) = &known {
        app.session.grants.insert(session, Arc::clone(known));
    }
    Ok(known)
}

/// The statement that spends a token.
fn spending(
    app: &App,
    session: SessionId,
    token: &RefreshToken,
    last_use: &LastUse,
) -> Option<Statement> {
    let (backend, limits) = (app.database.backend(), limits(app));
    let require_verification = app.config.require_verification;
    grant::spending(backend, session, token, &limits, last_use, require_verification)
}

/// Fails unless a user may act. The token is not spent: it is good again once the address is verified.
async fn require_holder(app: &App, user: UserId) -> Result<()> {
    let holder = user::by_id(&app.database, user).await?.filter(|found| found.user.is_active);
    let holder = holder.ok_or(Code::SessionEnded)?.user;
    if !holder.may_act(&app.config) {
        return Err(Error::token(Code::SessionEnded, TokenRefusal::USER_NOT_VERIFIED));
    }
    Ok(())
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
) -> Result<Spent> {
    require_holder(app, token.user()).await?;
    let mut work = UnitOfWork::begin(app).await?;
    let row = store::find_and_lock(&*work, session).await?;
    let row = row.ok_or(Code::RefreshTokenInvalid)?;
    let now = last_use.at;
    let worth = grant::worth(&Grant::from(&row), token, now, app.config.refresh_reuse_leeway);
    let outcome = match worth {
        Worth::Current => {
            // It has become the current token in the meantime. It is exchanged as usual.
            let spending = spending(app, session, token, &last_use);
            let spent = match spending {
                Some(spending) => work.query_one_raw(spending).await?,
                None => None,
            };
            Ok(spent.ok_or(Code::SessionEnded)?.try_into()?)
        }
        Worth::Previous => {
            let row = store::issue(&*work, session, now).await?.unwrap_or(row);
            Ok(Spent { row, scopes: None })
        }
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
    grant::client::end_of_sessions(work, vec![row.id], reason, now).await?;
    let life = Life::read(app, &**work).await?;
    work.revoke([life.of_session(row.id, Timestamp::from_millis(row.issued_at), now)], reason, now);
    let entry = entry.on_user(row.user_id).with("session", row.id.to_string());
    work.record(entry);
    Ok(())
}
