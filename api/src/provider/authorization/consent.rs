//! Consent: the permission of a user for a client, remembered for each scope and resource.

use std::collections::BTreeMap;

use entity::{ClientId, UserId};

use super::draft::{Draft, Permitted};
use super::{checks, store};
use crate::access::grant;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Result};
use crate::base::scope::Scopes;
use crate::identity::user;
use crate::platform::audit::{Act, Entry};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client;

/// An application that has access to a user's account. Times are seconds since the epoch.
#[derive(Debug, Clone)]
pub(super) struct Application {
    /// The id of the client.
    pub(super) client: ClientId,
    /// The name of the application.
    pub(super) name: String,
    /// Its `client_id`.
    pub(super) client_id: String,
    /// The scopes that the user permitted or that live grants have.
    pub(super) scopes: Vec<String>,
    /// The time when it last got tokens, if it has a live grant.
    pub(super) last_used: Option<u64>,
    /// The time when the user first consented, if the user did.
    pub(super) consented: Option<u64>,
}

/// Remembers what the user permits with this request. A permission that every program on a device could use is not
/// remembered.
pub(super) async fn remember(
    work: &mut UnitOfWork<'_>,
    draft: &Draft,
    now: Timestamp,
) -> Result<()> {
    let (Some(client), Some(proof)) = (&draft.client, &draft.proof) else { return Ok(()) };
    let entry = Entry::own(Act::ConsentGive, proof.user.id).on("client", &client.client_id);
    work.record(entry.with("scopes", draft.scopes.to_string()));
    if checks::can_be_anybody(draft) {
        return Ok(());
    }
    let before = store::consent(&**work, proof.user.id, client.id).await?;
    let mut permitted = before.as_ref().map(Permitted::from).unwrap_or_default();
    permitted.add(&draft.scopes, &draft.asked.resource);
    let texts: BTreeMap<_, _> =
        permitted.resources.iter().map(|(uri, scopes)| (uri, scopes.to_string())).collect();
    let resources = serde_json::to_string(&texts).map_err(|_| Code::InternalServerError)?;
    let row = entity::consent::Model {
        user_id: proof.user.id,
        client_id: client.id,
        scopes: permitted.scopes.to_string(),
        resources,
        created_at: before.map_or(now.millis(), |before| before.created_at),
        updated_at: now.millis(),
    };
    Ok(store::put_consent(&**work, row).await?)
}

/// The applications that have access to a user's account: those that the user permitted, and those with a live grant.
///
/// # Errors
///
/// If the database does not answer.
pub(super) async fn apps_of(app: &App, user: UserId) -> Result<Vec<Application>> {
    let now = clock::now();
    let consents = store::consents_of(app.database.reader(), user).await?;
    let grants = grant::client::live_of(app, user, now).await?;
    let mut found: Vec<(ClientId, Scopes, Option<i64>, Option<i64>)> = Vec::new();
    for row in consents {
        let permitted = Permitted::from(&row);
        let of_apis = permitted.resources.values().flat_map(Scopes::iter);
        let scopes = permitted.scopes.iter().chain(of_apis).cloned().collect();
        found.push((row.client_id, scopes, None, Some(row.created_at)));
    }
    for (client, scopes, used) in grants {
        match found.iter_mut().find(|(known, ..)| *known == client) {
            Some((_, known, last, _)) => {
                *known = known.iter().chain(scopes.iter()).cloned().collect();
                *last = (*last).max(Some(used));
            }
            None => found.push((client, scopes, Some(used), None)),
        }
    }
    let seconds = |millis: i64| Timestamp::from_millis(millis).seconds();
    let mut apps = Vec::new();
    for (id, scopes, last, consented) in found {
        let Some(client) = client::by_id(app, id).await? else { continue };
        apps.push(Application {
            client: id,
            name: client.name,
            client_id: client.client_id,
            scopes: scopes.words(),
            last_used: last.map(seconds),
            consented: consented.map(seconds),
        });
    }
    apps.sort_by_key(|app| (std::cmp::Reverse(app.last_used), app.name.clone()));
    Ok(apps)
}

/// Ends the access of an application to a user's account: the consent, and every grant.
///
/// # Errors
///
/// [`Code::NotFound`] if it has none.
pub(super) async fn end(app: &App, user: UserId, client: ClientId) -> Result<()> {
    let mut work = UnitOfWork::begin(app).await?;
    user::lock(&*work, user).await?;
    let now = clock::now();
    let ended = grant::client::end_of_client(&mut work, user, client, &Reason::Ended, now).await?;
    let forgotten = store::delete_consent(&*work, user, client).await?;
    if ended == 0 && !forgotten {
        return Err(Code::NotFound.into());
    }
    // Codes that were not exchanged yet end too.
    store::delete_codes(&*work, user, client).await?;
    let name = client::by_id(app, client).await?.map(|client| client.client_id);
    let entry = Entry::own(Act::ConsentEnd, user).on("client", name.unwrap_or_default());
    work.record(entry.with("grants", ended));
    work.commit().await
}
