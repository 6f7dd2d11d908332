//! Replicas: which servers are on line, and how far each has applied what others revoked and changed.

pub(crate) mod jobs;
mod store;

pub use jobs::State;

use entity::ReplicaId;
use entity::replica::Model;

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::platform::unit_of_work::UnitOfWork;

/// A replica counts as on line for so long after it was last heard of, in seconds.
const ON_LINE_FOR: u64 = 15;

/// A server that is on line.
#[derive(Debug, Clone)]
pub struct Replica {
    /// What its operator calls it.
    pub name: String,
    /// The last place in the sequence of revocations that it has applied.
    pub seq: i64,
    /// When it last said so, in seconds since the epoch.
    pub seen: u64,
}

impl From<Model> for Replica {
    fn from(row: Model) -> Self {
        let Model { id: _, name, seq, seen_at } = row;
        Self { name, seq, seen: Timestamp::from_millis(seen_at).seconds() }
    }
}

/// The replicas that are on line, by name, and the last place in the sequence that there is: a
/// replica that has come so far has applied everything.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(app: &App) -> Result<(Vec<Replica>, i64)> {
    // Asked first: what is written meanwhile is not waited for.
    let seq = last_place(app).await?;
    let since = clock::now().minus_seconds(ON_LINE_FOR);
    let rows = store::seen_since(app.database.reader(), since).await?;
    Ok((rows.into_iter().map(Replica::from).collect(), seq))
}

/// The last place that was committed: that of the revocations and that of the notices added up, as of one instant. A
/// replica that has come so far has applied both.
async fn last_place(app: &App) -> Result<i64> {
    Ok(store::last_place(app.database.reader()).await?)
}

/// Says that this replica is on line, and how far it has come.
async fn report(app: &App, id: ReplicaId, name: &str, seq: i64) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    let row = Model { id, name: name.to_owned(), seq, seen_at: clock::now().millis() };
    store::put(&*work, row).await?;
    work.commit().await
}

/// Says that a replica is not on line any more.
async fn leave(app: &App, id: ReplicaId) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    store::delete(&*work, id).await?;
    work.commit().await
}
