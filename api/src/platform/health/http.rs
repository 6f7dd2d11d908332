//! The operations `/health/live`, `/health/ready` and `/version`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Readiness;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] =
    &[("check_liveness", &[]), ("check_readiness", &[]), ("read_version", &[])];

/// The server runs.
#[derive(Object)]
#[oai(rename = "Live", example)]
struct LiveResponse {
    /// Always `ok`.
    status: String,
}

/// The parts that are needed to answer callers. Each is `ok` or `unavailable`.
#[derive(Object)]
#[oai(rename = "Ready", example)]
struct ReadyResponse {
    /// `ok` if all parts are.
    status: String,
    /// The database.
    database: String,
    /// The revocations in memory; `off` if they are not checked.
    revocations: String,
    /// The key that signs access tokens.
    keys: String,
    /// The audit: `ok`, or `behind` if entries wait to be sealed for more than five seconds. The server is ready then too.
    audit: String,
}

impl Example for ReadyResponse {
    fn example() -> Self {
        Readiness {
            database: true,
            revocations: true,
            keys: true,
            audit: true,
            blacklist_enabled: true,
        }
        .into()
    }
}

impl From<Readiness> for ReadyResponse {
    fn from(readiness: Readiness) -> Self {
        let word = |is_ok: bool| if is_ok { "ok" } else { "unavailable" }.to_owned();
        let Readiness { database, revocations, keys, audit, blacklist_enabled } = readiness;
        Self {
            status: word(readiness.is_ready()),
            database: word(database),
            revocations: if blacklist_enabled { word(revocations) } else { "off".to_owned() },
            keys: word(keys),
            audit: if audit { "ok" } else { "behind" }.to_owned(),
        }
    }
}

/// The name and version of this program.
#[derive(Object)]
#[oai(rename = "Version", example)]
struct VersionResponse {
    /// The name of the program.
    name: String,
    /// The version of the program.
    version: String,
}

impl Example for LiveResponse {
    fn example() -> Self {
        Self { status: "ok".to_owned() }
    }
}

impl Example for VersionResponse {
    fn example() -> Self {
        Self { name: "tessera".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

#[derive(ApiResponse)]
enum Ready {
    /// The server can answer callers.
    #[oai(status = 200)]
    Yes(Json<ReadyResponse>),
    /// The server cannot answer callers, who would get 503 with `Retry-After`.
    #[oai(status = 503)]
    No(Json<ReadyResponse>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Operation")]
impl Api {
    /// Check that the server runs
    ///
    /// This checks nothing else: if only the database is down, the process must not be restarted.
    #[oai(path = "/health/live", method = "get", operation_id = "check_liveness")]
    async fn live(&self) -> Json<LiveResponse> {
        Json(LiveResponse::example())
    }

    /// Check that the server can answer
    ///
    /// This checks the database, the age of the revocations in memory, and the key that signs access tokens.
    #[oai(path = "/health/ready", method = "get", operation_id = "check_readiness")]
    async fn ready(&self, app: Data<&App>) -> Result<Ready> {
        let readiness = super::readiness(&app).await;
        let body = Json(readiness.into());
        Ok(if readiness.is_ready() { Ready::Yes(body) } else { Ready::No(body) })
    }

    /// Get the version
    #[oai(path = "/version", method = "get", operation_id = "read_version")]
    async fn version(&self) -> Json<VersionResponse> {
        Json(VersionResponse::example())
    }
}
