//! Keys: what signs tokens, and what verifies them.
//!
//! With HS256 that is the secret of the settings. With the other algorithms access tokens are signed
//! by private keys that the database keeps, encrypted under a key derived from that secret, and
//! anybody may verify them with the public ones. Refresh tokens, which only Tessera reads, are always
//! signed with a key that is derived from the secret for them alone.

pub(crate) mod http;
pub(crate) mod jobs;
mod store;

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
use crate::platform::unit_of_work::{UnitOfWork, statement};

/// How long a key is published before it signs, in seconds: twice as long as services may keep what
/// was published.
pub const PUBLISHED_BEFORE: u64 = 600;

/// How often servers note that they sign with a key, in seconds.
const NOTED_EVERY: u64 = 60;

/// The keys in memory, and what decides with them which tokens are valid.
#[derive(Debug)]
pub struct State {
    /// Decides which tokens are valid, and holds the keys that sign.
    pub verifier: Arc<Verifier>,
    /// Stands before operations that require a token.
    pub guard: Guard,
    /// Held from reading the keys until they are in use: of two that read at once, the first to read would
    /// otherwise put older keys over newer ones.
    loading: tokio::sync::Mutex<()>,
}

impl State {
    /// With the keys of the settings alone, and this list of what is revoked.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a secret that tokens cannot be signed with.
    pub(crate) fn new(config: &Config, revoked: Arc<RevocationList>) -> Result<Self, ConfigError> {
        let keys = of_settings(config)?;
        let verifier = Verifier::new(keys, config.public_url.as_str(), &config.jwt_audience)
            .of_sessions_alone()
            .more_audiences(config.jwt_audiences.clone())
            .leeway(config.jwt_leeway)
            .max_access_lifetime(config.access_token_expires);
        let verifier =
            if config.blacklist_enabled { verifier.revocations(revoked) } else { verifier };
        let verifier = Arc::new(verifier);
        let guard = Guard::new(Arc::clone(&verifier)).fresh_for(config.fresh_token_expires);
        Ok(Self { verifier, guard, loading: tokio::sync::Mutex::default() })
    }
}

/// The notice that keys were changed: every replica reads them again.
pub(crate) const CHANGED: Kind = Kind("key");

/// What a key of the database is for at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is published, and signs later.
    Pending,
    /// It signs.
    Active,
    /// It signs no more; what it signed is accepted.
    Verifying,
    /// Nothing that it signed can still be valid.
    Past,
    /// It was retired by hand, and what it signed is not accepted.
    Retired,
    /// It was kept under another secret, and cannot be used.
    Unreadable,
}

impl Phase {
    /// The name of the state, in lower case.
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

/// A key of the database, without what is private. Instants are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Its name, as `kid` says it.
    pub kid: String,
    /// What it signs with.
    pub algorithm: String,
    /// What it is for at this moment.
    pub state: Phase,
    /// When it was made.
    pub created: u64,
    /// When it begins to sign.
    pub active: u64,
}

