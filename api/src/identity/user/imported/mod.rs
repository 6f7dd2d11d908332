//! Imported users: many at once, with the ids that they had elsewhere.

pub(super) mod store;

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use entity::user::Model;
use entity::{UserId, imported_user};
use sea_orm::ConnectionTrait;

use super::{PasswordHash, Profile, User, is_taken_otherwise, profile_row, search};
use crate::base::clock::{self, Timestamp};
use crate::base::database::Database;
use crate::base::error::Result;
use crate::base::hex::hex;
use crate::base::mail_address::{folded, spellings};

/// The maximum length of the id that a user had elsewhere, in characters.
pub const MAX_EXTERNAL_ID: usize = 255;

/// The maximum length of the name of a system, in characters.
pub const MAX_SOURCE: usize = 64;

/// The origin of an imported user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The name of the system.
    pub source: String,
    /// The id that the user had there, if it is not the id here.
    pub external_id: Option<String>,
    /// The time when the account was made there.
    pub created: Option<Timestamp>,
}

/// A user who is to be imported.
#[derive(Debug)]
pub struct Newcomer {
    /// The user.
    pub user: User,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The origin.
    pub origin: Origin,
}

/// The result for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The user was made.
    Created,
    /// A user has the address or the id, or was made from this record before, or can still take the address back.
    Known,
    /// A user who had another address has the same id of the same system.
    IdOfAnother,
}

impl Newcomer {
    /// A digest of the record, by which a later import recognises it although the user has another address by then.
    fn digest(&self) -> String {
        let id = self.origin.external_id.as_deref().unwrap_or_default();
        let record = [self.origin.source.as_str(), id, &folded(&self.user.email)].join("\0");
        hex(digest(&SHA256, record.as_bytes()))
    }
}

/// Makes users, with a few statements for all of them. Returns a result for each, in their order. Those that exist are
/// not changed.
///
/// # Errors
///
/// If the database returns an error.
pub async fn import(
    connection: &impl ConnectionTrait,
    newcomers: &[Newcomer],
) -> Result<Vec<Inserted>> {
    let mut results = seen_before(connection, newcomers).await?;
    // In the order of their addresses, so that two imports do not wait for each other.
    let mut new: Vec<usize> =
        (0..newcomers.len()).filter(|place| results[*place] == Inserted::Created).collect();
    new.sort_by_cached_key(|place| folded(&newcomers[*place].user.email));
    let rows = new.iter().map(|place| row(&newcomers[*place])).collect();
    let inserted: HashSet<UserId> = store::insert_those_missing(connection, rows).await?;
    let (mut seen, mut left) = (HashSet::new(), Vec::new());
    new.retain(|place| {
        let id = newcomers[*place].user.id;
        let is_new = inserted.contains(&id) && seen.insert(id);
        if !is_new {
            left.push(*place);
        }
        is_new
    });
    let emails = left.iter().flat_map(|place| spellings(&newcomers[*place].user.email)).collect();
    let known = store::known_among(connection, emails).await?;
    for place in left {
        let is_known =
            spellings(&newcomers[place].user.email).iter().any(|email| known.contains(email));
        // Otherwise, another user has the id.
        results[place] = if is_known { Inserted::Known } else { Inserted::IdOfAnother };
    }
    // After the insert, which waited for transactions that give up an address.
    let taken = taken_otherwise(connection, newcomers, &new).await?;
    if !taken.is_empty() {
        store::delete_all(connection, taken.iter().map(|at| newcomers[*at].user.id)).await?;
        taken.iter().for_each(|place| results[*place] = Inserted::Known);
        new.retain(|place| !taken.contains(place));
    }
    let made = || new.iter().map(|place| &newcomers[*place]);
    let default = User::default_scopes();
    let has_profile = |user: &&User| user.profile != Profile::default() || user.granted != default;
    let profiles = made().map(|newcomer| &newcomer.user).filter(has_profile);
    let profiles =
        profiles.map(|user| profile_row(user.id, user.profile.clone(), user.granted.clone()));
    store::insert_profiles(connection, profiles.collect()).await?;
    search::keep_all(connection, made().map(|newcomer| &newcomer.user)).await?;
    store::insert_origins(connection, made().map(origin_row).collect()).await?;
    Ok(results)
}

fn row(newcomer: &Newcomer) -> Model {
    let User { id, email, is_active, is_superuser, is_verified, profile: _, granted: _ } =
        newcomer.user.clone();
    let hashed_password = newcomer.hash.expose().to_owned().into();
    Model { id, email, hashed_password, is_active, is_superuser, is_verified }
}

