//! Replicas: the servers that are online, and how far each has applied the revocations and notices of the others.

pub(crate) mod jobs;
mod store;

pub use jobs::State;

use entity::ReplicaId;
use entity::replica::Model;
use tessera_verify::SigningAlgorithm;

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::platform::unit_of_work::UnitOfWork;

/// The time for which a replica counts as online after its last report, in seconds.
const ON_LINE_FOR: u64 = 15;

/// A server that is online.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The name that its operator gave it.
    pub name: String,
    /// The number in the sequence of revocations and notices up to which it has applied everything.
    pub seq: i64,
    /// The instant of its last report, in seconds since the epoch.
    pub seen: u64,
    /// The algorithm that it signs access tokens with, if it reports it.
    pub algorithm: Option<SigningAlgorithm>,
}

impl From<Model> for Replica {
    fn from(row: Model) -> Self {
        let Model { id: _, name, seq, seen_at, algorithm } = row;
        let algorithm = algorithm.and_then(|name| name.parse().ok());
        Self { name, seq, seen: Timestamp::from_millis(seen_at).seconds(), algorithm }
    }
}

/// Returns the replicas that are online, by name, and the last number in the sequence. A replica that has reached this
/// number has applied everything.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App) -> Result<(Vec<Replica>, i64)> {
    // The number is read first, so that it does not include what is written meanwhile.
    let seq = last_place(app).await?;
    let since = clock::now().minus_seconds(ON_LINE_FOR);
    let rows = store::seen_since(app.database.reader(), since).await?;
    Ok((rows.into_iter().map(Replica::from).collect(), seq))
}

/// Returns the algorithms that the servers which are online sign access tokens with. It is usually one.
///
/// # Errors
///
/// If the database does not answer.
pub async fn algorithms(app: &App) -> Result<Vec<SigningAlgorithm>> {
    let (replicas, _) = list(app).await?;
    let mut algorithms: Vec<_> = replicas.iter().filter_map(|replica| replica.algorithm).collect();
    algorithms.sort_by_key(|algorithm| algorithm.name());
    algorithms.dedup();
    Ok(algorithms)
}

/// Returns the last number that was committed: the sum of those of the revocations and of the notices, at one instant.
/// A replica that has reached this number has applied both.
async fn last_place(app: &App) -> Result<i64> {
    Ok(store::last_place(app.database.reader()).await?)
}

/// Reports that this replica is online, and how far it has come.
async fn report(app: &App, id: ReplicaId, name: &str, seq: i64) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    let algorithm = Some(app.config.jwt_algorithm.name().to_owned());
    let seen_at = clock::now().millis();
    let row = Model { id, name: name.to_owned(), seq, seen_at, algorithm };
    store::put(&*work, row).await?;
    work.commit().await
}

/// Reports that a replica is no longer online.
async fn leave(app: &App, id: ReplicaId) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    store::delete(&*work, id).await?;
    work.commit().await
}
