//! Grants of clients. Each is a row of its own, which a client got for a code, and which lives as a session does.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::oauth_grant::Model;
use entity::{ClientId, FederatedIdentityId, GrantId, SessionId, UserId};
use sea_orm::DatabaseTransaction;
use tessera_verify::{MAX_LEEWAY, Revocation};
use uuid::Uuid;

use super::store::{self, Ended, Ending};
use super::{Grant, Issuer, RefreshToken, Worth, worth};
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::scope::Scopes;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::{GRACE, MAX_CLIENT_LIFE, Reason};
use crate::platform::unit_of_work::UnitOfWork;

/// The maximum number of live grants of a user for one client.
const MAX_LIVE: usize = 50;

/// The maximum number of these that began in one session. So the thief of a session ends few grants of others.
const MAX_OF_SESSION: usize = 20;

/// The maximum number of grants that are read to find those that are too many. A release without a maximum may have left
/// more.
const MAX_READ: u64 = 200;

/// The maximum number of clients, with the scopes of their grants, that a user sees.
const MAX_LISTED: u64 = 1000;

/// The maximum number of grants that end at once and are revoked one by one.
const MAX_ALONE: usize = 1000;

/// The number of sessions that one statement names. Databases limit the number of parameters.
const AT_ONCE: usize = 1000;

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

/// Locks the row of a grant until the transaction ends, if it exists.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn lock(
    transaction: &DatabaseTransaction,
    grant: GrantId,
) -> Result<Option<Model>> {
    Ok(store::lock_of_client(transaction, grant).await?)
}

/// Decides about a refresh token of a client from the row of its grant, by the same rules as that of a session.
pub(crate) fn judge(app: &App, row: &Model, token: &ClientToken, now: Timestamp) -> Worth {
    worth(&Grant::from(row), &token.within(row), now, app.config.refresh_reuse_leeway)
}

/// Like [`judge`], with the locked row of the grant. The second value is the row.
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
    let Some(row) = lock(work, token.grant).await? else { return Ok(None) };
    Ok(Some((judge(app, &row, token, now), row)))
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

/// Ends a grant. Returns false if it had ended.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end(
    work: &mut UnitOfWork<'_>,
    grant: GrantId,
    reason: &Reason,
    now: Timestamp,
) -> Result<bool> {
    Ok(end_some(work, Ending::These(vec![grant]), reason, None, now).await? > 0)
}

/// Ends the grants of a user for a client that are too many beside a new one. The user is locked. Returns the grants that
/// ended.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_surplus(
    work: &mut UnitOfWork<'_>,
    new: &Model,
    now: Timestamp,
) -> Result<Vec<GrantId>> {
    let others = store::beside(&**work, new, now, MAX_READ).await?;
    let surplus = surplus(new.session_id, &others);
    if !surplus.is_empty() {
        end_some(work, Ending::These(surplus.clone()), &Reason::Surplus, None, now).await?;
    }
    Ok(surplus)
}

/// The grants that are too many beside a new one of a session. `others` begins with those that were used last.
fn surplus(session: Option<SessionId>, others: &[(GrantId, Option<SessionId>)]) -> Vec<GrantId> {
    let (mut kept, mut of_session) = (1, 1);
    let mut surplus = Vec::new();
    for (grant, its) in others {
        let is_same = session.is_some() && *its == session;
        if kept >= MAX_LIVE || is_same && of_session >= MAX_OF_SESSION {
            surplus.push(*grant);
            continue;
        }
        kept += 1;
        of_session += usize::from(is_same);
    }
    surplus
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
    for some in sessions.chunks(AT_ONCE) {
        end_some(work, Ending::OfSessions(some.to_vec()), reason, None, now).await?;
    }
    Ok(())
}

/// Ends every grant of a user, except those of the session `kept`. `cut_off` is the time up to which the act revokes all
/// access tokens of the user anyway, if it does.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_of_user(
    work: &mut UnitOfWork<'_>,
    user: UserId,
    kept: Option<SessionId>,
    cut_off: Option<Timestamp>,
    reason: &Reason,
    now: Timestamp,
) -> Result<()> {
    end_some(work, Ending::OfUser(user, kept), reason, cut_off, now).await.map(drop)
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
    end_some(work, Ending::OfClient(user, client), reason, None, now).await
}

/// Ends the grants of a user that an identity at another provider proved, and that do not end with their session.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn end_proven_by(
    work: &mut UnitOfWork<'_>,
    user: UserId,
    identity: FederatedIdentityId,
    reason: &Reason,
    now: Timestamp,
) -> Result<()> {
    end_some(work, Ending::ProvenBy(user, identity), reason, None, now).await.map(drop)
}

/// Forgets everything that was permitted to clients in the name of a user, because somebody else may have permitted it.
/// Then a client that asks without a page gets nothing of an account that its owner has taken back.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn forget_consents(work: &mut UnitOfWork<'_>, user: UserId) -> Result<()> {
    let forgotten = store::delete_consents(&**work, user).await?;
    if forgotten > 0 {
        let entry = Entry::new(Act::ConsentEnd, Actor::anybody()).on_user(user);
        work.record(entry.with("clients", forgotten));
    }
    Ok(())
}

