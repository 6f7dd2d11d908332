//! Identities of users at other providers: who a person is, and how their identities are linked and unlinked.
//!
//! `callback.rs` is the list of all checks of an answer, `person.rs` decides whose it is, and `settle.rs` does what was
//! decided.

pub mod callback;
pub(crate) mod http;
mod linking;
mod logout;
pub(crate) mod pages;
pub mod person;
mod settle;
mod store;

pub(crate) use linking::remove_since;
pub use linking::unlink;

use entity::UserId;
use entity::federated_identity::Model;
use sea_orm::ConnectionTrait;

use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error, Result};
use crate::base::request_context;
use crate::federation::upstream;

/// An identity of a user.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The id.
    pub id: String,
    /// The name of the provider in the settings.
    pub upstream: String,
    /// The name of the provider that people read.
    pub label: String,
    /// The subject there.
    pub subject: String,
    /// The address that it was linked with: the one there, or the one that the person typed because the provider says none.
    pub email: Option<String>,
    /// The time when it was linked.
    pub created: Timestamp,
    /// The time of the last sign-in with it.
    pub used: Timestamp,
}

impl Identity {
    fn of(app: &App, row: Model) -> Self {
        let Model {
            id,
            user_id: _,
            upstream,
            subject,
            issuer: _,
            email,
            words: _,
            created_at,
            used_at,
        } = row;
        let found = upstream::find(app, &upstream);
        let label = found.map_or_else(|| upstream.clone(), |found| found.label().to_owned());
        let (created, used) = (Timestamp::from_millis(created_at), Timestamp::from_millis(used_at));
        Self { id: id.to_string(), upstream, label, subject, email, created, used }
    }
}

/// Returns the identities of a user, the oldest first.
///
/// # Errors
///
/// If the database does not answer.
pub async fn of_user(
    app: &App,
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<Vec<Identity>> {
    let rows = store::of_user(connection, user).await?;
    Ok(rows.into_iter().map(|row| Identity::of(app, row)).collect())
}

/// Runs work of a request to its end, even if its caller disconnects. A write must not stop between its commit and the
/// update of memory.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let context = request_context::current();
    let done = tokio::spawn(request_context::within(context, work)).await;
    done.map_err(|_| Error::because(Code::InternalServerError, "a sign-in gave up"))?
}
