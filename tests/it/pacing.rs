//! The pauses of the revocation feed: between events of a stream, and between requests of services to a server that is
//! away, busy or broken.
//!
//! Each bound here is a pause that somebody makes between two events or requests. So it holds however busy this machine is.

use std::time::{Duration, Instant};

use tessera_verify::feed::FeedState;
use tokio::task::JoinSet;

use crate::bad_days::{JWKS, SNAPSHOT, STREAM, Scene};
use crate::feed::{Reader, Stream, claim, hash};
use crate::following::Service;
use crate::storm::slow_readers::revoke;
use crate::support::{PASSWORD, Relay, SECRET, Server, eventually};

const PAGE: &str = "/auth/revocations";

/// The shortest time between two events of a stream, and the time after which an idle one gets a sign of life.
const GAP: Duration = Duration::from_millis(20);
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The shortest time that a service waits between two attempts.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// Reads the events of a stream until all these hashes have come. Returns the number of events with records.
async fn events_until(stream: &mut Stream, mut hashes: Vec<String>) -> u32 {
    let mut events = 0;
    while !hashes.is_empty() {
        let found = stream.data_hashes().await;
        hashes.retain(|hash| !found.contains(hash));
        events += 1;
    }
    events
}

/// Checks that there was a pause after each of these events but the last.
#[track_caller]
fn expect_pauses(events: u32, gap: Duration, since: Instant) {
    let elapsed = since.elapsed();
    assert!(gap * (events - 1) <= elapsed, "{events} events in {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_revocations_reaches_each_service_in_a_few_events() {
    const BURST: usize = 200;
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let person = server.person("first").await;
    let mut sessions = Vec::new();
    for _ in 0..BURST {
        sessions.push(server.sign_in(&person.email, PASSWORD).await.0);
    }
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = reader.stream("", None).await;
        stream.data(false).await;
        streams.push(stream);
    }
    let hashes: Vec<_> =
        sessions.iter().map(|token| hash(&format!("sid:{}", claim(token, "sid")))).collect();
    let since = Instant::now();
    let mut sign_outs = JoinSet::new();
    for share in sessions.chunks(BURST / 4) {
        let requests: Vec<_> =
            share.iter().map(|token| server.post("/auth/jwt/logout").bearer(token)).collect();
        sign_outs.spawn(async move {
            for request in requests {
                request.send().await.expect_status(204);
            }
        });
    }
    let mut readers = JoinSet::new();
    for mut stream in streams {
        let hashes = hashes.clone();
        readers.spawn(async move {
            let events = events_until(&mut stream, hashes).await;
            expect_pauses(events, GAP, since);
        });
    }
    sign_outs.join_all().await;
    readers.join_all().await;
}

/// Reads what a service that is far behind gets, and checks the pauses.
pub(crate) async fn expect_pauses_while_behind(reader: &Reader<'_>, gap: Duration) {
    const BACKLOG: u32 = 60_000;
    let begin = reader.end().await;
    revoke(reader.server, BACKLOG).await;
    reader.server.wait_until_caught_up().await;
    let since = Instant::now();
    let mut stream = reader.stream(&format!("?after={begin}"), None).await;
    let (mut events, mut records) = (0, 0);
    while records < BACKLOG as usize {
        records += stream.data_hashes().await.len();
        events += 1;
    }
    // An event has at most 1,024 records.
    assert!(events > 50, "{events}");
    expect_pauses(events, gap, since);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_far_behind_gets_its_events_with_pauses() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    expect_pauses_while_behind(&reader, GAP).await;
}

#[tokio::test]
async fn a_stream_without_revocations_gets_an_event_every_two_seconds_whatever_else_happens() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let since = Instant::now();
    let mut stream = reader.stream("", None).await;
    stream.data(false).await;
    for turn in 0..4 {
        // What changes tokens makes the server check that of the stream.
        server.service(&root, &format!("other{turn}"), &["revocations:read"]).await;
        stream.data(false).await;
    }
    // All of them can have waited here for a while, but none was sent before the stream was asked for.
    expect_pauses(5, HEARTBEAT, since);
}

/// Waits for some requests for a path, and returns their times.
async fn requests(relay: &Relay, path: &str, count: usize) -> Vec<Instant> {
    let before = relay.seen(path).len();
    eventually("the service asks", async || relay.seen(path).len() >= before + count).await;
    relay.seen(path)[before..before + count].to_vec()
}

