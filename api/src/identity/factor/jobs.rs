//! Learning how long the hashes take that were imported, before anybody's answer tells it.

use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;
use crate::base::background::Background;
use crate::base::error::Result;
use crate::identity::user;
use crate::platform::audit::{self, Act};

const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How many hashes are looked at: they are of a few kinds.
const SOME: u64 = 2000;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_learning(app.clone()));
}

/// Looks whenever users were imported, by whatever replica, for as long as it is polled.
async fn keep_learning(app: App) {
    let mut known = None;
    loop {
        match learn(&app, known).await {
            Ok(last) => known = last,
            Err(error) => {
                tracing::warn!(error.cause = %error, "imported hashes cannot be looked at");
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn learn(app: &App, known: Option<i64>) -> Result<Option<i64>> {
    let last = audit::last(app, Act::UserImport).await?;
    if last == known {
        return Ok(known);
    }
    for hash in user::hashes_of_other_costs(&app.database, app.config.bcrypt_cost, SOME).await? {
        app.factor.hasher.learn(hash).await?;
    }
    Ok(last)
}
