//! The operation `/admin/audit`.

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

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] =
    &[("list_audit", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent])];

/// An audit entry.
#[derive(Object)]
#[oai(rename = "AuditEntry", example)]
struct AuditResponse {
    /// The number of the entry: 1, 2, 3 and so on.
    seq: i64,
    /// The time, in milliseconds since the epoch.
    at: i64,
    /// The action, for example `login`.
    act: String,
    /// The actor: `user:…` or `api_token:…` with an id, `operator` at the terminal, or `anybody`.
    actor: String,
    /// The object of the action: `user:…`, `service:…`, `key:…`.
    #[oai(skip_serializing_if_is_none)]
    subject: Option<String>,
    /// The IP address that the request came from.
    #[oai(skip_serializing_if_is_none)]
    ip: Option<String>,
    /// The `X-Request-Id` of the request.
    #[oai(skip_serializing_if_is_none)]
    request: Option<String>,
    /// Details: a JSON object as text.
    detail: String,
    /// A SHA-256 digest in hexadecimal, over a JSON array. Its items are the digest of the entry before (64 zeros for
    /// the first entry), `seq`, `at`, `act`, `actor`, `subject`, `ip`, `request` and `detail`.
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

/// A page of the audit.
#[derive(Object)]
#[oai(rename = "Audit", example)]
struct AuditsResponse {
    /// The entries: newest first, or oldest first with `oldest=true`.
    items: Vec<AuditResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
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
    /// List audit entries
    ///
    /// Returns who did what to whom, from which address and when: newest first, or oldest first with `oldest=true`.
    /// Requires the scope `super`.
    #[oai(path = "/admin/audit", method = "get", operation_id = "list_audit")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The action, for example `login`.
        act: Query<Option<String>>,
        /// The actor, for example `user:56df201e-…`.
        actor: Query<Option<String>>,
        /// The object of the action, for example `user:56df201e-…`.
        subject: Query<Option<String>>,
        /// The earliest time, in milliseconds since the epoch.
        since: Query<Option<i64>>,
        /// `true` to list the oldest entries first. Default: `false`.
        oldest: Query<Option<bool>>,
        /// The maximum number of items, from 1 to 1000. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
        after: Query<Option<i64>>,
    ) -> Result<Json<AuditsResponse>> {
        let filter = Filter {
            act: act.0,
            actor: actor.0,
            subject: subject.0,
            since: since.0,
            before: None,
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
