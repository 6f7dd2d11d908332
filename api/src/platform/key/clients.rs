//! The keys that sign the tokens of clients: their access tokens and ID tokens. There is one for each algorithm that a
//! client uses, whatever `JWT_ALGORITHM` says. Sessions never use them.

use std::sync::{Arc, PoisonError, RwLock};

use entity::signing_key::CLIENTS;
use tessera_verify::{Key, KeySet, RevocationList, SigningAlgorithm, Verifier};

use super::{Phase, create, load, opened, seals, states_of, store};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::config::Config;
use crate::base::database::lock_keys;
use crate::base::derived_key::Seal;
use crate::base::error::{Code, Error, Result};
use crate::platform::revocation::MAX_CLIENT_LIFE;
use crate::platform::unit_of_work::UnitOfWork;

/// The algorithms that tokens of clients can be signed with. HS256 is none: a client that can verify could then also sign.
pub(crate) const ALGORITHMS: [SigningAlgorithm; 3] =
    [SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa];

/// The keys for clients in memory.
#[derive(Debug)]
pub struct ClientKeys {
    /// The verifier of clients' tokens. Its audience is the issuer: the operations that clients call here require it.
    pub verifier: Arc<Verifier>,
    signing: RwLock<Vec<(SigningAlgorithm, Arc<Key>)>>,
}

impl ClientKeys {
    /// Without keys, which are in the database.
    pub(super) fn new(config: &Config, revoked: Arc<RevocationList>) -> Self {
        let issuer = config.public_url.as_str();
        let verifier = Verifier::new(KeySet::default(), issuer, issuer)
            .leeway(config.jwt_leeway)
            .max_access_lifetime(MAX_CLIENT_LIFE);
        let verifier =
            if config.blacklist_enabled { verifier.revocations(revoked) } else { verifier };
        Self { verifier: Arc::new(verifier), signing: RwLock::default() }
    }

    fn signing(&self, algorithm: SigningAlgorithm) -> Option<Arc<Key>> {
        let keys = self.signing.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|(known, _)| *known == algorithm).map(|(_, key)| Arc::clone(key))
    }
}

/// Reads the keys for clients.
pub(super) async fn read(app: &App, seals: &[Seal], now: Timestamp) -> Result<()> {
    let rows = store::of_purpose(app.database.reader(), CLIENTS).await?;
    let (mut keys, mut signing) = (KeySet::default(), Vec::new());
    for algorithm in ALGORITHMS {
        let own = algorithm.name();
        let rows = rows.iter().filter(|row| row.algorithm == own).cloned().collect();
        for (row, phase) in states_of(app, &[algorithm], seals, rows, now, MAX_CLIENT_LIFE) {
            let key = opened(seals, &row).map(|key| key.for_clients());
            let Some(Ok(key)) = key else { continue };
            let key = Arc::new(key);
            match phase {
                Phase::Active => signing.push((algorithm, Arc::clone(&key))),
                Phase::Pending | Phase::Verifying => {}
                _ => continue,
            }
            keys = keys.with_previous(key);
        }
    }
    app.key.clients.verifier.replace_keys(keys);
    *app.key.clients.signing.write().unwrap_or_else(PoisonError::into_inner) = signing;
    Ok(())
}

/// Returns the key that signs for clients with an algorithm. It is made if there is none.
///
/// # Errors
///
/// If the database does not answer, or the key was encrypted with another secret.
pub(crate) async fn signing_for_clients(
    app: &App,
    algorithm: SigningAlgorithm,
) -> Result<Arc<Key>> {
    if let Some(key) = app.key.clients.signing(algorithm) {
        return Ok(key);
    }
    provide(app, algorithm).await?;
    load(app).await?;
    let none = || Error::because(Code::InternalServerError, "no key signs for clients");
    app.key.clients.signing(algorithm).ok_or_else(none)
}

/// Makes a key for clients, unless there is one for the algorithm that can be read. If several replicas need it at
/// once, one of them makes it. It signs at once, because nothing else signs.
async fn provide(app: &App, algorithm: SigningAlgorithm) -> Result<()> {
    let seals = seals(&app.config)?;
    let mut work = UnitOfWork::begin(app).await?;
    lock_keys(&work).await?;
    let now = clock::now();
    let own = algorithm.name();
    let rows = store::of_purpose(&*work, CLIENTS).await?;
    let rows = rows.into_iter().filter(|row| row.algorithm == own).collect();
    let states = states_of(app, &[algorithm], &seals, rows, now, MAX_CLIENT_LIFE);
    if states.iter().any(|(_, phase)| *phase == Phase::Active) {
        return Ok(());
    }
    let row = create(&work, &seals[0], CLIENTS, algorithm, (now, now)).await?;
    work.notify(super::CHANGED);
    work.commit().await?;
    tracing::info!(key.id = row.kid, key.algorithm = own, "a signing key for clients was made");
    Ok(())
}
