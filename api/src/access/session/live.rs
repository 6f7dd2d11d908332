//! Checks whether a session lives, and whether what it asked for is still valid.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::session::{Model, Secret};
use entity::{FederatedIdentityId, SessionId, UserId};
use sea_orm::DatabaseTransaction;

use super::{browser, store};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::platform::revocation::Reason;

/// Returns true if a session belongs to this user and lives. Locks it, so that this stays true until the transaction
/// ends.
pub(crate) async fn is_live(
    transaction: &DatabaseTransaction,
    session: SessionId,
    user: UserId,
) -> Result<bool> {
    Ok(live_row(transaction, session, user).await?.is_some())
}

/// The row of a session, if it belongs to this user and lives. Locks it.
pub(super) async fn live_row(
    transaction: &DatabaseTransaction,
    session: SessionId,
    user: UserId,
) -> Result<Option<Model>> {
    let row = store::find_and_lock(transaction, session).await?;
    let now = clock::now().millis();
    let lives =
        |row: &Model| row.user_id == user && row.ended_at.is_none() && !row.has_expired(now);
    Ok(row.filter(lives))
}

/// A live session of a browser, for what an application gets in it.
pub(crate) struct Standing {
    /// The time when its user last proved who they are.
    pub(crate) auth_time: Timestamp,
    /// The methods by which they did, separated by spaces.
    pub(crate) amr: String,
    /// The time when it ends at the latest, however often it is used.
    pub(crate) until: Timestamp,
    /// The time when its proof by a provider ends, if the entry of the provider bounds that.
    pub(crate) proof_ends: Option<Timestamp>,
    secret: Secret,
}

impl Standing {
    /// The name of the session for one client, as in `sid`. Two clients cannot find out that they have the same session.
    pub(crate) fn name_for(&self, client_id: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret.0);
        let tag = hmac::sign(&key, format!("session of client {client_id}").as_bytes());
        URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16])
    }
}

/// Returns what a browser's session stands for, if it belongs to this user and lives. Locks it, as [`is_live`] does.
pub(crate) async fn standing(
    app: &App,
    transaction: &DatabaseTransaction,
    session: SessionId,
    user: UserId,
) -> Result<Option<Standing>> {
    let row = live_row(transaction, session, user).await?;
    Ok(row.map(|row| Standing {
        auth_time: Timestamp::from_millis(row.auth_time),
        until: end_of(app, &row),
        proof_ends: row.ends_at.map(Timestamp::from_millis),
        amr: row.amr,
        secret: row.secret,
    }))
}

/// The time when a browser's session ends at the latest, however often it is used.
fn end_of(app: &App, row: &Model) -> Timestamp {
    let absolute = browser::limits(app).absolute;
    let absolute = Timestamp::from_millis(row.created_at).plus_seconds(absolute);
    row.ends_at.map_or(absolute, |ends| absolute.min(Timestamp::from_millis(ends)))
}

/// Returns the time when a browser's session ends at the latest, if its row exists and it was not ended. An idle
/// session counts as live.
pub(crate) async fn until(
    app: &App,
    transaction: &DatabaseTransaction,
    session: SessionId,
) -> Result<Option<Timestamp>> {
    let row = store::find(transaction, session).await?.filter(|row| row.ended_at.is_none());
    Ok(row.map(|row| end_of(app, &row)))
}

/// The identities at other providers that proved a session, first or later.
pub(crate) async fn proven_by(
    transaction: &DatabaseTransaction,
    session: SessionId,
) -> Result<Vec<FederatedIdentityId>> {
    let row = store::find(transaction, session).await?;
    let Some(first) = row.and_then(|row| row.federated_identity_id) else { return Ok(Vec::new()) };
    let mut all = store::later_identities(transaction, session).await?;
    all.retain(|later| *later != first);
    all.insert(0, first);
    Ok(all)
}

/// The time at which a session began.
pub(crate) async fn began(
    transaction: &DatabaseTransaction,
    session: SessionId,
) -> Result<Option<Timestamp>> {
    let row = store::find(transaction, session).await?;
    Ok(row.map(|row| Timestamp::from_millis(row.created_at)))
}

/// Returns true if what a session asked for is still valid: the session lives, or its user signed out of it. If it
/// ended for another reason, somebody else may have asked.
pub(crate) async fn stands(transaction: &DatabaseTransaction, session: SessionId) -> Result<bool> {
    let row = store::find_and_lock(transaction, session).await?;
    let signed_out = Reason::Logout.name();
    Ok(row
        .is_some_and(|row| row.ended_at.is_none() || row.ended_why.as_deref() == Some(signed_out)))
}
