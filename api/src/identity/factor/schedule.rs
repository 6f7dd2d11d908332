//! The order of the queue for the hashing threads: the job that runs next, and the job that is refused if too many wait.
//!
//! Sources take turns, and within a source its accounts do. A source is the address that a request came from, and an
//! account is the one whose password is hashed. No source has a fixed share: a source that is alone gets every thread. If
//! all waiting jobs would take longer than [`WAIT`], the longest source loses the newest job of its longest account. So a
//! source that floods the queue is refused, and delays each job of another source by one of its own jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::pace::OWN;

/// The maximum time that all waiting jobs can take. The last one waits as long as this.
pub(super) const WAIT: Duration = Duration::from_secs(7);

/// The maximum number of waiting jobs for each thread, even if each takes little time. This limits the memory.
const JOBS_PER_WORKER: usize = 256;

/// The maximum number of kinds of jobs whose time is measured separately. Further kinds count as the first.
const MAX_KINDS: usize = 64;

/// The origin of a job.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The source: the address that the request came from.
    pub(super) source: String,
    /// The account whose password is hashed.
    pub(super) account: String,
}

/// The place of a job: digests of its source and account, so that a long name takes no more memory than a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    source: u64,
    account: u64,
}

/// A job that was pushed. Numbers grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    place: Place,
    number: u64,
}

/// Jobs in a line.
trait Line<T>: Default {
    /// The key of such a line among others of its kind.
    fn key(place: Place) -> u64;

    /// The number of waiting jobs.
    fn length(&self) -> usize;

    /// The number of the job that [`evict`](Self::evict) would remove.
    fn last(&self) -> u64;

    /// Returns true if [`evict`](Self::evict) would remove a job that is pushed now.
    fn would_evict(&self, place: Place) -> bool;

    /// Adds a job.
    fn push(&mut self, ticket: Ticket, job: T);

    /// Removes the next job.
    fn pop(&mut self) -> Option<T>;

    /// Removes the newest job of the longest line in it.
    fn evict(&mut self) -> Option<T>;

    /// Removes a job that may be anywhere.
    fn take(&mut self, ticket: Ticket) -> Option<T>;
}

/// The jobs of one account of a source, by number: first come, first served.
struct Fifo<T>(BTreeMap<u64, T>);

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Line<T> for Fifo<T> {
    fn key(place: Place) -> u64 {
        place.account
    }

    fn length(&self) -> usize {
        self.0.len()
    }

    fn last(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn would_evict(&self, _: Place) -> bool {
        true
    }

    fn push(&mut self, ticket: Ticket, job: T) {
        self.0.insert(ticket.number, job);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_first().map(|(_, job)| job)
    }

    fn evict(&mut self) -> Option<T> {
        self.0.pop_last().map(|(_, job)| job)
    }

    fn take(&mut self, ticket: Ticket) -> Option<T> {
        self.0.remove(&ticket.number)
    }
}

/// Lines that take turns. None of them is empty.
struct Turns<L> {
    lines: HashMap<u64, Waiting<L>>,
    /// The lines in the order of their turns, the next one first.
    turns: BTreeMap<u64, u64>,
    next_turn: u64,
    /// The length, the last job and the key of each line: the one that loses a job is the last. Of equally long lines,
    /// it is the one whose last job is the newest, so those who have waited stay.
    ranks: BTreeSet<(usize, u64, u64)>,
    length: usize,
}

/// A line that waits for its turn.
#[derive(Default)]
struct Waiting<L> {
    turn: u64,
    line: L,
}

impl<L> Default for Turns<L> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            ranks: BTreeSet::new(),
            length: 0,
        }
    }
}

impl<L> Turns<L> {
    /// Puts a line at the end of the turns. Returns its turn.
    fn queue_up(&mut self, key: u64) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns.insert(turn, key);
        turn
    }

    /// Changes a line. One that is new gets the last turn, and one that is empty then is removed.
    fn change<T, R>(&mut self, key: u64, change: impl FnOnce(&mut L) -> R) -> R
    where
        L: Line<T>,
    {
        let mut waiting = match self.lines.remove(&key) {
            Some(waiting) => waiting,
            None => Waiting { turn: self.queue_up(key), line: L::default() },
        };
        let line = &mut waiting.line;
        self.ranks.remove(&(line.length(), line.last(), key));
        self.length -= line.length();
        let result = change(line);
        self.length += line.length();
        if line.length() == 0 {
            self.turns.remove(&waiting.turn);
        } else {
            self.ranks.insert((line.length(), line.last(), key));
            self.lines.insert(key, waiting);
        }
        result
    }
}

impl<T, L: Line<T>> Line<T> for Turns<L> {
    fn key(place: Place) -> u64 {
        place.source
    }

