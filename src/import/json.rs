//! JSON as it comes in exports: a list, lines, or values one after another, also inside the member `users` of an object.
//!
//! The file is split into its records before any is parsed. So a file of any size takes little memory, and a record that
//! is broken loses no other.

use std::io::{self, BufReader, Read};

use serde_json::{Map, Value};

use super::Place;
use super::lines::MAX_RECORD;
use super::source::Piece;

/// The member of an object whose list has the users.
const USERS: &[u8] = b"users";

/// A place in the structure of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// In a list of users.
    List,
    /// In the object that has a list of users.
    Container,
}

/// The records of a JSON file.
pub(super) struct Json<R: Read> {
    bytes: io::Bytes<BufReader<R>>,
    /// Bytes that were read and put back, the next one last.
    back: Vec<u8>,
    line: u64,
    /// The number of white-space characters at the beginning of this line, if there was nothing else on it.
    indent: Option<usize>,
    levels: Vec<Level>,
    count: u64,
    last_line: u64,
    done: bool,
}

/// The end of a scan.
enum End {
    /// The record is complete.
    Whole,
    /// The object has a list of users, which begins here.
    Container,
    /// Something that no JSON has.
    Broken,
    /// The file ended.
    File,
}

/// A record that is being scanned.
struct Scan {
    record: Vec<u8>,
    is_long: bool,
    brackets: Vec<u8>,
    /// The last byte outside of texts that is not white space.
    last: u8,
    key: Vec<u8>,
}

