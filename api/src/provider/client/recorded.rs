//! The records of refusals. A refusal is counted in memory and written behind the answer, so that it costs a stranger's
//! request nothing, and strangers cannot fill the table: it keeps the latest rows of each client, and as many for all
//! unknown clients together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use entity::ClientId;
use entity::refusal::Model;

use super::refusal::{OauthError, Refusal};
use super::{Client, store};
use crate::access::api_token::Digest;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::base::listing::{Limit, Page};
use crate::base::request_context;
use crate::platform::unit_of_work::UnitOfWork;

/// The number of rows that are kept for each client, and for all unknown clients together.
pub(super) const MAX_ROWS: u64 = 100;

/// The maximum number of refusals that wait to be written: of known clients, and of unknown ones.
const MAX_WAITING: usize = 1000;
const MAX_UNKNOWN: usize = 100;

/// The maximum length of a value that is kept, in characters.
const MAX_VALUE: usize = 500;

/// Errors that the protocol provides for: a user has to do something, or did not want to.
const OF_USERS: [OauthError; 5] = [
    OauthError::AccessDenied,
    OauthError::LoginRequired,
    OauthError::ConsentRequired,
    OauthError::AccountSelectionRequired,
    OauthError::InteractionRequired,
];

/// Refusals that are not written yet, by the digest of their rows.
#[derive(Debug, Default)]
pub(crate) struct Recorded(Mutex<HashMap<String, Model>>);

impl Recorded {
    fn note(&self, row: Model) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || waiting.values().filter(|row| row.client_id.is_none()).count();
        let has_room =
            waiting.len() < MAX_WAITING && (row.client_id.is_some() || unknown() < MAX_UNKNOWN);
        match waiting.entry(row.digest.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.count, known.last_at) = (known.count.saturating_add(1), row.last_at);
                known.reference = row.reference;
            }
            Entry::Vacant(place) if has_room => drop(place.insert(row)),
            Entry::Vacant(_) => {}
        }
    }

    fn take(&self) -> Vec<Model> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rows: Vec<_> = taken.into_values().collect();
        // In the same order on every replica, so that two replicas do not deadlock.
        rows.sort_unstable_by(|one, other| one.digest.cmp(&other.digest));
        rows
    }
}

/// Records a refusal for operators. `endpoint` names what refused, such as `token`. The reference is the id of the
/// request that is being answered.
pub fn note(app: &App, client: Option<&Client>, endpoint: &str, refusal: &Refusal) {
    let Refusal { name, error, sentence: _, expected, came, remedy } = refusal;
    if OF_USERS.contains(error) {
        return;
    }
    let id = client.map(|client| client.id);
    let short = |value: &Option<Box<str>>| {
        value
            .as_deref()
            .map(|value| value.chars().filter(|char| *char != '\0').take(MAX_VALUE).collect())
    };
    let (expected, came): (Option<String>, Option<String>) = (short(expected), short(came));
    let parts = [&id.map_or(String::new(), |id| id.to_string()), *name, endpoint];
    let digest =
        Digest::of(&format!("{}\0{}", parts.join("\0"), came.as_deref().unwrap_or_default()));
    let now = clock::now().millis();
    app.client.recorded.note(Model {
        digest: digest.to_string(),
        client_id: id,
        check_name: (*name).to_owned(),
        error: error.name().to_owned(),
        endpoint: endpoint.to_owned(),
        expected,
        came,
        remedy: remedy.to_string(),
        reference: request_context::current().request_id.unwrap_or_default(),
        count: 1,
        first_at: now,
        last_at: now,
    });
}

/// Writes the refusals that wait, and deletes the oldest rows of clients that have too many.
///
/// # Errors
///
/// If the database does not answer. Then the refusals are lost.
pub(super) async fn write(app: &App) -> Result<()> {
    let rows = app.client.recorded.take();
    if rows.is_empty() {
        return Ok(());
    }
    let mut clients: Vec<Option<ClientId>> = rows.iter().map(|row| row.client_id).collect();
    clients.sort_unstable();
    clients.dedup();
    for row in rows {
        // Alone: the client of a row may have been deleted, and the others must be kept.
        let work = UnitOfWork::begin(app).await?;
        match store::record(&*work, row).await {
            Ok(()) => work.commit().await?,
            Err(error) => tracing::debug!(error.cause = %error, "a refusal could not be recorded"),
        }
    }
    let work = UnitOfWork::begin(app).await?;
    for client in clients {
        store::delete_oldest_refusals(&*work, client, MAX_ROWS).await?;
    }
    work.commit().await
}

/// Recorded refusals of one check, client and value. Times are instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The stable name of the check.
    pub name: String,
    /// The error code of the answers.
    pub error: String,
    /// The endpoint.
    pub endpoint: String,
    /// The value that was expected.
    pub expected: Option<String>,
    /// The value that came.
    pub came: Option<String>,
    /// The next step.
    pub remedy: String,
    /// The id of the latest request.
    pub reference: String,
    /// The number of refusals.
    pub count: u64,
    /// The first refusal.
    pub first: Timestamp,
    /// The last refusal.
    pub last: Timestamp,
}

impl From<Model> for Record {
    fn from(row: Model) -> Self {
        let Model {
            digest: _,
            client_id: _,
            check_name,
            error,
            endpoint,
            expected,
            came,
            remedy,
            reference,
            count,
            first_at,
            last_at,
        } = row;
        Self {
            name: check_name,
            error,
            endpoint,
            expected,
            came,
            remedy,
            reference,
            count: count.unsigned_abs(),
            first: Timestamp::from_millis(first_at),
            last: Timestamp::from_millis(last_at),
        }
    }
}

/// The records to list.
#[derive(Debug, Clone, Copy)]
pub enum Selection<'a> {
    /// Those of a client.
    Client(&'a Client),
    /// Those of unknown clients.
    Unknown,
    /// The one whose latest request has this id.
    Reference(&'a str),
}

/// Returns records, the latest first.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, selection: Selection<'_>) -> Result<Page<Record>> {
    // This replica's own are written first, so that an operator finds the refusal that just happened.
    write(app).await?;
    let limit = Limit::new(MAX_ROWS, MAX_ROWS);
    let rows = match selection {
        Selection::Reference(reference) if reference.contains('\0') => Vec::new(),
        selection => store::refusals(app.database.reader(), selection, limit.rows()).await?,
    };
    Ok(limit.page(rows).map(Record::from))
}
