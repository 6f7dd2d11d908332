//! The places for connections: how many there are, who has them, and who gives way if there are too few.
//!
//! A connection needs a place from the moment it is accepted. It gives way only while the server waits for its client.
//! So a connection whose request has arrived is never closed to make room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::base::config::{Peer, TrustedProxy};

/// The time for which a connection may wait for its client, even if others need its place.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The time after which a connection without a place tries again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// If there is no room, this part of all places is freed at once, so that the search for them is rarely needed.
const FREED_AT_ONCE: usize = 64;

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No byte of a request has arrived since the connection began or since the last answer.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// The body of a request is arriving.
    Body,
    /// The request has arrived and is being answered.
    Working,
    /// The answer is being sent.
    Answering,
    /// The answer did not wait for the request to arrive. The rest of the request is discarded.
    Unread,
    /// Another connection gets the place.
    Leaving,
}

impl State {
    fn of(bits: u64) -> Self {
        match bits {
            0 => State::Idle,
            1 => State::Head,
            2 => State::Body,
            3 => State::Working,
            4 => State::Answering,
            5 => State::Unread,
            _ => State::Leaving,
        }
    }
}

/// The order in which waiting connections give way: first those whose request arrives slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Slow,
    Idle,
    Unsent,
}

/// The number of bits for the state in the word that has state and time.
const STATE_BITS: u32 = 3;

/// The progress of a connection, which the connection notes and the search for room reads.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// The state, and the milliseconds since `began` when it began. Only states in which the server waits for the client
    /// need the time. While a request is being answered, this keeps the time of the state before.
    word: AtomicU64,
    leave: Notify,
}

impl Progress {
    fn new(began: Instant) -> Self {
        let progress = Self { began, word: AtomicU64::new(0), leave: Notify::new() };
        progress.word.store(progress.word_of(State::Idle), Ordering::Relaxed);
        progress
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX >> STATE_BITS)
    }

    fn word_of(&self, state: State) -> u64 {
        word(state, self.now())
    }

    fn read(&self) -> (State, u64) {
        parts(self.word.load(Ordering::Acquire))
    }

    /// Changes the state if `next` returns one for the current state. Returns true if it did.
    fn step(&self, next: impl Fn(State) -> Option<u64>) -> bool {
        let next = |word| next(parts(word).0);
        self.word.try_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }

    /// Changes the state, but not its time, if `next` returns one for the current state. Returns true if it did.
    fn step_on(&self, next: impl Fn(State) -> Option<State>) -> bool {
        let next = |old| {
            let (state, since) = parts(old);
            Some(word(next(state)?, since))
        };
        self.word.try_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }

    /// Notes that bytes arrived. The first ones begin a request.
    pub(super) fn received(&self) {
        if self.read().0 == State::Idle {
            self.step(|state| (state == State::Idle).then(|| self.word_of(State::Head)));
        }
    }

    /// Notes that the client has a connection with TLS. Now it can send a request.
    pub(super) fn greeted(&self) {
        self.step(|state| (state == State::Head).then(|| self.word_of(State::Idle)));
    }

    /// Notes that the client took bytes of an answer.
    pub(super) fn sent(&self) {
        self.step(|state| {
            matches!(state, State::Idle | State::Answering).then(|| self.word_of(state))
        });
    }

    /// Notes that the head has arrived and that a body follows. The time of the head counts for both.
    pub(super) fn expects_body(&self) {
        self.step_on(|state| (state == State::Head).then_some(State::Body));
    }

    /// Notes that the whole request has arrived. Returns false if another connection gets the place; then the request
    /// must not be executed.
    pub(super) fn arrived(&self) -> bool {
        self.step_on(|state| (state != State::Leaving).then_some(State::Working))
    }

    /// Notes that an answer begins. Returns false if the request has not arrived.
    pub(super) fn answers(&self) -> bool {
        self.step(|state| match state {
            State::Working => Some(self.word_of(State::Answering)),
            State::Head | State::Body => Some(self.word_of(State::Unread)),
            _ => None,
        });
        self.read().0 == State::Answering
    }

    /// Notes that the last byte of the answer was passed to the connection.
    pub(super) fn answered(&self) {
        self.step(|state| (state == State::Answering).then(|| self.word_of(State::Idle)));
    }

    /// Returns true if there can be bytes of a request that nobody reads.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self.read().0, State::Head | State::Body | State::Unread)
    }

    /// Returns true if a server that stops must wait for the connection: its request or its answer is on the way.
    pub(super) fn is_in_flight(&self) -> bool {
        match self.read() {
            (State::Body | State::Working | State::Answering, _) => true,
            (State::Idle, since) => self.now().saturating_sub(since) < millis(PATIENCE),
            (State::Head | State::Unread | State::Leaving, _) => false,
        }
    }

    /// Waits until the connection must leave its place.
    pub(super) async fn left(&self) {
        self.leave.notified().await;
    }

    /// Returns the turn in which the connection gives way, and the time since which it has waited for its client.
    /// Returns `None` if it has not waited for `patience` milliseconds.
    fn turn(&self, now: u64, patience: u64) -> Option<(Turn, u64)> {
        let (state, since) = self.read();
        let waited = now.saturating_sub(since);
        match state {
            State::Unread => Some((Turn::Slow, since)),
            State::Head | State::Body if waited >= patience => Some((Turn::Slow, since)),
            State::Idle if waited >= patience => Some((Turn::Idle, since)),
            State::Answering if waited >= millis(PATIENCE) => Some((Turn::Unsent, since)),
            _ => None,
        }
    }

    /// Tells the connection to leave.
    pub(super) fn hang_up(&self) {
        self.give_way();
    }

    /// Tells the connection to leave, unless its request has just arrived. Returns false then.
    fn give_way(&self) -> bool {
        let leaves = self.step(|state| {
            (!matches!(state, State::Working | State::Leaving))
                .then(|| self.word_of(State::Leaving))
        });
        if leaves {
            self.leave.notify_one();
        }
        leaves
    }
}

