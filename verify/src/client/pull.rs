//! Knowledge on demand, for services whose processes stand still between requests: no task follows the feed. If the
//! knowledge is too old, the first request that needs it fetches the rest, and the others wait for it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::follow::{Ended, Feed};
use super::keys::Reading;
use super::metrics::RESYNCS;
use super::warnings::Work;
use super::{Shared, local_time};
use crate::feed::{FeedState, LocalTime, Record, RecordKind};

/// The time limit for a fetch, for which a request waits at most.
const FETCH_WITHIN: Duration = Duration::from_secs(4);

/// The time after a fetch that failed before the next one begins. Until then, answers are 503 at once.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The largest number of entries in an answer, unless some belong together.
const LIMIT: &str = "1000";

/// The parts of a client that fetches on demand.
pub(super) struct Pull {
    feed: Feed,
    turn: Mutex<Turn>,
}

/// The state of the fetches. One is made at a time.
struct Turn {
    failed: Option<LocalTime>,
    keys: Reading,
}

/// A page of the feed as JSON.
#[derive(Deserialize)]
struct Page {
    cursor: String,
    now: u64,
    at: u64,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    kind: String,
    hash: String,
    at: u64,
    until: u32,
}

impl TryFrom<Entry> for Record {
    type Error = Ended;

    fn try_from(entry: Entry) -> Result<Self, Ended> {
        let Entry { kind, hash, at, until } = entry;
        let broken = || Ended::lost("an entry has another form");
        let kind = RecordKind::named(&kind).ok_or_else(broken)?;
        let hash = u64::from_str_radix(&hash, 16).map_err(|_| broken())?;
        Ok(Self { kind, at, until, hash })
    }
}

impl Pull {
    pub(super) fn new(shared: Arc<Shared>, token: String) -> Self {
        let turn = Turn { failed: None, keys: Reading::default() };
        Self { feed: Feed::new(shared, token), turn: Mutex::new(turn) }
    }

    /// Fetches what is missing, if something is. The requests that come meanwhile wait for the same fetch.
    pub(super) async fn bring_up_to_date(&self) {
        if self.is_ready() {
            return;
        }
        let mut turn = self.turn.lock().await;
        let failed = |turn: &Turn| {
            turn.failed.is_some_and(|failed| local_time().since(&failed) < TRY_AGAIN_AFTER)
        };
        if self.is_ready() || failed(&turn) {
            return;
        }
        let fetched = timeout(FETCH_WITHIN, self.fetch(&mut turn)).await;
        let fetched =
            fetched.unwrap_or_else(|_| Err(Ended::lost("Tessera did not answer in time")));
        let warnings = &self.feed.shared.warnings;
        turn.failed = match fetched {
            Ok(()) => {
                warnings.worked(Work::Feed);
                None
            }
            Err(ended) => {
                warnings.failed(Work::Feed, ended.reason());
                Some(local_time())
            }
        };
    }

    fn is_ready(&self) -> bool {
        let shared = &self.feed.shared;
        let keys = shared.keys.as_ref();
        shared.state() == FeedState::Fresh && keys.is_none_or(|keys| !keys.are_due())
    }

    async fn fetch(&self, turn: &mut Turn) -> Result<(), Ended> {
        let shared = &self.feed.shared;
        if shared.keys.as_ref().is_some_and(|keys| keys.are_due()) {
            turn.keys.read(shared).await;
        }
        if shared.state() == FeedState::Fresh {
            return Ok(());
        }
        match self.read_on().await {
            Err(Ended::Gone) => {
                shared.counters.count(RESYNCS, "gone");
                self.feed.set_cursor(None);
                self.read_on().await
            }
            read => read,
        }
    }

    /// Reads everything after the cursor. Without a cursor, it takes a snapshot first.
    async fn read_on(&self) -> Result<(), Ended> {
        let mut cursor = match self.feed.cursor() {
            Some(cursor) => cursor,
            None => self.feed.take_snapshot().await?,
        };
        loop {
            let sent = local_time();
            let query = [("after", &*cursor), ("limit", LIMIT), ("v", "1")];
            let answer = self.feed.get("", &query).await?;
            let page: Page = serde_json::from_slice(&answer.bytes().await?)
                .map_err(|_| Ended::lost("an answer has another form"))?;
            let entries = page.entries.into_iter().map(Record::try_from);
            let records = entries.collect::<Result<Vec<_>, _>>()?;
            self.feed.learn(&records, Some((sent, page.now)), page.at, page.cursor.clone());
            if page.at > 0 {
                self.feed.drop_expired();
                return Ok(());
            }
            cursor = page.cursor;
        }
    }
}
