//! The settings of the revocation feed, and of the notifications between servers.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigError, read_secret_file, value};
use crate::base::database::DatabaseUrl;

/// The settings of the revocation feed, and of the notifications between servers.
#[derive(Debug, Clone, Args)]
pub struct FeedSettings {
    /// Maximum number of services that wait for revocations at this server at the same time (0 to 100000). At most
    /// three fifths of the connections can wait
    #[arg(long, env = "FEED_WAITERS", global = true, value_name = "NUMBER",
          default_value = "10000", value_parser = value::number(0..=100_000_u32))]
    pub feed_waiters: u32,

    /// PostgreSQL only: the database URL for the connection on which a server waits for notifications of others.
    /// Set it if DATABASE_URL leads to a pooler in transaction mode, which passes no notifications on
    #[arg(
        long,
        env = "DATABASE_LISTEN_URL",
        global = true,
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_listen_url: Option<DatabaseUrl>,

    /// A file that contains DATABASE_LISTEN_URL. It takes precedence over DATABASE_LISTEN_URL itself
    #[arg(long, env = "DATABASE_LISTEN_URL_FILE", global = true, value_name = "FILE")]
    pub database_listen_url_file: Option<PathBuf>,
}

impl FeedSettings {
    /// Reads the file that contains the URL, and refuses a URL that cannot be listened to.
    pub(super) fn complete(&mut self) -> Result<(), ConfigError> {
        if let Some(file) = &self.database_listen_url_file {
            let url = read_secret_file("DATABASE_LISTEN_URL_FILE", file)?;
            let url = url.parse().map_err(|fault| {
                ConfigError::new(&format!("the URL in DATABASE_LISTEN_URL_FILE {fault}"))
            })?;
            self.database_listen_url = Some(url);
        }
        match &self.database_listen_url {
            Some(DatabaseUrl::Sqlite(_)) => Err(ConfigError::new(
                "DATABASE_LISTEN_URL names a SQLite file, but only PostgreSQL sends notifications: set it to the URL \
                 of the PostgreSQL server itself, or unset it",
            )),
            Some(DatabaseUrl::Postgres(server)) if server.is_behind_pooler() => {
                Err(ConfigError::new(
                    "DATABASE_LISTEN_URL leads to a pooler in transaction mode, which passes no notifications on: set it \
                 to the URL of the PostgreSQL server itself",
                ))
            }
            _ => Ok(()),
        }
    }
}
