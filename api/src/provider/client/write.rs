//! Changes of clients, their secrets and resources, in the transaction of their cause.

use entity::{ClientSecretId, client, client_secret};
use sea_orm::SqlErr;

use super::resource::Resource;
use super::secret::{ClientSecret, StoredSecret};
use super::{CHANGED, Client, redirect, store};
use crate::access::grant::client as grant;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error, Result};
use crate::base::random;
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// The maximum number of secrets of a client that are accepted at the same time.
const MAX_SECRETS: usize = 5;

/// The number of grants that one transaction deletes.
const GRANTS_AT_ONCE: u64 = 5000;

impl TryFrom<&Client> for client::Model {
    type Error = Error;

    fn try_from(client: &Client) -> Result<Self> {
        let settings = serde_json::to_string(&client.settings);
        let settings =
            settings.map_err(|error| Error::because(Code::InternalServerError, error))?;
        let grant_types: Vec<&str> = client.grant_types.iter().map(|kind| (*kind).into()).collect();
        let text = |name: &'static str| name.to_owned();
        Ok(Self {
            id: client.id,
            client_id: client.client_id.clone(),
            name: client.name.clone(),
            origin: text(client.origin.into()),
            application_type: text(client.application_type.into()),
            auth_method: text(client.auth_method.into()),
            redirect_uris: redirect::to_json(&client.redirect_uris),
            post_logout_uris: redirect::to_json(&client.post_logout_uris),
            grant_types: grant_types.join(" "),
            scopes: client.scopes.to_string(),
            settings,
            own_grant: client.own_grant,
            is_active: client.is_active,
            created_at: client.created.millis(),
            updated_at: client.updated.millis(),
        })
    }
}

/// Writes a new client.
///
/// # Errors
///
/// [`Code::ClientAlreadyExists`] if its `client_id` is taken.
pub(crate) async fn insert(work: &mut UnitOfWork<'_>, client: &Client) -> Result<()> {
    let row = client::Model::try_from(client)?;
    store::insert(&**work, row).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Code::ClientAlreadyExists.into(),
        _ => Error::from(error),
    })?;
    work.notify(CHANGED);
    Ok(())
}

/// Writes a changed client.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn update(work: &mut UnitOfWork<'_>, client: &Client) -> Result<()> {
    store::update(&**work, client::Model::try_from(client)?).await?;
    work.notify(CHANGED);
    Ok(())
}

/// Returns a client for a change, and locks its row until the transaction ends.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such client.
pub(crate) async fn lock(work: &UnitOfWork<'_>, client_id: &str) -> Result<Client> {
    if client_id.contains('\0') {
        return Err(Code::NotFound.into());
    }
    let row = store::lock(&**work, client_id).await?.ok_or(Code::NotFound)?;
    row.try_into()
}

/// Deletes some grants of a client, and revokes their access tokens that may still be valid. Returns true if there may be
/// more grants. A client can have more than one transaction can delete.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn delete_grants(
    work: &mut UnitOfWork<'_>,
    client: &Client,
    reason: &Reason,
    now: Timestamp,
) -> Result<bool> {
    let grants = store::grants(&**work, client.id, GRANTS_AT_ONCE).await?;
    let live = grants.iter().filter(|(_, _, ended)| ended.is_none());
    let revoked: Vec<_> = live
        .filter_map(|(id, issued, _)| grant::revocation(*id, Timestamp::from_millis(*issued), now))
        .collect();
    work.revoke(revoked, reason, now);
    let ids: Vec<_> = grants.into_iter().map(|(id, ..)| id).collect();
    let has_more = u64::try_from(ids.len()).is_ok_and(|count| count == GRANTS_AT_ONCE);
    store::delete_grants(&**work, ids).await?;
    Ok(has_more)
}

