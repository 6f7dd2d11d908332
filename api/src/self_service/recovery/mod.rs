//! Recovery: what users do with a mail that they got. They verify an address, choose a new password, or take back an
//! account whose address somebody changed.
//!
//! A request for a mail is stored as one row, the same for every address. Whether the account exists is looked up
//! later. So neither the answer nor its time reveals it.

pub(crate) mod http;
pub(crate) mod jobs;
pub(crate) mod pages;

use std::net::IpAddr;

use entity::{PrincipalId, SessionId, UserId};
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};

use crate::access::api_token::{self, Selection};
use crate::access::grant::client as grant;
use crate::access::session::browser::SignedIn;
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::random;
use crate::federation::federated_identity;
use crate::identity::alert;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{self, Authentication, Password};
use crate::identity::user::{
    self, Changes, Credentials, Email, SoughtEmail, User, claim, pending, previous_email,
};
use crate::identity::verification::{self, Binding, Proof, Purpose, VerificationToken};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::job::{self, Kind};
use crate::platform::rate_limit::{self, mail::MailReason};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;
use crate::self_service::account::{self, ChangeContext};

/// The time after a request in which a mail is still sent, in seconds.
const ANSWERED_WITHIN: u64 = 3600;

/// A request for a mail.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RequestedMail {
    email: String,
    purpose: Purpose,
    #[serde(rename = "from")]
    ip: Option<IpAddr>,
    /// The actor who asked. An older release did not store it.
    #[serde(default = "Actor::anybody")]
    by: Actor,
    /// The client that the code of the mail is bound to.
    #[serde(default)]
    client: Option<Binding>,
}

/// Requests a mail to the user with this address, if there is one that it is for.
///
/// # Errors
///
/// [`Code::MailNotSetUp`] for every address, if no mail is sent; [`Code::TooManyAttempts`] for an IP address that asks
/// too often, whether there is such a user or not.
pub async fn ask(
    app: &App,
    purpose: Purpose,
    email: SoughtEmail,
    by: Actor,
    ip: Option<IpAddr>,
    client: Option<Binding>,
) -> Result<()> {
    require_mail(app)?;
    rate_limit::mail::asked(app, purpose.into(), email.as_str(), ip).await?;
    let asked = RequestedMail { email: email.as_str().to_owned(), purpose, ip, by, client };
    let work = UnitOfWork::begin(app).await?;
    job::put_sometime(app, &*work, Kind::Request, &asked, ANSWERED_WITHIN).await?;
    work.commit().await?;
    Ok(())
}

/// Fails if no mail is sent. This does not depend on the address, so it reveals nothing about accounts.
///
/// # Errors
///
/// [`Code::MailNotSetUp`].
pub(crate) fn require_mail(app: &App) -> Result<()> {
    if app.mail.sends() { Ok(()) } else { Err(Code::MailNotSetUp.into()) }
}

/// Sends a requested mail, if there is an account that it is for, and it did not get many of its kind recently.
pub(crate) async fn answer(app: &App, mail: &RequestedMail) -> Result<()> {
    let RequestedMail { email, purpose, ip, by, client } = mail;
    let Some(known) = user::by_email(&app.database, email).await? else { return Ok(()) };
    let mut work = UnitOfWork::begin(app).await?;
    let Some(locked) = user::lock(&*work, known.user.id).await? else { return Ok(()) };
    let nothing_to_verify = *purpose == Purpose::Verify && locked.user.is_verified;
    let moved = locked.user.email != known.user.email;
    if !locked.user.is_active || nothing_to_verify || moved {
        return Ok(());
    }
    // Requests of strangers do not prevent a mail that a superuser asked for.
    let to = &locked.user.email;
    let by_anybody = *by == Actor::anybody();
    let reason = MailReason::from(*purpose);
    if by_anybody && !rate_limit::mail::may_answer(app, &work, reason, to, *ip).await? {
        return Ok(());
    }
    verification::send(app, &*work, &locked, *purpose, client.as_ref()).await?;
    if *purpose == Purpose::ResetPassword {
        let entry = Entry::new(Act::PasswordResetMail, by.clone());
        work.record(entry.on_user(locked.user.id));
    }
    work.wake_jobs();
    work.commit().await?;
    Ok(())
}

