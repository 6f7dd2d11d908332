//! How people prove who they are: passwords, so far.

mod breach;
mod foreign;
mod hasher;
pub(crate) mod http;
pub(crate) mod jobs;
mod pace;
pub(crate) mod pages;
mod password;
mod strength;

pub use breach::{Builder, Filter};
pub use hasher::{Hasher, Place};
pub use password::Password;

use entity::UserId;
use sea_orm::DatabaseTransaction;

use self::foreign::Foreign;
use crate::app::App;
use crate::audit::{self, Act, Actor, Entry};
use crate::config::Registration;
use crate::confirmation::{self, Binding, Purpose};
use crate::error::{Code, Error, Phrase, Result};
use crate::limit::{self, mail::Reason};
use crate::notice;
use crate::user::{self, Credentials, Email, PasswordHash, Profile, User};

/// The dearest hash that is imported: each step doubles the quarter of a second that 12 takes.
const MOST_COST: u32 = 14;

/// As many characters as the column has.
const LONGEST_HASH: usize = 1024;

/// The most characters a password may have.
const MAX_PASSWORD_LENGTH: usize = 1024;

/// Makes a user of somebody who asks for it.
///
/// # Errors
///
/// [`Code::RegistrationClosed`], [`Code::RegisterInvalidPassword`],
/// [`Code::RegisterUserAlreadyExists`], [`Code::TooManyAttempts`].
pub async fn register(
    app: &App,
    email: Email,
    password: Password,
    profile: Profile,
    from: Option<String>,
    client: Option<Binding>,
) -> Result<User> {
    if app.config.registration == Registration::Closed {
        return Err(Code::RegistrationClosed.into());
    }
    limit::registration(app, from.as_deref()).await?;
    create(app, email, password, profile, Maker::Themself, client).await
}

/// Who makes a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The user: what they say of their address is not verified.
    Themself,
    /// An operator, who vouches for the address.
    Operator {
        /// Whether the user may do what superusers may.
        superuser: bool,
    },
}

/// Makes a user, whoever asks for it. Who does so for themself gets a mail to verify their address.
///
/// # Errors
///
/// [`Code::RegisterInvalidPassword`], [`Code::RegisterUserAlreadyExists`], [`Code::ServiceBusy`].
pub async fn create(
    app: &App,
    email: Email,
    password: Password,
    profile: Profile,
    maker: Maker,
    client: Option<Binding>,
) -> Result<User> {
    let words = words_of(email.as_str(), &profile);
    let refusal = Code::RegisterInvalidPassword;
    let hash = hash_new(app, password, words, refusal).await?;
    let user = User {
        id: UserId(crate::random::id()),
        email: email.as_str().to_owned(),
        is_active: true,
        is_superuser: maker == Maker::Operator { superuser: true },
        is_verified: maker != Maker::Themself,
        profile,
        granted: User::default_scopes(),
    };
    let mail = (maker == Maker::Themself).then_some(client.as_ref());
    let (transaction, known) = match written(app, user.clone(), hash.clone(), mail).await {
        Err(error) if error.code() == Code::RegisterUserAlreadyExists => {
            // As long as for somebody new: the same is written of nobody, and taken back.
            let (id, email) = (UserId(crate::random::id()), format!("{}@nobody.invalid", user.id));
            let nobody = User { id, email, ..user };
            written(app, nobody, hash, mail).await?.0.rollback().await?;
            let actor = match maker {
                Maker::Themself => Actor::anybody(),
                Maker::Operator { .. } => Actor::of(&"operator"),
            };
            audit::record_alone(app, Entry::new(Act::RegisterRefused, actor)).await?;
            return Err(error);
        }
        written => written?,
    };
    let actor = match maker {
        Maker::Themself => Actor::user(known.user.id),
        Maker::Operator { .. } => Actor::of(&"operator"),
    };
    if known.user.is_superuser {
        let added = [(known.user.id, known.user.email.clone())];
        notice::superusers_added(app, &transaction, &added, notice::OPERATOR).await?;
    }
    let entry = Entry::new(Act::Register, actor).on_user(known.user.id);
    audit::record(&transaction, entry.with("superuser", known.user.is_superuser)).await?;
    transaction.commit().await?;
    app.jobs.wake();
    Ok(known.user)
}

/// A transaction in which a user was made, with the mail that they get, if `mail` says with which client they asked.
async fn written(
    app: &App,
    user: User,
    hash: PasswordHash,
    mail: Option<Option<&Binding>>,
) -> Result<(DatabaseTransaction, Credentials)> {
    let transaction = app.database.begin().await?;
    let user = user::create(&transaction, user, hash.clone()).await?;
    let known = Credentials { user, hash };
    // Only a mail that is written counts: whoever tries an address that is taken uses up nothing of its owner's.
    let (reason, to) = (Reason::Registration, &known.user.email);
    if let Some(client) = mail
        && app.mailer.sends()
        && limit::mail::may_write(app, &transaction, reason, to).await?
    {
        confirmation::send(app, &transaction, &known, Purpose::Verify, client).await?;
    }
    Ok((transaction, known))
}

/// The hash of a password somebody chose, if the rules let it through. `words` are those of its owner,
/// which anybody would try first.
///
/// # Errors
///
/// `refusal` with the rule that is broken; [`Code::ServiceBusy`].
pub async fn hash_new(
    app: &App,
    password: Password,
    words: Vec<String>,
    refusal: Code,
) -> Result<PasswordHash> {
    let config = &app.config;
    let fewest = usize::from(config.password_min_length);
    let length = password.characters();
    if length > MAX_PASSWORD_LENGTH {
        let sentence = format!("Password should be at most {MAX_PASSWORD_LENGTH} characters");
        let phrase = Phrase::with_number("password-too-long", sentence, MAX_PASSWORD_LENGTH);
        return Err(Error::with_phrases(refusal, vec![phrase]));
    }
    if length < fewest {
        if !config.dev || length == 0 {
            let fewest = if config.dev { 1 } else { fewest };
            let sentence = format!("Password should be at least {fewest} characters");
            let phrase = Phrase::with_number("password-too-short", sentence, fewest);
            return Err(Error::with_phrases(refusal, vec![phrase]));
        }
        tracing::warn!(
            password.characters = length,
            "a password is shorter than {fewest} characters: good enough for development only"
        );
    }
    let filter =
        app.breach_filter().map_err(|fault| Error::because(Code::InternalServerError, fault))?;
    if filter.is_some_and(|filter| filter.contains(&password)) {
        if !config.dev {
            let reason = "Password was found in a list of stolen ones. Choose one that you use nowhere else.";
            return Err(Error::with_phrases(refusal, vec![Phrase::new("password-stolen", reason)]));
        }
        tracing::warn!("a password is in BREACH_FILTER: good enough for development only");
    }
    let place = app.hasher.reserve()?;
    let least = if config.dev { 0 } else { config.password_min_score };
    let hashed = app.hasher.hash_new(place, password, words, least).await?;
    hashed.map_err(|phrases| Error::with_phrases(refusal, phrases))
}

/// Whether passwords can be held against a hash, in a time that can be borne.
pub fn is_readable(hash: &PasswordHash) -> bool {
    let text = hash.expose();
    if text.len() > LONGEST_HASH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    match hash.cost() {
        Some(cost) => cost <= MOST_COST && password::is_well_formed(hash),
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
