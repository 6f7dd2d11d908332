//! Invited people: they make the account that a superuser prepared for them, with the link of a mail.
//!
//! The link proves the address. Opening it changes nothing. The form on its page sets the password and the name, and
//! makes the account.
//!
//! Somebody else may have registered the address in the meantime, or before. If nobody has proved both the address and
//! the password of that account, the invited person takes it over: everything that others hold ends. Otherwise the
//! account belongs to somebody who reads the mail of the address, and the invitation has no effect.

pub(crate) mod http;
pub(crate) mod pages;

use std::net::IpAddr;

use entity::{PrincipalId, UserId};
use sea_orm::ConnectionTrait;

use crate::access::session::Device;
use crate::app::App;
use crate::base::change::Change;
use crate::base::error::{Code, Error, Result};
use crate::base::random;
use crate::identity::alert;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{self, Authentication, Password};
use crate::identity::invitation::{self, Invitation};
use crate::identity::service;
use crate::identity::user::{self, Changes, Credentials, PasswordHash, Profile, User, claim};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit;
use crate::platform::unit_of_work::UnitOfWork;
use crate::self_service::account::{self, ChangeContext};
use crate::self_service::recovery::{self, Ends};

/// An invitation whose link was opened.
#[derive(Debug)]
pub struct Opened {
    /// The invitation.
    pub invitation: Invitation,
    /// The account with this address that nobody has claimed, if there is one.
    pub unclaimed: Option<UserId>,
}

/// The name that an invited person gives themselves. `None` keeps the one of the invitation.
#[derive(Debug, Default)]
pub struct ChosenName {
    /// The name, or its removal.
    pub name: Change<String>,
    /// The surname, or its removal.
    pub surname: Change<String>,
}

/// Returns the invitation of a link, without changing it.
///
/// # Errors
///
/// [`Code::InvitationBadToken`]; [`Code::RegisterUserAlreadyExists`] if the address has an account by now.
pub async fn opened(app: &App, token: &str) -> Result<Opened> {
    opened_in(app, app.database.reader(), token).await
}

async fn opened_in(app: &App, connection: &impl ConnectionTrait, token: &str) -> Result<Opened> {
    let bad = || Error::from(Code::InvitationBadToken);
    let invitation = invitation::find(connection, token).await?.ok_or_else(bad)?;
    if !invitation::stands(app, connection, &invitation).await? {
        return Err(bad());
    }
    let known = user::by_email_in(connection, &invitation.email).await?;
    let unclaimed = match known {
        None => None,
        Some(known) if known.user.is_active && !claim::is_made(connection, &known.user).await? => {
            Some(known.user.id)
        }
        Some(_) => return Err(Code::RegisterUserAlreadyExists.into()),
    };
    Ok(Opened { invitation, unclaimed })
}

/// Makes the account of an invited person. Returns the user, and the proof with which they sign in.
///
/// # Errors
///
/// [`Code::InvitationBadToken`]; [`Code::RegisterUserAlreadyExists`] if the address has an account by now;
/// [`Code::RegisterInvalidPassword`], after which the token is still valid; [`Code::ServiceBusy`].
pub async fn accept(
    app: &App,
    token: &str,
    password: Password,
    chosen: ChosenName,
    device: Device,
) -> Result<(User, Authentication)> {
    // Checked before the password is hashed, so that callers without a token cause no work.
    let before = opened(app, token).await?;
    let profile = named(before.invitation.profile.clone(), chosen);
    let email = before.invitation.email.clone();
    let (account, words) = (Account::Address(&email), factor::words_of(&email, &profile));
    let refusal = Code::RegisterInvalidPassword;
    let hash = factor::hash_new(app, account, password.clone(), words, refusal).await?;

    let mut work = UnitOfWork::begin(app).await?;
    let people = [before.invitation.inviter, before.unclaimed].into_iter().flatten();
    service::lock(&*work, people.map(PrincipalId::User)).await?;
    // Read again with the locks. Meanwhile the invitation can have been withdrawn, and the account claimed.
    let Opened { invitation, unclaimed } = opened_in(app, &*work, token).await?;
    if unclaimed != before.unclaimed || invitation.inviter != before.invitation.inviter {
        return Err(Code::ServiceBusy.into());
    }
    if !invitation::spend(&*work, token).await? {
        return Err(Code::InvitationBadToken.into());
    }
    let user = match unclaimed {
        None => create(&work, &invitation, profile, hash.clone()).await?,
        Some(id) => {
            let known = user::by_id_in(&*work, id).await?.ok_or(Code::ServiceBusy)?;
            let hash = hash.clone();
            take_over(app, &mut work, known, &invitation, profile, hash, device.ip).await?
        }
    };
    if user.is_superuser {
        let added = [(user.id, user.email.clone())];
        alert::superusers_added(app, &work, &added, &inviter(app, &invitation).await?).await?;
    }
    let entry = Entry::new(Act::InviteAccept, Actor::user(user.id)).on_user(user.id);
    let entry = entry.with("invitation", invitation.id.to_string());
    work.record(entry.with("by", invitation.invited_by).with("takes_over", unclaimed.is_some()));
    work.wake_jobs();
    work.commit().await?;
    rate_limit::proved(app, &user.email, device.ip).await?;
    let authentication = password_check::of_chosen(user.id, password, hash);
    Ok((user, authentication))
}

fn named(profile: Profile, chosen: ChosenName) -> Profile {
    let (name, surname) = (profile.name, profile.surname);
    let (name, surname) = (chosen.name.apply(name), chosen.surname.apply(surname));
    Profile { name, surname, ..profile }
}

/// Describes the inviter in the notice to superusers.
async fn inviter(app: &App, invitation: &Invitation) -> Result<String> {
    let Some(id) = invitation.inviter else { return Ok(alert::OPERATOR.to_owned()) };
    let known = user::by_id(&app.database, id).await?.map(|known| known.user.email);
    Ok(known.unwrap_or_else(|| invitation.invited_by.clone()))
}

/// Makes the account of an invited person. The link proved the address.
async fn create(
    work: &UnitOfWork<'_>,
    invitation: &Invitation,
    profile: Profile,
    hash: PasswordHash,
) -> Result<User> {
    let user = User {
        id: UserId(random::id()),
        email: invitation.email.clone(),
        is_active: true,
        is_superuser: invitation.is_superuser,
        is_verified: true,
        profile,
        granted: invitation.granted.clone(),
    };
    user::create(&**work, user, hash).await
}

/// Gives an account that nobody has claimed to the invited person. Ends everything that others hold: sessions, access
/// tokens, API tokens, and mails that were sent.
async fn take_over(
    app: &App,
    work: &mut UnitOfWork<'_>,
    known: Credentials,
    invitation: &Invitation,
    profile: Profile,
    hash: PasswordHash,
    ip: Option<IpAddr>,
) -> Result<User> {
    let locked = known.user;
    recovery::end_for_new_password(work, &locked, Ends::ApiTokensToo).await?;
    let granted = locked.granted.iter().chain(invitation.granted.iter()).cloned().collect();
    let Profile { name, surname, website, language } = profile;
    let changes = Changes {
        hash: Some(hash),
        name: name.into(),
        surname: surname.into(),
        website: website.into(),
        language: language.into(),
        is_verified: Some(true),
        is_superuser: invitation.is_superuser.then_some(true),
        granted: Some(granted),
        ..Changes::default()
    };
    let context = ChangeContext { own: true, kept: None, ip, client: None };
    account::apply(app, work, locked, changes, context).await
}