/// The evidence that a caller gives besides the token or code of the mail.
#[derive(Debug)]
pub enum Evidence<'a> {
    /// None. The caller who confirms may be another person than the one who knows the account's password.
    Nothing,
    /// The account's password.
    Password(Password),
    /// A browser that is signed in.
    Browser(&'a SignedIn),
}

/// Verifies an address. If the user asked for a new address, it takes effect.
///
/// Without evidence that the reader of the mail has the account's password, the account stays unclaimed. Then the next
/// password that a mail sets ends everything that was made before, including API tokens.
///
/// # Errors
///
/// [`Code::VerifyUserBadToken`]; [`Code::VerifyUserAlreadyVerified`] for a token that was used already;
/// [`Code::TooManyAttempts`] for codes and passwords; [`Code::LoginBadCredentials`] for a wrong password;
/// [`Code::FreshTokenRequired`] for a browser of another account; [`Code::UpdateUserEmailAlreadyExists`] if another
/// user has the new address by now; [`Code::ServiceBusy`].
pub async fn verify(
    app: &App,
    proof: Proof,
    evidence: Evidence<'_>,
    ip: Option<IpAddr>,
) -> Result<User> {
    let purpose = Purpose::Verify;
    let bad = || Error::from(Code::VerifyUserBadToken);
    let found = match (found(app, purpose, &proof, ip, bad).await, &proof) {
        (Err(error), Proof::Token(token)) if error.code() == Code::VerifyUserBadToken => {
            return take_new_email(app, token, evidence, ip).await;
        }
        (found, _) => found?,
    };
    let is_claim = !matches!(evidence, Evidence::Nothing);
    let (authentication, session) = weigh(app, &found, evidence, ip).await?;
    let mut work = UnitOfWork::begin(app).await?;
    let locked = lock(&work, &found, purpose).await?.ok_or_else(bad)?;
    if locked.user.is_verified {
        return Err(Code::VerifyUserAlreadyVerified.into());
    }
    if authentication.is_some_and(|authentication| !authentication.holds_for(&locked)) {
        // The password was changed, or its hash was renewed, in the meantime.
        return Err(Code::ServiceBusy.into());
    }
    if let Some(session) = session
        && !session::is_live(&work, session, locked.user.id).await?
    {
        return Err(Code::FreshTokenRequired.into());
    }
    if !verification::spend(&*work, &found).await? {
        return Err(bad());
    }
    let changes = Changes { is_verified: Some(true), ..Changes::default() };
    let user = user::change(&*work, locked.user, changes).await?;
    if is_claim {
        claim::make(&*work, &user).await?;
    } else {
        claim::leave_open(&*work, &user).await?;
    }
    let entry = Entry::new(Act::EmailVerify, Actor::anybody()).on_user(user.id);
    work.record(entry.with("claimed", is_claim));
    work.forget_user(user.id);
    work.commit().await?;
    rate_limit::forgive_codes(app, purpose.name(), user.id, ip).await?;
    Ok(user)
}

/// Checks the evidence: the account's password, or the session of a browser that is signed in to the account.
async fn weigh(
    app: &App,
    found: &VerificationToken,
    evidence: Evidence<'_>,
    ip: Option<IpAddr>,
) -> Result<(Option<Authentication>, Option<SessionId>)> {
    match evidence {
        Evidence::Nothing => Ok((None, None)),
        Evidence::Password(password) => {
            // A link that has no effect must not let anybody try passwords.
            require_unverified(app, found).await?;
            let account = Account::User(found.user());
            Ok((Some(password_check::prove(app, account, password, ip).await?), None))
        }
        Evidence::Browser(signed_in) if signed_in.user.id == found.user() => {
            Ok((None, Some(signed_in.session)))
        }
        Evidence::Browser(_) => {
            require_unverified(app, found).await?;
            Err(Code::FreshTokenRequired.into())
        }
    }
}

