//! Confirmations: tokens that are sent to somebody's address, and prove that its mail is read.
//!
//! One lives for each purpose, user and client that asked: asking again with the same browser ends the one
//! before, and a stranger who asks ends none of the owner's. Using one ends all of its purpose. It is bound to what
//! it was made for, so that a changed address, or password, ends it. Beside the token, which nobody can guess and
//! which works anywhere, stands a code of six digits for people who read mail on another device. The code works
//! only in the browser or client that asked for the mail, which has a [`Binding`], and may be tried five times.

pub(crate) mod client;
pub(crate) mod jobs;
mod store;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use entity::confirmation::Model;
use entity::{SessionId, UserId};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key;
use crate::base::error::Result;
use crate::base::hex::hex;
use crate::base::{clock, random};
use crate::identity::user::pending::{self, Pending};
use crate::identity::user::{Credentials, Email, User, previous_email};
use crate::platform::mail::{self, Facts, Letter, Template};
use crate::platform::rate_limit::mail::MailReason;

/// How many letters and digits a token has, and what a client keeps: 256 bits.
const TOKEN_LENGTH: usize = 43;

/// How often a code may be tried in vain; its link works after that.
const MAX_TRIES: i64 = 5;

/// The keys of the digests of codes.
#[derive(Debug)]
pub struct State {
    /// The current key first, then those of previous secrets.
    code_keys: Vec<hmac::Key>,
}

impl State {
    /// Under the secrets of the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a secret that tokens cannot be signed with.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let secret = config.signing_secret()?;
        let secrets = std::iter::once(&secret).chain(&config.app_secret_previous);
        let code_keys = secrets.map(|secret| derived_key::digest_key(secret, "tessera codes"));
        Ok(Self { code_keys: code_keys.collect() })
    }
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Showing that an address is its owner's.
    Verify,
    /// Setting another password.
    ResetPassword,
}

impl Purpose {
    /// Its name, in the table and in mails.
    pub fn name(self) -> &'static str {
        self.template().name()
    }

    fn template(self) -> Template {
        match self {
            Self::Verify => Template::Verify,
            Self::ResetPassword => Template::ResetPassword,
        }
    }

    fn lives(self, config: &Config) -> u64 {
        match self {
            Self::Verify => config.mail.verify_token_expires,
            Self::ResetPassword => config.mail.reset_token_expires,
        }
    }

    /// What it ends with, if that changes: the address, and for a password also that.
    fn bound(self, known: &Credentials) -> String {
        let Credentials { user, hash } = known;
        let hash = if self == Self::ResetPassword { hash.expose() } else { "" };
        hex(digest(&SHA256, [user.email.as_str(), hash].join("\0").as_bytes()))
    }
}

impl From<Purpose> for MailReason {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Verify => Self::Verification,
            Purpose::ResetPassword => Self::PasswordReset,
        }
    }
}

/// What somebody shows who read a mail.
#[derive(Clone)]
pub enum Proof {
    /// The token of its link.
    Token(String),
    /// The address it was sent to, and its code.
    Code {
        /// The address.
        email: String,
        /// The six digits.
        code: String,
        /// What binds them to the client that shows them; nothing if it has nothing to show.
        binding: Option<Binding>,
    },
}

impl Proof {
    /// The same, shown by a client with what binds codes to it.
    #[must_use]
    pub fn shown_by(self, client: Option<Binding>) -> Self {
        match self {
            Self::Code { email, code, binding: _ } => Self::Code { email, code, binding: client },
            Self::Token(_) => self,
        }
    }
}

/// What binds a code to the browser or client that asked for its mail: the digest of what that one keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding(String);

impl Binding {
    /// A new value for a client to keep.
    pub fn draw() -> String {
        random::letters_and_digits(TOKEN_LENGTH)
    }

    /// What binds codes to a client that keeps this; nothing for what was not drawn here.
    pub fn of(kept: &str) -> Option<Self> {
        let is_one =
            kept.len() == TOKEN_LENGTH && kept.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_one.then(|| Self(digest_of(kept)))
    }
}

/// A confirmation that fits what was shown.
#[derive(Debug)]
pub struct Confirmation(Model);

