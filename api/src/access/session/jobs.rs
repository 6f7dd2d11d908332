//! Background work for sessions: deletes expired ones.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// The time that an expired session is kept, in seconds. For a week the server answers "expired" and not "unknown". The
/// time is longer than any plausible jump of a clock.
const KEPT_FOR: u64 = 7 * 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Deletes expired sessions without a live grant once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "sessions", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_expired_before(connection, before, max).await
    })
    .await;
}
