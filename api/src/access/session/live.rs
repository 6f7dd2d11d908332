//! Checks whether a session lives, and whether what it asked for is still valid.

use entity::{SessionId, UserId};
use sea_orm::DatabaseTransaction;

use super::store;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::platform::revocation::Reason;

/// Returns true if a session belongs to this user and lives. Locks it, so that this stays true until the transaction
/// ends.
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

/// The time at which a session began.
pub(crate) async fn began(
    transaction: &DatabaseTransaction,
    session: SessionId,
) -> Result<Option<Timestamp>> {
    let row = store::find(transaction, session).await?;
    Ok(row.map(|row| Timestamp::from_millis(row.created_at)))
}

/// Returns true if what a session asked for is still valid: the session lives, or its user signed out of it. If it
/// ended for another reason, somebody else may have asked.
pub(crate) async fn stands(transaction: &DatabaseTransaction, session: SessionId) -> Result<bool> {
    let row = store::find_and_lock(transaction, session).await?;
    let signed_out = Reason::Logout.name();
    Ok(row
        .is_some_and(|row| row.ended_at.is_none() || row.ended_why.as_deref() == Some(signed_out)))
}
