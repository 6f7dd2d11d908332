//! The jobs that follow the changes of other replicas, report how far this replica has come, and delete replicas that
//! are long gone.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use entity::ReplicaId;
use tokio::time::{MissedTickBehavior, interval};

use super::{last_place, leave, report, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::{self, Stopwatch};
use crate::base::error::Result;
use crate::base::random;
use crate::platform::job::purge;
use crate::platform::notice;
use crate::platform::revocation::memory;

const FOLLOW_EVERY: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The time for which a replica that stopped without notice is remembered, in seconds.
const KEPT_FOR: u64 = 86_400;

/// The time for which notices are kept, in seconds. A replica that reads none for longer handles all kinds of notices.
const NOTICES_KEPT_FOR: u64 = 3600;

/// The progress of this replica: the number up to which it has applied every revocation and every notice.
#[derive(Debug, Default)]
pub struct State(AtomicI64);

impl State {
    fn get(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn set(&self, place: i64) {
        self.0.store(place, Ordering::SeqCst);
    }
}

/// Keeps memory up to date with the tables of revocations and notices, until the server stops.
async fn keep_following(app: App) {
    let mut ticks = interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_ok = true;
    loop {
        ticks.tick().await;
        let outcome = follow(&app).await;
        match (&outcome, was_ok) {
            (Err(fault), true) => tracing::warn!(
                error.cause = %fault,
                "revocations cannot be read; if this lasts, tokens are refused"
            ),
            (Ok(()), false) => tracing::info!("revocations can be read again"),
            _ => {}
        }
        was_ok = outcome.is_ok();
    }
}

/// Reads both tables. The last numbers are read first, in one statement. So at the end, everything up to them has been
/// applied.
async fn follow(app: &App) -> Result<()> {
    let place = last_place(app).await;
    if memory::follow(app, app.database.reader()).await? {
        notice::act_on_all(app).await?;
    }
    notice::follow(app).await?;
    app.replica.set(place?);
    Ok(())
}

/// Starts the background work: it reports that this server runs, and when it stops.
pub(crate) fn start(app: &App, background: &mut Background) {
    let port = background.port();
    let name = || format!("{}:{port}", gethostname::gethostname().to_string_lossy());
    let member = Member::new(app.config.replica_name.clone().unwrap_or_else(name));
    background.start(keep_following(app.clone()));
    background.start(keep_purging_notices(app.clone()));
    background.start(member.clone().keep_reporting(app.clone()));
    background.start(keep_purging(app.clone()));
    let app = app.clone();
    background.at_end(async move { member.leave(&app).await });
}

/// This server, as one of the servers on its database.
#[derive(Debug, Clone)]
struct Member {
    id: ReplicaId,
    name: String,
}

impl Member {
    /// Creates a member with a new id for this start of the server.
    fn new(name: String) -> Self {
        Self { id: ReplicaId(random::id()), name }
    }

    /// Reports every few seconds, and at once if something new was applied, until the server stops.
    async fn keep_reporting(self, app: App) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<(i64, Stopwatch)> = None;
        loop {
            ticks.tick().await;
            let seq = app.replica.get();
            if last.is_some_and(|(known, at)| known == seq && at.elapsed() < REPORT_EVERY) {
                continue;
            }
            // If the database is away, the job that follows the revocations logs it.
            if let Err(error) = report(&app, self.id, &self.name, seq).await {
                tracing::debug!(error.cause = %error, "this replica could not report");
            }
            last = Some((seq, Stopwatch::start()));
        }
    }

    /// Reports that this server stops.
    async fn leave(&self, app: &App) {
        if let Err(error) = leave(app, self.id).await {
            tracing::debug!(error.cause = %error, "this replica could not report that it stops");
        }
    }
}

/// Deletes old notices once an hour, until the server stops.
async fn keep_purging_notices(app: App) {
    purge::hourly(&app, "notices", async |_, connection, max| {
        notice::delete_before(connection, clock::now().minus_seconds(NOTICES_KEPT_FOR), max).await
    })
    .await;
}

/// Deletes expired rows once an hour, until the server stops.
async fn keep_purging(app: App) {
    purge::hourly(&app, "replicas", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_seen_before(connection, before, max).await
    })
    .await;
}
