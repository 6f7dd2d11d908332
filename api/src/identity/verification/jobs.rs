//! Forgetting confirmations that have expired.

use super::store;
use crate::app::App;
use crate::base::clock;
use crate::platform::job::purge;

/// How long one that has expired is kept, in seconds: a clock may jump ahead and back.
const KEPT_FOR: u64 = 86_400;

/// Purges once an hour, for as long as it is polled.
pub(crate) async fn keep_purging(app: App) {
    purge::hourly(&app, "confirmations", async |_, connection, most| {
        store::delete_expired_before(connection, clock::now().minus_seconds(KEPT_FOR), most).await
    })
    .await;
}
