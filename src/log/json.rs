//! Log lines in JSON: one object on each line, with the time, the level, the fields of the event, and its target.
//!
//! Each request writes such a line. So the fields go straight into the text of the line, without a serializer between
//! them (docs/decisions/0076-a-read-copies-and-parses-less.md).

use std::cell::{Cell, RefCell};
use std::fmt::{self, Debug, Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// The memory of the last line of this thread. A value that logs while it is written gets memory of its own.
    static LINE: Cell<String> = const { Cell::new(String::new()) };

    /// The second of the last line of this thread, since the epoch, and its text: `2026-11-30T12:00:00`. Most lines come in
    /// the second of the line before.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// The size of a line whose memory is not kept, in bytes.
const LONG: usize = 16 * 1024;

/// The format of the lines.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = LINE.take();
        line.clear();
        let written = write_line(&mut line, event).and_then(|()| writer.write_str(&line));
        if line.capacity() <= LONG {
            LINE.set(line);
        }
        written
    }
}

fn write_line(line: &mut String, event: &Event<'_>) -> fmt::Result {
    // The target of an event that came through the crate `log` is in its fields.
    let normalized = event.normalized_metadata();
    let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
    line.push_str("{\"timestamp\":\"");
    push_time(line, now());
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push('"');
    let mut fields = Fields { line, is_of_log: normalized.is_some(), written: Ok(()) };
    event.record(&mut fields);
    fields.written?;
    line.push_str(",\"target\":");
    push_string(line, metadata.target());
    line.push_str("}\n");
    Ok(())
}

/// The current time, in microseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "lines have the real time, also if a test moves the clock"
)]
fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// Adds a time in the form of RFC 3339: `2026-11-30T12:00:00.000000Z`.
fn push_time(line: &mut String, micros: i64) {
    let (second, mut fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    SECOND.with_borrow_mut(|(known, text)| {
        if *known != second {
            let time = DateTime::from_timestamp(second, 0).unwrap_or_default();
            *text = time.format("%Y-%m-%dT%H:%M:%S").to_string();
            *known = second;
        }
        line.push_str(text);
    });
    line.push('.');
    for _ in 0..6 {
        let digit = u8::try_from(fraction / 100_000).unwrap_or_default();
        line.push(char::from(b'0' + digit));
        fraction = fraction % 100_000 * 10;
    }
    line.push('Z');
}

/// Writes the fields of an event as members of an object.
struct Fields<'a> {
    line: &'a mut String,
    /// `true` for an event that came through the crate `log`.
    is_of_log: bool,
    written: fmt::Result,
}

impl Fields<'_> {
    /// Begins a member, and returns true if its value must follow.
    fn begin(&mut self, field: &Field) -> bool {
        // The metadata of a record of the crate `log` are in fields with this prefix.
        let is_metadata = self.is_of_log && field.name().starts_with("log.");
        if self.written.is_err() || is_metadata {
            return false;
        }
        // The name is in the source code.
        debug_assert!(!field.name().bytes().any(must_escape), "a name that needs no escapes");
        self.line.push_str(",\"");
        self.line.push_str(field.name());
        self.line.push_str("\":");
        true
    }

    fn put(&mut self, field: &Field, value: impl Display) {
        if self.begin(field) {
            self.written = write!(self.line, "{value}");
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.begin(field) {
            push_string(self.line, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.begin(field) {
            self.line.push('"');
            self.written = write!(Escaping(self.line), "{value:?}");
            self.line.push('"');
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity, and nothing for a value that is not a number.
        if value.is_finite() {
            self.put(field, format_args!("{value:?}"));
        } else {
            self.put(field, "null");
        }
    }
}

fn push_string(line: &mut String, text: &str) {
    line.push('"');
    push_escaped(line, text);
    line.push('"');
}

fn must_escape(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// Adds text as the inside of a JSON string (RFC 8259, section 7).
fn push_escaped(line: &mut String, mut text: &str) {
    // Hardly any text has such a byte. This form looks at many bytes at once.
    if !text.bytes().fold(false, |any, byte| any | must_escape(byte)) {
        line.push_str(text);
        return;
    }
    while let Some(at) = text.bytes().position(must_escape) {
        line.push_str(&text[..at]);
        match text.as_bytes()[at] {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            control => line.push_str(&format!("\\u{control:04x}")),
        }
        // Every byte that is escaped is a character of its own.
        text = &text[at + 1..];
    }
    line.push_str(text);
}

/// Writes text as the inside of a JSON string.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::field::Empty;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        /// Returns the lines as JSON, each without its time.
        fn read(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines
                .map(|mut line| {
                    let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
                    assert_eq!(time.as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
                    line
                })
                .collect()
        }
    }

    /// Writes events with every kind of value.
    fn write_all() {
        tracing::info!(http.status = 200_u16, user.id = Empty, "answered a request");
        tracing::warn!(
            text = "\"quoted\" \\ \u{0}\u{1f}\r\n\t\u{7f} ü 🦀 \u{2028}",
            "a\nmessage \"{}\"",
            "x"
        );
        tracing::error!(number = -3_i64, large = u64::MAX, huge = u128::MAX, least = i128::MIN);
        tracing::info!(yes = true, float = 0.1, whole = 1.0, small = 1e-300, none = f64::NAN);
        tracing::info!(debug = debug(Some("a \"b\"")), display = %"c \"d\"", empty = "", "");
        let error = io::Error::other("the \"disk\" is full");
        tracing::info!(
            error.cause = &error as &dyn std::error::Error,
            missing = None::<u64>,
            "failed"
        );
        tracing::info!(target: "a \"target\"", "elsewhere");
    }

    #[test]
    fn a_line_has_the_same_members_as_one_of_the_usual_serializer() {
        let (ours, usual) = (Lines::default(), Lines::default());
        let builder = || tracing_subscriber::fmt().log_internal_errors(false);
        let subscriber = builder().with_writer(ours.clone()).event_format(JsonLines).finish();
        tracing::subscriber::with_default(subscriber, write_all);
        let subscriber = builder().with_writer(usual.clone()).json().flatten_event(true).finish();
        tracing::subscriber::with_default(subscriber, write_all);
        assert_eq!(ours.read(), usual.read());
        assert_eq!(ours.read().len(), 7);
    }

    #[test]
    fn a_time_has_microseconds_and_the_second_that_it_is_in() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (999_999, "1970-01-01T00:00:00.999999Z"),
            (1_000_001, "1970-01-01T00:00:01.000001Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (1_782_907_200_120_000, "2026-07-01T12:00:00.120000Z"),
        ] {
            let mut line = String::new();
            push_time(&mut line, micros);
            assert_eq!(line, text);
        }
    }

    #[test]
    fn a_record_of_the_crate_log_has_its_own_target_and_message() {
        let lines = Lines::default();
        let builder = tracing_subscriber::fmt().with_writer(lines.clone());
        tracing::subscriber::with_default(builder.event_format(JsonLines).finish(), || {
            let mut record = tracing_log::log::Record::builder();
            record.level(tracing_log::log::Level::Warn).target("a::library").line(Some(7));
            tracing_log::format_trace(&record.args(format_args!("a \"record\"")).build()).unwrap();
        });
        let expected = serde_json::json!({
            "level": "WARN", "message": "a \"record\"", "target": "a::library",
        });
        assert_eq!(lines.read(), [expected]);
    }
}
