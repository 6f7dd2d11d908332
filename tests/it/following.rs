//! Services that follow the revocations with `tessera-verify`, through a proxy that can be interrupted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tessera_verify::client::Settings;
use tessera_verify::feed::{DEFAULT_MAX_AGE, FeedState};
use tessera_verify::{Claims, Denied, Guard, Refusal, Tessera};

use crate::support::{
    Answer, PASSWORD, Person, Proxy, SECRET, Server, Setup, TestDatabase, awaited, eventually,
    free_port,
};

/// A server whose issuer is the address of a proxy, and a superuser.
pub(crate) struct Scene {
    pub(crate) server: Server,
    proxy: Proxy,
    root: Person,
    token: String,
}

impl Scene {
    pub(crate) async fn start(setup: Setup) -> Self {
        let port = free_port();
        let proxy = Proxy::to(format!("127.0.0.1:{port}")).await;
        let url = format!("http://{}", proxy.address());
        let server = setup.set("PORT", port).set("PUBLIC_URL", url).start().await;
        let root = server.superuser("root").await;
        let token = server.service(&root, "reports", &["revocations:read"]).await;
        Self { server, proxy, root, token }
    }

    fn settings(&self) -> Settings {
        let issuer = format!("http://{}", self.proxy.address());
        Settings::new(issuer, "tessera").unwrap().feed_token(&*self.token)
    }

    /// The settings with which the server starts again at the same address.
    pub(crate) fn setup_again(&self) -> Setup {
        let url = format!("http://{}", self.proxy.address());
        Server::setup().set("PORT", self.server.address.port()).set("PUBLIC_URL", url)
    }

    /// Stops the server. The proxy stays.
    pub(crate) fn stop(self) -> (Proxy, TestDatabase) {
        (self.proxy, self.server.kill())
    }

    pub(crate) async fn service(&self) -> Service {
        Service::start(self.settings().secret(SECRET.as_bytes())).await
    }
}

pub(crate) struct Service {
    pub(crate) tessera: Tessera,
    guard: Guard,
}

#[expect(clippy::disallowed_methods, reason = "services have a clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) const REVOKED: Denied = Denied::Refused(Refusal::Revoked);

impl Service {
    /// Starts a service, which knows the revocations at once. A start waits for them, but only for some seconds, so on a
    /// busy machine it is repeated.
    pub(crate) async fn start(settings: Settings) -> Self {
        awaited("a service knows the revocations from its start", async || {
            let tessera = settings.clone().start().await;
            (tessera.state() == FeedState::Fresh).then(|| Self::of(tessera))
        })
        .await
    }

    pub(crate) fn of(tessera: Tessera) -> Self {
        let guard = tessera.guard();
        Self { tessera, guard }
    }

    pub(crate) fn claims(&self, token: &str) -> Result<Claims, Denied> {
        self.guard.required(Some(token), now())
    }

    pub(crate) fn judge(&self, token: &str) -> Result<(), Denied> {
        self.claims(token).map(drop)
    }

    /// Judges a token when the service knows enough for that. What it knows can be too old for a moment if this machine
    /// is busy, and then it knows what it needs with the next event, or after the next fetch.
    pub(crate) async fn verdict(&self, token: &str) -> Result<(), Denied> {
        awaited("the service knows enough", async || {
            self.guard.prepare().await;
            Some(self.judge(token)).filter(|verdict| *verdict != Err(Denied::Unavailable))
        })
        .await
    }

    /// Waits until the service knows what an answer of the server ended.
    pub(crate) async fn knows(&self, answer: Answer) {
        let place = answer.expect_status(204).header("tessera-revocation-seq");
        let seq: u64 = place.split('.').nth(1).unwrap().parse().unwrap();
        eventually("the service has read the revocation", async || self.tessera.seq() >= seq).await;
    }

    /// Waits until the service has read everything again, because its place was gone.
    pub(crate) async fn took_a_snapshot_again(&self) {
        eventually("the service has taken a snapshot again", async || {
            self.tessera.metrics().contains("tessera_verify_resyncs_total{why=\"gone\"}")
        })
        .await;
        self.becomes(FeedState::Fresh).await;
    }

    pub(crate) async fn becomes(&self, state: FeedState) {
        eventually("the state of the service", async || self.tessera.state() == state).await;
    }

    /// Waits until nothing that was sent before an instant can be fresh. A state alone can change again: events that were
    /// sent before can still wait here.
    pub(crate) async fn is_stale_without_events_since(&self, instant: Instant) {
        let bound = DEFAULT_MAX_AGE + JUMP;
        eventually("no event is young", async || instant.elapsed() > bound).await;
        assert_eq!(self.tessera.state(), FeedState::Stale);
    }
}

