//! Notifications of PostgreSQL: a connection of its own that waits for them.

use std::time::Duration;

use sea_orm::DbErr;
use sea_orm::sqlx::postgres::{PgListener, PgPoolOptions};

use super::{DatabaseUrl, PostgresUrl, pooler};

/// The channel of Tessera's notifications. Each database has its own channels.
pub(crate) const CHANNEL: &str = "tessera";

/// The maximum time to wait for the connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);

/// A connection that waits for notifications.
pub(crate) struct Listener(PgListener);

impl DatabaseUrl {
    /// Returns the server that notifications can come from; `None` for SQLite and behind a pooler.
    pub(crate) fn listens(&self) -> Option<&PostgresUrl> {
        match self {
            Self::Postgres(server) if !server.is_behind_pooler() => Some(server),
            _ => None,
        }
    }
}

impl Listener {
    /// Connects and listens. Every notification that is sent after this arrives, unless the connection is lost.
    ///
    /// # Errors
    ///
    /// If the database does not answer in time.
    pub(crate) async fn connect(server: &PostgresUrl) -> Result<Self, DbErr> {
        let options = pooler::accepts(server.options.clone());
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_WITHIN)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        let lost = |error| DbErr::Conn(sea_orm::RuntimeErr::SqlxError(std::sync::Arc::new(error)));
        let mut listener = PgListener::connect_with(&pool).await.map_err(lost)?;
        listener.listen(CHANNEL).await.map_err(lost)?;
        Ok(Self(listener))
    }

    /// Waits for a notification. Returns false if the connection was lost: then notifications may have been missed.
    pub(crate) async fn heard(&mut self) -> bool {
        matches!(self.0.try_recv().await, Ok(Some(_)))
    }
}
