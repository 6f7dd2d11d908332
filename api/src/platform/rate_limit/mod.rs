//! Rate limits: nobody can guess passwords or codes, nobody can lock out others by trying, and nobody gets more mail
//! than they can read.
//!
//! An attempt is counted before it does any work, so many attempts at once do not get around a limit. There are three
//! counters: for an account from one IP address, which is strict; for one IP address and all accounts; and for an
//! account from all IP addresses. The last one does not apply to an IP address that the account was used from before,
//! so its owner can sign in, however many others try. Unknown names are counted like known ones, so a limit does not
//! reveal that an account exists.
//!
//! Accounts whose owners have proved their identity have allowances for their actions (`acts.rs`).

mod acts;
pub(crate) mod jobs;
pub mod mail;
mod store;

pub use acts::{act, code, grant_revocation, lead_on, may_renew, password, revocation};

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
use crate::base::mail_address::folded;
use crate::base::request_context;
use crate::platform::unit_of_work::UnitOfWork;

/// A limit: the number of free attempts, and the delays after that.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// The name of what is counted.
    what: &'static str,
    /// The number of attempts without a delay.
    free: i64,
    /// The first delay, in seconds. Each further attempt doubles it.
    wait: u64,
    /// The maximum delay, in seconds.
    longest: u64,
    /// The time for which attempts are counted, in seconds from the last attempt or the end of its delay.
    counted_for: u64,
}

/// The maximum delay for things that the owner of an account can do in no other way, in seconds.
const LONGEST_WAIT: u64 = 900;

/// The time for which attempts are counted, in seconds from the last one.
const COUNTED_FOR: u64 = 3600;

/// The time for which Tessera remembers that an account was used from an IP address, in seconds.
const KNOWN_FOR: u64 = 30 * 86_400;

const PAIR: Budget = Budget::new("pair", 5, 2);
const ACCOUNT: Budget = Budget::new("account", 50, 10);
const ADDRESS: Budget = Budget::new("address", 100, 2);
const REGISTRATION: Budget = Budget::new("registration", 30, 60);

/// Answers of providers: each can make this server ask the provider.
const UPSTREAM: Budget = Budget::new("upstream", 60, 10);

/// The answer to a new address reveals whether it is taken, so one account can ask six times an hour. This also limits
/// the mails that changes of an account's address cause.
const NEW_ADDRESS: Budget = Budget { longest: 3600, ..Budget::new("new-address", 5, 3600) };
const NEW_ADDRESS_FROM: Budget = Budget::new("new-address-from", 30, 60);

/// Exports of one account: four, then one after 15 minutes, one after 30 minutes, and one an hour.
const EXPORT: Budget = Budget { longest: 3600, ..Budget::new("export", 3, 900) };

/// The answer to a chosen secret of an API token reveals whether another account has it: six such answers an hour.
const CHOSEN_SECRET: Budget = Budget { longest: 3600, ..Budget::new("chosen-secret", 5, 3600) };
const CHOSEN_SECRET_FROM: Budget = Budget::new("chosen-secret-from", 30, 60);

/// A code has six digits, so eleven attempts have a chance of one in a hundred thousand. After that, codes of the
/// account are refused as wrong codes are. This lasts for hours, however many mails are requested, until the owner uses
/// the link of a mail.
const CODE: Budget =
    Budget { longest: 86_400, counted_for: 30 * 86_400, ..Budget::new("code", 10, 3600) };

/// The maximum number of active limits that a replica remembers.
const MAX_BLOCKED: usize = 50_000;

/// The active limits that this replica knows of, and the allowances of accounts.
#[derive(Debug)]
pub struct State {
    /// The key of the digests in the table of attempts.
    attempt_key: hmac::Key,
    /// The instant until which each digest is refused. A remembered refusal costs no query.
    blocked: Cache<String, Timestamp>,
    acts: Acts,
}

impl State {
    /// Creates a state that remembers nothing.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the secret cannot sign tokens.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let attempt_key = derived_key::digest_key(&config.signing_secret()?, "tessera attempts");
        Ok(Self { attempt_key, blocked: Cache::new(MAX_BLOCKED), acts: Acts::default() })
    }
}

/// A sign-in attempt that was counted. Its keys are sorted.
#[derive(Debug)]
pub struct Attempt {
    keys: Vec<String>,
    pair: String,
    known: String,
}

