//! The request that something is done for: what is recorded of it, and what a log line says of it.
//!
//! No rule between the server and the audit needs it, so no rule passes it on.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use tokio::task_local;
use uuid::Uuid;

/// Where a request came from, and which it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestContext {
    /// The peer's address.
    pub(crate) ip: Option<IpAddr>,
    /// The id of the request, which the log has too.
    pub(crate) request_id: Option<String>,
}

/// The ids that a request's log line says of its caller, once that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallerIds {
    /// The user, or the service.
    pub(crate) user: Option<Uuid>,
    /// The session.
    pub(crate) session: Option<Uuid>,
    /// The access token, by its `jti`, or the API token.
    pub(crate) token: Option<Uuid>,
}

/// The place where they are noted, which the log line reads.
pub(crate) type CallerNote = Arc<OnceLock<CallerIds>>;

task_local! {
    static CONTEXT: RequestContext;
    static CALLER: CallerNote;
}

/// Does something for a request.
pub(crate) async fn within<T>(context: RequestContext, work: impl Future<Output = T>) -> T {
    CONTEXT.scope(context, work).await
}

/// Does something, and has its caller noted for the log line.
pub(crate) async fn noting<T>(caller: CallerNote, work: impl Future<Output = T>) -> T {
    CALLER.scope(caller, work).await
}

/// Notes for the log line who the caller is. The first note counts; outside of a request there is nothing to note it for.
pub(crate) fn note_caller(ids: CallerIds) {
    // An error says that it was noted before, or that no request is being answered.
    let _ = CALLER.try_with(|caller| caller.set(ids));
}

/// The request that something is being done for; nothing is known of it outside of one.
pub(crate) fn current() -> RequestContext {
    CONTEXT.try_with(Clone::clone).unwrap_or_default()
}
