//! The operations `/auth/revocations`, `/auth/revocations/stream` and `/auth/revocations/snapshot`.

use std::time::Duration;

use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{FromRequest, IntoResponse, Request, RequestBody, Response};
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object, OpenApi};
use tessera_verify::feed::{Record, SnapshotHead};

use super::stream::Waiter;
use super::{MAX_ENTRIES, MAX_WAIT, Snapshot, snapshot, stream};
use crate::access::caller::http::ApiTokenHolder;
use crate::app::App;
use crate::base::error::{Code, Error, Result};
use crate::base::scope::Scope;
use crate::http::Tag;
use crate::http::server::Line;
use crate::platform::revocation::Batch;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    (
        "read_revocations",
        &[
            Code::Unauthorized,
            Code::InsufficientScope,
            Code::Forbidden,
            Code::RevocationCursorInvalid,
            Code::RevocationCursorGone,
            Code::UnprocessableContent,
            Code::ServiceBusy,
        ],
    ),
    (
        "stream_revocations",
        &[
            Code::Unauthorized,
            Code::InsufficientScope,
            Code::Forbidden,
            Code::RevocationCursorInvalid,
            Code::RevocationCursorGone,
            Code::UnprocessableContent,
            Code::ServiceBusy,
        ],
    ),
    (
        "take_revocation_snapshot",
        &[Code::Unauthorized, Code::InsufficientScope, Code::Forbidden, Code::ServiceBusy],
    ),
];

/// A revocation, as services learn of it. It contains no id, no reason and no user.
#[derive(Object)]
#[oai(rename = "FeedEntry", example)]
struct EntryResponse {
    /// `deny`: the tokens with this id, or of this session or grant, are refused. `cut`: the access tokens that this user
    /// got up to `at` are refused. `lift`: earlier entries for this id do not hold any more. `key`: the tokens that this
    /// key signed are refused, and the public keys must be read again.
    kind: String,
    /// The first 8 bytes of SHA-256 of `jti:`, `sid:`, `sub:` or `key:` and the id as tokens write it, in hexadecimal.
    /// For a grant, this is `sid:` and its `grant_id`.
    hash: String,
    /// The time of the revocation, in milliseconds since the epoch.
    at: u64,
    /// The time when the last token that the entry covers has expired, in seconds since the epoch.
    until: u32,
}

impl Example for EntryResponse {
    fn example() -> Self {
        Self {
            kind: "deny".to_owned(),
            hash: "0d6b1a7c53f2e984".to_owned(),
            at: 1_795_306_672_145,
            until: 1_795_307_632,
        }
    }
}

impl From<Record> for EntryResponse {
    fn from(record: Record) -> Self {
        let Record { kind, at, until, hash } = record;
        Self { kind: kind.name().to_owned(), hash: format!("{hash:016x}"), at, until }
    }
}

/// A part of the revocation feed.
#[derive(Object)]
#[oai(rename = "FeedPage", example)]
struct PageResponse {
    /// The place at the end of this part. Send it as `after` to get what comes next.
    cursor: String,
    /// The time of the answer by the issuer's clock, in milliseconds since the epoch.
    now: u64,
    /// The time up to which the answer is complete by the issuer's clock, in milliseconds since the epoch: everything
    /// that was revoked before is in the feed up to `cursor`. 0 if more entries follow.
    at: u64,
    /// The entries in the order of the revocations.
    entries: Vec<EntryResponse>,
}

impl Example for PageResponse {
    fn example() -> Self {
        Self {
            cursor: "5f1c0e6a2b9d4c37.17.c2f0a1b3d4e59687".to_owned(),
            now: 1_795_306_672_345,
            at: 1_795_306_672_301,
            entries: vec![EntryResponse::example()],
        }
    }
}

impl TryFrom<Batch> for PageResponse {
    type Error = Error;

    fn try_from(batch: Batch) -> Result<Self> {
        let Batch { cursor, times, records, is_last: _ } = batch;
        let records = Record::all_from_bytes(&records);
        let records = records.map_err(|error| Error::because(Code::InternalServerError, error))?;
        let entries = records.into_iter().map(EntryResponse::from).collect();
        Ok(Self { cursor: cursor.to_string(), now: times.now, at: times.at, entries })
    }
}

