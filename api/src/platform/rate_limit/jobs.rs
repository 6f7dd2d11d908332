//! Forgetting attempts that are not counted any more.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Purges once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "attempts", async |_, connection, max| {
        store::delete_expired_before(connection, clock::now(), max).await
    })
    .await;
}
