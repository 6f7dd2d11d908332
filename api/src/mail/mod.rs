//! Mail: what people are told, and links that are theirs alone.
//!
//! A mail is a job, committed with the act that caused it, and delivered when the mail server takes
//! it. Its words are templates; nothing a stranger typed is in them, or a registration could carry
//! advertisements to anybody.

pub(crate) mod jobs;
mod template;
mod transport;

pub use template::Templates;
pub use transport::Mailer;

use entity::UserId;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::Result;
use crate::job::{self, Kind};

/// How long a mail that only tells something is tried to be delivered, in seconds.
const TELLS_FOR: u64 = 3 * 86_400;

/// What a mail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// Show that this address is yours.
    Verify,
    /// Choose another password.
    ResetPassword,
    /// Your account has another address now: take it back, if that was not you.
    EmailChanged,
    /// Your password was changed.
    PasswordChanged,
}

impl Template {
    /// Every one.
    pub const ALL: [Template; 4] =
        [Self::Verify, Self::ResetPassword, Self::EmailChanged, Self::PasswordChanged];

    /// Its name: that of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::ResetPassword => "reset-password",
            Self::EmailChanged => "email-changed",
            Self::PasswordChanged => "password-changed",
        }
    }
}

/// A mail to somebody.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    /// The address, as it is kept.
    pub to: String,
    /// What it says.
    pub template: Template,
    /// Where its link leads, below `PUBLIC_URL`.
    pub path: String,
    /// The code that does as the link does, where there is one.
    pub code: Option<String>,
    /// How long both are good for, in seconds.
    pub lives: Option<u64>,
    /// Whether the account has this address for so short a time that it may be taken back.
    pub moved: bool,
}

/// Has a mail sent once the transaction was committed, which the caller then says
/// [`jobs`](crate::app::Parts::jobs). Where mails are not sent, nothing is written.
///
/// # Errors
///
/// When the database refuses.
pub async fn put(
    app: &App,
    connection: &impl ConnectionTrait,
    user: UserId,
    letter: &Letter,
) -> Result<()> {
    if !app.mailer.sends() {
        return Ok(());
    }
    let within = letter.lives.unwrap_or(TELLS_FOR);
    job::put(app, connection, Kind::Mail, Some(user), letter, within).await
}
