//! The job that deletes expired invitations.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// The time for which an expired invitation is listed, in seconds. Until then, a superuser can send it again.
const KEPT_FOR: u64 = 30 * 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Deletes expired rows once an hour, until the server stops.
async fn keep_purging(app: App) {
    purge::hourly(&app, "invitations", async |_, connection, max| {
        store::delete_expired_before(connection, clock::now().minus_seconds(KEPT_FOR), max).await
    })
    .await;
}
