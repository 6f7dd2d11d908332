//! Reading the keys again: another one may begin to sign.

use std::time::Duration;

use tokio::time::sleep;

use super::{load, note_signing};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::Stopwatch;
use crate::base::error::Result;

/// The time between two readings of the keys, and between two looks whether it has passed.
const LOAD_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_loading(app.clone()));
}

/// Reads the keys again for as long as it is polled. Changes arrive earlier, as notices.
async fn keep_loading(app: App) {
    let mut wait = LOAD_EVERY;
    let mut last = Stopwatch::start();
    loop {
        sleep(LOOK_EVERY).await;
        if last.elapsed() < wait {
            continue;
        }
        last = Stopwatch::start();
        wait = match turn(&app).await {
            Ok(()) => LOAD_EVERY,
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
