//! Counting what there is, once an hour, so that its course can be shown.

use std::time::Duration;

use tokio::time::interval;

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// How often it is looked whether an hour has begun.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long what was counted is kept, in seconds.
const KEPT_FOR: u64 = 400 * 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_counting(app.clone()));
    background.start(keep_purging(app.clone()));
}

/// Counts once an hour, for as long as it is polled; of several replicas one does.
async fn keep_counting(app: App) {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = super::count(&app).await {
            tracing::warn!(error.cause = %error, "what there is could not be counted");
        }
    }
}

/// Purges once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "samples", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_before(connection, before.millis(), max).await
    })
    .await;
}
