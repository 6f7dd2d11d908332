//! A client of an issuer: it reads the public keys, follows the revocations, and decides about tokens by itself.
//!
//! ```no_run
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! use tessera_verify::Tessera;
//!
//! let tessera = Tessera::from_env()?.start().await;
//! let guard = tessera.guard();
//! # Ok(())
//! # }
//! ```
//!
//! From the environment it reads `TESSERA_ISSUER`, `TESSERA_AUDIENCE` (one or several, separated by commas),
//! `TESSERA_SECRET` (for HS256; otherwise the published keys are read), `TESSERA_FEED_TOKEN` (an API token with the scope
//! `revocations:read`) and `TESSERA_FEED` (`off` or `pull`). Each can also name a file: `TESSERA_SECRET_FILE`.
//!
//! If the issuer cannot be read, a warning on the standard error says why, or [`Settings::on_warning`] gets it.
//!
//! While the service does not know the revocations of the last five seconds, it answers 503 to valid tokens. What it
//! knows to be revoked, it always refuses.

mod follow;
mod keys;
mod metrics;
mod pull;
mod settings;
mod sse;
#[cfg(test)]
mod vectors;
mod warnings;

pub use settings::{Settings, SettingsError};

use std::fmt;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::keys::Keys;
use self::metrics::{Counters, REFUSALS};
use self::pull::Pull;
use self::warnings::Warnings;
use crate::feed::{FeedList, FeedState, Follower, LocalTime, Verdict};
use crate::{Claims, Denied, Guard, Key, KeySet, Prepared, Refusal, Verifier, Watch};

/// The claim that marks a token which was accepted although the knowledge about revocations was stale.
pub const STALE_CLAIM: &str = "tessera_stale";

/// The longest time that a start waits for the keys and the revocations.
const START_WITHIN: Duration = Duration::from_secs(5);

/// A running client of an issuer. It is cheap to clone, and runs until its last clone and guard are dropped.
#[derive(Clone)]
pub struct Tessera(Arc<Running>);

impl fmt::Debug for Tessera {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tessera").field(&self.0.shared.issuer).finish()
    }
}

/// The client with its tasks, which end with it.
struct Running {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Fetches on demand, instead of tasks.
    pull: Option<Pull>,
    fresh_for: u64,
}

/// The parts that the tasks and the guards share.
struct Shared {
    issuer: String,
    verifier: Arc<Verifier>,
    /// `false` if no revocations are followed.
    follows: bool,
    list: FeedList,
    follower: Mutex<Follower>,
    /// The number of the last row of the feed.
    seq: Mutex<u64>,
    keys: Option<Keys>,
    counters: Counters,
    warnings: Warnings,
    /// Changes whenever something was learned.
    learned: watch::Sender<u64>,
}

