//! Users: accounts of people.

pub mod claim;
mod email;
pub(crate) mod http;
pub mod imported;
pub(crate) mod jobs;
mod language;
mod password_hash;
pub mod pending;
pub mod previous_email;
mod profile;
mod search;
pub mod source;
mod store;
mod website;

pub use email::{Email, SoughtEmail};
pub use language::Language;
pub use password_hash::PasswordHash;
pub use profile::Profile;
pub use website::Website;

use std::sync::Arc;

use entity::UserId;
use entity::user::Model;
use sea_orm::{ConnectionTrait, SqlErr};

use crate::app::App;
use crate::base::cache::Cache;
use crate::base::change::Change;
use crate::base::clock;
use crate::base::config::Config;
use crate::base::database::Database;
use crate::base::error::{Code, Error, Result, TokenRefusal};
use crate::base::listing::{Limit, Page};
use crate::base::log_limit::OnceAMinute;
use crate::base::mail_address::{spellings, trimmed};
use crate::base::scope::{Scope, Scopes};

/// A user, without their row and their password's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The address: the local part as typed, the domain in its ASCII spelling.
    pub email: String,
    /// `true` if the user can sign in and their tokens are accepted.
    pub is_active: bool,
    /// `true` if the user is a superuser.
    pub is_superuser: bool,
    /// `true` if the user has proved that the address is theirs.
    pub is_verified: bool,
    /// The profile that the user wrote.
    pub profile: Profile,
    /// The scopes of the user, without those that superusers have.
    pub granted: Scopes,
}

impl User {
    /// Returns the scopes that every user has unless a superuser changes them.
    pub fn default_scopes() -> Scopes {
        Scopes::of(&[Scope::AUTHENTICATED])
    }

    /// Returns true if the user may sign in and act: they are active and, if `REQUIRE_VERIFICATION` is on, their
    /// address is verified.
    pub fn may_act(&self, config: &Config) -> bool {
        self.is_active && self.require_verified(config).is_ok()
    }

    /// Fails if the user's address is not verified and `REQUIRE_VERIFICATION` is on.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthorized`] with the reason `user_not_verified`.
    pub fn require_verified(&self, config: &Config) -> Result<()> {
        if self.is_verified || !config.require_verification {
            return Ok(());
        }
        Err(Error::token(Code::Unauthorized, TokenRefusal::USER_NOT_VERIFIED))
    }

    /// Returns all scopes of the user.
    pub fn scopes(&self) -> Scopes {
        with_implied(self.is_superuser, &self.granted)
    }
}

/// The scopes of a user with these columns.
pub(crate) fn scopes(is_superuser: bool, granted: Option<&str>) -> Scopes {
    with_implied(is_superuser, &granted.map_or_else(User::default_scopes, Scopes::parse))
}

/// Returns the granted scopes, and for superusers also the scopes of superusers.
fn with_implied(is_superuser: bool, granted: &Scopes) -> Scopes {
    if !is_superuser {
        return granted.clone();
    }
    let implied = Scopes::of(&Scope::OF_SUPERUSERS);
    granted.iter().chain(implied.iter()).cloned().collect()
}

/// A user with their password's hash.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The hash of the user's password.
    pub hash: PasswordHash,
}

impl From<Row> for Credentials {
    fn from((row, profile): Row) -> Self {
        let Model { id, email, hashed_password, is_active, is_superuser, is_verified } = row;
        let (profile, scopes) = match profile {
            Some(entity::profile::Model {
                user_id: _,
                name,
                surname,
                website,
                scopes,
                language,
            }) => {
                let website = website.and_then(|website| website.parse().ok());
                let language = language.and_then(|language| language.parse().ok());
                (Profile { name, surname, website, language }, scopes)
            }
            None => (Profile::default(), None),
        };
        let granted = scopes.map_or_else(User::default_scopes, |scopes| Scopes::parse(&scopes));
        let user = User { id, email, is_active, is_superuser, is_verified, profile, granted };
        Self { user, hash: PasswordHash::new(hashed_password.into()) }
    }
}

/// A user's row and profile.
type Row = (Model, Option<entity::profile::Model>);

