//! The revocations in memory: read as a whole at the start, followed from then on, and dropped when no token needs
//! them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::revocation::{KEY, LIFT, SESSION, TOKEN, USER};
use futures_util::{StreamExt, TryStreamExt, stream};
use sea_orm::{ConnectionTrait, DbErr};
use tessera_verify::feed::Record;
use tessera_verify::{Revocation, RevocationList};
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::packed;
use super::place::{Settled, leave_last_lift, new_rows};
use super::ring::{self, Cursor, Feed, Read};
use super::store::{self, Row};
use crate::app::App;
use crate::base::clock::{self, Stopwatch, Timestamp};
use crate::base::error::{Code, Error, Result};

/// The number of rows that are read at once.
const BATCH: u64 = 20_000;

/// The number of batches that are read at the same time when a server starts.
const BATCHES_AT_ONCE: usize = 4;

/// Rows are read in the order of the sequence if at least one in this number is needed.
const SPARSE: i64 = 4;

/// The number of lifts among rows that are read again for a service. Each of them needs a query.
const MAX_LIFTS: usize = 100;

/// The time that a server waits for a batch, at its start and later.
const START_WITHIN: Duration = Duration::from_secs(8);
const FOLLOW_WITHIN: Duration = Duration::from_secs(2);

/// The time for which memory keeps an entry after its last token expired, in seconds. The table keeps it for a day.
const KEPT_FOR: u64 = 300;

/// The interval at which entries are dropped.
const DROP_EVERY: Duration = Duration::from_secs(30);

/// The interval at which a long read logs its progress.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// The revocations that this replica knows, and their age.
#[derive(Debug)]
pub struct State {
    list: Arc<RevocationList>,
    /// The last row that was read. Later rows are new.
    place: Mutex<Option<Row>>,
    last_seq: AtomicI64,
    read: Mutex<Option<Stopwatch>>,
    dropped: Mutex<Option<Stopwatch>>,
    /// The instant when this server last recorded the lifetime of its tokens.
    noted: Mutex<Option<Stopwatch>>,
    /// Rows before this number were read by every server that runs.
    settled: Mutex<Settled>,
    longest_life: AtomicI64,
    /// The newest part of the sequence, for services that follow it.
    pub feed: Feed,
    /// Counts the commits of this server that added rows to the sequences.
    written: watch::Sender<u64>,
    pub(super) started: Stopwatch,
    max_staleness: Duration,
}

impl State {
    pub(crate) fn new(max_staleness: u64) -> Self {
        Self {
            list: Arc::new(RevocationList::new()),
            place: Mutex::default(),
            last_seq: AtomicI64::new(0),
            read: Mutex::default(),
            dropped: Mutex::default(),
            noted: Mutex::default(),
            settled: Mutex::new(Settled::at(0)),
            longest_life: AtomicI64::new(0),
            feed: Feed::default(),
            written: watch::Sender::new(0),
            started: Stopwatch::start(),
            max_staleness: Duration::from_secs(max_staleness),
        }
    }

    /// Returns the list that tokens are checked against.
    pub fn list(&self) -> Arc<RevocationList> {
        Arc::clone(&self.list)
    }

    /// Returns the time since the table was last read; `None` before the first time, and while the whole table is read
    /// again.
    pub fn age(&self) -> Option<Duration> {
        get(&self.read).map(|read| read.elapsed())
    }

    /// Returns true if the list is recent enough to accept tokens, and contains every revocation that may cover a valid
    /// token.
    pub fn are_known(&self) -> bool {
        self.age().is_some_and(|age| age <= self.max_staleness) && !self.are_dropped_too_far()
    }

    /// Returns true if a clock was set back, and entries that may be needed again were dropped.
    fn are_dropped_too_far(&self) -> bool {
        clock::now().minus_seconds(KEPT_FOR).seconds() < self.list.dropped_before()
    }

    /// Returns the last number in the sequence that memory contains.
    pub(crate) fn applied(&self) -> i64 {
        self.last_seq.load(Ordering::SeqCst)
    }

    /// Adds entries to memory whose transaction was committed.
    pub(crate) fn apply(&self, entries: impl IntoIterator<Item = Revocation>) {
        entries.into_iter().for_each(|entry| self.list.add(entry));
    }

    /// Notes that this server committed rows of revocations or notices.
    pub(crate) fn note_written(&self) {
        self.written.send_modify(|count| *count += 1);
    }

    /// Returns the signal that this server committed rows of revocations or notices.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Returns the longest lifetime of an access token that may still be valid, in seconds, as far as this server
    /// knows.
    pub(crate) fn longest_life(&self) -> u64 {
        self.longest_life.load(Ordering::SeqCst).unsigned_abs()
    }

