//! The jobs that delete expired revocations and record the lifetime of tokens.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::life::next_note;
use super::place::SETTLED_AFTER;
use super::{GRACE, begin_epoch, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::{self, Stopwatch};
use crate::base::database::lock_keys;
use crate::base::error::Result;
use crate::platform::job::purge;
use crate::platform::unit_of_work::UnitOfWork;

/// The interval at which a server checks whether its record is due, and the age at which it is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const NOTED_FOR: Duration = Duration::from_secs(30);

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_noting_life(app.clone()));
    background.start(keep_purging(app.clone()));
}

/// Records the lifetime of this server's tokens and reads that of other servers, until the server stops.
async fn keep_noting_life(app: App) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if app.revocation.noted_ago().is_some_and(|ago| ago < NOTED_FOR) {
            continue;
        }
        if let Err(error) = note_life(&app).await {
            tracing::debug!(error.cause = %error, "the lifetime of tokens could not be recorded");
        }
    }
}

/// Deletes expired rows once an hour, until the server stops. It begins a minute after the start.
///
/// A server knows by the last row that it read how far it has come. If that row is gone, it looks like a restored backup:
/// the server refuses all tokens until it has read everything again, and a new epoch of the feed begins. So the row that
/// was the last one a minute ago stays. Servers that have not read for a minute refuse tokens anyway.
async fn keep_purging(app: App) {
    while app.revocation.started.elapsed() <= SETTLED_AFTER {
        sleep(LOOK_EVERY).await;
    }
    purge::hourly(&app, "revocations", async |app, connection, max| {
        let past = (clock::now().minus_seconds(GRACE), app.revocation.settled());
        store::delete_until(connection, past, max).await
    })
    .await;
}

/// Records the lifetime of the tokens that this server signs, before it signs any. It also reads the longest lifetime
/// that other servers recorded.
///
/// # Errors
///
/// If the database does not answer.
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
    if noted.epoch.is_empty() {
        begin_epoch(&work, None).await?;
    }
    work.commit().await?;
    let longest = noted.longest.unsigned_abs().max(own);
    app.key.verifier.replace_max_access_lifetime(longest);
    app.revocation.noted(began, longest);
    Ok(())
}

/// Begins a new epoch of the feed in place of one that ended, because the table has another history.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn replace_epoch(app: &App) -> Result<()> {
    let ended = app.revocation.feed.end_epoch();
    let work = UnitOfWork::begin(app).await?;
    let epoch = begin_epoch(&work, Some(&ended)).await?;
    work.commit().await?;
    tracing::warn!(feed.epoch = epoch, "the revocation feed continues in a new epoch");
    Ok(())
}