/// A stream of events.
struct EventsResponse(Waiter);

impl IntoResponse for EventsResponse {
    fn into_response(self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            // A proxy must not collect events before it passes them on.
            .header("x-accel-buffering", "no")
            .body(self.0.body())
    }
}

/// An answer with a body of this media type.
fn answer(
    description: &'static str,
    status: u16,
    media_type: Option<&'static str>,
) -> MetaResponse {
    let content = media_type
        .map(|content_type| MetaMediaType { content_type, schema: <String as Type>::schema_ref() });
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: content.into_iter().collect(),
        headers: Vec::new(),
    }
}

impl ApiResponse for EventsResponse {
    fn meta() -> MetaResponses {
        let events = answer(
            "Events (server-sent events). The id of each is a cursor, and its data is `{after, cursor, now, at, records}` \
             with the records in base64. `after` is the cursor of the event before it.",
            200,
            Some("text/event-stream"),
        );
        MetaResponses { responses: vec![events] }
    }

    fn register(_: &mut Registry) {}
}

/// A snapshot, or nothing if the caller has it already.
enum SnapshotResponse {
    Whole(Box<Snapshot>, Connection),
    Unchanged(String),
}

impl IntoResponse for SnapshotResponse {
    fn into_response(self) -> Response {
        let (snapshot, connection) = match self {
            Self::Whole(snapshot, connection) => (snapshot, connection),
            Self::Unchanged(tag) => {
                return Response::builder()
                    .status(StatusCode::NOT_MODIFIED)
                    .header(header::ETAG, tag)
                    .finish();
            }
        };
        let length: usize = snapshot.parts().iter().map(|part| part.len()).sum();
        let tag = tag(&snapshot);
        Response::builder()
            .header(header::CONTENT_TYPE, SnapshotHead::MEDIA_TYPE)
            .header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
            .header(header::CONTENT_LENGTH, length)
            .header(header::ETAG, tag)
            .header("x-accel-buffering", "no")
            .body(stream::sent(*snapshot, connection.0))
    }
}

/// The tag of a snapshot. It is weak, because the time of the answer is different each time.
fn tag(snapshot: &Snapshot) -> String {
    format!("W/\"{}\"", snapshot.cursor())
}

impl ApiResponse for SnapshotResponse {
    fn meta() -> MetaResponses {
        let whole = answer(
            "All revocations that may cover a token, compressed with gzip: the bytes `TSRF` and 1, the length of the \
             cursor (u8), the cursor, and big-endian `now u64, at u64, count u32` and `count` records of 20 bytes: \
             `kind u8, 0 u8, at u48, until u32, hash u64`.",
            200,
            Some(SnapshotHead::MEDIA_TYPE),
        );
        let unchanged = answer("The caller already has the current snapshot.", 304, None);
        MetaResponses { responses: vec![whole, unchanged] }
    }

    fn register(_: &mut Registry) {}
}

/// The connection of a request, unless it was made in this process.
struct Connection(Option<Line>);

impl<'a> FromRequest<'a> for Connection {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(request.extensions().get::<Line>().cloned()))
    }
}