/// Makes a user with a parsed address, in a transaction. If several callers use one address, only one succeeds. None
/// succeeds while a previous address can still be taken back by its owner.
///
/// # Errors
///
/// [`Code::RegisterUserAlreadyExists`] if the address is taken.
pub async fn create(
    connection: &impl ConnectionTrait,
    user: User,
    hash: PasswordHash,
) -> Result<User> {
    let made = user.clone();
    let User { id, email, is_active, is_superuser, is_verified, profile, granted } = user;
    let hashed_password = hash.expose().to_owned().into();
    let row = Model { id, email, hashed_password, is_active, is_superuser, is_verified };
    store::insert(connection, row).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Code::RegisterUserAlreadyExists.into(),
        _ => Error::from(error),
    })?;
    // After the insert, which waited for a transaction that gives up this address.
    if is_taken_otherwise(connection, &made.email, id).await? {
        return Err(Code::RegisterUserAlreadyExists.into());
    }
    if profile != Profile::default() || granted != User::default_scopes() {
        put_profile(connection, id, profile, granted).await?;
    }
    search::keep(connection, &made).await?;
    Ok(made)
}

/// Writes a user's profile, if it has any content.
async fn put_profile(
    connection: &impl ConnectionTrait,
    id: UserId,
    profile: Profile,
    granted: Scopes,
) -> Result<()> {
    Ok(store::put_profile(connection, profile_row(id, profile, granted)).await?)
}

fn profile_row(id: UserId, profile: Profile, granted: Scopes) -> entity::profile::Model {
    let Profile { name, surname, website, language } = profile;
    let scopes = Some(granted).filter(|granted| *granted != User::default_scopes());
    entity::profile::Model {
        user_id: id,
        name,
        surname,
        website: website.map(String::from),
        scopes: scopes.map(|scopes| scopes.to_string()),
        language: language.map(String::from),
    }
}

/// Returns the user with this address, in any spelling, and their password's hash.
///
/// # Errors
///
/// If the database does not answer.
pub async fn by_email(database: &Database, email: &str) -> Result<Option<Credentials>> {
    // No address is like that, and PostgreSQL would answer with an error.
    if email.contains('\0') || email.len() > 320 {
        return Ok(None);
    }
    by_email_in(database.reader(), email).await
}

/// Returns the row with the first of these spellings. Rows of earlier versions can have one address in several. They stay
/// separate accounts, and each is found by the spelling that it has.
fn first_spelled(mut rows: Vec<Row>, spellings: &[String]) -> Option<Row> {
    let place = |(row, _): &Row| {
        let spelled = row.email.to_ascii_lowercase();
        spellings.iter().position(|spelling| *spelling == spelled)
    };
    rows.sort_by_key(|row| place(row).unwrap_or(usize::MAX));
    if let [(one, _), (other, _), ..] = &rows[..] {
        static WARNED: OnceAMinute = OnceAMinute::new();
        if WARNED.is_due() {
            tracing::warn!(
                user.id = %one.id,
                other.id = %other.id,
                "two users have one address in two spellings of its domain: both accounts stay, each under its own \
                 spelling; change the address of one of them or delete it"
            );
        }
    }
    rows.into_iter().next()
}

/// Does the same as [`by_email`] inside a transaction, for an address that was parsed.
///
/// # Errors
///
/// If the database does not answer.
pub async fn by_email_in(
    connection: &impl ConnectionTrait,
    email: &str,
) -> Result<Option<Credentials>> {
    let spellings = spellings(email);
    let rows = store::find_by_email(connection, &spellings).await?;
    Ok(first_spelled(rows, &spellings).map(Credentials::from))
}

/// Returns the user with this id, and their password's hash.
///
/// # Errors
///
/// If the database does not answer.
pub async fn by_id(database: &Database, id: UserId) -> Result<Option<Credentials>> {
    Ok(store::find(database.reader(), id).await?.map(Credentials::from))
}

