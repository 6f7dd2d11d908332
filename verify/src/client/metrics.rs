//! The numbers that a service can show to its monitoring.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// Counters by a name and a label.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

/// The counter of refused tokens, by their reason.
pub(super) const REFUSALS: &str = "refusals_total";

/// The counter of snapshots that were taken again, by their cause.
pub(super) const RESYNCS: &str = "resyncs_total";

impl Counters {
    /// Adds one.
    pub(super) fn count(&self, name: &'static str, label: &'static str) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry((name, label)).or_default() += 1;
    }

    /// Writes the counters in the text format of Prometheus.
    pub(super) fn write(&self, text: &mut String) {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((name, label), count) in &*counters {
            let key = if *name == RESYNCS { "why" } else { "reason" };
            let _ = writeln!(text, "tessera_verify_{name}{{{key}=\"{label}\"}} {count}");
        }
    }
}
