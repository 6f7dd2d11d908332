//! Purging the table, and noting how long tokens live.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::life::next_note;
use super::{GRACE, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::{self, Stopwatch};
use crate::base::database::lock_keys;
use crate::base::error::Result;
use crate::platform::job::purge;
use crate::platform::unit_of_work::UnitOfWork;

/// How often a server looks whether its note is due, and how old that may be.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const NOTED_FOR: Duration = Duration::from_secs(30);

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_noting_life(app.clone()));
    background.start(keep_purging(app.clone()));
}

/// Notes how long the tokens of this server live, and learns of others', for as long as it is polled.
async fn keep_noting_life(app: App) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if app.revocation.noted_ago().is_some_and(|ago| ago < NOTED_FOR) {
            continue;
        }
        if let Err(error) = note_life(&app).await {
            tracing::debug!(error.cause = %error, "it could not be noted how long tokens live");
        }
    }
}

/// Purges once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "revocations", async |_, connection, max| {
        store::delete_until(connection, clock::now().minus_seconds(GRACE), max).await
    })
    .await;
}

/// Notes how long the tokens live that this server signs, before it signs any; and learns of the longest
/// life that others noted.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn note_life(app: &App) -> Result<()> {
    let began = Stopwatch::start();
    let own = app.config.access_token_expires;
    let work = UnitOfWork::begin(app).await?;
    lock_keys(&work).await?;
    let known = store::feed(&*work).await?;
    let noted = next_note(known.as_ref(), own, clock::now());
    if known.as_ref() != Some(&noted) {
        store::put_feed(&*work, noted.clone()).await?;
    }
    work.commit().await?;
    let longest = noted.longest.unsigned_abs().max(own);
    app.key.verifier.replace_max_access_lifetime(longest);
    app.revocation.noted(began, longest);
    Ok(())
}
