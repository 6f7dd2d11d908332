//! Forgetting addresses that cannot be taken back any more.

use super::store;
use crate::app::App;
use crate::clock;
use crate::purge;

/// Purges once an hour, for as long as it is polled.
pub(crate) async fn keep_purging(app: App) {
    purge::hourly(&app, "former addresses", async |_, connection, most| {
        store::delete_formers_expired_before(connection, clock::now(), most).await
    })
    .await;
}
