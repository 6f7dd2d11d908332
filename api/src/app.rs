//! Everything a rule needs: settings, database, keys, hashing threads, revocations, known users.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use tessera_verify::{Guard, Verifier};

use crate::access::api_token::{ApiTokenCache, Guesses, Uses};
use crate::access::session::browser::{MAX_NOTED, NotedSessions};
use crate::base::config::{Config, ConfigError};
use crate::base::database::Database;
use crate::base::derived_key;
use crate::base::error::Result;
use crate::http::{CsrfKeys, Pages};
use crate::identity::factor::{Filter, Hasher};
use crate::identity::service::ServiceCache;
use crate::identity::user::UserCache;
use crate::platform::job::Jobs;
use crate::platform::mail::{Mailer, Templates};
use crate::platform::rate_limit::{self, Acts, Blocked, MAX_BLOCKED};
use crate::platform::revocation::Revocations;
use crate::platform::{key, notice, replica};
use crate::self_service::account::Exports;

/// The identity provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] holds.
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The tables.
    pub database: Database,
    /// Decides which tokens are valid, and holds the keys that sign.
    pub verifier: Arc<Verifier>,
    /// What stands before operations that want a token.
    pub guard: Guard,
    /// Makes and checks what browsers repeat beside their cookie.
    pub csrf: CsrfKeys,
    /// Hashes passwords on threads of its own.
    pub hasher: Hasher,
    /// The passwords that are not to be chosen, once they were read.
    breach_filter: OnceLock<Filter>,
    /// What pages are made of, once that was read.
    pages: OnceLock<Pages>,
    /// What was revoked, in memory.
    pub revocations: Revocations,
    /// The users that were asked for within the last second.
    pub user_cache: UserCache,
    /// The services that were asked for within the last second.
    pub service_cache: ServiceCache,
    /// The API tokens that were shown within the last second.
    pub api_token_cache: ApiTokenCache,
    /// From where API tokens are guessed.
    pub guesses: Guesses,
    /// What jobs are kept with.
    pub jobs: Jobs,
    /// Where mails go.
    pub mailer: Mailer,
    /// What they say.
    pub templates: Templates,
    /// The keys of the digests of codes, the current one first.
    pub code_keys: Vec<hmac::Key>,
    /// The key of what the table of attempts has.
    pub attempt_key: hmac::Key,
    /// What is not tried again for a while.
    pub blocked: Blocked,
    /// How many acts accounts may do now.
    pub acts: Acts,
    /// Who has an export running.
    pub exports: Exports,
    /// When it was last written that sessions of browsers are in use.
    pub noted_sessions: NotedSessions,
    /// The turn of those who read the keys that sign.
    pub key_loading: key::Loading,
    /// The handlers of notices, and how far they were read.
    pub notices: notice::State,
    /// How far this replica has come.
    pub replica_place: replica::Place,
    /// When API tokens were used, as far as that is not written yet.
    pub api_token_uses: Uses,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Puts the parts together around a database whose schema is up to date, with the features' handlers of notices.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a secret that tokens cannot be signed with.
    pub fn new(
        config: Config,
        database: Database,
        handlers: &'static [notice::Handler],
    ) -> Result<Self, ConfigError> {
        let revocations = Revocations::new(config.revocation_max_staleness);
        let verifier = Arc::new(verifier(&config, &revocations)?);
        let guard = Guard::new(Arc::clone(&verifier)).fresh_for(config.fresh_token_expires);
        let csrf = CsrfKeys::of(&config)?;
        let attempt_key = rate_limit::attempt_key(&config)?;
        let jobs = Jobs::of(&config)?;
        let mailer = Mailer::of(&config)?;
        let templates = Templates::read(config.mail.mail_templates.as_deref())?;
        let secret = config.signing_secret()?;
        let secrets = std::iter::once(&secret).chain(&config.app_secret_previous);
        let code_keys =
            secrets.map(|secret| derived_key::digest_key(secret, "tessera codes")).collect();
        let hasher = Hasher::start(config.bcrypt_cost);
        Ok(Self(Arc::new(Parts {
            config,
            database,
            verifier,
            guard,
            csrf,
            hasher,
            breach_filter: OnceLock::new(),
            pages: OnceLock::new(),
            revocations,
            user_cache: UserCache::default(),
            service_cache: ServiceCache::default(),
            api_token_cache: ApiTokenCache::default(),
            guesses: Guesses::default(),
            jobs,
            mailer,
            templates,
            code_keys,
            attempt_key,
            blocked: Blocked::new(MAX_BLOCKED),
            acts: Acts::default(),
            exports: Exports::default(),
            noted_sessions: NotedSessions::new(MAX_NOTED),
            key_loading: key::Loading::default(),
            notices: notice::State::new(handlers),
            replica_place: replica::Place::default(),
            api_token_uses: Uses::default(),
        })))
    }

    /// The passwords that are not to be chosen, where there is a list. A server reads it at its start; it may
    /// be large, so commands that set no password do not.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where `BREACH_FILTER` is no filter.
    pub(crate) fn breach_filter(&self) -> Result<Option<&Filter>, ConfigError> {
        let Some(path) = &self.config.breach_filter else { return Ok(None) };
        if let Some(known) = self.breach_filter.get() {
            return Ok(Some(known));
        }
        let filter = Filter::read(path).map_err(|fault| {
            ConfigError::new(&format!("BREACH_FILTER: {}: {fault}", path.display()))
        })?;
        Ok(Some(self.breach_filter.get_or_init(|| filter)))
    }

    /// What pages are made of. A server reads it at its start; commands show no page.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a file that cannot be used.
    pub(crate) fn pages(&self) -> Result<&Pages, ConfigError> {
        if let Some(known) = self.pages.get() {
            return Ok(known);
        }
        let pages = Pages::read(&self.config.pages)?;
        Ok(self.pages.get_or_init(|| pages))
    }
}

fn verifier(config: &Config, revocations: &Revocations) -> Result<Verifier, ConfigError> {
    let keys = key::of_settings(config)?;
    let verifier = Verifier::new(keys, config.public_url.as_str(), &config.jwt_audience)
        .of_sessions_alone()
        .more_audiences(config.jwt_audiences.clone())
        .leeway(config.jwt_leeway)
        .max_access_lifetime(config.access_token_expires);
    Ok(if config.blacklist_enabled { verifier.revocations(revocations.list()) } else { verifier })
}
