//! The caller of an operation: the user, service or operator, with the scopes and the freshness of the credential.
//!
//! The scopes come from the database and are up to date within a second. An action that changes something calls
//! `Caller::lock` first, which checks everything again.

pub(crate) mod http;
mod lock;
mod narrow;
pub(crate) mod page;

pub(crate) use lock::Requires;
pub use narrow::{Superuser, UserCaller, Viewer};

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
use crate::base::mail_address::are_same;
use crate::base::scope::{Scope, Scopes};
use crate::identity::alert;
use crate::identity::factor::Authentication;
use crate::identity::service::Principal;
use crate::identity::user::User;
use crate::platform::rate_limit;

/// A caller whose credential was accepted.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A user with an access token.
    Session {
        /// The claims of the token.
        claims: Claims,
        /// The user.
        user: Arc<User>,
        /// `true` if the token was in a cookie.
        in_cookie: bool,
    },
    /// A user in a browser that is signed in on the pages.
    Browser {
        /// The session.
        session: SessionId,
        /// The proof of the password that came with this form, if there is one.
        authentication: Option<Authentication>,
        /// The user.
        user: Arc<User>,
        /// The id that the browser gets if the password changes.
        next_id: Option<String>,
    },
    /// A user or a service with an API token.
    ApiToken {
        /// The token.
        token: Arc<ApiToken>,
        /// The token's owner.
        principal: Principal,
    },
    /// An operator at the terminal with access to the database.
    Operator,
}

impl Caller {
    /// The caller in a browser, with the proof that came with this form, if there is one.
    pub fn browser(signed_in: &SignedIn, authentication: Option<Authentication>) -> Self {
        Self::Browser {
            session: signed_in.session,
            authentication,
            user: Arc::clone(&signed_in.user),
            next_id: None,
        }
    }

    /// The user or service; `None` for an operator.
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

    /// The session; `None` for API tokens and operators.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session { claims, .. } => Some(session_of(claims)),
            Self::Browser { session, .. } => Some(*session),
            Self::ApiToken { .. } | Self::Operator => None,
        }
    }

    /// Returns true if the caller is the user with this id, with any credential.
    pub fn is_user(&self, user: UserId) -> bool {
        self.id() == Some(PrincipalId::User(user))
    }

    /// Returns true if a name is the caller's own. Without a name, the caller is meant.
    pub fn is_named(&self, name: Option<&str>) -> bool {
        let own = self.principal();
        match (name, own) {
            (None, own) => own.is_some(),
            (Some(name), Some(own)) => are_same(name, own.name()),
            (Some(_), None) => false,
        }
    }

    /// Describes the caller for superusers, by their address or as an operator at the terminal.
    pub fn description(&self) -> String {
        match self {
            Self::Session { user, .. } | Self::Browser { user, .. } => user.email.clone(),
            Self::ApiToken { token, principal } => {
                format!("{}, with the API token {}…", principal.name(), token.prefix)
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

    /// Returns true if the caller has a scope, or is a superuser and so has all of them.
    pub fn may(&self, scope: &str) -> bool {
        let scopes = self.scopes();
        scopes.contains(scope) || scopes.contains(Scope::SUPER)
    }

    /// Fails if the caller does not have a scope.
    ///
    /// # Errors
    ///
    /// [`Code::InsufficientScope`] if another API token of the same owner could have it, otherwise [`Code::Forbidden`].
    pub fn require(&self, scope: &'static str) -> Result<()> {
        if self.may(scope) {
            return Ok(());
        }
        let owner = self.principal().map(|principal| principal.scopes()).unwrap_or_default();
        Err(if owner.contains(scope) { Error::scope(scope) } else { Code::Forbidden.into() })
    }

    /// Fails for an API token of a user that does not have the scope `authenticated`.
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

    /// Fails if the password was given too long ago for an action on the caller's own account. API tokens are never
    /// fresh.
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

    /// Fails if the caller may not make API tokens for their own account. A user must have given the password a short
    /// time ago, and an API token must have the scope `super`.
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

    /// Fails for an API token that acts on its owner's account, and for a browser that acts on its user's account
    /// without the password in the form. Otherwise superusers could avoid these conditions with the operations for
    /// other users.
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

    /// Fails for an access token whose password was given too long ago for an action on others. This needs no query, so
    /// expensive operations call it first. `lock` checks again, for browsers too.
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

    /// Counts an action before it is performed, so that no account can write rows without a limit.
    ///
    /// # Errors
    ///
    /// [`Code::TooManyAttempts`], with the time to wait.
    pub fn count_act(&self, app: &App) -> Result<()> {
        let Some(own) = self.principal() else { return Ok(()) };
        let is_service = matches!(own, Principal::Service(_));
        rate_limit::act(app, own.id(), is_service || own.scopes().contains(Scope::SUPER))
    }
}

/// Writes `user:…`, `api_token:…` or `operator`, for the audit and the log.
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
