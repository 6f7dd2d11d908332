//! Callers: who calls, what they may do, and how fresh their proof is. It is never more than the database says at this
//! moment: what an act does, it does after `Caller::lock`.

pub(crate) mod http;
mod lock;
mod narrow;
pub(crate) mod page;

pub(crate) use lock::Requires;
pub use narrow::{Superuser, UserCaller};

use std::fmt;
use std::sync::Arc;

use entity::{PrincipalId, SessionId, UserId};
use tessera_verify::Claims;

use crate::access::api_token::ApiToken;
use crate::access::session::browser::SignedIn;
use crate::app::App;
use crate::base::claims::session_of;
use crate::base::clock;
use crate::base::error::{Code, Error, Result};
use crate::base::scope::{Scope, Scopes};
use crate::identity::alert;
use crate::identity::factor::Authentication;
use crate::identity::service::Principal;
use crate::identity::user::User;
use crate::platform::rate_limit;

/// Somebody whose credential was accepted.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A user with an access token.
    Session {
        /// The claims of the token.
        claims: Claims,
        /// The user.
        user: Arc<User>,
        /// Whether the token was in a cookie.
        in_cookie: bool,
    },
    /// A user with a browser that is signed in on the pages.
    Browser {
        /// The session.
        session: SessionId,
        /// The proof that came with this form, if one did.
        authentication: Option<Authentication>,
        /// The user.
        user: Arc<User>,
        /// The id that the browser has next, if the password changes.
        next_id: Option<String>,
    },
    /// A user or a service with an API token.
    ApiToken {
        /// The token.
        token: Arc<ApiToken>,
        /// The token's owner.
        principal: Principal,
    },
    /// An operator at the terminal, who may open the database.
    Operator,
}

impl Caller {
    /// The caller that a browser is, with the proof that came with this form, if one did.
    pub fn browser(signed_in: &SignedIn, authentication: Option<Authentication>) -> Self {
        Self::Browser {
            session: signed_in.session,
            authentication,
            user: Arc::clone(&signed_in.user),
            next_id: None,
        }
    }

    /// The user or the service; an operator is neither.
    pub fn principal(&self) -> Option<Principal> {
        match self {
            Self::Session { user, .. } | Self::Browser { user, .. } => {
                Some(Principal::User(Arc::clone(user)))
            }
            Self::ApiToken { principal, .. } => Some(principal.clone()),
            Self::Operator => None,
        }
    }

    /// The id of the user or the service.
    pub fn id(&self) -> Option<PrincipalId> {
        self.principal().map(|own| own.id())
    }

