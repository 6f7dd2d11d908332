//! Narrower types of callers. A function that takes one cannot be called for other callers.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::Claims;

use super::{Caller, Requires};
use crate::access::session::browser::SignedIn;
use crate::app::App;
use crate::base::error::{Code, Error, Result};
use crate::base::scope::Scope;
use crate::identity::factor::Authentication;
use crate::identity::service::Principal;
use crate::identity::user::User;

/// A user with a session, or with an API token that has the scope `authenticated`.
#[derive(Debug, Clone)]
pub struct UserCaller {
    caller: Caller,
    user: Arc<User>,
}

impl TryFrom<Caller> for UserCaller {
    type Error = Error;

    fn try_from(caller: Caller) -> Result<Self> {
        caller.require_self()?;
        match caller.principal() {
            Some(Principal::User(user)) => Ok(Self { caller, user }),
            _ => Err(Code::Forbidden.into()),
        }
    }
}

impl UserCaller {
    /// The user that a browser is signed in as. The arguments are the proof that came with this form, if there is one,
    /// and the id that the browser gets if the password changes.
    pub fn browser(
        signed_in: &SignedIn,
        authentication: Option<Authentication>,
        next_id: Option<String>,
    ) -> Self {
        let user = Arc::clone(&signed_in.user);
        let session = signed_in.session;
        let caller = Caller::Browser { session, authentication, user: Arc::clone(&user), next_id };
        Self { caller, user }
    }

    /// The caller, for functions that services can call too.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The user as they were in the database within the last second.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The user's id.
    pub fn user_id(&self) -> UserId {
        self.user.id
    }

    /// The session of the request; `None` for an API token.
    pub fn session(&self) -> Option<SessionId> {
        self.caller.session()
    }

    /// Returns true for a browser on the pages.
    pub fn is_browser(&self) -> bool {
        matches!(self.caller, Caller::Browser { .. })
    }

    /// The claims of the access token, if it was in a cookie.
    pub fn claims_in_cookie(&self) -> Option<&Claims> {
        match &self.caller {
            Caller::Session { claims, in_cookie: true, .. } => Some(claims),
            _ => None,
        }
    }

    /// Fails if the password was given too long ago. API tokens are never fresh.
    ///
    /// # Errors
    ///
    /// [`Code::FreshTokenRequired`].
    pub fn require_fresh(&self, app: &App) -> Result<()> {
        self.caller.require_fresh(app)
    }

    /// Locks the user for an action on their own account and returns their row. See [`Caller::lock`].
    pub(crate) async fn lock(&self, app: &App, transaction: &DatabaseTransaction) -> Result<User> {
        let locked = self.caller.lock(app, transaction, [], Requires::Credential).await?;
        Ok(locked.ok_or(Code::Unauthorized)?)
    }
}

/// A caller with the scope `super`.
#[derive(Debug, Clone)]
pub struct Superuser(Caller);

impl TryFrom<Caller> for Superuser {
    type Error = Error;

    fn try_from(caller: Caller) -> Result<Self> {
        caller.require(Scope::SUPER)?;
        Ok(Self(caller))
    }
}

/// A caller who can see the administration: with the scope `admin`, or `super`.
#[derive(Debug, Clone)]
pub struct Viewer(());

impl TryFrom<Caller> for Viewer {
    type Error = Error;

    fn try_from(caller: Caller) -> Result<Self> {
        caller.require(Scope::ADMIN)?;
        Ok(Self(()))
    }
}

impl Deref for Superuser {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl fmt::Display for Superuser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