impl Confirmation {
    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.0.user_id
    }

    /// Whether it was used before.
    pub fn is_used(&self) -> bool {
        self.0.used_at.is_some()
    }

    /// Whether its address, or password, is still what it was made for.
    pub fn fits(&self, purpose: Purpose, known: &Credentials) -> bool {
        self.0.user_id == known.user.id && self.0.bound == purpose.bound(known)
    }
}

/// Has a mail sent with a new token, which ends the one before of the same client. Without a client that asked for
/// it the mail has no code. The user is locked; the caller wakes the [`jobs`](crate::app::Parts::jobs) once the
/// transaction was committed.
///
/// # Errors
///
/// When the database refuses.
pub async fn send(
    app: &App,
    connection: &impl ConnectionTrait,
    known: &Credentials,
    purpose: Purpose,
    client: Option<&Binding>,
) -> Result<()> {
    if !app.mail.sends() {
        return Ok(());
    }
    let id = known.user.id;
    let (token, code) = (random::letters_and_digits(TOKEN_LENGTH), random::digits());
    let lives = purpose.lives(&app.config);
    let row = Model {
        digest: digest_of(&token),
        user_id: id,
        purpose: purpose.name().to_owned(),
        bound: purpose.bound(known),
        code: code_digests(app, id, purpose, &code).swap_remove(0).into(),
        expires_at: clock::now().plus_seconds(lives).millis(),
        used_at: None,
        binding: client.map(|Binding(digest)| digest.clone()),
        tries: 0,
    };
    store::replace(connection, row).await?;
    let letter = Letter {
        to: known.user.email.clone(),
        template: purpose.template(),
        path: format!("/{}?token={token}", purpose.name()),
        code: client.map(|_| code),
        lives: Some(lives),
        moved: previous_email::is_there(connection, id).await?,
        facts: Facts::new(),
    };
    mail::put(app, connection, id, &letter).await
}

/// Has a mail sent to the new address that a user asks for, which proves it, and one to the address they have, which
/// tells them. Asking again ends the token before.
///
/// # Errors
///
/// When the database refuses.
pub async fn send_to_new(
    app: &App,
    connection: &impl ConnectionTrait,
    known: &Credentials,
    email: &Email,
    session: SessionId,
) -> Result<()> {
    let token = random::letters_and_digits(TOKEN_LENGTH);
    let lives = Purpose::Verify.lives(&app.config);
    let id = known.user.id;
    let new = Pending {
        user: id,
        email: email.as_str().to_owned(),
        bound: Purpose::ResetPassword.bound(known),
        session,
        expires: clock::now().plus_seconds(lives),
    };
    pending::put(connection, new, digest_of(&token)).await?;
    let letter = |to: &str, template, path, lives| {
        let to = to.to_owned();
        Letter { to, template, path, code: None, lives, moved: false, facts: Facts::new() }
    };
    let path = format!("/verify?token={token}");
    let proves = letter(email.as_str(), Template::NewEmail, path, Some(lives));
    mail::put(app, connection, id, &proves).await?;
    let path = "/forgot-password".to_owned();
    let tells = letter(&known.user.email, Template::EmailChangeAsked, path, None);
    mail::put(app, connection, id, &tells).await
}

/// The new address that a token proves.
///
/// # Errors
///
/// When the database does not answer.
pub async fn find_new(connection: &impl ConnectionTrait, token: &str) -> Result<Option<Pending>> {
    pending::find(connection, &digest_of(token)).await
}

/// Uses the token of a new address, if it is still for this user as they are; otherwise it does nothing, and says so.
///
/// # Errors
///
/// When the database refuses.
pub async fn spend_new(
    connection: &impl ConnectionTrait,
    found: &Pending,
    token: &str,
    known: &Credentials,
) -> Result<bool> {
    let fits = found.user == known.user.id && found.bound == Purpose::ResetPassword.bound(known);
    Ok(fits && pending::take(connection, &digest_of(token)).await?)
}

/// Tells a previous address that its link to take the account back was cancelled.
///
/// # Errors
///
/// When the database refuses.
pub async fn tell_cancelled(
    app: &App,
    connection: &impl ConnectionTrait,
    former: &previous_email::PreviousEmail,
) -> Result<()> {
    let letter = Letter {
        to: former.email.clone(),
        template: Template::RestoreCancelled,
        path: "/".to_owned(),
        code: None,
        lives: None,
        moved: false,
        facts: Facts::new(),
    };
    mail::put(app, connection, former.user, &letter).await
}

