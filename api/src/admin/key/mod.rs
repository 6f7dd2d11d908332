//! Signing keys: what superusers do with them.

pub(crate) mod http;

use tessera_verify::SigningAlgorithm;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::error::{Code, Error, Result};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::key::{self, SigningKey};
use crate::platform::unit_of_work::UnitOfWork;

/// Makes the next key. It is published at once, and signs once services had the time to read it;
/// with `at_once`, at once.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] where no algorithm is given and the settings have none with keys;
/// [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn rotate(
    app: &App,
    superuser: &Superuser,
    algorithm: Option<SigningAlgorithm>,
    at_once: bool,
) -> Result<SigningKey> {
    let algorithm = key::algorithm_of_next(app, algorithm)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let kid = key::create_next(app, &mut work, algorithm, at_once).await?;
    let entry = Entry::new(Act::KeyCreate, Actor::of(superuser)).on("key", &kid);
    work.record(entry.with("algorithm", algorithm.name()));
    work.commit().await?;
    tracing::info!(key.id = kid, key.algorithm = algorithm.name(), "a signing key was made");
    let made = key::list(app).await?.into_iter().find(|key| key.kid == kid);
    made.ok_or(Error::from(Code::InternalServerError))
}

/// Retires a key: what it signed is not accepted any more, at once, and what is private of it is
/// forgotten.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::KeyInUse`] for the one that signs, and unless `force`d for the one that
/// would sign if the settings named its algorithm: those of a server may; [`Code::TooManyAttempts`].
pub async fn retire(app: &App, superuser: &Superuser, kid: &str, force: bool) -> Result<()> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    // A key that somebody else knows must be withdrawn at once.
    superuser.lock(app, &work, [], Requires::Rights).await?;
    key::retire(app, &mut work, kid, force).await?;
    work.record(Entry::new(Act::KeyRetire, Actor::of(superuser)).on("key", kid));
    work.commit().await?;
    tracing::info!(key.id = kid, "a signing key was retired");
    Ok(())
}
