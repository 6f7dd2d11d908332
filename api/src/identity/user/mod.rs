//! People: who you are.

pub mod claim;
pub(crate) mod http;
pub(crate) mod jobs;
pub mod pending;
pub mod previous_email;
mod store;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use email_address::{EmailAddress, Options};
use entity::UserId;
use entity::profile;
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
use crate::base::scope::{Scope, Scopes};

/// A user as the rules see them. A password's hash is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their address, as they typed it but for the domain's case.
    pub email: String,
    /// Whether they may sign in and their tokens are accepted.
    pub is_active: bool,
    /// Whether they may do what superusers may.
    pub is_superuser: bool,
    /// Whether the address was shown to be theirs.
    pub is_verified: bool,
    /// What they say of themself.
    pub profile: Profile,
    /// What they may do, beside what superusers may.
    pub granted: Scopes,
}

/// What a user says of themself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Their name.
    pub name: Option<String>,
    /// Their surname.
    pub surname: Option<String>,
    /// Their page.
    pub website: Option<Website>,
}

impl User {
    /// What every user may do unless somebody says otherwise.
    pub fn default_scopes() -> Scopes {
        Scopes::of(&[Scope::AUTHENTICATED])
    }

    /// Whether the user may sign in and act: they are active and, if `REQUIRE_VERIFICATION` is on, their address is
    /// verified.
    pub fn may_act(&self, config: &Config) -> bool {
        self.is_active && self.require_verified(config).is_ok()
    }

    /// Fails for a user whose address is not verified, if `REQUIRE_VERIFICATION` is on.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthorized`], with the reason `user_not_verified`.
    pub fn require_verified(&self, config: &Config) -> Result<()> {
        if self.is_verified || !config.require_verification {
            return Ok(());
        }
        Err(Error::token(Code::Unauthorized, TokenRefusal::USER_NOT_VERIFIED))
    }

    /// What they may do.
    pub fn scopes(&self) -> Scopes {
        with_implied(self.is_superuser, &self.granted)
    }
}

/// The scopes of a user with these columns.
pub(crate) fn scopes(is_superuser: bool, granted: Option<&str>) -> Scopes {
    with_implied(is_superuser, &granted.map_or_else(User::default_scopes, Scopes::parse))
}

/// The granted scopes, and those that superusers have besides.
fn with_implied(is_superuser: bool, granted: &Scopes) -> Scopes {
    let superuser = Scopes::of(&[Scope::SUPER, Scope::CHECK, Scope::INTROSPECT]);
    let implied = if is_superuser { superuser } else { Scopes::default() };
    granted.iter().chain(implied.iter()).cloned().collect()
}

/// A page on the web: nothing that a browser would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Website(String);

impl Website {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Website {
    /// What is wrong, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.strip_prefix("https://").or(text.strip_prefix("http://"));
        let host = place.and_then(|place| place.split(['/', '?', '#']).next()).unwrap_or_default();
        let plain = |char: char| char.is_ascii_graphic() && !"\"<>\\^`{|}".contains(char);
        if !host.is_empty() && !host.contains('@') && text.len() <= 256 && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("Input should be a URL of up to 256 characters, as https://example.com/me")
        }
    }
}

/// A user with what their password is held against.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// Their password's hash.
    pub hash: PasswordHash,
}

impl From<Row> for Credentials {
    fn from((row, profile): Row) -> Self {
        let Model { id, email, hashed_password, is_active, is_superuser, is_verified } = row;
        let (profile, scopes) = match profile {
            Some(profile::Model { user_id: _, name, surname, website, scopes }) => {
                let website = website.and_then(|website| website.parse().ok());
                (Profile { name, surname, website }, scopes)
            }
            None => (Profile::default(), None),
        };
        let granted = scopes.map_or_else(User::default_scopes, |scopes| Scopes::parse(&scopes));
        let user = User { id, email, is_active, is_superuser, is_verified, profile, granted };
        Self { user, hash: PasswordHash::new(hashed_password.into()) }
    }
}

/// A password's hash in modular crypt format. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash from the database.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text that is stored.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its cost, as a power of two, where it is one of bcrypt: `$2b$12$…` or `…,r=12$…`.
    pub fn cost(&self) -> Option<u32> {
        let cost = match self.0.split_once(",r=") {
            Some((_, rest)) => rest.split('$').next(),
            // Exactly as long as bcrypt makes them: what cannot be read takes no time.
            None if self.0.len() == 60 => self.0.split('$').nth(2),
            None => None,
        };
        cost?.parse().ok().filter(|cost| (4..=31).contains(cost))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(…)")
    }
}

/// An e-mail address: the local part as typed, the domain in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