fn waits(attempts: &[Instant]) -> Vec<Duration> {
    attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Checks that a service waits between attempts, and longer and longer.
#[track_caller]
fn expect_fewer_and_fewer(what: &str, attempts: &[Instant]) {
    let waits = waits(attempts);
    assert!(waits.iter().all(|wait| *wait >= SHORTEST_WAIT), "{what}: {waits:?}");
    // Without the growth, none is longer than 300 ms and the time of a request. With it, each of eight is shorter than this
    // once in a million runs.
    assert!(waits.iter().any(|wait| *wait > Duration::from_millis(400)), "{what}: {waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_asked_less_and_less_often() {
    let scene = Scene::start(Server::setup()).await;
    let _service = scene.service().await;
    let (relay, _database) = scene.stop();
    expect_fewer_and_fewer("a server that is away", &requests(&relay, STREAM, 9).await);
    // The exchanges of times have waits of their own.
    let waits = waits(&relay.seen(PAGE));
    assert!(waits.iter().all(|wait| *wait >= SHORTEST_WAIT), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_while_the_server_is_away_does_not_flood_it() {
    let scene = Scene::start(Server::setup().set("JWT_ALGORITHM", "EdDSA")).await;
    let settings = scene.settings();
    let (relay, _database) = scene.stop();
    let service = tokio::spawn(settings.start());
    expect_fewer_and_fewer("a start", &requests(&relay, SNAPSHOT, 9).await);
    // The keys have pauses of a second at least.
    let keys = waits(&relay.seen(JWKS));
    assert!(keys.iter().all(|wait| *wait >= Duration::from_secs(1)), "{keys:?}");
    assert_eq!(service.await.unwrap().state(), FeedState::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_answers_are_not_asked_for_in_a_tight_loop() {
    let heads =
        ["410 Gone", "503 Service Unavailable\r\nretry-after: 0", "500 Internal Server Error"];
    let tests = heads.map(async |head| {
        let scene = Scene::start(Server::setup()).await;
        scene.relay.faults().refused = Some((STREAM, head));
        let _service = scene.settings().secret(SECRET.as_bytes()).start().await;
        expect_fewer_and_fewer(head, &requests(&scene.relay, STREAM, 9).await);
    });
    futures_util::future::join_all(tests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_comes_again_after_the_time_that_a_busy_server_says() {
    // One service can wait, and it is another one.
    let scene = Scene::start(Server::setup().set("FEED_WAITERS", 1)).await;
    let root = scene.server.superuser("another").await;
    let token = scene.server.service(&root, "first", &["revocations:read"]).await;
    let first = Reader::of(&scene.server, &token).stream("", None).await;
    let settings = scene.settings().secret(SECRET.as_bytes());
    let tessera = settings.start().await;
    eventually("the server has put the service off", async || {
        scene.relay.put_off(STREAM).len() >= 3
    })
    .await;
    let (put_off, seen) = (scene.relay.put_off(STREAM), scene.relay.seen(STREAM));
    assert!(put_off.iter().all(|(_, wait)| *wait >= Duration::from_secs(1)), "{put_off:?}");
    for ((answered, wait), next) in put_off.iter().zip(&seen[1..]) {
        assert!(*next >= *answered + *wait, "{put_off:?} {seen:?}");
    }
    drop(first);
    let service = Service::of(tessera);
    service.becomes(FeedState::Fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_limits_requests_is_obeyed_by_all_that_a_service_asks() {
    let scene = Scene::start(Server::setup()).await;
    let _service = scene.service().await;
    for path in [STREAM, PAGE] {
        scene.relay.faults().refused = Some((path, "429 Too Many Requests\r\nretry-after: 2"));
        // The stream ends, and what came late makes the service ask for the time.
        scene.server.freeze();
        let waits = waits(&requests(&scene.relay, path, 3).await);
        scene.server.thaw();
        assert!(waits.iter().all(|wait| *wait >= Duration::from_secs(2)), "{path} {waits:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_service_asks_for_the_time_once_a_second() {
    let scene = Scene::start(Server::setup()).await;
    let settings = scene.settings().secret(SECRET.as_bytes()).max_age(Duration::from_secs(3));
    let service = Service::start(settings).await;
    scene.relay.faults().late = Duration::from_secs(4);
    service.becomes(FeedState::Stale).await;
    let waits = waits(&requests(&scene.relay, PAGE, 3).await);
    assert!(waits.iter().all(|wait| *wait >= Duration::from_secs(1)), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_serverless_function_do_not_flood_a_server_that_is_away() {
    let scene = Scene::start(Server::setup()).await;
    let settings = scene.settings().secret(SECRET.as_bytes()).pull();
    let tessera = settings.max_age(Duration::from_millis(500)).start().await;
    let (service, guard) = (Service::of(tessera.clone()), tessera.guard());
    let (relay, _database) = scene.stop();
    service.becomes(FeedState::Stale).await;
    let (before, since) = (relay.seen(PAGE).len(), Instant::now());
    for _ in 0..200 {
        guard.prepare().await;
    }
    let asked = relay.seen(PAGE).len() - before;
    // One attempt in a second.
    assert!(asked as f64 <= 1.0 + since.elapsed().as_secs_f64(), "{asked}");
    assert!(asked > 0);
}
