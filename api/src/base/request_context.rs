//! The request that something is done for: what is recorded of it, and what a log line says of it.
//!
//! No rule between the server and the audit needs it, so no rule passes it on.

use tokio::task_local;

/// Where a request came from, and which it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestContext {
    /// The peer's address.
    pub(crate) ip: Option<String>,
    /// The id of the request, which the log has too.
    pub(crate) request_id: Option<String>,
}

task_local! {
    static CONTEXT: RequestContext;
}

/// Does something for a request.
pub(crate) async fn within<T>(context: RequestContext, work: impl Future<Output = T>) -> T {
    CONTEXT.scope(context, work).await
}

/// The request that something is being done for; nothing is known of it outside of one.
pub(crate) fn current() -> RequestContext {
    CONTEXT.try_with(Clone::clone).unwrap_or_default()
}
