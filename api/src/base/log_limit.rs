//! A limit for log lines that strangers can cause.

use std::sync::atomic::{AtomicI64, Ordering};

use super::clock;

/// The minimum time between two log lines, in milliseconds.
const EVERY: u64 = 60_000;

/// The place of a log line that is written at most once a minute.
#[derive(Debug)]
pub(crate) struct OnceAMinute(AtomicI64);

impl OnceAMinute {
    /// Makes a place whose line was not written yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    /// Returns true if the line can be written now. The next minute begins with this call.
    pub(crate) fn is_due(&self) -> bool {
        let now = clock::now().millis();
        // A clock that was set back must not silence the line for longer.
        let is_due = |last: i64| (now.saturating_sub(last).unsigned_abs() >= EVERY).then_some(now);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_due).is_ok()
    }
}

/// Returns a text from outside as a log line can show it: at most 100 characters, without control characters.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
