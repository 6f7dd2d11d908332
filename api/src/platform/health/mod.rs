//! How the service is: whether it runs, whether it can answer, which version it is.

pub(crate) mod http;

use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::platform::{key, revocation};

const PING_WITHIN: Duration = Duration::from_secs(2);

/// What an answer to a caller depends on.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    /// The database answers.
    pub database: bool,
    /// Revocations are known, or checking them is off.
    pub revocations: bool,
    /// A key signs access tokens, and other servers count with how long those live.
    pub keys: bool,
    /// No entry of the audit has waited for more than five seconds to be sealed. Callers are answered meanwhile.
    pub audit: bool,
    /// Whether revocations are checked.
    pub blacklist_enabled: bool,
}

impl Readiness {
    /// Whether callers can be answered.
    pub const fn is_ready(self) -> bool {
        self.database && self.revocations && self.keys
    }
}

/// Asks everything that an answer depends on.
pub async fn readiness(app: &App) -> Readiness {
    let blacklist_enabled = app.config.blacklist_enabled;
    Readiness {
        database: matches!(timeout(PING_WITHIN, app.database.ping()).await, Ok(Ok(()))),
        revocations: !blacklist_enabled || app.revocation.are_known(),
        keys: key::signs(app) && revocation::life_is_noted(app),
        audit: !app.audit.is_behind(),
        blacklist_enabled,
    }
}
