//! Accounts: what people change of themselves, and what that does to their sessions.

pub(crate) mod http;

use entity::{SessionId, UserId};
use tessera_verify::{Claims, Refusal};

use crate::app::App;
use crate::clock;
use crate::error::{Code, Error, Result};
use crate::factor::{self, Password};
use crate::revocation::{self, Why};
use crate::session::{self, Device};
use crate::user::{self, Changes, Email, User};

/// Changes a user's own address and password. A new address is not verified; a new password ends
/// every other session and every access token there is.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`], [`Code::UpdateUserEmailAlreadyExists`],
/// [`Code::UpdateUserInvalidPassword`], [`Code::ServiceBusy`].
pub async fn change(
    app: &App,
    claims: &Claims,
    email: Option<Email>,
    password: Option<Password>,
    device: Device,
) -> Result<User> {
    let id = UserId(claims.sub);
    let gone = || Error::from(Code::Unauthorized);
    if email.is_none() && password.is_none() {
        let user = user::current(app, id).await?.ok_or_else(gone)?;
        return Ok(User::clone(&user));
    }
    app.guard.require_fresh(claims, clock::now().seconds())?;
    let hash = match password {
        Some(password) => Some(
            factor::hash_new(&app.config, &app.hasher, password, Code::UpdateUserInvalidPassword)
                .await?,
        ),
        None => None,
    };

    let transaction = app.database.begin().await?;
    let held = user::hold(&transaction, id).await?.ok_or_else(gone)?;
    // While the password was hashed, this token may have been revoked, by another replica too. Who
    // was just thrown out must not set the next password: so the tables are asked, not memory.
    let lives = session::lives(&transaction, claims).await?;
    let revoked = revocation::is_revoked(app, &transaction, claims).await?;
    if !lives || revoked || !held.user.is_active {
        return Err(Error::token(Code::Unauthorized, Refusal::Revoked));
    }
    let email = email.filter(|email| email.as_str() != held.user.email);
    let ends_sessions = hash.is_some();
    let user = if email.is_none() && hash.is_none() {
        held.user
    } else {
        user::change(&transaction, id, Changes { email, hash }).await?
    };
    let now = clock::now();
    let entries = if ends_sessions {
        let kept = Some(SessionId(claims.sid));
        session::end_all(app, &transaction, id, kept, &Why::PasswordChange, device.ip, now).await?
    } else {
        Vec::new()
    };
    transaction.commit().await?;
    app.revocations.apply(entries);
    app.known_users.forget(id);
    Ok(user)
}
