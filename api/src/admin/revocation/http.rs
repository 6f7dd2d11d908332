//! The operations `/admin/revocations…`, `/admin/tokens/explain` and `/admin/sessions…`.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::{Explained, Target};
use crate::access::caller::Superuser;
use crate::access::session::Filter;
use crate::access::session::http::EXAMPLE_TOKEN;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::platform::revocation::{self, Entry};
use crate::self_service::session::http::SessionsResponse;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    (
        "create_revocation",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::NotFound,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    ("list_revocations", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent]),
    (
        "explain_token",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
        ],
    ),
    (
        "list_sessions_of_user",
        &[Code::Unauthorized, Code::Forbidden, Code::NotFound, Code::UnprocessableContent],
    ),
    (
        "end_sessions_of_user",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::NotFound,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    (
        "lift_revocation",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::NotFound,
            Code::TooManyAttempts,
        ],
    ),
];

/// The maximum length of a reason, in characters.
const MAX_WHY: usize = 256;

/// The object and the reason of a revocation.
#[derive(Object)]
#[oai(example)]
struct RevocationRequest {
    /// The kind of the object: `jti` for a token, `sid` for a session, `sub` for everything that a user has.
    kind: String,
    /// The id of the token, session or user.
    subject: String,
    /// The reason, for readers of the list: up to 256 characters.
    why: String,
}

impl Example for RevocationRequest {
    fn example() -> Self {
        Self {
            kind: "sid".to_owned(),
            subject: "0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11".to_owned(),
            why: "laptop stolen".to_owned(),
        }
    }
}

impl Input for RevocationRequest {
    type Parsed = (Target, String);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let kind = fields.required("kind");
        let subject = fields.required("subject").and_then(|text| fields.uuid("subject", &text));
        let why = fields.required("why").and_then(|text| fields.line("why", text, MAX_WHY));
        let Some(target) = Target::of(&kind?, subject.unwrap_or_default()) else {
            return fields.problem("enum", "kind", "Input should be 'jti', 'sid' or 'sub'");
        };
        subject.and(why).map(|why| (target, why))
    }
}

/// The user whose sessions end, and the reason.
#[derive(Object)]
#[oai(example)]
struct EndRequest {
    /// The e-mail address of the user.
    username: String,
    /// The reason, for readers of the list: up to 256 characters.
    why: String,
}

impl Example for EndRequest {
    fn example() -> Self {
        Self { username: "first@user.com".to_owned(), why: "left the company".to_owned() }
    }
}

impl Input for EndRequest {
    type Parsed = (String, String);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let username = fields.required("username");
        let why = fields.required("why").and_then(|text| fields.line("why", text, MAX_WHY));
        Some((username?, why?))
    }
}

/// A revocation. Times are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "Revocation", example)]
struct RevocationResponse {
    /// The number of the revocation in their sequence.
    seq: i64,
    /// `jti`, `sid`, `sub`, or `lift` if it lifts another revocation.
    kind: String,
    /// The id of the token, session or user. For `lift` it has its kind in front.
    subject: String,
    /// The reason.
    why: String,
    /// The time of the revocation, in seconds since the epoch.
    at: u64,
    /// The time at which the last token that it covers expires, in seconds since the epoch.
    until: u64,
}

impl Example for RevocationResponse {
    fn example() -> Self {
        Self {
            seq: 17,
            kind: "sid".to_owned(),
            subject: "0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11".to_owned(),
            why: "logout".to_owned(),
            at: 1_795_306_672,
            until: 1_795_307_632,
        }
    }
}

impl From<Entry> for RevocationResponse {
    fn from(entry: Entry) -> Self {
        let Entry { seq, kind, subject, why, at, until } = entry;
        Self { seq, kind, subject, why, at, until }
    }
}

/// A page of revocations.
#[derive(Object)]
#[oai(rename = "Revocations", example)]
struct RevocationsResponse {
    /// The revocations, latest first.
    items: Vec<RevocationResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
    next: Option<i64>,
}

impl Example for RevocationsResponse {
    fn example() -> Self {
        Self { items: vec![RevocationResponse::example()], next: None }
    }
}

/// A token to explain.
#[derive(Object)]
#[oai(example)]
struct ExplainRequest {
    /// The token, or any text that was sent as one.
    token: String,
}

impl Example for ExplainRequest {
    fn example() -> Self {
        Self { token: EXAMPLE_TOKEN.to_owned() }
    }
}

impl Input for ExplainRequest {
    type Parsed = String;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.required("token")
    }
}

