//! Previous addresses, for as long as they can take the account back. During that time, nobody else can register a
//! previous address that was verified: somebody who takes over an account must not be able to register its old address.
//! A previous address that was never verified can be registered.

use entity::UserId;
use entity::former_email::Model;
use sea_orm::ConnectionTrait;

use super::{User, store};
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;

/// The time for which a previous address can take the account back, in seconds.
pub const RECLAIM_WINDOW: u64 = 72 * 3600;

/// A previous address of a user.
#[derive(Debug, Clone)]
pub struct PreviousEmail {
    /// The user.
    pub user: UserId,
    /// The address.
    pub email: String,
    /// `true` if the address was verified.
    pub verified: bool,
    /// The instant when it was replaced.
    pub replaced: Timestamp,
}

impl From<Model> for PreviousEmail {
    fn from(row: Model) -> Self {
        Self {
            user: row.user_id,
            email: row.email,
            verified: row.verified,
            replaced: Timestamp::from_millis(row.created_at),
        }
    }
}

/// Stores the current address of a user as a previous one, with the digest of the token that takes it back.
///
/// # Errors
///
/// If the database returns an error.
pub async fn keep(connection: &impl ConnectionTrait, user: &User, digest: String) -> Result<()> {
    let now = clock::now();
    let row = Model {
        digest,
        user_id: user.id,
        email: user.email.clone(),
        verified: user.is_verified,
        created_at: now.millis(),
        expires_at: now.plus_seconds(RECLAIM_WINDOW).millis(),
    };
    Ok(store::keep_former(connection, row).await?)
}

/// Returns the address that a digest takes back, if it has not expired.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<PreviousEmail>> {
    let row = store::find_former(connection, digest, clock::now()).await?;
    Ok(row.map(PreviousEmail::from))
}

/// The position of a previous address in the list of a user.
pub type Cursor = (i64, String);

/// Returns some of the previous addresses that can take a user's account back, the oldest first, beginning after a
/// position. Also returns the position to continue from, unless there are no more.
///
/// # Errors
///
/// If the database does not answer.
pub async fn some_of(
    connection: &impl ConnectionTrait,
    user: UserId,
    after: Option<Cursor>,
    max: u64,
) -> Result<(Vec<String>, Option<Cursor>)> {
    let rows = store::formers_of(connection, user, clock::now(), after, max).await?;
    let next = rows.last().map(|row| (row.created_at, row.digest.clone()));
    Ok((rows.into_iter().map(|row| row.email).collect(), next))
}

/// A previous address, with the digest of the token that takes it back.
pub type Linked = (String, PreviousEmail);

/// Returns the previous addresses that can take a user's account back, with the digests of their tokens, the oldest
/// first.
///
/// # Errors
///
/// If the database does not answer.
pub async fn links_of(connection: &impl ConnectionTrait, user: UserId) -> Result<Vec<Linked>> {
    let rows = store::former_rows_of(connection, user, clock::now()).await?;
    Ok(rows.into_iter().map(|row| (row.digest.clone(), PreviousEmail::from(row))).collect())
}

/// Deletes a previous address, so that it cannot take the account back any more.
///
/// # Errors
///
/// If the database returns an error.
pub async fn forget(connection: &impl ConnectionTrait, digest: &str) -> Result<()> {
    Ok(store::forget_former(connection, digest).await?)
}

/// Returns true if a verified previous address can take the user's account back.
///
/// # Errors
///
/// If the database does not answer.
pub async fn is_verified(connection: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    Ok(store::has_former(connection, user, &[true], clock::now()).await?)
}

/// Returns true if any previous address can take the user's account back.
///
/// # Errors
///
/// If the database does not answer.
pub async fn is_there(connection: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    Ok(store::has_former(connection, user, &[true, false], clock::now()).await?)
}

/// Deletes the previous addresses of a user that were never verified, because the current one was.
///
/// # Errors
///
/// If the database returns an error.
pub async fn forget_unverified(connection: &impl ConnectionTrait, user: UserId) -> Result<()> {
    Ok(store::forget_unverified_formers(connection, user).await?)
}

/// Deletes a previous address that took the account back, and all later ones, which the thief of the account may have
/// set.
///
/// # Errors
///
/// If the database returns an error.
pub async fn forget_since(connection: &impl ConnectionTrait, former: &PreviousEmail) -> Result<()> {
    Ok(store::forget_formers(connection, former.user, former.replaced).await?)
}
