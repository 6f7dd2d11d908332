//! Poolers between Tessera and PostgreSQL, such as PgBouncer.

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{Connection, Executor, Row};

use super::DatabaseUrl;

/// The longest time to look for a pooler. A database that does not answer is reported later.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// Names the PostgreSQL process that runs the statement.
const PROCESS: &str = "select concat(pg_backend_pid(), ' since ', pg_postmaster_start_time())";

impl DatabaseUrl {
    /// Checks what an error of the connection would not explain: that the certificate of the authority can be read, and
    /// that no pooler gives each transaction another connection if the URL does not say so.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let Self::Postgres(server) = self else { return Ok(()) };
        check_authority(server.authority.as_deref())?;
        if server.behind_pooler {
            return Ok(());
        }
        let looked = tokio::time::timeout(LOOK_FOR, shares_processes(&server.options)).await;
        match looked {
            Ok(Ok(true)) => Err("DATABASE_URL leads to a pooler that gives each transaction \
                 another connection, such as PgBouncer in transaction mode: add the parameter \
                 pgbouncer=true to DATABASE_URL, or let the pooler use session mode"
                .to_owned()),
            _ => Ok(()),
        }
    }
}

/// Fails if the file of the parameter `sslrootcert` cannot be read.
fn check_authority(authority: Option<&str>) -> Result<(), String> {
    let Some(file) = authority.filter(|text| !text.starts_with("-----BEGIN")) else {
        return Ok(());
    };
    std::fs::read(file).map(drop).map_err(|error| {
        format!(
            "the file {file}, which sslrootcert in DATABASE_URL names, cannot be read ({error}): \
             name the certificate of the authority that signed the server's certificate"
        )
    })
}

/// Returns what to do if the database cannot be reached because of this fault.
pub(crate) fn advice(url: &DatabaseUrl, fault: &str) -> String {
    match url {
        DatabaseUrl::Sqlite(path) => advice_for_file(path),
        DatabaseUrl::Postgres(_) if fault.contains("certificate") => {
            "check that sslrootcert in DATABASE_URL names the certificate of the authority that \
             signed the server's certificate, and that the server's certificate has the name of \
             the host in DATABASE_URL"
                .to_owned()
        }
        DatabaseUrl::Postgres(_) => {
            format!("check that it runs and that DATABASE_URL is right; it is {url}")
        }
    }
}

pub(super) fn advice_for_file(path: &Path) -> String {
    let tried = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = tried.parent().unwrap_or(&tried);
    let cause = if folder.is_dir() {
        "check that this user can write the file and its folder".to_owned()
    } else {
        format!("the folder {} does not exist", folder.display())
    };
    format!("the file is {}, and {cause}{}", tried.display(), slashes(path))
}

/// A sentence about the slashes of a URL, if its path is relative. It begins with a period.
pub(super) fn slashes(path: &Path) -> String {
    if !path.is_relative() {
        return String::new();
    }
    format!(
        ". In DATABASE_URL, three slashes begin a path in the current folder, and four an absolute path, such as \
         sqlite:////{}",
        path.strip_prefix("./").unwrap_or(path).display()
    )
}

/// Returns the options without what PgBouncer refuses in its default configuration. PostgreSQL's own value of
/// `extra_float_digits` is exact too.
pub(super) fn accepts(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None)
}

/// Returns true if two connections do not each have a PostgreSQL process of their own. This cannot be wrong: the process
/// of a session never changes, and two sessions never share one.
///
/// A pooler in transaction mode gives a statement either the process that was used last or the next one. In both cases,
/// the order of these statements shows it, unless other clients interfere again and again.
async fn shares_processes(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let options = accepts(options.clone());
    let mut one = PgConnection::connect_with(&options).await?;
    let mut other = PgConnection::connect_with(&options).await?;
    let (first, second) = (process(&mut one).await?, process(&mut other).await?);
    let mut is_shared = first == second;
    for _ in 0..2 {
        is_shared |= process(&mut other).await? != second;
        is_shared |= process(&mut one).await? != first;
    }
    one.close().await?;
    other.close().await?;
    Ok(is_shared)
}

async fn process(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    connection.fetch_one(PROCESS).await?.try_get(0)
}
