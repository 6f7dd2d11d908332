//! Reading the keys again: when they were changed, and when the next one begins to sign.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use super::{load, note_signing};
use crate::app::App;
use crate::base::clock::Stopwatch;
use crate::base::error::Result;

/// How often keys are read without news, and how often it is looked whether it is time.
const LOAD_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Which changes to the keys were told of, by their places in the sequence, and which were read.
#[derive(Debug, Default)]
pub struct KeyChanges {
    told: AtomicI64,
    read: AtomicI64,
    news: Notify,
    /// Held by whoever reads the keys until they are in use: of two who read at once, the one who read
    /// first would otherwise put older keys over newer ones.
    pub(super) loading: Mutex<()>,
}

impl KeyChanges {
    /// Has the keys read again.
    pub(crate) fn tell(&self, seq: i64) {
        self.told.fetch_max(seq, Ordering::SeqCst);
        self.news.notify_one();
    }

    /// How far the sequence was applied, if memory knows of everything up to `seq`.
    pub(crate) fn applied(&self, seq: i64) -> i64 {
        let told = self.told.load(Ordering::SeqCst);
        if self.read.load(Ordering::SeqCst) < told { seq.min(told - 1) } else { seq }
    }
}

/// Reads the keys again for as long as it is polled.
pub(crate) async fn keep_loading(app: App) {
    let mut wait = LOAD_EVERY;
    let mut last = Stopwatch::start();
    loop {
        let news = timeout(LOOK_EVERY, app.key_changes.news.notified()).await;
        if news.is_err() && last.elapsed() < wait {
            continue;
        }
        last = Stopwatch::start();
        let told = app.key_changes.told.load(Ordering::SeqCst);
        wait = match turn(&app).await {
            Ok(()) => {
                app.key_changes.read.fetch_max(told, Ordering::SeqCst);
                LOAD_EVERY
            }
            Err(error) => {
                tracing::warn!(error.cause = %error, "the signing keys could not be read");
                TRY_AGAIN_AFTER
            }
        };
    }
}

/// Reads the keys, and notes which of them signs here.
async fn turn(app: &App) -> Result<()> {
    load(app).await?;
    note_signing(app).await
}
