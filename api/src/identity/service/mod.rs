//! Services: accounts for programs, which act only with API tokens.

mod store;

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use entity::service::Model;
use entity::{PrincipalId, ServiceId};
use sea_orm::{ConnectionTrait, SqlErr};

use crate::app::App;
use crate::base::cache::Cache;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::listing::{Limit, Page};
use crate::base::random;
use crate::base::scope::Scopes;
use crate::identity::user::{self, User};
use crate::platform::notice::Kind;
use crate::platform::unit_of_work::UnitOfWork;

/// The notice that API tokens or their owners were changed. Every replica then forgets the ones in its memory.
pub(crate) const CHANGED: Kind = Kind("principal");

/// A service, without its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The id.
    pub id: ServiceId,
    /// The name.
    pub name: String,
    /// The scopes that its tokens can have.
    pub scopes: Scopes,
    /// `true` if its tokens are accepted.
    pub is_active: bool,
    /// The instant when it was made, in seconds since the epoch.
    pub created: u64,
}

impl From<Model> for Service {
    fn from(row: Model) -> Self {
        let Model { id, name, scopes, is_active, created_at } = row;
        let created = Timestamp::from_millis(created_at).seconds();
        Self { id, name, scopes: Scopes::parse(&scopes), is_active, created }
    }
}

/// A service's name. It cannot be an e-mail address, so the two are never confused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(String);

impl ServiceName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    /// A sentence for people that describes the fault.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || [b'-', b'_', b'.'].contains(&byte)
        };
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if begins && text.len() <= 64 && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "A service's name has up to 64 of the characters a-z, 0-9, '-', '_' and '.', and begins \
                 with a letter or a digit",
            )
        }
    }
}

/// The owner of an API token: a user or a service.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A user.
    User(Arc<User>),
    /// A service.
    Service(Arc<Service>),
}

impl Principal {
    /// Returns the address of a user or the name of a service.
    pub fn name(&self) -> &str {
        match self {
            Principal::User(user) => &user.email,
            Principal::Service(service) => &service.name,
        }
    }

    /// Returns the scopes.
    pub fn scopes(&self) -> Scopes {
        match self {
            Principal::User(user) => user.scopes(),
            Principal::Service(service) => service.scopes.clone(),
        }
    }

    /// Returns true if a user's address is verified; `None` for a service.
    pub fn is_verified(&self) -> Option<bool> {
        match self {
            Principal::User(user) => Some(user.is_verified),
            Principal::Service(_) => None,
        }
    }

    /// Returns true if the tokens of this account are accepted.
    pub fn is_active(&self) -> bool {
        match self {
            Principal::User(user) => user.is_active,
            Principal::Service(service) => service.is_active,
        }
    }

    /// Returns the id.
    pub fn id(&self) -> PrincipalId {
        match self {
            Principal::User(user) => PrincipalId::User(user.id),
            Principal::Service(service) => PrincipalId::Service(service.id),
        }
    }
}

/// Returns the user or service with this id, as the database had it within the last second.
///
/// # Errors
///
/// If the database does not answer.
pub async fn principal(app: &App, id: PrincipalId) -> Result<Option<Principal>> {
    match id {
        PrincipalId::User(id) => Ok(user::current(app, id).await?.map(Principal::User)),
        PrincipalId::Service(id) => Ok(current(app, id).await?.map(Principal::Service)),
    }
}

/// Locks accounts until the transaction ends: users before services, and each in the order of their ids. Otherwise two
/// transactions could wait for each other.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn lock(
    connection: &impl ConnectionTrait,
    ids: impl Iterator<Item = PrincipalId>,
) -> Result<()> {
    let (mut users, mut services) = (BTreeSet::new(), BTreeSet::new());
    for id in ids {
        match id {
            PrincipalId::User(id) => drop(users.insert(id)),
            PrincipalId::Service(id) => drop(services.insert(id.0)),
        }
    }
    for id in users {
        user::lock(connection, id).await?;
    }
    for id in services {
        store::lock(connection, ServiceId(id)).await?;
    }
    Ok(())
}

