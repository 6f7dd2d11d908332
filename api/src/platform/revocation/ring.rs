//! The newest part of the sequence of revocations in memory, as records that waiting services get.
//!
//! Only the job that follows the table writes it. A waiter keeps a place in it and no queue, and costs no query.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use entity::revocation::{KEY, LIFT, SESSION, TOKEN, USER};
use tessera_verify::feed::{Record, RecordKind, hash_of};
use tokio::sync::watch;

use super::store::{Head, Row};
use crate::base::clock::{Stopwatch, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::hex::hex;

/// The number of rows that stay in memory, and the longest time for which more stay.
const KEPT: usize = 100_000;
const KEPT_FOR: u64 = 3600;

/// The number of rows above which memory keeps no hour.
const MOST: usize = 500_000;

/// The number of rows by which another replica can be ahead of this one. A place further ahead does not exist.
const NEAR: i64 = 20_000;

/// A place in the sequence of revocations, which a service keeps: `epoch.seq.tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    epoch: String,
    seq: i64,
    tag: u64,
}

impl Cursor {
    /// The number in the sequence.
    pub(crate) fn seq(&self) -> i64 {
        self.seq
    }

    /// Returns true if this is the place of a row.
    pub(super) fn is_at(&self, row: &Row) -> bool {
        (self.seq, self.tag) == (row.seq, tag(row))
    }
}

/// Writes `epoch.seq.tag`.
impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{:016x}", self.epoch, self.seq, self.tag)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_hex = |text: &str| {
            let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            text.len() == 16 && text.bytes().all(is_digit)
        };
        let parts: Vec<_> = text.split('.').collect();
        let cursor = match parts[..] {
            [epoch, seq, tag] if is_hex(epoch) && is_hex(tag) => {
                // Numbers have one spelling.
                let number = seq.parse::<i64>().ok().filter(|number| number.to_string() == seq);
                number.filter(|number| *number >= 0).and_then(|seq| {
                    let tag = u64::from_str_radix(tag, 16).ok()?;
                    Some(Self { epoch: epoch.to_owned(), seq, tag })
                })
            }
            _ => None,
        };
        cursor.ok_or_else(|| Code::RevocationCursorInvalid.into())
    }
}

/// Returns a new random epoch.
pub(super) fn new_epoch() -> String {
    hex(crate::base::random::bytes::<8>())
}

/// A row of the sequence: its number, its tag, and its record, unless only a newer release knows its kind.
#[derive(Debug, Clone, Copy)]
struct Slot {
    seq: i64,
    tag: u64,
    record: Option<[u8; Record::LENGTH]>,
}

impl Slot {
    fn of(row: &Row) -> Self {
        let record = record(row).map(|record| record.to_bytes());
        Self { seq: row.seq, tag: tag(row), record }
    }

    fn record(&self) -> Option<Record> {
        Record::from_bytes(self.record.as_ref()?).ok()
    }

    fn hash(&self) -> Option<u64> {
        self.record().map(|record| record.hash)
    }

    fn is_lift(&self) -> bool {
        self.record().is_some_and(|record| record.kind == RecordKind::Lift)
    }
}

/// Returns the tag of a row, by which a row with the same number in another history is distinguished.
fn tag(row: &Row) -> u64 {
    let Row { seq, kind, subject, until: _, at } = row;
    let digest = digest(&SHA256, format!("{seq} {kind} {subject} {at}").as_bytes());
    digest.as_ref()[..8].iter().fold(0, |tag, byte| tag << 8 | u64::from(*byte))
}

/// Returns the record of a row; `None` for a kind that only a newer release knows.
pub(super) fn record(row: &Row) -> Option<Record> {
    let (kind, hash) = match row.kind.as_str() {
        TOKEN | SESSION => (RecordKind::Deny, hash_of(&format!("{}:{}", row.kind, row.subject))),
        USER => (RecordKind::Cut, hash_of(&format!("{USER}:{}", row.subject))),
        KEY => (RecordKind::Key, hash_of(&format!("{KEY}:{}", row.subject))),
        // The subject of a lift has its kind.
        LIFT => (RecordKind::Lift, hash_of(&row.subject)),
        _ => return None,
    };
    let until = Timestamp::from_millis(row.until).seconds();
    let until = u32::try_from(until).unwrap_or(u32::MAX);
    Some(Record { kind, at: row.at.max(0).unsigned_abs(), until, hash })
}

