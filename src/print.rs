//! Standard output. The reader may close it before the whole output is written, as in `tessera openapi | head`.

use std::io::{Write, stdout};

use chrono::DateTime;
use comfy_table::presets::NOTHING;
use comfy_table::{LineStyle, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Writes a line. It is not a fault if the reader has closed the output.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Writes a text that ends its lines itself.
pub(crate) fn text_as_is(text: &str) {
    let _ = write!(stdout(), "{text}");
}

/// Writes a table, or `none` if it has no rows.
pub(crate) fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut table = Table::new();
    let style = NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_header(columns.to_vec()).add_rows(rows);
    if table.is_empty() {
        line("none");
    } else {
        line(table.trim_fmt());
    }
}

/// A member of an answer as text; the empty text for null.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        Value::Array(words) => words.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A text from outside without control characters, which a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

/// A time, from seconds since the epoch; `never` for null.
pub(crate) fn time(value: &Value) -> String {
    let instant = value.as_i64().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    instant.map_or("never".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A number of seconds, in the largest unit of which it contains at least one.
pub(crate) fn age(value: &Value) -> String {
    let seconds = value.as_u64().unwrap_or_default();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.iter().find(|(length, _)| seconds >= *length);
    unit.map_or(format!("{seconds} s"), |(length, name)| format!("{} {name}", seconds / length))
}

/// A progress bar for reading this number of bytes. It is shown only on a terminal.
pub(crate) fn bytes_bar(length: u64) -> ProgressBar {
    bar(length, "{wide_bar} {bytes} of {total_bytes}, {eta} left")
}

/// A progress bar for this number of steps. It is shown only on a terminal.
pub(crate) fn count_bar(length: u64) -> ProgressBar {
    bar(length, "{wide_bar} {pos} of {len}, {eta} left")
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
