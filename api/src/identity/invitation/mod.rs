//! Invitations: a mail with a link, by which a person makes the account that a superuser prepared for them.
//!
//! There is no account before the person accepts. So nobody can sign in to it, ask for its password or use its scopes.
//! The table stores the digest of the link's token. The link has no code, because only the browser of the invited
//! person could use one, and it did not ask for the mail. The row is deleted when the person accepts.
//!
//! An invitation gives what its inviter may give. The inviter is the user who sent the mail last. If that user is no
//! superuser any more, the link has no effect until another superuser sends it again.

pub(crate) mod jobs;
mod store;

use aws_lc_rs::digest::{SHA256, digest};
use entity::invitation::Model;
use entity::{InvitationId, UserId};
use sea_orm::{ConnectionTrait, SqlErr};

use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::hex::hex;
use crate::base::listing::{Limit, Page};
use crate::base::mail_address::folded;
use crate::base::random;
use crate::base::scope::Scopes;
use crate::identity::user::{self, Email, Profile};
use crate::platform::mail::{self, Facts, Letter, Recipient, Template};

/// The time for which a link works, in seconds: one week.
pub const LIVES: u64 = 7 * 86_400;

/// The number of letters and digits of a token: 256 bits.
const TOKEN_LENGTH: usize = 43;

/// The account that an invitation gives.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The address.
    pub email: Email,
    /// The profile. The person can change the name.
    pub profile: Profile,
    /// The scopes, without those that superusers have.
    pub granted: Scopes,
    /// `true` if the account becomes a superuser's.
    pub is_superuser: bool,
}

/// The party that sends an invitation.
#[derive(Debug, Clone)]
pub struct Inviter {
    /// The user; `None` for an operator at the terminal.
    pub user: Option<UserId>,
    /// The address of the user, which the mail names.
    pub email: Option<String>,
    /// The actor, as the audit names it.
    pub actor: String,
}

/// An invitation that was not accepted yet.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The id.
    pub id: InvitationId,
    /// The address.
    pub email: String,
    /// The profile that the account gets.
    pub profile: Profile,
    /// The scopes that the account gets, without those that superusers have.
    pub granted: Scopes,
    /// `true` if the account becomes a superuser's.
    pub is_superuser: bool,
    /// The user who sent the mail last; `None` for an operator.
    pub inviter: Option<UserId>,
    /// The actor who sent the mail last.
    pub invited_by: String,
    /// The instant when it was made.
    pub created: Timestamp,
    /// The instant when the mail was sent last.
    pub sent: Timestamp,
    /// The instant when the link expires.
    pub expires: Timestamp,
}

impl From<Model> for Invitation {
    fn from(row: Model) -> Self {
        let Model {
            id,
            email,
            folded_email: _,
            digest: _,
            name,
            surname,
            website,
            language,
            scopes,
            is_superuser,
            inviter_id,
            invited_by,
            created_at,
            sent_at,
            expires_at,
        } = row;
        let website = website.and_then(|website| website.parse().ok());
        let language = language.and_then(|language| language.parse().ok());
        Self {
            id,
            email,
            profile: Profile { name, surname, website, language },
            granted: Scopes::parse(&scopes),
            is_superuser,
            inviter: inviter_id,
            invited_by,
            created: Timestamp::from_millis(created_at),
            sent: Timestamp::from_millis(sent_at),
            expires: Timestamp::from_millis(expires_at),
        }
    }
}

/// Makes an invitation and sends its mail. It replaces an expired invitation of the same address. The caller then calls
/// `UnitOfWork::wake_jobs`.
///
/// # Errors
///
/// [`Code::InvitationAlreadyExists`] if the address has an invitation that has not expired.
pub async fn create(
    app: &App,
    connection: &impl ConnectionTrait,
    prepared: Prepared,
    inviter: &Inviter,
) -> Result<Invitation> {
    let Prepared { email, profile, granted, is_superuser } = prepared;
    let (now, token) = (clock::now(), random::letters_and_digits(TOKEN_LENGTH));
    let row = Model {
        id: InvitationId(random::id()),
        email: email.as_str().to_owned(),
        folded_email: folded(email.as_str()),
        digest: digest_of(&token),
        name: profile.name,
        surname: profile.surname,
        website: profile.website.map(String::from),
        language: profile.language.map(String::from),
        scopes: granted.to_string(),
        is_superuser,
        inviter_id: inviter.user,
        invited_by: inviter.actor.clone(),
        created_at: now.millis(),
        sent_at: now.millis(),
        expires_at: now.plus_seconds(LIVES).millis(),
    };
    store::delete_expired(connection, &row.folded_email, now).await?;
    store::insert(connection, row.clone()).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Code::InvitationAlreadyExists.into(),
        _ => Error::from(error),
    })?;
    let made = Invitation::from(row);
    send(app, connection, &made, inviter, &token).await?;
    Ok(made)
}

