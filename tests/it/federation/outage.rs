//! Providers that are away, slow or hostile: the others work, the person gets a way on, and nothing is asked that was
//! not named.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

use super::{ADA, check_with, corp, path_of, with};
use crate::support::upstream::{Instead, Upstream, Wrong};
use crate::support::{Answer, Browser, PASSWORD, Server};

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn instead(path: &'static str, answer: Instead) -> Wrong {
    Wrong { instead: vec![(path, answer)], ..Wrong::default() }
}

fn discovery(name: &'static str, value: Option<serde_json::Value>) -> Wrong {
    Wrong { discovery: vec![(name, value)], ..Wrong::default() }
}

/// Asserts that the page says who does not answer, and has a link to other ways to sign in.
#[track_caller]
fn assert_way_on(page: &Answer) {
    assert_eq!(page.status, 502, "{}", page.body);
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.body);
    assert!(page.body.contains("corp") && page.body.contains("login\""), "{}", page.body);
}

async fn assert_healthy(server: &Server) {
    server.get("/health/ready").send().await.expect_status(200);
    server.get("/health/live").send().await.expect_status(200);
    let login = Browser::of(server).open("/login").await.expect_status(200);
    assert!(login.body.contains("login/with/corp"), "{}", login.body);
}

#[tokio::test]
async fn a_provider_is_asked_at_the_first_use_and_its_document_is_kept() {
    let (upstream, server) = corp(&json!({})).await;
    Browser::of(&server).open("/login").await.expect_status(200);
    assert!(upstream.seen(DISCOVERY).is_empty(), "the start asked the provider");
    for _ in 0..2 {
        Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    }
    assert_eq!((upstream.seen(DISCOVERY).len(), upstream.seen("/jwks").len()), (1, 1));
    server.advance(Duration::from_secs(3601)).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(upstream.seen(DISCOVERY).len(), 2);
    // The provider's document is away. The old one is used for a day.
    upstream.make(instead(DISCOVERY, Instead::Json(503, json!({}))));
    server.advance(Duration::from_secs(12 * 3600)).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    server.advance(Duration::from_secs(13 * 3600)).await;
    let page = Browser::of(&server).open("/login/with/corp").await;
    assert_way_on(&page);
}

#[tokio::test]
async fn a_discovery_document_that_cannot_be_read_is_an_outage_that_ends_by_itself() {
    let (upstream, server) = corp(&json!({})).await;
    let elsewhere = Upstream::start().await;
    let other = elsewhere.issuer();
    let mut refused = Vec::new();
    for (case, check, wrong) in documents(&upstream, &other) {
        upstream.make(wrong);
        let page = Browser::of(&server).open("/login/with/corp").await;
        assert_eq!(page.status, 502, "{case}: {} {}", page.header("location"), page.body);
        assert_way_on(&page);
        refused.push((case, check, super::reference(&page)));
        assert_healthy(&server).await;
        // A failure is not kept for long.
        server.advance(Duration::from_secs(61)).await;
    }
    for (case, check, reference) in refused {
        assert_eq!(check_with(&server, &reference).await, check, "{case}");
    }
    assert!(elsewhere.seen(DISCOVERY).is_empty(), "a redirect was followed");
    upstream.make(Wrong::default());
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
}

