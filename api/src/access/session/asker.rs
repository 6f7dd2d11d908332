//! What somebody asks from, and whether they still may.

use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::{Claims, Refusal};

use super::{browser, store};
use crate::app::App;
use crate::base::clock::{self, Time};
use crate::base::error::{Code, Error, Result};
use crate::identity::factor::Authentication;
use crate::identity::user;
use crate::platform::revocation::{self, Why};

/// What a user asks from.
#[derive(Debug, Clone, Copy)]
pub enum Asker<'a> {
    /// A session, with its access token.
    Token(&'a Claims),
    /// A session, with the cookie of a page.
    Browser {
        /// The session.
        session: SessionId,
        /// The proof that they gave with it.
        proven: Option<&'a Authentication>,
        /// The id that the browser has next, if the password changes.
        next: Option<&'a str>,
    },
    /// No session: an API token.
    NoSession,
}

impl<'a> Asker<'a> {
    /// By what an access token says, where it is one.
    pub fn of(claims: Option<&'a Claims>) -> Self {
        claims.map_or(Self::NoSession, Self::Token)
    }

    /// The session.
    pub fn session(self) -> Option<SessionId> {
        match self {
            Self::Token(claims) => Some(SessionId(claims.sid)),
            Self::Browser { session, .. } => Some(session),
            Self::NoSession => None,
        }
    }

    /// Fails where the password was given too long ago. No API token is fresh.
    ///
    /// # Errors
    ///
    /// [`Code::FreshTokenRequired`].
    pub fn require_fresh(self, app: &App) -> Result<()> {
        match self {
            Self::Token(claims) => Ok(app.guard.require_fresh(claims, clock::now().seconds())?),
            Self::Browser { proven: Some(_), .. } => Ok(()),
            _ => Err(Code::FreshTokenRequired.into()),
        }
    }

    /// Whether the session is this user's and lives, and does so until the transaction ends.
    pub(crate) async fn lives(
        self,
        transaction: &DatabaseTransaction,
        user: UserId,
    ) -> Result<bool> {
        let Some(session) = self.session() else { return Ok(true) };
        let row = store::find_and_lock(transaction, session).await?;
        let now = clock::now().millis();
        Ok(row.is_some_and(|row| {
            row.user_id == user && row.ended_at.is_none() && !row.has_expired(now)
        }))
    }

    /// When the session began; nothing for an API token.
    pub(crate) async fn began(self, transaction: &DatabaseTransaction) -> Result<Option<Time>> {
        let Some(session) = self.session() else { return Ok(None) };
        let row = store::find(transaction, session).await?;
        Ok(row.map(|row| Time::from_millis(row.created_at)))
    }

    /// Holds the user, and fails for whose session has ended meanwhile.
    pub(super) async fn require_living(
        self,
        transaction: &DatabaseTransaction,
        user: UserId,
    ) -> Result<()> {
        if user::hold(transaction, user).await?.is_none() || !self.lives(transaction, user).await? {
            return Err(Error::token(Code::Unauthorized, Refusal::Revoked));
        }
        Ok(())
    }

    /// Fails for who was thrown out meanwhile, on another replica too.
    pub(crate) async fn hold(
        self,
        app: &App,
        transaction: &DatabaseTransaction,
        user: UserId,
    ) -> Result<()> {
        let revoked = match self {
            Self::Token(claims) => revocation::is_revoked(app, transaction, claims).await?,
            _ => false,
        };
        if revoked || !self.lives(transaction, user).await? {
            return Err(Error::token(Code::Unauthorized, Refusal::Revoked));
        }
        if let Self::Browser { proven: Some(proven), .. } = self {
            // Somebody else may have changed it since: the old one proves nothing any more.
            let held = user::by_id_in(transaction, user).await?;
            if !held.is_some_and(|held| proven.holds_for(&held)) {
                return Err(Code::LoginBadCredentials.into());
            }
        }
        Ok(())
    }

    /// Gives a browser its next id, in the transaction of what calls for one.
    pub(crate) async fn move_on(self, transaction: &DatabaseTransaction) -> Result<()> {
        match self {
            Self::Browser { session, next: Some(next), .. } => {
                browser::rename(transaction, session, next).await
            }
            _ => Ok(()),
        }
    }

    /// Whether what a session asked for still stands: it did not end, or its user signed out there. What ends a session
    /// otherwise takes back what somebody else may have asked for by it.
    pub(crate) async fn stands(
        transaction: &DatabaseTransaction,
        session: SessionId,
    ) -> Result<bool> {
        let row = store::find_and_lock(transaction, session).await?;
        let signed_out = Why::Logout.told();
        Ok(row.is_some_and(|row| {
            row.ended_at.is_none() || row.ended_why.as_deref() == Some(signed_out)
        }))
    }
}