    /// Returns the time since this server last recorded the lifetime of its tokens; `None` before the first time.
    pub(super) fn noted_ago(&self) -> Option<Duration> {
        get(&self.noted).map(|noted| noted.elapsed())
    }

    pub(super) fn noted(&self, when: Stopwatch, longest: u64) {
        let longest = i64::try_from(longest).unwrap_or(i64::MAX);
        self.longest_life.store(longest, Ordering::SeqCst);
        set(&self.noted, Some(when));
    }

    /// The clock of a database that has none: the smaller of this machine's clock and one that counts from the start and
    /// cannot be set.
    fn own_clock(&self) -> Timestamp {
        clock::now().min(self.started.wall_by_monotonic())
    }

    fn move_to(&self, place: Option<Row>) {
        let seq = place.as_ref().map_or(0, |row| row.seq);
        set(&self.place, place);
        self.last_seq.store(seq, Ordering::SeqCst);
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).pass(seq);
    }

    /// Returns the last number that this server read a minute ago or earlier. Every other server that runs has read it
    /// too, so no server has its place before it.
    pub(super) fn settled(&self) -> i64 {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).get()
    }
}

fn get<T: Clone>(held: &Mutex<Option<T>>) -> Option<T> {
    held.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(held: &Mutex<Option<T>>, value: Option<T>) {
    *held.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

/// Reads every row of the table that memory would keep: at the start, and when the table no longer contains the rows
/// that memory has followed.
///
/// Entries in memory stay, so revocations that a restored database does not contain still apply. The whole may take
/// long, but each batch must arrive in time.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn load(app: &App, connection: &impl ConnectionTrait) -> Result<()> {
    load_within(app, connection, START_WITHIN).await
}

async fn load_within(app: &App, connection: &impl ConnectionTrait, within: Duration) -> Result<()> {
    let known = &app.revocation;
    // Until everything is read, no token is accepted.
    set(&known.read, None);
    let since = in_time(within, drop_time(app, connection)).await?;
    let mut began = Stopwatch::start();
    let last = in_time(within, store::last(connection)).await?;
    if let Some(last) = &last {
        let since = Timestamp::from_millis(0).plus_seconds(since).millis();
        let counting = store::count_lasting(connection, since);
        let (count, first) = in_time(within, counting).await?;
        match first {
            Some(first) if last.seq - first < count.saturating_mul(SPARSE) => {
                load_dense(app, connection, within, (first, last.seq), since).await?;
            }
            Some(_) => load_sparse(app, connection, within, since, last.seq).await?,
            None => {}
        }
        // Reading many rows took its time. The rows that came meanwhile are read next.
        began = Stopwatch::start();
    }
    known.list.recall(since);
    known.feed.restart(last.as_ref());
    known.move_to(last);
    catch_up(app, connection, within, began).await.map(drop)
}

/// Reads rows that are mostly needed: several parts of the sequence at the same time, each as few texts.
async fn load_dense(
    app: &App,
    connection: &impl ConnectionTrait,
    within: Duration,
    (first, last): (i64, i64),
    since: i64,
) -> Result<()> {
    let step = BATCH.cast_signed();
    let parts = (0..=(last - first) / step).map(|part| {
        let first = first + part * step;
        in_time(within, packed::read(connection, (first, last.min(first + step - 1)), since))
    });
    let mut parts = stream::iter(parts.collect::<Vec<_>>()).buffer_unordered(BATCHES_AT_ONCE);
    let (mut progress, mut entries) = (Progress::new(), Vec::new());
    while let Some(part) = parts.try_next().await? {
        progress.add(part.len());
        entries.extend(part);
        // The list takes many at once faster.
        if entries.len() > app.revocation.list.len() / 8 {
            app.revocation.list.extend(entries.drain(..));
        }
    }
    app.revocation.list.extend(entries);
    Ok(())
}

/// Reads rows of which most are not needed, in the order of an index that leaves those out.
async fn load_sparse(
    app: &App,
    connection: &impl ConnectionTrait,
    within: Duration,
    since: i64,
    last: i64,
) -> Result<()> {
    let mut after = (since - 1, i64::MAX);
    let mut progress = Progress::new();
    loop {
        let rows = in_time(within, store::lasting(connection, after, last, BATCH)).await?;
        let Some(end) = rows.last().map(|row| (row.until, row.seq)) else { return Ok(()) };
        after = end;
        progress.add(rows.len());
        app.revocation.apply(rows.into_iter().filter(covers).filter_map(entry));
    }
}

/// The progress of a long read, which is logged now and then.
struct Progress {
    count: usize,
    last_logged: Stopwatch,
}

impl Progress {
    fn new() -> Self {
        Self { count: 0, last_logged: Stopwatch::start() }
    }

    fn add(&mut self, count: usize) {
        self.count += count;
        if self.last_logged.elapsed() > LOG_EVERY {
            tracing::info!(revocations = self.count, "revocations are being read");
            self.last_logged = Stopwatch::start();
        }
    }
}

/// Reads the rows that were committed since the last time. Returns true if the table had another history and was read
/// as a whole.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn follow(app: &App, connection: &impl ConnectionTrait) -> Result<bool> {
    if app.revocation.are_dropped_too_far() {
        tracing::warn!("the clock was set back, so revocations that were dropped are read again");
        load_within(app, connection, FOLLOW_WITHIN).await?;
        return Ok(true);
    }
    let was_whole = catch_up(app, connection, FOLLOW_WITHIN, Stopwatch::start()).await?;
    let dropped = get(&app.revocation.dropped);
    if dropped.is_none_or(|dropped| dropped.elapsed() > DROP_EVERY) {
        let time = in_time(FOLLOW_WITHIN, drop_time(app, connection)).await?;
        let before = app.revocation.list.len();
        app.revocation.list.drop_before(time);
        set(&app.revocation.dropped, Some(Stopwatch::start()));
        let dropped = before.saturating_sub(app.revocation.list.len());
        if dropped > 0 {
            tracing::debug!(revocations = dropped, "revocations were dropped from memory");
        }
    }
    Ok(was_whole)
}

