//! Files that are read by lines: comma-separated values, and password files of Apache.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::Place;
use super::source::Piece;

/// The maximum number of bytes of a record.
pub(super) const MAX_RECORD: usize = 1 << 20;

/// The separators of cells, the usual one first.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// A line with its number.
struct Line {
    number: u64,
    /// The bytes with the end of the line. Those beyond the maximum are left out.
    bytes: Vec<u8>,
    is_long: bool,
}

/// The lines of a file.
struct Lines<R: Read> {
    reader: BufReader<R>,
    back: VecDeque<Line>,
    count: u64,
}

impl<R: Read> Lines<R> {
    fn new(source: R) -> Self {
        Self { reader: BufReader::new(source), back: VecDeque::new(), count: 0 }
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.back.pop_front() {
            return Ok(Some(line));
        }
        let (mut bytes, mut length) = (Vec::new(), 0);
        loop {
            let some = self.reader.fill_buf()?;
            if some.is_empty() {
                break;
            }
            let end = some.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(some.len(), |end| end + 1);
            length += taken;
            if length <= MAX_RECORD {
                bytes.extend_from_slice(&some[..taken]);
            }
            self.reader.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if length == 0 {
            return Ok(None);
        }
        self.count += 1;
        Ok(Some(Line { number: self.count, bytes, is_long: length > MAX_RECORD }))
    }

    /// Puts lines back that were read.
    fn put_back(&mut self, lines: Vec<Line>) {
        lines.into_iter().rev().for_each(|line| self.back.push_front(line));
    }
}

fn is_blank(line: &Line) -> bool {
    !line.is_long && line.bytes.trim_ascii().is_empty()
}

/// The records of comma-separated values.
pub(super) struct Csv<R: Read> {
    lines: Lines<R>,
    separator: u8,
    columns: Vec<String>,
}

impl<R: Read> Csv<R> {
    /// Reads the names of the columns.
    ///
    /// # Errors
    ///
    /// If there are none, or if two are the same.
    pub(super) fn open(source: R) -> Result<Self, String> {
        let mut lines = Lines::new(source);
        let head = loop {
            let line = lines.next_line().map_err(|error| error.to_string())?;
            let line = line.ok_or("the file has no line")?;
            if !is_blank(&line) {
                break line;
            }
        };
        let bytes = head.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head.bytes);
        let count = |separator: &u8| bytes.iter().filter(|byte| *byte == separator).count();
        let most = SEPARATORS.iter().rev().max_by_key(|separator| count(separator));
        let separator = most.copied().unwrap_or(b',');
        let columns = cells(bytes, separator).ok_or("the first line cannot be read")?;
        let columns: Option<Vec<_>> = columns
            .iter()
            .map(|name| Some(std::str::from_utf8(name).ok()?.trim().to_owned()))
            .collect();
        let columns = columns.ok_or("the first line is not UTF-8")?;
        if columns.iter().any(|name| name.contains('@')) {
            return Err("the first line must have the names of the columns".to_owned());
        }
        for (place, name) in columns.iter().enumerate() {
            if columns[..place].contains(name) {
                return Err(format!("two columns have the name {name:?}"));
            }
        }
        Ok(Self { lines, separator, columns })
    }

    pub(super) fn columns(&self) -> Map<String, Value> {
        self.columns.iter().map(|name| (name.clone(), Value::Null)).collect()
    }

