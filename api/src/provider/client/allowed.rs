//! The scopes and resources that a client can still get: those that were granted, as far as an operator allows them.

use super::refusal::{Checked, OauthError, Refusal};
use super::{Client, resource};
use crate::app::App;
use crate::base::error::Result;
use crate::base::scope::Scopes;

/// Returns what a client can still get of what was granted: an operator may have taken scopes or resources from it since.
///
/// # Errors
///
/// If the database does not answer. The inner error is the refusal, if nothing is left.
pub async fn still_allowed(
    app: &App,
    client: &Client,
    scopes: Scopes,
    resources: Vec<String>,
) -> Result<Checked<(Scopes, Vec<String>)>> {
    let left: Scopes =
        scopes.iter().filter(|scope| client.scopes.contains(scope.as_str())).cloned().collect();
    let mut uris = Vec::new();
    for uri in &resources {
        let known = resource::find(app, uri).await?;
        if known.is_some_and(|known| known.is_active && client.can_ask_for(&known)) {
            uris.push(uri.clone());
        }
    }
    if left.iter().next().is_none() || (uris.is_empty() && !resources.is_empty()) {
        let sentence = "The application can no longer get anything that was granted to it.";
        let remedy =
            format!("`tessera client show {}` shows its scopes and resources.", client.client_id);
        let error = OauthError::InvalidGrant;
        return Ok(Err(Refusal::new("grant.nothing_left", error, sentence, remedy)));
    }
    Ok(Ok((left, uris)))
}
