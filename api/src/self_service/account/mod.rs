//! Accounts: the changes that users make to themselves, and their effect on sessions.

pub(crate) mod download;
mod email;
pub(crate) mod export;
pub(crate) mod http;
pub(crate) mod pages;
pub(crate) mod ways;

use std::net::IpAddr;

pub(crate) use crate::access::removal::remove;
pub use email::{cancel, cancel_links};
pub use export::{Export, State};

use entity::{PrincipalId, SessionId, UserId};

use crate::access::caller::UserCaller;
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::change::Change;
use crate::base::clock;
use crate::base::error::{Code, Result};
use crate::identity::factor::password_check::Account;
use crate::identity::factor::{self, Password};
use crate::identity::user::{
    self, Changes, Email, Language, PasswordHash, SoughtEmail, User, Website, pending,
    previous_email,
};
use crate::identity::verification::{self, Binding, Purpose};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::mail::{self, Facts, Letter, Template};
use crate::platform::rate_limit;
use crate::platform::rate_limit::mail::{Event, MailReason};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// Changes that a user makes to their own account. `None` keeps a value.
#[derive(Debug, Default)]
pub struct ProfileUpdate {
    /// A new address, which is not verified, or the present one.
    pub email: Option<SoughtEmail>,
    /// A new password.
    pub password: Option<Password>,
    /// A new name, or its removal.
    pub name: Change<String>,
    /// A new surname, or its removal.
    pub surname: Change<String>,
    /// A new web page, or its removal.
    pub website: Change<Website>,
    /// A new language, or its removal.
    pub language: Change<Language>,
}

/// Changes the caller's account. A new address or password requires a fresh access token. A new address is not
/// verified. With `REQUIRE_VERIFICATION` it is returned beside the user, and takes effect when it is confirmed. A new
/// password ends every other session and revokes every access token.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`], [`Code::UpdateUserEmailAlreadyExists`], [`Code::UpdateUserInvalidPassword`],
/// [`Code::ServiceBusy`]; [`Code::TooManyAttempts`] for an account that acts too often, and for an account or an IP
/// address that tries many e-mail addresses.
pub async fn change(
    app: &App,
    caller: &UserCaller,
    update: ProfileUpdate,
    device: Device,
    client: Option<Binding>,
) -> Result<(User, Option<Email>)> {
    let ProfileUpdate { email, password, name, surname, website, language } = update;
    let id = caller.user_id();
    if email.is_some() || password.is_some() {
        caller.require_fresh(app)?;
    }
    let email = other_address(app, id, email, Code::Unauthorized).await?;
    if email.is_some() && app.config.require_verification {
        email::require_mail(app)?;
    }
    count_change(app, id, email.as_ref(), password.is_some(), device.ip).await?;
    let hash = match password {
        Some(password) => Some(hash_of(app, id, email.as_ref(), password).await?),
        None => None,
    };

    let mut work = UnitOfWork::begin(app).await?;
    let locked = caller.lock(app, &work).await?;
    let email = email.filter(|email| !email.is(&locked.email));
    let waits = app.config.require_verification;
    let (email, new) = if waits { (None, email) } else { (email, None) };
    let changes = Changes { email, hash, name, surname, website, language, ..Changes::default() };
    let kept = caller.session();
    let context = ChangeContext { own: true, kept, ip: device.ip, client };
    let mut acts = acts(&locked, &changes, &Actor::user(id));
    let has_new_password = changes.hash.is_some();
    let user = apply(app, &mut work, locked, changes, context).await?;
    if has_new_password {
        caller.caller().move_on(&work).await?;
    }
    if let Some(new) = &new {
        email::ask(app, &work, caller, new).await?;
        acts.push(Entry::own(Act::EmailChangeAsk, id));
    }
    work.record_all(acts);
    work.commit().await?;
    Ok((user, new))
}