fn word(state: State, since: u64) -> u64 {
    since << STATE_BITS | state as u64
}

fn parts(word: u64) -> (State, u64) {
    (State::of(word & ((1 << STATE_BITS) - 1)), word >> STATE_BITS)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    capacity: usize,
    /// The proxies, which may have all places: they connect for many clients.
    proxies: Vec<TrustedProxy>,
    began: Instant,
    taken: Mutex<Taken>,
    freed: Notify,
}

/// The places that are taken.
#[derive(Debug, Default)]
struct Taken {
    /// The number of open connections, with those that were told to leave.
    open: usize,
    next: u64,
    /// The connections that were not told to leave, by their client.
    clients: HashMap<Peer, HashMap<u64, Arc<Progress>>>,
}

impl Taken {
    fn remove(&mut self, client: Peer, number: u64) {
        if let Some(connections) = self.clients.get_mut(&client) {
            connections.remove(&number);
            if connections.is_empty() {
                self.clients.remove(&client);
            }
        }
    }

    fn of(&self, client: Peer) -> usize {
        self.clients.get(&client).map_or(0, HashMap::len)
    }

    /// Tells connections to leave: those of the client with the most connections in the earliest turn, the longest
    /// waiting first. With `client`, only its own. Returns their number.
    fn displace(&mut self, client: Option<Peer>, now: u64, patience: u64, max: usize) -> usize {
        let candidates =
            self.clients.iter().filter(|(known, _)| client.is_none_or(|one| one == **known));
        let first = candidates.filter_map(|(known, connections)| {
            let mut waiting = [0_usize; 3];
            for (turn, _) in connections.values().filter_map(|one| one.turn(now, patience)) {
                waiting[turn as usize] += 1;
            }
            let turn = waiting.iter().position(|count| *count > 0)?;
            Some((turn, usize::MAX - waiting[turn], *known))
        });
        let Some((turn, _, client)) = first.min() else { return 0 };
        let Some(connections) = self.clients.get(&client) else { return 0 };
        let mut waiting: Vec<_> = connections
            .iter()
            .filter_map(|(number, one)| Some((one.turn(now, patience)?, *number)))
            .filter(|((its_turn, _), _)| *its_turn as usize == turn)
            .map(|((_, since), number)| (since, number))
            .collect();
        waiting.sort_unstable();
        let leaving = waiting.into_iter().map(|(_, number)| number).filter(|number| {
            connections.get(number).is_some_and(|connection| connection.give_way())
        });
        let leaving: Vec<_> = leaving.take(max).collect();
        for number in &leaving {
            self.remove(client, *number);
        }
        leaving.len()
    }
}

