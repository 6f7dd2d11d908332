//! Importing users from elsewhere, with their ids and the hashes of their passwords. Users that exist already are not
//! changed, so a repeated import changes nothing.

pub(crate) mod http;

use std::collections::BTreeSet;

use entity::UserId;
use uuid::Uuid;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::random;
use crate::base::scope::{Scope, Scopes};
use crate::identity::user::imported::{self, Inserted, Newcomer, Origin};
use crate::identity::user::{self, Email, PasswordHash, Profile, User};
use crate::identity::{alert, factor, verification};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit::mail::{self as mail_limit, MailReason};
use crate::platform::unit_of_work::UnitOfWork;

/// The maximum number of users in one import.
pub const MAX_AT_ONCE: usize = 500;

/// A user to be imported.
#[derive(Debug)]
pub struct Imported {
    /// The id that they had elsewhere, if it can be their id here.
    pub id: Option<Uuid>,
    /// The id that they had elsewhere, if it cannot.
    pub external_id: Option<String>,
    /// Their address.
    pub email: String,
    /// The hash of their password, if they have one.
    pub hash: Option<PasswordHash>,
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
    /// The time when the account was made elsewhere.
    pub created: Option<Timestamp>,
}

/// An import of users.
#[derive(Debug)]
pub struct Import {
    /// The users.
    pub users: Vec<Imported>,
    /// The name of the system that they come from.
    pub source: String,
    /// `true` to send a mail to the users without a password, in which they choose one.
    pub invite: bool,
    /// `true` to create nothing.
    pub dry_run: bool,
}

/// The result for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The user was created.
    Created {
        /// The id.
        id: UserId,
        /// `true` if a mail asks them to choose a password.
        invited: bool,
    },
    /// A user with this address or id existed already.
    Known {
        /// `true` if a mail asks them to choose a password.
        invited: bool,
    },
    /// The user cannot be imported, for this reason.
    Refused(&'static str),
}

/// The results of an import.
#[derive(Debug)]
pub struct Results {
    /// The result for each user.
    pub outcomes: Vec<Outcome>,
    /// The number of users whom no mail asks to choose a password, because a limit of mails is reached.
    pub not_invited: u64,
}

/// Imports users and returns the result for each. Either all acceptable users are created, or none. A dry run creates
/// none and returns the same results.
///
/// # Errors
///
/// [`Code::UnprocessableContent`](crate::base::error::Code::UnprocessableContent) for an import that invites, if this
/// server sends no mail; if the database refuses.
pub async fn import(app: &App, superuser: &Superuser, import: Import) -> Result<Results> {
    let Import { users, source, invite, dry_run } = import;
    if invite && !app.mail.sends() {
        let sentence = "This server sends no mail (MAIL_URL is not set), so nobody can be invited";
        return Err(Error::field("invite", sentence));
    }
    superuser.count_act(app)?;
    let (mut outcomes, places, newcomers) = read_all(app, users, &source);
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let results = imported::import(&*work, &newcomers).await?;
    let (mut added, mut invitable) = (Vec::new(), Vec::new());
    for ((place, newcomer), result) in places.iter().zip(&newcomers).zip(results) {
        let User { id, email, is_superuser, is_active, .. } = &newcomer.user;
        match result {
            Inserted::Created => {
                let entry = Entry::new(Act::UserImport, Actor::of(superuser)).on_user(*id);
                work.record(entry.with("superuser", *is_superuser));
                added.extend((*is_superuser && *is_active).then(|| (*id, email.clone())));
                outcomes[*place] = Outcome::Created { id: *id, invited: false };
            }
            Inserted::Known => {}
            Inserted::IdOfAnother => outcomes[*place] = Outcome::Refused(ID_OF_ANOTHER),
        }
        if result != Inserted::IdOfAnother && newcomer.hash.is_none() {
            invitable.push((*place, email.clone()));
        }
    }
    let not_invited = match invite {
        true => invite_all(app, &mut work, superuser, &invitable, &mut outcomes).await?,
        false => 0,
    };
    let results = Results { outcomes, not_invited };
    if dry_run {
        work.rollback().await?;
        return Ok(results);
    }
    alert::superusers_added(app, &work, &added, &superuser.description()).await?;
    work.wake_jobs();
    work.commit().await?;
    Ok(results)
}

/// Reads all users. Returns the outcomes so far, and the users that can be imported with their places.
fn read_all(
    app: &App,
    users: Vec<Imported>,
    source: &str,
) -> (Vec<Outcome>, Vec<usize>, Vec<Newcomer>) {
    let (mut outcomes, mut places, mut newcomers) = (Vec::new(), Vec::new(), Vec::new());
    for (place, imported) in users.into_iter().enumerate() {
        match read(app, imported, source) {
            Ok(newcomer) => {
                outcomes.push(Outcome::Known { invited: false });
                newcomers.push(newcomer);
                places.push(place);
            }
            Err(fault) => outcomes.push(Outcome::Refused(fault)),
        }
    }
    (outcomes, places, newcomers)
}

const ID_OF_ANOTHER: &str = "Another user has this id. If the file is of another system, give it \
    another name as the source.";

/// Sends a mail to imported users who have no password and were not asked for one yet. It stops at the limits of mails, and
/// returns the number of users who get no mail because of them.
async fn invite_all(
    app: &App,
    work: &mut UnitOfWork<'_>,
    superuser: &Superuser,
    invitable: &[(usize, String)],
    outcomes: &mut [Outcome],
) -> Result<u64> {
    let mut known = Vec::new();
    for (place, email) in invitable {
        let found = user::by_email_in(&**work, email).await?;
        let found = found.filter(|found| found.hash.is_none() && found.user.is_active);
        known.extend(found.map(|found| (*place, found)));
    }
    let ids = known.iter().map(|(_, found)| found.user.id).collect();
    let waiting = imported::not_invited(&**work, ids).await?;
    let (mut done, mut not_invited, mut is_over) = (BTreeSet::new(), 0, false);
    for (place, found) in known {
        let (id, email) = (found.user.id, &found.user.email);
        if !waiting.contains(&id) || !done.insert(id) {
            continue;
        }
        if let Some(own) = superuser.id().filter(|_| !is_over) {
            is_over = !mail_limit::may_invite(app, work, own).await?;
        }
        if is_over || !mail_limit::may_write(app, work, MailReason::Invitation, email).await? {
            not_invited += 1;
            continue;
        }
        verification::ask_for_password(app, &**work, &found).await?;
        imported::note_invited(&**work, id).await?;
        work.record(Entry::new(Act::PasswordResetMail, Actor::of(superuser)).on_user(id));
        match &mut outcomes[place] {
            Outcome::Created { invited, .. } | Outcome::Known { invited } => *invited = true,
            Outcome::Refused(_) => {}
        }
    }
    Ok(not_invited)
}

fn read(app: &App, imported: Imported, source: &str) -> Result<Newcomer, &'static str> {
    let Imported {
        id,
        external_id,
        email,
        hash,
        is_active,
        is_superuser,
        is_verified,
        profile,
        scopes,
        created,
    } = imported;
    let email: Email = email.parse()?;
    if hash.as_ref().is_some_and(|hash| !factor::is_readable(hash)) {
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
    let hash = hash.unwrap_or_else(|| app.factor.no_password());
    let origin = Origin { source: source.to_owned(), external_id, created };
    Ok(Newcomer { user, hash, origin })
}
