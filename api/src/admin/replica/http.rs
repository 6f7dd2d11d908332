//! `/admin/replicas`

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

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] =
    &[("list_replicas", &[Code::Unauthorized, Code::Forbidden])];

/// A server that is on line.
#[derive(Object)]
#[oai(rename = "Replica", example)]
struct ReplicaResponse {
    /// What its operator calls it: `REPLICA_NAME`, else its host and port.
    name: String,
    /// The last place in the sequence of revocations that it has applied.
    seq: i64,
    /// When it last said so, in seconds since the epoch.
    seen: u64,
}

impl Example for ReplicaResponse {
    fn example() -> Self {
        Self { name: "replica-1".to_owned(), seq: 17, seen: 1_795_306_672 }
    }
}

/// The servers that are on line.
#[derive(Object)]
#[oai(rename = "Replicas", example)]
struct ReplicasResponse {
    /// By name.
    items: Vec<ReplicaResponse>,
    /// The last place in the sequence that there is: a replica that has come so far has applied
    /// everything.
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
    /// Which replicas are on line
    ///
    /// And how far each has applied what was revoked: all of it once its `seq` is that of the answer.
    #[oai(path = "/admin/replicas", method = "get", operation_id = "list_replicas")]
    async fn list(&self, app: Data<&App>, _superuser: Superuser) -> Result<Json<ReplicasResponse>> {
        let (replicas, seq) = replica::list(&app).await?;
        let items = replicas.into_iter().map(|replica| {
            let Replica { name, seq, seen } = replica;
            ReplicaResponse { name, seq, seen }
        });
        Ok(Json(ReplicasResponse { items: items.collect(), seq }))
    }
}
