//! Ends of sessions that came from a provider: its logout tokens, and the time that a sign-in there is worth.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ADA, corp, with};
use crate::grant_ends::{Fate, expect_fate};
use crate::grants::{tokens, trusted};
use crate::provider::userinfo;
use crate::support::upstream::{CLIENT, Key, Upstream, Wrong, now};
use crate::support::{Answer, Browser, PASSWORD, Server, claims_of, eventually};

const HOUR: u64 = 3600;

impl Server {
    async fn back_channel(&self, name: &str, token: &str) -> Answer {
        let request = self.post(&format!("/auth/{name}/backchannel-logout"));
        request.form(&[("logout_token", token)]).send().await
    }
}

fn claim(name: &'static str, value: impl Into<Value>) -> Wrong {
    Wrong { claims: vec![(name, Some(value.into()))], ..Wrong::default() }
}

fn no_claim(name: &'static str) -> Wrong {
    Wrong { claims: vec![(name, None)], ..Wrong::default() }
}

#[tokio::test]
async fn a_logout_at_the_provider_ends_the_sessions_that_came_from_it() {
    let (upstream, server) = corp(&json!({})).await;
    let person = server.verified_at(ADA).await;
    upstream.person(&json!({ "sid": "first" }));
    let (mut first, mut second) = (Browser::of(&server), Browser::of(&server));
    first.sign_in_with(&upstream).await.expect_status(303);
    upstream.person(&json!({ "sid": "second" }));
    second.sign_in_with(&upstream).await.expect_status(303);
    let (access, _) = server.sign_in(&person.email, PASSWORD).await;
    // One session of the provider ends.
    let token = upstream.logout_token(&claim("sid", "first"));
    let done = server.back_channel("corp", &token).await;
    assert!([200, 204].contains(&done.status), "{} {}", done.status, done.body);
    assert_eq!(done.header("cache-control"), "no-store");
    assert!(!first.is_signed_in().await && second.is_signed_in().await);
    server.me(&access).await.expect_status(200);
    // All sessions of the person there end, and no others.
    let token = upstream.logout_token(&Wrong::default());
    server.back_channel("corp", &token).await;
    assert!(!second.is_signed_in().await);
    server.me(&access).await.expect_status(200);
    server.wait_until_caught_up().await;
    // Somebody who never was here is no reason for an error.
    let unknown =
        server.back_channel("corp", &upstream.logout_token(&claim("sub", "unknown"))).await;
    assert!([200, 204].contains(&unknown.status), "{}", unknown.body);
}

