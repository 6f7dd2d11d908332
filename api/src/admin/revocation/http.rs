//! `/admin/revocations`

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

/// The refusals of each operation, for the documents.
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
        "list_sessions_of",
        &[Code::Unauthorized, Code::Forbidden, Code::NotFound, Code::UnprocessableContent],
    ),
    (
        "end_sessions_of",
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

/// The most characters of a reason.
const MAX_WHY: usize = 256;

/// What is to be revoked, and why.
#[derive(Object)]
#[oai(example)]
struct RevocationRequest {
    /// `jti` for one token, `sid` for a session, `sub` for everything a user has.
    kind: String,
    /// Its id.
    subject: String,
    /// Why, for those who read the list: up to 256 characters.
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

/// Whom to sign out, and why.
#[derive(Object)]
#[oai(example)]
struct EndRequest {
    /// The user's e-mail address.
    username: String,
    /// Why, for those who read the list: up to 256 characters.
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

/// What was revoked. Instants are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "Revocation", example)]
struct RevocationResponse {
    /// Its place in the sequence.
    seq: i64,
    /// `jti`, `sid`, `sub`, or `lift` for the end of another.
    kind: String,
    /// The id of a token, a session or a user; of a lift, with its kind before it.
    subject: String,
    /// What happened.
    why: String,
    /// When it happened.
    at: u64,
    /// When the last token it covers has expired.
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

/// Some of what was revoked.
#[derive(Object)]
#[oai(rename = "Revocations", example)]
struct RevocationsResponse {
    /// The latest first.
    items: Vec<RevocationResponse>,
    /// What to give as `after` for more; null when there are none.
    next: Option<i64>,
}

impl Example for RevocationsResponse {
    fn example() -> Self {
        Self { items: vec![RevocationResponse::example()], next: None }
    }
}

/// A token that is to be explained.
#[derive(Object)]
#[oai(example)]
struct ExplainRequest {
    /// Anything that was presented as a token.
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

/// What becomes of a token.
#[derive(Object)]
#[oai(rename = "Explanation", example)]
struct ExplanationResponse {
    /// Whether it is accepted where its kind is.
    accepted: bool,
    /// The stable name of the reason, where it is refused.
    reason: Option<String>,
    /// One sentence, with times.
    sentence: String,
    /// Whom it speaks of, where it is one of ours.
    sub: Option<String>,
    /// Its session, where it is one of ours.
    sid: Option<String>,
    /// Its own id, where it is one of ours.
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
    /// Done, on every replica within a second.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Revoke something
    ///
    /// One token, a session, or everything a user has, API tokens too: what it covers is not
    /// accepted any more.
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

    /// What was revoked
    ///
    /// The latest first, until it is purged: a day after the last token it covers has expired.
    #[oai(path = "/admin/revocations", method = "get", operation_id = "list_revocations")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// At most so many, 20 if not given; less than 1 is taken for 1, more than 100 for 100.
        limit: Query<Option<u64>>,
        /// The `next` of the page before.
        after: Query<Option<i64>>,
    ) -> Result<Json<RevocationsResponse>> {
        let entries = revocation::list(&app, None, after.0, limit.0.unwrap_or(20)).await?;
        let next = entries.next(|last| last.seq);
        let items = entries.items.into_iter().map(RevocationResponse::from).collect();
        Ok(Json(RevocationsResponse { items, next }))
    }

    /// Why is a token not accepted
    ///
    /// By the checks that decide it, in their order: the first that does not pass is the reason.
    #[oai(path = "/admin/tokens/explain", method = "post", operation_id = "explain_token")]
    async fn explain(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        body: Body<ExplainRequest>,
    ) -> Result<Json<ExplanationResponse>> {
        Ok(Json(super::explain(&app, &body.0).await?.into()))
    }

    /// Where is a user signed in
    ///
    /// Their sessions, the newest first; with `ended=true` those that ended, and why.
    #[oai(path = "/admin/sessions", method = "get", operation_id = "list_sessions_of")]
    async fn list_sessions_of(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The user's e-mail address.
        username: Query<String>,
        /// Those that ended, rather than those that live.
        ended: Query<Option<bool>>,
        /// At most so many, 20 if not given; less than 1 is taken for 1, more than 100 for 100.
        limit: Query<Option<u64>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
    ) -> Result<Json<SessionsResponse>> {
        let filter = Filter {
            ended: ended.0.unwrap_or(false),
            after: after.0.filter(|after| !after.is_empty()),
            limit: limit.0.unwrap_or(20),
        };
        Ok(Json(super::sessions(&app, &username, filter).await?.into()))
    }

    /// Sign a user out everywhere
    ///
    /// Ends every session of a user, and every access token they got up to now. Their API tokens
    /// stay; revoking the user ends those too.
    #[oai(path = "/admin/sessions/end", method = "post", operation_id = "end_sessions_of")]
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

    /// Take a revocation back
    ///
    /// On every replica within a second. Others for the same id hold on. A session that ended stays
    /// ended: only its access tokens are accepted again.
    #[oai(path = "/admin/revocations/:seq", method = "delete", operation_id = "lift_revocation")]
    async fn lift(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// Its place in the sequence.
        seq: Path<String>,
    ) -> Result<EmptyResponse> {
        let seq = seq.parse().map_err(|_| Code::NotFound)?;
        super::lift(&app, &superuser, seq).await?;
        Ok(EmptyResponse::NoContent)
    }
}
