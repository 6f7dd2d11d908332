//! Proving who one is by a password: to sign in, and once more for what requires a proof of just now.

use std::net::IpAddr;

use entity::UserId;
use tessera_verify::{Claims, Refusal};

use super::Password;
use super::authentication::{Authentication, log_refusal, refuse};
use super::queue::Origin;
use crate::app::App;
use crate::base::claims::user_of;
use crate::base::clock::Stopwatch;
use crate::base::error::{Code, Error, Result};
use crate::base::request_context;
use crate::identity::user::{self, Changes, Credentials, PasswordHash};
use crate::platform::rate_limit;
use crate::platform::unit_of_work::UnitOfWork;

/// The account whose owner somebody says they are.
#[derive(Debug, Clone, Copy)]
pub enum Account<'a> {
    /// The one with this address, if there is one: somebody signs in.
    Address(&'a str),
    /// The one of a user who is known: they give their password once more.
    User(UserId),
}

impl Account<'_> {
    /// The account of a token's user.
    pub fn of(claims: &Claims) -> Self {
        Self::User(user_of(claims))
    }
}

/// A password that was right, and the hash that it was held against.
#[derive(Debug, Clone)]
pub(super) struct PasswordCheck {
    password: Password,
    hash: PasswordHash,
}

impl PasswordCheck {
    /// Whether the password was held against this hash.
    pub(super) fn was_against(&self, hash: &PasswordHash) -> bool {
        self.hash == *hash
    }

    /// Holds the password against the hash that a user has by now. Another sign-in may have made it of the same
    /// password: only a check tells that from a new password.
    pub(super) async fn repeat(self, app: &App, found: Credentials) -> Result<Self> {
        let Self { password, .. } = self;
        let Credentials { user, hash } = found;
        let origin = Origin::new(Account::User(user.id), request_context::current().ip);
        if !app.factor.hasher.matches(&origin, password.clone(), Some(hash.clone())).await? {
            return Err(refuse(app, Some(user.id), Code::LoginBadCredentials).await);
        }
        Ok(Self { password, hash })
    }
}

/// Proves by a password that somebody is an account's owner. The attempt is counted before it is looked at.
///
/// Nobody may learn from a sign-in which addresses have accounts: an unknown address, a wrong password and an inactive
/// user cost the same, are audited alike, and say the same.
///
/// # Errors
///
/// [`Code::LoginBadCredentials`]; [`Code::Unauthorized`] for a known user who was deleted;
/// [`Code::TooManyAttempts`]; [`Code::ServiceBusy`].
pub async fn prove(
    app: &App,
    account: Account<'_>,
    password: Password,
    ip: Option<IpAddr>,
) -> Result<Authentication> {
    let is_sign_in = matches!(account, Account::Address(_));
    let (origin, began) = (Origin::new(account, ip), Stopwatch::start());
    app.factor.hasher.require_room(&origin)?;
    let (attempt, found) = match account {
        Account::Address(address) => {
            let attempt = Attempt::count(app, address, ip).await?;
            (attempt, user::by_email(&app.database, address).await?)
        }
        Account::User(id) => {
            let gone = || Error::token(Code::Unauthorized, Refusal::Revoked);
            let found = user::by_id(&app.database, id).await?.ok_or_else(gone)?;
            (Attempt::count(app, &found.user.email, ip).await?, Some(found))
        }
    };
    let hash = found.as_ref().map(|found| found.hash.clone());
    let (matches, counted) = attempt.check(app, &origin, password.clone(), hash).await?;
    let found = match found {
        // Whether a known user is still active, the act that they prove it for asks with the user locked.
        Some(found) if matches && (found.user.is_active || !is_sign_in) => found,
        found => {
            let known = found.map(|found| found.user.id);
            return Err(refuse(app, known, Code::LoginBadCredentials).await);
        }
    };
    rate_limit::succeeded(app, counted).await?;
    // A known user's hash stays: what they prove it for may go by a hash that it read before.
    let hash = match is_sign_in {
        true => rehash(app, &origin, began, &found, &password).await?,
        false => found.hash,
    };
    Ok(Authentication::by_password(found.user.id, PasswordCheck { password, hash }))
}

/// An attempt that was counted, if limits are on.
struct Attempt(Option<rate_limit::Attempt>);

impl Attempt {
    /// Counts an attempt to give a password.
    async fn count(app: &App, name: &str, ip: Option<IpAddr>) -> Result<Self> {
        let counted = rate_limit::sign_in(app, name, ip).await;
        counted.map(Self).inspect_err(|error| log_refusal(error.code()))
    }

    /// Says whether the password matches the hash, if there is one; the count of an attempt that nobody looked at is
    /// refunded.
    async fn check(
        self,
        app: &App,
        origin: &Origin,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<(bool, Option<rate_limit::Attempt>)> {
        let Self(counted) = self;
        match app.factor.hasher.matches(origin, password, hash).await {
            Ok(matches) => Ok((matches, counted)),
            Err(error) => {
                rate_limit::refund(app, counted).await?;
                Err(error)
            }
        }
    }
}

/// Stores a new hash of a password that was right, if the present one is cheaper to try passwords on than those that
/// are made now. Returns the hash that the password was held against, or the new one.
///
/// It replaces that hash alone: a password that was changed meanwhile stays changed. If there is no time to hash, the
/// sign-in goes on without.
async fn rehash(
    app: &App,
    origin: &Origin,
    began: Stopwatch,
    found: &Credentials,
    password: &Password,
) -> Result<PasswordHash> {
    let present = found.hash.clone();
    if !app.factor.hasher.is_outdated(&present) || !found.user.may_act(&app.config) {
        return Ok(present);
    }
    let Ok(hash) = app.factor.hasher.hash(origin, password.clone(), began).await else {
        return Ok(present);
    };
    let work = UnitOfWork::begin(app).await?;
    let locked = user::lock(&*work, found.user.id).await?;
    let Some(locked) = locked.filter(|locked| locked.hash == present) else { return Ok(present) };
    let changes = Changes { hash: Some(hash.clone()), ..Changes::default() };
    user::change(&*work, locked.user, changes).await?;
    work.commit().await?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::base::scope::Scopes;
    use crate::identity::user::{Profile, User};

    fn locked(id: u128, hash: &str) -> Credentials {
        let user = User {
            id: UserId(Uuid::from_u128(id)),
            email: "person@example.com".to_owned(),
            is_active: true,
            is_superuser: false,
            is_verified: true,
            profile: Profile::default(),
            granted: Scopes::default(),
        };
        Credentials { user, hash: PasswordHash::new(hash.to_owned()) }
    }

    #[test]
    fn a_proof_holds_for_its_user_and_until_the_password_changes() {
        let Credentials { user, hash } = locked(1, "before");
        let check = PasswordCheck { password: Password::new("typed".to_owned()), hash };
        let authentication = Authentication::by_password(user.id, check);
        assert_eq!(authentication.amr(), "pwd");
        assert!(authentication.holds_for(&locked(1, "before")));
        assert!(!authentication.holds_for(&locked(1, "after")));
        assert!(!authentication.holds_for(&locked(2, "before")));
    }
}
