//! What a command finds when it checks something: each with a level, and with what to do.

use std::process::ExitCode;

use serde_json::json;

use crate::print;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing has to be done.
    Ok,
    /// It works, but not as it should in production.
    Warning,
    /// It does not work.
    Fault,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// Something that was checked.
#[derive(Debug)]
pub(crate) struct Finding {
    level: Level,
    /// A sentence: what was found, and what to do.
    sentence: String,
}

impl Finding {
    pub(crate) fn ok(sentence: impl Into<String>) -> Self {
        Self { level: Level::Ok, sentence: sentence.into() }
    }

    pub(crate) fn warning(sentence: impl Into<String>) -> Self {
        Self { level: Level::Warning, sentence: sentence.into() }
    }

    pub(crate) fn fault(sentence: impl Into<String>) -> Self {
        Self { level: Level::Fault, sentence: sentence.into() }
    }
}

/// Prints a line for each finding, for people.
pub(crate) fn print(found: &[Finding]) {
    for Finding { level, sentence } in found {
        print::line(format!("{:<8} {}", level.name(), print::plain(sentence)));
    }
}

/// Prints the findings as one JSON object.
pub(crate) fn print_json(found: &[Finding]) {
    let items: Vec<_> = found
        .iter()
        .map(|finding| json!({"level": finding.level.name(), "sentence": finding.sentence}))
        .collect();
    let ok = count(found, Level::Fault) == 0;
    print::line(json!({"ok": ok, "findings": items}));
}

/// The last line: the sentence if there is no fault, and the numbers of faults and warnings.
pub(crate) fn sum(found: &[Finding], fine: &str) -> String {
    let number = |level: Level| {
        let count = count(found, level);
        format!("{count} {}{}", level.name(), if count == 1 { "" } else { "s" })
    };
    match (count(found, Level::Fault), count(found, Level::Warning)) {
        (0, 0) => format!("{fine}."),
        (0, _) => format!("{fine}: {}.", number(Level::Warning)),
        _ => format!("{}, {}.", number(Level::Fault), number(Level::Warning)),
    }
}

/// Returns true if there is no fault and no warning.
pub(crate) fn are_fine(found: &[Finding]) -> bool {
    found.iter().all(|finding| finding.level == Level::Ok)
}

/// Exit status 1 if there is a fault.
pub(crate) fn status(found: &[Finding]) -> ExitCode {
    if count(found, Level::Fault) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn count(found: &[Finding], level: Level) -> usize {
    found.iter().filter(|finding| finding.level == level).count()
}
