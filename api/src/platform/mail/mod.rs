//! Mail: messages to users, and links that only their recipients have.
//!
//! A mail is a job. It is committed with the operation that caused it, and is delivered when the mail server accepts
//! it. Its texts are templates. They contain nothing that a stranger typed: otherwise somebody could send
//! advertisements by registering.

pub(crate) mod jobs;
mod template;
mod transport;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use entity::{JobId, UserId};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use self::template::{Templates, Words};
use self::transport::Mailer;
use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::base::random;
use crate::platform::job::{self, Kind, Waiting};
use crate::platform::unit_of_work::UnitOfWork;

/// The time for which Tessera tries to deliver a mail that only informs, in seconds.
const NOTICE_EXPIRES: u64 = 3 * 86_400;

/// The way that mails are sent, and their templates.
#[derive(Debug)]
pub struct State {
    mailer: Mailer,
    templates: RwLock<Arc<Templates>>,
}

impl State {
    /// Creates a state from the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the mail server or a template cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let templates = Arc::new(Templates::read(config.mail.mail_templates.as_deref())?);
        Ok(Self { mailer: Mailer::of(config)?, templates: RwLock::new(templates) })
    }

    fn templates(&self) -> Arc<Templates> {
        Arc::clone(&self.templates.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the templates again.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a template cannot be used. Then the templates stay as they are.
    pub(crate) fn read_templates(&self, config: &Config) -> Result<(), ConfigError> {
        let templates = Arc::new(Templates::read(config.mail.mail_templates.as_deref())?);
        *self.templates.write().unwrap_or_else(PoisonError::into_inner) = templates;
        Ok(())
    }

    /// Returns true if this server sends mails.
    pub fn sends(&self) -> bool {
        self.mailer.sends()
    }
}

/// Checks that the mail server answers and takes the user and the password of `MAIL_URL`.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn reach(config: &Config) -> Result<(), String> {
    let mailer = Mailer::of(config).map_err(|error| error.to_string())?;
    mailer.reach().await
}

/// Sends a test message.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn send_test(config: &Config, to: &str) -> Result<(), String> {
    let mailer = Mailer::of(config).map_err(|error| error.to_string())?;
    let url = config.public_url.as_str();
    let text = format!("This is a test message of Tessera at {url}. Mail from it arrives here.\n");
    let words = Words {
        subject: "Test message of Tessera".to_owned(),
        html: format!("<p>{}</p>\n", text.trim_end()),
        text,
    };
    let to = Recipient { address: to.to_owned(), language: None };
    let letter = Letter::telling(to, Template::Verify, "", Facts::new());
    let sent = mailer.send(&random::id().to_string(), &letter, words, url).await;
    sent.map_err(|failure| failure.cause().to_owned())
}

/// The template of a mail.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Template {
    /// A request to verify an address.
    Verify,
    /// A request to choose a new password.
    ResetPassword,
    /// A notice to the previous address that the account has a new one, with a link that takes the account back.
    EmailChanged,
    /// A notice that the password was changed.
    PasswordChanged,
    /// A request to confirm the new address of an account.
    NewEmail,
    /// A notice that a new address for the account was requested.
    EmailChangeAsked,
    /// A notice that the link that takes the account back was cancelled.
    RestoreCancelled,
    /// A notice that an account became a superuser's.
    SuperuserAdded,
    /// A notice that a superuser's password was set, but not by that superuser.
    SuperuserPassword,
    /// A notice that an API token was made for the account.
    ApiTokenCreated,
    /// An invitation to make an account.
    Invitation,
    /// A request to a user of another system, whose account moved here, to choose a password.
    ChoosePassword,
    /// A notice that an identity at another provider was linked.
    IdentityLinked,
    /// A notice that an identity at another provider was unlinked.
    IdentityUnlinked,
}

impl Template {
    /// Every template.
    pub const ALL: &[Template] = Template::VARIANTS;

    /// Returns its name, which is also the name of its folder.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The recipient of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// The language, if it is known: a tag (BCP 47).
    pub language: Option<String>,
}

/// A mail to one address.
#[derive(Clone, Serialize, Deserialize)]
pub struct Letter {
    /// The address, as the database has it.
    pub to: String,
    /// The language of the recipient, if it is known: a tag (BCP 47).
    #[serde(default)]
    pub language: Option<String>,
    /// The template.
    pub template: Template,
    /// The path of its link, below `PUBLIC_URL`.
    pub path: String,
    /// The code that does the same as the link, if there is one.
    pub code: Option<String>,
    /// The time for which link and code are valid, in seconds.
    pub lives: Option<u64>,
    /// `true` if the account got this address so recently that the previous address can take it back.
    pub moved: bool,
    /// Other values, by the names of the template's variables.
    #[serde(default)]
    pub facts: Facts,
}

/// Values of a mail, by the names of the template's variables.
pub type Facts = BTreeMap<String, String>;

impl Letter {
    /// Creates a mail that only informs, with a link to a page if `path` has one.
    pub fn telling(to: Recipient, template: Template, path: &str, facts: Facts) -> Self {
        let (Recipient { address: to, language }, path) = (to, path.to_owned());
        Self { to, language, template, path, code: None, lives: None, moved: false, facts }
    }
}

/// Returns a page of the waiting mails, the oldest first, beginning after the mail `after`.
///
/// # Errors
///
/// If the database does not answer.
pub async fn waiting(app: &App, after: Option<JobId>, limit: u64) -> Result<Page<Waiting<Letter>>> {
    job::list(app, Kind::Mail, after, limit).await
}

/// Returns the number of waiting mails.
///
/// # Errors
///
/// If the database does not answer.
pub async fn count(app: &App) -> Result<u64> {
    job::count(app, Kind::Mail).await
}

/// Makes a waiting mail due now, unless its next attempt is within two minutes.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such mail.
pub async fn hasten(app: &App, id: &str) -> Result<()> {
    let id = id.parse().map_err(|_| Code::NotFound)?;
    let mut work = UnitOfWork::begin(app).await?;
    if !job::hasten(&work, Kind::Mail, id).await? {
        return Err(Code::NotFound.into());
    }
    work.wake_jobs();
    work.commit().await
}

/// Discards a waiting mail. Returns `false` if there is none.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn discard(transaction: &DatabaseTransaction, id: JobId) -> Result<bool> {
    job::discard(transaction, Kind::Mail, id).await
}

/// Stores a mail, which is sent when the transaction has been committed. The caller then calls `UnitOfWork::wake_jobs`.
/// If mails are not sent, nothing is written.
///
/// # Errors
///
/// If the database returns an error.
pub async fn put(
    app: &App,
    connection: &impl ConnectionTrait,
    user: UserId,
    letter: &Letter,
) -> Result<()> {
    put_about(app, connection, Some(user), letter).await
}

/// Does the same as [`put`] for a mail to somebody who has no account.
///
/// # Errors
///
/// If the database returns an error.
pub async fn put_to_anybody(
    app: &App,
    connection: &impl ConnectionTrait,
    letter: &Letter,
) -> Result<()> {
    put_about(app, connection, None, letter).await
}

async fn put_about(
    app: &App,
    connection: &impl ConnectionTrait,
    user: Option<UserId>,
    letter: &Letter,
) -> Result<()> {
    if !app.mail.sends() {
        return Ok(());
    }
    let within = letter.lives.unwrap_or(NOTICE_EXPIRES);
    job::put(app, connection, Kind::Mail, user, letter, within).await
}
