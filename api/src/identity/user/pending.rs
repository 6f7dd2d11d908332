//! Pending addresses: new addresses that are not confirmed yet (`REQUIRE_VERIFICATION`). Until then, users keep the
//! address that they have.

use entity::pending_email::Model;
use entity::{SessionId, UserId};
use sea_orm::ConnectionTrait;

use super::store;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;

/// A pending address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The user.
    pub user: UserId,
    /// The address.
    pub email: String,
    /// The digest of the address and the password hash that the user had when they asked.
    pub bound: String,
    /// The session that asked for it.
    pub session: SessionId,
    /// The instant when it expires.
    pub expires: Timestamp,
}

/// Stores a pending address with the digest of the token that proves it. It replaces the user's earlier pending
/// address.
///
/// # Errors
///
/// If the database returns an error.
pub async fn put(connection: &impl ConnectionTrait, new: Pending, digest: String) -> Result<()> {
    let Pending { user, email, bound, session, expires } = new;
    let row = Model {
        user_id: user,
        email,
        digest,
        bound,
        session_id: session,
        created_at: clock::now().millis(),
        expires_at: expires.millis(),
    };
    Ok(store::put_pending(connection, row).await?)
}

/// Returns the pending address that a digest proves, unless it has expired.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find(connection: &impl ConnectionTrait, digest: &str) -> Result<Option<Pending>> {
    let row = store::find_pending(connection, digest, clock::now()).await?;
    Ok(row.map(|row| Pending {
        user: row.user_id,
        email: row.email,
        bound: row.bound,
        session: row.session_id,
        expires: Timestamp::from_millis(row.expires_at),
    }))
}

/// Returns the pending address of a user.
///
/// # Errors
///
/// If the database does not answer.
pub async fn of(connection: &impl ConnectionTrait, user: UserId) -> Result<Option<String>> {
    Ok(store::pending_of(connection, user, clock::now()).await?)
}

/// Spends the token with a digest. Returns `false` if it was already used or has been replaced.
///
/// # Errors
///
/// If the database returns an error.
pub async fn take(connection: &impl ConnectionTrait, digest: &str) -> Result<bool> {
    Ok(store::take_pending(connection, digest).await?)
}

/// Deletes the pending address of a user. Returns `false` if there is none.
///
/// # Errors
///
/// If the database returns an error.
pub async fn forget(connection: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    Ok(store::forget_pending(connection, user).await?)
}