/// Does the same as [`by_id`] inside a transaction.
///
/// # Errors
///
/// If the database does not answer.
pub async fn by_id_in(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<Credentials>> {
    Ok(store::find(connection, id).await?.map(Credentials::from))
}

/// Returns the addresses of some users.
///
/// # Errors
///
/// If the database does not answer.
pub async fn emails(database: &Database, ids: Vec<UserId>) -> Result<Vec<(UserId, String)>> {
    Ok(store::find_emails(database.reader(), ids).await?)
}

/// Returns the user with this id, and locks them until the transaction ends.
///
/// # Errors
///
/// If the database does not answer.
pub async fn lock(connection: &impl ConnectionTrait, id: UserId) -> Result<Option<Credentials>> {
    Ok(store::find_and_lock(connection, id).await?.map(Credentials::from))
}

/// The changes to make to a user. The default changes nothing.
#[derive(Debug, Default)]
pub struct Changes {
    /// A new address. It is not verified.
    pub email: Option<Email>,
    /// The hash of a new password.
    pub hash: Option<PasswordHash>,
    /// A new name, or none.
    pub name: Change<String>,
    /// A new surname, or none.
    pub surname: Change<String>,
    /// A new web page, or none.
    pub website: Change<Website>,
    /// A new language, or none.
    pub language: Change<Language>,
    /// `true` if the user can sign in from now on.
    pub is_active: Option<bool>,
    /// `true` if the user is a superuser from now on.
    pub is_superuser: Option<bool>,
    /// `true` if the address is verified from now on.
    pub is_verified: Option<bool>,
    /// The new scopes, without those that superusers have.
    pub granted: Option<Scopes>,
}

impl Changes {
    /// Returns true if nothing changes.
    pub fn is_empty(&self) -> bool {
        let Self {
            email,
            hash,
            name,
            surname,
            website,
            language,
            is_active,
            is_superuser,
            is_verified,
            granted,
        } = self;
        email.is_none()
            && hash.is_none()
            && name.is_keep()
            && surname.is_keep()
            && website.is_keep()
            && language.is_keep()
            && is_active.is_none()
            && is_superuser.is_none()
            && is_verified.is_none()
            && granted.is_none()
    }

    /// Returns true if the user is a superuser who can sign in, and will not be one after the changes.
    pub fn takes_superuser_from(&self, user: &User) -> bool {
        let was = user.is_active && user.is_superuser;
        let is = self.is_active.unwrap_or(user.is_active)
            && self.is_superuser.unwrap_or(user.is_superuser);
        was && !is
    }
}

/// Changes a user. After the commit, the caller removes the user from the cache.
///
/// # Errors
///
/// [`Code::UpdateUserEmailAlreadyExists`] if the new address is taken.
pub async fn change(
    connection: &impl ConnectionTrait,
    user: User,
    changes: Changes,
) -> Result<User> {
    let Changes {
        email,
        hash,
        name,
        surname,
        website,
        language,
        is_active,
        is_superuser,
        is_verified,
        granted,
    } = changes;
    let before = user.email.clone();
    let changed = User {
        id: user.id,
        // A new address is not verified, unless the changes say so.
        is_verified: is_verified.unwrap_or(user.is_verified && email.is_none()),
        email: email.map_or(user.email, String::from),
        is_active: is_active.unwrap_or(user.is_active),
        is_superuser: is_superuser.unwrap_or(user.is_superuser),
        profile: Profile {
            name: name.apply(user.profile.name),
            surname: surname.apply(user.profile.surname),
            website: website.apply(user.profile.website),
            language: language.apply(user.profile.language),
        },
        granted: granted.unwrap_or(user.granted),
    };
    let moves = changed.email != before;
    store::update(connection, &changed, hash).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Code::UpdateUserEmailAlreadyExists.into(),
        _ => Error::from(error),
    })?;
    if moves && is_taken_otherwise(connection, &changed.email, user.id).await? {
        return Err(Code::UpdateUserEmailAlreadyExists.into());
    }
    put_profile(connection, user.id, changed.profile.clone(), changed.granted.clone()).await?;
    search::keep(connection, &changed).await?;
    Ok(changed)
}

/// Fails if another user has the address or can still take it back.
///
/// # Errors
///
/// [`Code::UpdateUserEmailAlreadyExists`] if so.
pub async fn require_free(
    connection: &impl ConnectionTrait,
    email: &Email,
    user: UserId,
) -> Result<()> {
    let found = store::find_by_email(connection, &spellings(email.as_str())).await?;
    let is_taken = found.iter().any(|(row, _)| row.id != user);
    if is_taken || is_reserved(connection, email.as_str(), user).await? {
        return Err(Code::UpdateUserEmailAlreadyExists.into());
    }
    Ok(())
}

