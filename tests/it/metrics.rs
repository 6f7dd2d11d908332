//! Metrics: what a monitoring program reads, and that no label grows without bound.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::once::away::address_of;
use crate::once::{read, run, text};
use crate::provider::{Client, request};
use crate::support::{PASSWORD, Server, Setup, awaited, command, eventually};

/// A server with metrics, and where they are.
struct Scene {
    server: Server,
    metrics: SocketAddr,
}

impl Scene {
    async fn start(setup: Setup) -> Self {
        let server = setup.set("METRICS_LISTEN", "127.0.0.1:0").start().await;
        let line = server
            .log
            .wait_for_line("where metrics are", |line| line["message"] == "metrics are served");
        let metrics = line.await["address"].as_str().unwrap().parse().unwrap();
        Self { server, metrics }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.metrics)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn samples(&self) -> Samples {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        Samples::parse(&text)
    }

    /// The samples with those of the database, which a scrape leaves out if the database needs too long.
    async fn all_samples(&self) -> Samples {
        awaited("the samples of the database", async || {
            let samples = self.samples().await;
            let of_database = [WAITING_MAILS, "tessera_audit_seal_lag_seconds"];
            let are_there = of_database.iter().all(|name| samples.values.contains_key(*name));
            are_there.then_some(samples)
        })
        .await
    }
}

const WAITING_MAILS: &str = "tessera_jobs_waiting{kind=\"mail\"}";

/// The samples of an answer, by their names with labels.
struct Samples {
    values: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Samples {
    /// Parses the text format, and fails if a line does not follow it.
    fn parse(text: &str) -> Self {
        let (mut values, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        let mut last = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let before = kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} comes twice");
                last = name.to_owned();
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert!(name.starts_with(&last), "{line} is not below the type of its metric");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert_eq!(values.insert(sample.to_owned(), value), None, "{sample} comes twice");
        }
        Self { values, kinds }
    }

    fn get(&self, sample: &str) -> f64 {
        let names = || self.values.keys().collect::<Vec<_>>();
        *self.values.get(sample).unwrap_or_else(|| panic!("no {sample}: {:#?}", names()))
    }

    /// The names that a query can use: those of samples, with the ends of histograms.
    fn names(&self) -> BTreeSet<&str> {
        self.values.keys().map(|sample| sample.split('{').next().unwrap()).collect()
    }
}

