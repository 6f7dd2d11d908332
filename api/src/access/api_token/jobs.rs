//! Background work for API tokens: writes the times of their last use, and deletes expired ones.

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

/// The time between two writes of uses, and between two checks of whether it has passed.
const NOTE_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The least time between two noted uses of a token, in seconds.
const NOTED_FOR: u64 = 60;

/// The maximum number of uses that wait to be written.
const MAX_USES: usize = 100_000;

/// The time that an expired token is kept, in seconds: for a month, the server answers "expired" and not "unknown".
const KEPT_FOR: u64 = 30 * 86_400;

/// Uses of API tokens that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<ApiTokenId, Timestamp>>);

impl Uses {
    /// Remembers a use, if the last noted one is at least a minute old.
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

/// Writes the uses that wait. If that fails, they are lost: only the time of the last use is then too old.
async fn write_uses(app: &App) {
    let uses = app.api_token.uses.take();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = write(app, uses).await {
        tracing::warn!(error.cause = %error, "the last uses of API tokens could not be stored");
    }
}

async fn write(app: &App, uses: HashMap<ApiTokenId, Timestamp>) -> Result<()> {
    // In the same order on every replica, so that two replicas do not deadlock.
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

/// Deletes expired tokens once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "API tokens", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_expired_before(connection, before, max).await
    })
    .await;
}