/// Returns the user with this address, or the service with this name.
///
/// # Errors
///
/// If the database does not answer.
pub async fn principal_named(app: &App, name: &str) -> Result<Option<Principal>> {
    if let Ok(name) = name.trim().parse::<ServiceName>() {
        let row = store::find_by_name(app.database.reader(), name.as_str()).await?;
        return Ok(row.map(|row| Principal::Service(Arc::new(row.into()))));
    }
    let found = user::by_email(&app.database, name).await?;
    Ok(found.map(|found| Principal::User(Arc::new(found.user))))
}

/// Returns true if a service has this name.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn is_named(connection: &impl ConnectionTrait, name: &str) -> Result<bool> {
    match name.parse::<ServiceName>() {
        Ok(name) => Ok(store::find_by_name(connection, name.as_str()).await?.is_some()),
        Err(_) => Ok(false),
    }
}

/// Returns the names of some users and services.
///
/// # Errors
///
/// If the database does not answer.
pub async fn names(
    app: &App,
    ids: impl Iterator<Item = PrincipalId>,
) -> Result<HashMap<PrincipalId, String>> {
    let (mut users, mut services) = (Vec::new(), Vec::new());
    for id in ids {
        match id {
            PrincipalId::User(id) => users.push(id),
            PrincipalId::Service(id) => services.push(id),
        }
    }
    let users = user::emails(&app.database, users).await?;
    let users = users.into_iter().map(|(id, email)| (PrincipalId::User(id), email));
    let services = store::find_names(app.database.reader(), services).await?;
    let services = services.into_iter().map(|(id, name)| (PrincipalId::Service(id), name));
    Ok(users.chain(services).collect())
}

/// The services that this replica read within the last second.
#[derive(Debug, Default)]
pub struct State {
    cache: Cache<ServiceId, Arc<Service>>,
}

impl State {
    /// See [`Cache::looked_up`].
    pub(crate) fn looked_up(&self) -> [u64; 2] {
        self.cache.looked_up()
    }
}

async fn current(app: &App, id: ServiceId) -> Result<Option<Arc<Service>>> {
    if let Some(service) = app.service.cache.get(id) {
        return Ok(Some(service));
    }
    let since = app.service.cache.since();
    let Some(row) = store::find(app.database.reader(), id).await? else { return Ok(None) };
    let service = Arc::new(Service::from(row));
    app.service.cache.put(id, Arc::clone(&service), since);
    Ok(Some(service))
}

/// Forgets the services in memory, because some were changed.
///
/// # Errors
///
/// Never.
pub(crate) async fn forget(app: &App) -> Result<()> {
    app.service.cache.forget_all();
    Ok(())
}

/// Fails if the scopes contain one that only users can have.
///
/// # Errors
///
/// [`Code::ApiTokenInvalidScopes`] if they do.
pub(crate) fn require_scopes_of_services(scopes: &Scopes) -> Result<()> {
    let Some(scope) = scopes.iter().find(|scope| scope.is_of_people()) else { return Ok(()) };
    let reason =
        format!("A service cannot have the scope {}: only users can have it", scope.as_str());
    Err(Error::with_reason(Code::ApiTokenInvalidScopes, reason))
}

/// Makes a service.
///
/// # Errors
///
/// [`Code::ServiceAlreadyExists`] if there is a service with this name.
pub(crate) async fn create(
    connection: &impl ConnectionTrait,
    name: ServiceName,
    scopes: &Scopes,
) -> Result<Service> {
    let row = Model {
        id: ServiceId(random::id()),
        name: name.0,
        scopes: scopes.to_string(),
        is_active: true,
        created_at: clock::now().millis(),
    };
    let row = store::insert(connection, row).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Code::ServiceAlreadyExists.into(),
        _ => Error::from(error),
    })?;
    Ok(row.into())
}

/// Returns a page of the services, ordered by name.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, after: Option<String>, limit: u64) -> Result<Page<Service>> {
    let limit = Limit::new(limit, 100);
    let rows = store::list(app.database.reader(), after, limit.rows()).await?;
    Ok(limit.page(rows).map(Service::from))
}

/// Deletes a service and its tokens, which are then refused everywhere.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such service.
pub(crate) async fn delete(work: &mut UnitOfWork<'_>, name: &ServiceName) -> Result<ServiceId> {
    let row = store::find_by_name(&**work, name.as_str()).await?.ok_or(Code::NotFound)?;
    if !store::delete(&**work, row.id).await? {
        return Err(Code::NotFound.into());
    }
    work.notify(CHANGED);
    Ok(row.id)
}
