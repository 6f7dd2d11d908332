//! The warnings of a client: one for each reason, until what failed works again.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The function that gets the warnings.
#[derive(Clone)]
pub(super) struct Sink(Arc<dyn Fn(&str) + Send + Sync>);

impl Sink {
    pub(super) fn new(take: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }
}

/// Writes to the standard error, because a library does not know the log of its service.
impl Default for Sink {
    fn default() -> Self {
        Self::new(|warning| eprintln!("tessera-verify: {warning}"))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sink")
    }
}

/// The things that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// The requests for the revocations.
    Feed,
    /// The requests for the public keys.
    Keys,
}

/// The warnings, and the last reason of each.
#[derive(Debug)]
pub(super) struct Warnings {
    sink: Sink,
    said: Mutex<BTreeMap<Work, String>>,
}

impl Warnings {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, said: Mutex::default() }
    }

    /// Passes a warning on.
    pub(super) fn say(&self, warning: &str) {
        (self.sink.0)(warning);
    }

    /// Says why something failed, unless that was the reason before. An empty reason says nothing.
    pub(super) fn failed(&self, work: Work, reason: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if reason.is_empty() || said.get(&work).is_some_and(|known| known == reason) {
            return;
        }
        said.insert(work, reason.to_owned());
        drop(said);
        let what = match work {
            Work::Feed => "the revocations of Tessera could not be read, and are read again",
            Work::Keys => "the public keys of Tessera could not be read, and are read again",
        };
        self.say(&format!("{what}: {reason}"));
    }

    /// Notes that something works, so that its next failure is said again.
    pub(super) fn worked(&self, work: Work) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(&work);
    }
}

/// Returns the text of an error and of its causes. It has no URL, because the causes are enough.
pub(super) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_until_it_changes_or_the_work_succeeds() {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&said);
        let sink = Sink::new(move |warning| kept.lock().unwrap().push(warning.to_owned()));
        let warnings = Warnings::new(sink);
        for reason in ["refused", "refused", "", "slow", "refused"] {
            warnings.failed(Work::Feed, reason);
        }
        warnings.failed(Work::Keys, "refused");
        warnings.worked(Work::Feed);
        warnings.failed(Work::Feed, "refused");
        warnings.failed(Work::Keys, "refused");
        let said = said.lock().unwrap();
        let ends: Vec<_> = said.iter().map(|text| text.rsplit(": ").next().unwrap()).collect();
        assert_eq!(ends, ["refused", "slow", "refused", "refused", "refused"]);
        assert!(said[3].contains("keys") && said[4].contains("revocations"), "{said:?}");
    }
}
