//! Forgetting attempts that are not counted any more.

use super::store;
use crate::app::App;
use crate::base::clock;
use crate::platform::job::purge;

/// Purges once an hour, for as long as it is polled.
pub(crate) async fn keep_purging(app: App) {
    purge::hourly(&app, "attempts", async |_, connection, most| {
        store::delete_expired_before(connection, clock::now(), most).await
    })
    .await;
}