impl<R: Read> Json<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            bytes: BufReader::with_capacity(1 << 16, source).bytes(),
            back: Vec::new(),
            line: 1,
            indent: Some(0),
            levels: Vec::new(),
            count: 0,
            last_line: 0,
            done: false,
        }
    }

    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        let next = match self.back.pop() {
            Some(byte) => Some(byte),
            None => self.bytes.next().transpose()?,
        };
        match next {
            Some(b'\n') => {
                self.line += 1;
                self.indent = Some(0);
            }
            Some(b' ' | b'\t') => self.indent = self.indent.map(|indent| indent + 1),
            _ => {}
        }
        Ok(next)
    }

    /// Puts bytes back that were read.
    fn put_back(&mut self, bytes: &[u8]) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.line -= u64::try_from(lines).unwrap_or(0);
        self.back.extend(bytes.iter().rev());
    }

    /// Returns the next record.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        while !self.done {
            let Some(byte) = self.next_byte()? else {
                self.done = true;
                let fault = "the file ends before its list of users ends: it is not complete";
                return Ok((!self.levels.is_empty()).then(|| self.fault(self.line, fault)));
            };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b',' if !self.levels.is_empty() => {}
                b'[' => {
                    self.levels.push(Level::List);
                    self.indent = None;
                }
                b']' if self.levels.last() == Some(&Level::List) => {
                    self.levels.pop();
                    if self.levels.last() == Some(&Level::Container) {
                        self.levels.pop();
                        if let Some(fault) = self.skip_container()? {
                            return Ok(Some(fault));
                        }
                    }
                }
                b'{' => {
                    if let Some(piece) = self.record()? {
                        return Ok(Some(piece));
                    }
                }
                _ => {
                    let line = self.line;
                    self.skip_line()?;
                    return Ok(Some(self.fault(line, "this is not a JSON object")));
                }
            }
        }
        Ok(None)
    }

    fn fault(&mut self, line: u64, reason: &str) -> Piece {
        Piece { place: self.place(line), content: Err(reason.to_owned()) }
    }

    /// The place of the next record. A line can have several.
    fn place(&mut self, line: u64) -> Place {
        self.count += 1;
        let is_first = line != self.last_line;
        self.last_line = line;
        if is_first && (self.count < 2 || line >= self.count) {
            return Place::line(line);
        }
        Place(self.count, format!("record {} (line {line})", self.count))
    }

    /// Reads a record whose first byte was read. Returns `None` if it is an object with a list of users.
    fn record(&mut self) -> io::Result<Option<Piece>> {
        let (line, indent) = (self.line, self.indent.unwrap_or(0));
        self.indent = None;
        let mut scan = Scan {
            record: vec![b'{'],
            is_long: false,
            brackets: vec![b'{'],
            last: b'{',
            key: Vec::new(),
        };
        let end = self.scan(&mut scan)?;
        let reason = match end {
            End::Container => {
                self.levels.extend([Level::Container, Level::List]);
                self.indent = None;
                return Ok(None);
            }
            End::Whole if scan.is_long => format!("the record is longer than {MAX_RECORD} bytes"),
            End::Whole => match serde_json::from_slice::<Map<String, Value>>(&scan.record) {
                Ok(members) => {
                    let place = self.place(line);
                    return Ok(Some(Piece { place, content: Ok(members) }));
                }
                Err(_) if std::str::from_utf8(&scan.record).is_err() => {
                    "the record is not UTF-8".to_owned()
                }
                Err(error) => format!("the record is not valid JSON ({})", cause_of(&error)),
            },
            End::Broken => "the record is not valid JSON".to_owned(),
            End::File => "the file ends inside this record: it is not complete".to_owned(),
        };
        let piece = self.fault(line, &reason);
        if matches!(end, End::Broken | End::File) {
            // The rest of the lines may have records that are whole.
            let first = scan.record.iter().position(|byte| *byte == b'\n');
            let rest = first.map(|first| scan.record.split_off(first + 1));
            if matches!(end, End::File) {
                // It is said once that the file is not complete.
                self.done = rest.is_none();
                self.levels.clear();
            }
            let at_line_end = rest.as_ref().is_some_and(Vec::is_empty);
            self.put_back(&rest.unwrap_or_default());
            self.resume(indent, first.is_none() && !at_line_end)?;
        }
        Ok(Some(piece))
    }

    /// Reads until the end of a record.
    fn scan(&mut self, scan: &mut Scan) -> io::Result<End> {
        let (mut in_text, mut is_escaped, mut is_key) = (false, false, false);
        while let Some(byte) = self.next_byte()? {
            scan.put(byte);
            if in_text {
                match byte {
                    b'\n' => return Ok(End::Broken),
                    _ if is_escaped => is_escaped = false,
                    b'\\' => is_escaped = true,
                    b'"' => {
                        in_text = false;
                        scan.last = b'"';
                    }
                    _ if is_key && scan.key.len() < 16 => scan.key.push(byte),
                    _ => {}
                }
                continue;
            }
            let in_list = scan.brackets.last() == Some(&b'[');
            let begins_value = scan.last == b':' || in_list && matches!(scan.last, b',' | b'[');
            let begins_key = !in_list && matches!(scan.last, b',' | b'{');
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'"' if begins_value || begins_key => {
                    in_text = true;
                    is_key = scan.brackets.len() == 1 && scan.last != b':';
                    if is_key {
                        scan.key.clear();
                    }
                    continue;
                }
                b'{' | b'[' if begins_value => {
                    if byte == b'[' && scan.brackets.len() == 1 && scan.key == USERS {
                        return Ok(End::Container);
                    }
                    scan.brackets.push(byte);
                }
                b'}' | b']' => match scan.close(byte) {
                    Some(true) => return Ok(End::Whole),
                    Some(false) => {}
                    None => return Ok(End::Broken),
                },
                b'"' | b'{' | b'[' => return Ok(End::Broken),
                _ => {}
            }
            scan.last = byte;
        }
        Ok(End::File)
    }

    /// Skips the members after the list of users.
    fn skip_container(&mut self) -> io::Result<Option<Piece>> {
        let mut scan = Scan {
            record: Vec::new(),
            is_long: true,
            brackets: vec![b'{'],
            last: b']',
            key: Vec::new(),
        };
        Ok(match self.scan(&mut scan)? {
            End::Whole => None,
            // A second list of this name.
            End::Container => {
                self.levels.extend([Level::Container, Level::List]);
                None
            }
            End::Broken | End::File => {
                self.done = true;
                let fault = "the file is not complete: what follows the users is not valid JSON";
                Some(self.fault(self.line, fault))
            }
        })
    }

    fn skip_line(&mut self) -> io::Result<()> {
        while let Some(byte) = self.next_byte()? {
            if byte == b'\n' {
                break;
            }
        }
        Ok(())
    }

    /// Reads on to a line that begins a record at this indent or a smaller one, or that ends the list.
    fn resume(&mut self, indent: usize, mut is_inside_line: bool) -> io::Result<()> {
        loop {
            if std::mem::take(&mut is_inside_line) {
                self.skip_line()?;
            }
            let mut begin = Vec::new();
            while let Some(byte) = self.next_byte()? {
                begin.push(byte);
                if !matches!(byte, b' ' | b'\t' | b',') {
                    break;
                }
            }
            let Some(last) = begin.last().copied() else {
                return Ok(());
            };
            let blanks = begin.iter().filter(|byte| matches!(byte, b' ' | b'\t')).count();
            let ends = last == b']' && !self.levels.is_empty() && blanks <= indent;
            if last == b'{' && blanks <= indent || ends {
                self.put_back(&begin);
                self.indent = Some(0);
                return Ok(());
            }
            is_inside_line = last != b'\n';
        }
    }
}

