//! Linking by hand, and unlinking.

use std::net::IpAddr;

use entity::federated_identity::Model;
use entity::{FederatedIdentityId, PrincipalId, UserId};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{settle, store};
use crate::access::api_token::{self, Selection};
use crate::access::caller::UserCaller;
use crate::access::grant::client as grant;
use crate::access::session;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Result};
use crate::base::scope::Scopes;
use crate::federation::upstream::claims::Said;
use crate::federation::upstream::{self, Refusal, Upstream, Why, sealed};
use crate::identity::alert;
use crate::identity::user::{self, Changes, Credentials, User, pending};
use crate::identity::verification::{self, Purpose};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::mail::Recipient;
use crate::platform::rate_limit;
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// An audit entry about an identity.
pub(super) fn entry(act: Act, user: UserId, upstream: &str) -> Entry {
    Entry::own(act, user).with("upstream", upstream)
}

/// Tells the owner of an account by mail that an identity was linked or unlinked.
pub(super) async fn tell(
    app: &App,
    work: &UnitOfWork<'_>,
    (user, recipient): (UserId, Recipient),
    upstream: &Upstream,
    said: &Said,
    identity: FederatedIdentityId,
) -> Result<()> {
    let there = said.email.as_deref().unwrap_or(&said.subject);
    let link = TakeBack { identity: identity.0, user: user.0, at: clock::now().millis() };
    let token = sealed::seal(app, "take-back", &link).ok_or(Code::InternalServerError)?;
    let path = Some((format!("/account/unlink?token={token}"), TAKE_BACK));
    alert::identity_changed(app, work, (user, recipient), (upstream.label(), there), path).await
}

/// The time in which the owner of an account takes back a link that they did not make, in seconds: 72 hours.
const TAKE_BACK: u64 = 72 * 3600;

/// The content of the link in the mail about a new identity, sealed. It works until the identity is gone.
#[derive(Serialize, Deserialize)]
struct TakeBack {
    identity: Uuid,
    user: Uuid,
    at: i64,
}

/// The identity that a link takes back.
pub(crate) struct TakenBack {
    user: UserId,
    identity: Model,
    /// The name of the provider that people read.
    pub(crate) label: String,
}

/// Returns what the link of a mail takes back, without changing anything. `None` if it does not work any more.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn taken_back(
    app: &App,
    connection: &impl ConnectionTrait,
    token: &str,
) -> Result<Option<TakenBack>> {
    let Some(link) = sealed::open::<TakeBack>(app, "take-back", token) else { return Ok(None) };
    if clock::now() > Timestamp::from_millis(link.at).plus_seconds(TAKE_BACK) {
        return Ok(None);
    }
    let user = UserId(link.user);
    let all = store::of_user(connection, user).await?;
    let found = all.into_iter().find(|row| row.id == FederatedIdentityId(link.identity));
    Ok(found.map(|identity| {
        let known = upstream::find(app, &identity.upstream);
        let label =
            known.map_or_else(|| identity.upstream.clone(), |known| known.label().to_owned());
        TakenBack { user, identity, label }
    }))
}

