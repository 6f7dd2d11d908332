//! Actions of superusers: revoking, lifting a revocation, and explaining why a token is refused.

pub(crate) mod http;

use std::fmt;

use entity::{PrincipalId, SessionId, UserId};
use tessera_verify::{Claims, Refusal};
use uuid::Uuid;

use crate::access::api_token::{self, Presented};
use crate::access::caller::{Requires, Superuser};
use crate::access::session::{self, Filter, Session};
use crate::app::App;
use crate::base::clock::{self};
use crate::base::error::{Code, Result, TokenRefusal};
use crate::base::listing::Page;
use crate::identity::user;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::{self, Life, Reason};
use crate::platform::unit_of_work::UnitOfWork;

/// The object of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A token, by its `jti`.
    Token(Uuid),
    /// A session with all its tokens.
    Session(SessionId),
    /// Every session and API token of a user, and every access token that the user got until now.
    User(UserId),
}

impl Target {
    /// The token (`jti`), session (`sid`) or user (`sub`) with an id; `None` for another kind.
    pub(crate) fn of(kind: &str, id: Uuid) -> Option<Self> {
        match kind {
            "jti" => Some(Self::Token(id)),
            "sid" => Some(Self::Session(SessionId(id))),
            "sub" => Some(Self::User(UserId(id))),
            _ => None,
        }
    }
}

/// Writes `jti:…`, `sid:…` or `sub:…`, for the log.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Token(id) => write!(formatter, "jti:{id}"),
            Target::Session(id) => write!(formatter, "sid:{id}"),
            Target::User(id) => write!(formatter, "sub:{id}"),
        }
    }
}

/// Revokes a token, a session or everything of a user, on every replica.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such session or user.
pub async fn revoke(
    app: &App,
    superuser: &Superuser,
    target: Target,
    reason: String,
) -> Result<()> {
    superuser.count_act(app)?;
    let reason = Reason::Admin(reason);
    let mut work = UnitOfWork::begin(app).await?;
    let of = match target {
        Target::Token(_) => None,
        Target::Session(session) => session::owner(&work, session).await?,
        Target::User(user) => Some(user),
    };
    let others = of.map(PrincipalId::User);
    superuser.lock(app, &work, others, Requires::Rights).await?;
    match target {
        Target::Token(jti) => {
            let now = clock::now();
            let life = Life::read(app, &*work).await?;
            work.revoke([life.of_token(app, jti, now)], &reason, now);
        }
        Target::Session(session) => {
            let now = clock::now();
            if !session::end_by_id(app, &mut work, session, &reason, None, now).await? {
                return Err(Code::NotFound.into());
            }
        }
        Target::User(user) => {
            user::lock(&*work, user).await?.ok_or(Code::NotFound)?;
            let now = clock::now();
            api_token::delete_of(&mut work, user).await?;
            session::end_all(app, &mut work, user, None, &reason, None, now).await?;
        }
    }
    let entry = Entry::new(Act::AdminRevoke, Actor::of(superuser));
    let entry = match target {
        Target::Token(id) => entry.on("token", id),
        Target::Session(id) => entry.on("session", id),
        Target::User(id) => entry.on_user(id),
    };
    work.record(entry.with("why", reason.as_str()));
    work.commit().await?;
    tracing::info!(by = %superuser, revoked = %target, "a superuser revoked something");
    Ok(())
}

/// A page of the sessions of a user, newest first.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such user.
pub async fn sessions(app: &App, email: &str, filter: Filter) -> Result<Page<Session>> {
    let user = user::by_email(&app.database, email).await?.ok_or(Code::NotFound)?.user;
    session::list(app, user.id, None, filter).await
}

/// Ends every session of a user and revokes every access token that the user got until now. Their API tokens are not
/// deleted.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such user.
pub async fn end_sessions(
    app: &App,
    superuser: &Superuser,
    email: &str,
    reason: String,
) -> Result<()> {
    superuser.count_act(app)?;
    let user = user::by_email(&app.database, email).await?.ok_or(Code::NotFound)?.user.id;
    let reason = Reason::Admin(reason);
    let mut work = UnitOfWork::begin(app).await?;
    let others = [PrincipalId::User(user)];
    superuser.lock(app, &work, others, Requires::Rights).await?;
    user::lock(&*work, user).await?.ok_or(Code::NotFound)?;
    let now = clock::now();
    session::end_all(app, &mut work, user, None, &reason, None, now).await?;
    let entry = Entry::new(Act::SessionEnd, Actor::of(superuser)).on_user(user);
    work.record(entry.with("why", reason.as_str()));
    work.commit().await?;
    tracing::info!(by = %superuser, user.id = %user, "a superuser ended every session of a user");
    Ok(())
}

