//! Poolers between Tessera and PostgreSQL, such as PgBouncer.

use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{Connection, Executor, Row};
use url::Url;

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
        check_authority(&server.url)?;
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
fn check_authority(url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|error| format!("DATABASE_URL: {error}"))?;
    let Some((_, file)) = url.query_pairs().find(|(name, _)| name == "sslrootcert") else {
        return Ok(());
    };
    if file.starts_with("-----BEGIN") {
        return Ok(());
    }
    std::fs::read(&*file).map(drop).map_err(|error| {
        format!(
            "the file {file}, which sslrootcert in DATABASE_URL names, cannot be read ({error}): \
             name the certificate of the authority that signed the server's certificate"
        )
    })
}

/// Returns what to do if PostgreSQL cannot be reached because of this fault.
pub(crate) fn advice(fault: &str) -> &'static str {
    if fault.contains("certificate") {
        return "check that sslrootcert in DATABASE_URL names the certificate of the authority that \
                signed the server's certificate, and that the server's certificate has the name of \
                the host in DATABASE_URL";
    }
    "check that it runs and that DATABASE_URL is right"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<(String, bool), &'static str> {
        match url.parse()? {
            DatabaseUrl::Postgres(server) => Ok((server.url, server.behind_pooler)),
            DatabaseUrl::Sqlite(_) => Err("not PostgreSQL"),
        }
    }

    #[test]
    fn a_url_says_whether_it_leads_to_a_pooler_in_transaction_mode() {
        let url = "postgres://user@host/database";
        for (parameters, kept, behind_pooler) in [
            ("", "", false),
            ("?pgbouncer=true", "", true),
            ("?pgbouncer=false", "", false),
            ("?pgbouncer=true&sslmode=require", "?sslmode=require", true),
            ("?sslmode=require&pgbouncer=true", "?sslmode=require", true),
        ] {
            let expected = (format!("{url}{kept}"), behind_pooler);
            assert_eq!(parsed(&format!("{url}{parameters}")), Ok(expected), "{parameters}");
        }
        for parameters in ["?pgbouncer=yes", "?pgbouncer", "?pgbouncer="] {
            let error = parsed(&format!("{url}{parameters}")).unwrap_err();
            assert!(error.contains("pgbouncer=true"), "{error}");
        }
    }
}
