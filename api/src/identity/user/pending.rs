//! New addresses that wait to be proved (`REQUIRE_VERIFICATION`). A user keeps the address they have until then.

use entity::pending_email::Model;
use entity::{SessionId, UserId};
use sea_orm::ConnectionTrait;

use super::store;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;

/// A new address that a user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The user.
    pub user: UserId,
    /// The address.
    pub email: String,
    /// The digest of the address and the password hash that the user had when they asked.
    pub bound: String,
    /// The session that asked.
    pub session: SessionId,
    /// When it expires.
    pub expires: Timestamp,
}

/// Keeps a new address, with the digest of the token that proves it. It replaces the one that the user asked for
/// before.
///
/// # Errors
///
/// When the database refuses.
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

/// The new address that a digest proves, unless it has expired.
///
/// # Errors
///
/// When the database does not answer.
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

/// The new address that a user waits for.
///
/// # Errors
///
/// When the database does not answer.
pub async fn of(connection: &impl ConnectionTrait, user: UserId) -> Result<Option<String>> {
    Ok(store::pending_of(connection, user, clock::now()).await?)
}

/// Uses the token with a digest; `false` if it was used, or another one took its place.
///
/// # Errors
///
/// When the database refuses.
pub async fn take(connection: &impl ConnectionTrait, digest: &str) -> Result<bool> {
    Ok(store::take_pending(connection, digest).await?)
}

/// Forgets the new address that a user waits for; `false` if there is none.
///
/// # Errors
///
/// When the database refuses.
pub async fn forget(connection: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    Ok(store::forget_pending(connection, user).await?)
}
