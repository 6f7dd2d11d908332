//! The knowledge of a verifier about the feed, and its age at most. No clock is read and no request is sent here: both
//! are given.
//!
//! An answer proves how late the issuer's clock can be: a request that was sent at the local time `s` and answered with
//! `now` shows that the issuer's clock at the local time `m` is at most `now + (m − s)`. The age of the knowledge is this
//! time minus the time up to which the newest event is complete. So no two clocks must agree.

use std::collections::VecDeque;
use std::time::Duration;

/// The number of exchanges that count.
const EXCHANGES: usize = 4;

/// The issuer's clock was set if it is behind the time of an event by more than this, in milliseconds.
const JUMP: u64 = 1000;

/// The default for the age from which knowledge is stale.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(5);

/// The default for the time for which a verifier with [`WhenStale::Open`] accepts tokens that it knows too little about.
pub const DEFAULT_OPEN_FOR: Duration = Duration::from_secs(900);

/// A local time, by two clocks. The monotonic clock stands still while a machine is suspended, and the wall clock can be
/// set back. So the elapsed time is the longer one of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The monotonic clock, since any instant.
    pub monotonic: Duration,
    /// The wall clock, since the epoch.
    pub wall: Duration,
}

impl LocalTime {
    /// Returns the time since an earlier local time.
    pub fn since(&self, earlier: &Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(self.wall.saturating_sub(earlier.wall))
    }
}

/// A request to the issuer whose answer said what time it was there.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    sent: LocalTime,
    now: u64,
}

impl Exchange {
    /// Returns the latest time that the issuer's clock can have at a local time. Local clocks can be slow by a
    /// thousandth.
    fn latest(&self, at: &LocalTime) -> u64 {
        let elapsed = at.since(&self.sent).as_micros();
        let elapsed = u64::try_from(elapsed.saturating_mul(1001).div_ceil(1_000_000));
        self.now.saturating_add(elapsed.unwrap_or(u64::MAX))
    }
}

/// The choice of what happens to tokens while the knowledge is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenStale {
    /// They are refused with 503.
    #[default]
    Closed,
    /// They are accepted for [`Follower::open_for`], and their claims say so.
    Open,
}

/// The knowledge of a verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FeedState {
    /// It has no snapshot yet.
    Unknown,
    /// It knows every revocation that is older than the maximum age.
    Fresh,
    /// Its knowledge is too old.
    Stale,
}

impl FeedState {
    /// Returns the name of the state.
    pub const fn name(self) -> &'static str {
        match self {
            FeedState::Unknown => "unknown",
            FeedState::Fresh => "fresh",
            FeedState::Stale => "stale",
        }
    }
}

/// The decision about a valid token that no revocation covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is accepted.
    Accepted,
    /// It is accepted although the knowledge is stale.
    AcceptedStale,
    /// The verifier knows too little now.
    Unavailable,
}

/// The state of a verifier that follows a feed. See the module documentation.
#[derive(Debug, Clone)]
pub struct Follower {
    exchanges: VecDeque<Exchange>,
    has_snapshot: bool,
    /// The time up to which the newest event is complete.
    newest: u64,
    /// The latest time that any event was complete up to. It never decreases.
    latest: u64,
    max_age: Duration,
    when_stale: WhenStale,
    open_for: Duration,
}

impl Default for Follower {
    fn default() -> Self {
        Self {
            exchanges: VecDeque::new(),
            has_snapshot: false,
            newest: 0,
            latest: 0,
            max_age: DEFAULT_MAX_AGE,
            when_stale: WhenStale::Closed,
            open_for: DEFAULT_OPEN_FOR,
        }
    }
}

impl Follower {
    /// Creates a state without any knowledge.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the age from which knowledge is stale.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets what happens to tokens while the knowledge is stale.
    #[must_use]
    pub fn when_stale(mut self, choice: WhenStale) -> Self {
        self.when_stale = choice;
        self
    }

