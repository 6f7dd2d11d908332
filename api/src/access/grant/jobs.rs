//! Background work for grants of clients: deletes expired ones.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// The time that an expired grant is kept, in seconds, as for sessions.
const KEPT_FOR: u64 = 7 * 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Deletes expired grants once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "grants", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_expired_of_clients(connection, before, max).await
    })
    .await;
}