/// Takes back a link that the owner of an account did not make: removes the identity, ends all sessions, and sends a mail
/// with which the owner sets a new password. The person who linked it knew the password, so that one and the API tokens
/// end too.
///
/// # Errors
///
/// [`Code::NotFound`] if the link does not work any more; if the database does not answer.
pub(crate) async fn take_back(app: &App, token: &str, ip: Option<IpAddr>) -> Result<()> {
    let mut work = UnitOfWork::begin(app).await?;
    let found = taken_back(app, &*work, token).await?.ok_or(Code::NotFound)?;
    let locked = user::lock(&*work, found.user).await?.ok_or(Code::NotFound)?;
    // Somebody else may have used the link while this waited for the lock.
    let found = taken_back(app, &*work, token).await?.ok_or(Code::NotFound)?;
    let id = locked.user.id;
    remove(app, &mut work, locked.user, found.identity).await?;
    api_token::delete(&mut work, &Selection::Owner(PrincipalId::User(id)), &Actor::anybody())
        .await?;
    verification::end_unused(&*work, id).await?;
    pending::forget(&*work, id).await?;
    grant::forget_consents(&mut work, id).await?;
    if let Some(known) = user::by_id_in(&*work, id).await? {
        let changes = Changes { hash: Some(app.factor.no_password()), ..Changes::default() };
        user::change(&*work, known.user, changes).await?;
    }
    let by_mail = |act| Entry::new(act, Actor::anybody()).on_user(id);
    work.record(by_mail(Act::PasswordReset).with("removed", true));
    session::end_all(app, &mut work, id, None, &Reason::Unlinked, ip, clock::now()).await?;
    if let Some(known) = user::by_id_in(&*work, id).await? {
        verification::send(app, &*work, &known, Purpose::ResetPassword, None).await?;
        work.record(by_mail(Act::PasswordResetMail));
    }
    work.wake_jobs();
    work.commit().await
}

/// Links an identity to the caller's account. The outcome is `Err` with a refusal if it must not be.
///
/// # Errors
///
/// [`Code::Unauthorized`]; [`Code::FreshTokenRequired`]; if the database does not answer.
pub(crate) async fn link(
    app: &App,
    caller: &UserCaller,
    upstream: &Upstream,
    said: &Said,
    ip: Option<IpAddr>,
) -> Result<Result<(), Refusal>> {
    rate_limit::act(app, PrincipalId::User(caller.user_id()), false)?;
    let mut work = UnitOfWork::begin(app).await?;
    let locked = caller.lock(app, &work).await?;
    require_fresh(app, caller, &work).await?;
    if app.mail.sends() && !locked.is_verified {
        let remedy = "Somebody who registers with the address of another person must not keep a way in. The person \
                      confirms the address first.";
        return Ok(Err(Refusal::new("person.not_verified", Why::NotVerified, remedy)));
    }
    if let Some(row) = store::by_subject(&*work, &said.upstream, &said.subject).await? {
        return Ok(taken(&row, &locked, said));
    }
    let others = store::of_user(&*work, locked.id).await?;
    if others.iter().any(|row| row.upstream == said.upstream) {
        let remedy =
            "An account has one identity at each provider. The person unlinks the other one first.";
        return Ok(Err(Refusal::new("person.has_another", Why::HasAnother, remedy)));
    }
    let (id, recipient) = (locked.id, locked.recipient());
    let words = settle::bring(app, &mut work, locked, said, &Scopes::default()).await?;
    let Some(identity) = settle::insert(&work, said, id, &words).await? else {
        return Ok(Err(elsewhere()));
    };
    let kept = caller.session();
    session::end_all(app, &mut work, id, kept, &Reason::Linked, ip, clock::now()).await?;
    tell(app, &work, (id, recipient), upstream, said, identity).await?;
    work.record(entry(Act::IdentityLink, id, upstream.name()));
    work.forget_user(id);
    work.wake_jobs();
    work.commit().await?;
    Ok(Ok(()))
}

fn taken(row: &Model, user: &User, said: &Said) -> Result<(), Refusal> {
    match settle::other_issuer(row, said) {
        Some(refusal) => Err(refusal),
        None if row.user_id == user.id => Ok(()),
        None => Err(elsewhere()),
    }
}

fn elsewhere() -> Refusal {
    let remedy = "The identity is linked to another account. Its owner unlinks it there first.";
    Refusal::new("person.linked_elsewhere", Why::LinkedElsewhere, remedy)
}

