//! Forgetting confirmations that have expired.

use super::store;
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock;
use crate::platform::job::purge;

/// How long one that has expired is kept, in seconds: a clock may jump ahead and back.
const KEPT_FOR: u64 = 86_400;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_purging(app.clone()));
}

/// Purges once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "confirmations", async |_, connection, max| {
        store::delete_expired_before(connection, clock::now().minus_seconds(KEPT_FOR), max).await
    })
    .await;
}
