//! Claims: whether those who know the password of an account are those who read its mail.
//!
//! Anybody can register somebody else's address, sign in, and wait until its owner confirms it. So an account is
//! claimed once the address and the password were proved together: by a confirmation with the password, by a new
//! password that a mail set, or by an operator who vouches for both. Until then, a new password by mail ends
//! everything that those before it hold.

use entity::unclaimed::Model;
use sea_orm::ConnectionTrait;

use super::{User, store};
use crate::base::clock;
use crate::base::error::Result;

/// Notes that the address of an account was verified by those who read its mail, and that they did not show
/// the password.
///
/// # Errors
///
/// When the database refuses.
pub async fn leave_open(connection: &impl ConnectionTrait, user: &User) -> Result<()> {
    let row = Model { user_id: user.id, verified_at: clock::now().millis() };
    Ok(store::note_unclaimed(connection, row).await?)
}

/// Notes that those who read the mail of an account have its password.
///
/// # Errors
///
/// When the database refuses.
pub async fn make(connection: &impl ConnectionTrait, user: &User) -> Result<()> {
    Ok(store::forget_unclaimed(connection, user.id).await?)
}

/// Whether those who read the mail of an account are known to be those who have its password.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_made(connection: &impl ConnectionTrait, user: &User) -> Result<bool> {
    Ok(user.is_verified && !store::is_unclaimed(connection, user.id).await?)
}
