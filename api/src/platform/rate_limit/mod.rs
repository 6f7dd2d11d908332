//! Limits: neither passwords nor codes can be guessed, nobody is locked out by those who try, and nobody
//! gets more mail than they can read.
//!
//! An attempt is counted before the work it causes, so that many at once are no way around. Three
//! things are counted: who is tried from where, which is strict; from where anything is tried; and
//! who is tried, from anywhere. The last does not hold for an address that the account was used
//! from before: its owner gets in, whoever else tries. Unknown names are counted like known ones,
//! so that being limited tells nothing.
//!
//! Those who have proved who they are have allowances for what they do with that (`acts.rs`).

mod acts;
pub(crate) mod jobs;
pub mod mail;
mod store;

pub use acts::{act, may_renew, password, revocation};

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::hmac;
use entity::UserId;
use entity::attempt::Model;
use quick_cache::sync::Cache;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use self::acts::Acts;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key;
use crate::base::error::{Error, Result};
use crate::base::hex::hex;
use crate::base::request_context;
use crate::platform::unit_of_work::UnitOfWork;

/// How often something may be tried, and how long it has to wait after that.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// What is counted.
    what: &'static str,
    /// So many attempts wait for nothing.
    free: i64,
    /// The first wait, in seconds; each further attempt doubles it.
    wait: u64,
    /// The longest wait, in seconds.
    longest: u64,
    /// How long attempts are counted, in seconds from the last one, or from its wait.
    counted_for: u64,
}

/// The longest wait for what its owner has no other way to do, in seconds.
const LONGEST_WAIT: u64 = 900;

/// How long attempts are counted, in seconds from the last one.
const COUNTED_FOR: u64 = 3600;

/// How long an address is known that an account was used from, in seconds.
const KNOWN_FOR: u64 = 30 * 86_400;

const PAIR: Budget = Budget::new("pair", 5, 2);
const ACCOUNT: Budget = Budget::new("account", 50, 10);
const ADDRESS: Budget = Budget::new("address", 100, 2);
const REGISTRATION: Budget = Budget::new("registration", 30, 60);

/// The answer to a new address tells whether it is taken: one account may ask six times an hour. It also bounds
/// the mails that changes of an account's address cause.
const NEW_ADDRESS: Budget = Budget { longest: 3600, ..Budget::new("new-address", 5, 3600) };
const NEW_ADDRESS_FROM: Budget = Budget::new("new-address-from", 30, 60);

/// Exports of one account: after four, one in a quarter of an hour, half an hour, an hour.
const EXPORT: Budget = Budget { longest: 3600, ..Budget::new("export", 3, 900) };

/// The answer to a chosen secret of an API token tells whether somebody else has it: six such answers an hour.
const CHOSEN_SECRET: Budget = Budget { longest: 3600, ..Budget::new("chosen-secret", 5, 3600) };
const CHOSEN_SECRET_FROM: Budget = Budget::new("chosen-secret-from", 30, 60);

/// A code has six digits: who tries eleven has one chance in a hundred thousand. After that codes of the account are
/// refused as wrong ones are, for hours, however many mails were asked for, until its owner uses the link of one.
const CODE: Budget =
    Budget { longest: 86_400, counted_for: 30 * 86_400, ..Budget::new("code", 10, 3600) };

/// The most limits in force that a replica remembers.
const MAX_BLOCKED: usize = 50_000;

/// The limits in force that this replica knows of, and the allowances of accounts.
#[derive(Debug)]
pub struct State {
    /// The key of the digests in the table of attempts.
    attempt_key: hmac::Key,
    /// Until when each digest is refused. A refusal that is remembered costs no query.
    blocked: Cache<String, Timestamp>,
    acts: Acts,
}

impl State {
    /// With nothing remembered.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a secret that tokens cannot be signed with.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let attempt_key = derived_key::digest_key(&config.signing_secret()?, "tessera attempts");
        Ok(Self { attempt_key, blocked: Cache::new(MAX_BLOCKED), acts: Acts::default() })
    }
}

