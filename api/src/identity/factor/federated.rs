//! Proof of identity by another provider.

use entity::{FederatedIdentityId, UserId};
use sea_orm::ConnectionTrait;

use super::authentication::{Authentication, Evidence};
use super::{Method, store};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Result};
use crate::identity::user::{Credentials, User};

/// The proof of a provider.
#[derive(Debug, Clone)]
pub struct Federated {
    /// The identity there.
    pub identity: FederatedIdentityId,
    /// The name of the session there.
    pub sid: Option<String>,
    /// The time when the person signed in there, if the provider says it.
    pub at: Option<Timestamp>,
    /// `true` if a second factor was used there, and the settings trust the provider about that.
    pub is_second: bool,
    /// The time that the proof is worth, in seconds.
    pub worth: Option<u64>,
}

/// The time of a proof whose provider does not say when the person signed in there: the epoch, so that nothing takes it for
/// a recent one. The provider may have asked the person nothing.
pub(crate) const UNKNOWN: Timestamp = Timestamp::from_millis(0);

/// The difference that is allowed between the clocks of the provider and of this server, in seconds.
const SKEW: u64 = 60;

/// Returns the proof of a user whose identity a provider proved. Only the callback of a provider calls this.
pub(crate) fn of_provider(user: UserId, proof: Federated) -> Authentication {
    let now = clock::now();
    // A provider's clock may be a little ahead. A time that it does not say, or that is to come, is not known.
    let said = proof.at.filter(|at| *at <= now.plus_seconds(SKEW));
    let at = said.map_or(UNKNOWN, |at| at.min(now));
    let mut methods = vec![Method::Federated];
    if proof.is_second {
        methods.push(Method::Several);
    }
    Authentication::new(user, methods, at, Evidence::Federated(proof))
}

/// Fails if a locked user must sign in with another provider: an exclusive one that owns the domain of their address, or
/// that the user is linked to.
///
/// Superusers can always sign in, so that a wrong setting locks nobody out. Neither does it lock out users whom no
/// provider links automatically, before they have linked themselves.
///
/// # Errors
///
/// [`Code::LoginWithProvider`].
pub(crate) async fn require_no_other(
    app: &App,
    connection: &impl ConnectionTrait,
    user: &User,
    proof: &Authentication,
) -> Result<()> {
    let exclusive = app.config.federation.exclusive();
    if exclusive.is_empty() || user.is_superuser {
        return Ok(());
    }
    let linked = store::identities_of(connection, user.id, &exclusive).await?;
    if linked.is_empty() && app.config.federation.exclusive_for(&user.email).is_empty() {
        return Ok(());
    }
    let is_one_of_them = proof.identity().is_some_and(|identity| linked.contains(&identity));
    let has_more = user.granted.beyond(&User::default_scopes()).is_some();
    match is_one_of_them || linked.is_empty() && has_more {
        true => Ok(()),
        false => Err(Code::LoginWithProvider.into()),
    }
}

/// The name of the provider of an identity.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn name_of(app: &App, identity: FederatedIdentityId) -> Result<Option<String>> {
    Ok(store::name_of(app.database.reader(), identity).await?)
}

impl Authentication {
    /// Returns true if an identity that proved this is still linked to the user. Other proofs need no identity.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub(crate) async fn is_linked(
        &self,
        connection: &impl ConnectionTrait,
        locked: &Credentials,
    ) -> Result<bool> {
        let Some(identity) = self.identity() else { return Ok(true) };
        Ok(store::is_linked(connection, identity, locked.user.id).await?)
    }
}