/// Makes the new address of a user take effect, for the reader of its mail.
async fn take_new_email(
    app: &App,
    token: &str,
    evidence: Evidence<'_>,
    ip: Option<IpAddr>,
) -> Result<User> {
    let bad = || Error::from(Code::VerifyUserBadToken);
    let found = verification::find_new(app.database.reader(), token).await?.ok_or_else(bad)?;
    let is_claim = !matches!(evidence, Evidence::Nothing);
    let authentication = match evidence {
        Evidence::Nothing => None,
        Evidence::Password(password) => {
            let account = Account::User(found.user);
            Some(password_check::prove(app, account, password, ip).await?)
        }
        Evidence::Browser(signed_in) if signed_in.user.id == found.user => None,
        Evidence::Browser(_) => return Err(Code::FreshTokenRequired.into()),
    };
    let mut work = UnitOfWork::begin(app).await?;
    let locked = user::lock(&*work, found.user).await?.ok_or_else(bad)?;
    if authentication.is_some_and(|authentication| !authentication.holds_for(&locked)) {
        return Err(Code::ServiceBusy.into());
    }
    // If the session was ended by somebody, its request for a new address is not valid any more.
    let stands = locked.user.is_active && session::stands(&work, found.session).await?;
    if !stands || !verification::spend_new(&*work, &found, token, &locked).await? {
        return Err(bad());
    }
    let email = Email::of_row(found.email);
    let changes = Changes { email: Some(email), is_verified: Some(true), ..Changes::default() };
    let context = ChangeContext { own: true, kept: None, ip, client: None };
    let user = account::apply(app, &mut work, locked.user, changes, context).await?;
    if is_claim {
        claim::make(&*work, &user).await?;
    } else {
        claim::leave_open(&*work, &user).await?;
    }
    let entry = |act| Entry::new(act, Actor::anybody()).on_user(user.id);
    let verified = entry(Act::EmailVerify).with("claimed", is_claim);
    work.record_all(vec![entry(Act::EmailChange), verified]);
    work.commit().await?;
    Ok(user)
}

/// Fails for a confirmation that has nothing to verify any more.
async fn require_unverified(app: &App, found: &VerificationToken) -> Result<()> {
    let known = user::by_id(&app.database, found.user()).await?;
    let known = known.filter(|known| known.user.is_active && found.fits(Purpose::Verify, known));
    let known = known.ok_or(Code::VerifyUserBadToken)?;
    if known.user.is_verified {
        return Err(Code::VerifyUserAlreadyVerified.into());
    }
    if found.is_used() { Err(Code::VerifyUserBadToken.into()) } else { Ok(()) }
}

/// The account that a link is for.
#[derive(Debug)]
pub struct Addressee {
    /// The user.
    pub user: UserId,
    /// Their address.
    pub email: String,
    /// The number of their API tokens.
    pub api_tokens: u64,
    /// `true` if a new password ends everything that was made before, including API tokens: nobody has proved the
    /// address and the password together yet.
    pub ends_everything: bool,
    /// `true` if the address is a new one that they asked for.
    pub is_new: bool,
}

/// Returns the account that a link is for, without changing it.
///
/// # Errors
///
/// [`Code::ResetPasswordBadToken`] or [`Code::VerifyUserBadToken`], depending on the purpose;
/// [`Code::VerifyUserAlreadyVerified`].
pub async fn addressee(app: &App, purpose: Purpose, token: &str) -> Result<Addressee> {
    let bad = || Error::from(bad_token(purpose));
    let reader = app.database.reader();
    let Some(found) = verification::find(reader, purpose, token).await? else {
        let new = verification::find_new(reader, token).await?;
        let new = new.filter(|_| purpose == Purpose::Verify).ok_or_else(bad)?;
        return Ok(Addressee {
            user: new.user,
            email: new.email,
            api_tokens: 0,
            ends_everything: false,
            is_new: true,
        });
    };
    let known = user::by_id(&app.database, found.user()).await?.ok_or_else(bad)?;
    if !known.user.is_active || !found.fits(purpose, &known) {
        return Err(bad());
    }
    if purpose == Purpose::Verify && known.user.is_verified {
        return Err(Code::VerifyUserAlreadyVerified.into());
    }
    if found.is_used() {
        return Err(bad());
    }
    Ok(Addressee {
        user: known.user.id,
        api_tokens: api_token::count_of(reader, PrincipalId::User(known.user.id)).await?,
        ends_everything: !claim::is_made(reader, &known.user).await?,
        email: known.user.email,
        is_new: false,
    })
}

