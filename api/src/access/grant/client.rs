//! Grants of clients. Each is a row of its own, which a client got for a code, and which lives as a session does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::oauth_grant::Model;
use entity::{ClientId, GrantId, SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::{MAX_LEEWAY, Revocation};
use uuid::Uuid;

use super::store::{self, Ending};
use super::{Grant, Issuer, RefreshToken, Worth, worth};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::platform::key::MAX_CLIENT_LIFE;
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// The beginning of a client's refresh token, by which secret scanners recognise it.
pub(crate) const PREFIX: &str = "tsr_gr_";

/// A client's refresh token: the id of its grant, its generation, and the id that only the grant's row gives.
#[derive(Clone, Copy)]
pub(crate) struct ClientToken {
    /// The grant.
    pub(crate) grant: GrantId,
    generation: u32,
    id: Uuid,
}

impl ClientToken {
    /// Parses a token. Each has only one spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (grant, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, id) = rest.split_first_chunk::<4>()?;
        Some(Self {
            grant: GrantId(Uuid::from_bytes(*grant)),
            generation: u32::from_be_bytes(*generation),
            id: Uuid::from_bytes(id.try_into().ok()?),
        })
    }

    /// The current token of a grant.
    pub(crate) fn of(row: &Model) -> Option<Self> {
        let generation = u32::try_from(row.generation).ok()?;
        let id = Issuer::from(row).token_id(generation.into())?;
        Some(Self { grant: row.id, generation, id })
    }

    /// The text that the client keeps.
    pub(crate) fn text(&self) -> String {
        let generation = self.generation.to_be_bytes();
        let bytes = [&self.grant.0.as_bytes()[..], &generation, self.id.as_bytes()].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The contents, as of the grant with this row.
    fn within(&self, row: &Model) -> RefreshToken {
        RefreshToken { user: row.user_id, generation: self.generation.into(), id: self.id }
    }
}

impl<'a> From<&'a Model> for Issuer<'a> {
    fn from(row: &'a Model) -> Self {
        Self::new(row.user_id, &row.secret)
    }
}

impl<'a> From<&'a Model> for Grant<'a> {
    fn from(row: &'a Model) -> Self {
        Self {
            issuer: Issuer::from(row),
            generation: row.generation.cast_unsigned(),
            rotated_at: Timestamp::from_millis(row.rotated_at),
            expires_at: Timestamp::from_millis(row.expires_at),
            ended_at: row.ended_at.map(Timestamp::from_millis),
        }
    }
}

/// The row of a grant, if it exists.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn find(app: &App, grant: GrantId) -> Result<Option<Model>> {
    Ok(store::find_of_client(app.database.reader(), grant).await?)
}

/// Writes a grant, as its code is spent.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn open(transaction: &DatabaseTransaction, row: Model) -> Result<Model> {
    Ok(store::insert_of_client(transaction, row).await?)
}

/// What a refresh token of a client is worth now, by the same rules as that of a session. The second value is the
/// grant's row.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn present(
    app: &App,
    work: &UnitOfWork<'_>,
    token: &ClientToken,
    now: Timestamp,
) -> Result<Option<(Worth, Model)>> {
    let Some(row) = store::lock_of_client(&**work, token.grant).await? else { return Ok(None) };
    let leeway = app.config.refresh_reuse_leeway;
    Ok(Some((worth(&Grant::from(&row), &token.within(&row), now, leeway), row)))
}

/// Moves a locked grant to the next generation. `issued` is the time in the id of its next access token, and `expires`
/// the time when its next refresh token expires. `None` if it has ended or is at another generation.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn spend(
    work: &UnitOfWork<'_>,
    row: &Model,
    now: Timestamp,
    issued: Timestamp,
    expires: Timestamp,
) -> Result<Option<Model>> {
    let issued = later(row, issued);
    Ok(store::spend_of_client(&**work, row, now, issued, expires).await?)
}

/// Records another access token of a locked grant, without spending a refresh token.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn issue(
    work: &UnitOfWork<'_>,
    row: &Model,
    issued: Timestamp,
) -> Result<Option<Model>> {
    Ok(store::issue_of_client(&**work, row.id, later(row, issued)).await?)
}

/// The time of the next access token: later than the previous one, even if the clock is behind it.
fn later(row: &Model, issued: Timestamp) -> Timestamp {
    issued.max(Timestamp::from_millis(row.issued_at.saturating_add(1)))
}

/// Ends a grant. Returns its row, or `None` if it had ended.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end(
    work: &mut UnitOfWork<'_>,
    grant: GrantId,
    reason: &Reason,
    now: Timestamp,
) -> Result<Option<Model>> {
    Ok(end_some(work, Ending::One(grant), reason, now).await?.pop())
}

/// Ends the grants that end with these sessions: all but those that a client got for the time when nobody is signed in.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_of_sessions(
    work: &mut UnitOfWork<'_>,
    sessions: Vec<SessionId>,
    reason: &Reason,
    now: Timestamp,
) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    end_some(work, Ending::OfSessions(sessions), reason, now).await.map(drop)
}

/// Ends every grant of a user, except those of the session `kept`.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_of_user(
    work: &mut UnitOfWork<'_>,
    user: UserId,
    kept: Option<SessionId>,
    reason: &Reason,
    now: Timestamp,
) -> Result<()> {
    end_some(work, Ending::OfUser(user, kept), reason, now).await.map(drop)
}

/// Ends every grant that a user gave a client. Returns their number.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_of_client(
    work: &mut UnitOfWork<'_>,
    user: UserId,
    client: ClientId,
    reason: &Reason,
    now: Timestamp,
) -> Result<usize> {
    Ok(end_some(work, Ending::OfClient(user, client), reason, now).await?.len())
}

/// The live grants of a user.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn live_of(app: &App, user: UserId, now: Timestamp) -> Result<Vec<Model>> {
    Ok(store::live_of_clients(app.database.reader(), user, now).await?)
}

/// Ends grants, and revokes their access tokens on every replica.
async fn end_some(
    work: &mut UnitOfWork<'_>,
    ending: Ending,
    reason: &Reason,
    now: Timestamp,
) -> Result<Vec<Model>> {
    let ended = store::end_of_clients(&**work, ending, reason, now).await?;
    let entries: Vec<_> = ended.iter().map(|row| revocation(row, now)).collect();
    if !entries.is_empty() {
        work.revoke(entries, reason, now);
    }
    Ok(ended)
}

/// The revocation of a grant's access tokens. Verifiers find it by the claim `grant_id`, in the list of sessions.
fn revocation(row: &Model, now: Timestamp) -> Revocation {
    let last = now.max(Timestamp::from_millis(row.issued_at));
    let until = last.plus_seconds(MAX_CLIENT_LIFE + MAX_LEEWAY);
    Revocation::session(row.id.0, until.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_spelling() {
        let token = ClientToken {
            grant: GrantId(Uuid::from_u128(7)),
            generation: 258,
            id: Uuid::from_u128(9),
        };
        let text = token.text();
        assert_eq!(text.len(), PREFIX.len() + 48);
        let read = ClientToken::parse(&text).unwrap();
        assert_eq!((read.grant, read.generation, read.id), (token.grant, 258, token.id));
        let cut = &text[..text.len() - 1];
        for other in [
            cut,
            &text[7..],
            "",
            PREFIX,
            &format!("{text}A"),
            &format!("{text}="),
            &text.to_uppercase(),
        ] {
            assert!(ClientToken::parse(other).is_none(), "{other}");
        }
    }
}