/// Counts an attempt to prove that the client is the owner of an account, from an IP address. Nothing is counted if
/// limits are off.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub async fn sign_in(app: &App, name: &str, ip: Option<IpAddr>) -> Result<Option<Attempt>> {
    if !app.config.rate_limit {
        return Ok(None);
    }
    // All spellings of an address share one limit.
    let name = folded(name);
    let place = place(ip);
    let (pair, known) =
        (key(app, PAIR.what, &[&name, &place]), key(app, "known", &[&name, &place]));
    let (account, address) = (key(app, ACCOUNT.what, &[&name]), key(app, ADDRESS.what, &[&place]));
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

/// Returns true if an account was used from an IP address. `key` is the key of both.
async fn is_known(connection: &impl ConnectionTrait, key: &str) -> Result<bool> {
    let row = store::find(connection, key).await?;
    Ok(row.is_some_and(|row| row.expires_at > clock::now().millis()))
}

/// Takes back the count of an attempt that was not checked, because the server was busy.
///
/// # Errors
///
/// If the database does not answer.
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

/// Takes back the count of a successful attempt, and remembers that the account was used from this IP address.
///
/// # Errors
///
/// If the database does not answer.
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
    let known = Model { key: known, count: 0, blocked_until: 0, expires_at };
    store::put(&*work, vec![known]).await?;
    work.commit().await
}

/// Counts a registration.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub async fn registration(app: &App, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let key = key(app, REGISTRATION.what, &[&place(ip)]);
    count(app, &mut [(key, REGISTRATION)]).await
}

/// Counts an answer of a provider that a browser brings, before anybody is asked about it. The caller takes the count
/// back if the answer is good, so that an office behind one address is not locked out.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub async fn upstream(app: &App, ip: Option<IpAddr>) -> Result<Option<Attempt>> {
    if !app.config.rate_limit {
        return Ok(None);
    }
    let key = key(app, UPSTREAM.what, &[&place(ip)]);
    count(app, &mut [(key.clone(), UPSTREAM)]).await?;
    Ok(Some(Attempt { keys: vec![key], pair: String::new(), known: String::new() }))
}

/// Counts an attempt of a user to change their address, before the address is looked up: by user, and by IP address.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub async fn new_address(app: &App, user: UserId, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let account = key(app, NEW_ADDRESS.what, &[&user.to_string()]);
    let from_ip = key(app, NEW_ADDRESS_FROM.what, &[&place(ip)]);
    count(app, &mut [(account, NEW_ADDRESS), (from_ip, NEW_ADDRESS_FROM)]).await
}

/// Counts an export of a user's data.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub async fn export(app: &App, user: UserId) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    count(app, &mut [(key(app, EXPORT.what, &[&user.to_string()]), EXPORT)]).await
}

/// Counts a chosen secret of an API token before it is looked up: by account, and by IP address. The caller takes the
/// count back if no other account has the secret.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub(crate) async fn chosen_secret(app: &App, account: &str) -> Result<Option<Attempt>> {
    if !app.config.rate_limit {
        return Ok(None);
    }
    let account = key(app, CHOSEN_SECRET.what, &[account]);
    let place = place(request_context::current().ip);
    let from_ip = key(app, CHOSEN_SECRET_FROM.what, &[&place]);
    let mut budgets = [(account, CHOSEN_SECRET), (from_ip, CHOSEN_SECRET_FROM)];
    count(app, &mut budgets).await?;
    // In the order of the count: a refund locks the rows in the same order.
    let keys = budgets.into_iter().map(|(key, _)| key).collect();
    Ok(Some(Attempt { keys, pair: String::new(), known: String::new() }))
}

/// Counts a code that is tried from an IP address, in the transaction that tries it. If limits are off, it is counted
/// too, so that a code always costs the same work, but it is not refused.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
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
        Ok(()) => Ok(()),
        Err((until, now)) => {
            app.rate_limit.blocked.insert(key, until);
            Err(try_again(until, now))
        }
    }
}

/// Counts a code that is tried for an account, in the transaction that tries it. Returns `false` if the limit is
/// reached and the code must not be checked. This limit is never off, because codes are short. Attempts of strangers do
/// not count for an IP address that the account was used from before.
///
/// # Errors
///
/// If the database returns an error.
pub async fn code_of(
    app: &App,
    transaction: &DatabaseTransaction,
    purpose: &str,
    user: UserId,
    email: &str,
    ip: Option<IpAddr>,
) -> Result<bool> {
    let (all, here) = code_keys(app, purpose, user, ip);
    let known = key(app, "known", &[&folded(email), &place(ip)]);
    let key = if is_known(transaction, &known).await? { here } else { all };
    count_in(transaction, &key, CODE).await
}

