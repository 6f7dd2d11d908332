//! The job that reads the signing keys again, because another key may begin to sign.

use std::time::Duration;

use tokio::time::sleep;

use super::{load, note_signing, report_unsigned};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::Stopwatch;
use crate::base::error::Result;

/// The time between two readings of the keys, and between two checks whether it has passed.
const LOAD_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_loading(app.clone()));
}

/// Reads the keys again and again, until the server stops. A notice announces changes earlier.
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

/// Reads the keys, and records which of them signs on this server.
async fn turn(app: &App) -> Result<()> {
    load(app).await?;
    report_unsigned(app);
    note_signing(app).await
}
