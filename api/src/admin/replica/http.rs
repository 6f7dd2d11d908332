//! The operation `/admin/replicas`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::platform::replica;
use crate::platform::replica::Replica;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] =
    &[("list_replicas", &[Code::Unauthorized, Code::Forbidden])];

/// A replica that runs now.
#[derive(Object)]
#[oai(rename = "Replica", example)]
struct ReplicaResponse {
    /// The name of the replica: `REPLICA_NAME`, or its host and port.
    name: String,
    /// The number of the last revocation that it has applied.
    seq: i64,
    /// The time of its last report, in seconds since the epoch.
    seen: u64,
    /// The algorithm that it signs access tokens with: the value of its `JWT_ALGORITHM`; `null` if it has an older
    /// version.
    algorithm: Option<String>,
}

impl Example for ReplicaResponse {
    fn example() -> Self {
        Self {
            name: "replica-1".to_owned(),
            seq: 17,
            seen: 1_795_306_672,
            algorithm: Some("HS256".to_owned()),
        }
    }
}

/// The replicas that run now.
#[derive(Object)]
#[oai(rename = "Replicas", example)]
struct ReplicasResponse {
    /// The replicas, ordered by name.
    items: Vec<ReplicaResponse>,
    /// The number of the latest revocation. A replica whose `seq` is not less has applied all revocations.
    seq: i64,
}

impl Example for ReplicasResponse {
    fn example() -> Self {
        Self { items: vec![ReplicaResponse::example()], seq: 17 }
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// List replicas
    ///
    /// Returns the replicas that run now, and how many revocations each has applied. A replica has applied all of them
    /// if its `seq` is at least the `seq` of the answer. Requires the scope `super`.
    #[oai(path = "/admin/replicas", method = "get", operation_id = "list_replicas")]
    async fn list(&self, app: Data<&App>, _superuser: Superuser) -> Result<Json<ReplicasResponse>> {
        let (replicas, seq) = replica::list(&app).await?;
        let items = replicas.into_iter().map(|replica| {
            let Replica { name, seq, seen, algorithm } = replica;
            let algorithm = algorithm.map(|algorithm| algorithm.name().to_owned());
            ReplicaResponse { name, seq, seen, algorithm }
        });
        Ok(Json(ReplicasResponse { items: items.collect(), seq }))
    }
}
