//! A stream of events for one service, which a task writes (server-sent events).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use poem::Body;
use tessera_verify::feed::{IdKind, Record};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::room::Seat;
use super::{Snapshot, may_read};
use crate::access::caller::Caller;
use crate::app::App;
use crate::base::clock::{self, Stopwatch};
use crate::base::random;
use crate::http::server::Line;
use crate::platform::revocation::{Batch, Cursor, Gone, SharedEvent, Times};

/// The time after the last event when the next one is sent even if nothing has come.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The time within which a client must take an event.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// The largest number of rows in an event. An event that others do not share takes 28 KiB at most.
const ROWS: usize = 1024;

/// The size of the parts of a snapshot, and the time within which a client must take all of them.
const PART: usize = 64 * 1024;
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// The shortest time between two events of a stream, at least, and for each stream.
const GAP: Duration = Duration::from_millis(20);
const GAP_OF_EACH: Duration = Duration::from_micros(20);

/// The interval at which the expiry of a token is checked, and at which everything about it is checked again.
const LOOK_EVERY: Duration = Duration::from_millis(300);
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// The times after a change when a token is checked: after the caches of this replica have forgotten it, and after they
/// have forgotten what they read just before it.
const SETTLED: Duration = Duration::from_millis(50);
const FORGOTTEN: Duration = Duration::from_millis(850);

/// The time over which the clients of a server that stops come back, in milliseconds.
const COME_BACK_WITHIN: u64 = 5000;

/// A waiter: its token, its place in the feed, and its place among the waiters.
pub(crate) struct Waiter {
    pub(crate) app: App,
    pub(crate) caller: Caller,
    pub(crate) secret: String,
    pub(crate) place: Cursor,
    pub(crate) seat: Seat,
    pub(crate) line: Option<Line>,
}

/// The state of a stream between two events.
struct Course {
    sender: Sender<Bytes>,
    news: watch::Receiver<u64>,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// The hash of the user that the token belongs to.
    own: Option<u64>,
    expires: Option<u64>,
    last_at: u64,
    sent: Stopwatch,
    checked: Stopwatch,
    /// The time since something happened that may concern the token.
    suspected: Option<Stopwatch>,
}

/// The event that ends a wait of a stream.
enum Happened {
    News,
    Beat,
    TokenChanged,
    Nothing,
    Stops,
    Left,
}

