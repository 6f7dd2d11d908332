//! Notices: rows that tell all replicas which caches to forget and what to read again.
//!
//! A notice is committed with the operation that caused it, and numbered in the order of the commits. The replica that
//! wrote it handles it right after the commit. The others read the table every half second. Features register handlers:
//! the table of handlers is a part of `routes.rs`.

mod store;

use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;

/// The number of rows that are read at once.
const BATCH: u64 = 1000;

/// A kind of notice, identified by its name in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub &'static str);

/// A handler of a feature for one kind of notice.
#[derive(Clone, Copy)]
pub struct Handler {
    /// The kind.
    pub kind: Kind,
    /// The function that handles it. If it fails, the notice is read again half a second later.
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
    /// Creates a state with these handlers, at the beginning of the table.
    pub(crate) fn new(handlers: &'static [Handler]) -> Self {
        Self { handlers, place: AtomicI64::new(0) }
    }
}

/// Writes notices in the transaction of the operation that caused them.
///
/// # Errors
///
/// If the database returns an error.
pub(super) async fn write(transaction: &DatabaseTransaction, kinds: &[Kind]) -> Result<()> {
    Ok(store::insert(transaction, kinds, clock::now()).await?)
}

/// Calls the handlers of these kinds.
///
/// # Errors
///
/// The first failure. Every handler is called in any case.
pub(super) async fn act(app: &App, kinds: &[Kind]) -> Result<()> {
    let is_of_kinds = |handler: &&Handler| kinds.contains(&handler.kind);
    let mut outcome = Ok(());
    for handler in app.notice.handlers.iter().filter(is_of_kinds) {
        outcome = outcome.and((handler.act)(app).await);
    }
    outcome
}

/// Begins at the end of the table, because a server that starts reads everything anew.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn begin(app: &App) -> Result<()> {
    let last = store::last_seq(app.database.reader()).await?;
    app.notice.place.store(last, Ordering::SeqCst);
    Ok(())
}

/// Handles every kind of notice, because this replica may have missed some.
///
/// # Errors
///
/// The first failure. Every handler is called in any case.
pub(crate) async fn act_on_all(app: &App) -> Result<()> {
    let mut kinds: Vec<_> = app.notice.handlers.iter().map(|handler| handler.kind).collect();
    kinds.dedup();
    act(app, &kinds).await
}

/// Reads the notices that were committed since the last time, and handles them.
///
/// # Errors
///
/// If the database does not answer or a handler fails. Then the same notices are read again.
pub(crate) async fn follow(app: &App) -> Result<()> {
    let place = app.notice.place.load(Ordering::SeqCst);
    // The last row that was read is read again with those that follow. If it is gone, rows may have been deleted that
    // this replica never saw, or an older copy of the database was restored.
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

/// Deletes at most `max` notices that were written before an instant. Returns their number. The last notice stays,
/// because replicas know by it how far they have read.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn delete_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    store::delete_before(connection, time, max).await
}
