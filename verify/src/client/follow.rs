//! The tasks that follow the feed of an issuer: a snapshot, then a stream of events, and an exchange of times now and
//! then.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::metrics::RESYNCS;
use super::settings::TOKEN_FORM;
use super::sse::Events;
use super::warnings::{Work, causes};
use super::{Shared, local_time};
use crate::feed::{FeedState, LocalTime, Record, RecordKind, SnapshotHead};

/// The interval of exchanges.
const EXCHANGE_EVERY: Duration = Duration::from_secs(30);

/// The time between two exchanges without fresh knowledge, as after a jump of a clock.
const EXCHANGE_STALE: Duration = Duration::from_secs(1);

/// The time limit for an exchange, and for the head of any answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The time limit for a snapshot.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(60);

/// The largest snapshot, in bytes: 50 million entries.
const MAX_SNAPSHOT: u64 = 1 << 30;

/// The time without an event after which a connection is taken for lost. The server sends one every two seconds.
const SILENT_FOR: Duration = Duration::from_secs(7);

/// The shortest and the longest time before the next attempt. Attempts are spread evenly between the shortest and a time
/// that doubles up to the longest.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The longest `Retry-After`, and the longest `retry` of a stream, that are followed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The interval at which expired entries are dropped.
const DROP_EVERY: Duration = Duration::from_secs(60);

/// A client of the feed.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    client: Client,
    token: String,
    cursor: Arc<Mutex<Option<String>>>,
}

/// The reason why a part of following has ended.
pub(super) enum Ended {
    /// The server does not continue after the cursor.
    Gone,
    /// The server asks to come again later. It gave this reason.
    Later(Duration, String),
    /// The server stops, and gave each client its own time to come back.
    Stops(Duration),
    /// The connection was lost, or an answer cannot be used. The reason is empty if the other side ended it in order.
    Lost(String),
}

impl Ended {
    pub(super) fn lost(reason: impl Into<String>) -> Self {
        Self::Lost(reason.into())
    }

    /// Returns the reason, for a warning; empty if there is none to give.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Later(_, reason) | Self::Lost(reason) => reason,
            Self::Gone | Self::Stops(_) => "",
        }
    }
}

impl From<reqwest::Error> for Ended {
    fn from(error: reqwest::Error) -> Self {
        Self::Lost(causes(error))
    }
}

/// The data of an event. The page of `/auth/revocations` has the same times.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    /// The cursor of the event before it. Servers of earlier releases do not say it.
    after: Option<String>,
    cursor: String,
    now: u64,
    at: u64,
    #[serde(default)]
    records: String,
}

impl Event {
    /// Parses the data of an event.
    pub(super) fn parse(data: &str) -> Result<Self, Ended> {
        serde_json::from_str(data).map_err(|_| Ended::lost("an event has another form"))
    }

    /// Returns true if nothing is missing between a cursor and this event.
    pub(super) fn continues(&self, cursor: Option<&str>) -> bool {
        self.after.is_none() || self.after.as_deref() == cursor
    }