/// An attempt to sign in that was counted, in the order of its keys.
#[derive(Debug)]
pub struct Attempt {
    keys: Vec<String>,
    pair: String,
    known: String,
}

/// Counts an attempt to prove who an account's owner is, from a peer's address; nothing is counted where
/// limits are off.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub async fn sign_in(app: &App, name: &str, ip: Option<IpAddr>) -> Result<Option<Attempt>> {
    if !app.config.rate_limit {
        return Ok(None);
    }
    // One budget for all spellings of an address.
    let name = name.to_ascii_lowercase();
    let from = place(ip);
    let (pair, known) = (key(app, PAIR.what, &[&name, &from]), key(app, "known", &[&name, &from]));
    let (account, address) = (key(app, ACCOUNT.what, &[&name]), key(app, ADDRESS.what, &[&from]));
    refuse_remembered(app, [&pair, &address])?;
    acts::sign_in(app, &pair)?;
    let is_known = is_known(app.database.reader(), &known).await?;
    let mut budgets = vec![(pair.clone(), PAIR), (address, ADDRESS)];
    if !is_known {
        budgets.push((account, ACCOUNT));
    }
    count(app, &mut budgets).await?;
    let keys = budgets.into_iter().map(|(key, _)| key).collect();
    Ok(Some(Attempt { keys, pair, known }))
}

/// Whether an account was used from a place, by the key of both.
async fn is_known(connection: &impl ConnectionTrait, key: &str) -> Result<bool> {
    let row = store::find(connection, key).await?;
    Ok(row.is_some_and(|row| row.expires_at > clock::now().millis()))
}

/// Refunds what was counted for an attempt that came to nothing: there was no time to look at it.
///
/// # Errors
///
/// When the database does not answer.
pub async fn refund(app: &App, attempt: Option<Attempt>) -> Result<()> {
    let Some(attempt) = attempt else { return Ok(()) };
    let work = UnitOfWork::begin(app).await?;
    for key in &attempt.keys {
        store::refund(&*work, key, true).await?;
    }
    work.commit().await?;
    attempt.keys.iter().for_each(|key| drop(app.rate_limit.blocked.remove(key)));
    Ok(())
}

/// Takes back what was counted for somebody who did prove it, and remembers where they were.
///
/// # Errors
///
/// When the database does not answer.
pub async fn succeeded(app: &App, attempt: Option<Attempt>) -> Result<()> {
    let Some(Attempt { keys, pair, known }) = attempt else { return Ok(()) };
    let work = UnitOfWork::begin(app).await?;
    for key in keys {
        if key == pair {
            store::delete(&*work, &key).await?;
            app.rate_limit.blocked.remove(&key);
        } else {
            store::refund(&*work, &key, false).await?;
        }
    }
    let expires_at = clock::now().plus_seconds(KNOWN_FOR).millis();
    store::put(&*work, Model { key: known, count: 0, blocked_until: 0, expires_at }).await?;
    work.commit().await
}

/// Counts a registration.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub async fn registration(app: &App, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let key = key(app, REGISTRATION.what, &[&place(ip)]);
    count(app, &mut [(key, REGISTRATION)]).await
}

/// Counts an attempt of a user to change their address, before the address is looked up: who tries, and from
/// where.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub async fn new_address(app: &App, user: UserId, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let account = key(app, NEW_ADDRESS.what, &[&user.to_string()]);
    let from = key(app, NEW_ADDRESS_FROM.what, &[&place(ip)]);
    count(app, &mut [(account, NEW_ADDRESS), (from, NEW_ADDRESS_FROM)]).await
}

/// Counts an export of everything that is kept of a user.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub async fn export(app: &App, user: UserId) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    count(app, &mut [(key(app, EXPORT.what, &[&user.to_string()]), EXPORT)]).await
}

