//! The jobs that follow the changes of other replicas, report how far this replica has come, and delete replicas that
//! are long gone.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use entity::ReplicaId;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{last_place, leave, report, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::{self, Stopwatch};
use crate::base::database::listener::Listener;
use crate::base::error::Result;
use crate::base::random;
use crate::platform::job::purge;
use crate::platform::notice;
use crate::platform::revocation::{self, memory};

const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// The shortest time between two reads of the tables, and between two notifications to other servers.
const FOLLOW_AT_MOST_EVERY: Duration = Duration::from_millis(10);
const NOTIFY_AT_MOST_EVERY: Duration = Duration::from_millis(10);

/// The interval at which a server notifies itself too, and the time without a notification after which it warns.
const NOTIFY_EVERY: Duration = Duration::from_secs(60);
const SILENT_FOR: Duration = Duration::from_secs(150);

/// The time after which a server listens again if its connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

const LOOK_EVERY: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The time for which a replica that stopped without notice is remembered, in seconds.
const KEPT_FOR: u64 = 86_400;

/// The time for which notices are kept, in seconds. A replica that reads none for longer handles all kinds of notices.
const NOTICES_KEPT_FOR: u64 = 3600;

/// The progress of this replica, and the signal to read at once.
#[derive(Debug, Default)]
pub struct State {
    /// The number up to which it has applied every revocation and every notice.
    place: AtomicI64,
    wanted: Notify,
}

impl State {
    fn get(&self) -> i64 {
        self.place.load(Ordering::SeqCst)
    }

    fn set(&self, place: i64) {
        self.place.store(place, Ordering::SeqCst);
    }

    /// Makes this replica read the tables now, instead of within half a second.
    pub(crate) fn wake(&self) {
        self.wanted.notify_one();
    }
}

/// Keeps memory up to date with the tables of revocations and notices, until the server stops.
async fn keep_following(app: App) {
    let mut ticks = interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = app.revocation.written();
    let mut was_ok = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.replica.wanted.notified() => {}
            _ = written.changed() => {}
        }
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
        sleep(FOLLOW_AT_MOST_EVERY).await;
    }
}

/// Reads both tables. The last numbers are read first, in one statement. So at the end, everything up to them has been
/// applied.
async fn follow(app: &App) -> Result<()> {
    if app.revocation.feed.has_ended() {
        revocation::jobs::replace_epoch(app).await?;
    }
    let place = last_place(app).await;
    if memory::follow(app, app.database.reader()).await? {
        // Another history can have come to light, which needs another epoch.
        app.replica.wake();
        notice::act_on_all(app).await?;
    }
    notice::follow(app).await?;
    app.replica.set(place?);
    Ok(())
}

/// Tells the other servers on PostgreSQL that this one committed something, until the server stops. This is only a hint:
/// if it is lost, the others read within half a second.
async fn keep_notifying(app: App) {
    if !app.database.is_postgres() {
        return;
    }
    let mut written = app.revocation.written();
    loop {
        // Once a minute without a reason, so that a server notices if notifications do not arrive.
        if let Ok(Err(_)) = timeout(NOTIFY_EVERY, written.changed()).await {
            return;
        }
        if let Err(error) = store::notify(app.database.reader()).await {
            tracing::debug!(error.cause = %error, "the other servers could not be notified");
        }
        sleep(NOTIFY_AT_MOST_EVERY).await;
    }
}

/// Reads the tables whenever another server sends a notification, until the server stops.
async fn keep_listening(app: App) {
    if !app.database.is_postgres() {
        return;
    }
    let own = &app.config.feed.database_listen_url;
    let Some(server) = own.as_ref().unwrap_or(&app.config.database_url).listens() else {
        tracing::info!(
            "no notifications pass the pooler of DATABASE_URL, so revocations of other servers arrive within half a \
             second: set DATABASE_LISTEN_URL to learn of them at once"
        );
        return;
    };
    let (mut was_ok, mut is_silent) = (true, false);
    loop {
        match Listener::connect(server).await {
            Ok(listener) => {
                tracing::debug!("listening for notifications of other servers");
                was_ok = true;
                listen(&app, listener, &mut is_silent).await;
            }
            Err(error) if was_ok => {
                tracing::warn!(
                    error.cause = %error,
                    "notifications of other servers cannot be received; their revocations still arrive within half a \
                     second"
                );
                was_ok = false;
            }
            Err(_) => {}
        }
        app.replica.wake();
        sleep(LISTEN_AGAIN).await;
    }
}

/// Wakes the job that reads the tables at each notification, until the connection is lost. If nothing arrives for minutes,
/// the connection can be half open, so it counts as lost. `is_silent` is true if that was logged.
async fn listen(app: &App, mut listener: Listener, is_silent: &mut bool) {
    // Rows that were committed before this connection listened are read now.
    app.replica.wake();
    while let Ok(is_connected) = timeout(SILENT_FOR, listener.heard()).await {
        if !is_connected {
            return;
        }
        tracing::debug!("a server notified this one");
        *is_silent = false;
        app.replica.wake();
    }
    if !*is_silent {
        *is_silent = true;
        tracing::warn!(
            "no notification of a server has arrived for minutes, not even of this one: check that \
             DATABASE_LISTEN_URL or DATABASE_URL leads to the database itself, and not to a pooler or a copy"
        );
    }
}

/// Starts the background work: it reports that this server runs, and when it stops.
pub(crate) fn start(app: &App, background: &mut Background) {
    let port = background.port();
    let name = || format!("{}:{port}", gethostname::gethostname().to_string_lossy());
    let member = Member::new(app.config.replica_name.clone().unwrap_or_else(name));
    background.start(keep_following(app.clone()));
    background.start(keep_notifying(app.clone()));
    background.start(keep_listening(app.clone()));
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