/// The keys that the settings give: they need no database.
///
/// # Errors
///
/// [`ConfigError`] for a secret that tokens cannot be signed with.
fn of_settings(config: &Config) -> Result<KeySet, ConfigError> {
    let secret = config.signing_secret()?;
    let refresh = |secret: &Secret| Key::refresh(secret.expose().as_bytes());
    let mut keys = KeySet::default().with_refresh(refresh(&secret));
    for previous in &config.app_secret_previous {
        keys = keys.with_previous(refresh(previous));
    }
    if config.jwt_algorithm != SigningAlgorithm::Hs256 {
        // Whoever verified with the secret before must not make access tokens with it now.
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

/// Reads the keys of the database, and has tokens signed and checked with them from now on. Of several
/// at once, one begins after the other has ended.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn load(app: &App) -> Result<()> {
    let _turn = app.key.loading.lock().await;
    let fault = |error: ConfigError| Error::because(Code::InternalServerError, error);
    let mut keys = of_settings(&app.config).map_err(fault)?;
    let now = clock::now();
    let seals = seals(&app.config)?;
    let rows = store::all(app.database.reader()).await?;
    for (row, state) in with_states(app, &seals, rows, now) {
        let Some(key) = opened(&seals, &row) else { continue };
        keys = match state {
            Phase::Active => keys.with_access(key),
            Phase::Pending | Phase::Verifying => keys.with_previous(key),
            _ => keys,
        };
    }
    if keys.access(&app.config.jwt_audience).is_none() {
        tracing::error!(
            "no key signs: those of the database were kept under another APP_SECRET, or retired"
        );
    }
    app.key.verifier.replace_keys(keys);
    Ok(())
}

/// Whether there is a key that signs access tokens.
pub fn signs(app: &App) -> bool {
    app.key.verifier.keys().access(&app.config.jwt_audience).is_some()
}

/// Notes, once in [`NOTED_EVERY`], which key of the database this server signs with. By that every
/// server knows when nothing that the key signed can be valid any more, whatever its own settings are.
///
/// # Errors
///
/// When the database does not answer.
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

/// Makes the first key of the algorithm of the settings, if there is none that can be used, and notes
/// that it signs. Of replicas that start at once, one makes it.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn prepare(app: &App) -> Result<()> {
    let seals = seals(&app.config)?;
    let algorithm = app.config.jwt_algorithm;
    let mut work = UnitOfWork::begin(app).await?;
    lock_keys(&work).await?;
    let now = clock::now();
    let mut signs = algorithm == SigningAlgorithm::Hs256;
    let rows = store::all(&*work).await?;
    for (row, state) in with_states(app, &seals, rows, now) {
        if state == Phase::Active {
            signs = true;
            let was_withdrawn = is_withdrawn(app, &row, now);
            store::note_signing(&*work, &row.kid, now, now).await?;
            if was_withdrawn {
                // The other servers must accept it again before it signs.
                work.notify(CHANGED);
            }
        }
        if state == Phase::Unreadable {
            tracing::warn!(
                key.id = row.kid,
                "a signing key was kept under another APP_SECRET, and its tokens are not accepted; \
                 APP_SECRET_PREVIOUS may name that secret"
            );
        }
    }
    if !signs {
        let row = create(&work, &seals[0], algorithm, now, now).await?;
        store::note_signing(&*work, &row.kid, now, now).await?;
        tracing::info!(key.id = row.kid, key.algorithm = row.algorithm, "a signing key was made");
    }
    work.commit().await
}

/// Keeps under the current secret what was kept under a previous one; says how many keys that were.
/// Servers that know the previous one alone cannot use them any more: so this is asked for, once
/// every server knows both.
///
/// # Errors
///
/// When the database does not answer.
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
    algorithm: SigningAlgorithm,
    now: Timestamp,
    active: Timestamp,
) -> Result<Model> {
    let fault = |error| Error::because(Code::InternalServerError, error);
    // Looking for primes takes a while.
    #[expect(clippy::disallowed_methods, reason = "superusers alone ask for it, and seldom")]
    let made = tokio::task::spawn_blocking(move || random::private_key(algorithm)).await;
    let private = made.map_err(|error| Error::because(Code::InternalServerError, error))?;
    let kid = Key::from_pkcs8(algorithm, &private).map_err(fault)?.id().to_owned();
    let row = Model {
        sealed: seal.seal(&kid, private).into(),
        kid,
        purpose: ACCESS.to_owned(),
        algorithm: algorithm.name().to_owned(),
        created_at: now.millis(),
        active_at: active.millis(),
        retired_at: None,
        last_signed_at: None,
    };
    store::insert(transaction, row.clone()).await?;
    Ok(row)
}

/// The current secret's seal, then those of previous ones.
fn seals(config: &Config) -> Result<Vec<Seal>> {
    let fault = |error: ConfigError| Error::because(Code::InternalServerError, error);
    let secret = config.signing_secret().map_err(fault)?;
    Ok(seals_of(&secret, config, derived_key::SIGNING_KEYS))
}

fn unsealed(seals: &[Seal], row: &Model) -> Option<Vec<u8>> {
    seals.iter().find_map(|seal| seal.open(&row.kid, row.sealed.expose()))
}

fn opened(seals: &[Seal], row: &Model) -> Option<Arc<Key>> {
    let key = Key::from_pkcs8(row.algorithm.parse().ok()?, &unsealed(seals, row)?).ok()?;
    Some(Arc::new(key))
}

