//! Waits for events: a test checks repeatedly, and sleeps nowhere else.

use std::time::{Duration, Instant};

use super::{Answer, Kind, Request, Server, TestDatabase};

/// The longest wait of a test, far longer than anything takes, also on a slow machine that does other work. Only a test that
/// fails waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A wait that has begun. It fails the test if it lasts too long.
pub(super) struct Waiting(Instant);

impl Waiting {
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Waits a moment before the next check.
    pub(super) async fn pause(&self, what: &str) {
        assert!(self.0.elapsed() < PATIENCE, "timed out: {what}");
        // The only sleep of the helpers: all other waits use it.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Checks repeatedly until `look` returns something, and returns it.
pub(crate) async fn awaited<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = Waiting::begin();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        waiting.pause(what).await;
    }
}

/// Checks repeatedly until `is_so` returns true.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    awaited(what, async || is_so().await.then_some(())).await;
}

impl TestDatabase {
    /// Waits until no job is left, so that every mail was sent or given up.
    pub(crate) async fn wait_until_no_job_is_left(&self) {
        eventually("no job is left", async || self.count("job").await == 0).await;
    }

    /// Waits until a statement on this PostgreSQL database waits for a lock.
    pub(crate) async fn wait_for_a_blocked_statement(&self) {
        let waiting = "pg_locks where not granted and database = \
                       (select oid from pg_database where datname = current_database())";
        let waits = async || self.count(waiting).await > 0;
        eventually("a statement waits for a lock", waits).await;
    }
}

impl Server {
    /// Moves the clock of this server and of the others on its database, so that caches become old, tokens expire
    /// and limits refill.
    pub(crate) fn move_clock(&self, time: Duration) {
        assert!(self.dev, "only a development server has a clock that moves");
        self.clock.advance(time);
    }

    /// Moves the clock, and waits until this server has read the revocations again, because they became old too.
    pub(crate) async fn advance(&self, time: Duration) {
        self.move_clock(time);
        self.wait_until_ready().await;
    }

    /// Waits until this server is ready.
    pub(crate) async fn wait_until_ready(&self) {
        let ready = async || self.get("/health/ready").send().await.status == 200;
        eventually("the server is ready", ready).await;
    }

    /// Waits until this server has applied every revocation and notice that is in the tables now.
    pub(crate) async fn wait_until_caught_up(&self) {
        let last = "select coalesce((select max(seq) from revocation), 0) \
                    + coalesce((select max(seq) from notice), 0)";
        let last = self.database.column::<i64>(last).await[0];
        let applied =
            format!("replica where seq >= {last} and name like '%:{}'", self.address.port());
        let has = async || self.database.count(&applied).await > 0;
        eventually("the server has applied all revocations and notices", has).await;
    }

    /// Sends a request to one of several servers on one database. If they share a SQLite file on a busy machine, one of them
    /// can wait for it too long. It answers 503 then and changes nothing, and the client sends the request again.
    pub(crate) async fn beside_others(&self, request: impl Fn(&Self) -> Request) -> Answer {
        let is_shared_file = self.database.kind() == Kind::Sqlite;
        awaited("the file is free", async || {
            let answer = request(self).send().await;
            Some(answer).filter(|answer| !is_shared_file || answer.status != 503)
        })
        .await
    }

    /// Waits until the server refuses a token, and returns the answer.
    pub(crate) async fn wait_until_refused(&self, token: &str) -> Answer {
        awaited("the token is refused", async || {
            Some(self.me(token).await).filter(|answer| answer.status == 401)
        })
        .await
    }
}
