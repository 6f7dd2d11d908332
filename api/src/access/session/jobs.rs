//! Purging sessions that nobody can use any more.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// How long a session outlives its refresh token, in seconds: a week to say "expired" rather than
/// "unknown", and longer than a clock may jump.
const KEPT_FOR: u64 = 7 * 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Purges once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "sessions", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_expired_before(connection, before, max).await
    })
    .await;
}
