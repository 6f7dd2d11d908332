//! The keys that sign and verify tokens.
//!
//! With HS256, the secret of the settings signs access tokens. With the other algorithms, private keys in the database
//! sign them, and anybody can verify them with the public keys. The private keys are encrypted with a key that is
//! derived from the secret. Refresh tokens, which only Tessera reads, are always signed with a key that is derived from
//! the secret for them alone.

mod clients;
pub(crate) mod http;
pub(crate) mod jobs;
mod secret;
mod store;

pub use clients::ClientKeys;
pub(crate) use clients::{ALGORITHMS as CLIENT_ALGORITHMS, signing_for_clients};
pub(crate) use secret::note_secret;
pub use secret::{Fit, fit_of_secret};

use std::sync::Arc;

use entity::signing_key::{ACCESS, Model};
use sea_orm::{DatabaseTransaction, QueryTrait};
use tessera_verify::{Guard, Key, KeySet, MAX_LEEWAY, RevocationList, SigningAlgorithm, Verifier};

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::config::{Config, ConfigError, Secret};
use crate::base::database::lock_keys;
use crate::base::derived_key::{self, Seal, audience_secret, seals_of};
use crate::base::error::{Code, Error, Result};
use crate::base::random;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::notice::Kind;
use crate::platform::revocation::{self, Life};
use crate::platform::unit_of_work::{UnitOfWork, statement};

/// The time for which a key is published before it signs, in seconds: twice as long as services can cache the keys.
pub const PUBLISHED_BEFORE: u64 = 600;

/// The interval at which servers record that they sign with a key, in seconds.
const NOTED_EVERY: u64 = 60;

/// The keys in memory, and the verifier and the guard that use them.
#[derive(Debug)]
pub struct State {
    /// The verifier, which decides which tokens are valid and holds the keys that sign.
    pub verifier: Arc<Verifier>,
    /// The guard of operations that require a token.
    pub guard: Guard,
    /// The keys and the verifier for the tokens of clients.
    pub clients: ClientKeys,
    /// A lock that is held from reading the keys until they are in use. Without it, of two readers at once, the first
    /// could replace newer keys with older ones.
    loading: tokio::sync::Mutex<()>,
}

impl State {
    /// Creates a state with only the keys of the settings, and with this revocation list.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the secret cannot sign tokens.
    pub(crate) fn new(config: &Config, revoked: Arc<RevocationList>) -> Result<Self, ConfigError> {
        let keys = of_settings(config)?;
        let clients = ClientKeys::new(config, Arc::clone(&revoked));
        let verifier = Verifier::new(keys, config.public_url.as_str(), &config.jwt_audience)
            .of_sessions_alone()
            .more_audiences(config.jwt_audiences.clone())
            .leeway(config.jwt_leeway)
            .max_access_lifetime(config.access_token_expires);
        let verifier =
            if config.blacklist_enabled { verifier.revocations(revoked) } else { verifier };
        let verifier = Arc::new(verifier);
        let guard = Guard::new(Arc::clone(&verifier)).fresh_for(config.fresh_token_expires);
        Ok(Self { verifier, guard, clients, loading: tokio::sync::Mutex::default() })
    }
}

/// The notice that keys were changed. Every replica then reads them again.
pub(crate) const CHANGED: Kind = Kind("key");

/// The phase of a key of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is published, and will sign later.
    Pending,
    /// It signs.
    Active,
    /// It does not sign any more. Tokens that it signed are accepted.
    Verifying,
    /// All tokens that it signed have expired.
    Past,
    /// A superuser retired it. Tokens that it signed are refused.
    Retired,
    /// It was encrypted with another secret and cannot be used.
    Unreadable,
}

impl Phase {
    /// Returns the name of the phase, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "pending",
            Phase::Active => "active",
            Phase::Verifying => "verifying",
            Phase::Past => "past",
            Phase::Retired => "retired",
            Phase::Unreadable => "unreadable",
        }
    }
}

/// A key of the database, without its private part. Instants are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// The id of the key, which `kid` in the header of a token names.
    pub kid: String,
    /// The algorithm that it signs with.
    pub algorithm: String,
    /// The phase of the key at this moment.
    pub state: Phase,
    /// The instant when it was created.
    pub created: u64,
    /// The instant when it begins to sign.
    pub active: u64,
}