/// The error for a bad token or code, depending on the purpose.
fn bad_token(purpose: Purpose) -> Code {
    match purpose {
        Purpose::Verify => Code::VerifyUserBadToken,
        Purpose::ResetPassword => Code::ResetPasswordBadToken,
    }
}

/// The things that a new password ends besides sessions and access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Nothing else, if the account is claimed.
    SessionsOnly,
    /// The API tokens.
    ApiTokensToo,
}

/// Sets a new password, and ends every session and access token of the user. It does not verify the address. If the
/// account is unclaimed, its API tokens and all tokens and codes of mails end too, because somebody else may have
/// registered the address.
///
/// # Errors
///
/// [`Code::ResetPasswordBadToken`]; [`Code::ResetPasswordInvalidPassword`], after which the token is still valid;
/// [`Code::TooManyAttempts`] for codes; [`Code::ServiceBusy`].
pub async fn reset_password(
    app: &App,
    proof: Proof,
    password: Password,
    ends: Ends,
    device: Device,
) -> Result<()> {
    set_password(app, Purpose::ResetPassword, proof, password, ends, device).await
}

/// Takes over an unverified account for the reader of its mail, with the token of the verification e-mail. It sets a
/// password like [`reset_password`], and verifies the address.
///
/// # Errors
///
/// [`Code::VerifyUserBadToken`], [`Code::VerifyUserAlreadyVerified`]; [`Code::ResetPasswordInvalidPassword`], after
/// which the token is still valid; [`Code::ServiceBusy`].
pub async fn take_over(app: &App, token: String, password: Password, device: Device) -> Result<()> {
    let proof = Proof::Token(token);
    set_password(app, Purpose::Verify, proof, password, Ends::ApiTokensToo, device).await
}

async fn set_password(
    app: &App,
    purpose: Purpose,
    proof: Proof,
    password: Password,
    ends: Ends,
    device: Device,
) -> Result<()> {
    let bad = || Error::from(bad_token(purpose));
    let found = found(app, purpose, &proof, device.ip, bad).await?;
    // Checked before the password is hashed, so that callers without a token cause no work.
    if purpose == Purpose::Verify {
        require_unverified(app, &found).await?;
    }
    let known = user::by_id(&app.database, found.user()).await?.ok_or_else(bad)?;
    if found.is_used() || !known.user.is_active || !found.fits(purpose, &known) {
        return Err(bad());
    }
    let words = factor::words_of(&known.user.email, &known.user.profile);
    let refusal = Code::ResetPasswordInvalidPassword;
    let account = Account::User(known.user.id);
    let hash = factor::hash_new(app, account, password, words, refusal).await?;

    let mut work = UnitOfWork::begin(app).await?;
    let locked = lock(&work, &found, purpose).await?.ok_or_else(bad)?;
    if purpose == Purpose::Verify && locked.user.is_verified {
        return Err(Code::VerifyUserAlreadyVerified.into());
    }
    if !verification::spend(&*work, &found).await? {
        return Err(bad());
    }
    let ip = device.ip;
    let id = locked.user.id;
    let ends_tokens = end_for_new_password(&mut work, &locked.user, ends).await?;
    // As in FastAPI Users, a mail for a new password does not verify the address. A front end asks for that separately.
    let is_verified = (purpose == Purpose::Verify).then_some(true);
    let changes = Changes { hash: Some(hash), is_verified, ..Changes::default() };
    let context = ChangeContext { own: true, kept: None, ip, client: None };
    let user = account::apply(app, &mut work, locked.user, changes, context).await?;
    alert::superuser_password_set(app, &work, &user, None).await?;
    work.record_all(acts_of_reset(id, purpose, ends_tokens));
    work.commit().await?;
    rate_limit::forgive_codes(app, purpose.name(), known.user.id, ip).await?;
    // The new password is known, so earlier failures with the old one do not count any more.
    rate_limit::proved(app, &known.user.email, ip).await
}