    /// Returns the next record.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let first = loop {
            match self.lines.next_line()? {
                None => return Ok(None),
                Some(line) if is_blank(&line) => {}
                Some(line) => break line,
            }
        };
        let place = Place::line(first.number);
        let content = self.cells_of(first)?.and_then(|cells| self.members(&cells));
        Ok(Some(Piece { place, content }))
    }

    /// Reads the cells of the record that begins with a line. A cell in quotes can have ends of lines. A quote that is not
    /// closed would take all lines that follow.
    fn cells_of(&mut self, first: Line) -> io::Result<Result<ByteRecord, String>> {
        if first.is_long {
            return Ok(Err(format!("the line is longer than {MAX_RECORD} bytes")));
        }
        let (mut bytes, mut more) = (first.bytes.clone(), Vec::new());
        while !is_closed(&bytes) {
            let Some(line) = self.lines.next_line()? else { break };
            let is_too_much = line.is_long || bytes.len() + line.bytes.len() > MAX_RECORD;
            bytes.extend_from_slice(&line.bytes);
            more.push(line);
            if is_too_much {
                break;
            }
        }
        let (expected, separator) = (self.columns.len(), self.separator);
        let is_whole = |cells: &ByteRecord| cells.len() == expected;
        let is_record = |line: &Line| {
            expected > 2 && cells(&line.bytes, separator).is_some_and(|cells| is_whole(&cells))
        };
        if is_closed(&bytes)
            && !more.iter().any(is_record)
            && let Some(cells) = cells(&bytes, separator).filter(is_whole)
        {
            return Ok(Ok(cells));
        }
        self.lines.put_back(more);
        let alone = cells(&first.bytes, separator).unwrap_or_default();
        Ok(match (is_whole(&alone), ends_in_quotes(&first.bytes, separator)) {
            (true, false) => Ok(alone),
            (true, true) => Err("a quote is not closed".to_owned()),
            (false, _) => {
                let count = alone.len();
                Err(format!(
                    "the line has {count} cells, but there are {expected} columns: is a quote not closed?"
                ))
            }
        })
    }

    fn members(&self, cells: &ByteRecord) -> Result<Map<String, Value>, String> {
        let named = self.columns.iter().zip(cells);
        named
            .map(|(name, cell)| match std::str::from_utf8(cell) {
                Ok(text) => Ok((name.clone(), text.into())),
                Err(_) => Err(format!("{name}: this is not UTF-8")),
            })
            .collect()
    }
}

/// Returns true if no quote is open at the end.
fn is_closed(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2)
}

/// Returns true if a cell would take the text of the next line.
fn ends_in_quotes(bytes: &[u8], separator: u8) -> bool {
    const MARK: u8 = 1;
    let marked = [bytes.trim_ascii_end(), b"\n", &[MARK]].concat();
    cells(&marked, separator).is_some_and(|cells| cells.as_slice().contains(&MARK))
}

/// Reads the cells of one record.
fn cells(bytes: &[u8], separator: u8) -> Option<ByteRecord> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .buffer_capacity(bytes.len().clamp(64, 1 << 16))
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    reader.read_byte_record(&mut record).ok()?.then_some(record)
}

/// The users of a password file of Apache.
pub(super) struct Htpasswd<R: Read>(Lines<R>);

impl<R: Read> Htpasswd<R> {
    pub(super) fn new(source: R) -> Self {
        Self(Lines::new(source))
    }

    /// Returns the next user.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        while let Some(line) = self.0.next_line()? {
            let bytes = line.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line.bytes);
            if is_blank(&line) || bytes.trim_ascii_start().starts_with(b"#") {
                continue;
            }
            let parts = std::str::from_utf8(bytes).ok().filter(|_| !line.is_long);
            let parts = parts.and_then(|text| text.trim().split_once(':'));
            let content = parts.map(|(email, hash)| {
                let member = |name: &str, text: &str| (name.to_owned(), Value::from(text));
                Map::from_iter([member("email", email), member("hashed_password", hash)])
            });
            let content =
                content.ok_or_else(|| "the line must be a name, a colon and a hash".to_owned());
            return Ok(Some(Piece { place: Place::line(line.number), content }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut csv = Csv::open(text.as_bytes()).unwrap();
        std::iter::from_fn(|| csv.next_piece().unwrap())
            .map(|Piece { place, content }| match content {
                Ok(members) => format!("{} {}", place.1, members["b"].as_str().unwrap()),
                Err(_) => format!("{}!", place.1),
            })
            .collect()
    }

    #[test]
    fn a_quote_that_is_not_closed_loses_one_line() {
        for (text, expected) in [
            ("a,b\n1,x\n2,y\n", &["line 2 x", "line 3 y"][..]),
            ("\u{feff}a;b\r\n\r\n1;x\r\n2;y", &["line 3 x", "line 4 y"]),
            ("a,b\n1,\"x\ny\"\n2,\"\"\"z\"\n", &["line 2 x\ny", "line 4 \"z"]),
            ("a,b\n\"1,x\n2,\"y\"\n3,z\n", &["line 2!", "line 3 y", "line 4 z"]),
            ("a,b\n\"1,x\n2,y\n", &["line 2!", "line 3 y"]),
            ("a,b\n1,5\" disk\n2,y\n", &["line 2 5\" disk", "line 3 y"]),
            ("a,b\n1\n1,2,3\n2,y\n", &["line 2!", "line 3!", "line 4 y"]),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
    }
}
