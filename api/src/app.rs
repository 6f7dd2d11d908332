//! The application, which every rule takes: the settings, the database, and the [`State`](key::State) of each feature.

use std::sync::{Arc, PoisonError, RwLock};

use crate::access::{api_token, feed, forward, session};
use crate::base::config::{Config, ConfigError};
use crate::base::database::Database;
use crate::base::error::Result;
use crate::federation::upstream;
use crate::http::{CsrfKeys, FlowSeals, Pages, Requests, Spans};
use crate::identity::{factor, service, user, verification};
use crate::platform::{audit, fetch, job, key, mail, notice, rate_limit, replica, revocation};
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
    /// The durations of requests.
    pub requests: Requests,
    /// The spans that wait for the collector of traces.
    pub spans: Spans,
    /// The templates and texts of pages, after they were read.
    pages: RwLock<Option<Arc<Pages>>>,

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
    /// The clients for requests to other servers.
    pub fetch: fetch::State,

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

    /// The services that wait for revocations.
    pub feed: feed::State,

    /// The keys that seal sign-ins at other hosts.
    pub forward: forward::State,

    /// The other providers, and what is known of them.
    pub upstream: upstream::State,

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
            pages: RwLock::default(),
            requests: Requests::default(),
            spans: Spans::of(&config),
            audit: audit::State::default(),
            notice,
            key: key::State::new(&config, revocation.list())?,
            revocation,
            job: job::State::of(&config)?,
            mail: mail::State::new(&config)?,
            rate_limit: rate_limit::State::new(&config)?,
            replica: replica::State::default(),
            fetch: fetch::State::default(),
            user: user::State::default(),
            service: service::State::default(),
            verification: verification::State::new(&config)?,
            factor: factor::State::start(&config),
            session: session::State::new(&config)?,
            api_token: api_token::State::default(),
            feed: feed::State::new(&config),
            forward: forward::State::new(&config)?,
            upstream: upstream::State::new(&config)?,
            client: client::State::of(&config)?,
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
    pub(crate) fn pages(&self) -> Result<Arc<Pages>, ConfigError> {
        if let Some(known) = &*self.pages.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(known));
        }
        self.read_pages()
    }

    /// Reads the templates and texts of pages again.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a file cannot be used. Then pages stay as they are.
    pub(crate) fn read_pages(&self) -> Result<Arc<Pages>, ConfigError> {
        let pages = Arc::new(Pages::read(&self.config.pages)?);
        *self.pages.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pages));
        Ok(pages)
    }
}