/// Returns the keys that follow from the settings, without the database.
///
/// # Errors
///
/// [`ConfigError`] if the secret cannot sign tokens.
fn of_settings(config: &Config) -> Result<KeySet, ConfigError> {
    let secret = config.signing_secret()?;
    let refresh = |secret: &Secret| Key::refresh(secret.expose().as_bytes());
    let mut keys = KeySet::default().with_refresh(refresh(&secret));
    for previous in &config.app_secret_previous {
        keys = keys.with_previous(refresh(previous));
    }
    if config.jwt_algorithm != SigningAlgorithm::Hs256 {
        // Services that used the secret to verify tokens must not be able to make access tokens with it now.
        return Ok(keys);
    }
    let key = |secret: &Secret| Key::hs256(secret.expose().as_bytes());
    keys = keys.with_access(key(&secret));
    for audience in &config.jwt_audiences {
        keys = keys.with_access(for_audience(&secret, audience));
    }
    for previous in &config.app_secret_previous {
        keys = keys.with_previous(key(previous));
        for audience in &config.jwt_audiences {
            keys = keys.with_previous(for_audience(previous, audience));
        }
    }
    Ok(keys)
}

fn for_audience(secret: &Secret, audience: &str) -> Key {
    let secret = audience_secret(secret, audience);
    Key::hs256(secret.expose().as_bytes()).for_audience(audience)
}

/// Reads the keys of the database and uses them from now on to sign and to check tokens. Concurrent calls run one after
/// the other.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn load(app: &App) -> Result<()> {
    let _turn = app.key.loading.lock().await;
    let fault = |error: ConfigError| Error::because(Code::InternalServerError, error);
    let mut keys = of_settings(&app.config).map_err(fault)?;
    let now = clock::now();
    let seals = seals(&app.config)?;
    let rows = store::all(app.database.reader()).await?;
    for (row, state) in with_states(app, &[app.config.jwt_algorithm], &seals, rows, now) {
        let Some(key) = opened(&seals, &row).map(Arc::new) else { continue };
        keys = match state {
            Phase::Active => keys.with_access(key),
            Phase::Pending | Phase::Verifying => keys.with_previous(key),
            _ => keys,
        };
    }
    app.key.verifier.replace_keys(keys);
    clients::read(app, &seals, now).await
}

/// Returns true if there is a key that signs access tokens.
pub fn signs(app: &App) -> bool {
    app.key.verifier.keys().access(&app.config.jwt_audience).is_some()
}

/// Logs an error if this server has no key to sign with. A command signs nothing, and its settings can have another
/// algorithm than the servers.
fn report_unsigned(app: &App) {
    if !signs(app) {
        tracing::error!(
            "no key can sign: the keys in the database are retired, or were encrypted with another \
             APP_SECRET"
        );
    }
}

/// Records, once every [`NOTED_EVERY`] seconds, which key of the database this server signs with. So every server knows
/// when all tokens of the key have expired. Its own settings do not matter.
///
/// # Errors
///
/// If the database does not answer.
async fn note_signing(app: &App) -> Result<()> {
    let keys = app.key.verifier.keys();
    let Some(key) = keys.access(&app.config.jwt_audience).filter(|key| key.public().is_some())
    else {
        return Ok(());
    };
    let now = clock::now();
    let since = now.minus_seconds(NOTED_EVERY);
    let note = store::noting(key.id(), now, since).build(app.database.backend());
    statement(app, note).await.map(drop)
}

/// Creates the first key of the configured algorithm, if there is no usable one, and records that it signs. If several
/// replicas start at once, only one of them creates a key.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn prepare(app: &App) -> Result<()> {
    let seals = seals(&app.config)?;
    let algorithm = app.config.jwt_algorithm;
    let mut work = UnitOfWork::begin(app).await?;
    lock_keys(&work).await?;
    let now = clock::now();
    let mut signs = algorithm == SigningAlgorithm::Hs256;
    let rows = store::all(&*work).await?;
    for (row, state) in with_states(app, &[algorithm], &seals, rows, now) {
        if state == Phase::Active {
            signs = true;
            let was_withdrawn = is_withdrawn(app, &row, now);
            store::note_signing(&*work, &row.kid, now, now).await?;
            if was_withdrawn {
                // The other servers must accept the key again before it signs.
                work.notify(CHANGED);
            }
        }
        if state == Phase::Unreadable {
            tracing::warn!(
                key.id = row.kid,
                "a signing key was encrypted with another APP_SECRET, so its tokens are refused; \
                 if you have that secret, add it to APP_SECRET_PREVIOUS"
            );
        }
    }
    if !signs {
        let row = create(&work, &seals[0], ACCESS, algorithm, (now, now)).await?;
        store::note_signing(&*work, &row.kid, now, now).await?;
        tracing::info!(key.id = row.kid, key.algorithm = row.algorithm, "a signing key was made");
    }
    work.commit().await
}

