//! Saying that this replica is on line, and forgetting those that are long gone.

use std::time::Duration;

use entity::ReplicaId;
use tokio::time::{MissedTickBehavior, interval};

use super::{leave, report, store};
use crate::app::App;
use crate::base::clock::{self, Stopwatch};
use crate::base::random;
use crate::platform::job::purge;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long a replica that stopped without a word is remembered, in seconds.
const KEPT_FOR: u64 = 86_400;

/// This server among those on its database.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    id: ReplicaId,
    name: String,
}

impl Member {
    /// With an id of this start.
    pub(crate) fn new(name: String) -> Self {
        Self { id: ReplicaId(random::id()), name }
    }

    /// Reports every few seconds, and at once when something new was applied, for as long as it is
    /// polled.
    pub(crate) async fn keep_reporting(self, app: App) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<(i64, Stopwatch)> = None;
        loop {
            ticks.tick().await;
            let seq = app.key_changes.applied(app.revocations.applied());
            if last.is_some_and(|(known, at)| known == seq && at.elapsed() < REPORT_EVERY) {
                continue;
            }
            // Following the revocations says so when the database is away.
            if let Err(error) = report(&app, self.id, &self.name, seq).await {
                tracing::debug!(error.cause = %error, "this replica could not report");
            }
            last = Some((seq, Stopwatch::start()));
        }
    }

    /// Says that this server stops.
    pub(crate) async fn leave(&self, app: &App) {
        if let Err(error) = leave(app, self.id).await {
            tracing::debug!(error.cause = %error, "this replica could not say that it stops");
        }
    }
}

/// Purges once an hour, for as long as it is polled.
pub(crate) async fn keep_purging(app: App) {
    purge::hourly(&app, "replicas", async |_, connection, most| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_seen_before(connection, before, most).await
    })
    .await;
}