/// The time that the bound of the guide adds to `max_age`, for jumps of clocks.
const JUMP: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_service_refuses_a_token_after_its_sign_out_and_no_other() {
    let scene = Scene::start(Server::setup()).await;
    let (person, other) = (scene.server.person("a").await, scene.server.person("b").await);
    let gone = scene.server.person("c").await;
    scene.server.logout(&gone.access).await.expect_status(204);
    scene.server.wait_until_caught_up().await;
    let service = scene.service().await;
    // From the snapshot.
    assert_eq!(service.judge(&gone.access), Err(REVOKED));
    service.verdict(&person.access).await.unwrap();
    let ended = scene.server.logout(&person.access).await;
    service.knows(ended).await;
    assert_eq!(service.judge(&person.access), Err(REVOKED));
    service.verdict(&other.access).await.unwrap();
    // A new password cuts off what was issued before, in all sessions.
    let (second, _) = scene.server.sign_in(&other.email, PASSWORD).await;
    let change = json!({ "password": "another horse battery" });
    scene.server.change_me(&second, &change).await.expect_status(200);
    eventually("the service has read the cut", async || {
        service.judge(&other.access) == Err(REVOKED)
    })
    .await;
    assert_eq!(service.judge(&second), Err(REVOKED));
    let (third, _) = scene.server.sign_in(&other.email, "another horse battery").await;
    service.verdict(&third).await.unwrap();
}

/// Takes the connection away, and checks that the service answers 503 until it knows what happened meanwhile.
async fn the_connection_is_lost(take: fn(&Proxy)) {
    let scene = Scene::start(Server::setup()).await;
    let (known, missed) = (scene.server.person("a").await, scene.server.person("b").await);
    let valid = scene.server.person("c").await;
    let service = scene.service().await;
    let ended = scene.server.logout(&known.access).await;
    service.knows(ended).await;
    take(&scene.proxy);
    let taken = Instant::now();
    scene.server.logout(&missed.access).await.expect_status(204);
    // The bound that the guide promises: `max_age`, and a second for jumps of clocks. It does not depend on the load of
    // this machine, because the service judges by the time of each call.
    let is_accepted = || {
        let elapsed = taken.elapsed();
        let is_accepted = service.judge(&missed.access).is_ok();
        assert!(!is_accepted || elapsed < DEFAULT_MAX_AGE + JUMP, "{elapsed:?}");
        is_accepted
    };
    eventually("no token is accepted any more", async || !is_accepted()).await;
    service.is_stale_without_events_since(taken).await;
    assert_eq!(service.judge(&valid.access), Err(Denied::Unavailable));
    assert_eq!(service.judge(&missed.access), Err(Denied::Unavailable));
    assert_eq!(service.judge(&known.access), Err(REVOKED));
    scene.proxy.mend();
    service.becomes(FeedState::Fresh).await;
    // A slow answer lets the service think that what it knows is older than it is. So it can be fresh by its time alone.
    eventually("it knows what it missed", async || {
        is_accepted();
        service.judge(&missed.access) == Err(REVOKED)
    })
    .await;
    assert_eq!(service.judge(&known.access), Err(REVOKED));
    service.verdict(&valid.access).await.unwrap();
}

#[tokio::test]
async fn a_service_whose_connection_is_cut_answers_503_and_recovers() {
    the_connection_is_lost(Proxy::cut).await;
}

#[tokio::test]
async fn a_service_whose_connection_is_silent_answers_503_and_recovers() {
    the_connection_is_lost(Proxy::silence).await;
}

#[tokio::test]
async fn a_service_knows_after_a_freeze_of_the_server_what_happened() {
    let scene = Scene::start(Server::setup()).await;
    let person = scene.server.person("a").await;
    let service = scene.service().await;
    scene.server.freeze();
    service.is_stale_without_events_since(Instant::now()).await;
    assert_eq!(service.judge(&person.access), Err(Denied::Unavailable));
    scene.server.thaw();
    // The server itself answers 503 while what it knows is too old. A 503 changes nothing.
    let ended = awaited("the server knows the revocations again", async || {
        Some(scene.server.logout(&person.access).await).filter(|answer| answer.status != 503)
    });
    service.knows(ended.await).await;
    assert_eq!(service.judge(&person.access), Err(REVOKED));
    service.becomes(FeedState::Fresh).await;
}

#[tokio::test]
async fn after_a_restored_backup_old_refusals_hold_and_new_ones_arrive() {
    let scene = Scene::start(Server::setup()).await;
    let people = [scene.server.person("a").await, scene.server.person("b").await];
    let service = scene.service().await;
    let ended = scene.server.logout(&people[0].access).await;
    service.knows(ended).await;
    scene.server.database.execute("delete from revocation").await;
    service.took_a_snapshot_again().await;
    assert_eq!(service.judge(&people[0].access), Err(REVOKED));
    service.verdict(&people[1].access).await.unwrap();
    scene.server.logout(&people[1].access).await.expect_status(204);
    eventually("the new one arrives", async || service.judge(&people[1].access) == Err(REVOKED))
        .await;
}