/// Domains that are nobody's on the internet (RFC 6761, RFC 7686).
const SPECIAL_USE_DOMAINS: [&str; 6] = ["arpa", "invalid", "local", "localhost", "onion", "test"];

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    /// What is wrong, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((local, domain)) = text.rsplit_once('@') else {
            return Err("An email address must have an @-sign.");
        };
        if local.is_empty() {
            return Err("There must be something before the @-sign.");
        }
        if domain.is_empty() {
            return Err("There must be something after the @-sign.");
        }
        if !domain.contains('.') {
            return Err("The part after the @-sign is not valid. It should have a period.");
        }
        let domain = domain.to_ascii_lowercase();
        let top = domain.rsplit('.').next().unwrap_or_default();
        if SPECIAL_USE_DOMAINS.contains(&top) {
            return Err(
                "The part after the @-sign is a special-use or reserved name that cannot be \
                        used with email.",
            );
        }
        let address = format!("{local}@{domain}");
        // A quoted local part is no typo's and no mail program's.
        let plain = !local.contains('"') && address.len() <= 254;
        let options = Options::default().without_display_text().without_domain_literal();
        match EmailAddress::parse_with_options(&address, options) {
            Ok(_) if plain => Ok(Self(address)),
            _ => Err("The email address is not valid."),
        }
    }
}

/// A user's row with what lies beside it.
type Row = (Model, Option<profile::Model>);

/// Makes a user, whose address was parsed, in a transaction. Of any number of callers with one address,
/// one succeeds; none does while somebody may still take it back.
///
/// # Errors
///
/// [`Code::RegisterUserAlreadyExists`].
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
    // After the insert, which waited for whoever is leaving this address.
    if store::is_reserved(connection, &made.email, id, clock::now()).await? {
        return Err(Code::RegisterUserAlreadyExists.into());
    }
    if profile != Profile::default() || granted != User::default_scopes() {
        put_profile(connection, id, profile, granted).await?;
    }
    Ok(made)
}

/// Makes a user, unless there is one with this address or id, or somebody may still take the address back;
/// whether it did.
///
/// # Errors
///
/// When the database refuses.
pub async fn import(
    connection: &impl ConnectionTrait,
    user: User,
    hash: PasswordHash,
) -> Result<bool> {
    let User { id, email, is_active, is_superuser, is_verified, profile, granted } = user;
    let hashed_password = hash.0.into();
    let (email, wanted) = (email.clone(), email);
    let row = Model { id, email, hashed_password, is_active, is_superuser, is_verified };
    if !store::insert_unless_there(connection, row).await? {
        return Ok(false);
    }
    // After the insert, which waited for whoever is leaving this address.
    if store::is_reserved(connection, &wanted, id, clock::now()).await? {
        store::delete(connection, id).await?;
        return Ok(false);
    }
    if profile != Profile::default() || granted != User::default_scopes() {
        put_profile(connection, id, profile, granted).await?;
    }
    Ok(true)
}

/// Writes what lies beside a user's row, where there is anything to write.
async fn put_profile(
    connection: &impl ConnectionTrait,
    id: UserId,
    profile: Profile,
    granted: Scopes,
) -> Result<()> {
    let Profile { name, surname, website } = profile;
    let scopes = Some(granted).filter(|granted| *granted != User::default_scopes());
    let row = profile::Model {
        user_id: id,
        name,
        surname,
        website: website.map(|website| website.0),
        scopes: scopes.map(|scopes| scopes.to_string()),
    };
    Ok(store::put_profile(connection, row).await?)
}

/// The hashes of some users that are not of a cost.
///
/// # Errors
///
/// When the database does not answer.
pub async fn hashes_of_other_costs(
    database: &Database,
    cost: u32,
    max: u64,
) -> Result<Vec<PasswordHash>> {
    let hashes = store::hashes_of_other_costs(database.reader(), cost, max).await?;
    Ok(hashes.into_iter().map(PasswordHash::new).collect())
}

/// The user with this address, without case, and what their password is held against.
///
/// # Errors
///
/// When the database does not answer.
pub async fn by_email(database: &Database, email: &str) -> Result<Option<Credentials>> {
    // No address is like that, and PostgreSQL would call it a fault.
    if email.contains('\0') || email.len() > 320 {
        return Ok(None);
    }
    Ok(store::find_by_email(database.reader(), email).await?.map(Credentials::from))
}

/// The user with this id, and what their password is held against.
///
/// # Errors
///
/// When the database does not answer.
pub async fn by_id(database: &Database, id: UserId) -> Result<Option<Credentials>> {
    Ok(store::find(database.reader(), id).await?.map(Credentials::from))
}

/// As [`by_id`], as a transaction sees them.
///
/// # Errors
///
/// When the database does not answer.
pub async fn by_id_in(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<Credentials>> {
    Ok(store::find(connection, id).await?.map(Credentials::from))
}

/// The addresses of some users.
///
/// # Errors
///
/// When the database does not answer.
pub async fn emails(database: &Database, ids: Vec<UserId>) -> Result<Vec<(UserId, String)>> {
    Ok(store::find_emails(database.reader(), ids).await?)
}

/// The user with this id as the transaction sees them, who stays so until it ends.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock(connection: &impl ConnectionTrait, id: UserId) -> Result<Option<Credentials>> {
    Ok(store::find_and_lock(connection, id).await?.map(Credentials::from))
}

