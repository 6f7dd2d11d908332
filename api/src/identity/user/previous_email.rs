//! Addresses that users had before, for as long as they may be taken back. Until then those that were shown to
//! be theirs are nobody else's: who takes over an account must not be able to register its old address. One
//! that was never shown to be anybody's keeps nobody from registering it.

use entity::UserId;
use entity::former_email::Model;
use sea_orm::ConnectionTrait;

use super::{User, store};
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;

/// How long an address may be taken back, in seconds.
pub const RECLAIM_WINDOW: u64 = 72 * 3600;

/// An address that a user had.
#[derive(Debug, Clone)]
pub struct PreviousEmail {
    /// The user.
    pub user: UserId,
    /// The address.
    pub email: String,
    /// Whether it was shown to be theirs.
    pub verified: bool,
    /// When it was replaced.
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

/// Keeps the address that a user has so far, with the digest of what takes it back.
///
/// # Errors
///
/// When the database refuses.
pub async fn keep(connection: &impl ConnectionTrait, held: &User, digest: String) -> Result<()> {
    let now = clock::now();
    let row = Model {
        digest,
        user_id: held.id,
        email: held.email.clone(),
        verified: held.is_verified,
        created_at: now.millis(),
        expires_at: now.plus_seconds(RECLAIM_WINDOW).millis(),
    };
    Ok(store::keep_former(connection, row).await?)
}

/// The address that a digest takes back, if it still may.
///
/// # Errors
///
/// When the database does not answer.
pub async fn find(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<PreviousEmail>> {
    let row = store::find_former(connection, digest, clock::now()).await?;
    Ok(row.map(PreviousEmail::from))
}

/// Where a former address stands among a user's.
pub type Cursor = (i64, String);

/// Some of the addresses that a user may take back, the oldest first, from behind a place; and where to go on, unless
/// there are no more.
///
/// # Errors
///
/// When the database does not answer.
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

/// An address that a user had, by the digest of the token that takes it back.
pub type Linked = (String, PreviousEmail);

/// The addresses that a user may take back, with the digests of their tokens, the oldest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn links_of(connection: &impl ConnectionTrait, user: UserId) -> Result<Vec<Linked>> {
    let rows = store::former_rows_of(connection, user, clock::now()).await?;
    Ok(rows.into_iter().map(|row| (row.digest.clone(), PreviousEmail::from(row))).collect())
}

/// Forgets an address: nobody takes it back any more.
///
/// # Errors
///
/// When the database refuses.
pub async fn forget(connection: &impl ConnectionTrait, digest: &str) -> Result<()> {
    Ok(store::forget_former(connection, digest).await?)
}

/// Whether a user may take back an address that was shown to be theirs.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_verified(connection: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    Ok(store::has_former(connection, user, &[true], clock::now()).await?)
}

/// Whether a user may take back any address.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_there(connection: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    Ok(store::has_former(connection, user, &[true, false], clock::now()).await?)
}

/// Forgets the addresses of a user that were never shown to be theirs: the one they have now was.
///
/// # Errors
///
/// When the database refuses.
pub async fn forget_unverified(connection: &impl ConnectionTrait, user: UserId) -> Result<()> {
    Ok(store::forget_unverified_formers(connection, user).await?)
}

/// Forgets an address that was taken back and those that came after it, which who took over the account
/// may have set.
///
/// # Errors
///
/// When the database refuses.
pub async fn forget_since(connection: &impl ConnectionTrait, former: &PreviousEmail) -> Result<()> {
    Ok(store::forget_formers(connection, former.user, former.replaced).await?)
}
