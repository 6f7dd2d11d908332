//! The records of refusals. A refusal is counted in memory and written behind the answer, so that it costs a stranger's
//! request nothing, and strangers cannot fill the table: it keeps the latest rows of each client, and as many for all
//! unknown clients together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter::repeat_with;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use entity::ClientId;
use entity::refusal::Model;
use tokio::time::timeout;

use super::refusal::Refusal;
use super::{Client, store};
use crate::access::api_token::Digest;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::derived_key::{open_from_url, seal_for_url};
use crate::base::error::Result;
use crate::base::listing::{Limit, Page};
use crate::base::request_context;
use crate::platform::unit_of_work::UnitOfWork;

/// The number of rows that are kept for each client, and for all unknown clients together.
pub(super) const MAX_ROWS: u64 = 100;

/// The maximum number of refusals of one client that wait to be written, and of all unknown clients together. So a flood
/// of refusals of one client displaces none of another.
const MAX_WAITING: usize = 100;

/// The maximum length of a value that is kept, in characters.
const MAX_VALUE: usize = 500;

/// The time that a caller waits for refusals that others are writing.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// The length of a reference: the beginning of the digest of a row.
const REFERENCE: usize = 16;

/// The name under which references are sealed.
const COVERED: &str = "reference";

/// The value of a refusal whose own value is not kept, because too many others came at the same time.
const OTHERS: &str = "one of many values at the same time";

/// Refusals that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// By their clients and by the digests of their rows.
    waiting: Mutex<HashMap<Option<ClientId>, HashMap<String, Model>>>,
    /// Held while refusals are written, so that a reader waits for those that another caller has taken.
    writing: tokio::sync::Mutex<()>,
}

impl Recorded {
    /// Notes a refusal, and returns the digest of its row. If too many of the client wait, its value is not kept, so that it
    /// is always found: there is one such row for each check.
    fn note(&self, row: Model) -> String {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.entry(row.client_id).or_default();
        let has_room = waiting.len() < MAX_WAITING || waiting.contains_key(&row.digest);
        let row = if has_room { row } else { without_value(row) };
        let digest = row.digest.clone();
        match waiting.entry(digest.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.count, known.last_at) = (known.count.saturating_add(1), row.last_at);
                known.reference = row.reference;
            }
            Entry::Vacant(place) => drop(place.insert(row)),
        }
        digest
    }

    fn take(&self) -> Vec<Model> {
        let taken =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rows: Vec<_> = taken.into_values().flat_map(HashMap::into_values).collect();
        // In the same order on every replica, so that two replicas do not deadlock.
        rows.sort_unstable_by(|one, other| one.digest.cmp(&other.digest));
        rows
    }
}

/// The digest of a row: of the client, the check, the endpoint and the value that came.
fn digest_of(client: Option<ClientId>, name: &str, endpoint: &str, came: Option<&str>) -> String {
    let client = client.map_or(String::new(), |id| id.to_string());
    let parts = [&client, name, endpoint, came.unwrap_or_default()];
    Digest::of(&parts.join("\0")).to_string()
}

fn without_value(row: Model) -> Model {
    let came = Some(OTHERS.to_owned());
    let digest = digest_of(row.client_id, &row.check_name, &row.endpoint, came.as_deref());
    Model { digest, came, ..row }
}

/// Records a refusal for operators. `endpoint` names what refused, such as `token`. Returns the reference of its record.
/// Equal refusals have the same one, so a page never shows a reference that a later refusal replaces. The record can
/// also be found by the id of the latest request.
pub fn note(app: &App, client: Option<&Client>, endpoint: &str, refusal: &Refusal) -> String {
    let Refusal { name, error, sentence: _, expected, came, remedy } = refusal;
    let id = client.map(|client| client.id);
    let short = |value: &Option<Box<str>>| {
        value
            .as_deref()
            .map(|value| value.chars().filter(|char| *char != '\0').take(MAX_VALUE).collect())
    };
    let (expected, came): (Option<String>, Option<String>) = (short(expected), short(came));
    let now = clock::now().millis();
    let digest = app.client.recorded.note(Model {
        digest: digest_of(id, name, endpoint, came.as_deref()),
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
    digest.chars().take(REFERENCE).collect()
}

/// Returns a reference in a form that tells nobody anything: each time another text. An answer that must not reveal whether
/// a client exists shows it, because everybody can compute the reference of a client that does not.
pub fn covered(app: &App, reference: &str) -> String {
    let seal = || seal_for_url(&app.client.seals, COVERED, &reference).unwrap_or_default();
    // It is copied into a command, where a hyphen would begin an option.
    repeat_with(seal).find(|text| !text.starts_with('-')).unwrap_or_default()
}

/// Returns the reference that [`covered`] made a text of.
fn uncovered(app: &App, text: &str) -> Option<String> {
    let found = open_from_url::<String>(&app.client.seals, COVERED, text)?;
    Some(found).filter(|reference| is_reference(reference))
}

/// Writes the refusals that wait, and deletes the oldest rows of clients that have too many.
///
/// # Errors
///
/// If the database does not answer. Then the refusals are lost, as those of a caller who gives up while it writes.
pub(super) async fn write(app: &App) -> Result<()> {
    // A reader lists what there is, if others need long.
    let writing = timeout(WRITTEN_WITHIN, app.client.recorded.writing.lock()).await;
    let Ok(_alone) = writing else { return Ok(()) };
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
    /// The reference that pages show.
    pub reference: String,
    /// The id of the latest request.
    pub request: String,
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
            digest,
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
            reference: digest.chars().take(REFERENCE).collect(),
            request: reference,
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
    /// The one with this reference, or whose latest request has this id.
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
    let covered = match selection {
        Selection::Reference(text) => uncovered(app, text),
        _ => None,
    };
    let selection = covered.as_deref().map_or(selection, Selection::Reference);
    let rows = match selection {
        Selection::Reference(reference) if reference.contains('\0') => Vec::new(),
        Selection::Reference(reference) if is_reference(reference) => {
            store::refusals_by_digest(app.database.reader(), reference, limit.rows()).await?
        }
        selection => store::refusals(app.database.reader(), selection, limit.rows()).await?,
    };
    Ok(limit.page(rows).map(Record::from))
}

/// Returns true for a text of the form of a reference, and not of a request's id.
fn is_reference(text: &str) -> bool {
    text.len() == REFERENCE && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