/// Whether a token is the one with a digest.
pub fn is_token_of(token: &str, digest: &str) -> bool {
    digest_of(token) == digest
}

/// Has a mail sent to the address that a user has so far, with which to take it back if it is to be; the
/// address is kept for that.
///
/// # Errors
///
/// When the database refuses.
pub async fn send_to_former(
    app: &App,
    connection: &impl ConnectionTrait,
    held: &User,
    may_be_taken_back: bool,
) -> Result<()> {
    if !app.mail.sends() {
        return Ok(());
    }
    let (path, lives) = if may_be_taken_back {
        let token = random::letters_and_digits(TOKEN_LENGTH);
        previous_email::keep(connection, held, digest_of(&token)).await?;
        (format!("/restore-email?token={token}"), Some(previous_email::RECLAIM_WINDOW))
    } else {
        (String::new(), None)
    };
    let (to, template) = (held.email.clone(), Template::EmailChanged);
    let letter = Letter { lives, ..Letter::telling(to, template, &path, Facts::new()) };
    mail::put(app, connection, held.id, &letter).await
}

/// The address that a token takes back.
///
/// # Errors
///
/// When the database does not answer.
pub async fn find_former(
    connection: &impl ConnectionTrait,
    token: &str,
) -> Result<Option<previous_email::PreviousEmail>> {
    previous_email::find(connection, &digest_of(token)).await
}

/// The confirmation of a token, if there is one that has not expired. Used ones too.
///
/// # Errors
///
/// When the database does not answer.
pub async fn find(
    connection: &impl ConnectionTrait,
    purpose: Purpose,
    token: &str,
) -> Result<Option<Confirmation>> {
    let row = store::find(connection, purpose.name(), &digest_of(token)).await?;
    let now = clock::now().millis();
    Ok(row.filter(|row| now < row.expires_at).map(Confirmation))
}

/// What came of a code that was tried.
#[derive(Debug)]
pub struct Tried {
    /// The confirmation, if the code is right. Used ones too.
    pub right: Option<Confirmation>,
    /// Whether the client that tried has a code of this user at all.
    pub is_bound: bool,
}

/// Tries a code, which is counted before it is looked at. Where there is no such user the same is done for nobody.
/// The caller takes back what was counted for a code that is right.
///
/// # Errors
///
/// When the database refuses.
pub async fn attempt(
    app: &App,
    connection: &impl ConnectionTrait,
    purpose: Purpose,
    user: Option<UserId>,
    client: Option<&Binding>,
    code: &str,
) -> Result<Tried> {
    let user = user.unwrap_or(UserId(uuid::Uuid::nil()));
    let expected = code_digests(app, user, purpose, code);
    let binding = client.map_or("", |Binding(digest)| digest);
    let row = store::bound(connection, purpose.name(), user, binding).await?;
    let digest = row.as_ref().map_or("", |row| &row.digest);
    let may = store::count_try(connection, digest, MAX_TRIES).await?;
    let (is_bound, now) = (row.is_some(), clock::now().millis());
    let right = row.filter(|row| {
        may && now < row.expires_at && expected.iter().any(|code| code == row.code.expose())
    });
    Ok(Tried { right: right.map(Confirmation), is_bound })
}

/// Uses a confirmation, which ends all others of its user and purpose; `false` where somebody else just did, or
/// another took its place.
///
/// # Errors
///
/// When the database refuses.
pub async fn spend(connection: &impl ConnectionTrait, found: &Confirmation) -> Result<bool> {
    Ok(store::spend(connection, &found.0, clock::now()).await?)
}

/// Ends every confirmation of a user that was not used.
///
/// # Errors
///
/// When the database refuses.
pub async fn end_unused(connection: &impl ConnectionTrait, user: UserId) -> Result<()> {
    Ok(store::delete_unused(connection, user).await?)
}

fn digest_of(token: &str) -> String {
    hex(digest(&SHA256, token.as_bytes()))
}

/// Six digits are soon guessed by who has their digest: this one wants the secret of the settings. The
/// first is under the one that signs, the others under previous ones.
fn code_digests(app: &App, user: UserId, purpose: Purpose, code: &str) -> Vec<String> {
    let text = format!("{user}\0{}\0{code}", purpose.name());
    let digest = |key| hex(hmac::sign(key, text.as_bytes()));
    app.verification.code_keys.iter().map(digest).collect()
}
