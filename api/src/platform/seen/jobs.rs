//! The job that deletes what does not work any more.

use std::time::Duration;

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// The interval after which rows that nothing needs are deleted.
const EVERY: Duration = Duration::from_secs(300);

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Deletes expired rows every few minutes, until the server stops.
async fn keep_purging(app: App) {
    purge::every(&app, EVERY, "spent values", async |_, connection, max| {
        store::delete_expired_before(connection, clock::now(), max).await
    })
    .await;
}
