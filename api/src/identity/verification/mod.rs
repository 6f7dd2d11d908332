//! Verification tokens: secrets that are sent to an address and prove that somebody reads its mail.
//!
//! There is one token for each user, purpose and client that asked. If the same client asks again, the new token
//! replaces the old one. A stranger who asks replaces no token of the owner. Using a token ends all tokens of its
//! purpose. A token also ends when the state that it was made for changes: the address or the password.
//!
//! The table is `confirmation`. A token cannot be guessed and works anywhere. With it comes a code of six digits, for
//! people who read mail on another device. The code works only in the browser or client that asked for the mail, which
//! has a [`Binding`]. It can be tried five times.

pub(crate) mod client;
mod code;
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

/// The number of letters and digits of a token, and of the value that a client keeps: 256 bits.
const TOKEN_LENGTH: usize = 43;

/// The number of wrong attempts after which a code is refused. The link still works after that.
const MAX_TRIES: i64 = 5;

/// The keys for the digests of codes.
#[derive(Debug)]
pub struct State {
    /// The current key first, then those of previous secrets.
    code_keys: Vec<hmac::Key>,
}

impl State {
    /// Creates a state with the secrets of the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the secret cannot sign tokens.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let secret = config.signing_secret()?;
        let secrets = std::iter::once(&secret).chain(&config.app_secret_previous);
        let code_keys = secrets.map(|secret| derived_key::digest_key(secret, "tessera codes"));
        Ok(Self { code_keys: code_keys.collect() })
    }
}

/// The purpose of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To verify an address.
    Verify,
    /// To set a new password.
    ResetPassword,
}

impl Purpose {
    /// Returns the name, in the table and in mails.
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

    /// Returns a digest of the state that the token is bound to: the address and, to set a password, also the
    /// password's hash.
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

/// The proof that somebody read a mail.
#[derive(Clone)]
pub enum Proof {
    /// The token of the mail's link.
    Token(String),
    /// The address that the mail was sent to, and its code.
    Code {
        /// The address.
        email: String,
        /// The six digits.
        code: String,
        /// The binding of the client that sends the code; `None` if the client sends no value.
        binding: Option<Binding>,
    },
}

impl Proof {
    /// Makes the proof of a link's token, which may have been copied with white space around it.
    pub fn of_token(token: &str) -> Self {
        Self::Token(token.trim().to_owned())
    }

    /// Makes the proof of a code as somebody typed it.
    pub fn of_code(email: String, typed: &str) -> Self {
        Self::Code { email, code: code::read(typed), binding: None }
    }

    /// Returns the same proof with the binding of the client that sends it.
    #[must_use]
    pub fn shown_by(self, client: Option<Binding>) -> Self {
        match self {
            Self::Code { email, code, binding: _ } => Self::Code { email, code, binding: client },
            Self::Token(_) => self,
        }
    }
}

/// The binding of a code to the browser or client that asked for its mail: the digest of the value that the client
/// keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding(String);

impl Binding {
    /// Makes a new value for a client to keep.
    pub fn draw() -> String {
        random::letters_and_digits(TOKEN_LENGTH)
    }

    /// Returns the binding for a client that keeps this value; `None` if the value cannot come from [`Self::draw`].
    pub fn of(kept: &str) -> Option<Self> {
        let is_one =
            kept.len() == TOKEN_LENGTH && kept.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_one.then(|| Self(digest_of(kept)))
    }
}

/// A row that matches a proof.
#[derive(Debug)]
pub struct VerificationToken(Model);

impl VerificationToken {
    /// Returns the user that it belongs to.
    pub fn user(&self) -> UserId {
        self.0.user_id
    }

    /// Returns true if it was already used.
    pub fn is_used(&self) -> bool {
        self.0.used_at.is_some()
    }

    /// Returns true if the address or password that it was made for has not changed.
    pub fn fits(&self, purpose: Purpose, known: &Credentials) -> bool {
        self.0.user_id == known.user.id && self.0.bound == purpose.bound(known)
    }
}

/// Sends a mail with a new token, which replaces the earlier one of the same client. If no client asked for it, the
/// mail has no code. The caller has locked the user, and calls `UnitOfWork::wake_jobs`.
///
/// # Errors
///
/// If the database returns an error.
pub async fn send(
    app: &App,
    connection: &impl ConnectionTrait,
    known: &Credentials,
    purpose: Purpose,
    client: Option<&Binding>,
) -> Result<()> {
    let (lives, template) = (purpose.lives(&app.config), purpose.template());
    send_as(app, connection, known, (purpose, template, lives), client).await
}

/// The lifetime of a link with which an imported user chooses a password, in seconds: a week, as that of an invitation.
const CHOICE_LIVES: u64 = 7 * 86_400;

/// Sends a mail to a user who was imported without a password, with a link on whose page they choose one. The caller
/// calls `UnitOfWork::wake_jobs`.
///
/// # Errors
///
/// If the database returns an error.
pub async fn ask_for_password(
    app: &App,
    connection: &impl ConnectionTrait,
    known: &Credentials,
) -> Result<()> {
    let mail = (Purpose::ResetPassword, Template::ChoosePassword, CHOICE_LIVES);
    send_as(app, connection, known, mail, None).await
}

async fn send_as(
    app: &App,
    connection: &impl ConnectionTrait,
    known: &Credentials,
    (purpose, template, lives): (Purpose, Template, u64),
    client: Option<&Binding>,
) -> Result<()> {
    if !app.mail.sends() {
        return Ok(());
    }
    let id = known.user.id;
    let (token, code) = (random::letters_and_digits(TOKEN_LENGTH), random::digits());
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
    let (to, path) = (known.user.recipient(), format!("/{}?token={token}", purpose.name()));
    let letter = Letter {
        code: client.map(|_| code),
        lives: Some(lives),
        moved: previous_email::is_there(connection, id).await?,
        ..Letter::telling(to, template, &path, Facts::new())
    };
    mail::put(app, connection, id, &letter).await
}

/// Sends two mails when a user asks for a new address: one to the new address, which proves it, and a notice to the
/// current address. The new token replaces the earlier one.
///
/// # Errors
///
/// If the database returns an error.
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
    let path = format!("/verify?token={token}");
    let to = known.user.recipient_at(email.as_str().to_owned());
    let request = Letter::telling(to, Template::NewEmail, &path, Facts::new());
    let request = Letter { lives: Some(lives), ..request };
    mail::put(app, connection, id, &request).await?;
    let (to, path) = (known.user.recipient(), "/forgot-password");
    let notice = Letter::telling(to, Template::EmailChangeAsked, path, Facts::new());
    mail::put(app, connection, id, &notice).await
}

