//! The only module that reads clocks.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The number of milliseconds in a day.
pub(crate) const MILLIS_OF_A_DAY: i64 = 86_400_000;

/// The largest difference that is allowed between the clocks of replicas, in seconds. The checks of tokens allow the
/// same.
pub(crate) const SKEW: u64 = 2;

/// An instant, in milliseconds since the epoch, as the tables store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// In tests, the file that contains the number of milliseconds by which the wall clock of this process is moved.
static MOVED_BY: OnceLock<PathBuf> = OnceLock::new();

/// The current time.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    Timestamp(MOVED_BY.get().map_or(millis, |file| millis.saturating_add(moved_by(file))))
}

/// Moves the wall clock of this process by the number of milliseconds in a file, which can change at any time. Only
/// tests do this: the settings refuse it outside development.
pub(crate) fn move_by(file: PathBuf) {
    // A process has one clock. Only the first call sets it.
    let _ = MOVED_BY.set(file);
}

fn moved_by(file: &PathBuf) -> i64 {
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

impl Timestamp {
    /// An instant read from a table.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, as in tokens (NumericDate, RFC 7519, section 2); 0 for instants before the epoch.
    pub const fn seconds(self) -> u64 {
        let seconds = self.0.div_euclid(1000);
        if seconds < 0 { 0 } else { seconds.cast_unsigned() }
    }

    /// The instant that is this many seconds later.
    pub fn plus_seconds(self, seconds: u64) -> Self {
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        Self(self.0.saturating_add(millis))
    }

    /// The instant that is this many seconds earlier.
    pub fn minus_seconds(self, seconds: u64) -> Self {
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        Self(self.0.saturating_sub(millis))
    }

    /// The time from an earlier instant to this one; zero if the other one is later.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// The current time, in the type of the standard library.
pub fn system_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now().0.unsigned_abs())
}

/// Measures elapsed time with the monotonic clock and the wall clock, and takes the longer time.
///
/// The monotonic clock stops while a machine is suspended, and the wall clock can be set back. So something is too old
/// if it is too old by one of them.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    monotonic: Instant,
    wall: Timestamp,
}

impl Stopwatch {
    /// Begins to measure.
    pub fn start() -> Self {
        Self { monotonic: Instant::now(), wall: now() }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.elapsed_by(Instant::now(), now())
    }

    /// The start plus the time by the monotonic clock. The result is like a wall clock that was not set since the
    /// start.
    pub(crate) fn wall_by_monotonic(&self) -> Timestamp {
        let passed = i64::try_from(self.monotonic.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.wall.0.saturating_add(passed))
    }

    fn elapsed_by(&self, monotonic: Instant, wall: Timestamp) -> Duration {
        monotonic.saturating_duration_since(self.monotonic).max(wall.since(self.wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_time_is_the_longer_one_of_both_clocks() {
        let began = Stopwatch::start();
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let wall = |seconds| began.wall.plus_seconds(seconds);
        for (monotonic, wall, elapsed) in [
            (second, wall(1), second),
            // The machine was suspended for an hour.
            (second, wall(3600), hour),
            // The wall clock was set back, by an hour and to before the epoch.
            (hour, wall(0).minus_seconds(3600), hour),
            (hour, Timestamp(i64::MIN), hour),
            (Duration::ZERO, wall(0), Duration::ZERO),
        ] {
            assert_eq!(began.elapsed_by(began.monotonic + monotonic, wall), elapsed);
        }
    }

    #[test]
    fn no_arithmetic_of_instants_wraps() {
        let (first, last) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
        assert_eq!(first.seconds(), 0);
        assert_eq!(Timestamp(-1).seconds(), 0);
        assert_eq!(Timestamp(1999).seconds(), 1);
        assert_eq!(last.plus_seconds(u64::MAX), last);
        assert_eq!(first.minus_seconds(u64::MAX), first);
        assert_eq!(first.since(last), Duration::ZERO);
        assert_eq!(last.since(first), Duration::from_millis(i64::MAX.cast_unsigned()));
    }
}