    /// The session; neither an API token nor an operator has one.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session { claims, .. } => Some(session_of(claims)),
            Self::Browser { session, .. } => Some(*session),
            Self::ApiToken { .. } | Self::Operator => None,
        }
    }

    /// Whether the caller is the user with this id, by whatever credential.
    pub fn is_user(&self, user: UserId) -> bool {
        self.id() == Some(PrincipalId::User(user))
    }

    /// Whether a name is the caller's own; no name is.
    pub fn is_named(&self, name: Option<&str>) -> bool {
        let own = self.principal();
        match (name, own) {
            (None, own) => own.is_some(),
            (Some(name), Some(own)) => name.eq_ignore_ascii_case(own.name()),
            (Some(_), None) => false,
        }
    }

    /// Describes the caller to superusers: by an address, or as an operator at the terminal.
    pub fn description(&self) -> String {
        match self {
            Self::Session { user, .. } | Self::Browser { user, .. } => user.email.clone(),
            Self::ApiToken { token, principal } => {
                format!("{}, by the API token {}…", principal.name(), token.prefix)
            }
            Self::Operator => alert::OPERATOR.to_owned(),
        }
    }

    /// The scopes that the caller has.
    pub fn scopes(&self) -> Scopes {
        match self {
            Self::Session { user, .. } | Self::Browser { user, .. } => user.scopes(),
            Self::ApiToken { token, principal } => token.scopes.within(&principal.scopes()),
            Self::Operator => Scopes::of(&[Scope::SUPER]),
        }
    }

    /// Whether the caller may do what a scope stands for; superusers may do everything.
    pub fn may(&self, scope: &str) -> bool {
        let scopes = self.scopes();
        scopes.contains(scope) || scopes.contains(Scope::SUPER)
    }

    /// Fails for a caller who may not do what a scope stands for.
    ///
    /// # Errors
    ///
    /// [`Code::InsufficientScope`] where another API token of the same owner would do,
    /// [`Code::Forbidden`] where none would.
    pub fn require(&self, scope: &'static str) -> Result<()> {
        if self.may(scope) {
            return Ok(());
        }
        let owner = self.principal().map(|principal| principal.scopes()).unwrap_or_default();
        Err(if owner.contains(scope) { Error::scope(scope) } else { Code::Forbidden.into() })
    }

    /// Fails for an API token of a user that may not speak for them in everything.
    ///
    /// # Errors
    ///
    /// [`Code::InsufficientScope`].
    pub fn require_self(&self) -> Result<()> {
        match self.principal() {
            Some(Principal::User(_)) => self.require(Scope::AUTHENTICATED),
            _ => Ok(()),
        }
    }

    /// Fails for a caller whose password was given too long ago for an act on their own account. No API token is fresh.
    ///
    /// # Errors
    ///
    /// [`Code::FreshTokenRequired`].
    pub fn require_fresh(&self, app: &App) -> Result<()> {
        match self {
            Self::Session { claims, .. } => {
                Ok(app.key.guard.require_fresh(claims, clock::now().seconds())?)
            }
            Self::Browser { authentication: Some(_), .. } => Ok(()),
            _ => Err(Code::FreshTokenRequired.into()),
        }
    }

    /// Fails for a caller who may make API tokens of their own only with a password of just now, and for an API token
    /// that is not a superuser's.
    ///
    /// # Errors
    ///
    /// [`Code::FreshTokenRequired`], [`Code::InsufficientScope`].
    pub fn require_fresh_or_super(&self, app: &App) -> Result<()> {
        match self {
            Self::Session { .. } | Self::Browser { .. } => self.require_fresh(app),
            Self::ApiToken { .. } if self.may(Scope::SUPER) => Ok(()),
            Self::ApiToken { .. } => Err(Error::scope(Scope::SUPER)),
            Self::Operator => Ok(()),
        }
    }

    /// Fails for an API token that would act on its owner's account, and for a browser that would act on its user's
    /// without a password in the same form: the way of superusers is no way around what everybody's own account requires.
    ///
    /// # Errors
    ///
    /// [`Code::FreshProofRequired`].
    pub fn require_proof_for_own(&self, app: &App, user: UserId) -> Result<()> {
        match self {
            Self::ApiToken { .. } | Self::Browser { authentication: None, .. }
                if self.is_user(user) =>
            {
                Err(Error::fresh_proof(app.config.fresh_token_expires))
            }
            _ => Ok(()),
        }
    }

    /// Fails for an access token whose password was given too long ago for an act on others. It costs no query, so acts
    /// that are expensive ask it first; `lock` asks again, of browsers too.
    ///
    /// # Errors
    ///
    /// [`Code::FreshProofRequired`].
    pub fn require_fresh_claims(&self, app: &App) -> Result<()> {
        let max_age = app.config.fresh_token_expires;
        match self {
            Self::Session { claims, .. } if !claims.is_fresh(max_age, clock::now().seconds()) => {
                Err(Error::fresh_proof(max_age))
            }
            _ => Ok(()),
        }
    }

    /// Counts an act before it is done: nobody may write rows as fast as they can ask.
    ///
    /// # Errors
    ///
    /// [`Code::TooManyAttempts`], with how long to wait.
    pub fn count_act(&self, app: &App) -> Result<()> {
        let Some(own) = self.principal() else { return Ok(()) };
        let is_service = matches!(own, Principal::Service(_));
        rate_limit::act(app, own.id(), is_service || own.scopes().contains(Scope::SUPER))
    }
}

/// As `user:…`, `api_token:…` or `operator`, for the audit and the log.
impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { user, .. } | Self::Browser { user, .. } => {
                write!(formatter, "user:{}", user.id)
            }
            Self::ApiToken { token, .. } => write!(formatter, "api_token:{}", token.id),
            Self::Operator => formatter.write_str("operator"),
        }
    }
}
