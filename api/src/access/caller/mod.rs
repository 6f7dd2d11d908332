//! Who asks, and what they may do: never more than the database says at this moment.

pub(crate) mod http;

use std::fmt;
use std::sync::Arc;

use entity::api_token::Model;
use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::{Claims, Refusal};

use crate::access::api_token::{self, ApiToken};
use crate::access::session::{self, Asker};
use crate::app::App;
use crate::base::clock::{self, Time};
use crate::base::error::{Code, Error, Result, TokenRefusal};
use crate::base::scope::{Scope, Scopes};
use crate::identity::alert;
use crate::identity::factor::Authentication;
use crate::identity::service::{self, Principal, PrincipalId};
use crate::identity::user::{self, User};
use crate::platform::audit::{Acting, Freshness};
use crate::platform::{rate_limit, revocation};

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
        /// The proof that they gave with it.
        proven: Option<Authentication>,
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

    /// Tells a user by mail that an API token was made for them. A service has no address.
    pub(super) async fn tell_owner(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
        owner: &Principal,
        row: &Model,
    ) -> Result<()> {
        let Principal::User(user) = owner else { return Ok(()) };
        let token = alert::NewApiToken {
            name: row.name.as_deref(),
            prefix: &row.prefix,
            scopes: row.scopes.clone(),
            expires: row.expires_at.map(|at| Time::from_millis(at).seconds()),
            own: self.principal().is_some_and(|own| own.id() == owner.id()),
        };
        alert::api_token_created(app, transaction, user, token).await
    }

    /// Whether a name is the caller's own; no name is.
    pub(super) fn is_named(&self, name: Option<&str>) -> bool {
        let own = self.principal();
        match (name, own) {
            (None, own) => own.is_some(),
            (Some(name), Some(own)) => name.eq_ignore_ascii_case(own.name()),
            (Some(_), None) => false,
        }
    }

    /// How superusers are told who it was: by an address, or an operator at the terminal.
    pub(crate) fn told(&self) -> String {
        match self {
            Authority::Session { user, .. } | Authority::Browser { user, .. } => user.email.clone(),
            Authority::ApiToken { token, principal } => {
                format!("{}, by the API token {}…", principal.name(), token.prefix)
            }
            Authority::Operator => alert::OPERATOR.to_owned(),
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

    /// Fails for an actor who may make API tokens of their own only with a password of just now, and for an API token
    /// that is not a superuser's.
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

    /// Fails for an API token that would act on its owner's account, and for a browser that would act on its user's
    /// without a password in the same form: the way of superusers is no way around what everybody's own account requires.
    ///
    /// # Errors
    ///
    /// [`Code::FreshProofRequired`].
    pub(crate) fn require_proof_for_own(&self, app: &App, user: UserId) -> Result<()> {
        match (self, self.principal()) {
            (
                Authority::ApiToken { .. } | Authority::Browser { proven: None, .. },
                Some(Principal::User(own)),
            ) if own.id == user => Err(Error::fresh_proof(app.config.fresh_token_expires)),
            _ => Ok(()),
        }
    }

    /// Fails for an access token whose password was given too long ago for an act on others. It costs no query, so acts
    /// that are expensive ask it first; [`hold_with`](Self::hold_with) asks again, of browsers too.
    ///
    /// # Errors
    ///
    /// [`Code::FreshProofRequired`].
    pub(crate) fn require_fresh_claims(&self, app: &App) -> Result<()> {
        let max_age = app.config.fresh_token_expires;
        match self {
            Authority::Session { claims, .. }
                if !claims.is_fresh(max_age, clock::now().seconds()) =>
            {
                Err(Error::fresh_proof(max_age))
            }
            _ => Ok(()),
        }
    }

    /// Fails for a session whose password was given too long ago for an act on others. Of a browser the table is asked:
    /// its session is held already.
    async fn require_fresh_proof(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
    ) -> Result<()> {
        match self {
            // The password was held against what the table has.
            Authority::Browser { proven: Some(_), .. } => Ok(()),
            Authority::Browser { session, .. } => {
                let max_age = app.config.fresh_token_expires;
                match session::browser::is_fresh(app, transaction, *session).await? {
                    true => Ok(()),
                    false => Err(Error::fresh_proof(max_age)),
                }
            }
            _ => self.require_fresh_claims(app),
        }
    }

    /// Fails for an actor who was signed out, made inactive or demoted meanwhile, and for a session whose password was
    /// given too long ago for the act; holds those whom they act on as well. Users come first, in one order, so that of
    /// two who act on each other neither waits for ever.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthorized`], [`Code::Forbidden`], [`Code::FreshProofRequired`].
    pub(crate) async fn hold_with(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
        others: impl IntoIterator<Item = PrincipalId>,
        freshness: Freshness,
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
                if !api_token::hold(transaction, token.id).await? {
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
        // Last: others may have been waited for, and time went by.
        match freshness {
            Freshness::Required => self.require_fresh_proof(app, transaction).await,
            Freshness::NotRequired => Ok(()),
        }
    }
}

impl Acting for Authority {
    fn count_act(&self, app: &App) -> Result<()> {
        let Some(own) = self.principal() else { return Ok(()) };
        let is_service = matches!(own, Principal::Service(_));
        rate_limit::act(app, own.id(), is_service || own.scopes().contains(Scope::SUPER))
    }

    async fn hold(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
        freshness: Freshness,
    ) -> Result<()> {
        self.hold_with(app, transaction, [], freshness).await
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