    fn length(&self) -> usize {
        self.length
    }

    fn last(&self) -> u64 {
        self.ranks.last().map_or(0, |(_, last, _)| *last)
    }

    fn would_evict(&self, place: Place) -> bool {
        let longest = self.ranks.last().map_or(0, |(length, ..)| *length);
        match self.lines.get(&L::key(place)) {
            Some(own) => own.line.length() + 1 >= longest && own.line.would_evict(place),
            None => longest <= 1,
        }
    }

    fn push(&mut self, ticket: Ticket, job: T) {
        self.change(L::key(ticket.place), |line| line.push(ticket, job));
    }

    fn pop(&mut self) -> Option<T> {
        let (_, key) = self.turns.pop_first()?;
        let turn = self.queue_up(key);
        self.lines.get_mut(&key)?.turn = turn;
        self.change(key, L::pop)
    }

    fn evict(&mut self) -> Option<T> {
        let (.., key) = *self.ranks.last()?;
        self.change(key, L::evict)
    }

    fn take(&mut self, ticket: Ticket) -> Option<T> {
        let key = L::key(ticket.place);
        if !self.lines.contains_key(&key) {
            return None;
        }
        self.change(key, |line| line.take(ticket))
    }
}

/// Jobs that take about the same time.
struct Kind {
    name: String,
    queued: u32,
    /// The moving average of what such a job takes; a guess, until one was measured.
    average: Duration,
}

/// The kind of a job: its index among the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KindId(usize);

/// A scheduler of jobs. It neither runs them nor reads a clock.
pub(super) struct Schedule<T> {
    lines: Turns<Turns<Fifo<(KindId, T)>>>,
    kinds: Vec<Kind>,
    /// The maximum work that can wait: [`WAIT`] of each thread.
    most_work: Duration,
    most_jobs: usize,
    next: u64,
    digests: RandomState,
}

impl<T> Schedule<T> {
    /// The number of waiting jobs.
    pub(super) fn length(&self) -> usize {
        self.lines.length()
    }

    /// An empty queue for so many threads. A job takes about `guess`, until that is measured.
    pub(super) fn new(workers: usize, guess: Duration) -> Self {
        let own = Kind { name: OWN.to_owned(), queued: 0, average: guess };
        Self {
            lines: Turns::default(),
            kinds: vec![own],
            most_work: WAIT.saturating_mul(u32::try_from(workers).unwrap_or(u32::MAX)),
            most_jobs: workers.saturating_mul(JOBS_PER_WORKER),
            next: 0,
            digests: RandomState::new(),
        }
    }

    /// Adds a job. Returns its ticket, and the job that is refused for it, if the queue is full: it may be this one.
    ///
    /// The work before a job counts, not its own. So the kind of a user's hash does not decide whether they are refused.
    pub(super) fn push(&mut self, origin: &Origin, kind: &str, job: T) -> (Ticket, Option<T>) {
        let is_full = self.is_full();
        let kind = self.kind(kind);
        let ticket = Ticket { place: self.place(origin), number: self.next };
        self.next += 1;
        self.kinds[kind.0].queued += 1;
        self.lines.push(ticket, (kind, job));
        let refused = if is_full { self.lines.evict() } else { None };
        (ticket, refused.map(|job| self.left(job).1))
    }

    /// Returns true if a job that is pushed now would be refused at once.
    pub(super) fn would_refuse(&self, origin: &Origin) -> bool {
        self.is_full() && self.lines.would_evict(self.place(origin))
    }

    /// Returns true if a job that is pushed now would wait for too long behind the others.
    fn is_full(&self) -> bool {
        self.lines.length() >= self.most_jobs || self.work() > self.most_work
    }

    /// Removes the job that is to be begun next.
    pub(super) fn pop(&mut self) -> Option<(KindId, T)> {
        let job = self.lines.pop()?;
        Some(self.left(job))
    }