/// Fails unless the caller proved a short time ago who they are, according to the table.
async fn require_fresh(app: &App, caller: &UserCaller, work: &UnitOfWork<'_>) -> Result<()> {
    if caller.is_browser() {
        let session = caller.session().ok_or(Code::FreshTokenRequired)?;
        return match session::browser::is_fresh(app, work, session).await? {
            true => Ok(()),
            false => Err(Code::FreshTokenRequired.into()),
        };
    }
    caller.require_fresh(app)
}

/// Unlinks an identity from the caller's account, and ends the sessions that it proved.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`]; [`Code::NotFound`]; [`Code::LoginWithProvider`] if the provider is exclusive;
/// [`Code::LastWayIn`] if nobody could sign in any more.
pub async fn unlink(app: &App, caller: &UserCaller, id: &str) -> Result<()> {
    caller.require_fresh(app)?;
    rate_limit::act(app, PrincipalId::User(caller.user_id()), false)?;
    let id: FederatedIdentityId = id.parse().map_err(|_| Code::NotFound)?;
    let mut work = UnitOfWork::begin(app).await?;
    let locked = caller.lock(app, &work).await?;
    let all = store::of_user(&*work, locked.id).await?;
    let row = all.iter().find(|row| row.id == id).ok_or(Code::NotFound)?.clone();
    let known = user::by_id_in(&*work, locked.id).await?.ok_or(Code::Unauthorized)?;
    // A user of an exclusive provider must not replace it by a password that the provider cannot take away.
    if !locked.is_superuser && app.config.federation.exclusive().contains(&row.upstream) {
        return Err(Code::LoginWithProvider.into());
    }
    if !has_another_way(app, &known, &all, id) {
        return Err(Code::LastWayIn.into());
    }
    remove(app, &mut work, locked, row).await?;
    work.wake_jobs();
    work.commit().await
}

/// Returns true if the user can sign in without an identity: with a password, or with another provider of the settings.
fn has_another_way(
    app: &App,
    known: &Credentials,
    all: &[Model],
    without: FederatedIdentityId,
) -> bool {
    let others = all.iter().filter(|row| row.id != without);
    !known.hash.is_none()
        || others.into_iter().any(|row| upstream::find(app, &row.upstream).is_some())
}

/// Removes an identity of a locked user with its words and the sessions that it proved.
async fn remove(app: &App, work: &mut UnitOfWork<'_>, locked: User, row: Model) -> Result<()> {
    let (id, recipient) = (locked.id, locked.recipient());
    session::end_proven_by(app, work, &[row.id], None, &Reason::Unlinked).await?;
    grant::end_proven_by(work, id, row.id, &Reason::Unlinked, clock::now()).await?;
    store::delete(&**work, row.id, id).await?;
    let given = Scopes::parse(&row.words);
    let granted: Scopes =
        locked.granted.iter().filter(|word| !given.contains(word.as_str())).cloned().collect();
    if granted != locked.granted {
        let changes = Changes { granted: Some(granted), ..Changes::default() };
        user::change(&**work, locked, changes).await?;
        session::revoke_access(app, work, id, &Reason::ScopesLost).await?;
    }
    let label = upstream::find(app, &row.upstream);
    let label = label.as_ref().map_or(row.upstream.as_str(), |upstream| upstream.label());
    let there = row.email.as_deref().unwrap_or(&row.subject);
    alert::identity_changed(app, work, (id, recipient), (label, there), None).await?;
    work.record(entry(Act::IdentityUnlink, id, &row.upstream));
    work.forget_user(id);
    Ok(())
}

/// Removes the identities of a user that were linked at a time or later, without a notice: the account goes back to its
/// owner. With the epoch, these are all of them.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn remove_since(
    work: &mut UnitOfWork<'_>,
    user: UserId,
    since: Timestamp,
) -> Result<()> {
    for row in store::of_user(&**work, user).await? {
        if row.created_at >= since.millis() {
            store::delete(&**work, row.id, user).await?;
            work.record(entry(Act::IdentityUnlink, user, &row.upstream));
        }
    }
    Ok(())
}