/// The instant, by the database's clock, when a read of the table began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) at: Timestamp,
    /// Started before the database was asked for its clock, so that the sum of both is never behind that clock.
    pub(super) asked: Stopwatch,
}

impl Read {
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        // One more, because the clock has no fractions of milliseconds.
        self.at.millis().max(0).unsigned_abs().saturating_add(elapsed).saturating_add(1)
    }
}

/// The times of an answer, by the database's clock, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The time when the answer was made.
    pub now: u64,
    /// The time up to which the answer is complete; 0 if more rows follow it.
    pub at: u64,
}

/// A part of the feed, after a place in it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The place at its end.
    pub cursor: Cursor,
    /// Its times.
    pub times: Times,
    /// Its records.
    pub records: Vec<u8>,
    /// `true` if there are no further rows.
    pub is_last: bool,
}

/// The place of a waiter that cannot be served any more: it must take a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The place is not in memory, but may be in the table.
    Below,
    /// The place may be in rows that this replica has not read yet.
    Above,
    /// The place is in another epoch or another past.
    Elsewhere,
}

/// The rows in memory.
#[derive(Debug, Default)]
struct Log {
    /// The epoch; empty before the first one is known.
    epoch: String,
    /// An epoch that has ended because the table has another history.
    ended: String,
    /// The number of the row before the first slot, and its tag.
    base: (i64, u64),
    slots: VecDeque<Slot>,
    read: Option<Read>,
    /// The number from which the table has every row, as the last read said.
    low: i64,
}

/// An event of a stream, which waiters at the same place share.
#[derive(Debug, Clone)]
pub(crate) struct SharedEvent {
    /// The event as it is sent.
    pub(crate) bytes: Bytes,
    /// The place at its end.
    pub(crate) cursor: Cursor,
    /// Its times.
    pub(crate) times: Times,
    /// Its records, if further rows follow them.
    pub(crate) records: Bytes,
    /// `true` if no rows follow.
    pub(crate) is_last: bool,
    /// The hashes of the users whose access tokens it cuts off.
    pub(crate) cuts: Arc<[u64]>,
}

/// An event that was made, with the place before it and the number of the read that it tells of.
#[derive(Debug)]
struct Event {
    after: Cursor,
    read: u64,
    event: SharedEvent,
}

/// The newest part of the sequence, and the signals for those who wait for it.
#[derive(Debug)]
pub struct Feed {
    log: RwLock<Log>,
    /// Counts the reads.
    reads: watch::Sender<u64>,
    /// Counts the reads that brought something new.
    news: watch::Sender<u64>,
    /// `true` when the server stops.
    stopping: watch::Sender<bool>,
    /// The latest event as bytes, so that waiters at the same place share it.
    event: Mutex<Option<Event>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            log: RwLock::default(),
            reads: watch::Sender::new(0),
            news: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            event: Mutex::default(),
        }
    }
}

impl Log {
    fn head(&self) -> (i64, u64) {
        self.slots.back().map_or(self.base, |slot| (slot.seq, slot.tag))
    }

    fn cursor(&self, (seq, tag): (i64, u64)) -> Cursor {
        Cursor { epoch: self.epoch.clone(), seq, tag }
    }

