//! How people prove who they are: passwords, so far.

mod hasher;
pub(crate) mod http;
mod password;

pub use hasher::Hasher;
pub use password::Password;

use entity::UserId;

use crate::app::App;
use crate::config::Registration;
use crate::error::{Code, Error, Result};
use crate::user::{self, Email, PasswordHash, User};

/// The most characters a password may have.
const MAX_PASSWORD_LENGTH: usize = 1024;

/// Makes a user of somebody who asks for it.
///
/// # Errors
///
/// [`Code::RegistrationClosed`], [`Code::RegisterInvalidPassword`],
/// [`Code::RegisterUserAlreadyExists`].
pub async fn register(app: &App, email: Email, password: Password) -> Result<User> {
    if app.config.registration == Registration::Closed {
        return Err(Code::RegistrationClosed.into());
    }
    create(app, email, password, false).await
}

/// Makes a user, whoever asks for it.
///
/// # Errors
///
/// [`Code::RegisterInvalidPassword`], [`Code::RegisterUserAlreadyExists`].
pub async fn create(app: &App, email: Email, password: Password, superuser: bool) -> Result<User> {
    let hash = hash_new(app, password, Code::RegisterInvalidPassword).await?;
    let id = UserId(crate::random::id());
    user::create(&app.database, id, email, hash, superuser).await
}

/// The hash of a password somebody chose, if the rules let it through.
///
/// # Errors
///
/// `refusal` with the rule that is broken; [`Code::ServiceBusy`].
pub async fn hash_new(app: &App, password: Password, refusal: Code) -> Result<PasswordHash> {
    let fewest = usize::from(app.config.password_min_length);
    let length = password.characters();
    if length > MAX_PASSWORD_LENGTH {
        return Err(Error::with_reason(
            refusal,
            format!("Password should be at most {MAX_PASSWORD_LENGTH} characters"),
        ));
    }
    if length < fewest {
        if !app.config.dev || length == 0 {
            let fewest = if app.config.dev { 1 } else { fewest };
            return Err(Error::with_reason(
                refusal,
                format!("Password should be at least {fewest} characters"),
            ));
        }
        tracing::warn!(
            password.characters = length,
            "a password is shorter than {fewest} characters: good enough for development only"
        );
    }
    let place = app.hasher.reserve()?;
    app.hasher.hash(place, password).await
}
