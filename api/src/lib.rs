//! The identity provider: registers people, proves who they are, issues tokens, takes them back.
//!
//! Wings, and features within a wing:
//!
//! | module | holds |
//! |---|---|
//! | [`base`] | clock, randomness, settings, database, errors: it knows no feature |
//! | [`http`] | every request passes here: server, layers, bodies, cookies, pages |
//! | [`platform`] | audit, revocations, keys, jobs, mails, rate limits, replicas |
//! | [`identity`] | users and services, and how they prove who they are |
//! | [`access`] | sessions and API tokens, callers, introspection |
//! | [`self_service`] | people and their own accounts |
//! | [`admin`] | administrators and the accounts of others |
//! | `routes` | every route: it sees everything, and nobody imports it |
//!
//! Each wing imports those before it: base ← http ← platform ← identity ← access ← self_service ← admin ← routes.
//!
//! A feature's rules are its `mod.rs`, its queries `store.rs`, its JSON `http.rs`, its HTML `pages.rs`.

pub mod access;
pub mod admin;
pub mod app;
pub mod base;
pub mod http;
pub mod identity;
pub mod local;
pub mod platform;
mod routes;
pub mod self_service;

pub use routes::{document, serve};

use app::App;
use base::clock;
use base::config::{Config, ConfigError};
use base::database::Database;
use platform::{key, notice, revocation};

/// Connects, brings the schema up to date as the settings ask, makes the first key where one is needed,
/// and reads what was revoked: what a server starts with.
///
/// # Errors
///
/// A sentence for the operator, with the setting's name and never its value.
pub async fn start(config: Config) -> Result<App, String> {
    // Before the database: a secret that cannot sign needs no connection to be refused.
    config.check_secrets().map_err(fault)?;
    let app = assemble(config).await?;
    app.factor.breach_filter(&app.config).map_err(fault)?;
    app.pages().map_err(fault)?;
    within(revocation::jobs::note_life(&app), "it could not be noted how long tokens live").await?;
    within(key::prepare(&app), "the first signing key could not be made").await?;
    within(key::load(&app), "the signing keys could not be read").await?;
    if !app.config.blacklist_enabled {
        tracing::warn!("BLACKLIST_ENABLED is off: revoked tokens are accepted until they expire");
    }
    Ok(app)
}

/// As [`start`], for who looks at tokens and keys beside the servers: no key is made.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn open_with_secret(config: Config) -> Result<App, String> {
    let config = config.with_kept_secret();
    config.check_secrets_quietly().map_err(fault)?;
    config.database_url.require_there()?;
    let app = assemble(config).await?;
    within(key::load(&app), "the signing keys could not be read").await?;
    Ok(app)
}

/// As [`start`], for what signs nothing and checks no token: without a secret, one is made up that
/// nobody ever hears of.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn open(config: Config) -> Result<App, String> {
    config.database_url.require_there()?;
    open_or_make(config).await
}

/// As [`open`], where the database may be made.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn open_or_make(config: Config) -> Result<App, String> {
    assemble(config.with_some_secret()).await
}

async fn assemble(config: Config) -> Result<App, String> {
    if let Some(file) = &config.clock_file {
        clock::move_by(file.clone());
    }
    let database = connect(&config).await?;
    database.prepare(config.migrate).await?;
    let app = App::new(config, database, notice::State::new(routes::NOTICES)).map_err(fault)?;
    within(notice::begin(&app), "the notices could not be read").await?;
    // However many there are: only each answer of the database must come in time.
    revocation::load(&app, app.database.reader())
        .await
        .map_err(|error| format!("the revocations could not be read ({error})"))?;
    Ok(app)
}

/// Connects to the database of the settings.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn connect(config: &Config) -> Result<Database, String> {
    let connecting = Database::connect(&config.database_url, config.sqlite_synchronous);
    within(connecting, "the database of DATABASE_URL does not answer")
        .await
        .map_err(|fault| format!("{fault}: check that it runs and that the URL is right"))
}

/// What a start waits for, each part of it, before it gives up.
async fn within<T, E: std::fmt::Display>(
    part: impl Future<Output = Result<T, E>>,
    fault: &str,
) -> Result<T, String> {
    match tokio::time::timeout(std::time::Duration::from_secs(8), part).await {
        Ok(outcome) => outcome.map_err(|error| format!("{fault} ({error})")),
        Err(_) => Err(format!("{fault} (no answer in 8 seconds)")),
    }
}

fn fault(error: ConfigError) -> String {
    error.to_string()
}
