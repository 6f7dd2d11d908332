//! Noting when API tokens were used, off the path of requests; and purging those that expired.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use entity::ApiTokenId;
use tokio::time::{MissedTickBehavior, interval};

use super::{ApiToken, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::{self, Stopwatch, Timestamp};
use crate::base::error::Result;
use crate::platform::job::purge;
use crate::platform::unit_of_work::UnitOfWork;

/// The time between two writes of uses, and between two looks whether it has passed.
const NOTE_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A use is noted when the last one that was is so long ago, in seconds.
const NOTED_FOR: u64 = 60;

/// The most uses that wait to be written.
const MAX_USES: usize = 100_000;

/// How long a token outlives its expiry, in seconds: a month to say "expired", not "unknown".
const KEPT_FOR: u64 = 30 * 86_400;

/// Uses of API tokens that were not written yet.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<ApiTokenId, Timestamp>>);

impl Uses {
    /// Remembers a use, where the last one is a minute ago.
    pub(super) fn note(&self, token: &ApiToken, now: Timestamp) {
        let known = token.last_used.unwrap_or_default();
        if now.seconds() < known + NOTED_FOR {
            return;
        }
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < MAX_USES {
            uses.entry(token.id).or_insert(now);
        }
    }

    fn take(&self) -> HashMap<ApiTokenId, Timestamp> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_noting(app.clone()));
    background.start(keep_purging(app.clone()));
    let app = app.clone();
    background.at_end(async move { write_uses(&app).await });
}

/// Writes uses every few seconds, for as long as it is polled.
async fn keep_noting(app: App) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Stopwatch::start();
    loop {
        ticks.tick().await;
        if last.elapsed() >= NOTE_EVERY {
            last = Stopwatch::start();
            write_uses(&app).await;
        }
    }
}

/// Writes what waits. What cannot be written is lost: it says when a token was used, no more.
async fn write_uses(app: &App) {
    let uses = app.api_token.uses.take();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = write(app, uses).await {
        tracing::warn!(error.cause = %error, "uses of API tokens could not be noted");
    }
}

async fn write(app: &App, uses: HashMap<ApiTokenId, Timestamp>) -> Result<()> {
    // In one order on every replica: two that note the same tokens must not wait for each other.
    let mut uses: Vec<_> = uses.into_iter().collect();
    uses.sort_unstable();
    for some in uses.chunks(500) {
        let work = UnitOfWork::begin(app).await?;
        for (id, at) in some {
            store::note_use(&*work, *id, *at).await?;
        }
        work.commit().await?;
    }
    Ok(())
}

/// Purges once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "API tokens", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_expired_before(connection, before, max).await
    })
    .await;
}
