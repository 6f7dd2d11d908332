//! Background work: refusals are written a moment after their answers, and old ones are deleted.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{recorded, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// The time between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The time for which a refusal is kept, in seconds: 30 days.
const KEPT_FOR: u64 = 30 * 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_writing(app.clone()));
    background.start(keep_purging(app.clone()));
}

/// Writes what waits, for as long as it is polled.
async fn keep_writing(app: App) {
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = recorded::write(&app).await {
            tracing::warn!(error.cause = %error, "refusals of providers could not be stored");
        }
    }
}

/// Deletes old refusals, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "refusals of providers", async |_, connection, max| {
        store::delete_before(connection, clock::now().minus_seconds(KEPT_FOR), max).await
    })
    .await;
}
