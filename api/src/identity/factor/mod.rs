//! The ways in which users prove their identity: the password, and other providers.
//!
//! Each kind of proof is a file here. It counts the attempts, checks them, records refused ones in the audit, and
//! returns an [`Authentication`].

mod authentication;
mod breach;
mod crypt;
pub(crate) mod federated;
mod foreign;
mod hash_kind;
mod hasher;
pub(crate) mod jobs;
mod pace;
mod password;
pub mod password_check;
mod queue;
mod schedule;
mod store;
mod strength;

pub(crate) use authentication::refuse;
pub use authentication::{Authentication, Method, class_of, classes};
pub use breach::{Builder, Filter};
pub use federated::Federated;
pub use hash_kind::{HashKind, kind_of};
pub use password::Password;

use std::path::Path;
use std::sync::OnceLock;

use self::foreign::Foreign;
use self::hasher::Hasher;
use self::password_check::Account;
use self::queue::Origin;
use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::metrics::{Exposition, Tally};
use crate::base::request_context;
use crate::identity::user::{PasswordHash, Profile};

/// The highest cost of hashes that are imported. Cost 12 takes a quarter of a second, and each step doubles it.
const MAX_COST: u32 = 14;

/// The number of characters that the column can hold.
const LONGEST_HASH: usize = 1024;

/// The maximum number of characters of a password.
const MAX_PASSWORD_LENGTH: usize = 1024;

/// The methods, as the metrics name them.
const PASSWORD: &str = "password";
const PROVIDER: &str = "provider";

/// The threads that hash passwords, and the list of refused passwords.
#[derive(Debug)]
pub struct State {
    hasher: Hasher,
    breach_filter: OnceLock<Filter>,
    /// Sign-ins: the method, the outcome, and the reason of a refusal.
    sign_ins: Tally,
}

impl State {
    /// Starts the hashing threads.
    pub(crate) fn start(config: &Config) -> Self {
        let hasher = Hasher::start(config.bcrypt_cost);
        Self { hasher, breach_filter: OnceLock::new(), sign_ins: Tally::default() }
    }

    /// Counts a sign-in by this method that was accepted.
    pub(crate) fn count_accepted(&self, authentication: &Authentication) {
        let is_password = authentication.methods().contains(&Method::Password);
        let method = if is_password { PASSWORD } else { PROVIDER };
        self.sign_ins.count([method, "accepted", ""]);
    }

    /// Counts a sign-in with a password that was refused.
    fn count_refused(&self, code: Code) {
        self.sign_ins.count([PASSWORD, "refused", code.name()]);
    }

    /// Counts a sign-in with another provider that was refused by the check with this name.
    pub(crate) fn count_refused_provider(&self, check: &'static str) {
        self.sign_ins.count([PROVIDER, "refused", check]);
    }

    /// Writes the numbers of sign-ins and of hashes.
    pub(crate) fn write_metrics(&self, text: &mut Exposition) {
        let name = "tessera_sign_ins_total";
        text.begin(name, "counter", "Sign-ins, and passwords that users gave again.");
        for ([method, outcome, reason], count) in self.sign_ins.get() {
            let labels = [("method", method), ("outcome", outcome), ("reason", reason)];
            text.sample(name, &labels, count);
        }
        let (numbers, waiting) = self.hasher.numbers();
        let help = "The passwords that wait for a hashing thread.";
        text.single("tessera_password_hash_waiting", "gauge", help, waiting);
        let name = "tessera_password_hash_wait_seconds";
        text.begin(name, "histogram", "The time that passwords waited for a hashing thread.");
        text.histogram(name, &[], &numbers.waited);
        let name = "tessera_password_hash_duration_seconds";
        text.begin(name, "histogram", "The time that hashing took.");
        text.histogram(name, &[], &numbers.took);
        let help = "The passwords that were not hashed, because too many waited (503).";
        let name = "tessera_password_hash_refused_total";
        text.single(name, "counter", help, numbers.refused.get());
    }

