//! Proof of identity by password: to sign in, and again for operations that require a fresh proof.

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

/// The account that somebody claims to own.
#[derive(Debug, Clone, Copy)]
pub enum Account<'a> {
    /// The account with this address, if there is one: somebody signs in.
    Address(&'a str),
    /// The account of a known user, who gives the password again.
    User(UserId),
}

impl Account<'_> {
    /// Returns the account of a token's user.
    pub fn of(claims: &Claims) -> Self {
        Self::User(user_of(claims))
    }
}

/// A right password, and the hash that it was checked against.
#[derive(Debug, Clone)]
pub(super) struct PasswordCheck {
    password: Password,
    hash: PasswordHash,
}

impl PasswordCheck {
    /// Returns true if the password was checked against this hash.
    pub(super) fn was_against(&self, hash: &PasswordHash) -> bool {
        self.hash == *hash
    }

    /// Checks the password against the hash that a user has now. Another sign-in may have made that hash from the same
    /// password. Only a check distinguishes this from a new password.
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

/// Proves by a password that somebody owns an account. The attempt is counted before the password is checked.
///
/// A sign-in must not reveal which addresses have accounts. So an unknown address, a wrong password and an inactive
/// user take the same time, are recorded alike, and get the same answer.
///
/// # Errors
///
/// [`Code::LoginBadCredentials`] if the password is wrong; [`Code::Unauthorized`] if a known user was deleted;
/// [`Code::TooManyAttempts`]; [`Code::ServiceBusy`].
pub async fn prove(
    app: &App,
    account: Account<'_>,
    password: Password,
    ip: Option<IpAddr>,
) -> Result<Authentication> {
    let is_sign_in = matches!(account, Account::Address(_));
    let (origin, began) = (Origin::new(account, ip), Stopwatch::start());
    app.factor.hasher.require_room(&origin).await?;
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
        // The operation that needs the proof checks later, with the user locked, whether a known user is still active.
        Some(found) if matches && (found.user.is_active || !is_sign_in) => found,
        found => {
            let known = found.map(|found| found.user.id);
            return Err(refuse(app, known, Code::LoginBadCredentials).await);
        }
    };
    rate_limit::succeeded(app, counted).await?;
    // A known user's hash stays, because the operation may compare it with a hash that it read before.
    let hash = match is_sign_in {
        true => rehash(app, &origin, began, &found, &password).await?,
        false => found.hash,
    };
    Ok(Authentication::by_password(found.user.id, PasswordCheck { password, hash }))
}

/// Returns the proof of a user who chose a password in this request. `hash` was made from it.
pub(crate) fn of_chosen(user: UserId, password: Password, hash: PasswordHash) -> Authentication {
    Authentication::by_password(user, PasswordCheck { password, hash })
}

/// An attempt that was counted, if limits are on.
struct Attempt(Option<rate_limit::Attempt>);

impl Attempt {
    /// Counts an attempt to give a password.
    async fn count(app: &App, name: &str, ip: Option<IpAddr>) -> Result<Self> {
        let counted = rate_limit::sign_in(app, name, ip).await;
        counted.map(Self).inspect_err(|error| log_refusal(app, error.code()))
    }

    /// Returns true if there is a hash and the password matches it. If the password could not be checked, takes back
    /// the count of the attempt.
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

/// Stores a new hash of a right password, if the current hash is outdated. Returns the hash that the password was
/// checked against, or the new one.
///
/// It replaces only the hash that was checked: a password that was changed in the meantime stays changed. If there is
/// no time to hash, the sign-in continues without a new hash.
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