#[tokio::test]
async fn a_logout_token_that_is_wrong_ends_nothing() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let key = |key: Key| Wrong { key, ..Wrong::default() };
    let events = |event: &str| claim("events", json!({ event: {} }));
    let mut tokens: Vec<(&str, String)> = [
        ("signed by a stranger", key(Key::Strange)),
        ("not signed", key(Key::Unsigned)),
        ("signed with the secret", key(Key::Secret)),
        ("signed with the public key", key(Key::Public)),
        ("of another issuer", claim("iss", "https://evil.example")),
        ("for another client", claim("aud", "another")),
        ("for nobody", no_claim("aud")),
        ("with a nonce", claim("nonce", "a")),
        ("without an event", no_claim("events")),
        ("about another event", events("http://schemas.openid.net/event/another")),
        (
            "with a list of events",
            claim("events", json!(["http://schemas.openid.net/event/backchannel-logout"])),
        ),
        ("without an id", no_claim("jti")),
        ("from last year", claim("iat", now() - 31_536_000)),
        ("from tomorrow", claim("iat", now() + 86_400)),
        ("without an instant", no_claim("iat")),
        ("ended", claim("exp", now() - HOUR.cast_signed())),
        ("about nobody", no_claim("sub")),
    ]
    .into_iter()
    .map(|(case, wrong)| (case, upstream.logout_token(&wrong)))
    .collect();
    // An ID token of the same person is no logout token.
    let id_token = upstream.tokens().into_iter().find(|token| token.starts_with("eyJ")).unwrap();
    tokens.extend([
        ("an ID token", id_token),
        ("nothing", String::new()),
        ("nonsense", "a.b.c".to_owned()),
    ]);
    tokens.push(("deep", format!("{}.e30.e30", "W".repeat(70_000))));
    for (case, token) in &tokens {
        let refused = server.back_channel("corp", token).await;
        assert!(
            [400, 413].contains(&refused.status),
            "{case}: {} {}",
            refused.status,
            refused.body
        );
        assert!(browser.is_signed_in().await, "{case} ended the session");
    }
    let token = upstream.logout_token(&Wrong::default());
    server.back_channel("unknown", &token).await.expect_status(404);
    assert!(browser.is_signed_in().await);
    assert_eq!(server.back_channel("corp", &token).await.status / 100, 2);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_logout_token_works_once_and_only_for_its_own_provider() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let entries = [
        one.entry(&json!({})),
        other.entry(&json!({ "name": "second", "domains": ["second.example"] })),
    ];
    let server = with(&entries).start().await;
    other.person(&json!({ "email": "eve@second.example" }));
    let (mut ada, mut eve) = (Browser::of(&server), Browser::of(&server));
    ada.sign_in_at("corp", &one).await.expect_status(303);
    eve.sign_in_at("second", &other).await.expect_status(303);
    // Both people have the same subject at their providers.
    server.back_channel("second", &one.logout_token(&Wrong::default())).await.expect_status(400);
    let issued_as_other = one.logout_token(&claim("iss", other.issuer()));
    server.back_channel("corp", &issued_as_other).await.expect_status(400);
    assert!(ada.is_signed_in().await && eve.is_signed_in().await);
    let token = one.logout_token(&Wrong::default());
    assert_eq!(server.back_channel("corp", &token).await.status / 100, 2);
    assert!(!ada.is_signed_in().await && eve.is_signed_in().await);
    // The same token again does not end the next session.
    ada.sign_in_at("corp", &one).await.expect_status(303);
    let again = server.back_channel("corp", &token).await;
    assert_eq!(again.status, 400, "{}", again.body);
    assert!(ada.is_signed_in().await);
    assert_eq!(claims_of(&token)["aud"], CLIENT);
}

#[tokio::test]
async fn a_sign_in_at_a_provider_is_worth_the_time_of_its_entry() {
    let (upstream, server) = corp(&json!({ "session": "8h" })).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let tokens = super::fastapi::sign_in(&server, &upstream).await;
    let (mut access, mut refresh) = (tokens.text("access_token"), tokens.text("refresh_token"));
    for turn in 1..=14 {
        // A browser session ends after an hour without use.
        server.advance(Duration::from_secs(HOUR / 2)).await;
        assert!(browser.is_signed_in().await);
        if turn % 2 == 1 {
            continue;
        }
        let next = server.refresh(&refresh).await.expect_status(200);
        (access, refresh) = (next.text("access_token"), next.text("refresh_token"));
    }
    server.me(&access).await.expect_status(200);
    // Seven hours and 55 minutes: the last access token ends with the session.
    server.advance(Duration::from_secs(55 * 60)).await;
    assert!(browser.is_signed_in().await);
    let last = server.refresh(&refresh).await.expect_status(200);
    let claims = claims_of(&last.text("access_token"));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!(life <= 5 * 60 + 5, "an access token of {life} seconds");
    server.advance(Duration::from_secs(6 * 60)).await;
    assert!(!browser.is_signed_in().await, "the page is open after eight hours");
    assert_eq!(server.me(&last.text("access_token")).await.status, 401);
    assert_eq!(server.refresh(&last.text("refresh_token")).await.status, 401);
    // A password here is not bounded.
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let (_, mut refresh) = server.sign_in("first@user.com", PASSWORD).await;
    for _ in 0..9 {
        server.advance(Duration::from_secs(HOUR)).await;
        refresh = server.refresh(&refresh).await.expect_status(200).text("refresh_token");
    }
}