/// Discovery documents that are wrong, with the names of their refusals.
fn documents(upstream: &Upstream, other: &str) -> Vec<(&'static str, &'static str, Wrong)> {
    let document = |answer: Instead| instead(DISCOVERY, answer);
    let longer = format!("{}/", upstream.issuer());
    vec![
        ("an error", "discovery.status", document(Instead::Json(500, json!({})))),
        ("nothing there", "discovery.status", document(Instead::Json(404, json!({})))),
        (
            "HTML",
            "discovery.malformed",
            document(Instead::Text(200, "text/html", "<p>Sign in".to_owned())),
        ),
        ("a list", "discovery.malformed", document(Instead::Json(200, json!([])))),
        (
            "a deep list",
            "discovery.malformed",
            document(Instead::Text(200, "application/json", "[".repeat(60_000))),
        ),
        ("no end", "discovery.unreachable", document(Instead::Huge)),
        ("half", "discovery.unreachable", document(Instead::Half)),
        ("the end", "discovery.unreachable", document(Instead::Cut)),
        ("silence", "discovery.unreachable", document(Instead::Silence)),
        (
            "a redirect",
            "discovery.unreachable",
            document(Instead::Redirect(format!("{other}{DISCOVERY}"))),
        ),
        ("another issuer", "discovery.issuer", discovery("issuer", Some(json!(other)))),
        ("a longer issuer", "discovery.issuer", discovery("issuer", Some(json!(longer)))),
        ("no token endpoint", "discovery.malformed", discovery("token_endpoint", None)),
        (
            "no authorization endpoint",
            "discovery.malformed",
            discovery("authorization_endpoint", None),
        ),
        (
            "a script for an endpoint",
            "discovery.endpoint",
            discovery("authorization_endpoint", Some(json!("javascript:alert(1)"))),
        ),
        (
            "a file for an endpoint",
            "discovery.endpoint",
            discovery("token_endpoint", Some(json!("file:///etc/passwd"))),
        ),
        ("no keys", "discovery.malformed", discovery("jwks_uri", None)),
    ]
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_an_outage_too() {
    let (upstream, server) = corp(&json!({})).await;
    let elsewhere = Upstream::start().await;
    let redirect = Instead::Redirect(format!("{}/jwks", elsewhere.issuer()));
    let mut refused = Vec::new();
    for (case, check, answer) in [
        ("an error", "keys.status", Instead::Json(500, json!({}))),
        ("no list", "keys.malformed", Instead::Json(200, json!({ "keys": 1 }))),
        ("no keys", "keys.malformed", Instead::Json(200, json!({ "keys": [] }))),
        ("no end", "keys.unreachable", Instead::Huge),
        ("half", "keys.unreachable", Instead::Half),
        ("silence", "keys.unreachable", Instead::Silence),
        ("a redirect", "keys.unreachable", redirect),
    ] {
        upstream.make(instead("/jwks", answer));
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await;
        assert!([400, 502].contains(&page.status), "{case}: {} {}", page.status, page.body);
        assert!(!browser.is_signed_in().await, "{case}");
        refused.push((case, check, super::reference(&page)));
        assert_healthy(&server).await;
        server.advance(Duration::from_secs(61)).await;
    }
    for (case, check, reference) in refused {
        assert_eq!(check_with(&server, &reference).await, check, "{case}");
    }
    assert!(elsewhere.seen("/jwks").is_empty(), "a redirect was followed");
    upstream.make(Wrong::default());
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
}

/// Each request to the provider has its own limit of five seconds. Together they have another one of eight, so nobody
/// waits for long.
#[tokio::test]
async fn a_provider_that_answers_each_request_late_is_too_slow() {
    let (upstream, server) = corp(&json!({})).await;
    // None needs five seconds, and the person is still unknown after eight: the address comes from the last answer.
    let late = ["/token", "/jwks", "/userinfo"].map(|path| (path, Duration::from_millis(2800)));
    let claims = vec![("email", None)];
    upstream.make(Wrong { claims, late: late.to_vec(), ..Wrong::default() });
    let mut browser = Browser::of(&server);
    let page = browser.sign_in_with(&upstream).await;
    assert_way_on(&page);
    assert_eq!(check_with(&server, &super::reference(&page)).await, "exchange.too_slow");
    assert!(!browser.is_signed_in().await);
}

/// A slow provider holds as many requests as it has places. The others do not wait for it.
#[tokio::test]
async fn sign_ins_at_a_provider_that_holds_its_places_are_refused_and_others_are_not() {
    let (upstream, server) = corp(&json!({})).await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    Browser::of(&server).leave("corp").await;
    upstream.make(instead("/token", Instead::Silence));
    // All come back at the same moment, because the first ones give their places up after five seconds.
    let mut coming = Vec::new();
    for _ in 0..20 {
        let mut browser = Browser::of(&server);
        let place = browser.leave("corp").await;
        coming.push((browser, path_of(&upstream.come_back(&place))));
    }
    let arrivals = coming
        .into_iter()
        .map(|(mut browser, back)| async move { super::reference(&browser.open(&back).await) });
    let others = async {
        for _ in 0..5 {
            server.sign_in("first@user.com", PASSWORD).await;
        }
    };
    let (references, ()) = tokio::join!(futures_util::future::join_all(arrivals), others);
    let mut found = std::collections::BTreeMap::new();
    for reference in references {
        *found.entry(check_with(&server, &reference).await).or_insert(0) += 1;
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), ["exchange.busy", "exchange.unreachable"]);
    assert_eq!(found["exchange.unreachable"], 16, "{found:?}");
}

