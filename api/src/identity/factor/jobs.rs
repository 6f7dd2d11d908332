//! The job that learns the duration of imported hashes, before the time of a response can reveal it.

use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;
use crate::base::background::Background;
use crate::base::error::Result;
use crate::identity::user::imported;
use crate::platform::audit::{self, Act};

const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The number of hashes that are read at once.
const AT_ONCE: u64 = 2000;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_learning(app.clone()));
}

/// Measures new hashes when any replica has imported users, until the server stops.
async fn keep_learning(app: App) {
    let mut known = None;
    loop {
        match learn(&app, known).await {
            Ok(last) => known = last,
            Err(error) => {
                tracing::warn!(error.cause = %error, "imported hashes could not be read");
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
    let (database, cost) = (&app.database, app.config.bcrypt_cost);
    let mut after = None;
    loop {
        let hashes = imported::hashes_of_other_costs(database, cost, after, AT_ONCE).await?;
        let Some((user, _)) = hashes.last() else { return Ok(last) };
        after = Some(*user);
        for (_, hash) in hashes {
            app.factor.hasher.learn(hash).await?;
        }
    }
}