/// Forgets the codes that were tried for an account, because its owner has proved that they read its mail.
///
/// # Errors
///
/// If the database does not answer.
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

/// Returns the keys of codes that are tried for an account: from all IP addresses, and from this one.
fn code_keys(app: &App, purpose: &str, user: UserId, ip: Option<IpAddr>) -> (String, String) {
    let (user, place) = (user.to_string(), place(ip));
    let all = key(app, CODE.what, &[purpose, &user]);
    (all, key(app, CODE.what, &[purpose, &user, &place]))
}

/// Does the same as [`succeeded`] for a user who proved their identity without a password.
///
/// # Errors
///
/// If the database does not answer.
pub async fn proved(app: &App, name: &str, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let (name, place) = (folded(name), place(ip));
    let (pair, known) =
        (key(app, PAIR.what, &[&name, &place]), key(app, "known", &[&name, &place]));
    succeeded(app, Some(Attempt { keys: vec![pair.clone()], pair, known })).await
}

/// Counts one attempt in every limit, or in none.
async fn count(app: &App, budgets: &mut [(String, Budget)]) -> Result<()> {
    refuse_remembered(app, budgets.iter().map(|(key, _)| key))?;
    // In one order: two transactions that lock the same rows in different orders would wait for each other.
    budgets.sort_by(|one, other| one.0.cmp(&other.0));
    let work = UnitOfWork::begin(app).await?;
    let keys: Vec<_> = budgets.iter().map(|(key, _)| key).collect();
    let rows = store::lock(&*work, &keys).await?;
    let mut counted = Vec::new();
    for ((key, budget), row) in budgets.iter().zip(rows) {
        match budget.one_more(row) {
            Ok(row) => counted.push(row),
            Err((until, now)) => {
                app.rate_limit.blocked.insert(key.clone(), until);
                return Err(try_again(until, now));
            }
        }
    }
    store::put(&*work, counted).await?;
    work.commit().await
}

/// Counts one attempt in a limit, in the transaction of what is counted. If the limit is reached, it counts nothing and
/// returns `false`.
async fn count_in(connection: &impl ConnectionTrait, key: &String, budget: Budget) -> Result<bool> {
    Ok(one_more(connection, key, budget).await?.is_ok())
}

/// As [`count_in`]. If the limit is reached, returns the instant until which attempts are refused, and the current
/// instant.
async fn one_more(
    connection: &impl ConnectionTrait,
    key: &String,
    budget: Budget,
) -> Result<Result<(), (Timestamp, Timestamp)>> {
    let rows = store::lock(connection, &[key]).await?;
    for row in rows {
        match budget.one_more(row) {
            Ok(row) => store::put(connection, vec![row]).await?,
            Err(blocked) => return Ok(Err(blocked)),
        }
    }
    Ok(Ok(()))
}

/// Fails if this replica knows that one of these keys must still wait.
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

    /// The row with one more attempt. If the limit is reached, returns the instant until which attempts are refused, and
    /// the current instant.
    fn one_more(self, row: Model) -> Result<Model, (Timestamp, Timestamp)> {
        // The clock is read after the row was locked: another transaction may have held it before.
        let now = clock::now();
        // A clock that jumped ahead and back must not make anybody wait.
        let longest = now.plus_seconds(self.longest);
        let until = Timestamp::from_millis(row.blocked_until).min(longest);
        if until > now {
            return Err((until, now));
        }
        let before = if row.expires_at > now.millis() { row.count } else { 0 };
        Ok(self.after(row.key, before + 1, now))
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

/// Returns the key of a counter: a digest that cannot be computed without the secret of the settings. So a reader of
/// the table does not learn which accounts were tried. A plain digest could be compared with those of likely names, and
/// of passwords that were typed as a name.
fn key(app: &App, what: &str, parts: &[&str]) -> String {
    let text = [&[what], parts].concat().join("\0");
    hex(hmac::sign(&app.rate_limit.attempt_key, text.as_bytes()))
}

/// Returns the part of an IP address that identifies one client: the address, or a network of 64 bits with IPv6.
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
