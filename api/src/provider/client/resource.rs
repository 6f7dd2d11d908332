//! Resources: APIs that accept access tokens of clients.

use std::sync::Arc;

use entity::ResourceId;
use entity::resource::Model;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::definition::{self, Fault};
use super::{Origin, key, store};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::config::Config;
use crate::base::error::{Code, Error, Result};
use crate::base::listing::{Limit, Page};
use crate::base::random;
use crate::base::scope::Scopes;
use crate::platform::unit_of_work::UnitOfWork;

/// An API that accepts access tokens of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The id of its row.
    pub id: ResourceId,
    /// The URI, which is the `aud` of access tokens for it.
    pub uri: String,
    /// The name that people see.
    pub name: String,
    /// The source of its definition.
    pub origin: Origin,
    /// The scopes that it has.
    pub scopes: Scopes,
    /// `true` if clients that registered themselves can ask for it.
    pub is_open: bool,
    /// `true` if tokens for it are issued.
    pub is_active: bool,
    /// The time when it was made.
    pub created: Timestamp,
}

impl TryFrom<Model> for Resource {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let Model { id, uri, name, origin, scopes, is_open, is_active, created_at } = row;
        let fault = |_| {
            let cause = format!("the resource {id} has an invalid value in `origin`");
            Error::because(Code::InternalServerError, cause)
        };
        let origin = origin.parse().map_err(fault)?;
        let (scopes, created) = (Scopes::parse(&scopes), Timestamp::from_millis(created_at));
        Ok(Self { id, uri, name, origin, scopes, is_open, is_active, created })
    }
}

impl From<&Resource> for Model {
    fn from(resource: &Resource) -> Self {
        let Resource { id, uri, name, origin, scopes, is_open, is_active, created } = resource;
        let origin: &str = (*origin).into();
        Self {
            id: *id,
            uri: uri.clone(),
            name: name.clone(),
            origin: origin.to_owned(),
            scopes: scopes.to_string(),
            is_open: *is_open,
            is_active: *is_active,
            created_at: created.millis(),
        }
    }
}

/// The definition of a resource.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definition {
    /// The URI.
    pub uri: String,
    /// The name that people see. Default: the URI.
    pub name: Option<String>,
    /// The scopes that it has.
    pub scopes: Vec<String>,
    /// `true` if clients that registered themselves can ask for it.
    pub open: bool,
}

impl Definition {
    /// Reads a definition from an item of a document. Each faulty member is named.
    ///
    /// # Errors
    ///
    /// The faults.
    pub fn read(item: &Value) -> Result<Self, Vec<Fault>> {
        let Value::Object(members) = item else {
            return Err(vec![Fault::new("", "A resource must have a uri")]);
        };
        let mut faults = Vec::new();
        for (name, value) in members {
            // Read alone, so that the error belongs to this member.
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            if let Err(error) = serde_json::from_value::<Self>(alone.into()) {
                faults.push(Fault::new(name, definition::in_words(name, value, &error)));
            }
        }
        match serde_json::from_value(item.clone()) {
            Ok(definition) if faults.is_empty() => Ok(definition),
            _ => Err(faults),
        }
    }

    /// Makes the resource that this defines. The new one has the id of `known`, if there is one.
    ///
    /// # Errors
    ///
    /// The faults.
    pub fn resource(
        &self,
        config: &Config,
        known: Option<&Resource>,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Resource, Vec<Fault>> {
        let mut faults = Vec::new();
        let reserved = definition::reserved(config);
        let is_uri = url::Url::parse(&self.uri).is_ok() && !self.uri.contains('#');
        if let Some(fault) = definition::fault_of_audience(&self.uri, &reserved) {
            faults.push(Fault::new("uri", fault));
        } else if !is_uri {
            let sentence = format!(
                "The resource {:?} must be an absolute URI without a fragment, such as https://api.example.com",
                self.uri
            );
            faults.push(Fault::new("uri", sentence));
        }
        let scopes = definition::words("scopes", &self.scopes, &mut faults);
        let name = self.name.clone().unwrap_or_else(|| self.uri.chars().take(100).collect());
        faults.extend(definition::fault_of_display_name(&name));
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Resource {
            id: known.map_or_else(|| ResourceId(random::id()), |known| known.id),
            uri: self.uri.clone(),
            name,
            origin,
            scopes,
            is_open: self.open,
            is_active: true,
            created: known.map_or(now, |known| known.created),
        })
    }
}

/// Returns a page of the resources, ordered by URI.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, after: Option<String>, limit: u64) -> Result<Page<Resource>> {
    let limit = Limit::new(limit, 100);
    let rows = store::list_resources(app.database.reader(), after, limit.rows()).await?;
    limit.page(rows).try_map(Resource::try_from)
}

/// Returns all resources with an origin.
///
/// # Errors
///
/// If the database does not answer.
pub async fn of_origin(app: &App, origin: Origin) -> Result<Vec<Resource>> {
    let rows = store::resources_of_origin(app.database.reader(), origin.into()).await?;
    rows.into_iter().map(Resource::try_from).collect()
}

/// Returns the resource with a URI, as the database had it within the last second. It may be disabled.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find(app: &App, uri: &str) -> Result<Option<Arc<Resource>>> {
    let key = key(uri);
    if let Some(known) = app.client.resources.get(key) {
        return Ok(known);
    }
    let since = app.client.resources.since();
    // PostgreSQL has no text with U+0000.
    let row = match uri.contains('\0') {
        true => None,
        false => store::find_resource(app.database.reader(), uri).await?,
    };
    let resource = row.map(Resource::try_from).transpose()?.map(Arc::new);
    app.client.resources.put(key, resource.clone(), since);
    Ok(resource)
}

/// Returns the resource with a URI in a transaction.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn find_in(work: &UnitOfWork<'_>, uri: &str) -> Result<Option<Resource>> {
    if uri.contains('\0') {
        return Ok(None);
    }
    store::find_resource(&**work, uri).await?.map(Resource::try_from).transpose()
}
