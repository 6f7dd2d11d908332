//! Numbers for monitoring: counters and histograms that many threads change, and the text in which Prometheus reads them.
//!
//! Each thread changes a part of its own, so that threads do not wait for each other's cache lines. A reader adds the
//! parts up.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The number of parts. Threads beyond it share.
const PARTS: usize = 8;

/// The largest number of buckets, with the one without a bound.
const BUCKETS: usize = 18;

/// Keeps a part on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part<T>(T);

/// The part of this thread.
fn own_part() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PARTS;
    }
    // A thread that ends has no part any more.
    OWN.try_with(|own| *own).unwrap_or(0)
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter([Part<AtomicU64>; PARTS]);

impl Counter {
    /// Adds one.
    pub(crate) fn count(&self) {
        self.0[own_part()].0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

/// The counts of durations in buckets.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The upper bounds of the buckets, in microseconds. The last bucket has none.
    bounds: &'static [u64],
    /// The counts of the buckets, and the sum of the durations in microseconds.
    parts: [Part<[AtomicU64; BUCKETS + 1]>; PARTS],
}

/// The bounds for requests, in microseconds: those of OpenTelemetry, and two below them.
pub(crate) const REQUEST: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000,
    1_000_000, 2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// The bounds for hashes and for waiting for one, in microseconds.
pub(crate) const HASH: &[u64] = &[
    1_000, 10_000, 50_000, 100_000, 200_000, 300_000, 500_000, 1_000_000, 2_000_000, 4_000_000,
    7_000_000,
];

impl Histogram {
    /// An empty histogram. There are at most [`BUCKETS`] - 1 bounds.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self { bounds: &bounds[..bounds.len().min(BUCKETS - 1)], parts: Default::default() }
    }

    /// Counts a duration.
    pub(crate) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < micros);
        let part = &self.parts[own_part()].0;
        part[bucket].fetch_add(1, Ordering::Relaxed);
        part[BUCKETS].fetch_add(micros, Ordering::Relaxed);
    }

    fn sum_of(&self, place: usize) -> u64 {
        self.parts.iter().map(|part| part.0[place].load(Ordering::Relaxed)).sum()
    }
}

/// Counts of rare events by names that the code has. No caller chooses a name, so their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<[&'static str; 3], u64>>);

impl Tally {
    /// Adds one.
    pub(crate) fn count(&self, names: [&'static str; 3]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(names).or_default() += 1;
    }

    /// The counts.
    pub(crate) fn get(&self) -> BTreeMap<[&'static str; 3], u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The labels of a sample.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text that Prometheus reads (exposition format 0.0.4).
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Begins a metric. `kind` is `counter`, `gauge` or `histogram`. Its samples follow.
    pub(crate) fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0 += name;
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for char in text.chars() {
                match char {
                    '\\' | '"' => self.0.extend(['\\', char]),
                    '\n' => self.0 += "\\n",
                    char => self.0.push(char),
                }
            }
            self.0.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// Adds a metric with one sample.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.begin(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Adds the samples of a histogram, in seconds.
    pub(crate) fn histogram(&mut self, name: &str, labels: Labels<'_>, histogram: &Histogram) {
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        for place in 0..=histogram.bounds.len() {
            count += histogram.sum_of(place);
            let bound = match histogram.bounds.get(place) {
                Some(bound) => seconds(*bound),
                None => "+Inf".to_owned(),
            };
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, count);
        }
        self.sample(&format!("{name}_sum"), labels, seconds(histogram.sum_of(BUCKETS)));
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Writes microseconds as seconds, exactly.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together_and_buckets_add_up() {
        let (counter, histogram) = (Counter::default(), Histogram::new(&[1_000, 2_500_000]));
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    counter.count();
                    for micros in [1_000, 1_001, 3_000_000] {
                        histogram.observe(Duration::from_micros(micros));
                    }
                });
            }
        });
        assert_eq!(counter.get(), 20);
        let mut text = Exposition::default();
        text.histogram("a_seconds", &[("route", "/a \"b\"\\")], &histogram);
        let route = r#"route="/a \"b\"\\""#;
        let expected = format!(
            "a_seconds_bucket{{{route},le=\"0.001\"}} 20\n\
             a_seconds_bucket{{{route},le=\"2.5\"}} 40\n\
             a_seconds_bucket{{{route},le=\"+Inf\"}} 60\n\
             a_seconds_sum{{{route}}} 60.04002\n\
             a_seconds_count{{{route}}} 60\n"
        );
        assert_eq!(text.into_text(), expected);
    }

    #[test]
    fn the_bounds_fit_and_are_in_order() {
        for bounds in [REQUEST, HASH] {
            assert!(bounds.len() < BUCKETS && bounds.is_sorted());
        }
    }
}
