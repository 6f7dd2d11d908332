//! Following the table, purging it, and noting how long tokens live.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{GRACE, life, memory, store};
use crate::app::App;
use crate::base::clock;
use crate::platform::job::purge;

const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How often a server looks whether its note is due, and how old that may be.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const NOTED_FOR: Duration = Duration::from_secs(30);

/// Keeps memory in step with the table, for as long as it is polled.
pub(crate) async fn keep_following(app: App) {
    let mut ticks = interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        ticks.tick().await;
        let outcome = memory::follow(&app, app.database.reader()).await;
        match (&outcome, well) {
            (Err(fault), true) => tracing::warn!(
                error.cause = %fault,
                "revocations cannot be read; tokens are refused once that lasts"
            ),
            (Ok(()), false) => tracing::info!("revocations can be read again"),
            _ => {}
        }
        well = outcome.is_ok();
    }
}

/// Notes how long the tokens of this server live, and learns of others', for as long as it is polled.
pub(crate) async fn keep_noting_life(app: App) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if app.revocations.noted_ago().is_some_and(|ago| ago < NOTED_FOR) {
            continue;
        }
        if let Err(error) = life::note_life(&app).await {
            tracing::debug!(error.cause = %error, "it could not be noted how long tokens live");
        }
    }
}

/// Purges once an hour, for as long as it is polled.
pub(crate) async fn keep_purging(app: App) {
    purge::hourly(&app, "revocations", async |_, connection, most| {
        store::delete_until(connection, clock::now().minus_seconds(GRACE), most).await
    })
    .await;
}