/// Sends the mail again, with a new link. The earlier link has no effect any more. Returns `None` if there is no such
/// invitation. The caller then calls `UnitOfWork::wake_jobs`.
///
/// # Errors
///
/// If the database returns an error.
pub async fn send_again(
    app: &App,
    connection: &impl ConnectionTrait,
    id: InvitationId,
    inviter: &Inviter,
) -> Result<Option<Invitation>> {
    let (now, token) = (clock::now(), random::letters_and_digits(TOKEN_LENGTH));
    let Some(row) = store::by_id(connection, id).await? else { return Ok(None) };
    let row = Model {
        digest: digest_of(&token),
        inviter_id: inviter.user,
        invited_by: inviter.actor.clone(),
        sent_at: now.millis(),
        expires_at: now.plus_seconds(LIVES).millis(),
        ..row
    };
    if !store::update(connection, row.clone()).await? {
        return Ok(None);
    }
    let sent = Invitation::from(row);
    send(app, connection, &sent, inviter, &token).await?;
    Ok(Some(sent))
}

async fn send(
    app: &App,
    connection: &impl ConnectionTrait,
    invitation: &Invitation,
    inviter: &Inviter,
    token: &str,
) -> Result<()> {
    let site = app.config.pages.brand_name.clone();
    let by = inviter.email.clone().map(|email| ("by".to_owned(), email));
    let facts: Facts = [("site".to_owned(), site)].into_iter().chain(by).collect();
    let language = invitation.profile.language.clone().map(String::from);
    let to = Recipient { address: invitation.email.clone(), language };
    let path = format!("/accept-invitation?token={token}");
    let letter =
        Letter { lives: Some(LIVES), ..Letter::telling(to, Template::Invitation, &path, facts) };
    mail::put_to_anybody(app, connection, &letter).await
}

/// Returns the invitation of a token, unless it has expired.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find(connection: &impl ConnectionTrait, token: &str) -> Result<Option<Invitation>> {
    let row = store::by_digest(connection, &digest_of(token), clock::now()).await?;
    Ok(row.map(Invitation::from))
}

/// Returns the invitation with an id, expired or not.
///
/// # Errors
///
/// If the database does not answer.
pub async fn by_id(
    connection: &impl ConnectionTrait,
    id: InvitationId,
) -> Result<Option<Invitation>> {
    Ok(store::by_id(connection, id).await?.map(Invitation::from))
}

/// Returns a page of the invitations, ordered by address, beginning after the address `after`. Expired ones are listed
/// until they are deleted.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, after: Option<&str>, limit: u64) -> Result<Page<Invitation>> {
    let after = after.filter(|after| !after.contains('\0')).map(folded);
    let limit = Limit::new(limit, 100);
    let rows = store::list(app.database.reader(), after, limit.rows()).await?;
    Ok(limit.page(rows).map(Invitation::from))
}

/// Spends the token of an invitation, in the transaction that makes the account. Returns `false` if the invitation was
/// accepted, withdrawn or sent again in the meantime, or if it has expired.
///
/// # Errors
///
/// If the database returns an error.
pub async fn spend(connection: &impl ConnectionTrait, token: &str) -> Result<bool> {
    Ok(store::take(connection, &digest_of(token), clock::now()).await?)
}

/// Withdraws an invitation. Returns `false` if there is none with this id.
///
/// # Errors
///
/// If the database returns an error.
pub async fn withdraw(connection: &impl ConnectionTrait, id: InvitationId) -> Result<bool> {
    Ok(store::delete(connection, id).await?)
}

/// Withdraws the invitation of an address that has an account now.
///
/// # Errors
///
/// If the database returns an error.
pub async fn forget(connection: &impl ConnectionTrait, email: &str) -> Result<()> {
    Ok(store::delete_of(connection, &folded(email)).await?)
}

/// Returns true if the inviter may still give what an invitation gives: an operator, or a user who is a superuser now.
/// The caller has locked the inviter if it relies on the answer.
///
/// # Errors
///
/// If the database does not answer.
pub async fn stands(
    app: &App,
    connection: &impl ConnectionTrait,
    invitation: &Invitation,
) -> Result<bool> {
    let Some(inviter) = invitation.inviter else { return Ok(true) };
    let inviter = user::by_id_in(connection, inviter).await?.map(|known| known.user);
    Ok(inviter.is_some_and(|user| user.is_superuser && user.may_act(&app.config)))
}

fn digest_of(token: &str) -> String {
    hex(digest(&SHA256, token.as_bytes()))
}
