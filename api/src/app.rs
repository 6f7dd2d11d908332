//! Everything that a rule needs: the settings, the database, and the [`State`](key::State) of each feature.

use std::sync::{Arc, OnceLock};

use crate::access::{api_token, session};
use crate::base::config::{Config, ConfigError};
use crate::base::database::Database;
use crate::base::error::Result;
use crate::http::{CsrfKeys, Pages};
use crate::identity::{factor, service, user, verification};
use crate::platform::{audit, job, key, mail, notice, rate_limit, replica, revocation};
use crate::self_service::account;

/// The identity provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The tables.
    pub database: Database,
    /// Makes and checks the values that browsers send beside their cookie.
    pub csrf: CsrfKeys,
    /// The templates and texts of pages, once they are read.
    pages: OnceLock<Pages>,

    /// The state of sealing.
    pub audit: audit::State,
    /// Where notices lead, and how far they were read.
    pub notice: notice::State,
    /// The revocations that this replica knows of.
    pub revocation: revocation::State,
    /// The keys, and the verifier.
    pub key: key::State,
    /// The keys of jobs.
    pub job: job::State,
    /// The mail server, and the templates of mails.
    pub mail: mail::State,
    /// The limits in force.
    pub rate_limit: rate_limit::State,
    /// How far this replica has followed the others.
    pub replica: replica::State,

    /// The users in memory.
    pub user: user::State,
    /// The services in memory.
    pub service: service::State,
    /// The keys of codes.
    pub verification: verification::State,
    /// The threads that hash passwords.
    pub factor: factor::State,

    /// The sessions of browsers in memory.
    pub session: session::State,
    /// The API tokens in memory.
    pub api_token: api_token::State,

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
    /// Puts the parts together around a database whose schema is up to date. `notice` has the features' handlers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a secret that tokens cannot be signed with.
    pub fn new(
        config: Config,
        database: Database,
        notice: notice::State,
    ) -> Result<Self, ConfigError> {
        let revocation = revocation::State::new(config.revocation_max_staleness);
        Ok(Self(Arc::new(Parts {
            csrf: CsrfKeys::of(&config)?,
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
            account: account::State::default(),
            config,
            database,
        })))
    }

    /// The templates and texts of pages. A server reads them when it starts; commands show no page.
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
