//! Services that follow the revocations with `tessera-verify` on bad days: a relay loses events or delays them, keys cannot
//! be read, servers stop, databases go away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tessera_verify::client::{STALE_CLAIM, Settings};
use tessera_verify::feed::{FeedState, WhenStale};
use tessera_verify::{Denied, Refusal};

use crate::feed::{Reader, Stream};
use crate::following::{REVOKED, Service};
use crate::support::{
    Keys, Kind, PASSWORD, Proxy, Relay, SECRET, Server, Setup, TestDatabase, awaited, eventually,
    free_port,
};

pub(crate) const JWKS: &str = "/.well-known/jwks.json";
pub(crate) const STREAM: &str = "/auth/revocations/stream";
pub(crate) const SNAPSHOT: &str = "/auth/revocations/snapshot";

/// A server that services reach through a relay.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) relay: Relay,
    pub(crate) token: String,
}

impl Scene {
    pub(crate) async fn start(setup: Setup) -> Self {
        let port = free_port();
        let relay = Relay::to(format!("127.0.0.1:{port}")).await;
        let url = format!("http://{}", relay.address());
        let server = setup.set("PORT", port).set("PUBLIC_URL", url).start().await;
        let root = server.superuser("root").await;
        let token = server.service(&root, "reports", &["revocations:read"]).await;
        Self { server, relay, token }
    }

    /// The settings of a service that reads the public keys.
    pub(crate) fn settings(&self) -> Settings {
        let issuer = format!("http://{}", self.relay.address());
        let settings = Settings::new(issuer, "tessera").unwrap().feed_token(&*self.token);
        // Warnings are expected here, and do not belong into the output of a test.
        settings.on_warning(|_| {})
    }

    pub(crate) async fn service(&self) -> Service {
        Service::start(self.settings().secret(SECRET.as_bytes())).await
    }

    /// The settings with which the server starts again at the same address.
    fn setup_again(&self) -> Setup {
        let url = format!("http://{}", self.relay.address());
        Server::setup().set("PORT", self.server.address.port()).set("PUBLIC_URL", url)
    }

    pub(crate) fn stop(self) -> (Relay, TestDatabase) {
        (self.relay, self.server.kill())
    }
}

#[tokio::test]
async fn an_event_that_a_proxy_loses_is_read_again() {
    let scene = Scene::start(Server::setup()).await;
    let service = scene.service().await;
    let snapshots = scene.relay.seen(SNAPSHOT).len();
    let valid = scene.server.person("valid").await;
    for lost in 1..=2 {
        let person = scene.server.person(&format!("person{lost}")).await;
        service.verdict(&person.access).await.unwrap();
        scene.relay.faults().lost = lost;
        scene.server.logout(&person.access).await.expect_status(204);
        eventually("the token is refused", async || service.judge(&person.access) == Err(REVOKED))
            .await;
        assert_eq!(scene.relay.faults().lost, 0);
    }
    service.verdict(&valid.access).await.unwrap();
    // It went on from its place, and took no second snapshot.
    assert_eq!(scene.relay.seen(SNAPSHOT).len(), snapshots);
}

#[tokio::test]
async fn a_stream_that_a_proxy_delays_cannot_seem_young() {
    let scene = Scene::start(Server::setup()).await;
    let person = scene.server.person("a").await;
    let settings = scene.settings().secret(SECRET.as_bytes()).max_age(Duration::from_secs(3));
    let service = Service::start(settings).await;
    service.verdict(&person.access).await.unwrap();
    scene.relay.faults().late = Duration::from_secs(4);
    service.becomes(FeedState::Stale).await;
    // Each event is late, so none of them makes it fresh. Only a new connection can, for as long as `max_age`.
    scene.server.logout(&person.access).await.expect_status(204);
    let ended = Instant::now();
    eventually("the late event arrives", async || {
        let elapsed = ended.elapsed();
        let verdict = service.judge(&person.access);
        assert!(verdict.is_err() || elapsed < Duration::from_secs(4), "{elapsed:?}");
        verdict == Err(REVOKED)
    })
    .await;
    scene.relay.faults().late = Duration::ZERO;
    service.becomes(FeedState::Fresh).await;
}

/// The number of services that come back together.
const HERD: usize = 20;

