//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// How many milliseconds a day has.
pub(crate) const MILLIS_OF_A_DAY: i64 = 86_400_000;

/// An instant, in milliseconds since the epoch: what the tables keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

/// The present.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

impl Time {
    /// An instant read from a table.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch: what tokens say (NumericDate, RFC 7519, section 2).
    pub const fn seconds(self) -> u64 {
        self.0.div_euclid(1000).cast_unsigned()
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
}

/// The present, as other programs' libraries take it.
pub fn system_time() -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_millis(now().0.unsigned_abs())
}