    /// Returns the list of refused passwords, if `BREACH_FILTER` is set. A server reads the list when it starts. The
    /// list may be large, so commands that set no password do not read it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the file in `BREACH_FILTER` is not a filter.
    pub(crate) fn breach_filter(&self, config: &Config) -> Result<Option<&Filter>, ConfigError> {
        let Some(path) = &config.breach_filter else { return Ok(None) };
        if let Some(known) = self.breach_filter.get() {
            return Ok(Some(known));
        }
        let filter = read_breach_filter(path)?;
        Ok(Some(self.breach_filter.get_or_init(|| filter)))
    }

    /// Returns the hash of an account without a password. No password matches it, and checking it takes as long as
    /// checking any other.
    pub(crate) fn no_password(&self) -> PasswordHash {
        PasswordHash::none(self.hasher.cost())
    }
}

/// Checks that the file of `BREACH_FILTER` is a filter, if it is set.
///
/// # Errors
///
/// [`ConfigError`] if it is not.
pub(crate) fn check_breach_filter(config: &Config) -> Result<(), ConfigError> {
    config.breach_filter.as_deref().map_or(Ok(()), |path| read_breach_filter(path).map(drop))
}

fn read_breach_filter(path: &Path) -> Result<Filter, ConfigError> {
    Filter::read(path)
        .map_err(|fault| ConfigError::new(&format!("BREACH_FILTER is {path:?}: {fault}")))
}

/// Fails if the queue has no room to hash a password of an account. This costs almost nothing, so it comes before the
/// database is asked.
///
/// # Errors
///
/// [`Code::ServiceBusy`].
pub(crate) async fn require_room(app: &App, account: Account<'_>) -> Result<()> {
    let origin = Origin::new(account, request_context::current().ip);
    app.factor.hasher.require_room(&origin).await
}

/// Hashes a password that a user chose, if the rules accept it. `words` are words of its owner, which anybody would try
/// first.
///
/// # Errors
///
/// `refusal` with the rule that the password breaks; [`Code::ServiceBusy`].
pub async fn hash_new(
    app: &App,
    account: Account<'_>,
    password: Password,
    words: Vec<String>,
    refusal: Code,
) -> Result<PasswordHash> {
    let config = &app.config;
    let min_length = usize::from(config.password_min_length);
    let length = password.characters();
    if length > MAX_PASSWORD_LENGTH {
        let sentence = format!("Password should be at most {MAX_PASSWORD_LENGTH} characters");
        let message =
            LocalizedMessage::with_number("password-too-long", sentence, MAX_PASSWORD_LENGTH);
        return Err(Error::with_messages(refusal, vec![message]));
    }
    if length < min_length {
        if !config.dev || length == 0 {
            let min_length = if config.dev { 1 } else { min_length };
            let sentence = format!("Password should be at least {min_length} characters");
            let message = LocalizedMessage::with_number("password-too-short", sentence, min_length);
            return Err(Error::with_messages(refusal, vec![message]));
        }
        tracing::warn!(
            password.characters = length,
            "a password is shorter than {min_length} characters: good enough for development only"
        );
    }
    let filter = app
        .factor
        .breach_filter(config)
        .map_err(|fault| Error::because(Code::InternalServerError, fault))?;
    if filter.is_some_and(|filter| filter.contains(&password)) {
        if !config.dev {
            let reason = "Password was found in a list of stolen passwords. Choose one that you use nowhere else.";
            return Err(Error::with_messages(
                refusal,
                vec![LocalizedMessage::new("password-stolen", reason)],
            ));
        }
        tracing::warn!("a password is in BREACH_FILTER: good enough for development only");
    }
    let origin = Origin::new(account, request_context::current().ip);
    let min_score = if config.dev { 0 } else { config.password_min_score };
    let hashed = app.factor.hasher.hash_new(&origin, password, words, min_score).await?;
    hashed.map_err(|messages| Error::with_messages(refusal, messages))
}

/// Returns true if passwords can be checked against a hash, in an acceptable time.
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

/// Returns the words that somebody who knows a user would try first.
pub fn words_of(email: &str, profile: &Profile) -> Vec<String> {
    let Profile { name, surname, website, language: _ } = profile;
    let website = website.as_ref().map(|website| website.as_str().to_owned());
    let profile_words = [name.clone(), surname.clone(), website].into_iter().flatten();
    std::iter::once(email.to_owned()).chain(profile_words).collect()
}
