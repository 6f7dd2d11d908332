//! Mail: what people are told, and links that are theirs alone.
//!
//! A mail is a job, committed with the act that caused it, and delivered when the mail server takes
//! it. Its words are templates; nothing a stranger typed is in them, or a registration could carry
//! advertisements to anybody.

pub(crate) mod jobs;
mod template;
mod transport;

use std::collections::BTreeMap;

use entity::{JobId, UserId};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use self::template::Templates;
use self::transport::Mailer;
use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::platform::job::{self, Kind, Waiting};
use crate::platform::unit_of_work::UnitOfWork;

/// How long a mail that only tells something is tried to be delivered, in seconds.
const TELLS_FOR: u64 = 3 * 86_400;

/// Where mails go, and their templates.
#[derive(Debug)]
pub struct State {
    mailer: Mailer,
    templates: Templates,
}

impl State {
    /// As the settings say.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a mail server or a template that cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let templates = Templates::read(config.mail.mail_templates.as_deref())?;
        Ok(Self { mailer: Mailer::of(config)?, templates })
    }

    /// Whether this server sends mails.
    pub fn sends(&self) -> bool {
        self.mailer.sends()
    }
}

/// What a mail says.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Template {
    /// Show that this address is yours.
    Verify,
    /// Choose another password.
    ResetPassword,
    /// Your account has another address now: take it back, if that was not you.
    EmailChanged,
    /// Your password was changed.
    PasswordChanged,
    /// This is to be the new address of your account: confirm it.
    NewEmail,
    /// Somebody asked for another address for your account.
    EmailChangeAsked,
    /// The link that takes your account back was cancelled.
    RestoreCancelled,
    /// An account became a superuser's.
    SuperuserAdded,
    /// A superuser has another password, which they did not set themselves.
    SuperuserPassword,
    /// An API token was made for your account.
    ApiTokenCreated,
}

impl Template {
    /// Every template.
    pub const ALL: &[Template] = Template::VARIANTS;

    /// Its name: that of its folder.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A mail to somebody.
#[derive(Clone, Serialize, Deserialize)]
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
    /// What else it tells, by the words of its template.
    #[serde(default)]
    pub facts: Facts,
}

/// What a mail tells, by the words of its template.
pub type Facts = BTreeMap<String, String>;

impl Letter {
    /// A mail that only tells something, and may lead to a page.
    pub fn telling(to: String, template: Template, path: &str, facts: Facts) -> Self {
        let path = path.to_owned();
        Self { to, template, path, code: None, lives: None, moved: false, facts }
    }
}

/// A page of the mails that wait, the oldest first, from after one.
///
/// # Errors
///
/// When the database does not answer.
pub async fn waiting(app: &App, after: Option<JobId>, limit: u64) -> Result<Page<Waiting<Letter>>> {
    job::list(app, Kind::Mail, after, limit).await
}

/// How many mails wait.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(app: &App) -> Result<u64> {
    job::count(app, Kind::Mail).await
}

/// Has a mail that waits delivered now, unless it is tried within two minutes anyhow.
///
/// # Errors
///
/// [`Code::NotFound`] when there is none.
pub async fn hasten(app: &App, id: &str) -> Result<()> {
    let id = id.parse().map_err(|_| Code::NotFound)?;
    let mut work = UnitOfWork::begin(app).await?;
    if !job::hasten(&work, Kind::Mail, id).await? {
        return Err(Code::NotFound.into());
    }
    work.wake_jobs();
    work.commit().await
}

/// Throws a mail away that waits; `false` if there is none.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn discard(transaction: &DatabaseTransaction, id: JobId) -> Result<bool> {
    job::discard(transaction, Kind::Mail, id).await
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
    if !app.mail.sends() {
        return Ok(());
    }
    let within = letter.lives.unwrap_or(TELLS_FOR);
    job::put(app, connection, Kind::Mail, Some(user), letter, within).await
}
