//! What memory has of the table: read whole at the start, followed from then on, and dropped once no
//! token needs it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::revocation::{LIFT, SESSION, TOKEN, USER};
use sea_orm::{ConnectionTrait, DbErr};
use tessera_verify::{Revocation, RevocationList};
use tokio::time::timeout;
use uuid::Uuid;

use super::store::{self, Row};
use crate::app::App;
use crate::base::clock::{self, Stopwatch, Timestamp};
use crate::base::error::{Code, Error, Result};

/// How many rows are read at once.
const BATCH: u64 = 20_000;

/// How long a server waits for a batch, at its start and later.
const START_WITHIN: Duration = Duration::from_secs(8);
const FOLLOW_WITHIN: Duration = Duration::from_secs(2);

/// How long memory keeps an entry after its last token expired, in seconds. The table keeps it for a day.
const KEPT_FOR: u64 = 300;

/// How often entries are dropped.
const DROP_EVERY: Duration = Duration::from_secs(30);

/// How often a long read says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What this replica knows of revocations, and since when.
#[derive(Debug)]
pub struct State {
    list: Arc<RevocationList>,
    /// The last row that was read: what comes after it is new.
    place: Mutex<Option<Row>>,
    last_seq: AtomicI64,
    read: Mutex<Option<Stopwatch>>,
    dropped: Mutex<Option<Stopwatch>>,
    /// When this server noted how long its tokens live.
    noted: Mutex<Option<Stopwatch>>,
    longest_life: AtomicI64,
    started: Stopwatch,
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
            longest_life: AtomicI64::new(0),
            started: Stopwatch::start(),
            max_staleness: Duration::from_secs(max_staleness),
        }
    }

    /// The list that tokens are checked against.
    pub fn list(&self) -> Arc<RevocationList> {
        Arc::clone(&self.list)
    }

    /// How long ago the table was last read; `None` before the first time, and while it is read anew.
    pub fn age(&self) -> Option<Duration> {
        get(&self.read).map(|read| read.elapsed())
    }

    /// Whether the list is young enough to say yes by, and has all that may cover a valid token.
    pub fn are_known(&self) -> bool {
        self.age().is_some_and(|age| age <= self.max_staleness) && !self.are_dropped_too_far()
    }

    /// Whether a clock was set back, so that entries were dropped that may be needed.
    fn are_dropped_too_far(&self) -> bool {
        clock::now().minus_seconds(KEPT_FOR).seconds() < self.list.dropped_before()
    }

    /// The last place in the sequence that memory knows of.
    pub(crate) fn applied(&self) -> i64 {
        self.last_seq.load(Ordering::SeqCst)
    }

    /// Puts entries whose transaction was committed into memory.
    pub(crate) fn apply(&self, entries: impl IntoIterator<Item = Revocation>) {
        entries.into_iter().for_each(|entry| self.list.add(entry));
    }

    /// The longest life of an access token that may still be valid, as far as this server knows, in seconds.
    pub(crate) fn longest_life(&self) -> u64 {
        self.longest_life.load(Ordering::SeqCst).unsigned_abs()
    }

    /// How long ago this server noted how long its tokens live; `None` before the first time.
    pub(super) fn noted_ago(&self) -> Option<Duration> {
        get(&self.noted).map(|noted| noted.elapsed())
    }

    pub(super) fn noted(&self, when: Stopwatch, longest: u64) {
        let longest = i64::try_from(longest).unwrap_or(i64::MAX);
        self.longest_life.store(longest, Ordering::SeqCst);
        set(&self.noted, Some(when));
    }

    fn move_to(&self, place: Option<Row>) {
        let seq = place.as_ref().map_or(0, |row| row.seq);
        set(&self.place, place);
        self.last_seq.store(seq, Ordering::SeqCst);
    }
}

fn get<T: Clone>(held: &Mutex<Option<T>>) -> Option<T> {
    held.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(held: &Mutex<Option<T>>, value: Option<T>) {
    *held.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

/// Reads what the table has and memory would keep: at the start, and when the rows are not those that
/// memory has followed.
///
/// Nothing that memory knows is taken out: what a restored database forgot stays refused. However long
/// the whole takes, each batch must be there in time.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn load(app: &App, connection: &impl ConnectionTrait) -> Result<()> {
    load_within(app, connection, START_WITHIN).await
}

async fn load_within(app: &App, connection: &impl ConnectionTrait, within: Duration) -> Result<()> {
    let known = &app.revocation;
    // Until all of it was read, no token is accepted.
    set(&known.read, None);
    let since = in_time(within, drop_time(app, connection)).await?;
    let mut began = Stopwatch::start();
    let last = in_time(within, store::last(connection)).await?;
    let (mut count, mut told) = (0, began);
    if let Some(last) = &last {
        let mut after = (Timestamp::from_millis(0).plus_seconds(since).millis() - 1, i64::MAX);
        loop {
            let rows = store::lasting(connection, after, last.seq, BATCH);
            let rows = in_time(within, rows).await?;
            let Some(end) = rows.last().map(|row| (row.until, row.seq)) else { break };
            (after, count) = (end, count + rows.len());
            known.apply(rows.into_iter().filter(covers).filter_map(entry));
            if told.elapsed() > TELL_EVERY {
                tracing::info!(revocations = count, "revocations are being read");
                told = Stopwatch::start();
            }
        }
        // Reading many took its time, and what came meanwhile is read next.
        began = Stopwatch::start();
    }
    known.list.recall(since);
    known.move_to(last);
    catch_up(app, connection, within, began).await.map(drop)
}

/// Reads what was committed to the table since the last time; says whether the table was of another past and was read
/// whole.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn follow(app: &App, connection: &impl ConnectionTrait) -> Result<bool> {
    if app.revocation.are_dropped_too_far() {
        tracing::warn!("the clock was set back: revocations that were dropped are read again");
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
        let rows = in_time(within, store::from(connection, seq, BATCH)).await?;
        let is_full = u64::try_from(rows.len()).is_ok_and(|count| count == BATCH);
        let Some(rows) = new_rows(place.as_ref(), rows) else {
            tracing::warn!(
                revocation.seq = seq,
                "the revocations are not those that were followed, as after a backup was restored: \
                 they are read again"
            );
            Box::pin(load_within(app, connection, within)).await?;
            return Ok(true);
        };
        let last = rows.last().cloned();
        for row in rows {
            apply_row(app, connection, within, row).await?;
        }
        if last.is_some() {
            // Only now: whoever reads on from here must find in memory what is not read again.
            known.move_to(last);
        }
        if !is_full {
            set(&known.read, Some(began));
            return Ok(false);
        }
        began = Stopwatch::start();
    }
}