/// Ends everything besides sessions that must not outlive a new password set by mail. Returns true if that includes API
/// tokens.
pub(crate) async fn end_for_new_password(
    work: &mut UnitOfWork<'_>,
    locked: &User,
    ends: Ends,
) -> Result<bool> {
    // The user has proved the present address, so a previous address that was never verified cannot take the account
    // back.
    previous_email::forget_unverified(&**work, locked.id).await?;
    verification::end_unused(&**work, locked.id).await?;
    pending::forget(&**work, locked.id).await?;
    let is_claimed = claim::is_made(&**work, locked).await?;
    let ends_tokens = !is_claimed || ends == Ends::ApiTokensToo;
    if ends_tokens {
        api_token::delete_of(work, locked.id).await?;
        // Neither may an application know the account because somebody else permitted that.
        grant::forget_consents(work, locked.id).await?;
    }
    if !is_claimed {
        // The person who made the account may have an identity that still signs in to it.
        federated_identity::remove_since(work, locked.id, Timestamp::from_millis(0)).await?;
    } else if ends == Ends::ApiTokensToo {
        // Somebody with the old password may have linked an identity of theirs.
        let since = clock::now().minus_seconds(previous_email::RECLAIM_WINDOW);
        federated_identity::remove_since(work, locked.id, since).await?;
    }
    claim::make(&**work, locked).await?;
    Ok(ends_tokens)
}

/// The audit entries for a new password that a mail set.
fn acts_of_reset(user: UserId, purpose: Purpose, ends_tokens: bool) -> Vec<Entry> {
    let entry = |act| Entry::new(act, Actor::anybody()).on_user(user);
    let verifies = purpose == Purpose::Verify;
    let verified = verifies.then(|| entry(Act::EmailVerify).with("claimed", true));
    let reset = entry(Act::PasswordReset).with("api_tokens", ends_tokens);
    verified.into_iter().chain([reset]).collect()
}

/// Restores the previous address of an account, and ends everything with which somebody else may act for it: sessions,
/// access tokens, API tokens, mails that were sent, and the password. A mail follows to choose a new one.
///
/// A previous address that was never verified cannot take the account from a verified one.
///
/// # Errors
///
/// [`Code::RestoreEmailBadToken`].
pub async fn restore_email(
    app: &App,
    token: &str,
    device: Device,
    client: Option<Binding>,
) -> Result<User> {
    let bad = || Error::from(Code::RestoreEmailBadToken);
    let mut work = UnitOfWork::begin(app).await?;
    let found = verification::find_former(&*work, token).await?.ok_or_else(bad)?;
    let locked = user::lock(&*work, found.user).await?.ok_or_else(bad)?;
    // Checked again, because somebody else may have used it while this waited for the lock.
    let found = verification::find_former(&*work, token).await?.ok_or_else(bad)?;
    if !locked.user.is_active || locked.user.is_verified && !found.verified {
        return Err(bad());
    }
    let email = Email::of_row(found.email.clone());
    previous_email::forget_since(&*work, &found).await?;
    // The reader of the mail has proved that the address is theirs.
    let hash = app.factor.no_password();
    let changes = Changes {
        email: Some(email),
        hash: Some(hash.clone()),
        is_verified: Some(true),
        ..Changes::default()
    };
    let taken = |error: Error| match error.code() {
        Code::UpdateUserEmailAlreadyExists => bad(),
        _ => error,
    };
    let user = user::change(&*work, locked.user, changes).await.map_err(taken)?;
    // Somebody who changes the address may link an identity just before.
    let since = found.replaced.minus_seconds(previous_email::RECLAIM_WINDOW);
    forget_made_since(&mut work, user.id, since).await?;
    let now = clock::now();
    let reason = Reason::EmailRestored;
    session::end_all(app, &mut work, user.id, None, &reason, device.ip, now).await?;
    let known = Credentials { user, hash };
    verification::send(app, &*work, &known, Purpose::ResetPassword, client.as_ref()).await?;
    alert::superuser_password_set(app, &work, &known.user, None).await?;
    let entry = Entry::new(Act::EmailRestore, Actor::anybody()).on_user(known.user.id);
    let mailed = Entry::new(Act::PasswordResetMail, Actor::anybody()).on_user(known.user.id);
    work.record_all([entry, mailed]);
    work.forget_user(known.user.id);
    work.wake_jobs();
    work.commit().await?;
    Ok(known.user)
}