#[tokio::test]
async fn keys_are_read_and_a_retired_one_is_refused_at_once() {
    let scene = Scene::start(Server::setup().set("JWT_ALGORITHM", "EdDSA")).await;
    let (server, root) = (&scene.server, &scene.root);
    let person = server.person("a").await;
    let service = Service::start(scene.settings()).await;
    service.verdict(&person.access).await.unwrap();
    let listed = server.get("/admin/keys").bearer(&root.access).send().await;
    let old = listed.expect_status(200).json["items"][0]["kid"].as_str().unwrap().to_owned();
    let next = server.post("/admin/keys").bearer(&root.access).json(&json!({ "now": true }));
    next.send().await.expect_status(201);
    let (access, _) = server.sign_in(&root.email, PASSWORD).await;
    // The service does not know the key yet, and reads the keys because of this token.
    eventually("the service knows the new key", async || service.judge(&access).is_ok()).await;
    service.verdict(&person.access).await.unwrap();
    let retire = server.request("DELETE", &format!("/admin/keys/{old}")).bearer(&access);
    let retired = retire.send().await;
    service.knows(retired).await;
    let refused = service.judge(&person.access).unwrap_err();
    assert!([REVOKED, Denied::Refused(Refusal::KeyUnknown)].contains(&refused), "{refused}");
    service.verdict(&access).await.unwrap();
}

#[tokio::test]
async fn a_service_without_a_valid_feed_token_accepts_nothing() {
    let scene = Scene::start(Server::setup()).await;
    let person = scene.server.person("a").await;
    let settings = scene.settings().secret(SECRET.as_bytes());
    let warnings: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&warnings);
    let settings = settings.feed_token("tsr_nothing");
    let settings = settings.on_warning(move |text| kept.lock().unwrap().push(text.to_owned()));
    let tessera = settings.clone().start().await;
    assert_eq!(tessera.state(), FeedState::Unknown);
    let denied = tessera.guard().required(Some(&person.access), now()).unwrap_err();
    assert_eq!(denied, Denied::Unavailable);
    // It says why, once, and shows no secret.
    eventually("it says why", async || !warnings.lock().unwrap().is_empty()).await;
    let warnings = warnings.lock().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("401: TESSERA_FEED_TOKEN must be"), "{warnings:?}");
    for text in [&warnings[0], &format!("{settings:?} {tessera:?} {:?}", tessera.guard())] {
        assert!(!text.contains("tsr_nothing") && !text.contains(SECRET), "{text}");
    }
}

impl Server {
    /// The number of requests for a part of the feed that this server has answered.
    async fn fetches(&self) -> usize {
        self.log_so_far().await.matches("\"http.path\":\"/auth/revocations\"").count()
    }
}

/// A serverless function: nothing runs between its requests.
#[tokio::test]
async fn a_service_that_fetches_on_demand_asks_once_for_all_requests_and_never_accepts_without_knowledge()
 {
    let scene = Scene::start(Server::setup()).await;
    let server = &scene.server;
    let (person, other) = (server.person("a").await, server.person("b").await);
    let settings = scene.settings().secret(SECRET.as_bytes()).pull();
    // What was fetched must not become old between two lines of this test.
    let service = Service::start(settings.max_age(Duration::from_secs(6))).await;
    service.verdict(&person.access).await.unwrap();
    service.becomes(FeedState::Stale).await;
    assert_eq!(service.judge(&person.access), Err(Denied::Unavailable));
    server.logout(&person.access).await.expect_status(204);
    server.wait_until_caught_up().await;
    let before = server.fetches().await;
    let requests = (0..20).map(|_| async {
        service.guard.prepare().await;
        (service.judge(&person.access), service.judge(&other.access))
    });
    for verdicts in futures_util::future::join_all(requests).await {
        assert_eq!(verdicts, (Err(REVOKED), Ok(())));
    }
    assert_eq!(server.fetches().await, before + 1);

    scene.proxy.cut();
    service.becomes(FeedState::Stale).await;
    for _ in 0..3 {
        service.guard.prepare().await;
        assert_eq!(service.judge(&other.access), Err(Denied::Unavailable));
        assert_eq!(service.judge(&person.access), Err(REVOKED));
    }
    scene.proxy.mend();
    let reset = crate::terminal::tessera(server, &["feed", "reset"]);
    assert!(reset.status.success());
    eventually("the service fetches again", async || {
        service.guard.prepare().await;
        service.judge(&other.access).is_ok()
    })
    .await;
    // It takes a snapshot, and keeps what it knew.
    eventually("the service takes a snapshot", async || {
        service.guard.prepare().await;
        service.tessera.metrics().contains("tessera_verify_resyncs_total{why=\"gone\"} 1")
    })
    .await;
    assert_eq!(service.judge(&person.access), Err(REVOKED));
}

#[tokio::test]
async fn a_service_that_fetches_on_demand_reads_the_keys_too() {
    let scene = Scene::start(Server::setup().set("JWT_ALGORITHM", "EdDSA")).await;
    let person = scene.server.person("a").await;
    let service = Service::start(scene.settings().pull()).await;
    service.verdict(&person.access).await.unwrap();
    let next = scene.server.post("/admin/keys").bearer(&scene.root.access);
    next.json(&json!({ "now": true })).send().await.expect_status(201);
    let (access, _) = scene.server.sign_in(&person.email, PASSWORD).await;
    eventually("the service knows the new key", async || {
        service.guard.prepare().await;
        service.judge(&access).is_ok()
    })
    .await;
    service.verdict(&person.access).await.unwrap();
}
