//! Following the table, and purging it.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{follow, store};
use crate::app::App;
use crate::clock;
use crate::purge;

const FOLLOW_EVERY: Duration = Duration::from_millis(500);
const FOLLOW_WITHIN: Duration = Duration::from_secs(2);

/// How long an entry outlives what it covers, in seconds: a clock that jumps ahead and back must
/// not revive a token.
const GRACE: u64 = 86_400;

/// Keeps memory in step with the table, for as long as it is polled.
pub(crate) async fn keep_following(app: App) {
    let mut ticks = interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        ticks.tick().await;
        let outcome = timeout(FOLLOW_WITHIN, follow(&app, app.database.reader())).await;
        let fault = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the database did not answer in time".to_owned()),
        };
        match (&fault, well) {
            (Some(fault), true) => tracing::warn!(
                error.cause = %fault,
                "revocations cannot be read; tokens are refused once that lasts"
            ),
            (None, false) => tracing::info!("revocations can be read again"),
            _ => {}
        }
        well = fault.is_none();
    }
}

/// Purges once an hour, for as long as it is polled.
pub(crate) async fn keep_purging(app: App) {
    purge::hourly(&app, "revocations", async |app: &App, connection, most| {
        let now = clock::now();
        app.revocations.list.purge(now.seconds());
        store::delete_until(connection, now.minus_seconds(GRACE), most).await
    })
    .await;
}