/// Ends what somebody else may have made in an account, besides sessions: its API tokens, consents, requests for another
/// address, and the identities that were linked since a time.
async fn forget_made_since(
    work: &mut UnitOfWork<'_>,
    user: UserId,
    since: Timestamp,
) -> Result<()> {
    let tokens = Selection::Owner(PrincipalId::User(user));
    api_token::delete(work, &tokens, &Actor::anybody()).await?;
    federated_identity::remove_since(work, user, since).await?;
    pending::forget(&**work, user).await?;
    grant::forget_consents(work, user).await
}

/// Finds the confirmation for a token or a code. Codes are counted before they are checked.
async fn found(
    app: &App,
    purpose: Purpose,
    proof: &Proof,
    ip: Option<IpAddr>,
    bad: impl Fn() -> Error,
) -> Result<VerificationToken> {
    let found = match proof {
        Proof::Token(token) => verification::find(app.database.reader(), purpose, token).await?,
        Proof::Code { email, code, binding } => {
            found_by_code(app, purpose, email, code, binding.as_ref(), ip).await?
        }
    };
    found.ok_or_else(bad)
}

/// Finds the confirmation for a code that a client tries.
///
/// It does the same work for an address without an account, and for a client that has no code of the account. What was
/// written for them is rolled back, except the counter of the IP address. An account for which too many codes were
/// tried gets the same answer as a wrong code, because another answer would reveal that it exists.
async fn found_by_code(
    app: &App,
    purpose: Purpose,
    email: &str,
    code: &str,
    client: Option<&Binding>,
    ip: Option<IpAddr>,
) -> Result<Option<VerificationToken>> {
    let user = user::by_email(&app.database, email).await?.map(|known| known.user.id);
    let work = UnitOfWork::begin(app).await?;
    rate_limit::code_from(app, &work, ip).await?;
    let mut trial = work.begin_part().await?;
    let tried = verification::attempt(app, &*trial, purpose, user, client, code).await?;
    let counted = user.filter(|_| tried.is_bound).unwrap_or(UserId(random::id()));
    let is_allowed = rate_limit::code_of(app, &trial, purpose.name(), counted, email, ip).await?;
    let right = tried.right.filter(|_| is_allowed);
    if right.is_none() {
        let entry = Entry::new(Act::CodeRefused, Actor::anybody());
        trial.record(entry.with("purpose", purpose.name()));
    }
    trial.end(tried.is_bound && right.is_none()).await?;
    work.commit().await?;
    Ok(right)
}

/// Locks the user of a confirmation. Returns `None` if it does not fit the user any more.
async fn lock(
    transaction: &DatabaseTransaction,
    found: &VerificationToken,
    purpose: Purpose,
) -> Result<Option<Credentials>> {
    let locked = user::lock(transaction, found.user()).await?;
    Ok(locked.filter(|locked| locked.user.is_active && found.fits(purpose, locked)))
}
