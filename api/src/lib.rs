//! The identity provider. It registers users, checks how they prove their identity, and issues and revokes tokens.
//!
//! A wing is a top-level module, and contains features:
//!
//! | module | content |
//! |---|---|
//! | [`base`] | clock, randomness, settings, database and errors; it knows no feature |
//! | [`http`] | the modules that every request passes: server, layers, bodies, cookies, pages |
//! | [`platform`] | audit, revocations, keys, jobs, mails, rate limits, replicas |
//! | [`identity`] | users and services, and how they prove their identity |
//! | [`access`] | sessions and API tokens, callers, introspection |
//! | [`provider`] | OAuth 2 and OpenID Connect for other applications |
//! | [`self_service`] | actions of users on their own accounts |
//! | [`admin`] | actions of administrators on other accounts |
//! | `routes` | every route; it imports all features, and nothing imports it |
//!
//! Each wing imports those before it: base ← http ← platform ← identity ← access ← provider ← self_service ← admin ←
//! routes.
//!
//! The rules of a feature are in its `mod.rs`, its queries in `store.rs`, its JSON operations in `http.rs`, and its
//! HTML pages in `pages.rs`.

pub mod access;
pub mod admin;
pub mod app;
pub mod base;
pub mod http;
pub mod identity;
pub mod local;
pub mod platform;
pub mod provider;
mod routes;
pub mod self_service;

pub use routes::{document, serve};

use access::session;
use admin::client;
use app::App;
use base::clock;
use base::config::{Config, ConfigError};
use base::database::{self, Database};
use identity::factor;
use platform::{key, mail, notice, revocation};
use tokio::runtime::{Handle, Runtime};

/// Prepares a server: connects to the database, applies migrations as the settings require, makes the first signing key
/// if one is needed, and reads the revocations.
///
/// # Errors
///
/// A sentence for the operator, if a part fails. It names the setting, but never contains its value.
pub async fn start(config: Config) -> Result<App, String> {
    // Before the database, because an unusable secret can be refused without a connection.
    config.check_secrets().map_err(fault)?;
    let app = assemble(config).await?;
    load_revocations(&app).await?;
    app.factor.breach_filter(&app.config).map_err(fault)?;
    app.pages().map_err(fault)?;
    within(revocation::jobs::note_life(&app), "the lifetime of tokens could not be recorded")
        .await?;
    within(key::prepare(&app), "the first signing key could not be made").await?;
    within(key::load(&app), "the signing keys could not be read").await?;
    admin::client::declare(&app).await?;
    if !app.config.blacklist_enabled {
        tracing::warn!(
            "BLACKLIST_ENABLED is off: revoked access tokens are accepted until they expire"
        );
    }
    Ok(app)
}

/// Checks the settings without a connection, and without writing anything. Returns faults, with which a server cannot
/// start, and warnings.
pub fn check_settings(mut config: Config) -> (Vec<String>, Vec<String>) {
    let mut faults = config.complete_all();
    let (weak, unusable) = config.judge_secrets();
    faults.extend(unusable);
    if config.mail.mail_url.is_none() || config.mail.mail_from.is_some() {
        // The client for the mail server needs a runtime, even if it sends nothing.
        let runtime = Handle::try_current().is_err().then(Runtime::new).and_then(Result::ok);
        let _entered = runtime.as_ref().map(Runtime::enter);
        faults.extend(mail::State::new(&config).err());
    }
    faults.extend(session::State::new(&config).err());
    faults.extend(client::check_declared(&config).err().map(|fault| ConfigError::new(&fault)));
    faults.extend(factor::check_breach_filter(&config).err());
    faults.extend(http::Pages::read(&config.pages).err());
    let mut warnings = config.warnings();
    warnings.extend(weak);
    warnings.extend(config.database_url.notes().iter().cloned());
    (faults.into_iter().map(fault).collect(), warnings)
}

/// Prepares a command that reads keys, like [`start`] but without making a key and without reading the revocations.
///
/// # Errors
///
/// A sentence for the operator, if a part fails.
pub async fn open_with_secret(config: Config) -> Result<App, String> {
    let config = config.with_kept_secret();
    config.check_secrets_quietly().map_err(fault)?;
    config.database_url.require_there()?;
    let app = assemble(config).await?;
    within(key::load(&app), "the signing keys could not be read").await?;
    Ok(app)
}

/// Prepares a command that decides whether tokens are accepted, like [`open_with_secret`] and with the revocations. Other
/// commands ask the table about the tokens that they need to know about, because there can be millions of revocations.
///
/// # Errors
///
/// A sentence for the operator, if a part fails.
pub async fn open_with_revocations(config: Config) -> Result<App, String> {
    let app = open_with_secret(config).await?;
    load_revocations(&app).await?;
    Ok(app)
}

/// Prepares a command that signs nothing and checks no token. If no secret is set, it gets a random one that is never
/// stored.
///
/// # Errors
///
/// A sentence for the operator, if a part fails or a SQLite database does not exist.
pub async fn open(config: Config) -> Result<App, String> {
    config.database_url.require_there()?;
    open_or_make(config).await
}

/// Prepares a command like [`open`], but creates a SQLite database that does not exist.
///
/// # Errors
///
/// A sentence for the operator, if a part fails.
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
    Ok(app)
}

/// Reads the revocations. There is no time limit for all of them, because there can be many. Each answer of the database
/// has a limit.
async fn load_revocations(app: &App) -> Result<(), String> {
    revocation::load(app, app.database.reader())
        .await
        .map_err(|error| format!("the revocations could not be read ({error})"))
}

/// Connects to the database of the settings.
///
/// # Errors
///
/// A sentence for the operator, if the database does not answer, or is behind a pooler in transaction mode that
/// `DATABASE_URL` does not mention.
pub async fn connect(config: &Config) -> Result<Database, String> {
    config.database_url.check().await?;
    let connecting = Database::connect(&config.database_url, config.sqlite_synchronous);
    within(connecting, "the database of DATABASE_URL does not answer")
        .await
        .map_err(|fault| format!("{fault}: {}", database::advice(&config.database_url, &fault)))
}

/// Waits at most 8 seconds for a part of a start. The error begins with `fault`.
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