    /// Parses the records.
    pub(super) fn records(&self) -> Result<Vec<Record>, Ended> {
        let records = STANDARD.decode(&self.records).ok();
        let records = records.and_then(|records| Record::all_from_bytes(&records).ok());
        records.ok_or_else(|| Ended::lost("the records of an event have another form"))
    }
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, token: String) -> Self {
        Self { shared, client: client(), token, cursor: Arc::default() }
    }

    /// Follows the feed until the client is dropped.
    pub(super) async fn keep_following(self) {
        let mut failures = 0;
        loop {
            let began = local_time();
            let ended = match self.follow().await {
                Ok(()) => Ended::lost(""),
                Err(ended) => ended,
            };
            self.shared.warnings.failed(Work::Feed, ended.reason());
            // A connection that lasted was no failure.
            let lasted = local_time().since(&began) > LONGEST_WAIT;
            failures = if lasted { 0 } else { failures + 1 };
            if matches!(ended, Ended::Gone) {
                self.shared.counters.count(RESYNCS, "gone");
                self.set_cursor(None);
            }
            let wait = match ended {
                // Each client of a server that stops got another time.
                Ended::Stops(wait) => {
                    failures = 0;
                    SHORTEST_WAIT + wait.min(MAX_RETRY_AFTER)
                }
                Ended::Later(wait, _) => wait.min(MAX_RETRY_AFTER) + backoff(failures),
                Ended::Gone | Ended::Lost(_) => backoff(failures),
            };
            sleep(wait).await;
        }
    }

    /// Asks for the time of the issuer now and then, so that a stream which somebody holds up cannot seem young.
    pub(super) async fn keep_exchanging(self) {
        loop {
            let sent = local_time();
            match timeout(ANSWER_WITHIN, self.exchange()).await {
                Ok(Ok(now)) => {
                    self.shared.follower().exchanged(sent, now);
                    self.shared.has_learned();
                    self.until_exchange_is_due().await;
                }
                Ok(Err(Ended::Later(wait, _))) => {
                    sleep(wait.min(MAX_RETRY_AFTER) + spread(LONGEST_WAIT)).await;
                }
                _ => sleep(SHORTEST_WAIT + spread(LONGEST_WAIT - SHORTEST_WAIT)).await,
            }
        }
    }

    /// Waits for the next exchange. Without fresh knowledge, it is due each second.
    async fn until_exchange_is_due(&self) {
        let done = local_time();
        loop {
            sleep(EXCHANGE_STALE).await;
            let is_due = local_time().since(&done) >= EXCHANGE_EVERY;
            if is_due || self.shared.state() != FeedState::Fresh {
                return;
            }
        }
    }

    async fn exchange(&self) -> Result<u64, Ended> {
        let answer = self.get("", &[("v", "1")]).await?;
        let event: Event = serde_json::from_slice(&answer.bytes().await?)
            .map_err(|_| Ended::lost("an answer has another form"))?;
        Ok(event.now)
    }

    async fn follow(&self) -> Result<(), Ended> {
        let late = |_| Ended::lost("Tessera did not answer in time");
        let cursor = match self.cursor() {
            Some(cursor) => cursor,
            None => timeout(SNAPSHOT_WITHIN, self.take_snapshot()).await.map_err(late)??,
        };
        let sent = local_time();
        let query = [("after", &*cursor), ("v", "1")];
        let asked = timeout(ANSWER_WITHIN, self.get("/stream", &query)).await;
        let mut answer = asked.map_err(late)??;
        let mut retry = None;
        let ended = self.receive(&mut answer, sent, &mut retry).await;
        retry.map_or(ended, |wait| Err(Ended::Stops(wait)))
    }

    /// Receives the events of a stream until it ends. `retry` is the time after which the server wants the client back.
    async fn receive(
        &self,
        answer: &mut Response,
        sent: LocalTime,
        retry: &mut Option<Duration>,
    ) -> Result<(), Ended> {
        let (mut events, mut exchange) = (Events::default(), Some(sent));
        let mut dropped = sent;
        let silent = |_| Ended::lost("nothing arrived for several seconds");
        while let Some(bytes) = timeout(SILENT_FOR, answer.chunk()).await.map_err(silent)?? {
            let found = events.push(&bytes);
            for event in found.map_err(|_| Ended::lost("the stream has another form"))? {
                *retry = event.retry.or(*retry);
                if !event.data.is_empty() {
                    self.apply(&Event::parse(&event.data)?, exchange.take())?;
                }
            }
            let now = local_time();
            if now.since(&dropped) > DROP_EVERY {
                dropped = now;
                self.drop_expired();
            }
        }
        Ok(())
    }

    /// Applies an event. Only the first event of a stream is an answer to a request. If an event before this one is
    /// missing, nothing of it counts: the client connects again, and continues where it was.
    fn apply(&self, event: &Event, exchange: Option<LocalTime>) -> Result<(), Ended> {
        if !event.continues(self.cursor().as_deref()) {
            return Err(Ended::lost(
                "an event was lost on the way: check the proxies between this service and Tessera",
            ));
        }
        let exchange = exchange.map(|sent| (sent, event.now));
        self.learn(&event.records()?, exchange, event.at, event.cursor.clone());
        self.shared.warnings.worked(Work::Feed);
        Ok(())
    }

    /// Applies records that are complete up to `at`, and that end at a cursor. An exchange is the time when a request was
    /// sent, and the issuer's answer to it.
    pub(super) fn learn(
        &self,
        records: &[Record],
        exchange: Option<(LocalTime, u64)>,
        at: u64,
        cursor: String,
    ) {
        // The entries come first, so that nothing is fresh before it knows them.
        self.shared.list.apply(records);
        let local = local_time();
        let mut follower = self.shared.follower();
        if let Some((sent, now)) = exchange {
            follower.exchanged(sent, now);
        }
        follower.received(at, &local);
        drop(follower);
        self.set_cursor(Some(cursor));
        self.wants_keys(records);
        self.shared.has_learned();
    }

    pub(super) fn drop_expired(&self) {
        let latest = self.shared.follower().latest();
        self.shared.list.drop_expired(latest);
    }

    fn wants_keys(&self, records: &[Record]) {
        let is_retired = records.iter().any(|record| record.kind == RecordKind::Key);
        if let Some(keys) = self.shared.keys.as_ref().filter(|_| is_retired) {
            keys.want_at_once();
        }
    }

    /// Takes a snapshot, and keeps everything that is known already. Returns its cursor.
    #[expect(clippy::disallowed_methods, reason = "a client unpacks one snapshot at a time")]
    pub(super) async fn take_snapshot(&self) -> Result<String, Ended> {
        let sent = local_time();
        let answer = self.get("/snapshot", &[("v", "1")]).await?;
        let is_packed =
            answer.headers().get("content-encoding").is_some_and(|coding| coding == "gzip");
        let body = answer.bytes().await?;
        let shared = Arc::clone(&self.shared);
        // Many entries take their time to unpack and to sort.
        let taken = tokio::task::spawn_blocking(move || {
            let mut plain = Vec::new();
            let read = match is_packed {
                true => MultiGzDecoder::new(&*body).take(MAX_SNAPSHOT).read_to_end(&mut plain),
                false => (&*body).read_to_end(&mut plain),
            };
            let broken = || Ended::lost("a snapshot has another form");
            read.map_err(|_| broken())?;
            let (head, records) = SnapshotHead::parse(&plain).map_err(|_| broken())?;
            let records = Record::all_from_bytes(records).map_err(|_| broken())?;
            shared.list.apply(&records);
            Ok::<_, Ended>((head, records.iter().any(|record| record.kind == RecordKind::Key)))
        });
        let (head, has_keys) = taken.await.map_err(|error| Ended::lost(error.to_string()))??;
        let mut follower = self.shared.follower();
        follower.exchanged(sent, head.now);
        follower.took_snapshot(head.at, &local_time());
        drop(follower);
        if let Some(keys) = self.shared.keys.as_ref().filter(|_| has_keys) {
            keys.want(&local_time());
        }
        self.set_cursor(Some(head.cursor.clone()));
        self.shared.has_learned();
        Ok(head.cursor)
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Response, Ended> {
        let mut url =
            reqwest::Url::parse(&format!("{}/auth/revocations{path}", self.shared.issuer))
                .map_err(|_| Ended::lost("TESSERA_ISSUER is no URL"))?;
        url.query_pairs_mut().extend_pairs(query);
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.token))
            .map_err(|_| Ended::lost(TOKEN_FORM))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        let coding = if path == "/snapshot" { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
        let answer = self.client.get(url).headers(headers).send().await?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::GONE | StatusCode::BAD_REQUEST => Err(Ended::Gone),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let reason = format!(
                    "Tessera answered {}: TESSERA_FEED_TOKEN must be a valid API token with the scope revocations:read",
                    status.as_u16()
                );
                Err(Ended::Later(LONGEST_WAIT, reason))
            }
            status => {
                let reason = format!(
                    "{} of TESSERA_ISSUER answered {}",
                    answer.url().path(),
                    status.as_u16()
                );
                Err(match retry_after(&answer) {
                    Some(wait) => Ended::Later(wait, reason),
                    None => Ended::Lost(reason),
                })
            }
        }
    }

    pub(super) fn cursor(&self) -> Option<String> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_cursor(&self, cursor: Option<String>) {
        let seq = cursor.as_deref().and_then(|cursor| cursor.split('.').nth(1)?.parse().ok());
        if let Some(seq) = seq {
            *self.shared.seq.lock().unwrap_or_else(PoisonError::into_inner) = seq;
        }
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }
}