impl Waiter {
    /// Begins the stream.
    pub(crate) fn body(self) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.run(sender));
        Body::from_bytes_stream(stream::unfold(receiver, next))
    }

    async fn run(mut self, sender: Sender<Bytes>) {
        let (own, expires) = match &self.caller {
            Caller::ApiToken { token, principal } => {
                (Some(IdKind::User.hash(principal.id().uuid())), token.expires)
            }
            _ => (None, None),
        };
        let feed = &self.app.revocation.feed;
        let mut course = Course {
            sender,
            news: feed.news(),
            changes: self.app.api_token.changes(),
            stopping: feed.stopping(),
            own,
            expires,
            last_at: 0,
            sent: Stopwatch::start(),
            checked: Stopwatch::start(),
            suspected: None,
        };
        if self.write(&mut course).await.is_none() {
            let _ = &self.seat;
            tracing::debug!("a stream of revocations has ended");
        }
    }

    /// Writes events until the stream must end. Returns `None` then.
    async fn write(&mut self, course: &mut Course) -> Option<()> {
        // The first event is made for this request alone, because its time proves that the answer is new.
        let first = self.made().ok()??;
        let is_last = first.is_last;
        self.send(course, first).await?;
        if !is_last {
            course.news.mark_changed();
        }
        loop {
            match course.wait().await {
                Happened::News => {
                    let gap = gap_beside(self.app.feed.count());
                    let [byte] = random::bytes::<1>();
                    sleep(turn_within(gap, byte)).await;
                    self.catch_up(course, gap).await?;
                }
                Happened::Beat => {
                    // If the table cannot be read, nothing is known about later times, and nothing is sent.
                    course.sent = Stopwatch::start();
                    let event = self.event().ok()?;
                    if let Some(event) = event.filter(|event| event.times.at > course.last_at) {
                        self.send(course, event).await?;
                    }
                }
                Happened::TokenChanged => self.suspect(course).await?,
                Happened::Nothing => {}
                Happened::Stops => {
                    let [high, low] = random::bytes::<2>();
                    let millis = u64::from(u16::from_be_bytes([high, low])) % COME_BACK_WITHIN;
                    let retry = format!("retry: {millis}\n\n");
                    let _ = course.sender.send(retry.into()).await;
                    return None;
                }
                Happened::Left => return None,
            }
            self.look(course).await?;
        }
    }

    /// Sends all events after this place. Returns `None` if the stream must end.
    async fn catch_up(&mut self, course: &mut Course, gap: Duration) -> Option<()> {
        loop {
            course.news.borrow_and_update();
            let event = self.event().ok()?;
            let Some(event) = event.filter(|event| event.cursor != self.place) else {
                return Some(());
            };
            let is_last = event.is_last;
            self.send(course, event).await?;
            sleep(gap).await;
            // A reader that is behind must outlive neither its token nor the server.
            if is_last || *course.stopping.borrow() {
                return Some(());
            }
            if course.changes.has_changed().unwrap_or(true) {
                course.changes.borrow_and_update();
                self.suspect(course).await?;
            }
            self.look(course).await?;
        }
    }

    /// Checks the token if it is due. Returns `None` if it is not accepted any more.
    async fn look(&self, course: &mut Course) -> Option<()> {
        let now = clock::now().seconds();
        if course.expires.is_some_and(|expires| now >= expires) {
            return None;
        }
        let is_suspect = course.suspected.is_some_and(|since| since.elapsed() > FORGOTTEN);
        if is_suspect || course.checked.elapsed() > CHECK_EVERY {
            course.suspected = course.suspected.filter(|_| !is_suspect);
            return self.check(course).await;
        }
        Some(())
    }

    /// Checks the token soon, and later again. Returns `None` if it is not accepted any more.
    async fn suspect(&self, course: &mut Course) -> Option<()> {
        course.suspected = Some(Stopwatch::start());
        sleep(SETTLED).await;
        self.check(course).await
    }

    /// Returns the event after this place. Waiters at the same place share it.
    fn event(&self) -> Result<Option<SharedEvent>, Gone> {
        self.app.revocation.feed.shared_event(&self.place, || self.made())
    }

    fn made(&self) -> Result<Option<SharedEvent>, Gone> {
        let batch = self.app.revocation.feed.after(&self.place, ROWS)?;
        Ok(batch.map(|batch| shared(&self.place, &batch)))
    }

    /// Sends an event. Returns `None` if the stream must end.
    async fn send(&mut self, course: &mut Course, event: SharedEvent) -> Option<()> {
        // A part of the rows says nothing about later times than the events before it.
        if event.is_last {
            course.last_at = event.times.at;
        }
        let bytes = match event.is_last {
            true => event.bytes,
            false => {
                let times = Times { at: course.last_at, ..event.times };
                written(&self.place, &event.cursor, times, &event.records)
            }
        };
        match timeout(TAKEN_WITHIN, course.sender.send(bytes)).await {
            Ok(sent) => sent.ok()?,
            Err(_) => {
                // Its connection is busy with what the client does not take, so nothing else would end it.
                if let Some(line) = &self.line {
                    line.hang_up();
                }
                return None;
            }
        }
        self.place = event.cursor;
        course.sent = Stopwatch::start();
        if course.own.is_some_and(|own| event.cuts.contains(&own)) {
            self.suspect(course).await?;
        }
        Some(())
    }

    /// Checks the token again. Returns `None` if it is not accepted any more.
    async fn check(&self, course: &mut Course) -> Option<()> {
        course.checked = Stopwatch::start();
        may_read(&self.app, &self.secret).await.then_some(())
    }
}