/// Counts a change before it is made.
///
/// # Errors
///
/// [`Code::TooManyAttempts`].
async fn count_change(
    app: &App,
    id: UserId,
    email: Option<&Email>,
    has_password: bool,
    ip: Option<IpAddr>,
) -> Result<()> {
    if has_password {
        rate_limit::password(app, id)?;
    } else {
        rate_limit::act(app, PrincipalId::User(id), false)?;
    }
    if email.is_some() {
        rate_limit::new_address(app, id, ip).await?;
    }
    Ok(())
}

/// Returns the new address of a user. The address that they have is not new in another spelling: it stays verified and
/// as it is stored, because only that spelling was proved.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] if no account can get it today; `missing` if there is no such user.
pub(crate) async fn other_address(
    app: &App,
    id: UserId,
    email: Option<SoughtEmail>,
    missing: Code,
) -> Result<Option<Email>> {
    let Some(email) = email else { return Ok(None) };
    let known = user::by_id(&app.database, id).await?.ok_or(missing)?.user.email;
    if email.is(&known) { Ok(None) } else { email.for_account().map(Some) }
}

/// The audit entries for changes of a user.
pub(crate) fn acts(locked: &User, changes: &Changes, actor: &Actor) -> Vec<Entry> {
    let entry = |act| Entry::new(act, actor.clone()).on_user(locked.id);
    let mut acts = Vec::new();
    if changes.hash.is_some() {
        acts.push(entry(Act::PasswordChange));
    }
    if changes.email.is_some() {
        acts.push(entry(Act::EmailChange));
    }
    let flags = [
        ("is_active", changes.is_active, locked.is_active),
        ("is_superuser", changes.is_superuser, locked.is_superuser),
        ("is_verified", changes.is_verified, locked.is_verified),
    ];
    let flags = flags.into_iter().filter_map(|(name, to, from)| Some((name, to?, from)));
    let mut flags = flags.filter(|(_, to, from)| to != from).peekable();
    if flags.peek().is_some() {
        acts.push(flags.fold(entry(Act::FlagsChange), |entry, (name, to, _)| entry.with(name, to)));
    }
    if let Some(granted) = changes.granted.as_ref().filter(|granted| **granted != locked.granted) {
        let (from, to) = (locked.granted.to_string(), granted.to_string());
        acts.push(entry(Act::ScopesChange).with("from", from).with("to", to));
    }
    acts
}

/// Hashes a user's new password.
pub(crate) async fn hash_of(
    app: &App,
    id: UserId,
    email: Option<&Email>,
    password: Password,
) -> Result<PasswordHash> {
    let known = user::by_id(&app.database, id).await?;
    let mut words: Vec<_> = email.iter().map(|email| email.as_str().to_owned()).collect();
    if let Some(known) = known {
        words.extend(factor::words_of(&known.user.email, &known.user.profile));
    }
    let refusal = Code::UpdateUserInvalidPassword;
    factor::hash_new(app, Account::User(id), password, words, refusal).await
}

/// The circumstances of a change.
#[derive(Debug)]
pub(crate) struct ChangeContext {
    /// `true` if the user makes the change.
    pub(crate) own: bool,
    /// The session that does not end.
    pub(crate) kept: Option<SessionId>,
    /// The address that the request came from.
    pub(crate) ip: Option<IpAddr>,
    /// The client that the code of a mail is bound to.
    pub(crate) client: Option<Binding>,
}

