//! Who asks, and what they may do: never more than the database says at this moment.

use std::fmt;
use std::sync::Arc;

use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::{Claims, Refusal};

use super::{ApiToken, store};
use crate::app::App;
use crate::audit::Acting;
use crate::clock;
use crate::error::{Code, Error, Result, TokenRefusal};
use crate::limit;
use crate::revocation;
use crate::scope::{Scope, Scopes};
use crate::service::{self, Principal, PrincipalId};
use crate::session::{self, Asker};
use crate::user::{self, PasswordHash, User};

/// Who asks.
#[derive(Debug, Clone)]
pub enum Authority {
    /// A user with an access token.
    Session {
        /// What the token says.
        claims: Claims,
        /// The user.
        user: Arc<User>,
    },
    /// A user or a service with an API token.
    ApiToken {
        /// The token.
        token: Arc<ApiToken>,
        /// Whom it acts as.
        principal: Principal,
    },
    /// A user with a browser that is signed in on the pages.
    Browser {
        /// The session.
        session: SessionId,
        /// What the password that they gave with it was held against.
        proven: Option<PasswordHash>,
        /// The user.
        user: Arc<User>,
    },
    /// Whoever may open the database, at the terminal.
    Operator,
}

impl Authority {
    /// The user or the service; an operator is neither.
    pub fn principal(&self) -> Option<Principal> {
        match self {
            Authority::Session { user, .. } | Authority::Browser { user, .. } => {
                Some(Principal::User(Arc::clone(user)))
            }
            Authority::ApiToken { principal, .. } => Some(principal.clone()),
            Authority::Operator => None,
        }
    }

    /// What an access token says, where there is one.
    pub fn claims(&self) -> Option<&Claims> {
        match self {
            Authority::Session { claims, .. } => Some(claims),
            _ => None,
        }
    }

    /// What they may do.
    pub fn scopes(&self) -> Scopes {
        match self {
            Authority::Session { user, .. } | Authority::Browser { user, .. } => user.scopes(),
            Authority::ApiToken { token, principal } => token.scopes.within(&principal.scopes()),
            Authority::Operator => Scopes::of(&[Scope::SUPER]),
        }
    }

    /// Whether they may do what a scope stands for; superusers may everything.
    pub fn may(&self, scope: &str) -> bool {
        let scopes = self.scopes();
        scopes.contains(scope) || scopes.contains(Scope::SUPER)
    }

    /// Fails where they may not.
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

    /// Fails for a token whose password was given too long ago, and for an API token that is not a
    /// superuser's.
    pub(super) fn require_fresh_or_super(&self, app: &App) -> Result<()> {
        match self {
            Authority::Session { claims, .. } => {
                Ok(app.guard.require_fresh(claims, clock::now().seconds())?)
            }
            Authority::Browser { session, proven, .. } => {
                Asker::Browser { session: *session, proven: proven.as_ref(), next: None }
                    .require_fresh(app)
            }
            Authority::ApiToken { .. } if self.may(Scope::SUPER) => Ok(()),
            Authority::ApiToken { .. } => Err(Error::scope(Scope::SUPER)),
            Authority::Operator => Ok(()),
        }
    }

    /// Fails for who would change their own account by the way of superusers, without a password of just
    /// now: what wants one of everybody wants one of them.
    ///
    /// # Errors
    ///
    /// [`Code::FreshTokenRequired`].
    pub(crate) fn require_fresh_for(&self, app: &App, user: UserId) -> Result<()> {
        match (self, self.principal()) {
            (Authority::Session { claims, .. }, Some(Principal::User(own))) if own.id == user => {
                Ok(app.guard.require_fresh(claims, clock::now().seconds())?)
            }
            (Authority::Browser { session, proven, .. }, Some(Principal::User(own)))
                if own.id == user =>
            {
                Asker::Browser { session: *session, proven: proven.as_ref(), next: None }
                    .require_fresh(app)
            }
            (Authority::ApiToken { .. }, Some(Principal::User(own))) if own.id == user => {
                Err(Code::FreshTokenRequired.into())
            }
            _ => Ok(()),
        }
    }

    /// Fails for who was thrown out, made inactive or demoted meanwhile; holds those whom they act on as well. Users
    /// come first, in one order, so that of two who act on each other neither waits for ever.
    pub(crate) async fn hold_with(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
        others: impl IntoIterator<Item = PrincipalId>,
    ) -> Result<()> {
        let own = self.principal().map(|own| own.id());
        service::hold(transaction, own.into_iter().chain(others)).await?;
        match self {
            Authority::Session { claims, .. } => {
                let lives = session::lives(transaction, claims).await?;
                if !lives || revocation::is_revoked(app, transaction, claims).await? {
                    return Err(Error::token(Code::Unauthorized, Refusal::Revoked));
                }
            }
            Authority::ApiToken { token, .. } => {
                let unknown = TokenRefusal::API_TOKEN_UNKNOWN;
                if !store::hold(transaction, token.id).await? {
                    return Err(Error::token(Code::Unauthorized, unknown));
                }
            }
            Authority::Browser { session, proven, user } => {
                let asker =
                    Asker::Browser { session: *session, proven: proven.as_ref(), next: None };
                asker.hold(app, transaction, user.id).await?;
            }
            Authority::Operator => {}
        }
        let Some(Principal::User(own)) = self.principal() else { return Ok(()) };
        let held = user::by_id_in(transaction, own.id).await?.ok_or(Code::Unauthorized)?.user;
        if !held.may_act(&app.config) {
            return Err(Code::Unauthorized.into());
        }
        if own.is_superuser && !held.is_superuser {
            return Err(Code::Forbidden.into());
        }
        Ok(())
    }
}

impl Acting for Authority {
    fn count_act(&self, app: &App) -> Result<()> {
        let Some(own) = self.principal() else { return Ok(()) };
        let is_service = matches!(own, Principal::Service(_));
        limit::act(app, own.id(), is_service || own.scopes().contains(Scope::SUPER))
    }

    async fn hold(&self, app: &App, transaction: &DatabaseTransaction) -> Result<()> {
        self.hold_with(app, transaction, []).await
    }
}

/// As `user:…`, `api_token:…` or `operator`, for the log.
impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authority::Session { user, .. } | Authority::Browser { user, .. } => {
                write!(formatter, "user:{}", user.id)
            }
            Authority::ApiToken { token, .. } => write!(formatter, "api_token:{}", token.id),
            Authority::Operator => formatter.write_str("operator"),
        }
    }
}