impl Scan {
    /// Closes the last bracket. Returns true if it was the first one, and `None` if it is of another kind.
    fn close(&mut self, byte: u8) -> Option<bool> {
        let open = if byte == b'}' { b'{' } else { b'[' };
        (self.brackets.pop() == Some(open)).then_some(self.brackets.is_empty())
    }

    fn put(&mut self, byte: u8) {
        if self.record.len() >= MAX_RECORD {
            self.is_long = true;
            self.record.truncate(1);
        }
        if !self.is_long {
            self.record.push(byte);
        }
    }
}

/// The cause without the place, which is that in the record.
fn cause_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of the records, with an exclamation mark for those that are refused.
    fn pieces(text: &str) -> Vec<String> {
        let mut json = Json::new(text.as_bytes());
        std::iter::from_fn(|| json.next_piece().unwrap())
            .map(|Piece { place, content }| match content {
                Ok(members) => format!("{} {}", place.1, members["a"]),
                Err(_) => format!("{}!", place.1),
            })
            .collect()
    }

    #[test]
    fn every_shape_of_json_is_split_into_its_records() {
        let two = ["line 1 1", "line 2 2"];
        for text in [
            "{\"a\":1}\n{\"a\":2}",
            "[{\"a\":1},\n{\"a\":2}]",
            "{\"a\":1}\r\n{\"a\":2}\r\n\r\n",
            "{\"users\":[{\"a\":1},\n{\"a\":2}],\"b\":{\"c\":[\"]\"]}}",
            "{\"b\":{\"users\":[1]},\"users\":[{\"a\":1,\"users\":\"x\"},\n{\"a\":2}]}",
            "[{\"users\":[{\"a\":1},\n{\"a\":2}]}]",
        ] {
            assert_eq!(pieces(text), two, "{text}");
        }
        assert_eq!(pieces("{\n\"a\":1\n}\n{\n\"a\":2}\n\n"), ["line 1 1", "line 4 2"]);
        assert_eq!(pieces("[{\"a\":1},{\"a\":2}]"), ["line 1 1", "record 2 (line 1) 2"]);
        assert_eq!(pieces("{\"a\":\"}\\\"{\"}"), ["line 1 \"}\\\"{\""]);
        assert_eq!(pieces(" \n"), [""; 0]);
    }

    #[test]
    fn a_broken_record_loses_no_other() {
        for (text, expected) in [
            ("{\"a\":1}\nno\n{\"a\":3}", &["line 1 1", "line 2!", "line 3 3"][..]),
            ("{\"a\":\"x\n{\"a\":2}", &["line 1!", "line 2 2"]),
            ("{\"a\":\n{\"a\":2}\n{\"a\":3}", &["line 1!", "line 2 2", "line 3 3"]),
            ("{\"a\":1\n{\"a\":2}", &["line 1!", "line 2 2"]),
            ("{\"a\":1]\n{\"a\":2}", &["line 1!", "line 2 2"]),
            ("[{\"a\":1},\n{\"a\":x},\n{\"a\":3}]", &["line 1 1", "line 2!", "line 3 3"]),
            (
                "[\n  {\n    \"a\": 1\n  },\n  {\n    \"a\": {\n  },\n  {\n    \"a\": 3\n  }\n]",
                &["line 2 1", "line 5!", "line 8 3"],
            ),
            ("{\"a\":1}\n{\"a\":", &["line 1 1", "line 2!"]),
            ("[{\"a\":1},\n{\"a\":2}", &["line 1 1", "line 2 2", "record 3 (line 2)!"]),
            ("{\"a\":1}\n{\"a\":\"\0\"}\n{\"a\":3}", &["line 1 1", "line 2!", "line 3 3"]),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
        let long =
            format!("{{\"a\":1}}\n{{\"b\":\"{}\"}}\n{{\"a\":3}}", "x".repeat(2 * MAX_RECORD));
        assert_eq!(pieces(&long), ["line 1 1", "line 2!", "line 3 3"]);
    }
}