    /// Sets the time beyond the maximum age for which a verifier with [`WhenStale::Open`] accepts tokens.
    #[must_use]
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// Notes a request that was sent at a local time and whose answer said `now` (milliseconds since the epoch). Only the
    /// first event of a stream is such an answer.
    pub fn exchanged(&mut self, sent: LocalTime, now: u64) {
        if self.exchanges.len() == EXCHANGES {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back(Exchange { sent, now });
    }

    /// Notes a snapshot that was applied and is complete up to `at` (milliseconds since the epoch).
    pub fn took_snapshot(&mut self, at: u64, local: &LocalTime) {
        self.has_snapshot = true;
        self.received(at, local);
    }

    /// Notes an event that was applied and is complete up to `at` (milliseconds since the epoch). 0 means that more
    /// follows.
    pub fn received(&mut self, at: u64, local: &LocalTime) {
        if at == 0 {
            return;
        }
        self.newest = at;
        self.latest = self.latest.max(at);
        // The issuer's clock jumped ahead: earlier answers prove nothing about it any more.
        if self.upper(local).is_some_and(|upper| upper.saturating_add(JUMP) < at) {
            self.exchanges.clear();
        }
    }

    /// Returns the latest time that the issuer's clock can have.
    fn upper(&self, local: &LocalTime) -> Option<u64> {
        self.exchanges.iter().map(|exchange| exchange.latest(local)).min()
    }

    /// Returns the age of the knowledge at most; `None` if nothing is proven about it.
    pub fn age(&self, local: &LocalTime) -> Option<Duration> {
        let upper = self.upper(local)?;
        if self.newest == 0 || upper.saturating_add(JUMP) < self.newest {
            return None;
        }
        Some(Duration::from_millis(upper.saturating_sub(self.newest)))
    }

    /// Returns the state at a local time.
    pub fn state(&self, local: &LocalTime) -> FeedState {
        if !self.has_snapshot {
            return FeedState::Unknown;
        }
        match self.age(local) {
            Some(age) if age <= self.max_age => FeedState::Fresh,
            _ => FeedState::Stale,
        }
    }

    /// Decides about a valid token that no revocation covers.
    pub fn verdict(&self, local: &LocalTime) -> Verdict {
        match self.state(local) {
            FeedState::Fresh => Verdict::Accepted,
            FeedState::Stale if self.when_stale == WhenStale::Open => {
                let longest = self.max_age.saturating_add(self.open_for);
                let is_open = self.age(local).is_some_and(|age| age <= longest);
                if is_open { Verdict::AcceptedStale } else { Verdict::Unavailable }
            }
            _ => Verdict::Unavailable,
        }
    }

    /// Returns the time at which tokens are judged, in seconds since the epoch: the later one of the wall clock and of
    /// the latest event. So a token whose revocation was dropped has expired.
    pub fn judged_at(&self, local: &LocalTime) -> u64 {
        local.wall.as_secs().max(self.latest / 1000)
    }

    /// Returns the latest time that any event was complete up to, in milliseconds since the epoch. Entries are dropped by
    /// this time alone.
    pub fn latest(&self) -> u64 {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The issuer's clock is an hour behind the local one, in milliseconds.
    const BEHIND: u64 = 3_600_000;
    const START: u64 = 1_800_000_000_000;

    fn local(millis: u64) -> LocalTime {
        let (monotonic, wall) =
            (Duration::from_millis(millis), Duration::from_millis(START + millis));
        LocalTime { monotonic, wall }
    }

    fn issuer(millis: u64) -> u64 {
        START - BEHIND + millis
    }

    /// A verifier that took a snapshot at 100, with a request that took 40 milliseconds.
    fn fresh() -> Follower {
        let mut follower = Follower::new();
        follower.exchanged(local(60), issuer(90));
        follower.took_snapshot(issuer(80), &local(100));
        follower
    }

    #[test]
    fn it_is_unknown_before_a_snapshot_fresh_after_it_and_stale_beyond_the_maximum_age() {
        let mut follower = Follower::new();
        assert_eq!(follower.state(&local(0)), FeedState::Unknown);
        follower.exchanged(local(0), issuer(0));
        assert_eq!(follower.state(&local(1)), FeedState::Unknown);
        assert_eq!(follower.verdict(&local(1)), Verdict::Unavailable);
        let mut follower = fresh();
        assert_eq!(follower.state(&local(100)), FeedState::Fresh);
        // 90 + (m − 60) · 1.001 − 80 = 5000.
        assert_eq!(follower.state(&local(5045)), FeedState::Fresh);
        assert_eq!(follower.state(&local(5046)), FeedState::Stale);
        follower.received(issuer(5050), &local(5100));
        assert_eq!(follower.state(&local(5100)), FeedState::Fresh);
    }

    #[test]
    fn the_maximum_age_can_be_set() {
        let follower = fresh().max_age(Duration::from_secs(1));
        assert_eq!(follower.state(&local(1000)), FeedState::Fresh);
        assert_eq!(follower.state(&local(1100)), FeedState::Stale);
    }

    #[test]
    fn an_event_from_more_than_a_jump_ahead_ends_what_earlier_answers_prove() {
        let upper = fresh().upper(&local(100)).unwrap();
        let mut follower = fresh();
        follower.received(upper + JUMP, &local(100));
        assert_eq!(follower.age(&local(100)), Some(Duration::ZERO));
        let mut follower = fresh();
        follower.received(upper + JUMP + 1, &local(100));
        assert_eq!(follower.age(&local(100)), None);
        // An answer from before proves nothing either.
        follower.exchanged(local(60), issuer(90));
        assert_eq!(follower.age(&local(100)), None);
    }

    #[test]
    fn an_age_is_never_less_than_the_true_one() {
        let mut follower = fresh();
        for step in 1..200 {
            // Requests are slow in one direction or in the other, and events are delayed.
            let sent = step * 1000;
            let (there, back) = if step % 2 == 0 { (900, 10) } else { (5, 700) };
            follower.exchanged(local(sent), issuer(sent + there));
            let at = issuer(sent + there - 3);
            let arrived = local(sent + there + back + 300);
            follower.received(at, &arrived);
            for later in [0, 200, 4000] {
                let now = local(sent + there + back + 300 + later);
                let age = follower.age(&now).unwrap();
                let issuer_now = issuer(sent + there + back + 300 + later);
                assert!(age >= Duration::from_millis(issuer_now - at), "{step} {later}");
            }
        }
        // One quick exchange among the last four makes the age small.
        assert!(follower.age(&local(200_000)).unwrap() < Duration::from_secs(2));
    }

    #[test]
    fn events_that_a_proxy_held_up_do_not_look_young() {
        let mut follower = fresh();
        // Nothing arrives for a minute, and then the events of that minute at once.
        let now = local(60_000);
        for second in 1..30 {
            follower.received(issuer(second * 1000), &now);
        }
        assert_eq!(follower.state(&now), FeedState::Stale);
        follower.received(issuer(59_900), &now);
        assert_eq!(follower.state(&now), FeedState::Fresh);
    }

    #[test]
    fn a_clock_that_jumps_or_stands_still_makes_nothing_look_young() {
        let second = Duration::from_secs(1);
        for (what, now, state) in [
            (
                "suspended for an hour",
                LocalTime { wall: local(3_600_000).wall, ..local(200) },
                FeedState::Stale,
            ),
            ("wall clock set back", LocalTime { wall: second, ..local(6000) }, FeedState::Stale),
            (
                "wall clock set back a little",
                LocalTime { wall: second, ..local(1000) },
                FeedState::Fresh,
            ),
            (
                "wall clock set ahead",
                LocalTime { wall: local(0).wall + 3600 * second, ..local(200) },
                FeedState::Stale,
            ),
        ] {
            assert_eq!(fresh().state(&now), state, "{what}");
        }
    }

    #[test]
    fn after_a_jump_of_the_issuers_clock_only_a_new_exchange_makes_it_fresh() {
        let mut follower = fresh();
        let ahead = 3_600_000;
        follower.received(issuer(200 + ahead), &local(200));
        assert_eq!(follower.state(&local(200)), FeedState::Stale);
        assert_eq!(follower.age(&local(200)), None);
        follower.exchanged(local(300), issuer(310 + ahead));
        assert_eq!(follower.state(&local(320)), FeedState::Fresh);
        // Back again: the old exchanges say that it is later, so it is stale until a new one.
        follower.received(issuer(1000), &local(1000));
        assert_eq!(follower.state(&local(1000)), FeedState::Stale);
        follower.exchanged(local(1100), issuer(1110));
        assert_eq!(follower.state(&local(1200)), FeedState::Fresh);
        // Tokens are still judged by the latest time.
        assert_eq!(follower.judged_at(&local(1200)), (START + 1200) / 1000);
        let set_back = LocalTime { wall: Duration::from_secs(5), ..local(1200) };
        assert_eq!(follower.judged_at(&set_back), issuer(200 + ahead) / 1000);
    }

    #[test]
    fn an_open_verifier_accepts_for_a_while_and_says_so() {
        let open = fresh().when_stale(WhenStale::Open).open_for(Duration::from_secs(60));
        for (millis, verdict) in [
            (200, Verdict::Accepted),
            (6000, Verdict::AcceptedStale),
            (64_000, Verdict::AcceptedStale),
            (66_000, Verdict::Unavailable),
        ] {
            assert_eq!(open.verdict(&local(millis)), verdict, "{millis}");
        }
        assert_eq!(fresh().verdict(&local(6000)), Verdict::Unavailable);
        let unknown = Follower::new().when_stale(WhenStale::Open);
        assert_eq!(unknown.verdict(&local(0)), Verdict::Unavailable);
    }
}
