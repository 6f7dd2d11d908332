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
//! | [`federation`] | people who sign in with other providers |
//! | [`provider`] | OAuth 2 and OpenID Connect for other applications |
//! | [`self_service`] | actions of users on their own accounts |
//! | [`admin`] | actions of administrators on other accounts |
//! | `routes` | every route; it imports all features, and nothing imports it |
//!
//! Each wing imports those before it: base ← http ← platform ← identity ← access ← federation ← provider ← self_service ←
//! admin ← routes.
//!
//! The rules of a feature are in its `mod.rs`, its queries in `store.rs`, its JSON operations in `http.rs`, and its
//! HTML pages in `pages.rs`.

pub mod access;
pub mod admin;
pub mod app;
pub mod base;
pub mod federation;
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
use base::config::{Config, ConfigError, Migrate};
use base::database::{self, Database, NameLock};
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
    within(key::note_secret(&app), "the secret could not be noted").await?;
    admin::client::declare(&app).await?;
    if !app.config.blacklist_enabled {
        tracing::warn!(
            "BLACKLIST_ENABLED is off: revoked access tokens are accepted until they expire"
        );
    }
    Ok(app)
}

/// Reads the templates of pages and mails again. Returns a sentence for each kind that cannot be used; it stays as it is.
/// This blocks, because it reads files.
pub fn reload(app: &App) -> Vec<String> {
    let pages = app.read_pages().map(drop).err();
    let mails = app.mail.read_templates(&app.config).err();
    pages.into_iter().chain(mails).map(fault).collect()
}

/// Checks the settings without a connection, and without writing anything. Returns faults, with which a server cannot
/// start, and warnings.
pub fn check_settings(mut config: Config) -> (Vec<String>, Vec<String>) {
    let mut faults = config.complete_all();
    let (weak, unusable) = config.judge_secrets();
    faults.extend(unusable);
    faults.extend(check_mail(&config).err());
    faults.extend(session::State::new(&config).err());
    faults.extend(client::check_declared(&config).err().map(|fault| ConfigError::new(&fault)));
    faults.extend(factor::check_breach_filter(&config).err());
    faults.extend(http::Pages::read(&config.pages).err());
    let mut warnings = config.warnings();
    match http::check_tls(&config) {
        Ok(more) => warnings.extend(more),
        Err(fault) => faults.push(fault),
    }
    warnings.extend(weak);
    warnings.extend(config.database_url.notes().iter().cloned());
    (faults.into_iter().map(fault).collect(), warnings)
}

/// Checks the settings of mail. `complete_all` names a missing MAIL_FROM, so MAIL_URL is checked with another sender.
fn check_mail(config: &Config) -> Result<(), ConfigError> {
    let mut config = config.clone();
    if config.mail.mail_from.is_none() {
        config.mail.mail_from = "tessera@example.com".parse().ok();
    }
    // The client for the mail server needs a runtime, even if it sends nothing.
    let runtime = Handle::try_current().is_err().then(Runtime::new).and_then(Result::ok);
    let _entered = runtime.as_ref().map(Runtime::enter);
    mail::State::new(&config).map(drop)
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

/// Prepares the command that restores a backup: like [`open_with_secret`], and it always applies the migrations. It
/// refuses a secret that does not belong to the database.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn open_restored(config: Config) -> Result<App, String> {
    let app = open_with_secret(Config { migrate: Migrate::Auto, ..config }).await?;
    match within(key::fit_of_secret(&app), "the secret could not be checked").await? {
        key::Fit::Foreign => Err(
            "the database was used with another APP_SECRET, and its keys cannot be opened with \
             this one: set APP_SECRET to the secret that its servers had, or add that secret to \
             APP_SECRET_PREVIOUS"
                .to_owned(),
        ),
        key::Fit::Fits | key::Fit::Unknown => Ok(app),
    }
}

/// Closes the connections of a command that needs its database no longer.
pub async fn close(app: App) {
    app.database.close().await;
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
    let name = NameLock::share(&config.database_url).await?;
    let connecting = Database::connect(config, name);
    let database = within(connecting, "the database of DATABASE_URL does not answer")
        .await
        .map_err(|fault| format!("{fault}: {}", database::advice(&config.database_url, &fault)))?;
    database.check_schema(&config.database_url).await?;
    database.check_release().await?;
    Ok(database)
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
