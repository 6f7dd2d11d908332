//! Notices: replicas tell each other which caches to forget, and what to read again.
//!
//! A notice is a row, committed with the act that caused it, in the order of the commits. The replica that wrote it
//! acts on it right after the commit; the others read the table every half second. Features register what is done:
//! the table of handlers is a part of `routes.rs`.

mod store;

use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;

/// How many rows are read at once.
const BATCH: u64 = 1000;

/// A kind of notice, by its name in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub &'static str);

/// Something that a feature does when a notice of a kind arrives.
#[derive(Clone, Copy)]
pub struct Handler {
    /// The kind.
    pub kind: Kind,
    /// What is done. If it fails, the notice is read again half a second later.
    pub act: fn(&App) -> BoxFuture<'_, Result<()>>,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Handler({})", self.kind.0)
    }
}

/// The handlers of the features, and how far this replica has read the table.
#[derive(Debug)]
pub struct State {
    handlers: &'static [Handler],
    place: AtomicI64,
}

impl State {
    /// With these handlers, at the beginning of the table.
    pub(crate) fn new(handlers: &'static [Handler]) -> Self {
        Self { handlers, place: AtomicI64::new(0) }
    }
}

/// Writes notices in the transaction of the act that caused them.
///
/// # Errors
///
/// When the database refuses.
pub(super) async fn write(transaction: &DatabaseTransaction, kinds: &[Kind]) -> Result<()> {
    Ok(store::insert(transaction, kinds, clock::now()).await?)
}

/// Does what features do when notices of these kinds arrive.
///
/// # Errors
///
/// The first failure; every handler was tried.
pub(super) async fn act(app: &App, kinds: &[Kind]) -> Result<()> {
    let wanted = |handler: &&Handler| kinds.contains(&handler.kind);
    let mut outcome = Ok(());
    for handler in app.notice.handlers.iter().filter(wanted) {
        outcome = outcome.and((handler.act)(app).await);
    }
    outcome
}

/// Begins at the end of the table: a server that starts reads everything anew.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn begin(app: &App) -> Result<()> {
    let last = store::last_seq(app.database.reader()).await?;
    app.notice.place.store(last, Ordering::SeqCst);
    Ok(())
}

/// Acts on every kind: this replica may have missed notices.
///
/// # Errors
///
/// The first failure; every handler was tried.
pub(crate) async fn act_on_all(app: &App) -> Result<()> {
    let mut kinds: Vec<_> = app.notice.handlers.iter().map(|handler| handler.kind).collect();
    kinds.dedup();
    act(app, &kinds).await
}

/// Reads what was committed to the table since the last time, and acts on it.
///
/// # Errors
///
/// When the database does not answer, or a handler fails: then the same notices are read again.
pub(crate) async fn follow(app: &App) -> Result<()> {
    let place = app.notice.place.load(Ordering::SeqCst);
    // The row that was read last is read with those that follow: if it is gone, rows may have been purged that this
    // replica never saw, or an older copy of the database was restored.
    let rows = store::from(app.database.reader(), place, BATCH).await?;
    let is_whole = place == 0 || rows.first().is_some_and(|(seq, _)| *seq == place);
    if is_whole {
        let is_named = |kind: &Kind| rows.iter().any(|(seq, name)| *seq > place && name == kind.0);
        let mut kinds: Vec<_> = app.notice.handlers.iter().map(|handler| handler.kind).collect();
        kinds.retain(is_named);
        kinds.dedup();
        act(app, &kinds).await?;
    } else {
        act_on_all(app).await?;
    }
    let last = rows.last().map_or(0, |(seq, _)| *seq);
    app.notice.place.store(last, Ordering::SeqCst);
    Ok(())
}

/// Deletes some notices that were written before an instant, and says how many. The last one stays: replicas know
/// their place by it.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn delete_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    store::delete_before(connection, time, max).await
}