    /// Returns the number of slots up to a place.
    fn passed(&self, cursor: &Cursor) -> Result<usize, Gone> {
        if cursor.epoch != self.epoch {
            return Err(Gone::Elsewhere);
        }
        if cursor.seq < self.base.0 {
            return Err(Gone::Below);
        }
        if cursor.seq > self.head().0 {
            let is_near = cursor.seq - self.head().0 <= NEAR;
            return Err(if is_near { Gone::Above } else { Gone::Elsewhere });
        }
        let (passed, found) = if cursor.seq == self.base.0 {
            (0, Some(self.base.1))
        } else {
            let passed = self.slots.partition_point(|slot| slot.seq <= cursor.seq);
            let slot = self.slots.get(passed.saturating_sub(1));
            (passed, slot.filter(|slot| slot.seq == cursor.seq).map(|slot| slot.tag))
        };
        if found == Some(cursor.tag) { Ok(passed) } else { Err(Gone::Elsewhere) }
    }

    /// Returns the number of slots of a batch that begins behind `passed` slots. A lift and the rows that repeat behind it
    /// what still holds stay together: a service that got the lift alone would accept a revoked token meanwhile. If they
    /// do not fit, the batch ends before the lift, or has more slots if it begins with the lift.
    fn batch(&self, passed: usize, limit: usize) -> usize {
        let rest = self.slots.len() - passed;
        if limit == 0 || rest <= limit {
            return rest.min(limit);
        }
        let next = passed + limit;
        let Some(lift) = self.lift_before(next) else { return limit };
        if lift > passed {
            return lift - passed;
        }
        let repeated =
            self.slots.range(next..).take_while(|slot| slot.hash() == self.slots[lift].hash());
        limit + repeated.count()
    }

    /// Returns the index of the lift that the slot at an index belongs to.
    fn lift_before(&self, index: usize) -> Option<usize> {
        let hash = self.slots.get(index)?.hash()?;
        let same = self.slots.range(..index).enumerate().rev();
        let mut same = same.take_while(|(_, slot)| slot.hash() == Some(hash));
        same.find(|(_, slot)| slot.is_lift()).map(|(index, _)| index)
    }

    /// Drops the oldest rows that memory need not keep.
    fn trim(&mut self, now: Timestamp) {
        let long_ago = now.minus_seconds(KEPT_FOR).millis().max(0).unsigned_abs();
        while self.slots.len() > KEPT {
            let Some(first) = self.slots.front() else { return };
            let record = first.record();
            if self.slots.len() <= MOST && record.is_some_and(|record| record.at > long_ago) {
                return;
            }
            self.base = (first.seq, first.tag);
            self.slots.pop_front();
        }
    }
}

impl Feed {
    fn log(&self) -> std::sync::RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_mut(&self) -> std::sync::RwLockWriteGuard<'_, Log> {
        self.log.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew after a row that was read. Nothing is served before the next read.
    pub(super) fn restart(&self, place: Option<&Row>) {
        let mut log = self.log_mut();
        log.base = place.map_or((0, 0), |row| (row.seq, tag(row)));
        log.slots.clear();
        log.read = None;
    }

    /// Serves nothing until another epoch has begun, because the table has another history. Returns the epoch that
    /// ended.
    pub(crate) fn end_epoch(&self) -> String {
        let mut log = self.log_mut();
        if !log.epoch.is_empty() {
            log.ended = std::mem::take(&mut log.epoch);
        }
        log.read = None;
        let ended = log.ended.clone();
        drop(log);
        self.news.send_modify(|news| *news += 1);
        ended
    }

    /// Returns true if another epoch must begin before anything is served.
    pub(crate) fn has_ended(&self) -> bool {
        let log = self.log();
        log.epoch.is_empty() && !log.ended.is_empty()
    }

    /// Adds rows that follow the last one, and notes when they were read, unless more rows follow. `before` is the row before them, and `hidden`
    /// has the numbers of those that services must not see.
    pub(super) fn add(
        &self,
        head: &Head,
        read: Option<Read>,
        (before, rows): (Option<&Row>, &[Row]),
        hidden: &[i64],
    ) {
        let mut log = self.log_mut();
        if head.epoch.is_empty() || head.epoch == log.ended {
            return;
        }
        let is_news = !rows.is_empty() || head.epoch != log.epoch;
        if head.epoch != log.epoch {
            log.epoch.clone_from(&head.epoch);
            log.base = before.map_or((0, 0), |row| (row.seq, tag(row)));
            log.slots.clear();
            log.read = None;
        }
        log.slots.extend(rows.iter().map(|row| shown(row, hidden)));
        log.low = head.low;
        if let Some(read) = read {
            log.read = Some(read);
            log.trim(read.at);
        }
        drop(log);
        self.reads.send_modify(|reads| *reads += 1);
        if is_news {
            self.news.send_modify(|news| *news += 1);
        }
    }

