//! The operations `/admin/feed` and `/admin/feed/reset`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::platform::revocation::FeedStatus;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("read_feed_status", &[Code::Unauthorized, Code::Forbidden]),
    (
        "reset_feed",
        &[Code::Unauthorized, Code::Forbidden, Code::FreshProofRequired, Code::TooManyAttempts],
    ),
];

/// The state of the revocation feed.
#[derive(Object)]
#[oai(rename = "FeedStatus", example)]
struct FeedResponse {
    /// A random id of this history of the revocations. It changes if a backup was restored.
    epoch: String,
    /// The number of the latest revocation.
    seq: i64,
    /// The number from which the database has every revocation. A service whose cursor is older takes a snapshot.
    low: i64,
    /// The longest lifetime of an access token that may still be valid, in seconds. A revocation holds for this time.
    longest: i64,
}

impl Example for FeedResponse {
    fn example() -> Self {
        Self { epoch: "5f1c0e6a2b9d4c37".to_owned(), seq: 17, low: 0, longest: 900 }
    }
}

impl From<FeedStatus> for FeedResponse {
    fn from(status: FeedStatus) -> Self {
        let FeedStatus { epoch, seq, low, longest } = status;
        Self { epoch, seq, low, longest }
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Read the state of the revocation feed
    ///
    /// Returns where the feed of revocations is. Requires the scope `super`.
    #[oai(path = "/admin/feed", method = "get", operation_id = "read_feed_status")]
    async fn status(&self, app: Data<&App>, _superuser: Superuser) -> Result<Json<FeedResponse>> {
        Ok(Json(super::status(&app).await?.into()))
    }

    /// Begin the revocation feed anew
    ///
    /// Call this after the database was restored from a backup. Every service that follows the revocations keeps what it
    /// knows, takes a snapshot and goes on. So a service still refuses what the restored database has forgotten. Requires
    /// the scope `super`.
    #[oai(path = "/admin/feed/reset", method = "post", operation_id = "reset_feed")]
    async fn reset(&self, app: Data<&App>, superuser: Superuser) -> Result<Json<FeedResponse>> {
        Ok(Json(super::reset(&app, &superuser).await?.into()))
    }
}
