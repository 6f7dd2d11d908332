//! Background work for clients: writes the times at which secrets were last used and the refusals, and deletes old
//! ones.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use entity::ClientSecretId;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::secret::StoredSecret;
use super::{recorded, store};
use crate::app::App;
use crate::base::background::Background;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::platform::job::purge;
use crate::platform::key::signing_for_clients;
use crate::platform::unit_of_work::UnitOfWork;

/// The time between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The least time between two noted uses of a secret, in seconds.
const NOTED_FOR: u64 = 60;

/// The maximum number of uses that wait to be written.
const MAX_USES: usize = 100_000;

/// The time that a retired secret and a refusal are kept, in seconds: for a month, operators read "retired" and not
/// "wrong".
const KEPT_FOR: u64 = 30 * 86_400;

/// Uses of secrets that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<ClientSecretId, Timestamp>>);

impl Uses {
    /// Remembers a use, if the last noted one is at least a minute old.
    pub(super) fn note(&self, secret: &StoredSecret, now: Timestamp) {
        if secret.last_used.is_some_and(|known| now < known.plus_seconds(NOTED_FOR)) {
            return;
        }
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < MAX_USES {
            uses.entry(secret.id).or_insert(now);
        }
    }

    fn take(&self) -> HashMap<ClientSecretId, Timestamp> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_writing(app.clone()));
    background.start(keep_providing(app.clone()));
    background.start(keep_purging(app.clone()));
    background.start(keep_purging_refusals(app.clone()));
    let app = app.clone();
    background.at_end(async move { write(&app).await });
}

/// Makes the keys that clients need, whenever clients were changed, for as long as it is polled. A server does this, and
/// not the command that makes a client: the command need not have the secret that encrypts keys.
async fn keep_providing(app: App) {
    loop {
        match provide_keys(&app).await {
            Ok(()) => app.client.changed.notified().await,
            Err(error) => {
                tracing::warn!(error.cause = %error, "the keys of clients could not be made");
                sleep(WRITE_EVERY).await;
            }
        }
    }
}

/// Makes the keys for the algorithms of active clients, as far as there are none.
async fn provide_keys(app: &App) -> Result<()> {
    let mut after = None;
    loop {
        let page = super::list(app, after, 100).await?;
        for client in page.items.iter().filter(|client| client.is_active) {
            for algorithm in client.settings.algorithms() {
                signing_for_clients(app, algorithm).await?;
            }
        }
        after = page.next(|last| last.client_id.clone());
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Writes what waits every few seconds, for as long as it is polled.
async fn keep_writing(app: App) {
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        write(&app).await;
    }
}

/// Writes what waits. If that fails, it is lost: a time of a last use is then too old, or a refusal is not counted.
async fn write(app: &App) {
    if let Err(error) = recorded::write(app).await {
        tracing::warn!(error.cause = %error, "refusals of clients could not be stored");
    }
    let uses = app.client.uses.take();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = write_uses(app, uses).await {
        tracing::warn!(error.cause = %error, "the last uses of client secrets could not be stored");
    }
}

async fn write_uses(app: &App, uses: HashMap<ClientSecretId, Timestamp>) -> Result<()> {
    // In the same order on every replica, so that two replicas do not deadlock.
    let mut uses: Vec<_> = uses.into_iter().collect();
    uses.sort_unstable();
    for some in uses.chunks(500) {
        let work = UnitOfWork::begin(app).await?;
        for (id, at) in some {
            store::note_use(&*work, *id, *at).await?;
        }
        work.commit().await?;
    }
    Ok(())
}

/// Deletes secrets that retired, for as long as it is polled.
async fn keep_purging(app: App) {
    purge::hourly(&app, "client secrets", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_retired_before(connection, before, max).await
    })
    .await;
}

/// Deletes old refusals, for as long as it is polled.
async fn keep_purging_refusals(app: App) {
    purge::hourly(&app, "refusals of clients", async |_, connection, max| {
        let before = clock::now().minus_seconds(KEPT_FOR);
        store::delete_refusals_before(connection, before, max).await
    })
    .await;
}
