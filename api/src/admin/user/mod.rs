//! Actions of superusers on the accounts of users.

pub(crate) mod http;
mod table;

pub use table::{COLUMNS, UsersTable};

use entity::{PrincipalId, UserId};
use sea_orm::DatabaseTransaction;

use crate::access::caller::{Requires, Superuser};
use crate::access::session;
use crate::admin::invitation::require_grantable;
use crate::app::App;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::listing::Page;
use crate::base::random;
use crate::base::scope::{MAX_SCOPES, Scopes};
use crate::identity::alert;
use crate::identity::factor::password_check::Account;
use crate::identity::factor::{self, Password};
use crate::identity::invitation::{self, Prepared};
use crate::identity::user::imported::{self, Origin};
use crate::identity::user::{self, Changes, Credentials, Filter, SoughtEmail, User};
use crate::identity::verification::{self, Purpose};
use crate::platform::audit::{self, Act, Actor, Dates, Entry};
use crate::platform::rate_limit::{self, mail::MailReason};
use crate::platform::unit_of_work::UnitOfWork;
use crate::self_service::account::{self, ChangeContext, Export};

/// A user in a list.
#[derive(Debug)]
pub struct Listed {
    /// The user.
    pub user: User,
    /// The dates of the account. An imported one was made when it was made elsewhere.
    pub dates: Dates,
    /// The id that the user had in the system that they were imported from.
    pub external_id: Option<String>,
}

/// A page of users with the dates of their accounts, ordered by address.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(
    app: &App,
    filter: Filter,
    after: Option<&str>,
    limit: u64,
) -> Result<Page<Listed>> {
    let users = user::list(&app.database, filter, after, limit).await?;
    let ids: Vec<_> = users.items.iter().map(|user| user.id).collect();
    let dates = audit::dates_of(app, &ids).await?;
    let mut origins = imported::origins_of(app.database.reader(), ids).await?;
    Ok(users.map(|user| {
        let known = dates.get(&user.id.to_string()).copied().unwrap_or_default();
        let Origin { source: _, external_id, created } =
            origins.remove(&user.id).unwrap_or_default();
        Listed { user, dates: Dates { created: created.or(known.created), ..known }, external_id }
    }))
}

/// Returns the id that a user had in the system that they were imported from.
///
/// # Errors
///
/// If the database does not answer.
pub async fn external_id(app: &App, user: UserId) -> Result<Option<String>> {
    let mut origins = imported::origins_of(app.database.reader(), vec![user]).await?;
    Ok(origins.remove(&user).and_then(|origin| origin.external_id))
}

/// Begins a table of all users that a filter finds, for spreadsheets.
///
/// # Errors
///
/// [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`] if an export of this superuser runs already, or if they act
/// too often; [`Code::ServiceBusy`] while too many others run.
pub async fn table(app: &App, superuser: &Superuser, filter: Filter) -> Result<UsersTable> {
    superuser.require_fresh_claims(app)?;
    superuser.count_act(app)?;
    let ready = account::export::ready(app, superuser.id())?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    work.record(Entry::new(Act::UsersExport, Actor::of(superuser)));
    work.commit().await?;
    Ok(UsersTable::new(app.clone(), filter, ready))
}

/// Returns a user.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no user with this id, or if it is not an id.
pub async fn read(app: &App, id: &str) -> Result<User> {
    let found = user::by_id(&app.database, parsed(id)?).await?;
    Ok(found.ok_or(Code::NotFound)?.user)
}

/// Begins an export of everything that is stored about a user.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`] if an export of this superuser runs
/// already, or if they act too often; [`Code::ServiceBusy`] while too many others run.
pub async fn export(app: &App, superuser: &Superuser, id: &str) -> Result<Export> {
    superuser.require_fresh_claims(app)?;
    superuser.count_act(app)?;
    let ready = account::export::ready(app, superuser.id())?;
    let user = read(app, id).await?;
    let mut work = UnitOfWork::begin(app).await?;
    let others = [PrincipalId::User(user.id)];
    superuser.lock(app, &work, others, Requires::FreshProof).await?;
    let entry = Entry::new(Act::UserExport, Actor::of(superuser)).on_user(user.id);
    work.record(entry);
    work.commit().await?;
    Export::begin(app, ready, user, None).await
}

fn parsed(id: &str) -> Result<UserId> {
    id.parse().map_err(|_| Code::NotFound.into())
}