#[tokio::test]
async fn signing_out_here_leads_to_the_provider_only_if_its_entry_says_so() {
    for (logout, expected) in [(json!("upstream"), true), (Value::Null, false)] {
        let (upstream, server) = corp(&json!({ "logout": logout })).await;
        let mut browser = Browser::of(&server);
        browser.sign_in_with(&upstream).await.expect_status(303);
        browser.open("/").await.expect_status(200);
        let mut place = browser.press("/logout", &[]).await.expect_status(303).header("location");
        // A page may stand between.
        if !place.contains("/end") && expected {
            let page = browser.open(&super::path_of(&place)).await;
            place = page.body;
        }
        assert_eq!(
            place.contains(&format!("{}/end", upstream.issuer())) || place.contains("&#x2f;end"),
            expected,
            "{place}"
        );
        assert!(!browser.is_signed_in().await);
        assert_eq!(server.database.count("session where ended_at is null").await, 0);
    }
}

#[tokio::test]
async fn tokens_say_that_a_provider_proved_who_the_user_is() {
    let (upstream, server) = corp(&json!({ "second": ["mfa"] })).await;
    for (amr, expected, acr) in [
        (Value::Null, json!(["fed"]), "urn:tessera:acr:federated"),
        (json!(["pwd"]), json!(["fed"]), "urn:tessera:acr:federated"),
        (json!(["pwd", "mfa"]), json!(["fed", "mfa"]), "urn:tessera:acr:mfa"),
        (json!("mfa"), json!(["fed"]), "urn:tessera:acr:federated"),
    ] {
        upstream.person(&json!({ "amr": amr }));
        let tokens = super::fastapi::sign_in(&server, &upstream).await;
        let claims = claims_of(&tokens.text("access_token"));
        let mut said: Vec<_> =
            claims["amr"].as_array().unwrap_or_else(|| panic!("{claims}")).clone();
        said.retain(|method| method != "otp");
        assert_eq!((json!(said), &claims["acr"]), (expected, &json!(acr)), "{amr}");
    }
    let (access, _) = {
        server.register("first@user.com", PASSWORD).await.expect_status(201);
        server.sign_in("first@user.com", PASSWORD).await
    };
    let claims = claims_of(&access);
    assert_eq!(
        (&claims["amr"], &claims["acr"]),
        (&json!(["pwd"]), &json!("urn:tessera:acr:password"))
    );
}

#[tokio::test]
async fn an_end_at_the_provider_and_unlinking_end_the_grants_of_the_sessions_that_came_from_it() {
    let (upstream, server) = corp(&json!({})).await;
    // It comes before the other server, which could write the mail to a folder of its own.
    let person = server.verified_at(ADA).await;
    let beside = with(&[upstream.entry(&json!({}))]).on(server.database.clone()).start().await;
    trusted("app").insert(&server.database).await;
    let offline = [("scope", "openid email offline_access")];
    for act in ["logout", "unlink"] {
        let (mut mine, mut other) = (Browser::of(&server), Browser::of(&server));
        mine.sign_in_with(&upstream).await.expect_status(303);
        other.sign_in(&person.email, PASSWORD).await;
        // A logout there ends a session. What a user gave for later ends when its proof is worth nothing any more.
        let later = if act == "unlink" { Fate::Ends } else { Fate::Stays };
        let grants = [
            (Fate::Ends, tokens(&server, &mut mine, "app", &[]).await),
            (later, tokens(&server, &mut mine, "app", &offline).await),
            (Fate::Stays, tokens(&server, &mut other, "app", &[]).await),
        ];
        for (_, tokens) in &grants {
            let access = tokens.text("access_token");
            let is_known = async || userinfo(&beside, &access).await.status == 200;
            eventually("the token is accepted", is_known).await;
        }
        match act {
            "logout" => {
                let token = upstream.logout_token(&Wrong::default());
                assert_eq!(server.back_channel("corp", &token).await.status / 100, 2);
            }
            _ => drop(other.unlink("corp", PASSWORD).await.unwrap().expect_status(303)),
        }
        beside.wait_until_caught_up().await;
        for (number, (fate, tokens)) in grants.iter().enumerate() {
            let what = format!("{act} {number}");
            expect_fate([&server, &beside], "app", (&what, *fate), tokens).await;
        }
    }
}
