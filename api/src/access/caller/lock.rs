//! Locks the caller inside the transaction of an action, and checks again what was true when the request came.
//!
//! In the meantime a password may have been hashed, or a row waited for. Another replica may have ended the caller's
//! session. Such a caller must not set a password or make a superuser any more. So this reads the tables, not the
//! cache, and the locks keep the rows unchanged until the transaction ends.

use entity::PrincipalId;
use sea_orm::DatabaseTransaction;
use tessera_verify::Refusal;

use super::Caller;
use crate::access::{api_token, session};
use crate::app::App;
use crate::base::claims::session_of;
use crate::base::error::{Code, Error, Result, TokenRefusal};
use crate::identity::service::{self, Principal};
use crate::identity::user::{self, User};
use crate::platform::revocation;

/// The conditions that must still hold when the action is performed. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requires {
    /// The credential is valid and its user may act. This is enough for actions on the caller's own account.
    Credential,
    /// A caller who was a superuser still is one. For actions that only read, or only end what a new sign-in restores.
    Rights,
    /// The password was given a short time ago. For actions that grant or remove rights, or that cannot be undone.
    FreshProof,
}

impl Caller {
    /// Locks the caller and the accounts that they act on, until the transaction ends. Returns the caller's row if they
    /// are a user.
    ///
    /// Users are locked first, then services, each in the order of their ids, so that two callers who act on each other
    /// do not deadlock. The credential follows: the session or the API token.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthorized`] if the caller was signed out, deactivated or deleted in the meantime;
    /// [`Code::LoginBadCredentials`] if the password that a form proved was changed in the meantime;
    /// [`Code::Forbidden`] if the caller is no longer a superuser; [`Code::FreshProofRequired`] if the password was
    /// given too long ago.
    pub(crate) async fn lock(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
        others: impl IntoIterator<Item = PrincipalId>,
        requires: Requires,
    ) -> Result<Option<User>> {
        service::lock(transaction, self.id().into_iter().chain(others)).await?;
        self.lock_credential(app, transaction).await?;
        let Some(Principal::User(own)) = self.principal() else { return Ok(None) };
        let locked = user::by_id_in(transaction, own.id).await?.ok_or(Code::Unauthorized)?;
        if let Self::Browser { authentication: Some(proof), .. } = self
            && !proof.holds_for(&locked)
        {
            // The password was changed in the meantime, perhaps by somebody else, so the old one proves nothing.
            return Err(Code::LoginBadCredentials.into());
        }
        let locked = locked.user;
        if !locked.may_act(&app.config) {
            return Err(Code::Unauthorized.into());
        }
        if requires >= Requires::Rights && own.is_superuser && !locked.is_superuser {
            return Err(Code::Forbidden.into());
        }
        // Checked last, because time passes while the locks are waited for.
        if requires >= Requires::FreshProof {
            self.require_fresh_proof(app, transaction).await?;
        }
        Ok(Some(locked))
    }

    /// Locks the session or the API token. Fails if it has ended, was deleted or was revoked.
    async fn lock_credential(&self, app: &App, transaction: &DatabaseTransaction) -> Result<()> {
        let is_good = match self {
            Self::Session { claims, user, .. } => {
                session::is_live(transaction, session_of(claims), user.id).await?
                    && !revocation::is_revoked(app, transaction, claims).await?
            }
            Self::Browser { session, user, .. } => {
                session::is_live(transaction, *session, user.id).await?
            }
            Self::ApiToken { token, .. } => {
                if !api_token::lock(transaction, token.id).await? {
                    let unknown = TokenRefusal::API_TOKEN_UNKNOWN;
                    return Err(Error::token(Code::Unauthorized, unknown));
                }
                true
            }
            Self::Operator => true,
        };
        if is_good { Ok(()) } else { Err(Error::token(Code::Unauthorized, Refusal::Revoked)) }
    }

    /// Fails if the password of the session was given too long ago for an action on others. For a browser this reads
    /// the session's row, which is locked already.
    async fn require_fresh_proof(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
    ) -> Result<()> {
        match self {
            // `lock` has checked this proof against the user's row.
            Self::Browser { authentication: Some(_), .. } => Ok(()),
            Self::Browser { session, .. } => {
                match session::browser::is_fresh(app, transaction, *session).await? {
                    true => Ok(()),
                    false => Err(Error::fresh_proof(app.config.fresh_token_expires)),
                }
            }
            _ => self.require_fresh_claims(app),
        }
    }

    /// Gives a browser its next id, if it has one, in the transaction of the action that requires it.
    pub(crate) async fn move_on(&self, transaction: &DatabaseTransaction) -> Result<()> {
        match self {
            Self::Browser { session, next_id: Some(next), .. } => {
                session::browser::move_on(transaction, *session, next).await
            }
            _ => Ok(()),
        }
    }
}