/// Refuses a number that is out of range. `v` can be any version: newer kinds are sent as older ones.
fn bounded(name: &str, value: Option<u64>, least: u64, most: u64) -> Result<Option<u64>> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(Error::query(
            name,
            format!("Input is {value}, but should be from {least} to {most}"),
        )),
        value => Ok(value),
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Services")]
impl Api {
    /// Read the revocation feed
    ///
    /// Returns the revocations after a cursor, in their order. Without `after`, it returns only the current cursor. If
    /// there are none, the answer waits up to `wait` seconds for the first one. If the answer is 410, keep all
    /// revocations that you know, and take a snapshot. Requires an API token with the scope `revocations:read`.
    #[oai(path = "/auth/revocations", method = "get", operation_id = "read_revocations")]
    async fn read(
        &self,
        app: Data<&App>,
        token: ApiTokenHolder,
        /// The cursor of an earlier answer.
        after: Query<Option<String>>,
        /// The longest time to wait for a revocation, in seconds (0 to 25).
        wait: Query<Option<u64>>,
        /// The largest number of entries (1 to 1000, and 1000 by default). Entries that belong together are not split, so
        /// there can be a few more.
        limit: Query<Option<u64>>,
        /// The newest version of records that the caller knows: 1. Newer kinds of entries are sent as older ones.
        v: Query<Option<u64>>,
    ) -> Result<Json<PageResponse>> {
        token.caller.require(Scope::REVOCATIONS)?;
        let wait = bounded("wait", wait.0, 0, MAX_WAIT)?.unwrap_or(0);
        let limit = bounded("limit", limit.0, 1, MAX_ENTRIES as u64)?.unwrap_or(MAX_ENTRIES as u64);
        bounded("v", v.0, 1, u64::MAX)?;
        let limit = usize::try_from(limit).unwrap_or(MAX_ENTRIES);
        let Some(after) = after.0 else {
            let (cursor, times) = app.revocation.feed.end()?;
            let cursor = cursor.to_string();
            let (now, at) = (times.now, times.at);
            return Ok(Json(PageResponse { cursor, now, at, entries: Vec::new() }));
        };
        let wait = Duration::from_secs(wait);
        let batch = super::read(&app, &token.caller, &after, wait, limit).await?;
        if !wait.is_zero() && !super::may_read(&app, &token.secret).await {
            return Err(Code::Unauthorized.into());
        }
        Ok(Json(batch.try_into()?))
    }

    /// Follow the revocation feed
    ///
    /// Sends the revocations after a cursor as they happen (server-sent events). Without revocations it sends an event
    /// every two seconds, which says up to which time nothing was revoked. Each event begins at the cursor `after`. If that
    /// is not the cursor of the event before it, an event was lost: connect again with the last cursor. Requires an API
    /// token with the scope `revocations:read`. The stream ends if that token is not accepted any more.
    #[oai(path = "/auth/revocations/stream", method = "get", operation_id = "stream_revocations")]
    async fn stream(
        &self,
        app: Data<&App>,
        token: ApiTokenHolder,
        connection: Connection,
        /// The cursor after which the stream begins. Without one, it begins at the end.
        after: Query<Option<String>>,
        /// The cursor of the last event of an earlier stream. It takes precedence over `after`.
        #[oai(name = "Last-Event-ID")]
        last: Header<Option<String>>,
        /// The newest version of records that the caller knows: 1. Newer kinds of entries are sent as older ones.
        v: Query<Option<u64>>,
    ) -> Result<EventsResponse> {
        token.caller.require(Scope::REVOCATIONS)?;
        bounded("v", v.0, 1, u64::MAX)?;
        let place = match last.0.or(after.0) {
            Some(text) => super::open(&app, &token.caller, &text).await?,
            None => app.revocation.feed.end()?.0,
        };
        let seat = app.feed.admit(&token.caller)?;
        let ApiTokenHolder { caller, secret } = token;
        let (app, line) = (app.0.clone(), connection.0);
        Ok(EventsResponse(Waiter { app, caller, secret, place, seat, line }))
    }

    /// Take a snapshot of the revocations
    ///
    /// Returns all revocations that may cover a token, and the cursor after which the feed continues. Requires an API
    /// token with the scope `revocations:read`.
    #[oai(
        path = "/auth/revocations/snapshot",
        method = "get",
        operation_id = "take_revocation_snapshot"
    )]
    async fn snapshot(
        &self,
        app: Data<&App>,
        token: ApiTokenHolder,
        connection: Connection,
        /// The ETag of the snapshot that the caller has.
        #[oai(name = "If-None-Match")]
        known: Header<Option<String>>,
    ) -> Result<SnapshotResponse> {
        token.caller.require(Scope::REVOCATIONS)?;
        let snapshot = snapshot::take(&app, &token.caller).await?;
        let tag = tag(&snapshot);
        if known.0.is_some_and(|known| known.contains(&tag)) {
            return Ok(SnapshotResponse::Unchanged(tag));
        }
        Ok(SnapshotResponse::Whole(Box::new(snapshot), connection))
    }
}
