//! Other providers, as the settings name them: where they are, which keys sign for them, and how a browser is sent
//! there and comes back.

mod cached;
pub mod claims;
mod endpoints;
pub mod exchange;
pub(crate) mod http;
pub mod id_token;
pub(crate) mod jobs;
pub(crate) mod json;
mod keys;
pub mod recorded;
pub mod refusal;
pub mod report;
pub mod sealed;
pub mod start;
mod store;

pub use endpoints::{Endpoints, of as endpoints_of};
pub use refusal::{Checked, Refusal, Why};

use std::sync::Arc;

use tokio::sync::Semaphore;

use self::cached::Cached;
use self::keys::Keys;
use self::recorded::Recorded;
use self::sealed::Seals;
use crate::app::App;
use crate::base::config::{Config, ConfigError, UpstreamSettings};
use crate::platform::fetch::Reach;

/// The number of codes of one provider that are exchanged at the same time. More wait, so that a slow provider does not
/// hold all that this server can do.
const EXCHANGES: usize = 16;

/// A provider.
#[derive(Debug)]
pub struct Upstream {
    /// Its settings.
    pub settings: UpstreamSettings,
    endpoints: Cached<Endpoints>,
    keys: Cached<Keys>,
    exchanges: Semaphore,
}

impl Upstream {
    fn new(settings: UpstreamSettings) -> Self {
        Self {
            settings,
            endpoints: Cached::default(),
            keys: Cached::default(),
            exchanges: Semaphore::new(EXCHANGES),
        }
    }

    /// The name in URLs and tables.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The name that people read.
    pub fn label(&self) -> &str {
        &self.settings.label
    }

    /// The places that requests for it can reach.
    pub(crate) fn reach(&self) -> Reach {
        Reach::of(self.settings.is_private)
    }

    /// The redirect URI that an operator registers there.
    pub fn redirect_uri(&self, app: &App) -> String {
        format!("{}/login/with/{}/callback", app.config.public_url.as_str(), self.name())
    }

    /// The command that shows what is wrong with it.
    pub(crate) fn check_command(&self) -> String {
        format!("`tessera upstream check {}`", self.name())
    }
}

/// The providers, and what this replica knows of them.
#[derive(Debug)]
pub struct State {
    all: Vec<Arc<Upstream>>,
    seals: Seals,
    recorded: Recorded,
}

impl State {
    /// The providers of the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the secret cannot sign tokens.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let all = config.federation.upstreams.iter().cloned();
        Ok(Self {
            all: all.map(|settings| Arc::new(Upstream::new(settings))).collect(),
            seals: Seals::of(config)?,
            recorded: Recorded::default(),
        })
    }
}

/// The provider with this name, if the settings have one.
pub fn find(app: &App, name: &str) -> Option<Arc<Upstream>> {
    app.upstream.all.iter().find(|upstream| upstream.name() == name).cloned()
}

/// The providers, in the order of the settings.
pub fn all(app: &App) -> &[Arc<Upstream>] {
    &app.upstream.all
}

/// The settings of a provider, for tests.
#[cfg(test)]
fn example() -> UpstreamSettings {
    UpstreamSettings {
        name: "corp".to_owned(),
        label: "corp".to_owned(),
        preset: crate::base::config::Preset::Oidc,
        issuer: "https://sso.corp.example".to_owned(),
        client_id: "tessera".to_owned(),
        client_secret: None,
        domains: Vec::new(),
        is_exclusive: false,
        registers: true,
        claims: std::collections::BTreeMap::new(),
        words: std::collections::BTreeMap::new(),
        scopes: Vec::new(),
        is_private: false,
        session: None,
        ends_there: false,
        redirect_uri: None,
        tenants: Vec::new(),
        second: Vec::new(),
        endpoints: crate::base::config::OwnEndpoints::default(),
    }
}
