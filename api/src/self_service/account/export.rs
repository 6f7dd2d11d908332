//! Everything that is kept of a user, read a page at a time.
//!
//! An export holds one page in memory, and a connection only while it reads one: a caller who takes their time holds
//! neither. Its connection is not one of those that other requests read with, and a few exports run at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::{PrincipalId, SessionId};

use crate::access::api_token::{self, ApiToken};
use crate::access::session::{self, Session};
use crate::app::App;
use crate::base::error::{Code, Error, Result};
use crate::identity::user::{User, pending, previous_email};
use crate::platform::audit;

/// How many rows of the audit are read at once.
const ACTS_AT_ONCE: usize = 500;

/// How many other rows are read at once.
const ROWS_AT_ONCE: u64 = 100;

/// How many exports run at once on one replica.
const MAX_AT_ONCE: usize = 32;

/// How long somebody who has an export running is told to wait.
const ONE_AT_A_TIME: Duration = Duration::from_secs(10);

/// The accounts that have an export running on this replica.
#[derive(Debug, Default)]
pub struct State(Arc<Mutex<HashSet<PrincipalId>>>);

/// A running export's place among them, given back when it is dropped.
#[derive(Debug)]
struct Slot {
    among: Arc<Mutex<HashSet<PrincipalId>>>,
    of: PrincipalId,
}

impl State {
    fn begin_export(&self, of: PrincipalId) -> Result<Slot> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains(&of) {
            return Err(Error::try_again_after(ONE_AT_A_TIME));
        }
        if running.len() >= MAX_AT_ONCE {
            return Err(Code::ServiceBusy.into());
        }
        running.insert(of);
        Ok(Slot { among: Arc::clone(&self.0), of })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.among.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.of);
    }
}

/// An export that may begin: nobody else has one running for the same account.
#[derive(Debug)]
pub(crate) struct Ready(Option<Slot>);

/// Lets an account begin an export. An operator at the terminal is no account, and need not wait.
///
/// # Errors
///
/// [`Code::TooManyAttempts`] while the account has one running, [`Code::ServiceBusy`] while too many others have.
pub(crate) fn ready(app: &App, of: Option<PrincipalId>) -> Result<Ready> {
    Ok(Ready(of.map(|of| app.account.begin_export(of)).transpose()?))
}

/// A page of what is kept of a user. Those of one kind follow each other, in the order of the kinds here.
#[derive(Debug)]
pub enum Part {
    /// Their sessions, those that ended too.
    Sessions(Vec<Session>),
    /// Their API tokens, without their secrets.
    ApiTokens(Vec<ApiToken>),
    /// The addresses they had, as long as they may take them back.
    FormerEmails(Vec<String>),
    /// What was done by them or on them, the oldest first.
    Audit(Vec<audit::Row>),
}

/// What is read next, with the place behind which it goes on.
#[derive(Debug)]
enum Next {
    Sessions { ended: bool, after: Option<session::Cursor> },
    ApiTokens { after: Option<api_token::Cursor> },
    FormerEmails { after: Option<previous_email::Cursor> },
    Audit { after: i64 },
    Nothing,
}

/// Everything that is kept of a user, as far as it was not read yet.
#[derive(Debug)]
pub struct Export {
    app: App,
    /// The user, as they were when it began.
    pub user: User,
    /// The new address that they wait for, when it began.
    pub pending_email: Option<String>,
    current: Option<SessionId>,
    /// The place in the audit up to which it is read: what is told later is not waited for.
    until: i64,
    next: Next,
    _slot: Option<Slot>,
}

impl Export {
    /// Begins an export that the audit was told of. `current` is the session that it is asked from.
    pub(crate) async fn begin(
        app: &App,
        Ready(slot): Ready,
        user: User,
        current: Option<SessionId>,
    ) -> Result<Self> {
        audit::catch_up(app).await;
        let connection = app.database.exporter();
        let until = audit::end(connection).await?;
        let pending_email = pending::of(connection, user.id).await?;
        let next = Next::Sessions { ended: false, after: None };
        Ok(Self { app: app.clone(), user, pending_email, current, until, next, _slot: slot })
    }

    /// Reads the next page; `None` after the last.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn read(&mut self) -> Result<Option<Part>> {
        let (connection, user) = (self.app.database.exporter(), self.user.id);
        // A list ends with an empty page.
        let (part, next) = match &self.next {
            Next::Sessions { ended, after } => {
                let (ended, from) = (*ended, (*ended, *after));
                let (some, last) =
                    session::some_of(connection, user, self.current, from, ROWS_AT_ONCE).await?;
                let next = match last {
                    Some(last) => Next::Sessions { ended, after: Some(last) },
                    None if ended => Next::ApiTokens { after: None },
                    None => Next::Sessions { ended: true, after: None },
                };
                (Part::Sessions(some), next)
            }
            Next::ApiTokens { after } => {
                let (some, last) =
                    api_token::some_of(connection, user, *after, ROWS_AT_ONCE).await?;
                let next = match last {
                    Some(last) => Next::ApiTokens { after: Some(last) },
                    None => Next::FormerEmails { after: None },
                };
                (Part::ApiTokens(some), next)
            }
            Next::FormerEmails { after } => {
                let after = after.clone();
                let (some, last) =
                    previous_email::some_of(connection, user, after, ROWS_AT_ONCE).await?;
                let next = match last {
                    Some(last) => Next::FormerEmails { after: Some(last) },
                    None => Next::Audit { after: 0 },
                };
                (Part::FormerEmails(some), next)
            }
            Next::Audit { after } => {
                let some = audit::about(connection, user, *after, self.until, ACTS_AT_ONCE).await?;
                let next = match some.last() {
                    Some(last) => Next::Audit { after: last.seq },
                    None => Next::Nothing,
                };
                (Part::Audit(some), next)
            }
            Next::Nothing => return Ok(None),
        };
        self.next = next;
        Ok(Some(part))
    }
}