/// The explanation for a token.
#[derive(Debug, Clone)]
pub struct Explained {
    /// `true` if the token is accepted by the operations for its kind.
    pub accepted: bool,
    /// The stable name of the reason, if it is refused.
    pub reason: Option<&'static str>,
    /// A sentence, with times.
    pub sentence: String,
    /// The claims, if Tessera issued the token.
    pub claims: Option<Claims>,
}

/// Explains why a JWT or API token is accepted or refused, with the checks that decide it and the checks of its user.
/// The token can be pasted with what surrounds it, such as `Bearer` or quotes.
///
/// # Errors
///
/// If the database does not answer.
pub async fn explain(app: &App, token: &str) -> Result<Explained> {
    match Presented::of(&token_in(token)) {
        Presented::ApiToken(secret) => explain_api_token(app, secret).await,
        Presented::Jwt(token) => explain_jwt(app, token).await,
        Presented::OfClient(kind) => {
            let TokenRefusal { reason, sentence } = kind.refusal();
            let sentence = format!("refused ({reason}): {sentence}");
            Ok(Explained { accepted: false, reason: Some(reason), sentence, claims: None })
        }
    }
}

/// The token in a text that somebody pasted: without white space (terminals break lines), quotes, the name of a header
/// or a JSON member before it, and `Bearer`.
fn token_in(pasted: &str) -> String {
    const BEFORE: [&str; 7] = [
        "authorization",
        "bearer",
        "x-api-key",
        "access_token",
        "refresh_token",
        "api_token",
        "token",
    ];
    let around = |char: char| {
        "\"'`“”‘’«»<>{},;\u{feff}".contains(char) || char.is_whitespace() || char.is_control()
    };
    // API tokens can begin with `=`, but not after a name.
    let after_name = |char: char| around(char) || [':', '='].contains(&char);
    let mut rest = pasted;
    loop {
        let before = rest;
        rest = rest.trim_matches(around);
        for name in BEFORE {
            let Some((start, end)) = rest.split_at_checked(name.len()) else { continue };
            if start.eq_ignore_ascii_case(name) && end.starts_with(after_name) {
                rest = end.trim_start_matches(after_name);
            }
        }
        if rest == before {
            return rest.split_whitespace().collect();
        }
    }
}

async fn explain_jwt(app: &App, token: &str) -> Result<Explained> {
    let explanation = app.key.verifier.explain(token, clock::now().seconds());
    let (mut reason, mut sentence) =
        (explanation.refusal.map(Refusal::reason), explanation.to_string());
    if let (None, Some(claims)) = (reason, &explanation.claims) {
        match session::active_user(app, claims).await? {
            None => {
                reason = Some("user_inactive");
                sentence =
                    "refused (user_inactive): its user is inactive or does not exist".to_owned();
            }
            Some(user) if !user.may_act(&app.config) => {
                let TokenRefusal { reason: name, sentence: words } =
                    TokenRefusal::USER_NOT_VERIFIED;
                reason = Some(name);
                sentence = format!("refused ({name}): {words}");
            }
            Some(_) => {}
        }
    }
    if let (None, Some(claims)) = (reason, &explanation.claims)
        && let Some((name, words)) = session::explain_refresh(app, claims).await?
    {
        reason = Some(name);
        sentence = format!("refused ({name}): {words}");
    }
    Ok(Explained { accepted: reason.is_none(), reason, sentence, claims: explanation.claims })
}

async fn explain_api_token(app: &App, secret: &str) -> Result<Explained> {
    let (reason, sentence) = match api_token::accepted(app, secret).await? {
        Ok((token, Some(owner))) => {
            let expiry = match token.expires {
                Some(expires) => format!("until {expires}"),
                None => "until it is deleted".to_owned(),
            };
            let scopes = token.scopes.within(&owner.scopes());
            (
                None,
                format!(
                    "accepted: an API token of {} (scopes: {scopes}), valid {expiry}",
                    owner.name()
                ),
            )
        }
        Ok((_, None)) => {
            let sentence = "refused (user_inactive): its owner is inactive or does not exist";
            (Some("user_inactive"), sentence.to_owned())
        }
        Err(TokenRefusal { reason, sentence }) => {
            (Some(reason), format!("refused ({reason}): {sentence}"))
        }
    };
    Ok(Explained { accepted: reason.is_none(), reason, sentence, claims: None })
}

/// Lifts a revocation, on every replica.
///
/// # Errors
///
/// [`Code::NotFound`] if there is none; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn lift(app: &App, superuser: &Superuser, seq: i64) -> Result<()> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let lifted = revocation::lift(&work, seq).await?;
    work.appends();
    let entry = Entry::new(Act::AdminLift, Actor::of(superuser));
    work.record(entry.on(&lifted.kind, &lifted.subject));
    // This replica's memory learns of it like the others, in the order of the sequence.
    work.commit().await?;
    tracing::info!(by = %superuser, revocation.seq = seq, "a superuser lifted a revocation");
    Ok(())
}
