//! The table of users for spreadsheets: comma-separated values (RFC 4180), read page by page.

use chrono::{DateTime, SecondsFormat};

use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::identity::user::{Filter, User};
use crate::platform::audit::Dates;
use crate::self_service::account::export::Ready;

/// The number of users that are read at once.
const AT_ONCE: u64 = 100;

/// The names of the columns.
const COLUMNS: [&str; 11] = [
    "id",
    "email",
    "name",
    "surname",
    "website",
    "is_active",
    "is_superuser",
    "is_verified",
    "scopes",
    "created",
    "last_sign_in",
];

/// The part of a table that is read next.
#[derive(Debug)]
enum Next {
    Head,
    After(Option<String>),
    Nothing,
}

/// A table that is being read.
#[derive(Debug)]
pub struct UsersTable {
    app: App,
    filter: Filter,
    next: Next,
    _ready: Ready,
}

impl UsersTable {
    pub(super) fn new(app: App, filter: Filter, ready: Ready) -> Self {
        Self { app, filter, next: Next::Head, _ready: ready }
    }

    /// Reads the next lines; `None` after the last ones.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn read(&mut self) -> Result<Option<String>> {
        let after = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => return Ok(None),
            Next::Head => {
                self.next = Next::After(None);
                return Ok(Some(line_of(&COLUMNS.map(str::to_owned))));
            }
            Next::After(after) => after,
        };
        let filter = self.filter.clone();
        let users = super::list(&self.app, filter, after.as_deref(), AT_ONCE).await?;
        if let Some(last) = users.next(|(last, _)| last.email.clone()) {
            self.next = Next::After(Some(last));
        }
        Ok(Some(users.items.iter().map(|(user, dates)| line_of(&cells(user, *dates))).collect()))
    }
}

fn cells(user: &User, dates: Dates) -> [String; 11] {
    let User { id, email, is_active, is_superuser, is_verified, profile, granted } = user;
    let website = profile.website.as_ref().map(|website| website.as_str().to_owned());
    [
        id.to_string(),
        email.clone(),
        profile.name.clone().unwrap_or_default(),
        profile.surname.clone().unwrap_or_default(),
        website.unwrap_or_default(),
        is_active.to_string(),
        is_superuser.to_string(),
        is_verified.to_string(),
        granted.to_string(),
        time(dates.created),
        time(dates.last_sign_in),
    ]
}

fn time(at: Option<Timestamp>) -> String {
    let at = at.and_then(|at| DateTime::from_timestamp_millis(at.millis()));
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
}

fn line_of(cells: &[String]) -> String {
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
