//! How people prove who they are: by passwords, so far.
//!
//! Each kind of proof is a file here. It counts the attempts, checks them, has the audit record those that are refused,
//! and ends in an [`Authentication`].

mod authentication;
mod breach;
mod foreign;
mod hasher;
pub(crate) mod jobs;
mod pace;
mod password;
pub mod password_check;
mod queue;
mod schedule;
mod strength;

pub(crate) use authentication::refuse;
pub use authentication::{Authentication, Method};
pub use breach::{Builder, Filter};
pub use password::Password;

use std::sync::OnceLock;

use self::foreign::Foreign;
use self::hasher::Hasher;
use self::password_check::Account;
use self::queue::Origin;
use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::request_context;
use crate::identity::user::{PasswordHash, Profile};

/// The dearest hash that is imported: each step doubles the quarter of a second that 12 takes.
const MAX_COST: u32 = 14;

/// As many characters as the column has.
const LONGEST_HASH: usize = 1024;

/// The most characters a password may have.
const MAX_PASSWORD_LENGTH: usize = 1024;

/// The threads that hash passwords, and the passwords that nobody may choose.
#[derive(Debug)]
pub struct State {
    hasher: Hasher,
    breach_filter: OnceLock<Filter>,
}

impl State {
    /// Starts the hashing threads.
    pub(crate) fn start(config: &Config) -> Self {
        Self { hasher: Hasher::start(config.bcrypt_cost), breach_filter: OnceLock::new() }
    }

    /// The passwords that nobody may choose, if `BREACH_FILTER` is set. A server reads the list when it starts. The
    /// list may be large, so commands that set no password do not read it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `BREACH_FILTER` is no filter.
    pub(crate) fn breach_filter(&self, config: &Config) -> Result<Option<&Filter>, ConfigError> {
        let Some(path) = &config.breach_filter else { return Ok(None) };
        if let Some(known) = self.breach_filter.get() {
            return Ok(Some(known));
        }
        let filter = Filter::read(path).map_err(|fault| {
            ConfigError::new(&format!("BREACH_FILTER: {}: {fault}", path.display()))
        })?;
        Ok(Some(self.breach_filter.get_or_init(|| filter)))
    }

    /// A hash that no password has, at the cost of new ones: checking it takes as long as checking a real one.
    pub(crate) fn dummy_hash(&self) -> &PasswordHash {
        self.hasher.dummy_hash()
    }
}

/// Refuses what needs a password of an account hashed, if there would be no place for it in the queue. It costs
/// next to nothing, so it comes before the database is asked.
///
/// # Errors
///
/// [`Code::ServiceBusy`].
pub(crate) fn require_room(app: &App, account: Account<'_>) -> Result<()> {
    let origin = Origin::new(account, request_context::current().ip);
    app.factor.hasher.require_room(&origin)
}

/// The hash of a password somebody chose, if the rules let it through. `words` are those of its owner,
/// which anybody would try first.
///
/// # Errors
///
/// `refusal` with the rule that is broken; [`Code::ServiceBusy`].
pub async fn hash_new(
    app: &App,
    account: Account<'_>,
    password: Password,
    words: Vec<String>,
    refusal: Code,
) -> Result<PasswordHash> {
    let config = &app.config;
    let fewest = usize::from(config.password_min_length);
    let length = password.characters();
    if length > MAX_PASSWORD_LENGTH {
        let sentence = format!("Password should be at most {MAX_PASSWORD_LENGTH} characters");
        let message =
            LocalizedMessage::with_number("password-too-long", sentence, MAX_PASSWORD_LENGTH);
        return Err(Error::with_messages(refusal, vec![message]));
    }
    if length < fewest {
        if !config.dev || length == 0 {
            let fewest = if config.dev { 1 } else { fewest };
            let sentence = format!("Password should be at least {fewest} characters");
            let message = LocalizedMessage::with_number("password-too-short", sentence, fewest);
            return Err(Error::with_messages(refusal, vec![message]));
        }
        tracing::warn!(
            password.characters = length,
            "a password is shorter than {fewest} characters: good enough for development only"
        );
    }
    let filter = app
        .factor
        .breach_filter(config)
        .map_err(|fault| Error::because(Code::InternalServerError, fault))?;
    if filter.is_some_and(|filter| filter.contains(&password)) {
        if !config.dev {
            let reason = "Password was found in a list of stolen ones. Choose one that you use nowhere else.";
            return Err(Error::with_messages(
                refusal,
                vec![LocalizedMessage::new("password-stolen", reason)],
            ));
        }
        tracing::warn!("a password is in BREACH_FILTER: good enough for development only");
    }
    let origin = Origin::new(account, request_context::current().ip);
    let least = if config.dev { 0 } else { config.password_min_score };
    let hashed = app.factor.hasher.hash_new(&origin, password, words, least).await?;
    hashed.map_err(|messages| Error::with_messages(refusal, messages))
}

/// Whether passwords can be held against a hash, in a time that can be borne.
pub fn is_readable(hash: &PasswordHash) -> bool {
    let text = hash.expose();
    if text.len() > LONGEST_HASH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    match hash.cost() {
        Some(cost) => cost <= MAX_COST && password::is_well_formed(hash),
        None => Foreign::read(hash.expose()).is_some(),
    }
}

/// What somebody who knows a user would try first.
pub fn words_of(email: &str, profile: &Profile) -> Vec<String> {
    let Profile { name, surname, website } = profile;
    let website = website.as_ref().map(|website| website.as_str().to_owned());
    let said = [name.clone(), surname.clone(), website].into_iter().flatten();
    std::iter::once(email.to_owned()).chain(said).collect()
}
