//! Registration: creating users.

pub(crate) mod http;
pub(crate) mod pages;

use std::net::IpAddr;

use entity::UserId;

use crate::app::App;
use crate::base::config::Registration;
use crate::base::error::{Code, Result};
use crate::base::random;
use crate::identity::alert;
use crate::identity::factor::password_check::Account;
use crate::identity::factor::{self, Password, hash_new, words_of};
use crate::identity::user::{self, Credentials, Email, PasswordHash, Profile, User};
use crate::identity::verification::{self, Binding, Purpose};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit::{self, mail::MailReason};
use crate::platform::unit_of_work::{self, UnitOfWork};

/// Creates the user who registers.
///
/// # Errors
///
/// [`Code::RegistrationClosed`], [`Code::RegistrationByInvitation`], [`Code::RegisterInvalidPassword`],
/// [`Code::RegisterUserAlreadyExists`], [`Code::TooManyAttempts`].
pub async fn register(
    app: &App,
    email: Email,
    password: Password,
    profile: Profile,
    ip: Option<IpAddr>,
    client: Option<Binding>,
) -> Result<User> {
    require_open(app)?;
    factor::require_room(app, Account::Address(email.as_str())).await?;
    rate_limit::registration(app, ip).await?;
    create(app, email, password, profile, Maker::Themself, client).await
}

/// Fails unless anybody can register.
///
/// # Errors
///
/// [`Code::RegistrationByInvitation`] or [`Code::RegistrationClosed`].
pub(crate) fn require_open(app: &App) -> Result<()> {
    match app.config.registration {
        Registration::Open => Ok(()),
        Registration::Invite => Err(Code::RegistrationByInvitation.into()),
        Registration::Closed => Err(Code::RegistrationClosed.into()),
    }
}

/// The party that creates a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The user. The address is not verified.
    Themself,
    /// An operator, who confirms the address.
    Operator {
        /// `true` if the user becomes a superuser.
        superuser: bool,
    },
}

/// Creates a user. Users who register themselves get a mail to verify their address.
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
    let (account, refusal) = (Account::Address(email.as_str()), Code::RegisterInvalidPassword);
    let hash = hash_new(app, account, password, words, refusal).await?;
    let user = User {
        id: UserId(random::id()),
        email: email.as_str().to_owned(),
        is_active: true,
        is_superuser: maker == Maker::Operator { superuser: true },
        is_verified: maker != Maker::Themself,
        profile,
        granted: User::default_scopes(),
    };
    let mail = (maker == Maker::Themself).then_some(client.as_ref());
    let (mut work, known) = match written(app, user.clone(), hash.clone(), mail).await {
        Err(error) if error.code() == Code::RegisterUserAlreadyExists => {
            // Takes as long as for a new address: a user with a random address is written and rolled back.
            let (id, email) = (UserId(random::id()), format!("{}@nobody.invalid", user.id));
            let nobody = User { id, email, ..user };
            written(app, nobody, hash, mail).await?.0.rollback().await?;
            let actor = match maker {
                Maker::Themself => Actor::anybody(),
                Maker::Operator { .. } => Actor::of(&"operator"),
            };
            unit_of_work::record(app, Entry::new(Act::RegisterRefused, actor)).await?;
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
        alert::superusers_added(app, &work, &added, alert::OPERATOR).await?;
    }
    let entry = Entry::new(Act::Register, actor).on_user(known.user.id);
    work.record(entry.with("superuser", known.user.is_superuser));
    work.wake_jobs();
    work.commit().await?;
    Ok(known.user)
}

/// Begins a unit of work and creates a user in it. If `mail` has the client that asked, it also sends the mail.
async fn written<'a>(
    app: &'a App,
    user: User,
    hash: PasswordHash,
    mail: Option<Option<&Binding>>,
) -> Result<(UnitOfWork<'a>, Credentials)> {
    let work = UnitOfWork::begin(app).await?;
    let user = user::create(&*work, user, hash.clone()).await?;
    let known = Credentials { user, hash };
    // Only mails that are written count. So attempts to register a taken address do not use up its owner's limit.
    let (reason, to) = (MailReason::Registration, &known.user.email);
    if let Some(client) = mail
        && app.mail.sends()
        && rate_limit::mail::may_write(app, &work, reason, to).await?
    {
        verification::send(app, &*work, &known, Purpose::Verify, client).await?;
    }
    Ok((work, known))
}