impl Course {
    async fn wait(&mut self) -> Happened {
        let beat = HEARTBEAT.saturating_sub(self.sent.elapsed());
        let is_watched = self.expires.is_some() || self.suspected.is_some();
        let look = if is_watched { LOOK_EVERY } else { HEARTBEAT };
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stops| *stops) => Happened::Stops,
            () = self.sender.closed() => Happened::Left,
            _ = self.changes.changed() => Happened::TokenChanged,
            _ = self.news.changed() => Happened::News,
            () = sleep(beat) => Happened::Beat,
            () = sleep(look) => Happened::Nothing,
        }
    }
}

/// Sends a snapshot in parts. A client that takes none for a while, or not all in time, loses its connection and the place
/// that it has.
pub(crate) fn sent(snapshot: Snapshot, line: Option<Line>) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let Snapshot { place: _place, .. } = &snapshot;
        let all = async {
            for mut whole in snapshot.parts() {
                while !whole.is_empty() {
                    let part = whole.split_to(whole.len().min(PART));
                    if !matches!(timeout(TAKEN_WITHIN, sender.send(part)).await, Ok(Ok(()))) {
                        return false;
                    }
                }
            }
            // The last part was taken when nobody can take another one.
            timeout(TAKEN_WITHIN, sender.reserve()).await.is_ok()
        };
        let is_taken = timeout(WHOLE_WITHIN, all).await.unwrap_or(false);
        if let Some(line) = line.filter(|_| !is_taken && !sender.is_closed()) {
            line.hang_up();
        }
    });
    Body::from_bytes_stream(stream::unfold(receiver, next))
}

/// Returns the shortest time between two events of a stream, if this many services wait.
fn gap_beside(waiters: usize) -> Duration {
    GAP.max(GAP_OF_EACH.saturating_mul(u32::try_from(waiters).unwrap_or(u32::MAX)))
}

/// Returns the time for which a waiter lets others write first. On a crowded server, each draws another time.
fn turn_within(gap: Duration, random: u8) -> Duration {
    if gap > GAP { gap * u32::from(random) / 256 } else { Duration::ZERO }
}

/// Makes the event of a batch, which begins after a place.
fn shared(after: &Cursor, batch: &Batch) -> SharedEvent {
    let Batch { cursor, times, records, is_last } = batch;
    let cuts = records.chunks_exact(Record::LENGTH).filter_map(|one| {
        let record = Record::from_bytes(one).ok()?;
        matches!(record.kind, tessera_verify::feed::RecordKind::Cut).then_some(record.hash)
    });
    SharedEvent {
        bytes: written(after, cursor, *times, records),
        cursor: cursor.clone(),
        times: *times,
        is_last: *is_last,
        cuts: cuts.collect(),
        records: if *is_last { Bytes::new() } else { records.clone().into() },
    }
}

/// Writes an event. It says after which place it begins, so that a service notices if an earlier event was lost.
fn written(after: &Cursor, cursor: &Cursor, times: Times, records: &[u8]) -> Bytes {
    let (records, Times { now, at }) = (STANDARD.encode(records), times);
    let data = format!(
        "id: {cursor}\ndata: {{\"after\":\"{after}\",\"cursor\":\"{cursor}\",\"now\":{now},\"at\":{at},\
         \"records\":\"{records}\"}}\n\n"
    );
    data.into()
}

/// The next event for the connection.
async fn next(
    mut receiver: Receiver<Bytes>,
) -> Option<(Result<Bytes, std::io::Error>, Receiver<Bytes>)> {
    let bytes = receiver.recv().await?;
    Some((Ok(bytes), receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_rarer_and_spread_over_longer_times_the_more_services_wait() {
        let millis = |waiters| gap_beside(waiters).as_millis();
        assert_eq!([0, 1, 1000, 1001, 2000, 10_000].map(millis), [20, 20, 20, 20, 40, 200]);
        // A few write at once, and many one after another, over the whole gap.
        let turns = |waiters| (0..=255).map(move |byte| turn_within(gap_beside(waiters), byte));
        assert!(turns(1000).all(|turn| turn.is_zero()));
        let (mut turns, step) = (turns(10_000), Duration::from_millis(200) / 256);
        assert!((0..=255).all(|number| turns.next() == Some(step * number)));
    }
}
