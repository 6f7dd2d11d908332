//! Recovery: what people do by a mail they got. They show that an address is theirs, choose another
//! password, and take back an account whose address somebody changed.
//!
//! Asking for a mail is one row, the same for anybody: whether there is such a user is found out
//! afterwards, so that neither the answer nor its time tells.

pub(crate) mod http;
pub(crate) mod jobs;
pub(crate) mod pages;

use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};

use crate::account::{self, Way};
use crate::app::App;
use crate::audit::{self, Act, Actor, Entry};
use crate::confirmation::{self, Confirmation, Proof, Purpose};
use crate::error::{Code, Error, Result};
use crate::factor::{self, Password};
use crate::job::{self, Kind};
use crate::limit;
use crate::revocation::Why;
use crate::session::{self, Device};
use crate::token;
use crate::user::{self, Changes, Credentials, Email, User, former};

/// How long after it was asked for a mail is of use, in seconds.
const ANSWERED_WITHIN: u64 = 3600;

/// A mail that somebody asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    email: String,
    purpose: Purpose,
    from: Option<String>,
    /// Who asked; a release before this one did not say.
    #[serde(default = "Actor::anybody")]
    by: Actor,
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
    from: Option<&str>,
) -> Result<()> {
    limit::mail::asked(app, purpose, email.as_str(), from).await?;
    if !app.mailer.sends() {
        return Ok(());
    }
    let from = from.map(ToOwned::to_owned);
    let asked = Asked { email: email.as_str().to_owned(), purpose, from, by };
    let transaction = app.database.begin().await?;
    job::put_sometime(app, &transaction, Kind::Request, &asked, ANSWERED_WITHIN).await?;
    transaction.commit().await?;
    Ok(())
}

/// Sends the mail, if there is somebody it is for, and they did not get many of its kind lately.
pub(crate) async fn answer(app: &App, asked: &Asked) -> Result<()> {
    let Asked { email, purpose, from, by } = asked;
    let Some(known) = user::by_email(&app.database, email).await? else { return Ok(()) };
    let transaction = app.database.begin().await?;
    let Some(held) = user::hold(&transaction, known.user.id).await? else { return Ok(()) };
    let nothing_to_verify = *purpose == Purpose::Verify && held.user.is_verified;
    let moved = held.user.email != known.user.email;
    if !held.user.is_active || nothing_to_verify || moved {
        return Ok(());
    }
    // A superuser is not kept from it by what strangers asked for.
    let (to, from) = (&held.user.email, from.as_deref());
    let by_anybody = *by == Actor::anybody();
    if by_anybody && !limit::mail::may_answer(app, &transaction, *purpose, to, from).await? {
        return Ok(());
    }
    confirmation::send(app, &transaction, &held, *purpose).await?;
    if *purpose == Purpose::ResetPassword {
        let entry = Entry::new(Act::PasswordResetMail, by.clone());
        audit::record(&transaction, entry.on_user(held.user.id)).await?;
    }
    transaction.commit().await?;
    app.jobs.wake();
    Ok(())
}

/// Makes an address a verified one.
///
/// # Errors
///
/// [`Code::VerifyUserBadToken`]; [`Code::VerifyUserAlreadyVerified`] for a token that did it before;
/// [`Code::TooManyAttempts`] for codes.
pub async fn verify(app: &App, proof: Proof, from: Option<&str>) -> Result<User> {
    let purpose = Purpose::Verify;
    let bad = || Error::from(Code::VerifyUserBadToken);
    let found = found(app, purpose, &proof, from, bad).await?;
    let transaction = app.database.begin().await?;
    let held = hold(&transaction, &found, purpose).await?.ok_or_else(bad)?;
    if held.user.is_verified {
        return Err(Code::VerifyUserAlreadyVerified.into());
    }
    if !confirmation::spend(&transaction, &found).await? {
        return Err(bad());
    }
    let changes = Changes { is_verified: Some(true), ..Changes::default() };
    let user = user::change(&transaction, held.user, changes).await?;
    let entry = Entry::new(Act::EmailVerify, Actor::anybody()).on_user(user.id);
    audit::record(&transaction, entry).await?;
    transaction.commit().await?;
    app.known_users.forget(user.id);
    limit::forgive_codes(app, purpose.name(), &user.email).await?;
    Ok(user)
}

/// Whose password a token sets, which stays as it is.
///
/// # Errors
///
/// [`Code::ResetPasswordBadToken`].
pub async fn addressee(app: &App, token: &str) -> Result<String> {
    let purpose = Purpose::ResetPassword;
    let bad = || Error::from(Code::ResetPasswordBadToken);
    let proof = Proof::Token(token.to_owned());
    let found = confirmation::find(app, app.database.reader(), purpose, &proof).await?;
    let found = found.filter(|found| !found.is_used()).ok_or_else(bad)?;
    let known = user::by_id(&app.database, found.user()).await?.ok_or_else(bad)?;
    let fits = known.user.is_active && found.fits(purpose, &known);
    if fits { Ok(known.user.email) } else { Err(bad()) }
}

