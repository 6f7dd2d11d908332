//! `/health/…` and `/version`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Readiness;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[("live", &[]), ("ready", &[]), ("version", &[])];

/// That it runs.
#[derive(Object)]
#[oai(rename = "Live", example)]
struct LiveResponse {
    /// Always `ok`.
    status: String,
}

/// Whether callers can be answered, part by part: `ok` or `unavailable`.
#[derive(Object)]
#[oai(rename = "Ready", example)]
struct ReadyResponse {
    /// All of it.
    status: String,
    /// The database.
    database: String,
    /// The knowledge of revocations, or `off`.
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
        let word = |well: bool| if well { "ok" } else { "unavailable" }.to_owned();
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

/// Which program this is.
#[derive(Object)]
#[oai(rename = "Version", example)]
struct VersionResponse {
    /// Its name.
    name: String,
    /// Its version.
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
    /// Callers can be answered.
    #[oai(status = 200)]
    Yes(Json<ReadyResponse>),
    /// Callers would be told to come again.
    #[oai(status = 503)]
    No(Json<ReadyResponse>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Operation")]
impl Api {
    /// Does it run
    ///
    /// Asks nothing else: a process that answers this must not be restarted for its database.
    #[oai(path = "/health/live", method = "get", operation_id = "live")]
    async fn live(&self) -> Json<LiveResponse> {
        Json(LiveResponse::example())
    }

    /// Can it answer
    ///
    /// Asks the database, and how old the knowledge of revocations is.
    #[oai(path = "/health/ready", method = "get", operation_id = "ready")]
    async fn ready(&self, app: Data<&App>) -> Result<Ready> {
        let readiness = super::readiness(&app).await;
        let body = Json(readiness.into());
        Ok(if readiness.is_ready() { Ready::Yes(body) } else { Ready::No(body) })
    }

    /// Which version is it
    #[oai(path = "/version", method = "get", operation_id = "version")]
    async fn version(&self) -> Json<VersionResponse> {
        Json(VersionResponse::example())
    }
}