fn count_of(method: &str, route: &str, status: u16) -> String {
    format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
         http_route=\"{route}\",http_response_status_code=\"{status}\",url_scheme=\"http\"}}"
    )
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status_and_nobody_can_invent_labels() {
    let scene = Scene::start(Server::setup()).await;
    let server = &scene.server;
    let person = server.person("first").await;
    for _ in 0..3 {
        server.me(&person.access).await.expect_status(200);
    }
    server.me("x").await.expect_status(401);
    server.login("first@user.com", "a wrong password").await.expect_status(400);
    let samples = scene.all_samples().await;
    assert_eq!(samples.get(&count_of("GET", "/users/me", 200)), 3.0);
    assert_eq!(samples.get(&count_of("GET", "/users/me", 401)), 1.0);
    assert_eq!(samples.get(&count_of("POST", "/auth/jwt/login", 400)), 1.0);
    let accepted = r#"tessera_sign_ins_total{method="password",outcome="accepted",reason=""}"#;
    assert_eq!(samples.get(accepted), 1.0);
    let refused = r#"tessera_sign_ins_total{method="password",outcome="refused",reason="LOGIN_BAD_CREDENTIALS"}"#;
    assert_eq!(samples.get(refused), 1.0);
    // Two hashes of sign-ins and one of the registration.
    assert_eq!(samples.get("tessera_password_hash_duration_seconds_count"), 3.0);
    assert_eq!(samples.get("http_server_active_requests"), 0.0);
    assert!(samples.get(r#"tessera_cache_requests_total{cache="user",result="hit"}"#) > 0.0);
    assert!(samples.get("process_open_fds") > 5.0);

    let before = samples.values.len();
    for turn in 0..30 {
        server.get(&format!("/nowhere/{turn}")).send().await.expect_status(404);
        server.get(&format!("/users/{turn}?x={turn}")).bearer(&person.access).send().await;
        server.raw(&format!(
            "INVENT{turn} /users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        server.login(&format!("nobody{turn}@user.com"), PASSWORD).await.expect_status(400);
    }
    let samples = scene.samples().await;
    assert_eq!(samples.get(&count_of("GET", "(unknown)", 404)), 30.0);
    let new = samples.values.len() - before;
    // Four histograms at most: unknown paths, another user, invented methods, and their refusals.
    assert!(new <= 4 * 19, "{new} new samples");
    let all = samples.values.keys().cloned().collect::<String>();
    for stranger in ["nowhere", "INVENT", "nobody", &person.id] {
        assert!(!all.contains(stranger), "{stranger}");
    }
}

#[tokio::test]
async fn metrics_are_on_no_public_port_and_nothing_else_is_on_theirs() {
    let scene = Scene::start(Server::setup()).await;
    scene.server.get("/metrics").send().await.expect_status(404);
    for path in ["/", "/health/live", "/metrics/", "/users/me"] {
        assert_eq!(scene.get(path).await.0, 404, "{path}");
    }
    let posted = reqwest::Client::new().post(format!("http://{}/metrics", scene.metrics));
    assert_eq!(posted.send().await.unwrap().status().as_u16(), 405);
    for (address, said) in [
        ("9464", "must be an IP address and a port"),
        ("metrics.example.com:9464", "must be an IP address and a port"),
        ("127.0.0.1:99999", "must be an IP address and a port"),
        ("127.0.0.1:8000", "choose another port"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path());
        let refused = run(command.args(["serve", "--dev"]).env("METRICS_LISTEN", address));
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains(said), "{address}: {}", text(&refused.stderr));
    }
}

/// The owner of a name can let it lead to this machine, and then a page of theirs reads answers in a browser here.
#[tokio::test]
async fn a_name_of_the_internet_gets_no_metrics() {
    let scene = Scene::start(Server::setup()).await;
    for (host, status) in [
        ("127.0.0.1", 200),
        ("127.0.0.1:9464", 200),
        ("10.1.2.3:9464", 200),
        ("[::1]:9464", 200),
        ("[::1]", 200),
        ("localhost", 200),
        ("LocalHost:9464", 200),
        ("tessera-one:9464", 200),
        ("evil.example", 421),
        ("evil.example:9464", 421),
        ("127.0.0.1.evil.example:9464", 421),
        ("localhost.evil.example", 421),
        ("localhost.", 421),
        ("127.1:9464", 421),
        ("[evil.example]:9464", 421),
        ("::1", 421),
        ("x@evil.example", 421),
        ("", 421),
    ] {
        let asked = reqwest::Client::new().get(format!("http://{}/metrics", scene.metrics));
        let answer = asked.header("host", host).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{host}");
        let body = answer.text().await.unwrap();
        assert_eq!(body.contains("process_open_fds"), status == 200, "{host}: {body}");
    }
}

/// The numbers in the database are missing then, and the others are there.
#[tokio::test]
async fn metrics_are_answered_while_the_database_is_away() {
    let database = crate::support::TestDatabase::prepared(crate::support::Kind::Postgres).await;
    let address = address_of(database.url()).to_owned();
    let proxy = crate::support::Proxy::to(address.clone()).await;
    let url = database.url().replace(&address, &proxy.address().to_string());
    let scene = Scene::start(Server::setup().on(database).reach_database_at(url)).await;
    eventually("the server knows the revocations", async || {
        scene.samples().await.get("tessera_revocation_known") == 1.0
    })
    .await;
    proxy.silence();
    let samples = awaited("the server does not know the revocations", async || {
        let samples = scene.samples().await;
        (samples.get("tessera_revocation_known") == 0.0).then_some(samples)
    })
    .await;
    assert!(samples.get("tessera_revocation_age_seconds") > 1.0);
    assert!(!samples.values.contains_key(WAITING_MAILS));
    assert!(samples.values.contains_key("process_resident_memory_bytes"));
}

/// The names of metrics in a query of Prometheus.
fn names_in(query: &str) -> BTreeSet<&str> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let mut names = BTreeSet::new();
    let (mut rest, mut quoted) = (query, false);
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            quoted = !quoted;
        }
        if quoted || !is_name(first) {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|char| !is_name(char)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_label =
            ["db_client_connection_pool_name", "db_client_connection_state"].contains(&word);
        let is_metric = !is_label
            && ["http_server_", "db_client_", "tessera_", "process_", "target_"]
                .iter()
                .any(|begin| word.starts_with(begin));
        if is_metric {
            names.insert(word);
        }
        rest = after;
    }
    names
}

/// The members `expr` of a document, at every depth.
fn queries(document: &Value, found: &mut Vec<String>) {
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().filter(|_| name == "expr") {
                    Some(query) => found.push(query.to_owned()),
                    None => queries(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_metrics_that_a_server_has() {
    let scene = Scene::start(Server::setup()).await;
    let server = &scene.server;
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    server.login("first@user.com", "a wrong password").await.expect_status(400);
    let samples = scene.all_samples().await;
    let known = samples.names();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let alerts: Value = serde_yaml::from_str(&read("deploy/alerts.yaml")).unwrap();
    for (file, document, least) in [("dashboard", &dashboard, 12), ("alerts", &alerts, 8)] {
        let mut found = Vec::new();
        queries(document, &mut found);
        assert!(found.len() >= least, "{file} has {} queries", found.len());
        for query in &found {
            let names = names_in(query);
            assert!(!names.is_empty() || query.contains("up{"), "{file}: {query}");
            for name in names {
                assert!(known.contains(name), "{file}: no server has {name}, in {query}");
            }
        }
    }
    // Each metric is in the guide.
    let guide = read("docs/guide/monitoring.md");
    for name in samples.kinds.keys() {
        assert!(guide.contains(&format!("`{name}`")), "the guide does not have {name}");
    }
    assert_eq!(samples.kinds["http_server_request_duration_seconds"], "histogram");
}

#[tokio::test]
async fn a_waiting_mail_and_a_waiting_service_are_counted() {
    let mail = crate::support::free_port();
    let setup = Server::setup()
        .set("MAIL_URL", format!("smtp://127.0.0.1:{mail}?tls=none"))
        .set("MAIL_FROM", "accounts@example.com");
    let scene = Scene::start(setup).await;
    let root = scene.server.superuser("root").await;
    let token = scene.server.service(&root, "reports", &["revocations:read"]).await;
    let stream = scene.server.get("/auth/revocations/stream").bearer(&token);
    let waiting = tokio::spawn(stream.send());
    eventually("both are counted", async || {
        let samples = scene.samples().await;
        samples.values.get(WAITING_MAILS).is_some_and(|count| *count > 0.0)
            && samples.get("tessera_feed_waiters") == 1.0
    })
    .await;
    waiting.abort();
    let asked = json!({ "email": "root@user.com" });
    scene.server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
}

/// A stranger needs no account for an authorization request, so what it names must cost no query for each name.
#[tokio::test]
async fn an_authorization_request_looks_up_only_resources_that_its_client_can_ask_for() {
    let scene = Scene::start(Server::setup()).await;
    let settings = json!({ "resources": ["https://api.example.com"] });
    Client { settings, ..Client::default() }.insert(&scene.server.database).await;
    let looked_up = async || {
        let samples = scene.samples().await;
        let of = |result: &str| {
            let labels = format!("{{cache=\"resource\",result=\"{result}\"}}");
            samples.get(&format!("tessera_cache_requests_total{labels}"))
        };
        of("hit") + of("miss")
    };
    let before = looked_up().await;
    let uris: Vec<_> = (0..8).map(|number| format!("https://{number}.example.com")).collect();
    let mut named: Vec<_> = uris.iter().map(|uri| ("resource", uri.as_str())).collect();
    let ask = async |client: &str, named: &[(&str, &str)]| {
        let path = request(&[("client_id", client)]);
        let path = named.iter().fold(path, |path, (name, uri)| format!("{path}&{name}={uri}"));
        scene.server.get(&path).send().await
    };
    ask("nobody", &named).await.expect_status(400);
    assert!(ask("app", &named).await.header("location").contains("invalid_target"));
    assert_eq!(looked_up().await.to_bits(), before.to_bits());
    named[0].1 = "https://api.example.com";
    assert!(ask("app", &named).await.header("location").contains("invalid_target"));
    assert_eq!(looked_up().await.to_bits(), (before + 1.0).to_bits());
}
