//! Actions of superusers on services.

pub(crate) mod http;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::scope::Scopes;
use crate::identity::service::{self, Service, ServiceName};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::apart;

/// Creates a service.
///
/// # Errors
///
/// [`Code::ServiceAlreadyExists`]; [`Code::ApiTokenInvalidScopes`] for scopes that only users can have;
/// [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn create(
    app: &App,
    superuser: &Superuser,
    name: ServiceName,
    scopes: Scopes,
) -> Result<Service> {
    service::require_scopes_of_services(&scopes)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    // `sub` of a client's own tokens is its id.
    apart::lock(&work).await?;
    if apart::is_taken(&work, name.as_str()).await? {
        return Err(Code::ServiceAlreadyExists.into());
    }
    let made = service::create(&*work, name, &scopes).await?;
    let entry = Entry::new(Act::ServiceCreate, Actor::of(superuser)).on("service", made.id);
    work.record(entry.with("scopes", scopes.to_string()));
    work.commit().await?;
    tracing::info!(service.id = %made.id, "a service was made");
    Ok(made)
}

/// Deletes a service with its API tokens, which are not accepted any more.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn delete(app: &App, superuser: &Superuser, name: &str) -> Result<()> {
    let name: ServiceName = name.parse().map_err(|_| Code::NotFound)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let id = service::delete(&mut work, &name).await?;
    let entry = Entry::new(Act::ServiceDelete, Actor::of(superuser)).on("service", id);
    work.record(entry);
    work.commit().await?;
    tracing::info!(service.id = %id, "a service was deleted");
    Ok(())
}
