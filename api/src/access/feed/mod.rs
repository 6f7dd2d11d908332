//! The revocation feed, which services follow to learn of revocations within a second: pages, waiters, snapshots.
//!
//! The rows come from `platform::revocation`, which reads each of them once for all services.

pub(crate) mod http;
mod room;
mod snapshot;
pub(crate) mod stream;

pub use snapshot::Snapshot;

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use self::room::{Room, Seat};
use crate::access::api_token;
use crate::access::caller::Caller;
use crate::app::App;
use crate::base::config::Config;
use crate::base::error::{Code, Error, Result};
use crate::base::scope::Scope;
use crate::platform::revocation::{self, Batch, Cursor, Gone};

/// The longest time that a request for entries waits.
pub const MAX_WAIT: u64 = 25;

/// The largest number of entries in one answer. An answer takes about 100 KB of memory until its client has read it, and
/// needs no place among those that wait.
pub const MAX_ENTRIES: usize = 1000;

/// The time within which this replica reads the table if a service is ahead of it.
const READ_WITHIN: Duration = Duration::from_secs(3);

/// The services that wait at this replica, and the snapshot that they take.
#[derive(Debug)]
pub struct State {
    waiters: Room,
    snapshots: snapshot::Cache,
    /// Lets one waiter at a time read rows that memory has dropped.
    recalls: Semaphore,
}

impl State {
    /// Makes a state without waiters.
    pub(crate) fn new(config: &Config) -> Self {
        let most = usize::try_from(config.feed.feed_waiters).unwrap_or(usize::MAX);
        let (waiters, snapshots) = (Room::new(most), snapshot::Cache::default());
        Self { waiters, snapshots, recalls: Semaphore::new(1) }
    }

    /// Leaves two fifths of the server's connections to other requests.
    pub(crate) fn leave_room(&self, connections: usize) {
        let (before, most) = (self.waiters.all(), (connections * 3 / 5).max(1));
        self.waiters.shrink_to(most);
        if before > most {
            tracing::info!(
                waiters = most,
                "fewer services can wait for revocations than FEED_WAITERS says, because the limit of open files \
                 allows too few connections: raise the limit"
            );
        }
    }

    /// The most services that can wait.
    pub(crate) fn most(&self) -> usize {
        self.waiters.all()
    }

    /// The number of services that wait.
    pub(crate) fn count(&self) -> usize {
        self.waiters.taken()
    }

    /// Gives a place to a service that waits.
    fn admit(&self, caller: &Caller) -> Result<Seat> {
        self.waiters.admit(caller)
    }
}

/// Returns true if the owner of an API token may still read the feed. If the database does not answer, nothing has
/// changed.
async fn may_read(app: &App, secret: &str) -> bool {
    match api_token::accepted(app, secret).await {
        Ok(Ok((token, Some(principal)))) => {
            Caller::ApiToken { token, principal }.require(Scope::REVOCATIONS).is_ok()
        }
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Returns the cursor in a text, after which this replica can continue.
///
/// # Errors
///
/// [`Code::RevocationCursorInvalid`], [`Code::RevocationCursorGone`], [`Code::ServiceUnavailable`] if this replica does
/// not know the revocations, or [`Code::ServiceBusy`] if it must read them and too many services wait.
pub(crate) async fn open(app: &App, caller: &Caller, text: &str) -> Result<Cursor> {
    let cursor: Cursor = text.parse()?;
    let feed = &app.revocation.feed;
    let mut reads = feed.reads();
    // A read that is running may have begun before the row was committed, so the one after it counts.
    for _ in 0..3 {
        reads.borrow_and_update();
        match feed.after(&cursor, 0) {
            Ok(Some(_)) => return Ok(cursor),
            Err(Gone::Elsewhere) => return Err(Code::RevocationCursorGone.into()),
            Err(Gone::Below) => {
                // A service that makes this replica read waits like the others.
                let _place = app.feed.admit(caller)?;
                let _turn = app.feed.recalls.acquire().await;
                if !revocation::recall(app, &cursor).await? {
                    return Err(Code::RevocationCursorGone.into());
                }
            }
            Ok(None) | Err(Gone::Above) => {
                let _place = app.feed.admit(caller)?;
                app.replica.wake();
                if timeout(READ_WITHIN, reads.changed()).await.is_err() {
                    return Err(Code::ServiceUnavailable.into());
                }
            }
        }
    }
    match feed.after(&cursor, 0) {
        Ok(Some(_)) => Ok(cursor),
        Ok(None) => Err(Code::ServiceUnavailable.into()),
        Err(_) => Err(Code::RevocationCursorGone.into()),
    }
}

/// Returns up to `limit` entries after a cursor. If there are none, waits for the first one, at most for `wait`.
///
/// # Errors
///
/// [`Code::RevocationCursorInvalid`], [`Code::RevocationCursorGone`], [`Code::ServiceUnavailable`], or
/// [`Code::ServiceBusy`] if too many services wait.
pub(crate) async fn read(
    app: &App,
    caller: &Caller,
    after: &str,
    wait: Duration,
    limit: usize,
) -> Result<Batch> {
    let feed = &app.revocation.feed;
    let (mut news, mut stopping) = (feed.news(), feed.stopping());
    let cursor = open(app, caller, after).await?;
    let batch = || match feed.after(&cursor, limit) {
        Ok(Some(batch)) => Ok(batch),
        Ok(None) => Err(Error::from(Code::ServiceUnavailable)),
        Err(_) => Err(Error::from(Code::RevocationCursorGone)),
    };
    let known = batch()?;
    if wait.is_zero() || !known.records.is_empty() {
        return Ok(known);
    }
    let _place = app.feed.admit(caller)?;
    let arrived = async {
        while let Ok(known) = batch()
            && known.records.is_empty()
        {
            if news.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = arrived => {}
        () = sleep(wait) => {}
        _ = stopping.wait_for(|stops| *stops) => {}
    }
    batch()
}
