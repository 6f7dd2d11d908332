//! Actions of superusers on clients and resources.

mod apply;
pub(crate) mod http;
mod wire;

pub use apply::{Change, Outcome, apply, check_declared, declare};

use tessera_verify::Revocation;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Problem, Result};
use crate::identity::service::principal_named;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::definition::{Definition, Fault};
use crate::provider::client::resource::{self, Resource};
use crate::provider::client::{self, Client, ClientSecret, Origin, write};

/// The time for which access tokens of a deleted client stay revoked, in seconds: as long as the longest can live.
const REVOKED_FOR: u64 = 86_400;

/// The longest time for which two secrets of a client are accepted, in seconds.
const MAX_OVERLAP: u64 = 90 * 86_400;

/// Creates a client. Returns it with its secret, unless it is public.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] with the faults of the definition; [`Code::ClientAlreadyExists`];
/// [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn create(
    app: &App,
    superuser: &Superuser,
    definition: Definition,
) -> Result<(Client, Option<ClientSecret>)> {
    let now = clock::now();
    let made =
        definition.client(&app.config, None, Origin::Operator, now).map_err(unprocessable)?;
    if principal_named(app, &made.client_id).await?.is_some() {
        return Err(Code::ClientAlreadyExists.into());
    }
    require_apart(app, &made).await?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    write::insert(&mut work, &made).await?;
    let secret = (!made.is_public()).then(|| definition.secret.unwrap_or_else(ClientSecret::make));
    if let Some(secret) = &secret {
        write::add_secret(&mut work, &made, secret, now, now).await?;
    }
    work.record(entry(Act::ClientCreate, superuser, &made));
    work.commit().await?;
    tracing::info!(client.id = %made.client_id, "a client was made");
    Ok((made, secret))
}

/// Fails if a client could be taken for something else: if a service has its name, because `sub` of a client's own tokens
/// is its `client_id`; if another client's tokens have its name as their audience; or if its own have another client's.
async fn require_apart(app: &App, made: &Client) -> Result<()> {
    match fault_of_names(app, made).await? {
        Some(fault) => Err(unprocessable(vec![fault])),
        None => Ok(()),
    }
}

/// Returns the fault that [`require_apart`] fails with.
async fn fault_of_names(app: &App, made: &Client) -> Result<Option<Fault>> {
    let id = &made.client_id;
    if principal_named(app, id).await?.is_some() {
        let sentence = format!("A service is named {id:?}: choose another id for the client");
        return Ok(Some(Fault::new("client_id", sentence)));
    }
    if resource::find(app, id).await?.is_some() || client::is_audience(app, made).await? {
        let sentence = format!(
            "The client id {id:?} is an audience of another client's tokens: choose another one"
        );
        return Ok(Some(Fault::new("client_id", sentence)));
    }
    for text in &made.settings.audience {
        let is_taken = text == id
            || client::find(app, text).await?.is_some()
            || principal_named(app, text).await?.is_some();
        if is_taken {
            let sentence = format!(
                "The audience {text:?} is the name of a client or a service: use the URI of an API, such as \
                 https://api.example.com"
            );
            return Ok(Some(Fault::new("audience", sentence)));
        }
    }
    Ok(None)
}

/// Changes a client.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::DeclaredInFile`]; [`Code::UnprocessableContent`] with the faults of the definition;
/// [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn update(
    app: &App,
    superuser: &Superuser,
    client_id: &str,
    definition: Definition,
) -> Result<Client> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let known = of_operators(write::lock(&work, client_id).await?)?;
    if definition.secret.is_some() {
        let sentence = "A change sets no secret: use POST /admin/clients/{client_id}/secrets, or \
                        `tessera client rotate-secret`";
        return Err(Error::field("secret", sentence));
    }
    let now = clock::now();
    let changed = definition.client(&app.config, Some(&known), Origin::Operator, now);
    let changed = changed.map_err(unprocessable)?;
    require_apart(app, &changed).await?;
    write::update(&mut work, &changed).await?;
    work.record(entry(Act::ClientUpdate, superuser, &changed));
    work.commit().await?;
    tracing::info!(client.id = %changed.client_id, "a client was changed");
    Ok(changed)
}

