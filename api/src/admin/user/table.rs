//! The table of users for spreadsheets: comma-separated values (RFC 4180), read page by page.

use chrono::{DateTime, SecondsFormat};

use super::Listed;
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::csv::line_of;
use crate::base::error::Result;
use crate::identity::user::{Filter, User};
use crate::self_service::account::export::Ready;

/// The number of users that are read at once.
const AT_ONCE: u64 = 100;

/// The names of the columns.
pub const COLUMNS: [&str; 13] = [
    "id",
    "email",
    "name",
    "surname",
    "website",
    "language",
    "is_active",
    "is_superuser",
    "is_verified",
    "scopes",
    "created",
    "last_sign_in",
    "external_id",
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
        if let Some(last) = users.next(|last| last.user.email.clone()) {
            self.next = Next::After(Some(last));
        }
        Ok(Some(users.items.iter().map(|listed| line_of(&cells(listed))).collect()))
    }
}

fn cells(listed: &Listed) -> [String; 13] {
    let Listed { user, dates, external_id } = listed;
    let User { id, email, is_active, is_superuser, is_verified, profile, granted } = user;
    let website = profile.website.as_ref().map(|website| website.as_str().to_owned());
    [
        id.to_string(),
        email.clone(),
        profile.name.clone().unwrap_or_default(),
        profile.surname.clone().unwrap_or_default(),
        website.unwrap_or_default(),
        profile.language.clone().map(String::from).unwrap_or_default(),
        is_active.to_string(),
        is_superuser.to_string(),
        is_verified.to_string(),
        granted.to_string(),
        time(dates.created),
        time(dates.last_sign_in),
        external_id.clone().unwrap_or_default(),
    ]
}

fn time(at: Option<Timestamp>) -> String {
    let at = at.and_then(|at| DateTime::from_timestamp_millis(at.millis()));
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
}
