//! Deletes rows that nothing needs any more, in the background and in small batches. So other writers wait for one
//! batch at most.

use std::time::Duration;

use sea_orm::{DatabaseTransaction, DbErr};
use tokio::time::sleep;

use crate::app::App;
use crate::base::error::Result;
use crate::platform::unit_of_work::UnitOfWork;

const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// The number of rows that are deleted at once, and the pause in which other writers have their turn.
const BATCH: u64 = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// Deletes rows once an hour, until the server stops. `delete` deletes at most the given number of rows and returns how
/// many it deleted. `name` names the rows in the log.
pub(crate) async fn hourly<F>(app: &App, name: &'static str, delete: F)
where
    F: AsyncFn(&App, &DatabaseTransaction, u64) -> Result<u64, DbErr>,
{
    every(app, PURGE_EVERY, name, delete).await;
}

/// Like [`hourly`], with another interval.
pub(crate) async fn every<F>(app: &App, interval: Duration, name: &'static str, delete: F)
where
    F: AsyncFn(&App, &DatabaseTransaction, u64) -> Result<u64, DbErr>,
{
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        match all(app, &delete).await {
            Ok(0) => {}
            Ok(purged) => {
                tracing::info!(purge.what = name, purge.rows = purged, "rows were purged")
            }
            Err(error) => {
                tracing::warn!(purge.what = name, error.cause = %error, "rows could not be purged");
            }
        }
    }
}

async fn all<F>(app: &App, delete: &F) -> Result<u64>
where
    F: AsyncFn(&App, &DatabaseTransaction, u64) -> Result<u64, DbErr>,
{
    let mut purged = 0;
    loop {
        let work = UnitOfWork::begin(app).await?;
        let deleted = delete(app, &*work, BATCH).await?;
        work.commit().await?;
        purged += deleted;
        if deleted < BATCH {
            return Ok(purged);
        }
        sleep(PAUSE).await;
    }
}
