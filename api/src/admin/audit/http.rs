//! `/admin/audit`

use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::platform::audit;
use crate::platform::audit::Filter;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] =
    &[("list_audit", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent])];

/// An act.
#[derive(Object)]
#[oai(rename = "AuditEntry", example)]
struct AuditResponse {
    /// Its place: 1, 2, 3 and so on.
    seq: i64,
    /// When, in milliseconds since the epoch.
    at: i64,
    /// What.
    act: String,
    /// Who: `user:…`, `api_token:…`, `operator` at the terminal, or `anybody`.
    actor: String,
    /// On whom or what: `user:…`, `service:…`, `key:…`.
    #[oai(skip_serializing_if_is_none)]
    subject: Option<String>,
    /// From where.
    #[oai(skip_serializing_if_is_none)]
    ip: Option<String>,
    /// In which request: its `X-Request-Id`.
    #[oai(skip_serializing_if_is_none)]
    request: Option<String>,
    /// What else there is to say: the text of a JSON object.
    detail: String,
    /// The SHA-256 digest, in hexadecimal, of the JSON array of the digest before it, `seq`, `at`, `act`,
    /// `actor`, `subject`, `ip`, `request` and `detail`.
    digest: String,
}

impl Example for AuditResponse {
    fn example() -> Self {
        Self {
            seq: 7,
            at: 1_795_306_672_123,
            act: "login".to_owned(),
            actor: "user:56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned(),
            subject: Some("user:56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned()),
            ip: Some("192.0.2.7".to_owned()),
            request: Some("0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11".to_owned()),
            detail: r#"{"session":"0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11"}"#.to_owned(),
            digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        }
    }
}

impl From<audit::Row> for AuditResponse {
    fn from(row: audit::Row) -> Self {
        let audit::Row { seq, at, act, actor, subject, ip, request, detail, digest } = row;
        Self { seq, at, act, actor, subject, ip, request, detail, digest }
    }
}

/// Some acts.
#[derive(Object)]
#[oai(rename = "Audit", example)]
struct AuditsResponse {
    /// The newest first, unless the oldest were asked for.
    items: Vec<AuditResponse>,
    /// What to give as `after` for more; null when there are none.
    next: Option<i64>,
}

impl Example for AuditsResponse {
    fn example() -> Self {
        Self { items: vec![AuditResponse::example()], next: None }
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// What happened
    ///
    /// Who did what to whom, from where and when: the newest first, unless `oldest` is true.
    #[oai(path = "/admin/audit", method = "get", operation_id = "list_audit")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// What was done, as `login`.
        act: Query<Option<String>>,
        /// Who did it, as `user:56df201e-…`.
        actor: Query<Option<String>>,
        /// On whom or what it was done, as `user:56df201e-…`.
        subject: Query<Option<String>>,
        /// When at the earliest, in milliseconds since the epoch.
        since: Query<Option<i64>>,
        /// The oldest first.
        oldest: Query<Option<bool>>,
        /// At most so many, 20 if not given; less than 1 is taken for 1, more than 1000 for 1000.
        limit: Query<Option<u64>>,
        /// The `next` of the page before.
        after: Query<Option<i64>>,
    ) -> Result<Json<AuditsResponse>> {
        let filter = Filter {
            act: act.0,
            actor: actor.0,
            subject: subject.0,
            since: since.0,
            oldest_first: oldest.0.unwrap_or(false),
            after: after.0,
            limit: limit.0.unwrap_or(20),
        };
        let rows = audit::list(&app, filter).await?;
        let next = rows.next(|row| row.seq);
        Ok(Json(AuditsResponse {
            items: rows.items.into_iter().map(AuditResponse::from).collect(),
            next,
        }))
    }
}
