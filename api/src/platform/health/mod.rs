//! Health checks: does the server run, can it answer, and which version is it.

pub(crate) mod http;

use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::platform::{key, revocation};

const PING_WITHIN: Duration = Duration::from_secs(2);

/// The conditions for answering callers.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    /// `true` if the database answers.
    pub database: bool,
    /// `true` if the revocations are known, or are not checked.
    pub revocations: bool,
    /// `true` if a key signs access tokens, and other servers know the lifetime of these tokens.
    pub keys: bool,
    /// No entry of the audit has waited for more than five seconds to be sealed. Callers are answered meanwhile.
    pub audit: bool,
    /// `true` if revocations are checked.
    pub blacklist_enabled: bool,
}

impl Readiness {
    /// Returns true if callers can be answered.
    pub const fn is_ready(self) -> bool {
        self.database && self.revocations && self.keys
    }
}

/// Checks all conditions.
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