/// Returns the pending address that a token proves.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find_new(connection: &impl ConnectionTrait, token: &str) -> Result<Option<Pending>> {
    pending::find(connection, &digest_of(token)).await
}

/// Spends the token of a pending address and returns true, if the user has not changed since. Otherwise does nothing
/// and returns false.
///
/// # Errors
///
/// If the database returns an error.
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
/// If the database returns an error.
pub async fn tell_cancelled(
    app: &App,
    connection: &impl ConnectionTrait,
    user: &User,
    former: &previous_email::PreviousEmail,
) -> Result<()> {
    let to = user.recipient_at(former.email.clone());
    let letter = Letter::telling(to, Template::RestoreCancelled, "/", Facts::new());
    mail::put(app, connection, former.user, &letter).await
}

/// Returns true if a token has this digest.
pub fn is_token_of(token: &str, digest: &str) -> bool {
    digest_of(token) == digest
}

/// Sends a mail to the current address of a user, which is about to change. If the address can be taken back, the mail
/// has a link for that, and the address is stored as a previous one.
///
/// # Errors
///
/// If the database returns an error.
pub async fn send_to_former(
    app: &App,
    connection: &impl ConnectionTrait,
    user: &User,
    may_be_taken_back: bool,
) -> Result<()> {
    if !app.mail.sends() {
        return Ok(());
    }
    let (path, lives) = if may_be_taken_back {
        let token = random::letters_and_digits(TOKEN_LENGTH);
        previous_email::keep(connection, user, digest_of(&token)).await?;
        (format!("/restore-email?token={token}"), Some(previous_email::RECLAIM_WINDOW))
    } else {
        (String::new(), None)
    };
    let (to, template) = (user.recipient(), Template::EmailChanged);
    let letter = Letter { lives, ..Letter::telling(to, template, &path, Facts::new()) };
    mail::put(app, connection, user.id, &letter).await
}

/// Returns the previous address that a token takes back.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find_former(
    connection: &impl ConnectionTrait,
    token: &str,
) -> Result<Option<previous_email::PreviousEmail>> {
    previous_email::find(connection, &digest_of(token)).await
}

/// Returns the row of a token, used or not, if it has not expired.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find(
    connection: &impl ConnectionTrait,
    purpose: Purpose,
    token: &str,
) -> Result<Option<VerificationToken>> {
    let row = store::find(connection, purpose.name(), &digest_of(token)).await?;
    let now = clock::now().millis();
    Ok(row.filter(|row| now < row.expires_at).map(VerificationToken))
}

/// The result of an attempt to use a code.
#[derive(Debug)]
pub struct Tried {
    /// The row, used or not, if the code is right.
    pub right: Option<VerificationToken>,
    /// `true` if the client has any code of this user.
    pub is_bound: bool,
}

/// Tries a code. The attempt is counted before the code is checked. If there is no such user, the same work is done.
/// The caller takes the count back if the code is right.
///
/// # Errors
///
/// If the database returns an error.
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
    Ok(Tried { right: right.map(VerificationToken), is_bound })
}

/// Spends a token, which ends all others of its user and purpose. Returns `false` if it has been used or replaced in
/// the meantime.
///
/// # Errors
///
/// If the database returns an error.
pub async fn spend(connection: &impl ConnectionTrait, found: &VerificationToken) -> Result<bool> {
    Ok(store::spend(connection, &found.0, clock::now()).await?)
}

/// Ends every unused token of a user.
///
/// # Errors
///
/// If the database returns an error.
pub async fn end_unused(connection: &impl ConnectionTrait, user: UserId) -> Result<()> {
    Ok(store::delete_unused(connection, user).await?)
}

fn digest_of(token: &str) -> String {
    hex(digest(&SHA256, token.as_bytes()))
}

/// Returns the digests of a code. With a plain digest, six digits could be guessed quickly, so these depend on the
/// secrets of the settings. The first uses the current secret, the others use previous ones.
fn code_digests(app: &App, user: UserId, purpose: Purpose, code: &str) -> Vec<String> {
    let text = format!("{user}\0{}\0{code}", purpose.name());
    let digest = |key| hex(hmac::sign(key, text.as_bytes()));
    app.verification.code_keys.iter().map(digest).collect()
}
