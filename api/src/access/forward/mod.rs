//! Gateways: a proxy asks about each request before it passes the request on to an application. The answer has the user
//! in headers, or refuses the request.

pub(crate) mod http;
pub(crate) mod pages;
mod ticket;

use std::sync::Arc;

use tessera_verify::{Claims, Refusal, TokenKind, TokenType};

use crate::access::caller::Caller;
use crate::access::session::{self, browser};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::config::{Config, ConfigError, Origin};
use crate::base::derived_key::{Seal, seals_of};
use crate::base::error::{Code, Error, Result};
use crate::base::scope::{Scope, Scopes};
use crate::identity::service::Principal;
use crate::identity::user::User;
use crate::platform::revocation;

/// The longest time since a proof that a gateway can ask for, in seconds.
pub const MAX_FRESH: u64 = 86_400;

/// The keys that seal codes and cookies for other hosts.
#[derive(Debug)]
pub struct State {
    seals: Vec<Seal>,
}

impl State {
    /// Derives the keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the secret cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self { seals: seals_of(&config.signing_secret()?, config, "tessera forward") })
    }
}

/// The requirements of a gateway for a request.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The audience of access tokens; `JWT_AUDIENCE` if there is none.
    pub audience: Option<String>,
    /// The scopes that the caller must have.
    pub scopes: Vec<String>,
    /// The longest time since the caller proved who they are, in seconds.
    pub fresh: Option<u64>,
}

/// The caller of an original request.
#[derive(Debug)]
pub struct Known {
    /// The caller.
    pub caller: Caller,
    /// The scopes that the caller has there.
    pub scopes: Scopes,
    /// The time when the caller proved who they are; `None` for API tokens.
    proved: Option<Timestamp>,
}

impl Known {
    /// A caller with an API token.
    pub(crate) fn of_api_token(caller: Caller) -> Self {
        let scopes = caller.scopes();
        Self { caller, scopes, proved: None }
    }

    /// A caller in a browser that is signed in, at this host or at another one.
    pub(crate) fn in_browser(signed_in: &browser::SignedIn, proved: Timestamp) -> Self {
        let caller = Caller::browser(signed_in, None);
        Self { scopes: caller.scopes(), caller, proved: Some(proved) }
    }

    /// The holder of an access token. Like introspection, this gives the scopes in the token that the user still has.
    fn of_session(claims: Claims, user: Arc<User>, in_cookie: bool) -> Self {
        let (scopes, proved) = match &claims.kind {
            TokenKind::Access { scope, auth_time, fresh, .. } => {
                let given = i64::try_from(auth_time.saturating_mul(1000)).unwrap_or(0);
                let proved = fresh.then(|| Timestamp::from_millis(given));
                (Scopes::parse(scope).within(&user.scopes()), proved)
            }
            _ => (Scopes::default(), None),
        };
        Self { caller: Caller::Session { claims, user, in_cookie }, scopes, proved }
    }

    /// The user or the service.
    pub fn principal(&self) -> Option<Principal> {
        self.caller.principal()
    }

    /// Fails if the caller does not meet the requirements.
    ///
    /// # Errors
    ///
    /// [`Code::FreshTokenRequired`], or [`Code::InsufficientScope`] with the missing scope.
    pub fn require(&self, wanted: &Wanted) -> Result<()> {
        let may = |scope: &str| self.scopes.contains(scope) || self.scopes.contains(Scope::SUPER);
        if let Some(missing) = wanted.scopes.iter().find(|scope| !may(scope)) {
            return Err(Error::scope(missing.clone()));
        }
        let Some(max_age) = wanted.fresh else { return Ok(()) };
        let now = clock::now();
        // A time ahead of the clock does not count.
        let is_fresh = |proved: Timestamp| {
            proved <= now.plus_seconds(clock::SKEW) && now <= proved.plus_seconds(max_age)
        };
        if self.proved.is_some_and(is_fresh) { Ok(()) } else { Err(Error::not_fresh(max_age)) }
    }
}

/// Returns the holder of an access token for an audience; for `JWT_AUDIENCE` if there is none.
///
/// # Errors
///
/// [`Code::Unauthorized`] with the reason; [`Code::ServiceUnavailable`] while the revocation list is out of date;
/// [`Code::UnprocessableContent`] if Tessera makes no tokens for the audience.
pub async fn holder(
    app: &App,
    token: &str,
    audience: Option<&str>,
    in_cookie: bool,
) -> Result<Known> {
    let other = audience.filter(|audience| *audience != app.config.jwt_audience);
    let (claims, user) = match other {
        None => session::authenticate(app, token).await?,
        Some(audience) => holder_for(app, token, audience).await?,
    };
    Ok(Known::of_session(claims, user, in_cookie))
}

async fn holder_for(app: &App, token: &str, audience: &str) -> Result<(Claims, Arc<User>)> {
    revocation::require_known(app)?;
    let refused = |refusal| Error::token(Code::Unauthorized, refusal);
    let claims = app.key.verifier.verify_any(token, clock::now().seconds()).map_err(refused)?;
    if claims.token_type() != TokenType::Access {
        return Err(refused(Refusal::TypeMismatch));
    }
    if !claims.aud.is_only(audience) {
        return Err(refused(Refusal::AudienceMismatch));
    }
    let user = session::active_user(app, &claims).await?.ok_or(Code::Unauthorized)?;
    user.require_verified(&app.config)?;
    // A service that shares a secret can make tokens for itself. Only those of a session that Tessera opened count.
    if !session::is_of_session(app, &claims).await? {
        return Err(Code::Unauthorized.into());
    }
    Ok((claims, user))
}

/// Fails if Tessera makes no tokens for an audience.
///
/// # Errors
///
/// [`Code::UnprocessableContent`].
pub fn check_audience(app: &App, audience: &str) -> Result<()> {
    let mut known = app.config.jwt_audiences.iter().chain([&app.config.jwt_audience]);
    if known.any(|known| known == audience) {
        return Ok(());
    }
    let sentence = format!(
        "Input is {audience:?}, but should be the value of JWT_AUDIENCE or one of JWT_AUDIENCES"
    );
    Err(Error::query("aud", sentence))
}

/// Returns the user of a browser with the cookie of another host, if the session goes on.
///
/// # Errors
///
/// If the database does not answer, or the revocation list is out of date.
pub(crate) async fn with_ticket(
    app: &App,
    cookie: &str,
    origin: &Origin,
) -> Result<Option<(browser::SignedIn, Timestamp)>> {
    revocation::require_known(app)?;
    ticket::holder(app, cookie, origin).await
}