/// Counts a secret that somebody chose for an API token, before it is looked up: by the account, and by where it
/// comes from. The caller takes it back if nobody else has it.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub(crate) async fn chosen_secret(app: &App, account: &str) -> Result<Option<Attempt>> {
    if !app.config.rate_limit {
        return Ok(None);
    }
    let account = key(app, CHOSEN_SECRET.what, &[account]);
    let from = place(request_context::current().ip);
    let from = key(app, CHOSEN_SECRET_FROM.what, &[&from]);
    let mut budgets = [(account.clone(), CHOSEN_SECRET), (from.clone(), CHOSEN_SECRET_FROM)];
    count(app, &mut budgets).await?;
    Ok(Some(Attempt { keys: vec![account, from], pair: String::new(), known: String::new() }))
}

/// Counts a code that is tried from a place, in the transaction in which it is tried. It is counted also if limits
/// are off, so that trying costs the same, but refuses nothing then.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub async fn code_from(
    app: &App,
    transaction: &DatabaseTransaction,
    ip: Option<IpAddr>,
) -> Result<()> {
    let key = key(app, ADDRESS.what, &[&place(ip)]);
    let budget = match app.config.rate_limit {
        true => ADDRESS,
        false => Budget { free: i64::MAX, ..ADDRESS },
    };
    if app.config.rate_limit {
        refuse_remembered(app, [&key])?;
    }
    match one_more(transaction, &key, budget).await? {
        Ok(row) => Ok(store::put(transaction, row).await?),
        Err((until, now)) => {
            app.rate_limit.blocked.insert(key, until);
            Err(try_again(until, now))
        }
    }
}

/// Counts a code that is tried for an account, in the transaction in which it is tried; `false` if so many were
/// tried that it must not be looked at. Codes are so short that this is never off. What strangers try does not
/// count for a place that the account was used from before.
///
/// # Errors
///
/// When the database refuses.
pub async fn code_of(
    app: &App,
    transaction: &DatabaseTransaction,
    purpose: &str,
    user: UserId,
    email: &str,
    ip: Option<IpAddr>,
) -> Result<bool> {
    let (all, here) = code_keys(app, purpose, user, ip);
    let known = key(app, "known", &[&email.to_ascii_lowercase(), &place(ip)]);
    let key = if is_known(transaction, &known).await? { here } else { all };
    count_in(transaction, &key, CODE).await
}

/// Forgets the codes that were tried for an account: its owner has shown that the mail is theirs.
///
/// # Errors
///
/// When the database does not answer.
pub async fn forgive_codes(
    app: &App,
    purpose: &str,
    user: UserId,
    ip: Option<IpAddr>,
) -> Result<()> {
    let (all, here) = code_keys(app, purpose, user, ip);
    let work = UnitOfWork::begin(app).await?;
    for key in [all, here] {
        store::delete(&*work, &key).await?;
    }
    work.commit().await
}

/// The keys of codes that are tried for an account: from anywhere, and from a place.
fn code_keys(app: &App, purpose: &str, user: UserId, ip: Option<IpAddr>) -> (String, String) {
    let (user, from) = (user.to_string(), place(ip));
    let all = key(app, CODE.what, &[purpose, &user]);
    (all, key(app, CODE.what, &[purpose, &user, &from]))
}

/// As [`succeeded`], for somebody who proved who they are by other means than a password.
///
/// # Errors
///
/// When the database does not answer.
pub async fn proved(app: &App, name: &str, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let (name, from) = (name.to_ascii_lowercase(), place(ip));
    let (pair, known) = (key(app, PAIR.what, &[&name, &from]), key(app, "known", &[&name, &from]));
    succeeded(app, Some(Attempt { keys: vec![pair.clone()], pair, known })).await
}

/// Counts one attempt in each budget, or in none.
async fn count(app: &App, budgets: &mut [(String, Budget)]) -> Result<()> {
    refuse_remembered(app, budgets.iter().map(|(key, _)| key))?;
    // In one order: of two that want the same rows, each would wait for the other.
    budgets.sort_by(|one, other| one.0.cmp(&other.0));
    let work = UnitOfWork::begin(app).await?;
    let mut counted = Vec::new();
    for (key, budget) in budgets.iter() {
        match one_more(&*work, key, *budget).await? {
            Ok(row) => counted.push(row),
            Err((until, now)) => {
                app.rate_limit.blocked.insert(key.clone(), until);
                return Err(try_again(until, now));
            }
        }
    }
    for row in counted {
        store::put(&*work, row).await?;
    }
    work.commit().await
}