#[tokio::test]
async fn a_provider_that_ends_in_the_middle_of_a_sign_in_is_an_outage_until_it_is_back() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    let place = browser.leave("corp").await;
    let back = path_of(&upstream.come_back(&place));
    let port = upstream.address.port();
    drop(upstream);
    crate::support::eventually("the provider has ended", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err()
    })
    .await;
    let page = browser.open(&back).await;
    assert_way_on(&page);
    assert!(!browser.is_signed_in().await);
    assert_healthy(&server).await;
    let upstream = Upstream::start_on(port).await;
    browser.sign_in_with(&upstream).await.expect_status(303);
    assert!(browser.account().await.body.contains(ADA));
}

#[tokio::test]
async fn a_silent_provider_holds_up_nobody_else() {
    let (upstream, server) = corp(&json!({})).await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    upstream.make(instead(DISCOVERY, Instead::Silence));
    let waiting = futures_util::future::join_all(
        (0..8).map(|_| server.get("/login/with/corp").header("accept", "text/html").send()),
    );
    let others = async {
        for _ in 0..5 {
            server.sign_in("first@user.com", PASSWORD).await;
            server.get("/health/ready").send().await.expect_status(200);
        }
    };
    let (pages, ()) = tokio::join!(waiting, others);
    for page in pages {
        assert_way_on(&page);
    }
    assert!(upstream.seen(DISCOVERY).len() <= 8);
}

/// Entries that are not private: no address of this machine or of its network is ever connected to.
#[tokio::test]
async fn a_provider_at_a_private_address_is_asked_only_if_its_entry_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::ffff:7f00:1]",
        "127.0.0.1.",
        "localhost.",
        "[::]",
    ];
    let upstream = Upstream::start().await;
    for host in hosts {
        let issuer = format!("https://{host}:{port}");
        let entry = upstream.entry(&json!({ "issuer": issuer, "private": null }));
        let started = with(&[entry]);
        let server = started.start().await;
        let page = Browser::of(&server).open("/login/with/corp").await;
        assert_way_on(&page);
        assert_healthy(&server).await;
    }
    let accepted = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(accepted.is_err(), "a connection to a private address was made");
}

#[tokio::test]
async fn no_start_has_a_provider_without_encryption_unless_its_entry_is_private() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upstreams.yaml");
    std::fs::write(&file, json!([upstream.entry(&json!({ "private": null }))]).to_string())
        .unwrap();
    let file = file.to_str().unwrap();
    let secret = ("APP_SECRET", crate::support::SECRET);
    let said = crate::once::start::refused(folder.path(), &[secret, ("UPSTREAMS_FILE", file)], &[]);
    assert!(said.contains("UPSTREAMS_FILE") && said.contains("https://"), "{said}");
    assert!(!said.contains(crate::support::upstream::CLIENT_SECRET), "{said}");
}