/// The rows in the order in which they begin to sign, each with what it is for now.
fn with_states(app: &App, seals: &[Seal], rows: Vec<Model>, now: Timestamp) -> Vec<(Model, Phase)> {
    let readable: Vec<_> = rows.iter().map(|row| unsealed(seals, row).is_some()).collect();
    let own = app.config.jwt_algorithm.name();
    let mut usable = (0..rows.len()).filter(|position| {
        let row = &rows[*position];
        row.algorithm == own && row.retired_at.is_none() && readable[*position]
    });
    // The first one need not wait: nothing else signs.
    let first = usable.next();
    let active = first.map(|first| {
        usable.rfind(|position| rows[*position].active_at <= now.millis()).unwrap_or(first)
    });
    // What a key signed lives for as long as an access token from when the next one took over.
    let life = app.revocation.longest_life().max(app.config.access_token_expires) + MAX_LEEWAY;
    let taken_over = active.map(|active| Timestamp::from_millis(rows[active].active_at));
    let over = taken_over.is_some_and(|time| time.plus_seconds(life) <= now);
    let state = |position: usize, row: &Model| {
        if row.retired_at.is_some() {
            Phase::Retired
        } else if !readable[position] {
            Phase::Unreadable
        } else if active == Some(position) {
            Phase::Active
        } else if row.active_at > now.millis() {
            Phase::Pending
        } else if (over && row.algorithm == own) || is_withdrawn(app, row, now) {
            Phase::Past
        } else {
            Phase::Verifying
        }
    };
    let states: Vec<_> =
        rows.iter().enumerate().map(|(position, row)| state(position, row)).collect();
    rows.into_iter().zip(states).collect()
}

/// Whether no server has signed with a key for so long that nothing it signed can be valid: the settings
/// have another algorithm now. A key that never signed is published for the day on which they have its
/// own.
fn is_withdrawn(app: &App, row: &Model, now: Timestamp) -> bool {
    // A server may have signed until it was about to note it again.
    let longest = app.revocation.longest_life().max(app.config.access_token_expires);
    let life = longest + MAX_LEEWAY + 2 * NOTED_EVERY;
    let last = row.last_signed_at.map(Timestamp::from_millis);
    last.is_some_and(|last| last.plus_seconds(life) <= now)
}

/// The keys of the database, in the order in which they begin to sign.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(app: &App) -> Result<Vec<SigningKey>> {
    let rows = store::all(app.database.reader()).await?;
    let keys = with_states(app, &seals(&app.config)?, rows, clock::now());
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

/// The algorithm of the next key: the one that is named, else that of the settings.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] where none is named and that of the settings has no keys.
pub(crate) fn algorithm_of_next(
    app: &App,
    named: Option<SigningAlgorithm>,
) -> Result<SigningAlgorithm> {
    match named.unwrap_or(app.config.jwt_algorithm) {
        SigningAlgorithm::Hs256 => {
            let sentence = "HS256 signs with APP_SECRET: name another algorithm";
            Err(Error::field("algorithm", sentence))
        }
        algorithm => Ok(algorithm),
    }
}

/// Makes the next key, and returns its name. It is published at once, and signs once services had the time to read it;
/// with `at_once`, at once.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn create_next(
    app: &App,
    work: &mut UnitOfWork<'_>,
    algorithm: SigningAlgorithm,
    at_once: bool,
) -> Result<String> {
    let seals = seals(&app.config)?;
    let now = clock::now();
    let active = if at_once { now } else { now.plus_seconds(PUBLISHED_BEFORE) };
    let row = create(work, &seals[0], algorithm, now, active).await?;
    work.notify(CHANGED);
    Ok(row.kid)
}

/// Retires a key: what it signed is not accepted any more, at once, and what is private of it is
/// forgotten.
///
/// # Errors
///
/// [`Code::NotFound`]; [`Code::KeyInUse`] for the one that signs, and unless `force`d for the one that
/// would sign if the settings named its algorithm: those of a server may.
pub(crate) async fn retire(
    app: &App,
    work: &mut UnitOfWork<'_>,
    kid: &str,
    force: bool,
) -> Result<()> {
    let seals = seals(&app.config)?;
    // Of two that are retired at once, one must stay.
    lock_keys(work).await?;
    let rows = store::all(&**work).await?;
    let keys = with_states(app, &seals, rows, clock::now());
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
    work.notify(CHANGED);
    Ok(())
}
