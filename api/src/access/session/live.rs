//! Whether a session is live, and whether what was asked for by it still stands.

use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;

use super::store;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::platform::revocation::Reason;

/// Whether a session is this user's and live. It is locked: it stays so until the transaction ends.
pub(crate) async fn is_live(
    transaction: &DatabaseTransaction,
    session: SessionId,
    user: UserId,
) -> Result<bool> {
    let row = store::find_and_lock(transaction, session).await?;
    let now = clock::now().millis();
    Ok(row
        .is_some_and(|row| row.user_id == user && row.ended_at.is_none() && !row.has_expired(now)))
}

/// The instant at which a session began.
pub(crate) async fn began(
    transaction: &DatabaseTransaction,
    session: SessionId,
) -> Result<Option<Timestamp>> {
    let row = store::find(transaction, session).await?;
    Ok(row.map(|row| Timestamp::from_millis(row.created_at)))
}

/// Whether what a session asked for still stands: it did not end, or its user signed out there. What ends a session
/// otherwise takes back what somebody else may have asked for by it.
pub(crate) async fn stands(transaction: &DatabaseTransaction, session: SessionId) -> Result<bool> {
    let row = store::find_and_lock(transaction, session).await?;
    let signed_out = Reason::Logout.name();
    Ok(row
        .is_some_and(|row| row.ended_at.is_none() || row.ended_why.as_deref() == Some(signed_out)))
}
