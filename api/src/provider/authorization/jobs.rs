//! Background work for codes: deletes old ones.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Deletes codes that are not needed any more once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "codes", async |_, connection, max| {
        store::delete_old(connection, clock::now(), max).await
    })
    .await;
}