async fn catch_up(
    app: &App,
    connection: &impl ConnectionTrait,
    within: Duration,
    mut began: Stopwatch,
) -> Result<bool> {
    let known = &app.revocation;
    loop {
        let place = get(&known.place);
        let seq = place.as_ref().map_or(0, |row| row.seq);
        let asked = Stopwatch::start();
        let head = in_time(within, store::head(connection)).await?;
        let read = Read { at: head.clock.unwrap_or_else(|| known.own_clock()), asked };
        let rows = in_time(within, store::from(connection, seq, BATCH)).await?;
        let is_full = u64::try_from(rows.len()).is_ok_and(|count| count == BATCH);
        let Some(mut rows) = new_rows(place.as_ref(), rows) else {
            tracing::warn!(
                revocation.seq = seq,
                "the table of revocations has another history, as after a backup was restored: \
                 they are read again"
            );
            known.feed.end_epoch();
            Box::pin(load_within(app, connection, within)).await?;
            return Ok(true);
        };
        if is_full {
            leave_last_lift(&mut rows);
        }
        let last = rows.last().cloned();
        let mut hidden = Vec::new();
        for row in &rows {
            if !apply_row(app, connection, within, row.clone()).await? {
                hidden.push(row.seq);
            }
        }
        // Only after the last batch is everything in memory that was committed before the read.
        known.feed.add(&head, (!is_full).then_some(read), (place.as_ref(), &rows), &hidden);
        if last.is_some() {
            // Only now: a reader that continues from here must find the rows before it in memory.
            known.move_to(last);
        }
        if !is_full {
            set(&known.read, Some(began));
            return Ok(false);
        }
        began = Stopwatch::start();
    }
}

/// Applies a row. Returns false if services must not see it: a lift after which an earlier row for the same id still
/// holds. Release 0.1.0 writes such lifts. Services know only the id, so they would lift that row too.
async fn apply_row(
    app: &App,
    connection: &impl ConnectionTrait,
    within: Duration,
    row: Row,
) -> Result<bool> {
    if row.kind != LIFT {
        app.revocation.apply(entry(row));
        return Ok(true);
    }
    let Some(lifted) = lifted(row.clone()) else { return Ok(true) };
    // Other revocations of the same id still hold. They are read first, so that memory keeps them if the database
    // goes away here.
    let rest = holding(connection, within, &row).await?;
    let is_whole = !has_earlier(&row, &rest);
    app.revocation.list.lift(lifted);
    app.revocation.apply(rest.into_iter().filter_map(entry));
    Ok(is_whole)
}

/// Reads the revocations of the id of a lift that still hold.
async fn holding(
    connection: &impl ConnectionTrait,
    within: Duration,
    lift: &Row,
) -> Result<Vec<Row>> {
    let (_, subject) = lift.subject.split_once(':').unwrap_or_default();
    let rest = in_time(within, store::of(connection, 0, &[subject.to_owned()])).await?;
    Ok(rest.into_iter().map(Row::from).filter(covers).collect())
}

/// Returns true if a row before a lift still holds for the same id. Services must not see such a lift, because nothing
/// behind it says that the id is revoked.
fn has_earlier(lift: &Row, rest: &[Row]) -> bool {
    let (kind, _) = lift.subject.split_once(':').unwrap_or_default();
    rest.iter().any(|other| other.kind == kind && other.seq < lift.seq)
}