/// Checks that a server that stops told streams to come back at times which are spread over five seconds. That so many are
/// close together by chance happens once in 20,000 million runs.
async fn expect_a_spread(streams: Vec<Stream>) {
    let mut times = Vec::new();
    for mut stream in streams {
        let last = stream.ends().await.unwrap();
        times.push(last.strip_prefix("retry: ").unwrap().parse::<u64>().unwrap());
    }
    let close = times.iter().map(|first| {
        let span = *first..*first + 500;
        times.iter().filter(|time| span.contains(time)).count()
    });
    assert!(close.max().unwrap() <= HERD * 3 / 4, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_comes_back_to_a_server_that_stopped_spread_over_seconds() {
    let mut scene = Scene::start(Server::setup()).await;
    let person = scene.server.person("a").await;
    let mut herd = Vec::new();
    for _ in 0..HERD {
        herd.push(scene.service().await);
    }
    eventually("each has its stream", async || {
        let log = scene.server.log_so_far().await;
        log.matches(&format!("\"http.path\":\"{STREAM}\"")).count() >= HERD
    })
    .await;
    // The server draws a time for each of these as for those of the services.
    let reader = Reader::of(&scene.server, &scene.token);
    let mut streams = Vec::new();
    for _ in 0..HERD {
        streams.push(reader.stream("", None).await);
    }
    let before = scene.relay.seen(STREAM).len();
    let again = scene.setup_again();
    scene.relay.faults().waits = true;
    let stopped = Instant::now();
    scene.server.terminate();
    expect_a_spread(streams).await;
    assert!(scene.server.ended().await.success());
    let (relay, database) = scene.stop();
    let server = again.on(database).start().await;
    eventually("all have come back", async || relay.seen(STREAM).len() >= before + HERD).await;
    let seen = relay.seen(STREAM);
    let returns = &seen[before..before + HERD];
    // A busy machine makes them come later, and never sooner. A service that waits as after any lost connection comes
    // within 300 ms. That so many times are so short by chance happens once in 10,000 million runs.
    let after: Vec<_> = returns.iter().map(|begin| begin.duration_since(stopped)).collect();
    let soon = after.iter().filter(|time| **time < Duration::from_millis(800)).count();
    assert!(soon <= HERD * 3 / 4, "{after:?}");
    for service in &herd {
        service.verdict(&person.access).await.unwrap();
    }
    server.logout(&person.access).await.expect_status(204);
    for service in &herd {
        eventually("each knows it", async || service.judge(&person.access) == Err(REVOKED)).await;
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_request_for_keys() {
    let scene = Scene::start(Server::setup().set("JWT_ALGORITHM", "EdDSA")).await;
    let person = scene.server.person("a").await;
    let service = Service::start(scene.settings()).await;
    service.verdict(&person.access).await.unwrap();
    let before = scene.relay.seen(JWKS).len();
    let (_, rest) = person.access.split_once('.').unwrap();
    for number in 0..200 {
        let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": format!("unknown{number}") });
        let header = base64url(&header.to_string());
        let denied = service.judge(&format!("{header}.{rest}")).unwrap_err();
        assert_eq!(denied, Denied::Refused(Refusal::KeyUnknown));
    }
    eventually("the keys are read", async || scene.relay.seen(JWKS).len() > before).await;
    service.verdict(&person.access).await.unwrap();
    assert_eq!(scene.relay.seen(JWKS).len(), before + 1);
}

fn base64url(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn bad_keys_empty_nothing_and_do_not_hold_up_the_revocations() {
    for bad in [Keys::Empty, Keys::Garbled, Keys::Slow, Keys::Away] {
        let scene = Scene::start(Server::setup().set("JWT_ALGORITHM", "EdDSA")).await;
        let (person, other) = (scene.server.person("a").await, scene.server.person("b").await);
        let service = Service::start(scene.settings()).await;
        scene.relay.faults().keys = bad;
        let before = scene.relay.seen(JWKS).len();
        // A token with an unknown key makes the service read the keys.
        let header = base64url("{\"typ\":\"JWT\",\"alg\":\"EdDSA\",\"kid\":\"unknown\"}");
        let (_, rest) = person.access.split_once('.').unwrap();
        service.judge(&format!("{header}.{rest}")).unwrap_err();
        eventually("the keys are read", async || scene.relay.seen(JWKS).len() > before).await;
        scene.server.logout(&person.access).await.expect_status(204);
        eventually("the logout arrives", async || service.judge(&person.access) == Err(REVOKED))
            .await;
        service.verdict(&other.access).await.unwrap();
    }
}

#[tokio::test]
async fn without_keys_a_service_answers_503_and_recovers() {
    let scene = Scene::start(Server::setup().set("JWT_ALGORITHM", "EdDSA")).await;
    let person = scene.server.person("a").await;
    scene.relay.faults().keys = Keys::Empty;
    let tessera = scene.settings().start().await;
    let service = Service::of(tessera);
    assert_eq!(service.judge(&person.access), Err(Denied::Unavailable));
    scene.relay.faults().keys = Keys::Whole;
    eventually("the keys are known", async || service.judge(&person.access).is_ok()).await;
}

impl Service {
    /// Waits until the service accepts a token with this mark, or without one.
    async fn accepts(&self, what: &str, token: &str, mark: Option<Value>) {
        eventually(what, async || {
            self.claims(token).is_ok_and(|claims| claims.extra.get(STALE_CLAIM) == mark.as_ref())
        })
        .await;
    }
}

#[tokio::test]
async fn an_open_service_accepts_marked_tokens_for_a_while_and_its_metrics_say_so() {
    let scene = Scene::start(Server::setup().set("JWT_ALGORITHM", "EdDSA")).await;
    let (person, gone) = (scene.server.person("a").await, scene.server.person("b").await);
    let settings = scene.settings().max_age(Duration::from_secs(3));
    let settings = settings.when_stale(WhenStale::Open, Duration::from_secs(10));
    let service = Service::start(settings).await;
    scene.server.logout(&gone.access).await.expect_status(204);
    eventually("the logout arrives", async || service.judge(&gone.access) == Err(REVOKED)).await;
    service.accepts("a token without a mark", &person.access, None).await;
    scene.server.freeze();
    service.accepts("a marked token", &person.access, Some(json!(true))).await;
    assert_eq!(service.judge(&gone.access), Err(REVOKED));
    eventually("the time is over", async || {
        service.judge(&person.access) == Err(Denied::Unavailable)
    })
    .await;
    scene.server.thaw();
    service.accepts("a token without a mark again", &person.access, None).await;
    let is_fresh = |metrics: &String| {
        let states = ["{state=\"fresh\"} 1", "{state=\"stale\"} 0"];
        states.iter().all(|state| metrics.contains(state))
    };
    let metrics = awaited("the metrics say that it is fresh", async || {
        Some(service.tessera.metrics()).filter(is_fresh)
    })
    .await;
    for line in [
        "tessera_verify_state{state=\"fresh\"} 1",
        "tessera_verify_state{state=\"stale\"} 0",
        "tessera_verify_state{state=\"unknown\"} 0",
        "tessera_verify_feed_age_seconds ",
        "tessera_verify_feed_seq ",
        "tessera_verify_entries ",
        "tessera_verify_keys_age_seconds ",
        "tessera_verify_refusals_total{reason=\"token_revoked\"} ",
        "tessera_verify_refusals_total{reason=\"unavailable\"} ",
        "tessera_verify_accepted_stale_total{reason=\"stale\"} ",
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn while_the_database_is_away_a_service_answers_503_and_then_knows_all() {
    let database = TestDatabase::prepared(Kind::from_environment()).await;
    let Some((target, url)) = database.url().split_once('@').and_then(|(before, rest)| {
        let (address, name) = rest.split_once('/')?;
        Some((address.to_owned(), (before.to_owned(), name.to_owned())))
    }) else {
        // SQLite is a file of the server itself.
        return;
    };
    let proxy = Proxy::to(target).await;
    let url = format!("{}@{}/{}", url.0, proxy.address(), url.1);
    let scene = Scene::start(Server::setup().on(database).reach_database_at(url)).await;
    let (known, missed) = (scene.server.person("a").await, scene.server.person("b").await);
    let valid = scene.server.person("c").await;
    let service = scene.service().await;
    let ended = scene.server.logout(&known.access).await;
    service.knows(ended).await;
    proxy.cut();
    // No heartbeat comes from a server whose reads fail.
    service.is_stale_without_events_since(Instant::now()).await;
    assert_eq!(service.judge(&valid.access), Err(Denied::Unavailable));
    assert_eq!(service.judge(&known.access), Err(REVOKED));
    proxy.mend();
    scene.server.wait_until_ready().await;
    scene.server.logout(&missed.access).await.expect_status(204);
    eventually("it arrives", async || service.judge(&missed.access) == Err(REVOKED)).await;
    service.verdict(&valid.access).await.unwrap();
}

#[tokio::test]
async fn a_token_that_lives_longer_than_the_setting_allows_now_is_refused_after_its_logout() {
    let scene = Scene::start(Server::setup().set("ACCESS_TOKEN_EXPIRES", 3600)).await;
    let person = scene.server.person("long").await;
    let service = scene.service().await;
    service.verdict(&person.access).await.unwrap();
    let again = scene.setup_again().set("ACCESS_TOKEN_EXPIRES", 60);
    let token = scene.token.clone();
    let (relay, database) = scene.stop();
    let server = again.on(database).start().await;
    service.becomes(FeedState::Fresh).await;
    let reader = crate::feed::Reader::of(&server, &token);
    let begin = reader.end().await;
    let ended = server.logout(&person.access).await;
    service.knows(ended).await;
    assert_eq!(service.judge(&person.access), Err(REVOKED));
    let expires = crate::support::claims_of(&person.access)["exp"].as_u64().unwrap();
    let entries = reader.entries_after(&begin).await;
    assert!(entries[0]["until"].as_u64().unwrap() >= expires, "{entries:?}");
    // A service that starts now learns it from the snapshot.
    let settings = Settings::new(format!("http://{}", relay.address()), "tessera").unwrap();
    let later = Service::start(settings.feed_token(token).secret(SECRET.as_bytes())).await;
    assert_eq!(later.judge(&person.access), Err(REVOKED));
    let (short, _) = server.sign_in(&person.email, PASSWORD).await;
    later.verdict(&short).await.unwrap();
}
