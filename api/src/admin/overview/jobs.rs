//! Background work that counts sessions and API tokens once an hour, for the charts.

use std::time::Duration;

use tokio::time::interval;

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// The time between two checks of whether an hour has begun.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The time that counts are kept, in seconds.
const KEPT_FOR: u64 = 400 * 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_counting(app.clone()));
    background.start(keep_purging(app.clone()));
}

/// Counts once an hour, for as long as it is polled. One of several replicas does it.
async fn keep_counting(app: App) {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = super::count(&app).await {
            tracing::warn!(error.cause = %error, "sessions and API tokens could not be counted");
        }
    }
}

/// Deletes old counts once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "samples", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_before(connection, before.millis(), max).await
    })
    .await;
}
