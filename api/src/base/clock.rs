//! The one place that reads clocks.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many milliseconds a day has.
pub(crate) const MILLIS_OF_A_DAY: i64 = 86_400_000;

/// How far apart the clocks of replicas may be, in seconds: what tokens' checks allow as well.
pub(crate) const SKEW: u64 = 2;

/// An instant, in milliseconds since the epoch: what the tables keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// The file that says by how many milliseconds the wall clock of this process is moved, in tests.
static MOVED_BY: OnceLock<PathBuf> = OnceLock::new();

/// The present.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    Timestamp(MOVED_BY.get().map_or(millis, |file| millis.saturating_add(moved_by(file))))
}

/// Moves the wall clock of this process by the milliseconds that a file says, whenever it says others.
/// Only tests do this: the settings refuse it outside development.
pub(crate) fn move_by(file: PathBuf) {
    // A process has one clock: who sets it first has set it.
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

    /// Whole seconds since the epoch, as tokens say it (NumericDate, RFC 7519, section 2); 0 for what was
    /// before.
    pub const fn seconds(self) -> u64 {
        let seconds = self.0.div_euclid(1000);
        if seconds < 0 { 0 } else { seconds.cast_unsigned() }
    }

    /// This instant and some seconds.
    pub fn plus_seconds(self, seconds: u64) -> Self {
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        Self(self.0.saturating_add(millis))
    }

    /// This instant less some seconds.
    pub fn minus_seconds(self, seconds: u64) -> Self {
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        Self(self.0.saturating_sub(millis))
    }

    /// How long this instant is after an earlier one; zero if it is before it.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// The present, as other programs' libraries take it.
pub fn system_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now().0.unsigned_abs())
}

/// Measures how long ago something was: by the monotonic clock or by the wall clock, whichever says
/// longer.
///
/// The monotonic clock stands still while a machine is suspended, and the wall clock may be set back.
/// So what is too old by either of them is too old.
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

    /// How long ago it was started.
    pub fn elapsed(&self) -> Duration {
        self.elapsed_by(Instant::now(), now())
    }

    /// When it was started, moved on by the monotonic clock: a wall clock that nobody set since.
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
    fn what_was_long_ago_by_either_clock_was_long_ago() {
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
