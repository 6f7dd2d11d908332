//! The lock of a caller: what was true of them when they called is read again inside their act's transaction.
//!
//! Between the two, time goes by: a password is hashed, a row is waited for. Meanwhile, another replica may have thrown
//! the caller out, and whoever was thrown out must not set the next password, nor make the next superuser. So the tables
//! are asked, not memory, and what they say of the caller stays so until the transaction ends.

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

/// What must still be true of a caller when their act is done. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requires {
    /// The credential is good, and its user may act: enough for one's own account.
    Credential,
    /// A caller who was a superuser is one: the act only reads, or only ends what a new sign-in brings back.
    Rights,
    /// The password was given a short time ago: the act gives or takes power, or nothing brings back what it takes away.
    FreshProof,
}

impl Caller {
    /// Locks the caller and those whom they act on, until the transaction ends. Returns the caller as the table has them,
    /// if they are a user.
    ///
    /// Users are locked first, services next, each in one order: of two callers who act on each other, neither waits for
    /// ever. Then comes the credential: the session, or the API token.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthorized`] for a caller who was signed out, made inactive or deleted meanwhile;
    /// [`Code::LoginBadCredentials`] for a browser whose form's proof was overtaken;
    /// [`Code::Forbidden`] for a superuser who is none any more; [`Code::FreshProofRequired`].
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
            // Somebody else may have changed it since: the old one proves nothing any more.
            return Err(Code::LoginBadCredentials.into());
        }
        let locked = locked.user;
        if !locked.may_act(&app.config) {
            return Err(Code::Unauthorized.into());
        }
        if requires >= Requires::Rights && own.is_superuser && !locked.is_superuser {
            return Err(Code::Forbidden.into());
        }
        // Last: others may have been waited for, and time went by.
        if requires >= Requires::FreshProof {
            self.require_fresh_proof(app, transaction).await?;
        }
        Ok(Some(locked))
    }

    /// Locks the session or the API token, and fails for one that is over, or was revoked.
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

    /// Fails for a session whose password was given too long ago for an act on others. Of a browser the table is asked:
    /// its session is locked already.
    async fn require_fresh_proof(
        &self,
        app: &App,
        transaction: &DatabaseTransaction,
    ) -> Result<()> {
        match self {
            // It holds, by what the table has.
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

    /// Gives a browser its next id, if it has one, in the transaction of the act that calls for one.
    pub(crate) async fn move_on(&self, transaction: &DatabaseTransaction) -> Result<()> {
        match self {
            Self::Browser { session, next_id: Some(next), .. } => {
                session::browser::rename(transaction, *session, next).await
            }
            _ => Ok(()),
        }
    }
}