/// Returns the local time.
#[expect(clippy::disallowed_methods, reason = "the client reads the clocks here")]
fn local_time() -> LocalTime {
    static START: OnceLock<Instant> = OnceLock::new();
    let monotonic = START.get_or_init(Instant::now).elapsed();
    LocalTime { monotonic, wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
}

impl Shared {
    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_learned(&self) {
        self.learned.send_modify(|count| *count += 1);
    }

    fn state(&self) -> FeedState {
        if self.follows { self.follower().state(&local_time()) } else { FeedState::Fresh }
    }

    /// Returns true if the keys are known and the revocations are fresh.
    fn is_ready(&self) -> bool {
        self.state() == FeedState::Fresh && self.keys.as_ref().is_none_or(Keys::are_known)
    }

    fn deny(&self, denied: Denied) -> Denied {
        let reason = match &denied {
            Denied::Refused(refusal) => refusal.reason(),
            _ => "unavailable",
        };
        self.counters.count(REFUSALS, reason);
        denied
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Running").field(&self.shared.issuer).finish()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Watch for Running {
    fn time(&self, now: u64) -> u64 {
        let local = LocalTime { monotonic: Duration::ZERO, wall: Duration::from_secs(now) };
        self.shared.follower().judged_at(&local)
    }

    fn prepare(&self) -> Option<Prepared<'_>> {
        let pull = self.pull.as_ref()?;
        Some(Box::pin(pull.bring_up_to_date()))
    }

    fn judge(&self, kid: &str, mut claims: Claims) -> Result<Claims, Denied> {
        let shared = &self.shared;
        if !shared.follows {
            return Ok(claims);
        }
        if shared.list.is_key_denied(kid) || shared.list.covers(&claims) {
            return Err(shared.deny(Denied::Refused(Refusal::Revoked)));
        }
        match shared.follower().verdict(&local_time()) {
            Verdict::Accepted => Ok(claims),
            Verdict::AcceptedStale => {
                shared.counters.count("accepted_stale_total", "stale");
                claims.extra.insert(STALE_CLAIM.to_owned(), true.into());
                Ok(claims)
            }
            Verdict::Unavailable => Err(shared.deny(Denied::Unavailable)),
        }
    }

    fn refused(&self, refusal: Refusal) -> Denied {
        let shared = &self.shared;
        if let (Refusal::KeyUnknown, Some(keys)) = (refusal, &shared.keys) {
            keys.want(&local_time());
            if !keys.are_known() {
                return shared.deny(Denied::Unavailable);
            }
        }
        shared.deny(Denied::Refused(refusal))
    }
}

impl Tessera {
    /// Reads the settings from the environment. See the [module](self).
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if a variable is missing or cannot be used. It names the variable, and never its value.
    #[expect(
        clippy::disallowed_methods,
        reason = "the settings of a service are in its environment"
    )]
    pub fn from_env() -> Result<Settings, SettingsError> {
        let look = |name: &str| std::env::var(name).ok();
        Settings::read(look, |path| {
            std::fs::read_to_string(path).map_err(|error| error.to_string())
        })
    }

    /// Returns a guard, which frameworks use as an argument of handlers. It judges each token by what is known then.
    pub fn guard(&self) -> Guard {
        let verifier = Arc::clone(&self.0.shared.verifier);
        let watch: Arc<dyn Watch> = Arc::clone(&self.0) as Arc<dyn Watch>;
        Guard::new(verifier).fresh_for(self.0.fresh_for).watch(watch)
    }

    /// Returns what is known about the revocations.
    pub fn state(&self) -> FeedState {
        self.0.shared.state()
    }

    /// Returns the age of the knowledge about revocations at most; `None` if nothing is proven about it.
    pub fn age(&self) -> Option<Duration> {
        self.0.shared.follower().age(&local_time())
    }

    /// Returns the number of revocations in memory.
    pub fn entries(&self) -> usize {
        self.0.shared.list.len()
    }

    /// Returns the number up to which the revocations are known. The header `Tessera-Revocation-Seq` of an answer that
    /// ended something has such a number behind the dot.
    pub fn seq(&self) -> u64 {
        *self.0.shared.seq.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the metrics in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        let shared = &self.0.shared;
        let mut text = String::new();
        for state in [FeedState::Unknown, FeedState::Fresh, FeedState::Stale] {
            let is_it = u8::from(shared.state() == state);
            let _ = writeln!(text, "tessera_verify_state{{state=\"{}\"}} {is_it}", state.name());
        }
        let mut number = |name: &str, value: f64| {
            let _ = writeln!(text, "tessera_verify_{name} {value}");
        };
        if let Some(age) = self.age() {
            number("feed_age_seconds", age.as_secs_f64());
        }
        number("feed_seq", self.seq() as f64);
        number("entries", self.entries() as f64);
        if let Some(age) = shared.keys.as_ref().and_then(|keys| keys.age(&local_time())) {
            number("keys_age_seconds", age.as_secs_f64());
        }
        shared.counters.write(&mut text);
        text
    }

    /// Creates a client without tasks.
    pub(crate) fn without_tasks(settings: &Settings, keys: KeySet, reads_keys: bool) -> Self {
        let mut audiences = settings.audiences.iter().cloned();
        let verifier = Verifier::new(keys, &settings.issuer, audiences.next().unwrap_or_default());
        let follower = Follower::new()
            .max_age(settings.max_age)
            .when_stale(settings.when_stale)
            .open_for(settings.open_for);
        let shared = Shared {
            issuer: settings.issuer.clone(),
            verifier: Arc::new(verifier.also_for(audiences.collect())),
            follows: settings.feed_token.is_some(),
            list: FeedList::new(),
            follower: Mutex::new(follower),
            seq: Mutex::default(),
            keys: reads_keys.then(Keys::default),
            counters: Counters::default(),
            warnings: Warnings::new(settings.warn.clone()),
            learned: watch::Sender::new(0),
        };
        let (shared, tasks) = (Arc::new(shared), Mutex::default());
        let token = settings.feed_token.clone().filter(|_| settings.pulls);
        let pull = token.map(|token| Pull::new(Arc::clone(&shared), token));
        Self(Arc::new(Running { shared, tasks, pull, fresh_for: settings.fresh_for }))
    }

    /// Replaces the knowledge about the feed, for tests.
    #[cfg(feature = "testing")]
    pub(crate) fn replace_follower(&self, change: impl FnOnce(Follower, LocalTime) -> Follower) {
        let mut held = self.0.shared.follower();
        *held = change(held.clone(), local_time());
    }

    /// Returns the list of revocations and the verifier, for tests.
    #[cfg(feature = "testing")]
    pub(crate) fn parts(&self) -> (&FeedList, &Verifier) {
        (&self.0.shared.list, &self.0.shared.verifier)
    }
}

impl Settings {
    /// Starts to follow the issuer. Waits for the keys and the revocations, but at most five seconds: a service also
    /// starts while the issuer is away, and answers 503 until it knows enough.
    ///
    /// # Panics
    ///
    /// If it is called outside of tokio's runtime.
    pub async fn start(self) -> Tessera {
        let keys = self.secret.as_deref().map_or_else(
            || KeySet::verifying([]),
            |secret| KeySet::verifying([Key::hs256(secret), Key::refresh(secret)]),
        );
        let tessera = Tessera::without_tasks(&self, keys, self.secret.is_none());
        let shared = &tessera.0.shared;
        if let Some(pull) = &tessera.0.pull {
            pull.bring_up_to_date().await;
            return tessera;
        }
        let mut tasks = Vec::new();
        match &self.feed_token {
            Some(token) => {
                let feed = follow::Feed::new(Arc::clone(shared), token.clone());
                tasks.push(tokio::spawn(feed.clone().keep_following()));
                tasks.push(tokio::spawn(feed.keep_exchanging()));
            }
            None => shared.warnings.say(
                "no revocations are followed, so revoked tokens are accepted until they expire: set \
                 TESSERA_FEED_TOKEN to an API token with the scope revocations:read",
            ),
        }
        if shared.keys.is_some() {
            tasks.push(tokio::spawn(keys::keep_reading(Arc::clone(shared))));
        }
        *tessera.0.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        let mut learned = shared.learned.subscribe();
        let ready = async { while !shared.is_ready() && learned.changed().await.is_ok() {} };
        let _ = timeout(START_WITHIN, ready).await;
        tessera
    }
}