/// A user that a superuser creates with a password.
#[derive(Debug)]
pub struct NewUser {
    /// The account.
    pub prepared: Prepared,
    /// The password.
    pub password: Password,
    /// `true` if the superuser vouches for the address. Otherwise a mail is sent to verify it.
    pub is_verified: bool,
}

/// Creates a user with a password. It ends an invitation of the address.
///
/// # Errors
///
/// [`Code::RegisterUserAlreadyExists`], [`Code::RegisterInvalidPassword`], [`Code::FreshProofRequired`],
/// [`Code::TooManyAttempts`], [`Code::ServiceBusy`].
pub async fn create(app: &App, superuser: &Superuser, new: NewUser) -> Result<User> {
    let NewUser { prepared, password, is_verified } = new;
    let Prepared { email, profile, granted, is_superuser } = prepared;
    require_grantable(&granted)?;
    superuser.require_fresh_claims(app)?;
    superuser.count_act(app)?;
    let words = factor::words_of(email.as_str(), &profile);
    let (account, refusal) = (Account::Address(email.as_str()), Code::RegisterInvalidPassword);
    let hash = factor::hash_new(app, account, password, words, refusal).await?;
    let user = User {
        id: UserId(random::id()),
        email: email.as_str().to_owned(),
        is_active: true,
        is_superuser,
        is_verified,
        profile,
        granted,
    };
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let user = user::create(&*work, user, hash.clone()).await?;
    invitation::forget(&*work, &user.email).await?;
    if user.is_superuser {
        let added = [(user.id, user.email.clone())];
        alert::superusers_added(app, &work, &added, &superuser.description()).await?;
    }
    let known = Credentials { user, hash };
    let (reason, to) = (MailReason::Registration, &known.user.email);
    if !is_verified
        && app.mail.sends()
        && rate_limit::mail::may_write(app, &work, reason, to).await?
    {
        verification::send(app, &*work, &known, Purpose::Verify, None).await?;
    }
    let user = known.user;
    let entry = Entry::new(Act::UserCreate, Actor::of(superuser)).on_user(user.id);
    work.record(entry.with("superuser", user.is_superuser).with("verified", is_verified));
    work.wake_jobs();
    work.commit().await?;
    tracing::info!(by = %superuser, user.id = %user.id, "a superuser created a user");
    Ok(user)
}

/// Changes that a superuser makes to a user.
#[derive(Default)]
pub struct UserUpdate {
    /// A new address, or the present one.
    pub email: Option<SoughtEmail>,
    /// The new values.
    pub changes: Changes,
    /// A new password.
    pub password: Option<Password>,
    /// Scopes to add and remove, in place of new values. So two superusers who change different scopes do not undo each
    /// other's change.
    pub regrant: Option<Regrant>,
}

/// A change of a user's scopes, relative to those they have.
#[derive(Debug, Default)]
pub struct Regrant {
    /// The scopes that are added.
    pub added: Scopes,
    /// The scopes that are removed.
    pub taken: Scopes,
}

impl Regrant {
    fn of(&self, before: &Scopes) -> Result<Scopes> {
        let kept = before.iter().filter(|scope| !self.taken.contains(scope.as_str()));
        let granted: Vec<_> = kept.chain(self.added.iter()).cloned().collect();
        let granted: Scopes = granted.into_iter().collect();
        if granted.iter().count() > MAX_SCOPES {
            let message =
                LocalizedMessage::new("scopes-wrong", "There are too many scopes").about("scopes");
            return Err(Error::with_messages(Code::UnprocessableContent, vec![message]));
        }
        Ok(granted)
    }
}

