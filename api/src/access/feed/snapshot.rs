//! Snapshots: all revocations that may cover a token, compressed once for all services that take one.
//!
//! The beginning of the body has the time of the answer, so it is made for each of them and is not compressed. Gzip
//! allows that: a block of its own precedes the compressed records, and the checksums of both are combined.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use tessera_verify::feed::SnapshotHead;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::room::{Room, Seat};
use crate::access::caller::Caller;
use crate::app::App;
use crate::base::clock::Stopwatch;
use crate::base::error::{Code, Error, Result};
use crate::platform::revocation::{self, Cursor, Times};

/// The number of snapshots that are sent at the same time.
const AT_ONCE: usize = 32;

/// A snapshot is used again for this time, or for this multiple of the time that it took to make it. Services continue
/// from its cursor.
const USED_FOR: Duration = Duration::from_secs(1);
const USED_FOR_TIMES: u32 = 8;

/// The time after which a snapshot is made anew even if nothing has changed, because its entries expire.
const USED_AT_MOST: Duration = Duration::from_secs(300);

/// The latest snapshot.
#[derive(Debug)]
pub(super) struct Cache {
    latest: Mutex<Option<Arc<Made>>>,
    /// Lets one request make a snapshot, while the others wait for it.
    turn: Semaphore,
    sending: Room,
}

impl Default for Cache {
    fn default() -> Self {
        Self { latest: Mutex::default(), turn: Semaphore::new(1), sending: Room::new(AT_ONCE) }
    }
}

/// The compressed records of a snapshot.
#[derive(Debug)]
struct Made {
    cursor: Cursor,
    at: u64,
    count: u32,
    deflated: Bytes,
    checksum: Crc,
    since: Stopwatch,
    took: Duration,
}

/// A snapshot that is about to be sent.
#[derive(Debug)]
pub struct Snapshot {
    made: Arc<Made>,
    times: Times,
    /// The place among those that are sent, which is free again after the last byte.
    pub(super) place: Seat,
}

impl Cache {
    fn get(&self) -> Option<Arc<Made>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Made {
    /// Returns true if a service can take this snapshot now and continue from its cursor.
    fn is_usable(&self, app: &App, end: &Cursor) -> bool {
        let age = self.since.elapsed();
        let is_recent = age < USED_FOR.max(self.took * USED_FOR_TIMES) || self.cursor == *end;
        is_recent
            && age < USED_AT_MOST
            && matches!(app.revocation.feed.after(&self.cursor, 0), Ok(Some(_)))
    }
}

/// Returns the current snapshot.
///
/// # Errors
///
/// [`Code::ServiceBusy`] if too many are being sent; [`Code::ServiceUnavailable`] if this replica does not know the
/// revocations.
pub(crate) async fn take(app: &App, caller: &Caller) -> Result<Snapshot> {
    let cache = &app.feed.snapshots;
    let place = cache.sending.admit(caller)?;
    let (end, _) = app.revocation.feed.end()?;
    let usable = |made: &Arc<Made>| made.is_usable(app, &end);
    let made = match cache.get().filter(usable) {
        Some(made) => made,
        None => {
            // A task, so that the work is not lost if the client gives up.
            let app = app.clone();
            let made = tokio::spawn(async move { make_in_turn(&app).await }).await;
            made.map_err(|error| Error::because(Code::InternalServerError, error))??
        }
    };
    let (end, times) = app.revocation.feed.end()?;
    // If nothing has come since, the snapshot is complete up to the last read.
    let at = if end == made.cursor { times.at } else { made.at };
    Ok(Snapshot { made, times: Times { at, ..times }, place })
}

#[expect(clippy::disallowed_methods, reason = "one snapshot is packed at a time")]
async fn make_in_turn(app: &App) -> Result<Arc<Made>> {
    let cache = &app.feed.snapshots;
    let _turn = cache.turn.acquire().await;
    let (end, times) = app.revocation.feed.end()?;
    if let Some(made) = cache.get().filter(|made| made.is_usable(app, &end)) {
        return Ok(made);
    }
    let since = Stopwatch::start();
    let mut records = Vec::new();
    revocation::live_records(app, |record| records.extend_from_slice(&record.to_bytes())).await?;
    let packed = spawn_blocking(move || pack(&records)).await;
    let packed = packed.map_err(|error| Error::because(Code::InternalServerError, error))?;
    let (count, deflated, checksum) =
        packed.map_err(|error| Error::because(Code::InternalServerError, error))?;
    let took = since.elapsed();
    tracing::debug!(revocations = count, bytes = deflated.len(), "a snapshot was made");
    let made = Made { cursor: end, at: times.at, count, deflated, checksum, since, took };
    let made = Arc::new(made);
    *cache.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&made));
    Ok(made)
}

/// Compresses records.
fn pack(records: &[u8]) -> std::io::Result<(u32, Bytes, Crc)> {
    let count = u32::try_from(records.len() / tessera_verify::feed::Record::LENGTH);
    let mut checksum = Crc::new();
    checksum.update(records);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(records)?;
    Ok((count.unwrap_or(u32::MAX), encoder.finish()?.into(), checksum))
}

impl Snapshot {
    /// The cursor after which the feed continues.
    pub fn cursor(&self) -> &Cursor {
        &self.made.cursor
    }

    /// The parts of the body, compressed with gzip (RFC 1952).
    pub fn parts(&self) -> [Bytes; 3] {
        let Made { cursor, count, deflated, checksum, .. } = &*self.made;
        let Times { now, at } = self.times;
        let head = SnapshotHead::new(cursor.to_string(), now, at, *count).to_bytes();
        // The header of gzip, and a block that is not compressed and not the last one (RFC 1951, section 3.2.4).
        let mut begin = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 0];
        let length = u16::try_from(head.len()).unwrap_or(u16::MAX);
        begin.extend_from_slice(&length.to_le_bytes());
        begin.extend_from_slice(&(!length).to_le_bytes());
        begin.extend_from_slice(&head);
        let mut sum = Crc::new();
        sum.update(&head);
        sum.combine(checksum);
        let mut end = sum.sum().to_le_bytes().to_vec();
        end.extend_from_slice(&sum.amount().to_le_bytes());
        [begin.into(), deflated.clone(), end.into()]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tessera_verify::feed::Record;

    use super::*;

    #[test]
    fn a_body_of_parts_is_one_gzip_file_for_any_number_of_records() {
        for count in [0, 1, 5000, 60_000_u32] {
            let bytes: Vec<u8> = (0..count).flat_map(|n| [n as u8; Record::LENGTH]).collect();
            let (counted, deflated, checksum) = pack(&bytes).unwrap();
            assert_eq!(counted, count);
            let cursor: Cursor = "0123456789abcdef.7.0123456789abcdef".parse().unwrap();
            let (since, took) = (Stopwatch::start(), Duration::ZERO);
            let made = Made { cursor, at: 5, count, deflated, checksum, since, took };
            let place = Room::new(1).admit(&Caller::Operator).unwrap();
            let times = Times { now: 9, at: 5 };
            let body = Snapshot { made: made.into(), times, place }.parts().concat();
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
            let (head, records) = SnapshotHead::parse(&plain).unwrap();
            assert_eq!((head.now, head.at, head.count), (9, 5, count));
            assert_eq!(head.cursor, "0123456789abcdef.7.0123456789abcdef");
            assert_eq!(records, bytes);
        }
    }
}