/// Deletes a client with its secrets, consents, codes and the rest of its grants. Revokes the access tokens that it got for
/// itself.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn delete(
    work: &mut UnitOfWork<'_>,
    client: &Client,
    reason: &Reason,
    now: Timestamp,
) -> Result<()> {
    let own = client.own_grant.and_then(|own| grant::revocation(own, now, now));
    work.revoke(own, reason, now);
    store::delete(&**work, client.id).await?;
    work.notify(CHANGED);
    Ok(())
}

/// Adds a secret. The other secrets of the client retire at `others_until`, or keep their time if it is earlier.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] if a client has this secret already, or if too many secrets are live.
pub(crate) async fn add_secret(
    work: &mut UnitOfWork<'_>,
    client: &Client,
    secret: &ClientSecret,
    others_until: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let live = secrets_in(work, client).await?;
    let live = live.iter().filter(|(_, secret)| secret.expires.is_none_or(|at| at > now));
    if others_until > now && live.count() >= MAX_SECRETS {
        let sentence = format!(
            "{MAX_SECRETS} secrets of the client are accepted already. Wait until one retires, or rotate without an overlap"
        );
        return Err(Error::field("overlap", sentence));
    }
    store::retire(&**work, client.id, others_until).await?;
    let row = client_secret::Model {
        id: ClientSecretId(random::id()),
        client_id: client.id,
        prefix: secret.prefix().to_owned(),
        digest: secret.digest().to_string().into(),
        created_at: now.millis(),
        expires_at: None,
        last_used_at: None,
    };
    if !store::insert_secret(&**work, row).await? {
        let sentence = "A client has or had this secret already: choose another one";
        return Err(Error::field("secret", sentence));
    }
    work.notify(CHANGED);
    Ok(())
}

/// Makes a client accept a declared secret and no other one. Returns true if that is a change.
///
/// # Errors
///
/// As [`add_secret`].
pub(crate) async fn declare_secret(
    work: &mut UnitOfWork<'_>,
    client: &Client,
    secret: &ClientSecret,
    now: Timestamp,
) -> Result<bool> {
    let digest = secret.digest().to_string();
    if let Some(row) = store::find_secret(&**work, &digest).await?
        && row.client_id == client.id
    {
        if row.expires_at.is_some() {
            // The document was taken back to an earlier state.
            store::retire(&**work, client.id, now).await?;
            store::revive(&**work, row.id).await?;
            work.notify(CHANGED);
            return Ok(true);
        }
        return Ok(false);
    }
    add_secret(work, client, secret, now, now).await?;
    Ok(true)
}

/// Returns the secrets of a client with their beginnings, the newest first, without their digests.
async fn secrets_in(work: &UnitOfWork<'_>, client: &Client) -> Result<Vec<(String, StoredSecret)>> {
    let rows = store::secrets(&**work, client.id).await?;
    Ok(rows.iter().map(|row| (row.prefix.clone(), row.into())).collect())
}

/// Writes a new resource.
///
/// # Errors
///
/// [`Code::ResourceAlreadyExists`] if its URI is taken.
pub(crate) async fn insert_resource(work: &mut UnitOfWork<'_>, resource: &Resource) -> Result<()> {
    store::insert_resource(&**work, resource.into()).await.map_err(|error| {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Code::ResourceAlreadyExists.into(),
            _ => Error::from(error),
        }
    })?;
    work.notify(CHANGED);
    Ok(())
}

/// Writes a changed resource.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn update_resource(work: &mut UnitOfWork<'_>, resource: &Resource) -> Result<()> {
    store::update_resource(&**work, resource.into()).await?;
    work.notify(CHANGED);
    Ok(())
}

/// Deletes a resource. Tokens for it stay valid until they expire.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such resource.
pub(crate) async fn delete_resource(work: &mut UnitOfWork<'_>, uri: &str) -> Result<Resource> {
    if uri.contains('\0') {
        return Err(Code::NotFound.into());
    }
    let row = store::find_resource(&**work, uri).await?.ok_or(Code::NotFound)?;
    store::delete_resource(&**work, row.id).await?;
    work.notify(CHANGED);
    row.try_into()
}
