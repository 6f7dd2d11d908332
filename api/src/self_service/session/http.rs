//! `/auth/sessions`

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

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("list_sessions", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent]),
    ("end_session", &[Code::Unauthorized, Code::Forbidden, Code::NotFound]),
    ("end_other_sessions", &[Code::Unauthorized, Code::Forbidden]),
];

/// A session of a user. Instants are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "Session", example)]
pub(crate) struct SessionResponse {
    /// Its id: the `sid` of its tokens.
    id: String,
    /// When it began.
    created: u64,
    /// When it last gave tokens.
    last_used: u64,
    /// When its refresh token expires.
    expires: u64,
    /// How often it was refreshed.
    generation: i64,
    /// The address it was last used from.
    #[oai(skip_serializing_if_is_none)]
    ip: Option<String>,
    /// What program last used it, as that program says.
    #[oai(skip_serializing_if_is_none)]
    user_agent: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
    /// When it ended, if it did.
    #[oai(skip_serializing_if_is_none)]
    ended: Option<u64>,
    /// What ended it: `logout`, `logout-all`, `ended`, `revoked`, `password-change`, `email-restored`, `deactivated`, `admin`, or
    /// `reuse`, which is an old copy of its refresh token, used from `ended_ip`.
    #[oai(skip_serializing_if_is_none)]
    ended_why: Option<String>,
    /// The address that what ended it came from.
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

/// Some sessions of a user.
#[derive(Object)]
#[oai(rename = "Sessions", example)]
pub(crate) struct SessionsResponse {
    /// The newest first.
    items: Vec<SessionResponse>,
    /// What to give as `after` for more; null when there are none.
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
    /// Done.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// Where am I signed in
    ///
    /// The caller's sessions, the newest first; with `ended=true` those that ended, and why.
    #[oai(path = "/auth/sessions", method = "get", operation_id = "list_sessions")]
    async fn list_sessions(
        &self,
        app: Data<&App>,
        caller: UserCaller,
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
        Ok(Json(super::list(&app, &caller, filter).await?.into()))
    }

    /// Sign out there
    ///
    /// Ends one session of the caller. Once this is answered, none of its tokens is accepted.
    #[oai(path = "/auth/sessions/:id", method = "delete", operation_id = "end_session")]
    async fn end_session(
        &self,
        app: Data<&App>,
        caller: UserCaller,
        device: Device,
        /// The session's id.
        id: Path<String>,
    ) -> Result<EmptyResponse> {
        super::end(&app, &caller, &id, device).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// Sign out everywhere else
    ///
    /// Ends every session of the caller but the one that asks.
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