/// Encrypts with the current secret the keys that a previous secret encrypted. Returns the number of these keys.
/// Servers that know only the previous secret cannot use the keys any more. So an operator asks for this when every
/// server knows both secrets.
///
/// # Errors
///
/// If the database does not answer.
pub async fn reseal(app: &App) -> Result<u64> {
    let seals = seals(&app.config)?;
    let mut work = UnitOfWork::begin(app).await?;
    lock_keys(&work).await?;
    let mut resealed = 0;
    for row in store::all_of_any_purpose(&*work).await? {
        if seals[0].open(&row.kid, row.sealed.expose()).is_none()
            && let Some(private) = unsealed(&seals, &row)
        {
            let sealed = seals[0].seal(&row.kid, private);
            store::reseal(&*work, &row.kid, sealed).await?;
            resealed += 1;
        }
    }
    if resealed > 0 {
        let entry = Entry::new(Act::KeyReseal, Actor::of(&"operator"));
        work.record(entry.with("keys", resealed));
    }
    work.commit().await?;
    Ok(resealed)
}

async fn create(
    transaction: &DatabaseTransaction,
    seal: &Seal,
    purpose: &str,
    algorithm: SigningAlgorithm,
    (now, active): (Timestamp, Timestamp),
) -> Result<Model> {
    let fault = |error| Error::because(Code::InternalServerError, error);
    // The search for primes takes a while.
    #[expect(clippy::disallowed_methods, reason = "only superusers ask for it, and rarely")]
    let made = tokio::task::spawn_blocking(move || random::private_key(algorithm)).await;
    let private = made.map_err(|error| Error::because(Code::InternalServerError, error))?;
    let kid = Key::from_pkcs8(algorithm, &private).map_err(fault)?.id().to_owned();
    let row = Model {
        sealed: seal.seal(&kid, private).into(),
        kid,
        purpose: purpose.to_owned(),
        algorithm: algorithm.name().to_owned(),
        created_at: now.millis(),
        active_at: active.millis(),
        retired_at: None,
        last_signed_at: None,
    };
    store::insert(transaction, row.clone()).await?;
    Ok(row)
}

/// Returns the seal of the current secret, then those of previous secrets.
fn seals(config: &Config) -> Result<Vec<Seal>> {
    let fault = |error: ConfigError| Error::because(Code::InternalServerError, error);
    let secret = config.signing_secret().map_err(fault)?;
    Ok(seals_of(&secret, config, derived_key::SIGNING_KEYS))
}

fn unsealed(seals: &[Seal], row: &Model) -> Option<Vec<u8>> {
    seals.iter().find_map(|seal| seal.open(&row.kid, row.sealed.expose()))
}

fn opened(seals: &[Seal], row: &Model) -> Option<Key> {
    Key::from_pkcs8(row.algorithm.parse().ok()?, &unsealed(seals, row)?).ok()
}

/// Returns the rows for access tokens in the order in which they begin to sign, each with its phase for servers that
/// sign with these algorithms.
fn with_states(
    app: &App,
    algorithms: &[SigningAlgorithm],
    seals: &[Seal],
    rows: Vec<Model>,
    now: Timestamp,
) -> Vec<(Model, Phase)> {
    let life = app.revocation.longest_life().max(app.config.access_token_expires);
    states_of(app, algorithms, seals, rows, now, life)
}

/// Returns the rows in the order in which they begin to sign, each with its phase for servers that sign with these
/// algorithms, and whose tokens live for at most `life` seconds.
fn states_of(
    app: &App,
    algorithms: &[SigningAlgorithm],
    seals: &[Seal],
    rows: Vec<Model>,
    now: Timestamp,
    life: u64,
) -> Vec<(Model, Phase)> {
    let readable: Vec<_> = rows.iter().map(|row| unsealed(seals, row).is_some()).collect();
    let active_of = |algorithm: &SigningAlgorithm| {
        let mut usable = (0..rows.len()).filter(|position| {
            let row = &rows[*position];
            row.algorithm == algorithm.name() && row.retired_at.is_none() && readable[*position]
        });
        // The first key does not have to wait, because nothing else signs.
        let first = usable.next()?;
        Some(usable.rfind(|position| rows[*position].active_at <= now.millis()).unwrap_or(first))
    };
    let active: Vec<_> = algorithms.iter().filter_map(active_of).collect();
    // Tokens of a key can be valid for the lifetime of an access token after the next key began to sign.
    let life = life + MAX_LEEWAY;
    let over = |row: &Model| {
        let next = active.iter().map(|active| &rows[*active]);
        let mut next = next.filter(|next| next.algorithm == row.algorithm);
        next.any(|next| Timestamp::from_millis(next.active_at).plus_seconds(life) <= now)
    };
    let state = |position: usize, row: &Model| {
        if row.retired_at.is_some() {
            Phase::Retired
        } else if !readable[position] {
            Phase::Unreadable
        } else if active.contains(&position) {
            Phase::Active
        } else if row.active_at > now.millis() {
            Phase::Pending
        } else if over(row) || is_withdrawn(app, row, now) {
            Phase::Past
        } else {
            Phase::Verifying
        }
    };
    let states: Vec<_> =
        rows.iter().enumerate().map(|(position, row)| state(position, row)).collect();
    rows.into_iter().zip(states).collect()
}

