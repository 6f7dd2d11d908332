//! Claimed accounts: the users who know the password of an account are those who read its mail.
//!
//! Anybody can register another person's address, sign in, and wait until that person confirms it. So an account is
//! claimed when the address and the password have been proved together. This happens when a user confirms the address
//! with the password, when a mail sets a new password, or when an operator vouches for both. Until then, a password
//! that a mail sets also ends all sessions and deletes the API tokens.

use entity::unclaimed::Model;
use sea_orm::ConnectionTrait;

use super::{User, store};
use crate::base::clock;
use crate::base::error::Result;

/// Records that somebody who reads the mail of an account verified its address, but did not give the password.
///
/// # Errors
///
/// If the database returns an error.
pub async fn leave_open(connection: &impl ConnectionTrait, user: &User) -> Result<()> {
    let row = Model { user_id: user.id, verified_at: clock::now().millis() };
    Ok(store::note_unclaimed(connection, row).await?)
}

/// Records that the account is claimed: those who read its mail have its password.
///
/// # Errors
///
/// If the database returns an error.
pub async fn make(connection: &impl ConnectionTrait, user: &User) -> Result<()> {
    Ok(store::forget_unclaimed(connection, user.id).await?)
}

/// Returns true if the account is claimed.
///
/// # Errors
///
/// If the database does not answer.
pub async fn is_made(connection: &impl ConnectionTrait, user: &User) -> Result<bool> {
    Ok(user.is_verified && !store::is_unclaimed(connection, user.id).await?)
}
