//! Following what other replicas revoke and change, saying how far this replica has come, and forgetting replicas that
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

/// How long a replica that stopped without a word is remembered, in seconds.
const KEPT_FOR: u64 = 86_400;

/// How long notices are kept, in seconds: a replica that reads none for longer than that acts on all of them.
const NOTICES_KEPT_FOR: u64 = 3600;

/// How far this replica has come: the place up to which it has applied every revocation and every notice.
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

/// Keeps memory in step with the tables of revocations and of notices, for as long as it is polled.
async fn keep_following(app: App) {
    let mut ticks = interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        ticks.tick().await;
        let outcome = follow(&app).await;
        match (&outcome, well) {
            (Err(fault), true) => tracing::warn!(
                error.cause = %fault,
                "revocations cannot be read; tokens are refused once that lasts"
            ),
            (Ok(()), false) => tracing::info!("revocations can be read again"),
            _ => {}
        }
        well = outcome.is_ok();
    }
}

/// Reads both tables. Their last places are asked first, in one statement: what stands there has been applied at the
/// end.
async fn follow(app: &App) -> Result<()> {
    let place = last_place(app).await;
    if memory::follow(app, app.database.reader()).await? {
        notice::act_on_all(app).await?;
    }
    notice::follow(app).await?;
    app.replica.set(place?);
    Ok(())
}

/// Starts the background work: reports that this server runs, and says when it stops.
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

/// This server among those on its database.
#[derive(Debug, Clone)]
struct Member {
    id: ReplicaId,
    name: String,
}

impl Member {
    /// With an id of this start.
    fn new(name: String) -> Self {
        Self { id: ReplicaId(random::id()), name }
    }

    /// Reports every few seconds, and at once when something new was applied, for as long as it is
    /// polled.
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
            // Following the revocations says so when the database is away.
            if let Err(error) = report(&app, self.id, &self.name, seq).await {
                tracing::debug!(error.cause = %error, "this replica could not report");
            }
            last = Some((seq, Stopwatch::start()));
        }
    }

    /// Says that this server stops.
    async fn leave(&self, app: &App) {
        if let Err(error) = leave(app, self.id).await {
            tracing::debug!(error.cause = %error, "this replica could not say that it stops");
        }
    }
}

/// Purges notices once an hour, for as long as it is polled.
async fn keep_purging_notices(app: App) {
    purge::hourly(&app, "notices", async |_, connection, max| {
        notice::delete_before(connection, clock::now().minus_seconds(NOTICES_KEPT_FOR), max).await
    })
    .await;
}

/// Purges once an hour, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "replicas", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_seen_before(connection, before, max).await
    })
    .await;
}