/// Counts one in a budget, in the transaction of what is counted; `false`, and nothing is counted, if it is used
/// up.
async fn count_in(connection: &impl ConnectionTrait, key: &str, budget: Budget) -> Result<bool> {
    match one_more(connection, key, budget).await? {
        Ok(row) => {
            store::put(connection, row).await?;
            Ok(true)
        }
        Err(_) => Ok(false),
    }
}

/// The row of a budget with one counted more, locked until the transaction ends; or until when nothing is counted,
/// and the present.
async fn one_more(
    connection: &impl ConnectionTrait,
    key: &str,
    budget: Budget,
) -> Result<Result<Model, (Timestamp, Timestamp)>> {
    let row = store::lock(connection, key).await?;
    // Read again: somebody else's turn may have come before.
    let now = clock::now();
    // A clock that jumped ahead and back must not keep anybody waiting.
    let longest = now.plus_seconds(budget.longest);
    let until = Timestamp::from_millis(row.blocked_until).min(longest);
    if until > now {
        return Ok(Err((until, now)));
    }
    let before = if row.expires_at > now.millis() { row.count } else { 0 };
    Ok(Ok(budget.after(row.key, before + 1, now)))
}

/// Fails where this replica knows that one of these is not to be tried yet.
fn refuse_remembered<'a>(app: &App, keys: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let now = clock::now();
    let mut remembered = keys.into_iter().filter_map(|key| app.rate_limit.blocked.get(key));
    remembered.find(|until| *until > now).map_or(Ok(()), |until| Err(try_again(until, now)))
}

fn try_again(until: Timestamp, now: Timestamp) -> Error {
    Error::try_again_after(Duration::from_millis(until.millis().abs_diff(now.millis())))
}

impl Budget {
    const fn new(what: &'static str, free: i64, wait: u64) -> Self {
        Self { what, free, wait, longest: LONGEST_WAIT, counted_for: COUNTED_FOR }
    }

    fn after(self, key: String, count: i64, now: Timestamp) -> Model {
        let beyond = u32::try_from(count - self.free).unwrap_or(0);
        let wait = match beyond {
            0 => 0,
            beyond => self.wait.saturating_mul(1 << (beyond - 1).min(20)).min(self.longest),
        };
        Model {
            key,
            count,
            blocked_until: if wait == 0 { 0 } else { now.plus_seconds(wait).millis() },
            expires_at: now.plus_seconds(wait + self.counted_for).millis(),
        }
    }
}

/// Whoever reads the table without the secret of the settings is not told who was tried: a digest alone
/// could be compared with those of likely names, and of passwords that were typed for one.
fn key(app: &App, what: &str, parts: &[&str]) -> String {
    let text = [&[what], parts].concat().join("\0");
    hex(hmac::sign(&app.rate_limit.attempt_key, text.as_bytes()))
}

/// Where a request came from, as far as one caller has it for themself: of IPv6, a network of 64 bits.
pub(crate) fn place(ip: Option<IpAddr>) -> String {
    match ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).to_string()
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    fn place_of(ip: &str) -> String {
        place(Some(ip.parse().unwrap()))
    }

    #[test]
    fn a_network_of_ipv6_is_one_place_and_a_mapped_address_is_its_own() {
        assert_eq!(place_of("2001:db8::1"), place_of("2001:db8::ffff:0:2"));
        assert_ne!(place_of("2001:db8::1"), place_of("2001:db8:0:1::1"));
        assert_eq!(place_of("::ffff:192.0.2.1"), place_of("192.0.2.1"));
        assert_ne!(place_of("192.0.2.1"), place_of("192.0.2.2"));
    }
}
