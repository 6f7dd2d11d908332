//! The job that deletes expired previous and pending addresses.

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
    purge::hourly(&app, "addresses", async |_, connection, max| {
        let now = clock::now();
        let formers = store::delete_formers_expired_before(connection, now, max).await?;
        let pending = store::delete_pending_expired_before(connection, now, max).await?;
        Ok(formers.max(pending))
    })
    .await;
}
