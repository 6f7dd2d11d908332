//! Comma-separated values for spreadsheets (RFC 4180).

/// Writes a line with cells.
pub fn line_of(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

/// Writes a cell. A spreadsheet would calculate a text that begins like a formula, and users choose their names. So such
/// a text gets an apostrophe, which spreadsheets take for the mark of a text.
fn cell(text: &str) -> String {
    let begins = text.trim_start().chars().next().or(text.chars().next());
    let is_formula = begins.is_some_and(|first| "=+-@\t\r\n＝＋－＠".contains(first));
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n', ';']) || text != text.trim() {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_is_never_a_formula_and_never_ends_early() {
        for (text, written) in [
            ("Ada", "Ada"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-x@user.com", "'-x@user.com"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            (" =1", "' =1"),
            ("\t=1", "'\t=1"),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("King, Ada", "\"King, Ada\""),
            ("a;=1", "\"a;=1\""),
            ("a-b", "a-b"),
        ] {
            assert_eq!(cell(text), written, "{text:?}");
        }
    }
}