    /// Adds rows before the first one, which were read from the table. They begin at the place `seq` of a waiter; with
    /// 0, at the first row of all. `hidden` is that of [`Self::add`].
    pub(super) fn add_before(&self, epoch: &str, seq: i64, rows: &[Row], hidden: &[i64]) {
        let mut log = self.log_mut();
        let base = log.base;
        let is_whole = rows.last().is_some_and(|row| (row.seq, tag(row)) == base);
        if !is_whole || log.epoch != epoch {
            return;
        }
        let (base, rest) = match rows {
            [first, rest @ ..] if first.seq == seq => ((seq, tag(first)), rest),
            all if seq == 0 => ((0, 0), all),
            _ => return,
        };
        for row in rest.iter().rev() {
            log.slots.push_front(shown(row, hidden));
        }
        log.base = base;
    }

    /// Returns the epoch and the number of the row before those in memory, if at most `most` rows from a place on can be
    /// read again. This needs no query, so that a place which is too far away costs nothing.
    pub(super) fn recallable(&self, seq: i64, most: u64) -> Option<(String, i64)> {
        let log = self.log();
        let base = log.base.0;
        let count = u64::try_from(base.saturating_sub(seq)).unwrap_or_default();
        let has_room = usize::try_from(count).is_ok_and(|count| log.slots.len() + count <= MOST);
        let is_near = count <= most && seq + 1 >= log.low;
        (has_room && is_near).then(|| (log.epoch.clone(), base))
    }

    /// Returns the epoch; empty if it is not known.
    pub fn epoch(&self) -> String {
        self.log().epoch.clone()
    }

    /// Returns the place at the end, and the times.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceUnavailable`] if this replica does not know the end.
    pub fn end(&self) -> Result<(Cursor, Times)> {
        let log = self.log();
        let read = log.read.ok_or(Code::ServiceUnavailable)?;
        let times = Times { now: read.now(), at: read.at.millis().max(0).unsigned_abs() };
        Ok((log.cursor(log.head()), times))
    }

    /// Returns up to `limit` rows after a place, or a few more that belong together.
    ///
    /// # Errors
    ///
    /// [`Gone`] if the place is not in memory.
    pub fn after(&self, cursor: &Cursor, limit: usize) -> Result<Option<Batch>, Gone> {
        let log = self.log();
        let Some(read) = log.read else { return Ok(None) };
        let passed = log.passed(cursor)?;
        let mut end = (cursor.seq, cursor.tag);
        let count = log.batch(passed, limit);
        let mut records = Vec::with_capacity(count * Record::LENGTH);
        for slot in log.slots.range(passed..).take(count) {
            end = (slot.seq, slot.tag);
            records.extend_from_slice(slot.record.as_ref().map_or(&[][..], |record| &record[..]));
        }
        let is_last = end == log.head();
        let at = read.at.millis().max(0).unsigned_abs();
        let times = Times { now: read.now(), at: if is_last { at } else { 0 } };
        Ok(Some(Batch { cursor: log.cursor(end), times, records, is_last }))
    }

    /// Returns the event after a place that another waiter got after the same read, or makes it.
    ///
    /// # Errors
    ///
    /// [`Gone`] if the place is not in memory.
    pub(crate) fn shared_event(
        &self,
        after: &Cursor,
        make: impl FnOnce() -> Result<Option<SharedEvent>, Gone>,
    ) -> Result<Option<SharedEvent>, Gone> {
        let read = *self.reads.borrow();
        let held = || self.event.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*held()
            && known.read == read
            && known.after == *after
        {
            return Ok(Some(known.event.clone()));
        }
        let made = make()?;
        if let Some(event) = &made {
            *held() = Some(Event { after: after.clone(), read, event: event.clone() });
        }
        Ok(made)
    }