/// Returns a client that follows no redirects: the token is for the issuer alone.
pub(super) fn client() -> Client {
    let client = Client::builder()
        .connect_timeout(ANSWER_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        // A proxy of the environment must not get the token, nor answer for the issuer.
        .no_proxy()
        .user_agent(concat!("tessera-verify/", env!("CARGO_PKG_VERSION")))
        .build();
    // It fails only if the system has no certificates of authorities, and then each request fails.
    client.unwrap_or_default()
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns the time before the next attempt after some failures in turn.
fn backoff(failures: u32) -> Duration {
    let longest = SHORTEST_WAIT * 2_u32.saturating_pow(failures);
    SHORTEST_WAIT + spread(longest.min(LONGEST_WAIT - SHORTEST_WAIT))
}

/// Returns a random time up to the longest one, so that many clients do not come together.
pub(super) fn spread(longest: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) >> 48;
    longest.mul_f64(random as f64 / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_spread_over_a_time_that_grows() {
        for (failures, longest) in [(1, 300), (3, 900), (6, 5000), (100, 5000)] {
            let drawn = Vec::from_iter((0..200).map(|_| backoff(failures).as_millis()));
            assert!(drawn.iter().all(|wait| (100..=longest).contains(wait)), "{drawn:?}");
            let width = longest - 100;
            // Some are in the first third, and some in the last.
            assert!(drawn.iter().any(|wait| *wait < 100 + width / 3), "{drawn:?}");
            assert!(drawn.iter().any(|wait| *wait > longest - width / 3), "{drawn:?}");
        }
    }
}
