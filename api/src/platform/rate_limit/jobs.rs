//! The job that deletes attempts that no longer count.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Deletes expired rows once an hour, until the server stops.
async fn keep_purging(app: App) {
    purge::hourly(&app, "attempts", async |_, connection, max| {
        store::delete_expired_before(connection, clock::now(), max).await
    })
    .await;
}
