//! The request that is being answered: the data about it for the audit and for log lines.
//!
//! The rules between the server and the audit do not need it, so they do not pass it on.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::task_local;
use uuid::Uuid;

/// The address that a request came from, and its id.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestContext {
    /// The client's address.
    pub(crate) ip: Option<IpAddr>,
    /// The id of the request, which is also in the log.
    pub(crate) request_id: Option<String>,
}

/// The ids of the caller for the log line of a request, once the caller is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallerIds {
    /// The user or the service.
    pub(crate) user: Option<Uuid>,
    /// The session.
    pub(crate) session: Option<Uuid>,
    /// The `jti` of the access token, or the id of the API token.
    pub(crate) token: Option<Uuid>,
}

/// Notes about a request that is being answered.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    caller: OnceLock<CallerIds>,
    ended: Mutex<Option<String>>,
}

impl Notes {
    /// The ids of the caller, if the caller is known.
    pub(crate) fn caller(&self) -> Option<CallerIds> {
        self.caller.get().copied()
    }

    /// The place in the sequence of revocations up to which a service must have read to know what the request ended.
    pub(crate) fn ended(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The place where notes about a request are kept.
pub(crate) type CallerNote = Arc<Notes>;

task_local! {
    static CONTEXT: RequestContext;
    static CALLER: CallerNote;
}

/// Runs work for a request.
pub(crate) async fn within<T>(context: RequestContext, work: impl Future<Output = T>) -> T {
    CONTEXT.scope(context, work).await
}

/// Runs work that can note its caller for the log line.
pub(crate) async fn noting<T>(caller: CallerNote, work: impl Future<Output = T>) -> T {
    CALLER.scope(caller, work).await
}

/// Notes the caller's ids for the log line. Only the first note counts. Outside of a request this does nothing.
pub(crate) fn note_caller(ids: CallerIds) {
    // An error means that a caller was noted before, or that no request is being answered.
    let _ = CALLER.try_with(|notes| notes.caller.set(ids));
}

/// Returns true if a request is being answered.
pub(crate) fn is_answering() -> bool {
    CALLER.try_with(|_| ()).is_ok()
}

/// Notes the place in the sequence of revocations for the answer. The last note counts.
pub(crate) fn note_ended(place: String) {
    let _ = CALLER.try_with(|notes| {
        *notes.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    });
}

/// The request that is being answered. Outside of a request, the result is empty.
pub(crate) fn current() -> RequestContext {
    CONTEXT.try_with(Clone::clone).unwrap_or_default()
}
