//! Recovery: what people do by a mail they got. They show that an address is theirs, choose another
//! password, and take back an account whose address somebody changed.
//!
//! Asking for a mail is one row, the same for anybody: whether there is such a user is found out
//! afterwards, so that neither the answer nor its time tells.

pub(crate) mod http;
pub(crate) mod jobs;
pub(crate) mod pages;

use std::net::IpAddr;

use entity::{PrincipalId, SessionId, UserId};
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};

use crate::access::api_token;
use crate::access::session::browser::SignedIn;
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::error::{Code, Error, Result};
use crate::base::random;
use crate::identity::alert;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{self, Authentication, Password};
use crate::identity::user::{
    self, Changes, Credentials, Email, User, claim, pending, previous_email,
};
use crate::identity::verification::{self, Binding, Confirmation, Proof, Purpose};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::job::{self, Kind};
use crate::platform::rate_limit::{self, mail::MailReason};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;
use crate::self_service::account::{self, ChangeContext};

/// How long after it was asked for a mail is of use, in seconds.
const ANSWERED_WITHIN: u64 = 3600;

/// A mail that somebody asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RequestedMail {
    email: String,
    purpose: Purpose,
    #[serde(rename = "from")]
    ip: Option<IpAddr>,
    /// Who asked; a release before this one did not say.
    #[serde(default = "Actor::anybody")]
    by: Actor,
    /// What binds the mail's code to the client that asked.
    #[serde(default)]
    client: Option<Binding>,
}

/// Has a mail sent to a user with this address, if there is one it is for.
///
/// # Errors
///
/// [`Code::TooManyAttempts`], whether there is such a user or not, for a place that asks too often.
pub async fn ask(
    app: &App,
    purpose: Purpose,
    email: Email,
    by: Actor,
    ip: Option<IpAddr>,
    client: Option<Binding>,
) -> Result<()> {
    rate_limit::mail::asked(app, purpose.into(), email.as_str(), ip).await?;
    if !app.mail.sends() {
        return Ok(());
    }
    let asked = RequestedMail { email: email.as_str().to_owned(), purpose, ip, by, client };
    let work = UnitOfWork::begin(app).await?;
    job::put_sometime(app, &*work, Kind::Request, &asked, ANSWERED_WITHIN).await?;
    work.commit().await?;
    Ok(())
}

/// Sends the mail, if there is somebody it is for, and they did not get many of its kind lately.
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
    // A superuser is not kept from it by what strangers asked for.
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

/// What those who confirm an address show beside the mail's token or code.
#[derive(Debug)]
pub enum Evidence<'a> {
    /// Nothing. Those who know the account's password may be others than those who confirm.
    Nothing,
    /// The account's password.
    Password(Password),
    /// A browser that is signed in.
    Browser(&'a SignedIn),
}

/// Verifies an address; of a user who asked for a new one, that takes over.
///
/// Without evidence that those who read the mail have the account's password, the account stays unclaimed: the next
/// password that a mail sets ends everything that was made before it, API tokens too.
///
/// # Errors
///
/// [`Code::VerifyUserBadToken`]; [`Code::VerifyUserAlreadyVerified`] for a token that did it before;
/// [`Code::TooManyAttempts`] for codes and passwords; [`Code::LoginBadCredentials`] for a wrong password;
/// [`Code::FreshTokenRequired`] for a browser of another account; [`Code::UpdateUserEmailAlreadyExists`] for a new
/// address that somebody else has by now; [`Code::ServiceBusy`].
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
        // The password was changed, or hashed anew, meanwhile.
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

