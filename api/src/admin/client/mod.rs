//! Actions of superusers on clients and resources.

mod apply;
mod explained;
pub(crate) mod http;
mod wire;

pub use apply::{Change, Outcome, apply, check_declared, declare};

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Problem, Result};
use crate::identity::service;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::definition::{Definition, Fault};
use crate::provider::client::resource::{self, Resource};
use crate::provider::client::{Client, ClientSecret, Origin, apart, write};

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
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    apart::lock(&work).await?;
    if service::is_named(&*work, &made.client_id).await? {
        return Err(Code::ClientAlreadyExists.into());
    }
    require_apart(&work, &made).await?;
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

/// Fails if a client could be taken for something else.
async fn require_apart(work: &UnitOfWork<'_>, made: &Client) -> Result<()> {
    match apart::fault_of(work, made).await? {
        Some(fault) => Err(unprocessable(vec![fault])),
        None => Ok(()),
    }
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
    apart::lock(&work).await?;
    let known = of_operators(write::lock(&work, client_id).await?)?;
    if definition.secret.is_some() {
        let sentence = "A change sets no secret: use POST /admin/clients/{client_id}/secrets, or \
                        `tessera client rotate-secret`";
        return Err(Error::field("secret", sentence));
    }
    let now = clock::now();
    let changed = definition.client(&app.config, Some(&known), Origin::Operator, now);
    let changed = changed.map_err(unprocessable)?;
    require_apart(&work, &changed).await?;
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
    let reason = Reason::Admin("the application was deleted".to_owned());
    loop {
        let mut work = UnitOfWork::begin(app).await?;
        superuser.lock(app, &work, [], Requires::FreshProof).await?;
        let client = write::lock(&work, client_id).await?;
        // A declared client that left the file is disabled, and can be deleted.
        let client = if client.is_active { of_operators(client)? } else { client };
        let now = clock::now();
        // If this is interrupted, the next attempt goes on with the rest.
        if write::delete_grants(&mut work, &client, &reason, now).await? {
            work.commit().await?;
            continue;
        }
        write::delete(&mut work, &client, &reason, now).await?;
        work.record(entry(Act::ClientDelete, superuser, &client));
        work.commit().await?;
        tracing::info!(client.id = %client.client_id, "a client was deleted");
        return Ok(());
    }
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