/// The explanation for a token.
#[derive(Object)]
#[oai(rename = "Explanation", example)]
struct ExplanationResponse {
    /// `true` if the token is accepted by the operations for its kind.
    accepted: bool,
    /// The stable name of the reason; `null` if the token is accepted.
    reason: Option<String>,
    /// A sentence with the reason and the times that matter.
    sentence: String,
    /// The id of the user; `null` if Tessera did not issue the token.
    sub: Option<String>,
    /// The id of the session; `null` if Tessera did not issue the token.
    sid: Option<String>,
    /// The id of the token; `null` if Tessera did not issue the token.
    jti: Option<String>,
}

impl Example for ExplanationResponse {
    fn example() -> Self {
        Self {
            accepted: false,
            reason: Some("token_expired".to_owned()),
            sentence:
                "refused (token_expired): the token has expired, 35 seconds ago (at 1795306672)"
                    .to_owned(),
            sub: Some("56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned()),
            sid: Some("0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11".to_owned()),
            jti: Some("01a2009d-d180-750f-98fc-dce79cb02959".to_owned()),
        }
    }
}

impl From<Explained> for ExplanationResponse {
    fn from(explained: Explained) -> Self {
        let Explained { accepted, reason, sentence, claims } = explained;
        let claims = claims.as_ref();
        Self {
            accepted,
            reason: reason.map(ToOwned::to_owned),
            sentence,
            sub: claims.map(|claims| claims.sub.to_string()),
            sid: claims.and_then(|claims| claims.sid).map(|sid| sid.to_string()),
            jti: claims.map(|claims| claims.jti.to_string()),
        }
    }
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. All replicas apply it within a second. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Revoke a token, a session or a user
    ///
    /// Revokes a token, a session, or everything that a user has, including API tokens. All replicas refuse what it
    /// covers within a second. Requires the scope `super`.
    #[oai(path = "/admin/revocations", method = "post", operation_id = "create_revocation")]
    async fn create(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<RevocationRequest>,
    ) -> Result<EmptyResponse> {
        let (target, why) = body.0;
        super::revoke(&app, &superuser, target, why).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// List revocations
    ///
    /// Returns the revocations, latest first. A revocation is deleted a day after the last token that it covers has
    /// expired. Requires the scope `super`.
    #[oai(path = "/admin/revocations", method = "get", operation_id = "list_revocations")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
        after: Query<Option<i64>>,
    ) -> Result<Json<RevocationsResponse>> {
        let entries = revocation::list(&app, None, after.0, limit.0.unwrap_or(20)).await?;
        let next = entries.next(|last| last.seq);
        let items = entries.items.into_iter().map(RevocationResponse::from).collect();
        Ok(Json(RevocationsResponse { items, next }))
    }

    /// Explain why a token is refused
    ///
    /// Runs the checks that decide whether a token is accepted, in their order. The first check that fails is the
    /// reason. Requires the scope `super`.
    #[oai(path = "/admin/tokens/explain", method = "post", operation_id = "explain_token")]
    async fn explain(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        body: Body<ExplainRequest>,
    ) -> Result<Json<ExplanationResponse>> {
        Ok(Json(super::explain(&app, &body.0).await?.into()))
    }

    /// List a user's sessions
    ///
    /// Returns the live sessions of a user, newest first. With `ended=true` it returns the sessions that have ended,
    /// with the reason. Requires the scope `super`.
    #[oai(path = "/admin/sessions", method = "get", operation_id = "list_sessions_of_user")]
    async fn list_sessions_of(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The e-mail address of the user.
        username: Query<String>,
        /// `true` for sessions that have ended. Default: `false`, for live sessions.
        ended: Query<Option<bool>>,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
        after: Query<Option<String>>,
    ) -> Result<Json<SessionsResponse>> {
        let filter = Filter {
            ended: ended.0.unwrap_or(false),
            after: after.0.filter(|after| !after.is_empty()),
            limit: limit.0.unwrap_or(20),
        };
        Ok(Json(super::sessions(&app, &username, filter).await?.into()))
    }

    /// End a user's sessions
    ///
    /// Ends every session of a user and revokes every access token that they got until now. Their API tokens are not
    /// deleted: to delete them too, revoke the user. Requires the scope `super`.
    #[oai(path = "/admin/sessions/end", method = "post", operation_id = "end_sessions_of_user")]
    async fn end_sessions_of(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<EndRequest>,
    ) -> Result<EmptyResponse> {
        let (username, why) = body.0;
        super::end_sessions(&app, &superuser, &username, why).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// Lift a revocation
    ///
    /// Takes a revocation back, on every replica within a second. Other revocations of the same id still apply. A
    /// session that has ended stays ended; only its access tokens are accepted again. Requires the scope `super`, and
    /// for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/revocations/:seq", method = "delete", operation_id = "lift_revocation")]
    async fn lift(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The number of the revocation (`seq`).
        seq: Path<String>,
    ) -> Result<EmptyResponse> {
        let seq = seq.parse().map_err(|_| Code::NotFound)?;
        super::lift(&app, &superuser, seq).await?;
        Ok(EmptyResponse::NoContent)
    }
}