/// Returns true if no server has signed with the key for so long that all its tokens have expired. This happens if the
/// settings now have another algorithm. A key that never signed stays published, because the settings may choose its
/// algorithm later.
fn is_withdrawn(app: &App, row: &Model, now: Timestamp) -> bool {
    // A server may have signed until just before it would have recorded that again.
    let longest = app.revocation.longest_life().max(app.config.access_token_expires);
    let life = longest + MAX_LEEWAY + 2 * NOTED_EVERY;
    let last = row.last_signed_at.map(Timestamp::from_millis);
    last.is_some_and(|last| last.plus_seconds(life) <= now)
}

/// Returns the keys of the database, in the order in which they begin to sign. Each has the phase that it has for
/// servers which sign with these algorithms.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, algorithms: &[SigningAlgorithm]) -> Result<Vec<SigningKey>> {
    let rows = store::all(app.database.reader()).await?;
    let keys = with_states(app, algorithms, &seals(&app.config)?, rows, clock::now());
    Ok(keys.into_iter().map(|(row, state)| seen(row, state)).collect())
}

fn seen(row: Model, state: Phase) -> SigningKey {
    let Model {
        kid,
        purpose: _,
        algorithm,
        sealed: _,
        created_at,
        active_at,
        retired_at: _,
        last_signed_at: _,
    } = row;
    let seconds = |millis| Timestamp::from_millis(millis).seconds();
    SigningKey { kid, algorithm, state, created: seconds(created_at), active: seconds(active_at) }
}

/// Returns the algorithm of the next key: the named one, otherwise that of the settings.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] if none is named and the settings have HS256, which has no keys in the database.
pub(crate) fn algorithm_of_next(
    app: &App,
    named: Option<SigningAlgorithm>,
) -> Result<SigningAlgorithm> {
    match named.unwrap_or(app.config.jwt_algorithm) {
        SigningAlgorithm::Hs256 => {
            let sentence = "HS256 signs with APP_SECRET and has no keys. Name another algorithm";
            Err(Error::field("algorithm", sentence))
        }
        algorithm => Ok(algorithm),
    }
}

/// Creates the next key and returns its id. The key is published at once. It signs when services have had the time to
/// read it, or at once with `at_once`.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn create_next(
    app: &App,
    work: &mut UnitOfWork<'_>,
    algorithm: SigningAlgorithm,
    at_once: bool,
) -> Result<String> {
    let seals = seals(&app.config)?;
    let now = clock::now();
    let active = if at_once { now } else { now.plus_seconds(PUBLISHED_BEFORE) };
    let row = create(work, &seals[0], ACCESS, algorithm, (now, active)).await?;
    work.notify(CHANGED);
    Ok(row.kid)
}

/// Retires a key and deletes its private key. From now on, tokens that it signed are refused.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such key or it is retired; [`Code::KeyInUse`] if the key signs. Without `force`,
/// also [`Code::KeyInUse`] if the key would sign with its own algorithm in the settings, because another server may
/// have such settings.
pub(crate) async fn retire(
    app: &App,
    work: &mut UnitOfWork<'_>,
    kid: &str,
    force: bool,
) -> Result<()> {
    let seals = seals(&app.config)?;
    // If two keys are retired at once, one must stay.
    lock_keys(work).await?;
    let rows = store::all(&**work).await?;
    let keys = with_states(app, &[app.config.jwt_algorithm], &seals, rows, clock::now());
    let (_, state) = keys.iter().find(|(row, _)| row.kid == kid).ok_or(Code::NotFound)?;
    let now = clock::now();
    let would_sign = |algorithm: &str| {
        let usable = keys.iter().filter(|(row, state)| {
            row.algorithm == algorithm && ![Phase::Retired, Phase::Unreadable].contains(state)
        });
        let active = usable.clone().rfind(|(row, _)| row.active_at <= now.millis());
        active.or(usable.clone().next()).map(|(row, _)| row.kid.as_str())
    };
    let algorithm = &keys.iter().find(|(row, _)| row.kid == kid).ok_or(Code::NotFound)?.0.algorithm;
    match state {
        Phase::Retired => return Err(Code::NotFound.into()),
        Phase::Active => return Err(Code::KeyInUse.into()),
        _ if !force && would_sign(algorithm) == Some(kid) => return Err(Code::KeyInUse.into()),
        _ => {}
    }
    store::retire(&**work, kid, now).await?;
    let until = Life::read(app, &**work).await?.of_key(now);
    revocation::write_key(work, kid, now, until).await?;
    work.appends();
    work.notify(CHANGED);
    Ok(())
}
