//! The operations `/auth/sessions…`.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::access::caller::UserCaller;
use crate::access::session::{Device, Ended, Filter, Session};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::http::Tag;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("list_sessions", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent]),
    ("end_session", &[Code::Unauthorized, Code::Forbidden, Code::NotFound]),
    ("end_other_sessions", &[Code::Unauthorized, Code::Forbidden]),
];

/// A session of a user. Times are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "Session", example)]
pub(crate) struct SessionResponse {
    /// The id of the session: the claim `sid` of its tokens.
    id: String,
    /// The time of the sign-in, in seconds since the epoch.
    created: u64,
    /// The time at which it last issued tokens, in seconds since the epoch.
    last_used: u64,
    /// The time at which its refresh token expires, in seconds since the epoch.
    expires: u64,
    /// The number of refreshes.
    generation: i64,
    /// The IP address of its last use.
    #[oai(skip_serializing_if_is_none)]
    ip: Option<String>,
    /// The `User-Agent` header of its last use.
    #[oai(skip_serializing_if_is_none)]
    user_agent: Option<String>,
    /// `true` if the session sent this request.
    current: bool,
    /// The time at which it ended, in seconds since the epoch. Absent while it lives.
    #[oai(skip_serializing_if_is_none)]
    ended: Option<u64>,
    /// The reason why it ended: `logout`, `logout-all`, `ended`, `revoked`, `password-change`, `email-restored`,
    /// `deactivated`, `raised`, `scopes-lost`, `restored`, `admin` or `reuse`. `reuse` means that somebody used an old
    /// copy of its refresh token, from the address `ended_ip`. `restored` means that the database was restored from an
    /// older copy.
    #[oai(skip_serializing_if_is_none)]
    ended_why: Option<String>,
    /// The IP address of the request that ended it.
    #[oai(skip_serializing_if_is_none)]
    ended_ip: Option<String>,
}

impl Example for SessionResponse {
    fn example() -> Self {
        Self {
            id: "0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11".to_owned(),
            created: 1_795_306_672,
            last_used: 1_795_310_272,
            expires: 1_797_902_272,
            generation: 4,
            ip: Some("192.0.2.7".to_owned()),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64)".to_owned()),
            current: true,
            ended: None,
            ended_why: None,
            ended_ip: None,
        }
    }
}

impl From<Session> for SessionResponse {
    fn from(session: Session) -> Self {
        let Session { id, created, last_used, expires, generation, ip, user_agent, current, ended } =
            session;
        let (ended, ended_why, ended_ip) = match ended {
            Some(Ended { at, why, ip }) => (Some(at), Some(why), ip),
            None => (None, None, None),
        };
        Self {
            id: id.to_string(),
            created,
            last_used,
            expires,
            generation,
            ip,
            user_agent,
            current,
            ended,
            ended_why,
            ended_ip,
        }
    }
}

/// A page of sessions.
#[derive(Object)]
#[oai(rename = "Sessions", example)]
pub(crate) struct SessionsResponse {
    /// The sessions, newest first.
    items: Vec<SessionResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
    next: Option<String>,
}

impl Example for SessionsResponse {
    fn example() -> Self {
        Self { items: vec![SessionResponse::example()], next: None }
    }
}

impl From<Page<Session>> for SessionsResponse {
    fn from(sessions: Page<Session>) -> Self {
        let next = sessions.next(|last| last.id.to_string());
        Self { items: sessions.items.into_iter().map(SessionResponse::from).collect(), next }
    }
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// List your sessions
    ///
    /// Returns the caller's live sessions, newest first. With `ended=true` it returns the sessions that have ended,
    /// with the reason.
    #[oai(path = "/auth/sessions", method = "get", operation_id = "list_sessions")]
    async fn list_sessions(
        &self,
        app: Data<&App>,
        caller: UserCaller,
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
        Ok(Json(super::list(&app, &caller, filter).await?.into()))
    }

    /// End a session
    ///
    /// Ends one session of the caller. After the answer, none of its tokens is accepted.
    #[oai(path = "/auth/sessions/:id", method = "delete", operation_id = "end_session")]
    async fn end_session(
        &self,
        app: Data<&App>,
        caller: UserCaller,
        device: Device,
        /// The id of the session.
        id: Path<String>,
    ) -> Result<EmptyResponse> {
        super::end(&app, &caller, &id, device).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// End your other sessions
    ///
    /// Ends every session of the caller except the one that sends the request.
    #[oai(path = "/auth/sessions", method = "delete", operation_id = "end_other_sessions")]
    async fn end_other_sessions(
        &self,
        app: Data<&App>,
        caller: UserCaller,
        device: Device,
    ) -> Result<EmptyResponse> {
        super::end_others(&app, &caller, device).await?;
        Ok(EmptyResponse::NoContent)
    }
}
