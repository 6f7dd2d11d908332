//! The records of refusals, by the reference that their page shows. They are written behind the answer, so that a
//! stranger's request costs no query, and strangers cannot fill the table.

use std::sync::{Mutex, PoisonError};

use entity::upstream_refusal::Model;

use super::refusal::Refusal;
use super::{Upstream, store};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::base::request_context;
use crate::platform::unit_of_work::UnitOfWork;

/// The number of rows that are kept for each provider, and for all requests of browsers that began nothing.
const MAX_ROWS: u64 = 1000;

/// The maximum number of refusals of one provider that wait to be written, and of browsers that began nothing. So strangers
/// displace no refusal of a person who began.
const MAX_WAITING: usize = 500;

/// The maximum length of a value that is kept, in characters.
const MAX_VALUE: usize = 500;

/// Refusals that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    waiting: Mutex<Vec<Model>>,
    /// Held while refusals are written, so that a reader waits for those that another caller has taken.
    writing: tokio::sync::Mutex<()>,
}

impl Recorded {
    fn note(&self, row: Model) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let beside = waiting.iter().filter(|known| known.upstream == row.upstream).count();
        if beside < MAX_WAITING {
            waiting.push(row);
        }
    }

    fn take(&self) -> Vec<Model> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records a refused sign-in for operators. `upstream` is `None` if the request came from a browser that began nothing,
/// because anybody can send such requests.
pub(crate) fn note(app: &App, upstream: Option<&Upstream>, label: &str, refusal: &Refusal) {
    let provider = upstream.map(Upstream::name);
    tracing::info!(refusal.name = refusal.name, upstream.name = provider, refusal = %refusal, "a sign-in with a provider was refused");
    app.factor.count_refused_provider(refusal.name);
    keep(app, provider, label, refusal);
}

/// Records a refused logout token for operators. `upstream` is `None` if the provider did not sign it, because anybody can
/// send such tokens.
pub(crate) fn note_logout(app: &App, upstream: Option<&Upstream>, label: &str, refusal: &Refusal) {
    let provider = upstream.map(Upstream::name);
    tracing::warn!(refusal.name = refusal.name, upstream.name = provider, refusal = %refusal, "a logout token of a provider was refused");
    keep(app, provider, label, refusal);
}

fn keep(app: &App, provider: Option<&str>, label: &str, refusal: &Refusal) {
    let Refusal { name, why, expected, came, remedy } = refusal;
    let short = |value: &Option<Box<str>>| {
        let value = value.as_deref()?;
        Some(value.chars().filter(|char| *char != '\0').take(MAX_VALUE).collect::<String>())
    };
    let Some(reference) = request_context::current().request_id else { return };
    app.upstream.recorded.note(Model {
        reference: reference.chars().take(64).collect(),
        upstream: provider.unwrap_or_default().to_owned(),
        check_name: (*name).to_owned(),
        sentence: why.sentence(label),
        expected: short(expected),
        came: short(came),
        remedy: remedy.to_string(),
        at: clock::now().millis(),
    });
}

/// Writes the refusals that wait, and deletes the oldest rows.
///
/// # Errors
///
/// If the database does not answer. Then the refusals are lost, as those of a caller who gives up while it writes.
pub(super) async fn write(app: &App) -> Result<()> {
    let _alone = app.upstream.recorded.writing.lock().await;
    let rows = app.upstream.recorded.take();
    if rows.is_empty() {
        return Ok(());
    }
    let mut names: Vec<_> = rows.iter().map(|row| row.upstream.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let work = UnitOfWork::begin(app).await?;
    for row in rows {
        store::record(&*work, row).await?;
    }
    for name in &names {
        store::delete_oldest(&*work, name, MAX_ROWS).await?;
    }
    work.commit().await
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The id of the request, which the page showed.
    pub reference: String,
    /// The name of the provider; empty if the request came from a browser that began nothing.
    pub upstream: String,
    /// The stable name of the check.
    pub name: String,
    /// The sentence that the person read.
    pub sentence: String,
    /// The value that was expected.
    pub expected: Option<String>,
    /// The value that came.
    pub came: Option<String>,
    /// The next step.
    pub remedy: String,
    /// The time.
    pub at: Timestamp,
}

impl From<Model> for Record {
    fn from(row: Model) -> Self {
        let Model { reference, upstream, check_name, sentence, expected, came, remedy, at } = row;
        let at = Timestamp::from_millis(at);
        Self { reference, upstream, name: check_name, sentence, expected, came, remedy, at }
    }
}

/// Returns the latest refusals, or the one with a reference.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, reference: Option<&str>) -> Result<Vec<Record>> {
    // This replica's own are written first, so that an operator finds the refusal that just happened.
    write(app).await?;
    if reference.is_some_and(|reference| reference.contains('\0')) {
        return Ok(Vec::new());
    }
    let rows = store::find(app.database.reader(), reference).await?;
    Ok(rows.into_iter().map(Record::from).collect())
}