/// Returns the instant, in seconds since the epoch, before which tokens expired so long ago that memory does not need
/// their revocations.
///
/// It uses the smaller of two clocks. One is the clock of this machine. The other is PostgreSQL's clock, or, with
/// SQLite, a clock that counts from the start and cannot be set. So if one of them jumps ahead, nothing is dropped too
/// early.
async fn drop_time(app: &App, connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let database = store::clock(connection).await?;
    let steady = database.map_or_else(|| app.revocation.own_clock(), |own| own.min(clock::now()));
    Ok(steady.minus_seconds(KEPT_FOR).seconds())
}

async fn in_time<T>(within: Duration, read: impl Future<Output = Result<T, DbErr>>) -> Result<T> {
    match timeout(within, read).await {
        Ok(read) => Ok(read?),
        Err(_) => {
            let cause = format!("the database did not answer within {} seconds", within.as_secs());
            Err(Error::because(Code::ServiceUnavailable, cause))
        }
    }
}

/// Returns the revocation that a row lifts.
fn lifted(row: Row) -> Option<Revocation> {
    let (kind, subject) = row.subject.split_once(':')?;
    entry(Row { kind: kind.to_owned(), subject: subject.to_owned(), ..row })
}

/// Returns true if a row may cover tokens. A row that was lifted does not.
fn covers(row: &Row) -> bool {
    row.kind != LIFT && row.until > 0
}

/// Converts a row to an entry of the list. It skips a row of a kind that only a newer release knows: if it failed
/// instead, this server could read no further and would refuse every token.
pub(super) fn entry(row: Row) -> Option<Revocation> {
    if row.kind == KEY || row.until <= 0 {
        // The keys themselves say which are retired.
        return None;
    }
    let Row { seq, kind, subject, until, at } = row;
    let until = Timestamp::from_millis(until).seconds();
    let known = [TOKEN, SESSION, USER].contains(&kind.as_str());
    let Some(id) = subject.parse::<Uuid>().ok().filter(|_| known) else {
        tracing::error!(
            revocation.seq = seq,
            "a revocation is ignored, because its kind is unknown or its id is invalid"
        );
        return None;
    };
    Some(match kind.as_str() {
        TOKEN => Revocation::token(id, until),
        SESSION => Revocation::session(id, until),
        _ => Revocation::user(id, at.max(0).unsigned_abs(), until),
    })
}

/// Reads rows of the table that the feed has dropped from memory, so that a service whose place is there can continue.
/// Returns true if its place may be in memory now.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn recall(app: &App, cursor: &Cursor) -> Result<bool> {
    let (feed, seq) = (&app.revocation.feed, cursor.seq());
    let Some((epoch, base)) = feed.recallable(seq, BATCH) else { return Ok(false) };
    if seq >= base {
        return Ok(true);
    }
    let head = in_time(FOLLOW_WITHIN, store::head(app.database.reader())).await?;
    if seq + 1 < head.low {
        return Ok(false);
    }
    let reading = store::between(app.database.reader(), seq, base);
    let rows = in_time(FOLLOW_WITHIN, reading).await?;
    // A cursor that nobody got from a server makes memory no larger.
    if seq > 0 && !rows.first().is_some_and(|row| cursor.is_at(row)) {
        return Ok(false);
    }
    let lifts: Vec<_> = rows.iter().filter(|row| row.kind == LIFT).collect();
    if lifts.len() > MAX_LIFTS {
        return Ok(false);
    }
    let mut hidden = Vec::new();
    for row in lifts {
        let rest = holding(app.database.reader(), FOLLOW_WITHIN, row).await?;
        if has_earlier(row, &rest) {
            hidden.push(row.seq);
        }
    }
    feed.add_before(&epoch, seq, &rows, &hidden);
    Ok(true)
}

/// Reads the records of all revocations that may cover a token, in parts, and passes them on.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn live_records(app: &App, mut take: impl FnMut(Record)) -> Result<()> {
    let connection = app.database.exporter();
    let since = in_time(START_WITHIN, drop_time(app, connection)).await?;
    let mut after = (Timestamp::from_millis(0).plus_seconds(since).millis() - 1, i64::MAX);
    loop {
        let reading = store::lasting(connection, after, i64::MAX, BATCH);
        let rows = in_time(START_WITHIN, reading).await?;
        let Some(end) = rows.last().map(|row| (row.until, row.seq)) else { return Ok(()) };
        after = end;
        rows.iter().filter(|row| covers(row)).filter_map(ring::record).for_each(&mut take);
    }
}
