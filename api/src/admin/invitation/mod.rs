//! Invitations that superusers send.

pub(crate) mod http;

use std::collections::BTreeMap;

use entity::{InvitationId, PrincipalId, UserId};
use sea_orm::DatabaseTransaction;

use crate::access::caller::{Caller, Requires, Superuser};
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Code, Error, Result};
use crate::base::listing::Page;
use crate::base::scope::{Scope, Scopes};
use crate::identity::invitation::{self, Invitation, Inviter, Prepared};
use crate::identity::service::Principal;
use crate::identity::user::{self, claim};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit::mail::{self as mail_limit, MailReason};
use crate::platform::unit_of_work::UnitOfWork;

/// The state of an invitation that was not accepted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The link works.
    Pending,
    /// The link has expired.
    Expired,
    /// The link has no effect, because its inviter is no superuser any more.
    InviterLeft,
    /// The link has no effect, because the address has an account.
    HasAccount,
}

impl State {
    /// Returns its name on the wire, which is also the name of its texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Expired => "expired",
            Self::InviterLeft => "inviter-left",
            Self::HasAccount => "has-account",
        }
    }
}

/// An invitation in a list.
#[derive(Debug)]
pub struct Listed {
    /// The invitation.
    pub invitation: Invitation,
    /// Its state.
    pub state: State,
    /// The address of the inviter, or the actor if it is not a user that exists.
    pub by: String,
}

/// Fails if a superuser gives a scope that only the flag gives.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] for the scope `super`.
pub(crate) fn require_grantable(scopes: &Scopes) -> Result<()> {
    if scopes.contains(Scope::SUPER) {
        return Err(Error::field("scopes", "The scope super comes only with is_superuser"));
    }
    Ok(())
}

/// Invites somebody by mail.
///
/// # Errors
///
/// [`Code::RegisterUserAlreadyExists`] if somebody who proved the address has an account;
/// [`Code::InvitationAlreadyExists`]; [`Code::UnprocessableContent`] if this server sends no mail;
/// [`Code::TooManyAttempts`] for an account that invites many, and for an address that gets many invitations;
/// [`Code::FreshProofRequired`].
pub async fn invite(app: &App, superuser: &Superuser, prepared: Prepared) -> Result<Listed> {
    require_grantable(&prepared.granted)?;
    count(app, superuser).await?;
    let (email, inviter) = (prepared.email.clone(), inviter(superuser));
    let is_superuser = prepared.is_superuser;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    require_mailable(app, &work, email.as_str()).await?;
    let made = invitation::create(app, &*work, prepared, &inviter).await?;
    let entry = entry(Act::Invite, superuser, made.id).with("superuser", is_superuser);
    work.record(entry.with("scopes", made.granted.to_string()));
    work.wake_jobs();
    work.commit().await?;
    tracing::info!(by = %superuser, invitation.id = %made.id, "a superuser invited somebody");
    Ok(listed(made, &inviter))
}

/// Sends an invitation again, with a new link that works for a week. The caller becomes its inviter.
///
/// # Errors
///
/// [`Code::NotFound`]; otherwise as [`invite`].
pub async fn resend(app: &App, superuser: &Superuser, id: &str) -> Result<Listed> {
    let id = parsed(id)?;
    count(app, superuser).await?;
    let inviter = inviter(superuser);
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    let found = invitation::by_id(&*work, id).await?.ok_or(Code::NotFound)?;
    require_mailable(app, &work, &found.email).await?;
    let sent = invitation::send_again(app, &*work, id, &inviter).await?.ok_or(Code::NotFound)?;
    work.record(entry(Act::InviteAgain, superuser, id));
    work.wake_jobs();
    work.commit().await?;
    Ok(listed(sent, &inviter))
}

/// Withdraws an invitation. Its link has no effect any more.
///
/// # Errors
///
/// [`Code::NotFound`], [`Code::FreshProofRequired`], [`Code::TooManyAttempts`].
pub async fn withdraw(app: &App, superuser: &Superuser, id: &str) -> Result<()> {
    let id = parsed(id)?;
    superuser.require_fresh_claims(app)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    if !invitation::withdraw(&*work, id).await? {
        return Err(Code::NotFound.into());
    }
    work.record(entry(Act::InviteWithdraw, superuser, id));
    work.commit().await
}

/// A page of the invitations that were not accepted, ordered by address.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, after: Option<&str>, limit: u64) -> Result<Page<Listed>> {
    let page = invitation::list(app, after, limit).await?;
    let inviters: Vec<UserId> = page.items.iter().filter_map(|item| item.inviter).collect();
    let emails: BTreeMap<_, _> = user::emails(&app.database, inviters).await?.into_iter().collect();
    let more = page.more;
    let mut items = Vec::new();
    for invitation in page.items {
        let state = state_of(app, &invitation).await?;
        let email = invitation.inviter.and_then(|inviter| emails.get(&inviter).cloned());
        let by = email.unwrap_or_else(|| invitation.invited_by.clone());
        items.push(Listed { invitation, state, by });
    }
    Ok(Page { items, more })
}

async fn state_of(app: &App, invitation: &Invitation) -> Result<State> {
    let reader = app.database.reader();
    if invitation.expires <= clock::now() {
        return Ok(State::Expired);
    }
    if !invitation::stands(app, reader, invitation).await? {
        return Ok(State::InviterLeft);
    }
    match user::by_email_in(reader, &invitation.email).await? {
        Some(known) if !known.user.is_active || claim::is_made(reader, &known.user).await? => {
            Ok(State::HasAccount)
        }
        _ => Ok(State::Pending),
    }
}

/// Counts an invitation before it is sent, and fails if no mail can be sent.
async fn count(app: &App, superuser: &Superuser) -> Result<()> {
    if !app.mail.sends() {
        let sentence = "This server sends no mail (MAIL_URL is not set), so nobody can be invited. Create the \
                        user with a password";
        return Err(Error::field("password", sentence));
    }
    superuser.require_fresh_claims(app)?;
    superuser.count_act(app)?;
    match superuser.id() {
        Some(own) => mail_limit::invitation(app, own).await,
        None => Ok(()),
    }
}

/// Fails if an address has an account of somebody who proved it, or got many invitations. An account that nobody has
/// claimed is no obstacle: somebody else may have registered the address. Accepting the invitation takes it over.
async fn require_mailable(app: &App, transaction: &DatabaseTransaction, email: &str) -> Result<()> {
    if let Some(known) = user::by_email_in(transaction, email).await?
        && (!known.user.is_active || claim::is_made(transaction, &known.user).await?)
    {
        return Err(Code::RegisterUserAlreadyExists.into());
    }
    mail_limit::require_write(app, transaction, MailReason::Invitation, email).await
}

fn parsed(id: &str) -> Result<InvitationId> {
    id.parse().map_err(|_| Code::NotFound.into())
}

fn entry(act: Act, superuser: &Superuser, id: InvitationId) -> Entry {
    Entry::new(act, Actor::of(superuser)).on("invitation", id)
}

fn inviter(superuser: &Superuser) -> Inviter {
    let caller: &Caller = superuser;
    let user = match caller.id() {
        Some(PrincipalId::User(id)) => Some(id),
        _ => None,
    };
    let email = match caller.principal() {
        Some(Principal::User(user)) => Some(user.email.clone()),
        _ => None,
    };
    Inviter { user, email, actor: caller.to_string() }
}

/// An invitation that was just sent. Its link works.
fn listed(invitation: Invitation, inviter: &Inviter) -> Listed {
    let by = inviter.email.clone().unwrap_or_else(|| inviter.actor.clone());
    Listed { invitation, state: State::Pending, by }
}