/// Changes a locked user. A new password or a deactivation ends all sessions except `kept` and revokes all access
/// tokens. The loss of a scope revokes all access tokens, but ends no session. A new address must be verified, and the
/// previous one gets a mail.
pub(crate) async fn apply(
    app: &App,
    work: &mut UnitOfWork<'_>,
    locked: User,
    changes: Changes,
    context: ChangeContext,
) -> Result<User> {
    let ChangeContext { own, kept, ip, client } = context;
    if changes.is_empty() {
        return Ok(locked);
    }
    let reason = match (&changes.hash, changes.is_active) {
        (_, Some(false)) if locked.is_active => Some((Reason::Deactivated, None)),
        (Some(_), _) => Some((Reason::PasswordChange, kept)),
        _ => None,
    };
    let former = locked.clone();
    let (moves, has_new_password) = (changes.email.is_some(), changes.hash.is_some());
    let user = user::change(&**work, locked, changes).await?;
    if moves || has_new_password {
        // Somebody else may have asked for the pending address.
        pending::forget(&**work, user.id).await?;
    }
    if moves {
        let mail = AddressMail { former: &former, own, client: client.as_ref() };
        mail_new_address(app, work, &user, mail).await?;
    }
    if has_new_password
        && app.mail.sends()
        && rate_limit::mail::may_tell(app, work, user.id, Event::PasswordChanged).await?
    {
        mail::put(app, &**work, user.id, &password_changed(&former)).await?;
    }
    match reason {
        Some((reason, kept)) => {
            let now = clock::now();
            session::end_all(app, work, user.id, kept, &reason, ip, now).await?;
        }
        // Services that verify tokens themselves rely on the scopes in an access token.
        None if former.scopes().beyond(&user.scopes()).is_some() => {
            session::revoke_access(app, work, user.id, &Reason::ScopesLost).await?;
        }
        None => {}
    }
    work.forget_user(user.id);
    work.wake_jobs();
    Ok(user)
}

/// The parts of a change of address that its mails need.
struct AddressMail<'a> {
    /// The user before the change.
    former: &'a User,
    /// `true` if the user made the change.
    own: bool,
    /// The client that the code of the mail is bound to.
    client: Option<&'a Binding>,
}

/// Sends the mails to the previous and the new address.
async fn mail_new_address(
    app: &App,
    work: &UnitOfWork<'_>,
    user: &User,
    mail: AddressMail<'_>,
) -> Result<()> {
    let AddressMail { former, own, client } = mail;
    // The holder of the previous address cannot undo a change by a superuser.
    verification::send_to_former(app, &**work, former, own).await?;
    if !user.is_verified
        && app.mail.sends()
        && (!own
            || rate_limit::mail::may_write(app, work, MailReason::NewAddress, &user.email).await?)
        && let Some(known) = user::by_id_in(&**work, user.id).await?
    {
        verification::send(app, &**work, &known, Purpose::Verify, client).await?;
    }
    Ok(())
}

fn password_changed(user: &User) -> Letter {
    Letter::telling(user.recipient(), Template::PasswordChanged, "/forgot-password", Facts::new())
}

/// Deletes the caller's account with its sessions and API tokens. Requires a fresh access token.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`]; [`Code::LastSuperuser`]; [`Code::EmailChangePending`] while a verified previous
/// address may take the account back.
pub async fn delete(app: &App, caller: &UserCaller, device: Device) -> Result<()> {
    caller.require_fresh(app)?;
    let id = caller.user_id();
    let mut work = UnitOfWork::begin(app).await?;
    if previous_email::is_verified(&*work, id).await? {
        // Somebody who has taken over the account would delete the links with which its owner can take it back.
        return Err(Code::EmailChangePending.into());
    }
    let before = user::by_id_in(&*work, id).await?.ok_or(Code::Unauthorized)?.user;
    if before.is_superuser {
        user::require_another_superuser(&*work, id).await?;
    }
    let locked = caller.lock(app, &work).await?;
    if locked.is_superuser && !before.is_superuser {
        // They became a superuser in the meantime.
        user::require_another_superuser(&*work, id).await?;
    }
    remove(app, &mut work, locked, device.ip).await?;
    work.record(Entry::own(Act::UserDelete, id));
    work.commit().await
}

/// Begins an export of everything that is stored about the caller. Requires a fresh access token.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`]; [`Code::TooManyAttempts`] if an export of the account runs already, or after a few
/// exports in an hour; [`Code::ServiceBusy`] while too many others run.
pub async fn export(app: &App, caller: &UserCaller) -> Result<Export> {
    caller.require_fresh(app)?;
    let id = caller.user_id();
    let ready = export::ready(app, Some(PrincipalId::User(id)))?;
    rate_limit::export(app, id).await?;
    let mut work = UnitOfWork::begin(app).await?;
    let locked = caller.lock(app, &work).await?;
    work.record(Entry::own(Act::UserExport, id));
    work.commit().await?;
    Export::begin(app, ready, locked, caller.session()).await
}
