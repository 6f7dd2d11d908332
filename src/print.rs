//! Standard output, which may be closed before everything was written: `tessera openapi | head`.

use std::io::{Write, stdout};

/// Writes a line; a reader who has seen enough is no fault.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(stdout(), "{text}");
}