    /// Removes a job that nobody waits for any more. Returns nothing if it has left the queue before.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<T> {
        let job = self.lines.take(ticket)?;
        Some(self.left(job).1)
    }

    /// Records the time that a job took.
    pub(super) fn measured(&mut self, kind: KindId, took: Duration) {
        let average = &mut self.kinds[kind.0].average;
        *average = (average.saturating_mul(7).saturating_add(took)) / 8;
    }

    /// The time that all waiting jobs would take on one thread.
    fn work(&self) -> Duration {
        let works = self.kinds.iter().map(|kind| kind.average.saturating_mul(kind.queued));
        works.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Counts a job that has left the queue.
    fn left(&mut self, (kind, job): (KindId, T)) -> (KindId, T) {
        self.kinds[kind.0].queued -= 1;
        (kind, job)
    }

    /// The kind of this name. A new one is thought to take as long as the first.
    fn kind(&mut self, name: &str) -> KindId {
        let known = self.kinds.iter().position(|kind| kind.name == name);
        KindId(known.unwrap_or_else(|| {
            if self.kinds.len() == MAX_KINDS {
                return 0;
            }
            let average = self.kinds[0].average;
            self.kinds.push(Kind { name: name.to_owned(), queued: 0, average });
            self.kinds.len() - 1
        }))
    }

    fn place(&self, Origin { source, account }: &Origin) -> Place {
        Place { source: self.digests.hash_one(source), account: self.digests.hash_one(account) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of a second each: on two threads, 56 of them wait for seven seconds.
    const JOB: Duration = Duration::from_millis(250);

    /// A job in tests: its source, its account, and which of them it is.
    type Named = (&'static str, u32, u32);

    struct Office {
        schedule: Schedule<Named>,
        refused: Vec<Named>,
    }

    impl Office {
        fn new(workers: usize) -> Self {
            Self { schedule: Schedule::new(workers, JOB), refused: Vec::new() }
        }

        fn push(&mut self, job: Named) -> Ticket {
            let (ticket, refused) = self.schedule.push(&origin(job), OWN, job);
            self.refused.extend(refused);
            ticket
        }

        fn pop(&mut self) -> Option<Named> {
            self.schedule.pop().map(|(_, job)| job)
        }

        fn rest(&mut self) -> Vec<Named> {
            std::iter::from_fn(|| self.pop()).collect()
        }
    }

    fn origin((source, account, _): Named) -> Origin {
        Origin { source: source.to_owned(), account: account.to_string() }
    }

    #[test]
    fn sources_take_turns_and_so_do_the_accounts_of_each() {
        let mut office = Office::new(2);
        for job in [
            ("a", 1, 1),
            ("a", 1, 2),
            ("a", 1, 3),
            ("a", 2, 1),
            ("b", 1, 1),
            ("b", 1, 2),
            ("c", 1, 1),
        ] {
            office.push(job);
        }
        let expected = [
            ("a", 1, 1),
            ("b", 1, 1),
            ("c", 1, 1),
            ("a", 2, 1),
            ("b", 1, 2),
            ("a", 1, 2),
            ("a", 1, 3),
        ];
        assert_eq!(office.rest(), expected);
    }

    #[test]
    fn a_source_that_is_alone_gets_every_thread() {
        let mut office = Office::new(2);
        for turn in 0..40 {
            office.push(("a", 1, turn));
        }
        assert!((0..40).all(|turn| office.pop() == Some(("a", 1, turn))));
        assert_eq!(office.pop(), None);
    }

    #[test]
    fn an_office_of_thirty_behind_one_address_gets_in() {
        let mut office = Office::new(2);
        for person in 0..30 {
            assert!(!office.schedule.would_refuse(&origin(("office", person, 0))));
            office.push(("office", person, 0));
        }
        assert_eq!(office.refused, []);
        assert_eq!(office.rest().len(), 30);
    }

    #[test]
    fn a_flood_of_many_accounts_delays_another_source_by_one_job() {
        let mut office = Office::new(2);
        for turn in 0..500 {
            office.push(("flood", turn, 0));
        }
        for turn in 0..100 {
            office.push(("honest", 1, turn));
            let first = [office.pop(), office.pop()];
            assert!(first.contains(&Some(("honest", 1, turn))), "{first:?}");
            office.push(("flood", turn, 1));
            office.push(("flood", turn, 2));
        }
        assert!(office.refused.iter().all(|(source, ..)| *source == "flood"));
    }

    #[test]
    fn the_longest_account_of_the_longest_source_loses_its_newest_job() {
        let mut office = Office::new(2);
        for turn in 0..30 {
            office.push(("flood", 1, turn));
        }
        for person in 0..27 {
            office.push(("flood", 2 + person, 0));
        }
        assert_eq!(office.refused, []);
        // 57 wait: the last of them waits for seven seconds, and a 58th would wait for longer.
        office.push(("honest", 1, 0));
        assert_eq!(office.refused, [("flood", 1, 29)]);
        // A neighbour of the flood is not refused for it, and the flood is.
        assert!(!office.schedule.would_refuse(&origin(("flood", 99, 0))));
        office.push(("flood", 99, 0));
        assert_eq!(office.refused.last(), Some(&("flood", 1, 28)));
        assert!(office.schedule.would_refuse(&origin(("flood", 1, 30))));
        office.push(("flood", 1, 30));
        assert_eq!(office.refused.last(), Some(&("flood", 1, 30)));
    }

    #[test]
    fn of_equals_the_one_who_comes_last_is_refused() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut office = Office::new(2);
        // Each of them has as many jobs as the others.
        for turn in 0..6 {
            for name in names {
                office.push((name, 1, turn));
            }
        }
        assert_eq!(office.refused, [("h", 1, 5), ("i", 1, 5), ("j", 1, 5)]);
    }

    #[test]
    fn a_job_whose_caller_is_gone_is_not_begun_and_counts_for_nobody() {
        let mut office = Office::new(2);
        let tickets: Vec<_> = (0..57).map(|turn| office.push(("a", turn % 3, turn))).collect();
        assert!(office.schedule.would_refuse(&origin(("a", 2, 57))));
        for ticket in &tickets[1..] {
            assert!(office.schedule.take(*ticket).is_some());
            assert!(office.schedule.take(*ticket).is_none());
        }
        assert_eq!(office.schedule.work(), JOB);
        for turn in 0..56 {
            office.push(("b", 1, turn));
        }
        assert_eq!(office.refused, []);
        let rest = office.rest();
        assert_eq!(rest.len(), 57);
        assert!(rest.contains(&("a", 0, 0)));
        // A job that has begun cannot be taken out of the queue.
        assert!(office.schedule.take(tickets[0]).is_none());
        assert_eq!(office.schedule.work(), Duration::ZERO);
    }

    #[test]
    fn the_limit_of_the_queue_follows_from_the_time_that_each_kind_of_job_takes() {
        let mut schedule: Schedule<u32> = Schedule::new(1, JOB);
        let somebody = origin(("a", 1, 0));
        // One that takes eight seconds is begun if it is first; its own time refuses nobody.
        schedule.push(&somebody, "slow", 0);
        let (slow, _) = schedule.pop().unwrap();
        for _ in 0..60 {
            schedule.measured(slow, Duration::from_secs(8));
        }
        assert_eq!(schedule.push(&somebody, OWN, 1).1, None);
        assert_eq!(schedule.push(&somebody, "slow", 2).1, None);
        assert_eq!(schedule.push(&somebody, OWN, 3).1, Some(3));
        schedule.pop();
        let (kind, job) = schedule.pop().unwrap();
        assert_eq!((kind, job), (slow, 2));
        // Quick ones are bounded by their number.
        let own = KindId(0);
        for _ in 0..200 {
            schedule.measured(own, Duration::ZERO);
        }
        for job in 0..256 {
            assert_eq!(schedule.push(&somebody, OWN, job).1, None);
        }
        assert!(schedule.would_refuse(&somebody));
        assert_eq!(schedule.push(&somebody, OWN, 256).1, Some(256));
    }

    #[test]
    fn kinds_beyond_the_most_are_taken_for_the_first() {
        let mut schedule: Schedule<()> = Schedule::new(1, JOB);
        for turn in 1..MAX_KINDS {
            assert_eq!(schedule.kind(&turn.to_string()), KindId(turn));
        }
        assert_eq!(schedule.kind("one more"), KindId(0));
        assert_eq!(schedule.kind("7"), KindId(7));
    }

    /// Random jobs, begun and given up at random: no job is lost or done twice, and `would_refuse` tells the truth.
    #[test]
    fn every_job_leaves_once_and_an_early_refusal_agrees_with_the_push() {
        let mut office = Office::new(1);
        let mut seed = 1_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
            (seed >> 33) % below
        };
        let (mut waiting, mut refusals) = (BTreeMap::new(), 0);
        for turn in 0..20_000 {
            match random(8) {
                0 => {
                    let popped = office.pop();
                    assert_eq!(popped.is_some(), !waiting.is_empty());
                    assert!(popped.is_none_or(|job| waiting.remove(&job.2).is_some()));
                }
                1 if !waiting.is_empty() => {
                    let at = usize::try_from(random(waiting.len() as u64)).unwrap();
                    let number = *waiting.keys().nth(at).unwrap();
                    let ticket = waiting.remove(&number).unwrap();
                    assert_eq!(office.schedule.take(ticket).unwrap().2, number);
                }
                _ => {
                    let source = ["a", "b", "c", "d"][usize::try_from(random(4)).unwrap()];
                    let job = (source, u32::try_from(random(5)).unwrap(), turn);
                    let expected = office.schedule.would_refuse(&origin(job));
                    waiting.insert(turn, office.push(job));
                    for refused in office.refused.drain(..) {
                        assert!(waiting.remove(&refused.2).is_some());
                        refusals += 1;
                    }
                    assert_eq!(!waiting.contains_key(&turn), expected);
                }
            }
            assert_eq!(office.schedule.lines.length(), waiting.len());
            let queued = u32::try_from(waiting.len()).unwrap();
            assert_eq!(office.schedule.work(), JOB * queued);
        }
        assert!(refusals > 1000, "{refusals}");
    }
}
