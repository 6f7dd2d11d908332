//! The application, which every rule takes: the settings, the database, and the [`State`](key::State) of each feature.

use std::sync::{Arc, OnceLock};

use crate::access::{api_token, session};
use crate::base::config::{Config, ConfigError};
use crate::base::database::Database;
use crate::base::error::Result;
use crate::http::{CsrfKeys, FlowSeals, Pages};
use crate::identity::{factor, service, user, verification};
use crate::platform::{audit, job, key, mail, notice, rate_limit, replica, revocation};
use crate::provider::client;
use crate::self_service::account;

/// The identity provider. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The database.
    pub database: Database,
    /// The keys that make and check CSRF values.
    pub csrf: CsrfKeys,
    /// The keys that seal the requests of applications into URLs.
    pub flow: FlowSeals,
    /// The templates and texts of pages, after they were read.
    pages: OnceLock<Pages>,

    /// The state of sealing.
    pub audit: audit::State,
    /// The handlers of notices, and the last notice that was read.
    pub notice: notice::State,
    /// The revocations that this replica knows.
    pub revocation: revocation::State,
    /// The signing keys and the verifier.
    pub key: key::State,
    /// The keys that encrypt jobs, and the signal that wakes the workers.
    pub job: job::State,
    /// The mail server, and the templates of mails.
    pub mail: mail::State,
    /// The rate limits that this replica knows, and the allowances of accounts.
    pub rate_limit: rate_limit::State,
    /// The progress of this replica in reading revocations and notices.
    pub replica: replica::State,

    /// The cached users.
    pub user: user::State,
    /// The cached services.
    pub service: service::State,
    /// The keys for the digests of codes.
    pub verification: verification::State,
    /// The threads that hash passwords, and the list of stolen passwords.
    pub factor: factor::State,

    /// The cached sessions of browsers.
    pub session: session::State,
    /// The cached API tokens.
    pub api_token: api_token::State,

    /// The cached clients and resources, and wrong secrets of clients.
    pub client: client::State,

    /// The exports that are running.
    pub account: account::State,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Makes the application from the settings and a migrated database. `notice` contains the handlers of the features.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the secret cannot sign tokens, or if a setting cannot be used.
    pub fn new(
        config: Config,
        database: Database,
        notice: notice::State,
    ) -> Result<Self, ConfigError> {
        let revocation = revocation::State::new(config.revocation_max_staleness);
        Ok(Self(Arc::new(Parts {
            csrf: CsrfKeys::of(&config)?,
            flow: FlowSeals::of(&config)?,
            pages: OnceLock::new(),
            audit: audit::State::default(),
            notice,
            key: key::State::new(&config, revocation.list())?,
            revocation,
            job: job::State::of(&config)?,
            mail: mail::State::new(&config)?,
            rate_limit: rate_limit::State::new(&config)?,
            replica: replica::State::default(),
            user: user::State::default(),
            service: service::State::default(),
            verification: verification::State::new(&config)?,
            factor: factor::State::start(&config),
            session: session::State::default(),
            api_token: api_token::State::default(),
            client: client::State::default(),
            account: account::State::default(),
            config,
            database,
        })))
    }

    /// The templates and texts of pages. A server reads them when it starts. Commands do not read them, because they
    /// show no pages.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a file cannot be used.
    pub(crate) fn pages(&self) -> Result<&Pages, ConfigError> {
        if let Some(known) = self.pages.get() {
            return Ok(known);
        }
        let pages = Pages::read(&self.config.pages)?;
        Ok(self.pages.get_or_init(|| pages))
    }
}