    /// Returns the signal that counts the reads of the table.
    pub fn reads(&self) -> watch::Receiver<u64> {
        self.reads.subscribe()
    }

    /// Returns the signal that there is something new: rows, or another epoch.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Returns the signal that the server stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Ends all waiters, because the server stops.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// Returns the slot of a row. Services do not see the record of a hidden one.
fn shown(row: &Row, hidden: &[i64]) -> Slot {
    let slot = Slot::of(row);
    if hidden.contains(&row.seq) { Slot { record: None, ..slot } } else { slot }
}

#[cfg(test)]
mod tests {
    use tessera_verify::feed::FeedList;

    use super::*;

    fn row(seq: i64, kind: &str, subject: &str) -> Row {
        let subject =
            if kind == LIFT { format!("{SESSION}:{subject}") } else { subject.to_owned() };
        Row { seq, kind: kind.to_owned(), subject, until: 9_000_000_000_000, at: 1 }
    }

    /// A feed with these kinds of rows.
    fn feed(rows: &[(&str, &str)]) -> Feed {
        let rows: Vec<_> = (1..).zip(rows).map(|(seq, (kind, id))| row(seq, kind, id)).collect();
        let feed = Feed::default();
        let head = Head { epoch: new_epoch(), low: 0, clock: None };
        let read = Read { at: Timestamp::from_millis(1), asked: Stopwatch::start() };
        feed.add(&head, Some(read), (None, &rows), &[]);
        feed
    }

    /// Reads a feed in batches, and returns their sizes and whether the session `a` is refused after each.
    fn read(feed: &Feed, limit: usize) -> Vec<(usize, bool)> {
        let (mut cursor, list, mut found) =
            (feed.log().cursor((0, 0)), FeedList::new(), Vec::new());
        loop {
            let batch = feed.after(&cursor, limit).unwrap().unwrap();
            let records = Record::all_from_bytes(&batch.records).unwrap();
            list.apply(&records);
            found.push((records.len(), list.is_denied(hash_of(&format!("{SESSION}:a")))));
            assert!(found.len() < 9);
            cursor = batch.cursor;
            if batch.is_last {
                return found;
            }
        }
    }

    #[test]
    fn no_batch_ends_between_a_lift_and_what_still_holds() {
        let known = [(SESSION, "a"), (SESSION, "a"), (LIFT, "a"), (SESSION, "a")];
        let more = [(SESSION, "b"), (LIFT, "a"), (SESSION, "a"), (SESSION, "a"), (SESSION, "c")];
        let feed = feed(&[&known[..], &more].concat());
        for (limit, sizes) in [
            (1, vec![1, 1, 2, 1, 3, 1]),
            (2, vec![2, 2, 1, 3, 1]),
            (3, vec![2, 3, 3, 1]),
            (4, vec![4, 4, 1]),
            (5, vec![5, 4]),
            (6, vec![5, 4]),
            (7, vec![5, 4]),
            (8, vec![8, 1]),
            (9, vec![9]),
        ] {
            let batches = read(&feed, limit);
            assert!(batches.iter().all(|(_, is_denied)| *is_denied), "{limit}: {batches:?}");
            let found: Vec<_> = batches.iter().map(|(size, _)| *size).collect();
            assert_eq!(found, sizes, "{limit}");
        }
        assert!(feed.after(&feed.end().unwrap().0, 0).unwrap().unwrap().records.is_empty());
    }

    #[test]
    fn a_lift_after_which_nothing_holds_is_an_entry_like_others() {
        let feed = feed(&[(SESSION, "a"), (LIFT, "a"), (SESSION, "b")]);
        for limit in 1..=3 {
            let batches = read(&feed, limit);
            assert_eq!(batches.iter().map(|(size, _)| size).sum::<usize>(), 3);
            assert!(!batches.last().unwrap().1);
        }
    }
}