/// The outcome of asking for a place.
enum Asked {
    Admitted(Place),
    Full,
    Refused,
}

impl Places {
    pub(super) fn new(capacity: usize, proxies: Vec<TrustedProxy>) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            proxies,
            began: Instant::now(),
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place for a new connection. Returns `None` if its client has its share of the places and all of them
    /// are busy.
    pub(super) async fn admit(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        loop {
            match self.ask(peer, millis(self.began.elapsed())) {
                Asked::Admitted(place) => return Some(place),
                Asked::Refused => return None,
                Asked::Full => {}
            }
            // A place that was freed since is noted, so the wait ends at once.
            let _ = timeout(TRY_AGAIN, self.freed.notified()).await;
        }
    }

    /// A client may have half of the places. Beyond that, a new connection takes the place of its longest waiting one.
    fn ask(self: &Arc<Self>, peer: Peer, now: u64) -> Asked {
        let client = client_of(peer);
        let is_proxy = peer.is_of(&self.proxies);
        let at_once = self.capacity / FREED_AT_ONCE + 1;
        let mut taken = self.taken();
        let share = (self.capacity / 2).max(1);
        if !is_proxy
            && taken.of(client) >= share
            && taken.displace(Some(client), now, 0, at_once) == 0
        {
            return Asked::Refused;
        }
        if taken.open >= self.capacity {
            let staying: usize = taken.clients.values().map(HashMap::len).sum();
            if taken.open == staying {
                taken.displace(None, now, millis(PATIENCE), at_once);
            }
            return Asked::Full;
        }
        let (number, progress) = (taken.next, Arc::new(Progress::new(self.began)));
        taken.next += 1;
        taken.open += 1;
        taken.clients.entry(client).or_default().insert(number, Arc::clone(&progress));
        Asked::Admitted(Place { places: Arc::clone(self), client, number, progress })
    }
}

/// The place of an open connection. It is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    client: Peer,
    number: u64,
    progress: Arc<Progress>,
}

impl Place {
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.remove(self.client, self.number);
        taken.open -= 1;
        drop(taken);
        self.places.freed.notify_one();
    }
}

