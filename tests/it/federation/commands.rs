//! The commands for operators: whether a provider works, and why a sign-in was refused.

use serde_json::{Value, json};

use super::{corp, tessera, with};
use crate::support::upstream::{CLIENT_SECRET, Instead, Upstream, Wrong};
use crate::support::{Browser, Server};
use crate::terminal::{fault, json_of, out};

fn instead(path: &'static str, answer: Instead) -> Wrong {
    Wrong { instead: vec![(path, answer)], ..Wrong::default() }
}

fn discovery(name: &'static str, value: Option<Value>) -> Wrong {
    Wrong { discovery: vec![(name, value)], ..Wrong::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_says_what_works_and_prints_the_redirect_uri() {
    let (upstream, server) = corp(&json!({})).await;
    let checked = tessera(&server, &["upstream", "check", "corp"]);
    assert!(checked.status.success(), "{}{}", out(&checked), fault(&checked));
    let said = out(&checked);
    for part in ["http://localhost:8000/login/with/corp/callback", &upstream.issuer(), "first"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = json_of(&tessera(&server, &["upstream", "check", "corp", "--output", "json"]));
    assert!(said.to_string().contains("/login/with/corp/callback"), "{said}");
    assert!(!said.to_string().contains(CLIENT_SECRET), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_says_what_is_wrong_and_what_to_do() {
    let (upstream, server) = corp(&json!({})).await;
    for (case, wrong, parts) in [
        (
            "away",
            instead("/.well-known/openid-configuration", Instead::Cut),
            ["discovery", "reaches"],
        ),
        (
            "not there",
            instead("/.well-known/openid-configuration", Instead::Json(404, json!({}))),
            ["discovery.status", "issuer"],
        ),
        (
            "another issuer",
            discovery("issuer", Some(json!("https://evil.example"))),
            ["https://evil.example", "UPSTREAMS_FILE"],
        ),
        (
            "no keys",
            instead("/jwks", Instead::Json(200, json!({ "keys": [] }))),
            ["keys", "signatures"],
        ),
    ] {
        upstream.make(wrong);
        let checked = tessera(&server, &["upstream", "check", "corp"]);
        let said = out(&checked) + &fault(&checked);
        assert_eq!(checked.status.code(), Some(1), "{case}: {said}");
        for part in parts {
            assert!(said.contains(part), "{case} lacks {part}: {said}");
        }
        assert!(said.contains("/login/with/corp/callback"), "{case}: {said}");
        assert!(!said.contains(CLIENT_SECRET), "{case}: {said}");
    }
    let unknown = tessera(&server, &["upstream", "check", "crop"]);
    let said = fault(&unknown);
    assert!(
        !unknown.status.success()
            && said.contains("crop")
            && said.contains("tessera upstream list"),
        "{said}"
    );
}

/// Refuses a sign-in, and returns the reference on its page.
async fn refusal(server: &Server, upstream: &Upstream, wrong: Wrong) -> String {
    upstream.make(wrong);
    let page = Browser::of(server).sign_in_with(upstream).await;
    let reference = super::reference(&page);
    assert!(page.body.contains(&reference), "the page does not show {reference}: {}", page.body);
    super::check_with(server, &reference).await;
    reference
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_explained_with_the_check_the_values_and_a_remedy() {
    let (upstream, server) = corp(&json!({})).await;
    let wrong =
        Wrong { claims: vec![("iss", Some(json!("https://evil.example")))], ..Wrong::default() };
    let reference = refusal(&server, &upstream, wrong).await;
    let explained = tessera(&server, &["upstream", "explain", &reference]);
    assert!(explained.status.success(), "{}", fault(&explained));
    let said = out(&explained);
    for part in ["iss", "https://evil.example", &upstream.issuer(), "tessera upstream check corp"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // An operator's terminal executes nothing that a provider says.
    let wrong = Wrong {
        claims: vec![("iss", Some(json!("\u{1b}]0;evil\u{7}\u{1b}[2Jhttps://x")))],
        ..Wrong::default()
    };
    let reference = refusal(&server, &upstream, wrong).await;
    let explained = tessera(&server, &["upstream", "explain", &reference]);
    let said = out(&explained);
    assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said:?}");
    // What comes is bounded.
    let wrong =
        Wrong { claims: vec![("iss", Some(json!("x".repeat(20_000))))], ..Wrong::default() };
    let reference = refusal(&server, &upstream, wrong).await;
    let explained = tessera(&server, &["upstream", "explain", &reference]);
    assert!(out(&explained).len() < 4000, "{} bytes", out(&explained).len());
    let unknown = tessera(&server, &["upstream", "explain", "unknown"]);
    assert!(out(&unknown).contains("unknown"), "{}{}", out(&unknown), fault(&unknown));
}

/// Anybody can cause refusals. They must not fill the database, nor hide those of people who began a sign-in.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_kept_in_a_limited_number_and_strangers_hide_none() {
    let (upstream, server) = corp(&json!({})).await;
    let wrong = Wrong { claims: vec![("nonce", None)], ..Wrong::default() };
    let reference = refusal(&server, &upstream, wrong).await;
    for round in 0..5 {
        let forged = |turn| format!("/login/with/corp/callback?code=a&state=forged-{turn}");
        let pages = (0..400).map(|turn| server.get(&forged(turn)).send());
        for page in futures_util::future::join_all(pages).await {
            assert_eq!(page.status, 400, "{}", page.body);
        }
        let page = Browser::of(&server).open(&forged(round)).await;
        super::check_with(&server, &super::reference(&page)).await;
    }
    // A person is refused while strangers send more than memory keeps.
    let forged = |turn| format!("/login/with/corp/callback?code=a&state=more-{turn}");
    let pages = (0..700).map(|turn| server.get(&forged(turn)).send());
    futures_util::future::join_all(pages).await;
    let wrong = Wrong { claims: vec![("nonce", None)], ..Wrong::default() };
    let beside = refusal(&server, &upstream, wrong).await;
    assert_ne!(beside, reference);
    let kept = server.database.count("upstream_refusal").await;
    assert!(kept <= 1003, "{kept} refusals are kept");
    super::check_with(&server, &reference).await;
    // Strangers write nothing into the audit.
    assert_eq!(server.database.count("audit where act = 'upstream-refused'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_providers_say_which_setting_names_them() {
    let server = with(&[]).start().await;
    let listed = server.beside().args(["upstream", "list"]).output().unwrap();
    assert_eq!(out(&listed), "none\n");
    let checked = server.beside().args(["upstream", "check", "corp"]).output().unwrap();
    assert!(
        !checked.status.success() && fault(&checked).contains("UPSTREAMS_FILE"),
        "{}",
        fault(&checked)
    );
}

/// Clouds give secrets at addresses of their own. No entry reaches them, however the address is written.
#[tokio::test(flavor = "multi_thread")]
async fn no_entry_reaches_the_secrets_of_a_cloud() {
    let hosts = [
        "169.254.169.254",
        "0xa9.0xfe.0xa9.0xfe",
        "2852039166",
        "169.254.43518",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[2001:0:4136:e378:8000:63bf:5601:5601]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "192.0.0.192",
    ];
    let entries: Vec<Value> = hosts
        .iter()
        .enumerate()
        .map(|(place, host)| {
            json!({
                "name": format!("cloud{place}"), "issuer": format!("http://{host}/latest"),
                "client_id": "tessera", "private": true,
            })
        })
        .collect();
    let server = with(&entries).start().await;
    for (place, host) in hosts.iter().enumerate() {
        let checked = tessera(&server, &["upstream", "check", &format!("cloud{place}")]);
        let said = out(&checked) + &fault(&checked);
        assert_eq!(checked.status.code(), Some(1), "{host}: {said}");
        assert!(said.contains("no address that the entry can reach"), "{host}: {said}");
    }
}