/// Returns true if a row of an earlier version has an address in another spelling, or if the address can still take back
/// the account of another user. The unique index decides about the spelling of the row itself.
async fn is_taken_otherwise(
    connection: &impl ConnectionTrait,
    email: &str,
    user: UserId,
) -> Result<bool> {
    let own = email.to_ascii_lowercase();
    let others: Vec<_> = spellings(email).into_iter().filter(|other| *other != own).collect();
    if !others.is_empty() {
        let found = store::find_by_email(connection, &others).await?;
        if found.iter().any(|(row, _)| row.id != user) {
            return Ok(true);
        }
    }
    is_reserved(connection, email, user).await
}

/// Returns true if an address can still take back the account of another user.
async fn is_reserved(connection: &impl ConnectionTrait, email: &str, user: UserId) -> Result<bool> {
    Ok(store::is_reserved(connection, &spellings(email), user, clock::now()).await?)
}

/// Deletes a user and everything that belongs to them.
///
/// # Errors
///
/// If the database returns an error.
pub async fn delete(connection: &impl ConnectionTrait, id: UserId) -> Result<()> {
    Ok(store::delete(connection, id).await?)
}

/// Fails if no other superuser can sign in. Other transactions that take this right from a superuser wait until this
/// one ends.
///
/// # Errors
///
/// [`Code::LastSuperuser`] if there is no other.
pub async fn require_another_superuser(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<()> {
    let others = store::hold_superusers(connection).await?;
    if others.into_iter().any(|other| other != id) {
        Ok(())
    } else {
        Err(Code::LastSuperuser.into())
    }
}

/// Returns the superusers who can sign in, in the order of their ids.
///
/// # Errors
///
/// If the database does not answer.
pub async fn superusers(connection: &impl ConnectionTrait) -> Result<Vec<User>> {
    let rows = store::find_superusers(connection).await?;
    Ok(rows.into_iter().map(|row| Credentials::from(row).user).collect())
}

/// The users to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only users whose address, name or surname contains this text, compared without case, or who had this id in the
    /// system that they were imported from.
    pub contains: Option<String>,
    /// Only users who can sign in, or only those who cannot.
    pub is_active: Option<bool>,
    /// Only superusers, or only other users.
    pub is_superuser: Option<bool>,
    /// Only users whose address is verified, or only those whose is not.
    pub is_verified: Option<bool>,
}

/// Returns the number of users.
///
/// # Errors
///
/// If the database does not answer.
pub async fn count(database: &Database) -> Result<u64> {
    Ok(store::count(database.reader()).await?)
}

/// Returns a page of the users, ordered by address, beginning after the address `after`.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(
    database: &Database,
    filter: Filter,
    after: Option<&str>,
    limit: u64,
) -> Result<Page<User>> {
    // No text contains this character, and PostgreSQL would answer with an error.
    if [filter.contains.as_deref(), after].into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(Page::empty());
    }
    let contains = filter.contains.map(|text| trimmed(&text).to_owned());
    let contains = contains.filter(|text| !text.is_empty());
    let (filter, after) = (Filter { contains, ..filter }, after.filter(|text| !text.is_empty()));
    let limit = Limit::new(limit, 100);
    let rows = store::list(database.reader(), &filter, after, limit.rows()).await?;
    Ok(limit.page(rows).map(|row| Credentials::from(row).user))
}

/// Returns the user with this id, as the database had them within the last second.
///
/// # Errors
///
/// If the database does not answer.
pub async fn current(app: &App, id: UserId) -> Result<Option<Arc<User>>> {
    if let Some(user) = app.user.cache.get(id) {
        return Ok(Some(user));
    }
    let since = app.user.cache.since();
    let Some(row) = store::find(app.database.reader(), id).await? else { return Ok(None) };
    let user = Arc::new(Credentials::from(row).user);
    app.user.cache.put(id, Arc::clone(&user), since);
    Ok(Some(user))
}

/// The users that this replica read within the last second.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) cache: Cache<UserId, Arc<User>>,
}
