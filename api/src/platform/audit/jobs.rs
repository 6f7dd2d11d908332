//! Sealing: entries of the audit get their numbers and digests after the actions.
//!
//! An action writes its entries into `audit_pending`, in its own transaction and without a lock. Sealing moves
//! committed entries into `audit`, a batch in one transaction. Only sealing waits for other sealing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{PENDING_AT_ONCE, chain, lag, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::Stopwatch;
use crate::base::error::{Code, Error, Result};
use crate::platform::unit_of_work::UnitOfWork;

/// The longest time between two looks for pending entries.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The time that sealing waits for more entries after the first: many actions share one transaction.
const GATHER_FOR: Duration = Duration::from_millis(50);

/// The greatest age of a pending entry that is not reported, in milliseconds.
const MAX_LAG: u64 = 5_000;

/// The time that a caller waits for others that are sealing: those of this replica, and then other replicas.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// The time between two tries while another replica is sealing.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_sealing(app.clone()));
    let app = app.clone();
    background.at_end(async move {
        if let Err(error) = seal(&app).await {
            tracing::warn!(error.cause = %error, "the last entries of the audit are not sealed yet");
        }
    });
}

/// Seals entries for as long as it is polled. Of the replicas, the one that gets the lock seals them.
async fn keep_sealing(app: App) {
    let mut was_behind = false;
    loop {
        if timeout(LOOK_EVERY, app.audit.written.notified()).await.is_ok() {
            sleep(GATHER_FOR).await;
        }
        if let Err(error) = seal(&app).await {
            tracing::debug!(error.cause = %error, "the audit could not be sealed");
        }
        // A database that does not answer says nothing about the entries. The health check reports it by itself.
        let is_behind = lag(&app).await.map_or(was_behind, |lag| lag > MAX_LAG);
        match (was_behind, is_behind) {
            (false, true) => tracing::warn!(
                "entries of the audit have waited for more than five seconds to be sealed; actions go on"
            ),
            (true, false) => tracing::info!("the audit is sealed again"),
            _ => {}
        }
        was_behind = is_behind;
        app.audit.note_lag(is_behind);
    }
}

/// Seals every entry that is pending now. Callers of one replica take turns before they take a connection, and a caller
/// whose entries were sealed by another one does nothing.
///
/// # Errors
///
/// If the database does not answer, or if others are sealing for too long.
pub(super) async fn seal(app: &App) -> Result<()> {
    if store::oldest_pending(app.database.reader()).await?.is_none() {
        return Ok(());
    }
    let busy = || Error::because(Code::ServiceUnavailable, "others are sealing the audit");
    let waits = Stopwatch::start();
    let begun = app.audit.begun.load(Ordering::SeqCst);
    let mut completed =
        timeout(TURN_WITHIN, app.audit.completed.lock()).await.map_err(|_| busy())?;
    if *completed > begun {
        return Ok(());
    }
    let pass = app.audit.begun.fetch_add(1, Ordering::SeqCst) + 1;
    loop {
        if seal_all(app).await? {
            *completed = pass;
            return Ok(());
        }
        if waits.elapsed() > TURN_WITHIN {
            return Err(busy());
        }
        sleep(TRY_AGAIN_AFTER).await;
    }
}

/// Seals batch after batch, unless another replica is sealing: then it returns false.
async fn seal_all(app: &App) -> Result<bool> {
    loop {
        let work = UnitOfWork::begin(app).await?;
        if !store::try_lock(&work).await? {
            return Ok(false);
        }
        let sealed = seal_batch(&work).await?;
        work.commit().await?;
        if sealed < PENDING_AT_ONCE {
            return Ok(true);
        }
    }
}

/// Moves pending entries to the end of the chain. Returns their number.
async fn seal_batch(work: &UnitOfWork<'_>) -> Result<u64> {
    let pending = store::take_pending(&**work, PENDING_AT_ONCE).await?;
    let count = u64::try_from(pending.len()).unwrap_or(u64::MAX);
    if pending.is_empty() {
        return Ok(count);
    }
    let last = store::last(&**work).await?;
    let (mut seq, mut digest) =
        last.map_or((0, chain::BEGINNING.to_owned()), |row| (row.seq, row.digest));
    let mut rows = Vec::with_capacity(pending.len());
    for entry in pending {
        seq += 1;
        let row = chain::sealed(seq, entry, &digest);
        digest.clone_from(&row.digest);
        rows.push(row);
    }
    store::insert(&**work, rows).await?;
    Ok(count)
}