/// Changes a user. A new password or a deactivation ends every session that they have.
///
/// # Errors
///
/// [`Code::NotFound`], [`Code::UpdateUserEmailAlreadyExists`], [`Code::UpdateUserInvalidPassword`],
/// [`Code::LastSuperuser`], [`Code::ServiceBusy`]; [`Code::FreshProofRequired`] if the password of the session was
/// given too long ago, or if an API token would change its owner's address or password.
pub async fn change(
    app: &App,
    superuser: &Superuser,
    id: &str,
    update: UserUpdate,
) -> Result<User> {
    let UserUpdate { email, changes, password, regrant } = update;
    let id = parsed(id)?;
    if email.is_some() || password.is_some() {
        superuser.require_proof_for_own(app, id)?;
    }
    superuser.require_fresh_claims(app)?;
    if let Some(granted) = &changes.granted {
        require_grantable(granted)?;
    }
    superuser.count_act(app)?;
    let email = account::other_address(app, id, email, Code::NotFound).await?;
    let changes = Changes { email, ..changes };
    let hash = match password {
        Some(password) => Some(account::hash_of(app, id, changes.email.as_ref(), password).await?),
        None => None,
    };
    let mut work = UnitOfWork::begin(app).await?;
    let locked = lock(app, &work, superuser, id, &changes).await?;
    let granted = match regrant {
        Some(regrant) => Some(regrant.of(&locked.granted)?),
        None => changes.granted,
    };
    let changes = Changes { granted, ..changes };
    let email = changes.email.filter(|email| !email.is(&locked.email));
    let changes = Changes { email, hash, ..changes };
    let acts = account::acts(&locked, &changes, &Actor::of(superuser));
    let own = superuser.is_user(id);
    let context = ChangeContext { own, kept: None, ip: None, client: None };
    if raises(&locked, &changes) {
        // A cookie from before must not gain the new rights. Tokens always have the rights that their user currently
        // has.
        session::browser::sign_out_everywhere(&mut work, id).await?;
    }
    let (before, sets_password) = (locked.clone(), changes.hash.is_some());
    let user = account::apply(app, &mut work, locked, changes, context).await?;
    tell_superusers(app, &work, superuser, &before, &user, sets_password && !own).await?;
    work.record_all(acts);
    work.commit().await?;
    tracing::info!(by = %superuser, user.id = %id, "a superuser changed a user");
    Ok(user)
}

/// Informs superusers by mail of a new superuser, and of a superuser's password that somebody else set.
async fn tell_superusers(
    app: &App,
    transaction: &DatabaseTransaction,
    superuser: &Superuser,
    before: &User,
    after: &User,
    sets_password: bool,
) -> Result<()> {
    let acts_as_superuser = |user: &User| user.is_active && user.is_superuser;
    if sets_password && before.is_superuser {
        alert::superuser_password_set(app, transaction, after, Some(&superuser.description()))
            .await?;
    }
    if acts_as_superuser(after) && !acts_as_superuser(before) {
        let added = [(after.id, after.email.clone())];
        alert::superusers_added(app, transaction, &added, &superuser.description()).await?;
    }
    Ok(())
}

/// Returns true if the changes give the user a right that they did not have.
fn raises(locked: &User, changes: &Changes) -> bool {
    let scopes = changes.granted.as_ref().and_then(|granted| granted.beyond(&locked.granted));
    scopes.is_some() || changes.is_superuser == Some(true) && !locked.is_superuser
}

/// Locks a user who is about to be changed, and the superuser who changes them, until the transaction ends. Checks in
/// the tables that the superuser may still do it.
async fn lock(
    app: &App,
    transaction: &DatabaseTransaction,
    superuser: &Superuser,
    id: UserId,
    changes: &Changes,
) -> Result<User> {
    let before = user::by_id_in(transaction, id).await?.ok_or(Code::NotFound)?.user;
    if changes.takes_superuser_from(&before) {
        user::require_another_superuser(transaction, id).await?;
    }
    superuser.lock(app, transaction, [PrincipalId::User(id)], Requires::FreshProof).await?;
    let locked = user::by_id_in(transaction, id).await?.ok_or(Code::NotFound)?.user;
    if changes.takes_superuser_from(&locked) && !changes.takes_superuser_from(&before) {
        // They became a superuser in the meantime.
        user::require_another_superuser(transaction, id).await?;
    }
    Ok(locked)
}

/// Deletes a user with all their data.
///
/// # Errors
///
/// [`Code::NotFound`], [`Code::LastSuperuser`]; [`Code::FreshProofRequired`] if the password of the session was given
/// too long ago, or if an API token would delete its owner.
pub async fn delete(app: &App, superuser: &Superuser, id: &str) -> Result<()> {
    let id = parsed(id)?;
    superuser.require_proof_for_own(app, id)?;
    superuser.require_fresh_claims(app)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    let gone = Changes { is_active: Some(false), ..Changes::default() };
    let locked = lock(app, &work, superuser, id, &gone).await?;
    account::remove(app, &mut work, locked, None).await?;
    let entry = Entry::new(Act::UserDelete, Actor::of(superuser)).on_user(id);
    work.record(entry);
    work.commit().await?;
    tracing::info!(by = %superuser, user.id = %id, "a superuser deleted a user");
    Ok(())
}