/// Gives a client another secret. Those that it has are accepted for `overlap` more seconds.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::DeclaredInFile`]; [`Code::UnprocessableContent`] for a public client, a long overlap, or
/// a secret that exists; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn rotate_secret(
    app: &App,
    superuser: &Superuser,
    client_id: &str,
    overlap: u64,
    chosen: Option<ClientSecret>,
) -> Result<(ClientSecret, Timestamp)> {
    if overlap > MAX_OVERLAP {
        let sentence = format!(
            "overlap is {overlap}: it can be at most {MAX_OVERLAP} seconds, which is 90 days"
        );
        return Err(Error::field("overlap", sentence));
    }
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let client = of_operators(write::lock(&work, client_id).await?)?;
    if client.is_public() {
        let sentence = "The client is public, so it has no secret";
        return Err(Error::field("client_id", sentence));
    }
    let secret = chosen.unwrap_or_else(ClientSecret::make);
    let now = clock::now();
    let others_until = now.plus_seconds(overlap);
    write::add_secret(&mut work, &client, &secret, others_until, now).await?;
    let entry = entry(Act::ClientSecretRotate, superuser, &client).with("overlap", overlap);
    work.record(entry);
    work.commit().await?;
    tracing::info!(client.id = %client.client_id, "a client got another secret");
    Ok((secret, others_until))
}

/// Deletes a client. Its grants end, and their access tokens are revoked.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::DeclaredInFile`]; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn delete(app: &App, superuser: &Superuser, client_id: &str) -> Result<()> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let client = write::lock(&work, client_id).await?;
    // A declared client that left the file is disabled, and can be deleted.
    let client = if client.is_active { of_operators(client)? } else { client };
    let now = clock::now();
    let until = now.plus_seconds(REVOKED_FOR).seconds();
    let grants = write::delete(&mut work, &client).await?;
    let revoked = grants.into_iter().map(|grant| Revocation::session(grant.0, until));
    let reason = Reason::Admin("the application was deleted".to_owned());
    work.revoke(revoked, &reason, now);
    work.record(entry(Act::ClientDelete, superuser, &client));
    work.commit().await?;
    tracing::info!(client.id = %client.client_id, "a client was deleted");
    Ok(())
}

/// Creates a resource.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] with the faults of the definition; [`Code::ResourceAlreadyExists`];
/// [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn create_resource(
    app: &App,
    superuser: &Superuser,
    definition: &resource::Definition,
) -> Result<Resource> {
    let made = definition.resource(&app.config, None, Origin::Operator, clock::now());
    let made = made.map_err(unprocessable)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    write::insert_resource(&mut work, &made).await?;
    work.record(entry_of(Act::ResourceCreate, superuser, &made));
    work.commit().await?;
    Ok(made)
}

/// Deletes a resource.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::DeclaredInFile`]; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn delete_resource(app: &App, superuser: &Superuser, uri: &str) -> Result<()> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let deleted = write::delete_resource(&mut work, uri).await?;
    if deleted.origin == Origin::File && deleted.is_active {
        return Err(Code::DeclaredInFile.into());
    }
    work.record(entry_of(Act::ResourceDelete, superuser, &deleted));
    work.commit().await
}

/// Returns the client, if commands can change it.
fn of_operators(client: Client) -> Result<Client> {
    match client.origin {
        Origin::Operator => Ok(client),
        Origin::File => Err(Code::DeclaredInFile.into()),
    }
}

fn entry(act: Act, superuser: &Superuser, client: &Client) -> Entry {
    let entry = Entry::new(act, Actor::of(superuser)).on("client", client.id);
    entry.with("client_id", client.client_id.clone())
}

fn entry_of(act: Act, superuser: &Superuser, resource: &Resource) -> Entry {
    let entry = Entry::new(act, Actor::of(superuser)).on("resource", resource.id);
    entry.with("uri", resource.uri.clone())
}

/// The refusal of a definition with faults.
fn unprocessable(faults: Vec<Fault>) -> Error {
    let problem = |Fault { field, item, sentence }: Fault| Problem {
        kind: "value_error",
        part: "body",
        location: std::iter::once(field.into()).chain(item.map(Into::into)).collect(),
        message: sentence,
    };
    Error::unprocessable(faults.into_iter().map(problem).collect())
}
