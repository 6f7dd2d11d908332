//! Purging sessions that nobody can use any more.

use std::time::Duration;

use tokio::time::interval;

use super::store;
use crate::app::App;
use crate::clock;
use crate::error::Result;

const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// How long a session outlives its refresh token, in seconds: a week to say "expired" rather than
/// "unknown", and longer than a clock may jump.
const KEPT_FOR: u64 = 7 * 86_400;

/// Purges once an hour, for as long as it is polled.
pub(crate) async fn keep_purging(app: App) {
    let mut ticks = interval(PURGE_EVERY);
    loop {
        ticks.tick().await;
        match purge(&app).await {
            Ok(purged) => tracing::debug!(session.purged = purged, "expired sessions purged"),
            Err(error) => tracing::warn!(error.cause = %error, "sessions could not be purged"),
        }
    }
}

async fn purge(app: &App) -> Result<u64> {
    let transaction = app.database.begin().await?;
    let before = clock::now().minus_seconds(KEPT_FOR);
    let purged = store::delete_expired_before(&transaction, before).await?;
    transaction.commit().await?;
    Ok(purged)
}
