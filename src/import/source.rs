//! The place that users are read from: a file of some form, or a database.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use indicatif::{ProgressBar, ProgressBarIter};
use serde_json::{Map, Value};

use super::Place;
use super::database::Rows;
use super::format::{Format, Medium};
use super::json::Json;
use super::lines::{Csv, Htpasswd};
use crate::print;

/// The number of bytes that the form of a file is recognised by.
const HEAD: u64 = 1 << 16;

/// The number of records among which one says the format.
const MAX_LOOKED_AT: usize = 100;

/// A record, or the reason why it cannot be read.
pub(super) struct Piece {
    pub(super) place: Place,
    pub(super) content: Result<Map<String, Value>, String>,
}

type Bytes = ProgressBarIter<File>;

enum Kind {
    Json(Json<Bytes>),
    Csv(Csv<Bytes>),
    Htpasswd(Htpasswd<Bytes>),
    Rows(Rows),
}

/// The records of a file or a database.
pub(super) struct Source {
    kind: Kind,
    name: String,
    bar: ProgressBar,
    is_guessed: bool,
    /// The records that were read to recognise the format.
    first: std::vec::IntoIter<Piece>,
}

/// The name of a file or a database for people, without the password of a URL.
pub(super) fn shown(file: &str) -> &str {
    if is_postgres(file) { "the database" } else { file }
}

fn is_postgres(file: &str) -> bool {
    file.starts_with("postgres://") || file.starts_with("postgresql://")
}

impl Source {
    /// Opens a file or a database, and recognises its format if none is given.
    ///
    /// # Errors
    ///
    /// If it cannot be read, if its format is not clear, or if it is not of the given format.
    pub(super) async fn open(
        file: &str,
        format: Option<Format>,
        table: Option<&str>,
    ) -> Result<(Self, Format), String> {
        let (kind, bar, found) = if is_postgres(file) {
            let (rows, found) = Rows::of_postgres(file, format, table).await?;
            let bar = print::count_bar(rows.count());
            (Kind::Rows(rows), bar, Some(found))
        } else {
            Self::open_file(file, format, table).await?
        };
        let (name, first) = (shown(file).to_owned(), Vec::new().into_iter());
        let mut source = Self { kind, name, bar, is_guessed: format.is_none(), first };
        let format = match found.or(format) {
            Some(format) => format,
            None => source.recognise().await?,
        };
        Ok((source, format))
    }

    async fn open_file(
        file: &str,
        format: Option<Format>,
        table: Option<&str>,
    ) -> Result<(Kind, ProgressBar, Option<Format>), String> {
        let fault = |error: std::io::Error| format!("{file}: {error}");
        let mut source = File::open(file).map_err(fault)?;
        if source.metadata().map_err(fault)?.is_dir() {
            return Err(format!("{file} is a folder: name the file with the users"));
        }
        let mut head = Vec::new();
        source.by_ref().take(HEAD).read_to_end(&mut head).map_err(fault)?;
        source.rewind().map_err(fault)?;
        let medium = medium_of(&head, format).map_err(|fault| format!("{file} {fault}"))?;
        if let Some(format) = format {
            format.require(medium).map_err(|fault| format!("{file}: {fault}"))?;
        }
        if medium == Medium::Sqlite {
            let (rows, found) = Rows::of_sqlite(Path::new(file), format, table).await?;
            let bar = print::count_bar(rows.count());
            return Ok((Kind::Rows(rows), bar, Some(found)));
        }
        if head.starts_with(b"\xef\xbb\xbf") {
            source.seek(std::io::SeekFrom::Start(3)).map_err(fault)?;
        }
        let bar = print::bytes_bar(source.metadata().map_err(fault)?.len());
        let bytes = bar.wrap_read(source);
        let is_htpasswd = medium == Medium::Htpasswd;
        let kind = match medium {
            Medium::Json => Kind::Json(Json::new(bytes)),
            Medium::Htpasswd => Kind::Htpasswd(Htpasswd::new(bytes)),
            _ => Kind::Csv(Csv::open(bytes).map_err(|fault| format!("{file}: {fault}"))?),
        };
        Ok((kind, bar, format.or(is_htpasswd.then_some(Format::Htpasswd))))
    }

    /// Recognises the format by the columns, or by the first record that says it.
    async fn recognise(&mut self) -> Result<Format, String> {
        let unclear = format!("{}: the format is not clear: give --format", self.name);
        if let Kind::Csv(csv) = &self.kind {
            return Format::of_record(&csv.columns(), Medium::Csv).ok_or(unclear);
        }
        let (mut first, mut found) = (Vec::new(), None);
        while found.is_none() && first.len() < MAX_LOOKED_AT {
            let Some(piece) = self.read().await? else { break };
            if let Ok(members) = &piece.content {
                found = Format::of_record(members, Medium::Json);
            }
            first.push(piece);
        }
        let is_empty = first.is_empty();
        self.first = first.into_iter();
        match found {
            Some(format) => Ok(format),
            None if is_empty => Err(format!("{} has no users", self.name)),
            None => Err(unclear),
        }
    }

    /// Returns true if no format was given.
    pub(super) fn is_guessed(&self) -> bool {
        self.is_guessed
    }

    /// Returns true for comma-separated values.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Csv(_))
    }

    /// Returns the next record.
    ///
    /// # Errors
    ///
    /// If the file or the database cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, String> {
        match self.first.next() {
            Some(piece) => Ok(Some(piece)),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Option<Piece>, String> {
        let read = match &mut self.kind {
            Kind::Json(json) => json.next_piece(),
            Kind::Csv(csv) => csv.next_piece(),
            Kind::Htpasswd(users) => users.next_piece(),
            Kind::Rows(rows) => {
                self.bar.inc(1);
                return rows.next_piece().await;
            }
        };
        read.map_err(|error| format!("{}: {error}", self.name))
    }

    /// Removes the progress bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Recognises the form of a file by its beginning.
fn medium_of(head: &[u8], format: Option<Format>) -> Result<Medium, &'static str> {
    if head.starts_with(b"SQLite format 3\0") {
        return Ok(Medium::Sqlite);
    }
    if head.is_empty() {
        return Err("is empty");
    }
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Err("is in UTF-16: save it in UTF-8");
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\x1f\x8b") {
        return Err("is compressed: unpack it first");
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let zeros = text.iter().take(1024).filter(|byte| **byte == 0).count();
    if zeros > 16 || text.iter().take(8).any(|byte| *byte == 0) {
        return Err("is no text: it must be JSON, comma-separated values or a SQLite database");
    }
    match format {
        Some(Format::Htpasswd) => return Ok(Medium::Htpasswd),
        Some(Format::Jsonl) => return Ok(Medium::Json),
        _ => {}
    }
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return Ok(Medium::Json);
    }
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let first = lines.next().unwrap_or_default();
    let name = first.split(|byte| *byte == b':').next().unwrap_or_default();
    let is_named = name.len() < first.len() && !name.iter().any(|byte| b",;\t\"".contains(byte));
    Ok(if is_named { Medium::Htpasswd } else { Medium::Csv })
}
