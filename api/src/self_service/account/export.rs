//! Exports of everything that the database stores about a user, read page by page.
//!
//! An export holds one page in memory, and a connection only while it reads a page. So slow clients occupy neither.
//! Exports use their own connections, and only a few run at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::{PrincipalId, SessionId};

use crate::access::api_token::{self, ApiToken};
use crate::access::session::{self, Session};
use crate::app::App;
use crate::base::error::{Code, Error, Result};
use crate::federation::federated_identity::{self, Identity};
use crate::identity::user::{User, imported, pending, previous_email};
use crate::platform::audit;

/// The number of audit rows that are read at once.
const ACTS_AT_ONCE: usize = 500;

/// The number of other rows that are read at once.
const ROWS_AT_ONCE: u64 = 100;

/// The maximum number of exports at once on a replica.
const MAX_AT_ONCE: usize = 32;

/// The `Retry-After` of the refusal if the caller's previous export still runs.
const ONE_AT_A_TIME: Duration = Duration::from_secs(10);

/// The accounts whose exports run on this replica.
#[derive(Debug, Default)]
pub struct State(Arc<Mutex<HashSet<PrincipalId>>>);

/// The slot of a running export. Dropping it frees the slot.
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

/// Permission to begin an export: no other export of the same account runs.
#[derive(Debug)]
pub(crate) struct Ready(Option<Slot>);

/// Lets an account begin an export. Operators at the terminal have no account and no limit.
///
/// # Errors
///
/// [`Code::TooManyAttempts`] while an export of the account runs; [`Code::ServiceBusy`] while too many others run.
pub(crate) fn ready(app: &App, of: Option<PrincipalId>) -> Result<Ready> {
    Ok(Ready(of.map(|of| app.account.begin_export(of)).transpose()?))
}

/// A page of a user's data. The kinds come in the order of these variants.
#[derive(Debug)]
pub enum Part {
    /// Sessions, including those that have ended.
    Sessions(Vec<Session>),
    /// API tokens, without their secrets.
    ApiTokens(Vec<ApiToken>),
    /// Previous addresses that can still take the account back.
    FormerEmails(Vec<String>),
    /// Identities at other providers.
    Identities(Vec<Identity>),
    /// Audit entries by or about the user, oldest first.
    Audit(Vec<audit::Row>),
}

/// The next page to read, with the cursor of its list.
#[derive(Debug)]
enum Next {
    Sessions { ended: bool, after: Option<session::Cursor> },
    ApiTokens { after: Option<api_token::Cursor> },
    FormerEmails { after: Option<previous_email::Cursor> },
    Identities,
    Audit { after: i64 },
    Nothing,
}

/// An export that is being read.
#[derive(Debug)]
pub struct Export {
    app: App,
    /// The user as they were at the beginning.
    pub user: User,
    /// The pending address at the beginning.
    pub pending_email: Option<String>,
    /// The id that the user had in the system that they were imported from.
    pub external_id: Option<String>,
    current: Option<SessionId>,
    /// The last row of the audit at the beginning. Later rows are not exported.
    until: i64,
    next: Next,
    _slot: Option<Slot>,
}

impl Export {
    /// Begins an export that the audit has recorded. `current` is the session that asked for it.
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
        let mut origins = imported::origins_of(connection, vec![user.id]).await?;
        let external_id = origins.remove(&user.id).and_then(|origin| origin.external_id);
        let next = Next::Sessions { ended: false, after: None };
        let app = app.clone();
        Ok(Self { app, user, pending_email, external_id, current, until, next, _slot: slot })
    }

    /// Reads the next page. Returns `None` after the last one.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn read(&mut self) -> Result<Option<Part>> {
        // Each list ends with an empty page.
        let (connection, user) = (self.app.database.exporter(), self.user.id);
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
                let (some, last) =
                    previous_email::some_of(connection, user, after.clone(), ROWS_AT_ONCE).await?;
                let next = match last {
                    Some(last) => Next::FormerEmails { after: Some(last) },
                    None => Next::Identities,
                };
                (Part::FormerEmails(some), next)
            }
            Next::Identities => {
                let all = federated_identity::of_user(&self.app, connection, user).await?;
                (Part::Identities(all), Next::Audit { after: 0 })
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