/// The part of an address that identifies one client: an IPv4 address, or a network of 64 bits with IPv6. All programs
/// at Unix sockets are one client.
fn client_of(peer: Peer) -> Peer {
    match peer {
        Peer::Address(_) => match peer.address() {
            IpAddr::V6(address) => {
                Peer::Address(Ipv6Addr::from(u128::from(address) >> 64 << 64).into())
            }
            address => Peer::Address(address),
        },
        Peer::Unix => Peer::Unix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Peer {
        if text == "unix" { Peer::Unix } else { Peer::Address(text.parse().unwrap()) }
    }

    fn place(places: &Arc<Places>, from: &str) -> Place {
        match places.ask(address(from), LATER) {
            Asked::Admitted(place) => place,
            Asked::Full => panic!("no room for {from}"),
            Asked::Refused => panic!("{from} is refused"),
        }
    }

    fn leaves(place: &Place) -> bool {
        place.progress.read().0 == State::Leaving
    }

    /// Makes a connection look as if it waited for long.
    fn age(place: &Place) {
        let (state, _) = place.progress.read();
        place.progress.word.store(state as u64, Ordering::Relaxed);
    }

    /// A minute after the beginning.
    const LATER: u64 = 60_000;

    fn places(capacity: usize, proxies: &str) -> Arc<Places> {
        let proxies = proxies.split_whitespace().map(|network| network.parse().unwrap()).collect();
        Places::new(capacity, proxies)
    }

    fn arrive(place: &Place) {
        place.progress.received();
        assert!(place.progress.arrived());
    }

    #[test]
    fn slow_requests_give_way_first_then_idle_connections_and_busy_ones_never() {
        let places = places(6, "");
        let from = |last: u8| place(&places, &format!("192.0.2.{last}"));
        let mut waiting =
            vec![("body", from(1)), ("idle", from(2)), ("head", from(3)), ("unsent", from(4))];
        let (busy, new) = (from(5), from(6));
        let of = |at: usize| &waiting[at].1.progress;
        of(0).received();
        of(0).expects_body();
        of(2).received();
        arrive(&waiting[3].1);
        assert!(of(3).answers());
        arrive(&busy);
        waiting.iter().for_each(|(_, place)| age(place));
        age(&busy);
        new.progress.word.store(word(State::Head, LATER), Ordering::Relaxed);
        let mut fillers = Vec::new();
        for expected in ["body", "head", "idle", "unsent"] {
            assert!(matches!(places.ask(address("198.51.100.1"), LATER), Asked::Full));
            let at = waiting.iter().position(|(_, place)| leaves(place)).unwrap();
            let (name, left) = waiting.remove(at);
            assert_eq!(name, expected);
            assert!(
                !left.progress.arrived(),
                "a request of a connection that left must not be executed"
            );
            drop(left);
            fillers.push(place(&places, &format!("198.51.100.{}", fillers.len())));
            arrive(fillers.last().unwrap());
        }
        assert!(matches!(places.ask(address("198.51.100.9"), LATER), Asked::Full));
        assert!(![&busy, &new].into_iter().chain(&fillers).any(leaves));
    }

    #[test]
    fn the_client_with_the_most_waiting_connections_gives_way_first() {
        let places = places(6, "");
        let old = place(&places, "192.0.2.1");
        let many: Vec<_> = (0..3).map(|_| place(&places, "192.0.2.2")).collect();
        let others = [place(&places, "192.0.2.3"), place(&places, "192.0.2.4")];
        [&old].into_iter().chain(&many).chain(&others).for_each(age);
        assert!(matches!(places.ask(address("192.0.2.5"), LATER), Asked::Full));
        assert_eq!(many.iter().filter(|place| leaves(place)).count(), 1);
        assert!(!leaves(&old) && !others.iter().any(leaves));
    }

    #[test]
    fn a_client_has_half_of_the_places_and_a_proxy_all() {
        for (client, proxies, has) in [
            (["192.0.2.1", "192.0.2.1"], "", 5),
            (["2001:db8::1", "2001:db8::ffff:1"], "", 5),
            (["192.0.2.1", "::ffff:192.0.2.1"], "", 5),
            (["192.0.2.1", "::ffff:192.0.2.1"], "192.0.2.0/24", 10),
            (["192.0.2.1", "192.0.2.2"], "", 10),
            (["2001:db8::1", "2001:db8:0:1::1"], "", 10),
            (["unix", "unix"], "127.0.0.1", 5),
            (["unix", "127.0.0.1"], "", 10),
            (["unix", "unix"], "unix", 10),
        ] {
            let places = places(10, proxies);
            let taken: Vec<_> = (0..10).map(|at| place(&places, client[at % 2])).collect();
            let stay = taken.iter().filter(|place| !leaves(place)).count();
            assert_eq!(stay, has, "{client:?} {proxies}");
        }
        let places = places(4, "");
        let busy = [place(&places, "192.0.2.1"), place(&places, "192.0.2.1")];
        busy.iter().for_each(arrive);
        assert!(matches!(places.ask(address("192.0.2.1"), LATER), Asked::Refused));
        arrive(&place(&places, "192.0.2.2"));
    }
}
