//! Importing users from elsewhere, with their ids and the hashes of their passwords. Users that exist already are not
//! changed, so a repeated import changes nothing.

pub(crate) mod http;

use entity::UserId;
use uuid::Uuid;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::error::Result;
use crate::base::random;
use crate::base::scope::{Scope, Scopes};
use crate::identity::user::{self, Email, PasswordHash, Profile, User};
use crate::identity::{alert, factor};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::unit_of_work::UnitOfWork;

/// The maximum number of users in one import.
pub const MAX_AT_ONCE: usize = 500;

/// A user to be imported.
#[derive(Debug)]
pub struct Imported {
    /// The id that they had elsewhere.
    pub id: Option<Uuid>,
    /// Their address.
    pub email: String,
    /// The hash of their password.
    pub hash: PasswordHash,
    /// `true` if they may sign in.
    pub is_active: bool,
    /// `true` if they become a superuser.
    pub is_superuser: bool,
    /// `true` if the address is verified.
    pub is_verified: bool,
    /// Their name, surname and web page.
    pub profile: Profile,
    /// Their scopes. Default: `authenticated`.
    pub scopes: Option<Scopes>,
}

/// The result for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The user was created.
    Created(UserId),
    /// A user with this address or id existed already.
    Known,
    /// The user cannot be imported, for this reason.
    Refused(&'static str),
}

/// Imports users and returns the result for each. Either all acceptable users are created, or none. A dry run creates
/// none and returns the same results.
///
/// # Errors
///
/// If the database refuses.
pub async fn import(
    app: &App,
    superuser: &Superuser,
    users: Vec<Imported>,
    dry_run: bool,
) -> Result<Vec<Outcome>> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let (mut outcomes, mut entries, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for imported in users {
        let outcome = match read(imported) {
            Ok((user, hash)) => {
                let (id, is_superuser) = (user.id, user.is_superuser);
                let acts = (user.is_active && is_superuser).then(|| user.email.clone());
                if user::import(&*work, user, hash).await? {
                    let entry = Entry::new(Act::UserImport, Actor::of(superuser)).on_user(id);
                    entries.push(entry.with("superuser", is_superuser));
                    added.extend(acts.map(|email| (id, email)));
                    Outcome::Created(id)
                } else {
                    Outcome::Known
                }
            }
            Err(fault) => Outcome::Refused(fault),
        };
        outcomes.push(outcome);
    }
    if dry_run {
        work.rollback().await?;
        return Ok(outcomes);
    }
    alert::superusers_added(app, &work, &added, &superuser.description()).await?;
    work.record_all(entries);
    work.wake_jobs();
    work.commit().await?;
    Ok(outcomes)
}

fn read(imported: Imported) -> Result<(User, PasswordHash), &'static str> {
    let Imported { id, email, hash, is_active, is_superuser, is_verified, profile, scopes } =
        imported;
    let email: Email = email.parse()?;
    if !factor::is_readable(&hash) {
        return Err("The password hash has an unknown format, or would take too long to check.");
    }
    if id.is_some_and(|id| id.is_nil()) {
        return Err("The id must not consist of zeros.");
    }
    let granted = scopes.unwrap_or_else(User::default_scopes);
    if granted.contains(Scope::SUPER) {
        return Err("The scope super comes only with is_superuser.");
    }
    let user = User {
        id: UserId(id.unwrap_or_else(random::id)),
        email: email.as_str().to_owned(),
        is_active,
        is_superuser,
        is_verified,
        profile,
        granted,
    };
    Ok((user, hash))
}
