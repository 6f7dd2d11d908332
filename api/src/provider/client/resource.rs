//! Resources: APIs that accept access tokens of clients.

use std::sync::Arc;

use entity::ResourceId;
use entity::resource::Model;

use super::{Origin, key, store};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error, Result};
use crate::base::scope::Scopes;

/// An API that accepts access tokens of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The id of its row.
    pub id: ResourceId,
    /// The URI, which is the `aud` of access tokens for it.
    pub uri: String,
    /// The name that people see.
    pub name: String,
    /// Where its definition comes from.
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