/// What the evidence proves: the account's password, or the session of a browser that is signed in to it.
async fn weigh(
    app: &App,
    found: &Confirmation,
    evidence: Evidence<'_>,
    ip: Option<IpAddr>,
) -> Result<(Option<Authentication>, Option<SessionId>)> {
    match evidence {
        Evidence::Nothing => Ok((None, None)),
        Evidence::Password(password) => {
            // A link that does nothing must not let anybody try passwords.
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

/// Gives a user the new address that they asked for, for those who read its mail.
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
    // Those who were thrown out since do not have it changed.
    let stands = locked.user.is_active && session::stands(&work, found.session).await?;
    if !stands || !verification::spend_new(&*work, &found, token, &locked).await? {
        return Err(bad());
    }
    let email: Email = found.email.parse().map_err(|_| bad())?;
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
async fn require_unverified(app: &App, found: &Confirmation) -> Result<()> {
    let known = user::by_id(&app.database, found.user()).await?;
    let known = known.filter(|known| known.user.is_active && found.fits(Purpose::Verify, known));
    let known = known.ok_or(Code::VerifyUserBadToken)?;
    if known.user.is_verified {
        return Err(Code::VerifyUserAlreadyVerified.into());
    }
    if found.is_used() { Err(Code::VerifyUserBadToken.into()) } else { Ok(()) }
}

/// An account that a link is for.
#[derive(Debug)]
pub struct Addressee {
    /// The user.
    pub user: UserId,
    /// Their address.
    pub email: String,
    /// The number of their API tokens.
    pub api_tokens: u64,
    /// Whether a new password ends everything that was made before it, API tokens too, whatever is asked for:
    /// nobody has shown yet that those who have the password read the mail.
    pub ends_everything: bool,
    /// Whether the address is a new one that they asked for.
    pub is_new: bool,
}

/// The account that a link is for, which stays as it is.
///
/// # Errors
///
/// [`Code::ResetPasswordBadToken`] or [`Code::VerifyUserBadToken`], by the purpose;
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

/// The refusal of what a mail brought, for its purpose.
fn bad_token(purpose: Purpose) -> Code {
    match purpose {
        Purpose::Verify => Code::VerifyUserBadToken,
        Purpose::ResetPassword => Code::ResetPasswordBadToken,
    }
}

/// What a new password ends besides sessions and access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Nothing, if the account is claimed.
    SessionsOnly,
    /// API tokens.
    ApiTokensToo,
}

/// Gives a user another password, and ends every session and every access token of theirs. It verifies no address.
/// If nobody had shown that those who have the password read the mail, API tokens and everything that mails
/// brought end as well: somebody else may have registered the address.
///
/// # Errors
///
/// [`Code::ResetPasswordBadToken`]; [`Code::ResetPasswordInvalidPassword`], and the token stays good;
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

/// Takes an account over for those who read its mail, with the token that was mailed to verify its address: as
/// [`reset_password`], as long as the address is not verified, and verifies it.
///
/// # Errors
///
/// [`Code::VerifyUserBadToken`], [`Code::VerifyUserAlreadyVerified`]; [`Code::ResetPasswordInvalidPassword`], and
/// the token stays good; [`Code::ServiceBusy`].
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
    // Asked before the password is hashed: those who have no token make nobody work.
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
    // A mail for a new password verifies no address, as in FastAPI Users: a front end asks for that apart.
    let is_verified = (purpose == Purpose::Verify).then_some(true);
    let changes = Changes { hash: Some(hash), is_verified, ..Changes::default() };
    let context = ChangeContext { own: true, kept: None, ip, client: None };
    let user = account::apply(app, &mut work, locked.user, changes, context).await?;
    alert::superuser_password_set(app, &work, &user, None).await?;
    work.record_all(acts_of_reset(id, purpose, ends_tokens));
    work.commit().await?;
    rate_limit::forgive_codes(app, purpose.name(), known.user.id, ip).await?;
    // Those who mistyped the old password often enough to wait have no reason to any more.
    rate_limit::proved(app, &known.user.email, ip).await
}

/// Ends what must not outlive a new password that a mail sets, beside sessions; says whether API tokens are among it.
async fn end_for_new_password(
    work: &mut UnitOfWork<'_>,
    locked: &User,
    ends: Ends,
) -> Result<bool> {
    // The address was shown to be theirs: what was never shown takes nothing from it.
    previous_email::forget_unverified(&**work, locked.id).await?;
    verification::end_unused(&**work, locked.id).await?;
    pending::forget(&**work, locked.id).await?;
    let is_claimed = claim::is_made(&**work, locked).await?;
    let ends_tokens = !is_claimed || ends == Ends::ApiTokensToo;
    if ends_tokens {
        api_token::delete_of(work, locked.id).await?;
    }
    claim::make(&**work, locked).await?;
    Ok(ends_tokens)
}

/// The audit's entries of a new password that a mail set.
fn acts_of_reset(user: UserId, purpose: Purpose, ends_tokens: bool) -> Vec<Entry> {
    let entry = |act| Entry::new(act, Actor::anybody()).on_user(user);
    let verifies = purpose == Purpose::Verify;
    let verified = verifies.then(|| entry(Act::EmailVerify).with("claimed", true));
    let reset = entry(Act::PasswordReset).with("api_tokens", ends_tokens);
    verified.into_iter().chain([reset]).collect()
}

/// Gives an account the address again that it had before, and ends everything by which somebody else may
/// act for it: sessions, access tokens, API tokens, mails on their way, and the password, which they know. A
/// mail with which to choose another follows.
///
/// An address that was never shown to be anybody's does not take the account from one that was.
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
    // Again: somebody else may have used it while this waited.
    let found = verification::find_former(&*work, token).await?.ok_or_else(bad)?;
    if !locked.user.is_active || locked.user.is_verified && !found.verified {
        return Err(bad());
    }
    let email = found.email.parse().map_err(|_| bad())?;
    previous_email::forget_since(&*work, &found).await?;
    // Who reads its mail has shown that it is theirs.
    let changes = Changes {
        email: Some(email),
        hash: Some(app.factor.dummy_hash().clone()),
        is_verified: Some(true),
        ..Changes::default()
    };
    let taken = |error: Error| match error.code() {
        Code::UpdateUserEmailAlreadyExists => bad(),
        _ => error,
    };
    let user = user::change(&*work, locked.user, changes).await.map_err(taken)?;
    api_token::delete_of(&mut work, user.id).await?;
    pending::forget(&*work, user.id).await?;
    let now = crate::base::clock::now();
    let why = Reason::EmailRestored;
    session::end_all(app, &mut work, user.id, None, &why, device.ip, now).await?;
    let known = Credentials { user, hash: app.factor.dummy_hash().clone() };
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

/// What fits what was shown. Codes are counted before they are looked at.
async fn found(
    app: &App,
    purpose: Purpose,
    proof: &Proof,
    ip: Option<IpAddr>,
    bad: impl Fn() -> Error,
) -> Result<Confirmation> {
    let found = match proof {
        Proof::Token(token) => verification::find(app.database.reader(), purpose, token).await?,
        Proof::Code { email, code, binding } => {
            found_by_code(app, purpose, email, code, binding.as_ref(), ip).await?
        }
    };
    found.ok_or_else(bad)
}

/// What a code is for that a client tries.
///
/// The same is done, and takes as long, for an address that is nobody's, and for a client that has no code of this
/// one: what was written for it is taken back, so that nothing stays but the count of the place that it came from. An
/// account for which too many were tried is refused as a wrong code is: another answer would tell that it is there.
async fn found_by_code(
    app: &App,
    purpose: Purpose,
    email: &str,
    code: &str,
    client: Option<&Binding>,
    ip: Option<IpAddr>,
) -> Result<Option<Confirmation>> {
    let user = user::by_email(&app.database, email).await?.map(|known| known.user.id);
    let work = UnitOfWork::begin(app).await?;
    rate_limit::code_from(app, &work, ip).await?;
    let mut trial = work.begin_part().await?;
    let tried = verification::attempt(app, &*trial, purpose, user, client, code).await?;
    let whose = user.filter(|_| tried.is_bound).unwrap_or(UserId(random::id()));
    let may = rate_limit::code_of(app, &trial, purpose.name(), whose, email, ip).await?;
    let right = tried.right.filter(|_| may);
    if right.is_none() {
        let entry = Entry::new(Act::CodeRefused, Actor::anybody());
        trial.record(entry.with("purpose", purpose.name()));
    }
    trial.end(tried.is_bound && right.is_none()).await?;
    work.commit().await?;
    Ok(right)
}

/// The user a confirmation is for, if it still fits them.
async fn lock(
    transaction: &DatabaseTransaction,
    found: &Confirmation,
    purpose: Purpose,
) -> Result<Option<Credentials>> {
    let locked = user::lock(transaction, found.user()).await?;
    Ok(locked.filter(|locked| locked.user.is_active && found.fits(purpose, locked)))
}