/// The clients with a live grant of a user, and the scopes of these grants, each with the time of the last use.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn live_of(
    app: &App,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<(ClientId, Scopes, i64)>> {
    let rows = store::live_of_clients(app.database.reader(), user, now, MAX_LISTED).await?;
    let parsed = |(client, scopes, used): (_, String, _)| (client, Scopes::parse(&scopes), used);
    Ok(rows.into_iter().map(parsed).collect())
}

/// Ends grants, and revokes their access tokens on every replica. Those up to `cut_off` are revoked in another way. Returns
/// the number of grants that ended.
async fn end_some(
    work: &mut UnitOfWork<'_>,
    ending: Ending,
    reason: &Reason,
    cut_off: Option<Timestamp>,
    now: Timestamp,
) -> Result<usize> {
    let ended = store::end_of_clients(&**work, ending, reason, now).await?;
    let count = ended.len();
    let entries = revocations(ended, cut_off, now);
    if !entries.is_empty() {
        work.revoke(entries, reason, now);
    }
    Ok(count)
}

/// The revocations of grants that ended. If there are too many, one cut-off for all access tokens of the user replaces
/// them. So nobody can have so many grants that their end takes too long.
fn revocations(ended: Vec<Ended>, cut_off: Option<Timestamp>, now: Timestamp) -> Vec<Revocation> {
    let is_covered = |issued| cut_off.is_some_and(|cut_off| issued <= cut_off);
    let mut ended: Vec<_> = ended.into_iter().filter(|ended| !is_covered(ended.issued)).collect();
    let mut entries = Vec::new();
    if ended.len() > MAX_ALONE {
        let users: BTreeSet<_> = ended.iter().map(|ended| ended.user.0).collect();
        let until = now.plus_seconds(MAX_CLIENT_LIFE + MAX_LEEWAY).seconds();
        let of_user = |user| Revocation::user(user, now.millis().unsigned_abs(), until);
        entries.extend(users.into_iter().map(of_user));
        ended.retain(|ended| ended.issued > now);
    }
    entries.extend(ended.iter().filter_map(|ended| revocation(ended.id, ended.issued, now)));
    entries
}

/// The revocation of a grant's access tokens, of which the newest was issued at a time. Verifiers find it by the claim
/// `grant_id`, in the list of sessions. `None` if all of them expired more than a day ago.
pub(crate) fn revocation(grant: GrantId, issued: Timestamp, now: Timestamp) -> Option<Revocation> {
    let can_be_valid = issued > now.minus_seconds(MAX_CLIENT_LIFE + MAX_LEEWAY + GRACE);
    let until = now.max(issued).plus_seconds(MAX_CLIENT_LIFE + MAX_LEEWAY);
    can_be_valid.then(|| Revocation::session(grant.0, until.seconds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_too_many_in_one_session_before_they_are_in_all() {
        let session = |number: u128| Some(SessionId(Uuid::from_u128(number)));
        let grants = |count: u128, of: Option<SessionId>| {
            (0..count).map(move |number| (GrantId(Uuid::from_u128(number)), of))
        };
        let found = |of: Option<SessionId>, others: Vec<_>| {
            surplus(of, &others).into_iter().map(|id| id.0.as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(found(session(1), grants(19, session(1)).collect()), [0; 0]);
        assert_eq!(found(session(1), grants(22, session(1)).collect()), [19, 20, 21]);
        assert_eq!(found(session(1), grants(49, session(2)).collect()), [0; 0]);
        assert_eq!(found(session(1), grants(51, session(2)).collect()), [49, 50]);
        // Grants without a session have none in common.
        assert_eq!(found(None, grants(50, None).collect()), [49]);
        // Many new ones of a session leave room for those of others, although these were used earlier.
        let flood: Vec<_> = grants(40, session(1)).chain(grants(30, session(2))).collect();
        assert_eq!(found(session(1), flood), (19..40).collect::<Vec<_>>());
        let both: Vec<_> = grants(40, session(1)).chain(grants(31, session(2))).collect();
        assert_eq!(found(session(1), both).last(), Some(&30));
    }

    #[test]
    fn one_cut_off_replaces_the_revocations_of_very_many_grants() {
        let now = Timestamp::from_millis(1_000_000_000_000);
        let grants = |count: u128, issued: Timestamp| {
            let (user, id) = (UserId(Uuid::from_u128(1)), Uuid::from_u128);
            (0..count).map(move |number| Ended { id: GrantId(id(number)), user, issued })
        };
        let found = |ended: Vec<Ended>, cut_off| {
            let entries = revocations(ended, cut_off, now);
            let is_user = |entry: &&Revocation| matches!(entry, Revocation::User { .. });
            (entries.iter().filter(is_user).count(), entries.len())
        };
        assert_eq!(found(grants(1000, now).collect(), None), (0, 1000));
        assert_eq!(found(grants(1001, now).collect(), None), (1, 1));
        assert_eq!(found(grants(1001, now).collect(), Some(now)), (0, 0));
        // Tokens of a clock that was ahead are not covered by a cut-off, and old ones need nothing.
        let (ahead, old) = (now.plus_seconds(60), now.minus_seconds(200_000));
        assert_eq!(found(grants(2000, now).chain(grants(3, ahead)).collect(), None), (1, 4));
        assert_eq!(found(grants(3, ahead).collect(), Some(now)), (0, 3));
        assert_eq!(found(grants(9, old).collect(), None), (0, 0));
    }

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
