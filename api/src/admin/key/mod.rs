//! Actions of superusers on signing keys.

pub(crate) mod http;

use tessera_verify::SigningAlgorithm;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::error::{Code, Error, Result};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::key::{self, SigningKey};
use crate::platform::replica;
use crate::platform::unit_of_work::UnitOfWork;

/// The signing keys, and the algorithms that the servers which are online sign with. The settings of this process do not
/// matter, unless no server is online: a command can have other settings than the servers.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App) -> Result<(Vec<SigningKey>, Vec<SigningAlgorithm>)> {
    let algorithms = replica::algorithms(app).await?;
    let own = [app.config.jwt_algorithm];
    let used = if algorithms.is_empty() { &own[..] } else { &algorithms };
    Ok((key::list(app, used).await?, algorithms))
}

/// Creates the next key. It is published at once. It signs after services had the time to read it, or at once with
/// `at_once`.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] if no algorithm is given and the algorithm in the settings uses no keys;
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
    let (made, _) = list(app).await?;
    let made = made.into_iter().find(|key| key.kid == kid);
    made.ok_or(Error::from(Code::InternalServerError))
}

/// Retires a key: tokens that it signed are not accepted any more, and its private part is deleted.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::KeyInUse`] for the key that signs. Without `force`, also for the key that would sign if
/// `JWT_ALGORITHM` named its algorithm, because another server may use it; [`Code::TooManyAttempts`].
pub async fn retire(app: &App, superuser: &Superuser, kid: &str, force: bool) -> Result<()> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    // A key that somebody else knows must be retired at once, so this requires no fresh token.
    superuser.lock(app, &work, [], Requires::Rights).await?;
    key::retire(app, &mut work, kid, force).await?;
    work.record(Entry::new(Act::KeyRetire, Actor::of(superuser)).on("key", kid));
    work.commit().await?;
    tracing::info!(key.id = kid, "a signing key was retired");
    Ok(())
}