/// Gives a user another password: every session and every access token of theirs ends.
///
/// # Errors
///
/// [`Code::ResetPasswordBadToken`]; [`Code::ResetPasswordInvalidPassword`], and the token stays good;
/// [`Code::TooManyAttempts`] for codes; [`Code::ServiceBusy`].
pub async fn reset_password(
    app: &App,
    proof: Proof,
    password: Password,
    device: Device,
) -> Result<()> {
    let purpose = Purpose::ResetPassword;
    let bad = || Error::from(Code::ResetPasswordBadToken);
    let found = found(app, purpose, &proof, device.ip.as_deref(), bad).await?;
    // Asked before the password is hashed: who has no token makes nobody work.
    let known = user::by_id(&app.database, found.user()).await?.ok_or_else(bad)?;
    if found.is_used() || !known.user.is_active || !found.fits(purpose, &known) {
        return Err(bad());
    }
    let words = factor::words_of(&known.user.email, &known.user.profile);
    let refusal = Code::ResetPasswordInvalidPassword;
    let hash = factor::hash_new(app, password, words, refusal).await?;

    let transaction = app.database.begin().await?;
    let held = hold(&transaction, &found, purpose).await?.ok_or_else(bad)?;
    if !confirmation::spend(&transaction, &found).await? {
        return Err(bad());
    }
    let changes = Changes { hash: Some(hash), ..Changes::default() };
    let from = device.ip.clone();
    // The address was shown to be whose it is: what was never shown takes nothing from it.
    former::forget_unverified(&transaction, held.user.id).await?;
    if !held.user.is_verified {
        // Nobody had shown that this address is theirs: whoever made API tokens may have registered
        // somebody else's, and waited for its owner.
        token::delete_of(&transaction, held.user.id).await?;
    }
    let way = Way { own: true, kept: None, from: device.ip };
    let changed = account::apply(app, &transaction, held.user, changes, way).await?;

    let entry = Entry::new(Act::PasswordReset, Actor::anybody()).on_user(changed.0.id);
    audit::record(&transaction, entry).await?;
    transaction.commit().await?;
    account::applied(app, &changed);
    app.forget_api_tokens();
    limit::forgive_codes(app, purpose.name(), &known.user.email).await?;
    // Whoever mistyped the old one often enough to wait has no reason to any more.
    limit::proved(app, &known.user.email, from.as_deref()).await
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
pub async fn restore_email(app: &App, token: &str, device: Device) -> Result<User> {
    let bad = || Error::from(Code::RestoreEmailBadToken);
    let transaction = app.database.begin().await?;
    let found = confirmation::find_former(&transaction, token).await?.ok_or_else(bad)?;
    let held = user::hold(&transaction, found.user).await?.ok_or_else(bad)?;
    // Again: somebody else may have used it while this waited.
    let found = confirmation::find_former(&transaction, token).await?.ok_or_else(bad)?;
    if !held.user.is_active || held.user.is_verified && !found.verified {
        return Err(bad());
    }
    let email = found.email.parse().map_err(|_| bad())?;
    former::forget_since(&transaction, &found).await?;
    // Who reads its mail has shown that it is theirs.
    let changes = Changes {
        email: Some(email),
        hash: Some(app.hasher.nobodys().clone()),
        is_verified: Some(true),
        ..Changes::default()
    };
    let taken = |error: Error| match error.code() {
        Code::UpdateUserEmailAlreadyExists => bad(),
        _ => error,
    };
    let user = user::change(&transaction, held.user, changes).await.map_err(taken)?;
    token::delete_of(&transaction, user.id).await?;
    let now = crate::clock::now();
    let why = Why::EmailRestored;
    let entries = session::end_all(app, &transaction, user.id, None, &why, device.ip, now).await?;
    let known = Credentials { user, hash: app.hasher.nobodys().clone() };
    confirmation::send(app, &transaction, &known, Purpose::ResetPassword).await?;
    let entry = Entry::new(Act::EmailRestore, Actor::anybody()).on_user(known.user.id);
    let mailed = Entry::new(Act::PasswordResetMail, Actor::anybody()).on_user(known.user.id);
    audit::record_all(&transaction, vec![entry, mailed]).await?;
    transaction.commit().await?;
    account::applied(app, &(known.user.clone(), entries));
    app.forget_api_tokens();
    Ok(known.user)
}

/// What fits what was shown. Codes are counted before they are looked at.
async fn found(
    app: &App,
    purpose: Purpose,
    proof: &Proof,
    from: Option<&str>,
    bad: impl Fn() -> Error,
) -> Result<Confirmation> {
    if let Proof::Code { email, .. } = proof {
        limit::code(app, purpose.name(), email, from).await?;
    }
    let found = confirmation::find(app, app.database.reader(), purpose, proof).await?;
    if found.is_none() && matches!(proof, Proof::Code { .. }) {
        let entry = Entry::new(Act::CodeRefused, Actor::anybody());
        audit::record_alone(app, entry.with("purpose", purpose.name())).await?;
    }
    found.ok_or_else(bad)
}

/// The user a confirmation is for, if it still fits them.
async fn hold(
    transaction: &DatabaseTransaction,
    found: &Confirmation,
    purpose: Purpose,
) -> Result<Option<Credentials>> {
    let held = user::hold(transaction, found.user()).await?;
    Ok(held.filter(|held| held.user.is_active && found.fits(purpose, held)))
}
