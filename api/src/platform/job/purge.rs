//! Deleting what nothing needs any more, in the background, a little at a time: writers wait for
//! one small batch at most.

use std::time::Duration;

use sea_orm::{DatabaseTransaction, DbErr};
use tokio::time::{interval, sleep};

use crate::app::App;
use crate::base::error::Result;
use crate::platform::unit_of_work::UnitOfWork;

const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// How many rows are deleted at once, and how long others have their turn after that.
const BATCH: u64 = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// Purges once an hour, for as long as it is polled. `delete` deletes at most so many rows and says
/// how many it did.
pub(crate) async fn hourly<F>(app: &App, what: &'static str, delete: F)
where
    F: AsyncFn(&App, &DatabaseTransaction, u64) -> Result<u64, DbErr>,
{
    let mut ticks = interval(PURGE_EVERY);
    loop {
        ticks.tick().await;
        match all(app, &delete).await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purge.what = what, purge.rows = purged, "purged"),
            Err(error) => {
                tracing::warn!(purge.what = what, error.cause = %error, "could not be purged");
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
