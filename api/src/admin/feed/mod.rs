//! Actions of superusers on the revocation feed.

pub(crate) mod http;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::error::Result;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::{self, FeedStatus};
use crate::platform::unit_of_work::UnitOfWork;

/// Returns the state of the feed.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn status(app: &App) -> Result<FeedStatus> {
    revocation::feed_status(app).await
}

/// Begins a new epoch, so that every service takes a snapshot and keeps what it knows. Servers apply it within a second.
///
/// # Errors
///
/// [`Code::FreshProofRequired`](crate::base::error::Code::FreshProofRequired),
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts).
pub(crate) async fn reset(app: &App, superuser: &Superuser) -> Result<FeedStatus> {
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let epoch = revocation::begin_epoch(&work, None).await?;
    work.record(Entry::new(Act::FeedReset, Actor::of(superuser)).on("epoch", &epoch));
    work.commit().await?;
    tracing::info!(by = %superuser, feed.epoch = epoch, "the revocation feed begins a new epoch");
    status(app).await
}
