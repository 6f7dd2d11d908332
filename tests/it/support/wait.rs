//! Waiting for what happens in its own time: tests look for it again and again, and sleep nowhere else.

use std::time::{Duration, Instant};

use super::{Server, TestDatabase};

/// How long a test waits before it gives up: far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A wait that began, and ends in vain when it lasts too long.
pub(super) struct Waiting(Instant);

impl Waiting {
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Waits for a moment, after which it is time to look again.
    pub(super) async fn a_moment(&self, what: &str) {
        assert!(self.0.elapsed() < PATIENCE, "waited in vain: {what}");
        // The one place that waits without an event: it makes events of everything else.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until there is what a test looks for.
pub(crate) async fn awaited<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = Waiting::begin();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        waiting.a_moment(what).await;
    }
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    awaited(what, async || is_so().await.then_some(())).await;
}

impl TestDatabase {
    /// Waits until no job is left: every mail was sent or given up.
    pub(crate) async fn has_no_job(&self) {
        eventually("no job is left", async || self.count("job").await == 0).await;
    }

    /// Waits until a statement on this database, in PostgreSQL, waits for a lock.
    pub(crate) async fn waits_for_a_lock(&self) {
        let waiting = "pg_locks where not granted and database = \
                       (select oid from pg_database where datname = current_database())";
        let waits = async || self.count(waiting).await > 0;
        eventually("a statement waits for a lock", waits).await;
    }
}

impl Server {
    /// Has time pass, for this server and the others on its database: caches grow old, tokens expire, limits
    /// refill.
    pub(crate) fn passes(&self, time: Duration) {
        assert!(self.dev, "outside development no clock is moved");
        self.clock.advance(time);
    }

    /// Has time pass, and waits until this server knows again what was revoked: that grew old too.
    pub(crate) async fn advance(&self, time: Duration) {
        self.passes(time);
        self.settles().await;
    }

    /// Waits until this server is ready.
    pub(crate) async fn settles(&self) {
        let ready = async || self.get("/health/ready").send().await.status == 200;
        eventually("the server is ready", ready).await;
    }

    /// Waits until this server has applied every revocation and notice that is in the table now.
    pub(crate) async fn catches_up(&self) {
        let last = "select coalesce((select max(seq) from revocation), 0) \
                    + coalesce((select max(seq) from notice), 0)";
        let last = self.database.column::<i64>(last).await[0];
        let applied =
            format!("replica where seq >= {last} and name like '%:{}'", self.address.port());
        let has = async || self.database.count(&applied).await > 0;
        eventually("the server has applied what others wrote", has).await;
    }

    /// Waits until a token is refused; what the answer is.
    pub(crate) async fn refuses(&self, token: &str) -> super::Answer {
        awaited("the token is refused", async || {
            Some(self.me(token).await).filter(|answer| answer.status == 401)
        })
        .await
    }
}