/// The rows after `place`, of those from there on; `None` if they are of another past: another row
/// stands there, or none although nobody lifted it.
fn new_rows(place: Option<&Row>, mut rows: Vec<Row>) -> Option<Vec<Row>> {
    let Some(place) = place else { return Some(rows) };
    match rows.first() {
        Some(first) if first == place => {
            rows.remove(0);
            Some(rows)
        }
        Some(first) if first.seq == place.seq => None,
        _ => {
            let subject = format!("{}:{}", place.kind, place.subject);
            let lifted = rows.iter().any(|row| row.kind == LIFT && row.subject == subject);
            lifted.then_some(rows)
        }
    }
}

async fn apply_row(
    app: &App,
    connection: &impl ConnectionTrait,
    within: Duration,
    row: Row,
) -> Result<()> {
    if row.kind == LIFT {
        let Some(lifted) = lifted(row.clone()) else { return Ok(()) };
        // What else there is of it holds on. It is read first: a database that goes away here must not
        // leave memory without it.
        let subject = row.subject.split(':').next_back().unwrap_or_default().to_owned();
        let rest = in_time(within, store::of(connection, 0, &[subject])).await?;
        app.revocation.list.lift(lifted);
        app.revocation.apply(rest.into_iter().map(Row::from).filter(covers).filter_map(entry));
    } else {
        app.revocation.apply(entry(row));
    }
    Ok(())
}

/// Before which instant tokens have expired for so long that memory need not know them, in seconds since
/// the epoch.
///
/// By the smaller of two clocks: this machine's, and PostgreSQL's, or the one that nobody set since the
/// start. If one of them jumps ahead, nothing is dropped too early.
async fn drop_time(app: &App, connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let steady = match store::clock(connection).await? {
        Some(database) => database,
        None => app.revocation.started.wall_by_monotonic(),
    };
    Ok(clock::now().min(steady).minus_seconds(KEPT_FOR).seconds())
}

async fn in_time<T>(within: Duration, read: impl Future<Output = Result<T, DbErr>>) -> Result<T> {
    match timeout(within, read).await {
        Ok(read) => Ok(read?),
        Err(_) => {
            let cause = format!("no answer in {} seconds", within.as_secs());
            Err(Error::because(Code::ServiceUnavailable, cause))
        }
    }
}

/// What a row says is revoked no more.
fn lifted(row: Row) -> Option<Revocation> {
    let (kind, subject) = row.subject.split_once(':')?;
    entry(Row { kind: kind.to_owned(), subject: subject.to_owned(), ..row })
}

/// Whether a row covers tokens, or may.
fn covers(row: &Row) -> bool {
    row.kind != LIFT
}

/// A row as an entry of the list. One that a newer release wrote and this one does not know is
/// passed over: refusing to read on would refuse every token.
pub(super) fn entry(row: Row) -> Option<Revocation> {
    let Row { seq, kind, subject, until, at } = row;
    let until = Timestamp::from_millis(until).seconds();
    let known = [TOKEN, SESSION, USER].contains(&kind.as_str());
    let Some(id) = subject.parse::<Uuid>().ok().filter(|_| known) else {
        tracing::error!(revocation.seq = seq, "a revocation is of an unknown kind, or of no id");
        return None;
    };
    Some(match kind.as_str() {
        TOKEN => Revocation::token(id, until),
        SESSION => Revocation::session(id, until),
        _ => Revocation::user(id, at.max(0).unsigned_abs(), until),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64, kind: &str, subject: &str) -> Row {
        Row { seq, kind: kind.to_owned(), subject: subject.to_owned(), until: 2, at: 1 }
    }

    #[test]
    fn another_past_is_told_from_rows_that_were_lifted() {
        let place = row(5, SESSION, "a");
        let (next, other) = (row(6, SESSION, "b"), row(5, SESSION, "c"));
        let lift = row(7, LIFT, "sid:a");
        let later = Row { at: 2, ..place.clone() };
        for (what, rows, new) in [
            ("nothing new", vec![place.clone()], Some(vec![])),
            ("news", vec![place.clone(), next.clone()], Some(vec![next.clone()])),
            ("lifted", vec![next.clone(), lift.clone()], Some(vec![next.clone(), lift.clone()])),
            ("behind", vec![], None),
            ("another row", vec![other, next.clone()], None),
            ("the same thing at another time", vec![later], None),
            ("gone", vec![next.clone()], None),
            ("another lifted", vec![next.clone(), row(7, LIFT, "jti:a")], None),
        ] {
            assert_eq!(new_rows(Some(&place), rows), new, "{what}");
        }
        assert_eq!(new_rows(None, vec![next.clone()]), Some(vec![next]));
    }
}