fn origin_row(newcomer: &Newcomer) -> imported_user::Model {
    let Origin { source, external_id, created } = newcomer.origin.clone();
    imported_user::Model {
        user_id: newcomer.user.id,
        source,
        external_id,
        digest: newcomer.digest(),
        created_at: created.map(Timestamp::millis),
        invited_at: None,
    }
}

/// Finds the records that an earlier import or an earlier place of this one has. The others get `Created`.
async fn seen_before(
    connection: &impl ConnectionTrait,
    newcomers: &[Newcomer],
) -> Result<Vec<Inserted>> {
    let digests: Vec<_> = newcomers.iter().map(Newcomer::digest).collect();
    let ids: Vec<_> =
        newcomers.iter().filter_map(|newcomer| newcomer.origin.external_id.clone()).collect();
    let found = store::find_origins(connection, digests.clone(), ids).await?;
    let mut known: HashSet<String> = HashSet::new();
    let mut owners: HashSet<(String, String)> = HashSet::new();
    for imported_user::Model { digest, source, external_id, .. } in found {
        known.insert(digest);
        owners.extend(external_id.map(|id| (source, id)));
    }
    let mut results = Vec::new();
    for (newcomer, digest) in newcomers.iter().zip(digests) {
        let Origin { source, external_id, .. } = &newcomer.origin;
        let owner = external_id.as_ref().map(|id| (source.clone(), id.clone()));
        results.push(if known.contains(&digest) {
            Inserted::Known
        } else if owner.as_ref().is_some_and(|owner| owners.contains(owner)) {
            Inserted::IdOfAnother
        } else {
            Inserted::Created
        });
        known.insert(digest);
        owners.extend(owner);
    }
    Ok(results)
}

/// Returns the places of users whose address a row of an earlier version has in another spelling, or can be taken back.
async fn taken_otherwise(
    connection: &impl ConnectionTrait,
    newcomers: &[Newcomer],
    new: &[usize],
) -> Result<Vec<usize>> {
    let mut taken = Vec::new();
    let mut by_spelling: HashMap<String, usize> = HashMap::new();
    for place in new {
        let user = &newcomers[*place].user;
        let spelled = spellings(&user.email);
        if spelled.len() > 1 && is_taken_otherwise(connection, &user.email, user.id).await? {
            taken.push(*place);
        } else if let [one] = &spelled[..] {
            by_spelling.insert(one.clone(), *place);
        }
    }
    let all = by_spelling.keys().cloned().collect();
    let reserved = store::reserved_among(connection, all, clock::now()).await?;
    taken.extend(reserved.iter().filter_map(|email| by_spelling.get(email)));
    Ok(taken)
}

/// Returns the hashes that do not have this cost, of at most `max` users in the order of their ids.
///
/// # Errors
///
/// If the database does not answer.
pub async fn hashes_of_other_costs(
    database: &Database,
    cost: u32,
    after: Option<UserId>,
    max: u64,
) -> Result<Vec<(UserId, PasswordHash)>> {
    let hashes = store::hashes_of_other_costs(database.reader(), cost, after, max).await?;
    Ok(hashes.into_iter().map(|(user, hash)| (user, PasswordHash::new(hash))).collect())
}

/// Returns the origins of some users. Those who were not imported are left out.
///
/// # Errors
///
/// If the database does not answer.
pub async fn origins_of(
    connection: &impl ConnectionTrait,
    users: Vec<UserId>,
) -> Result<BTreeMap<UserId, Origin>> {
    let rows = store::origins_of(connection, users).await?;
    Ok(rows.into_iter().map(|row| (row.user_id, origin_of(row))).collect())
}

fn origin_of(row: imported_user::Model) -> Origin {
    let imported_user::Model { source, external_id, created_at, .. } = row;
    Origin { source, external_id, created: created_at.map(Timestamp::from_millis) }
}

/// Returns some imported users who were not asked for a password yet.
///
/// # Errors
///
/// If the database does not answer.
pub async fn not_invited(
    connection: &impl ConnectionTrait,
    users: Vec<UserId>,
) -> Result<HashSet<UserId>> {
    let rows = store::origins_of(connection, users).await?;
    let waiting = rows.into_iter().filter(|row| row.invited_at.is_none());
    Ok(waiting.map(|row| row.user_id).collect())
}

/// Records that a mail asks an imported user for a password.
///
/// # Errors
///
/// If the database returns an error.
pub async fn note_invited(connection: &impl ConnectionTrait, user: UserId) -> Result<()> {
    Ok(store::note_invited(connection, user, clock::now()).await?)
}
