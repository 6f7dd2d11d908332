//! Services: programs that act for themselves, by API tokens alone.

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

/// The notice that API tokens, or users or services that own some, were changed: every replica forgets those it knows.
pub(crate) const CHANGED: Kind = Kind("principal");

/// A service as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// What its tokens may do at most.
    pub scopes: Scopes,
    /// Whether its tokens are accepted.
    pub is_active: bool,
    /// When it was made, in seconds since the epoch.
    pub created: u64,
}

impl From<Model> for Service {
    fn from(row: Model) -> Self {
        let Model { id, name, scopes, is_active, created_at } = row;
        let created = Timestamp::from_millis(created_at).seconds();
        Self { id, name, scopes: Scopes::parse(&scopes), is_active, created }
    }
}

/// A service's name: no e-mail address, so that one is never taken for the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(String);

impl ServiceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    /// What is wrong, for people.
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
                "A service's name is up to 64 of a-z, 0-9, '-', '_' and '.', a letter or a digit first",
            )
        }
    }
}

/// Who a token acts as.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A person.
    User(Arc<User>),
    /// A program.
    Service(Arc<Service>),
}

impl Principal {
    /// What it is called: an address, or a service's name.
    pub fn name(&self) -> &str {
        match self {
            Principal::User(user) => &user.email,
            Principal::Service(service) => &service.name,
        }
    }

    /// What it may do.
    pub fn scopes(&self) -> Scopes {
        match self {
            Principal::User(user) => user.scopes(),
            Principal::Service(service) => service.scopes.clone(),
        }
    }

    /// Whether a user's address is verified; nothing for a service.
    pub fn is_verified(&self) -> Option<bool> {
        match self {
            Principal::User(user) => Some(user.is_verified),
            Principal::Service(_) => None,
        }
    }

    /// Whether its tokens are accepted.
    pub fn is_active(&self) -> bool {
        match self {
            Principal::User(user) => user.is_active,
            Principal::Service(service) => service.is_active,
        }
    }

    /// Which one it is.
    pub fn id(&self) -> PrincipalId {
        match self {
            Principal::User(user) => PrincipalId::User(user.id),
            Principal::Service(service) => PrincipalId::Service(service.id),
        }
    }
}

/// The user or service with this id, as the database had it within the last second.
///
/// # Errors
///
/// When the database does not answer.
pub async fn principal(app: &App, id: PrincipalId) -> Result<Option<Principal>> {
    match id {
        PrincipalId::User(id) => Ok(user::current(app, id).await?.map(Principal::User)),
        PrincipalId::Service(id) => Ok(current(app, id).await?.map(Principal::Service)),
    }
}

/// Locks them until the transaction ends, users before services and each in one order: of two who lock the same,
/// each would wait for the other.
///
/// # Errors
///
/// When the database does not answer.
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

/// The user with this address, or the service with this name.
///
/// # Errors
///
/// When the database does not answer.
pub async fn principal_named(app: &App, name: &str) -> Result<Option<Principal>> {
    if let Ok(name) = name.parse::<ServiceName>() {
        let row = store::find_by_name(app.database.reader(), name.as_str()).await?;
        return Ok(row.map(|row| Principal::Service(Arc::new(row.into()))));
    }
    let found = user::by_email(&app.database, name).await?;
    Ok(found.map(|found| Principal::User(Arc::new(found.user))))
}

/// The names of some users and services.
///
/// # Errors
///
/// When the database does not answer.
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

/// Forgets the services in memory: some were changed.
///
/// # Errors
///
/// None.
pub(crate) async fn forget(app: &App) -> Result<()> {
    app.service.cache.forget_all();
    Ok(())
}

/// Fails for a scope that only people may have.
///
/// # Errors
///
/// [`Code::ApiTokenInvalidScopes`].
pub(crate) fn require_scopes_of_services(scopes: &Scopes) -> Result<()> {
    let Some(scope) = scopes.iter().find(|scope| scope.is_of_people()) else { return Ok(()) };
    let reason = format!("A service cannot have the scope {}: it is people's", scope.as_str());
    Err(Error::with_reason(Code::ApiTokenInvalidScopes, reason))
}

/// Makes a service.
///
/// # Errors
///
/// [`Code::ServiceAlreadyExists`].
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

/// A page of the services, by name.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(app: &App, after: Option<String>, limit: u64) -> Result<Page<Service>> {
    let limit = Limit::new(limit, 100);
    let rows = store::list(app.database.reader(), after, limit.rows()).await?;
    Ok(limit.page(rows).map(Service::from))
}

/// Deletes a service with its tokens: they are accepted nowhere any more.
///
/// # Errors
///
/// [`Code::NotFound`].
pub(crate) async fn delete(work: &mut UnitOfWork<'_>, name: &ServiceName) -> Result<ServiceId> {
    let row = store::find_by_name(&**work, name.as_str()).await?.ok_or(Code::NotFound)?;
    if !store::delete(&**work, row.id).await? {
        return Err(Code::NotFound.into());
    }
    work.notify(CHANGED);
    Ok(row.id)
}