/// What changes of a user; what is `None` stays.
#[derive(Debug, Default)]
pub struct Changes {
    /// A new address, which is not verified.
    pub email: Option<Email>,
    /// A new password.
    pub hash: Option<PasswordHash>,
    /// Another name, or none.
    pub name: Change<String>,
    /// Another surname, or none.
    pub surname: Change<String>,
    /// Another page, or none.
    pub website: Change<Website>,
    /// Whether they may sign in.
    pub is_active: Option<bool>,
    /// Whether they may do what superusers may.
    pub is_superuser: Option<bool>,
    /// Whether the address was shown to be theirs.
    pub is_verified: Option<bool>,
    /// What they may do, beside what superusers may.
    pub granted: Option<Scopes>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        let Self {
            email,
            hash,
            name,
            surname,
            website,
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
            && is_active.is_none()
            && is_superuser.is_none()
            && is_verified.is_none()
            && granted.is_none()
    }

    /// Whether somebody who may sign in as a superuser would not any more.
    pub fn takes_superuser_from(&self, user: &User) -> bool {
        let was = user.is_active && user.is_superuser;
        let is = self.is_active.unwrap_or(user.is_active)
            && self.is_superuser.unwrap_or(user.is_superuser);
        was && !is
    }
}

/// Changes a user. The caller forgets what is known of them once the transaction was committed.
///
/// # Errors
///
/// [`Code::UpdateUserEmailAlreadyExists`].
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
        is_active,
        is_superuser,
        is_verified,
        granted,
    } = changes;
    let before = user.email.clone();
    let changed = User {
        id: user.id,
        // A new address is not verified, unless who changes it says so.
        is_verified: is_verified.unwrap_or(user.is_verified && email.is_none()),
        email: email.map_or(user.email, |email| email.0),
        is_active: is_active.unwrap_or(user.is_active),
        is_superuser: is_superuser.unwrap_or(user.is_superuser),
        profile: Profile {
            name: name.apply(user.profile.name),
            surname: surname.apply(user.profile.surname),
            website: website.apply(user.profile.website),
        },
        granted: granted.unwrap_or(user.granted),
    };
    let moves = changed.email != before;
    store::update(connection, &changed, hash).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Code::UpdateUserEmailAlreadyExists.into(),
        _ => Error::from(error),
    })?;
    if moves && store::is_reserved(connection, &changed.email, user.id, clock::now()).await? {
        return Err(Code::UpdateUserEmailAlreadyExists.into());
    }
    put_profile(connection, user.id, changed.profile.clone(), changed.granted.clone()).await?;
    Ok(changed)
}

/// Fails for an address that is another user's, or that another user may still take back.
///
/// # Errors
///
/// [`Code::UpdateUserEmailAlreadyExists`].
pub async fn require_free(
    connection: &impl ConnectionTrait,
    email: &Email,
    user: UserId,
) -> Result<()> {
    let found = store::find_by_email(connection, email.as_str()).await?;
    let is_taken = found.is_some_and(|(row, _)| row.id != user);
    if is_taken || store::is_reserved(connection, email.as_str(), user, clock::now()).await? {
        return Err(Code::UpdateUserEmailAlreadyExists.into());
    }
    Ok(())
}

/// Deletes a user, with everything that is theirs.
///
/// # Errors
///
/// When the database refuses.
pub async fn delete(connection: &impl ConnectionTrait, id: UserId) -> Result<()> {
    Ok(store::delete(connection, id).await?)
}

/// Fails where nobody but this user may sign in as a superuser. Others who are about to take that from
/// somebody wait until the transaction ends.
///
/// # Errors
///
/// [`Code::LastSuperuser`].
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

/// The superusers who may sign in, with their addresses, in the order of their ids.
///
/// # Errors
///
/// When the database does not answer.
pub async fn superusers(connection: &impl ConnectionTrait) -> Result<Vec<(UserId, String)>> {
    Ok(store::find_superusers(connection).await?)
}

/// Which users are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those whose address, name or surname contains a text, without case.
    pub contains: Option<String>,
    /// Those who may sign in, or may not.
    pub is_active: Option<bool>,
    /// Superusers, or the others.
    pub is_superuser: Option<bool>,
    /// Those whose address was shown to be theirs, or was not.
    pub is_verified: Option<bool>,
}

/// How many users there are.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(database: &Database) -> Result<u64> {
    Ok(store::count(database.reader()).await?)
}

/// A page of the users, by address, from after one.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    database: &Database,
    filter: Filter,
    after: Option<&str>,
    limit: u64,
) -> Result<Page<User>> {
    // Nobody is called that, and PostgreSQL would call it a fault.
    if [filter.contains.as_deref(), after].into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(Page::empty());
    }
    let contains = filter.contains.filter(|text| !text.is_empty());
    let (filter, after) = (Filter { contains, ..filter }, after.filter(|text| !text.is_empty()));
    let limit = Limit::new(limit, 100);
    let rows = store::list(database.reader(), &filter, after, limit.rows()).await?;
    Ok(limit.page(rows).map(|row| Credentials::from(row).user))
}

/// The user with this id, as the database had them within the last second.
///
/// # Errors
///
/// When the database does not answer.
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
