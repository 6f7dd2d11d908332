//! The names of clients, services and audiences are apart: `sub` of a client's own tokens is its `client_id`, and an API
//! trusts a token by its `aud`. So no client may have the name of a service, or a name that another client's tokens have
//! as their audience.
//!
//! The names are compared in the transaction that writes them, and one such transaction runs at a time. So two operators
//! at once cannot give one name twice.

use super::definition::Fault;
use super::{Client, resource, store};
use crate::base::database::lock_names;
use crate::base::error::Result;
use crate::identity::service;
use crate::platform::unit_of_work::UnitOfWork;

/// Lets one transaction at a time give names. It comes before the locks on rows of clients.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn lock(work: &UnitOfWork<'_>) -> Result<()> {
    Ok(lock_names(work).await?)
}

/// Returns the fault of a client whose name, or whose audience, is the name of something else.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn fault_of(work: &UnitOfWork<'_>, made: &Client) -> Result<Option<Fault>> {
    let id = &made.client_id;
    if service::is_named(&**work, id).await? {
        let sentence = format!("A service is named {id:?}: choose another id for the client");
        return Ok(Some(Fault::new("client_id", sentence)));
    }
    if resource::find_in(work, id).await?.is_some() || is_audience(work, id, Some(id)).await? {
        let sentence = format!(
            "The client id {id:?} is an audience of another client's tokens: choose another one"
        );
        return Ok(Some(Fault::new("client_id", sentence)));
    }
    for (item, text) in made.settings.audience.iter().enumerate() {
        let is_taken = text == id
            || store::find_by_client_id(&**work, text).await?.is_some()
            || service::is_named(&**work, text).await?;
        if is_taken {
            let sentence = format!(
                "The audience {text:?} is the name of a client or a service: use the URI of an API, such as \
                 https://api.example.com"
            );
            return Ok(Some(Fault::new("audience", sentence).at(item)));
        }
    }
    Ok(None)
}

/// Returns true if a client has this name, or has it as an audience, so that no service may have it.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn is_taken(work: &UnitOfWork<'_>, name: &str) -> Result<bool> {
    Ok(store::find_by_client_id(&**work, name).await?.is_some()
        || is_audience(work, name, None).await?)
}

/// Returns true if access tokens of a client, other than `except`, have this name as their audience.
async fn is_audience(work: &UnitOfWork<'_>, name: &str, except: Option<&String>) -> Result<bool> {
    for row in store::with_setting(&**work, name).await? {
        let client = Client::try_from(row)?;
        let is_other = except != Some(&client.client_id);
        if is_other && client.settings.audience.iter().any(|text| text == name) {
            return Ok(true);
        }
    }
    Ok(false)
}
