//! People: who you are.

pub(crate) mod http;
mod store;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use email_address::{EmailAddress, Options};
use entity::UserId;
use entity::user::Model;
use sea_orm::{ConnectionTrait, SqlErr};

use crate::app::App;
use crate::database::Database;
use crate::error::{Code, Error, Result};
use crate::known::Known;
use crate::scope::{Scope, Scopes};

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
}

impl User {
    /// What they may do.
    pub fn scopes(&self) -> Scopes {
        if self.is_superuser {
            Scopes::of(&[Scope::AUTHENTICATED, Scope::SUPER, Scope::CHECK, Scope::INTROSPECT])
        } else {
            Scopes::of(&[Scope::AUTHENTICATED])
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

impl From<Model> for Credentials {
    fn from(row: Model) -> Self {
        let Model { id, email, hashed_password, is_active, is_superuser, is_verified } = row;
        Self {
            user: User { id, email, is_active, is_superuser, is_verified },
            hash: PasswordHash::new(hashed_password),
        }
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

/// Makes a user, whose address was parsed. Of any number of callers with one address, one succeeds.
///
/// # Errors
///
/// [`Code::RegisterUserAlreadyExists`].
pub async fn create(database: &Database, user: User, hash: PasswordHash) -> Result<User> {
    let transaction = database.begin().await?;
    let User { id, email, is_active, is_superuser, is_verified } = user;
    let hashed_password = hash.expose().to_owned();
    let row = Model { id, email, hashed_password, is_active, is_superuser, is_verified };
    let row = store::insert(&transaction, row).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Code::RegisterUserAlreadyExists.into(),
        _ => Error::from(error),
    })?;
    transaction.commit().await?;
    Ok(Credentials::from(row).user)
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
pub async fn hold(connection: &impl ConnectionTrait, id: UserId) -> Result<Option<Credentials>> {
    Ok(store::find_and_lock(connection, id).await?.map(Credentials::from))
}

/// What changes of a user; what is `None` stays.
#[derive(Debug, Default)]
pub struct Changes {
    /// A new address, which is not verified.
    pub email: Option<Email>,
    /// A new password.
    pub hash: Option<PasswordHash>,
}

/// Changes a user. The caller forgets what is known of them once the transaction was committed.
///
/// # Errors
///
/// [`Code::UpdateUserEmailAlreadyExists`].
pub async fn change(
    connection: &impl ConnectionTrait,
    id: UserId,
    changes: Changes,
) -> Result<User> {
    let row =
        store::update(connection, id, changes).await.map_err(|error| match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Code::UpdateUserEmailAlreadyExists.into(),
            _ => Error::from(error),
        })?;
    Ok(Credentials::from(row).user)
}

/// Makes a superuser of the user with this address; `false` when there is none.
///
/// # Errors
///
/// When the database does not answer.
pub async fn promote(database: &Database, email: &str) -> Result<bool> {
    let Some(credentials) = by_email(database, email).await? else { return Ok(false) };
    let transaction = database.begin().await?;
    let found = store::set_superuser(&transaction, credentials.user.id).await?;
    transaction.commit().await?;
    Ok(found)
}

/// The user with this id, as the database had them within the last second.
///
/// # Errors
///
/// When the database does not answer.
pub async fn current(app: &App, id: UserId) -> Result<Option<Arc<User>>> {
    if let Some(user) = app.known_users.get(id) {
        return Ok(Some(user));
    }
    let since = app.known_users.since();
    let Some(row) = store::find(app.database.reader(), id).await? else { return Ok(None) };
    let user = Arc::new(Credentials::from(row).user);
    app.known_users.put(id, Arc::clone(&user), since);
    Ok(Some(user))
}

/// The users that were asked for lately.
pub type KnownUsers = Known<UserId, Arc<User>>;
