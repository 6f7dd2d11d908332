//! The checks of the callback: each fails alone, is named, and leaves nothing behind.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{ADA, check_of, check_with, corp, parameter, path_of, with};
use crate::support::upstream::{Instead, Key, Upstream, Wrong, now};
use crate::support::{Browser, Server};

/// Something that is wrong, its name in this table, and the check that finds it.
type Case = (&'static str, &'static str, Wrong);

fn claim(name: &'static str, value: impl Into<Value>) -> Wrong {
    Wrong { claims: vec![(name, Some(value.into()))], ..Wrong::default() }
}

fn no_claim(name: &'static str) -> Wrong {
    Wrong { claims: vec![(name, None)], ..Wrong::default() }
}

fn header(name: &'static str, value: impl Into<Value>) -> Wrong {
    Wrong { header: vec![(name, Some(value.into()))], ..Wrong::default() }
}

fn signed_by(key: Key) -> Wrong {
    Wrong { key, ..Wrong::default() }
}

fn reply(name: &'static str, value: Option<&str>) -> Wrong {
    Wrong { reply: vec![(name, value.map(str::to_owned))], ..Wrong::default() }
}

fn instead(path: &'static str, answer: Instead) -> Wrong {
    Wrong { instead: vec![(path, answer)], ..Wrong::default() }
}

fn tokens(name: &'static str, value: Option<Value>) -> Wrong {
    Wrong { tokens: vec![(name, value)], ..Wrong::default() }
}

fn userinfo(name: &'static str, value: Option<Value>) -> Wrong {
    Wrong { userinfo: vec![(name, value)], ..Wrong::default() }
}

/// ID tokens that are wrong.
fn id_tokens() -> Vec<Case> {
    vec![
        ("no ID token", "id_token.missing", tokens("id_token", None)),
        ("no token at all", "id_token.malformed", tokens("id_token", Some(json!("")))),
        ("a number for an ID token", "exchange.malformed", tokens("id_token", Some(json!(1)))),
        ("no signature", "id_token.alg", signed_by(Key::Unsigned)),
        ("signed with the client's secret", "id_token.alg", signed_by(Key::Secret)),
        ("signed with the public key as a secret", "id_token.alg", signed_by(Key::Public)),
        ("an algorithm in another case", "id_token.alg", header("alg", "rs256")),
        ("another algorithm than its key has", "id_token.key", header("alg", "ES256")),
        ("a key that nobody knows", "id_token.key", header("kid", "unknown")),
        ("a key for encryption", "id_token.key", header("kid", "for-encryption")),
        ("signed by a stranger", "id_token.signature", signed_by(Key::Strange)),
        ("a critical extension", "id_token.malformed", header("crit", json!(["exp"]))),
        ("another issuer", "id_token.iss", claim("iss", "https://evil.example")),
        ("no issuer", "id_token.malformed", no_claim("iss")),
        ("another audience", "id_token.aud", claim("aud", "another")),
        ("no audience", "id_token.malformed", no_claim("aud")),
        ("a number for an audience", "id_token.malformed", claim("aud", 1)),
        ("an empty list of audiences", "id_token.aud", claim("aud", json!([]))),
        ("two audiences and no party", "id_token.azp", claim("aud", json!(["tessera", "another"]))),
        ("another party", "id_token.azp", claim("azp", "another")),
        ("ended", "id_token.exp", claim("exp", now() - 3600)),
        ("no end", "id_token.malformed", no_claim("exp")),
        ("an end in letters", "id_token.malformed", claim("exp", "tomorrow")),
        ("from tomorrow", "id_token.iat", claim("iat", now() + 86_400)),
        ("from last year", "id_token.iat", claim("iat", now() - 31_536_000)),
        ("not valid before tomorrow", "id_token.iat", claim("nbf", now() + 86_400)),
        ("no instant", "id_token.malformed", no_claim("iat")),
        ("another nonce", "id_token.nonce", claim("nonce", "another")),
        ("no nonce", "id_token.nonce", no_claim("nonce")),
        ("of another access token", "id_token.at_hash", claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")),
        ("no subject", "id_token.malformed", no_claim("sub")),
        ("an empty subject", "id_token.sub", claim("sub", "")),
        ("a number for a subject", "id_token.malformed", claim("sub", 248_289_761_001_i64)),
        ("a subject of 256 characters", "id_token.sub", claim("sub", "x".repeat(256))),
    ]
}

/// A token without an address, so that the provider is asked for it, and an answer to that.
fn asked(wrong: Wrong) -> Wrong {
    Wrong { claims: vec![("email", None), ("email_verified", None)], ..wrong }
}

/// Answers to the browser and to the server that are wrong.
fn answers() -> Vec<Case> {
    let token = |answer: Instead| instead("/token", answer);
    let invalid = |status, code: &str| token(Instead::Json(status, json!({ "error": code })));
    let html = || Instead::Text(200, "text/html", "<p>Sign in".to_owned());
    let deep = || Instead::Text(200, "application/json", "[".repeat(60_000));
    let person = |answer: Instead| asked(instead("/userinfo", answer));
    vec![
        ("no code", "parameters.malformed", reply("code", None)),
        ("no state", "parameters.malformed", reply("state", None)),
        ("a forged state", "state.unreadable", reply("state", Some("forged"))),
        ("another issuer in the reply", "iss.other", reply("iss", Some("https://evil.example"))),
        ("no issuer in the reply", "iss.missing", reply("iss", None)),
        ("a code and an error", "parameters.malformed", reply("error", Some("access_denied"))),
        ("another code", "exchange.code", reply("code", Some("another"))),
        ("the secret is refused", "exchange.client", invalid(401, "invalid_client")),
        ("the code is refused", "exchange.code", invalid(400, "invalid_grant")),
        ("an unknown refusal", "exchange.refused", invalid(400, "<script>alert(1)</script>")),
        ("a refusal with 200", "exchange.code", invalid(200, "invalid_grant")),
        ("a fault", "exchange.status", invalid(500, "server_error")),
        ("tokens in HTML", "exchange.malformed", token(html())),
        ("tokens that are deep", "exchange.malformed", token(deep())),
        ("tokens elsewhere", "exchange.unreachable", token(Instead::Redirect("/other".to_owned()))),
        ("tokens without end", "exchange.unreachable", token(Instead::Huge)),
        ("half of the tokens", "exchange.unreachable", token(Instead::Half)),
        ("no answer", "exchange.unreachable", token(Instead::Cut)),
        ("silence", "exchange.unreachable", token(Instead::Silence)),
        ("no access token", "exchange.malformed", tokens("access_token", None)),
        ("another type of token", "exchange.malformed", tokens("token_type", Some(json!("mac")))),
        ("userinfo about another", "userinfo.sub", asked(userinfo("sub", Some(json!("another"))))),
        ("userinfo about nobody", "userinfo.sub", asked(userinfo("sub", None))),
        ("no userinfo", "userinfo.status", person(Instead::Json(500, json!({})))),
        ("userinfo in HTML", "userinfo.malformed", person(html())),
        ("userinfo that ends", "userinfo.unreachable", person(Instead::Half)),
        ("userinfo elsewhere", "userinfo.unreachable", person(Instead::Redirect("/x".to_owned()))),
    ]
}

/// Asserts that nothing is left of a sign-in that was refused.
async fn assert_nothing_happened(server: &Server, browser: &mut Browser<'_>, case: &str) {
    assert!(!browser.is_signed_in().await, "{case}: somebody is signed in");
    for table in ["\"user\"", "session", "federated_identity"] {
        assert_eq!(server.database.count(table).await, 0, "{case}: {table}");
    }
}

#[tokio::test]
async fn each_check_of_the_callback_fails_alone_and_is_named() {
    let (upstream, server) = corp(&json!({})).await;
    let mut refused = Vec::new();
    for (case, check, wrong) in id_tokens().into_iter().chain(answers()) {
        upstream.make(wrong);
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await;
        assert!([400, 403, 502].contains(&page.status), "{case}: {} {}", page.status, page.body);
        assert!(page.header("content-type").starts_with("text/html"), "{case}");
        assert!(!page.body.contains("<script>alert"), "{case}: {}", page.body);
        assert_nothing_happened(&server, &mut browser, case).await;
        refused.push((case, check, super::reference(&page)));
    }
    for (case, check, reference) in refused {
        assert_eq!(check_with(&server, &reference).await, check, "{case}");
    }
    // Nothing is wrong any more.
    upstream.make(Wrong::default());
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    assert!(browser.account().await.body.contains(ADA));
}

#[tokio::test]
async fn a_refusal_of_the_provider_is_shown_with_a_way_on() {
    let (upstream, server) = corp(&json!({})).await;
    for (error, check, status) in [
        ("access_denied", "error.declined", 400),
        ("server_error", "error.unavailable", 502),
        ("temporarily_unavailable", "error.unavailable", 502),
        ("login_required", "error.refused", 502),
        ("<script>alert(1)</script>", "error.refused", 502),
    ] {
        let no_code = ("code", None);
        upstream.make(Wrong {
            reply: vec![
                no_code,
                ("error", Some(error.to_owned())),
                ("error_description", Some("<b>".to_owned())),
            ],
            ..Wrong::default()
        });
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await.expect_status(status);
        assert!(
            page.body.contains("login\"") && !page.body.contains("<script>alert"),
            "{}",
            page.body
        );
        assert!(!page.body.contains("<b>"), "{}", page.body);
        assert_eq!(check_of(&server, &page).await, check);
    }
}

#[tokio::test]
async fn a_request_to_the_provider_is_bound_and_its_answer_opens_a_session() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    let login = browser.open("/login?next=/account").await.expect_status(200);
    let link = "/login/with/corp";
    assert!(login.body.contains("login/with/corp"), "{}", login.body);
    let left = browser.open(&format!("{link}?next=/account")).await.expect_status(303);
    let place = left.header("location");
    assert!(place.starts_with(&format!("{}/authorize?", upstream.issuer())), "{place}");
    for (name, expected) in [
        ("client_id", "tessera"),
        ("response_type", "code"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", "http://localhost:8000/login/with/corp/callback"),
    ] {
        assert_eq!(parameter(&place, name).as_deref(), Some(expected), "{name} in {place}");
    }
    let scope = parameter(&place, "scope").unwrap();
    assert!(scope.split(' ').any(|word| word == "openid"), "{scope}");
    assert_eq!(parameter(&place, "code_challenge").unwrap().len(), 43);
    assert!(parameter(&place, "nonce").unwrap().len() >= 22);
    // Nothing is the same the second time.
    let again = browser.leave("corp").await;
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(parameter(&place, name), parameter(&again, name), "{name}");
    }
    // The state is sealed.
    let state = parameter(&place, "state").unwrap();
    let sealed = URL_SAFE_NO_PAD.decode(&state).unwrap();
    for secret in ["\"corp\"", "login/with/corp/callback", &parameter(&place, "nonce").unwrap()] {
        let is_secret = |part: &[u8]| part == secret.as_bytes();
        assert!(!state.contains(secret), "{state}");
        assert!(!sealed.windows(secret.len()).any(is_secret), "{state} has {secret}");
    }
    let arrived = browser.open(&path_of(&upstream.come_back(&place))).await.expect_status(303);
    assert!(arrived.header("location").ends_with("/account"), "{}", arrived.header("location"));
    assert!(browser.account().await.body.contains(ADA));
}

#[tokio::test]
async fn a_sign_in_of_another_browser_is_refused() {
    let (upstream, server) = corp(&json!({})).await;
    let (mut thief, mut victim) = (Browser::of(&server), Browser::of(&server));
    // The thief sends the victim a link that would sign the victim in as the thief.
    let back = path_of(&upstream.come_back(&thief.leave("corp").await));
    for has_been_here in [false, true] {
        if has_been_here {
            victim.open("/login").await.expect_status(200);
            victim.leave("corp").await;
        }
        let page = victim.open(&back).await.expect_status(400);
        assert_eq!(check_of(&server, &page).await, "browser.other", "{}", page.body);
        assert_nothing_happened(&server, &mut victim, "another browser").await;
    }
}

#[tokio::test]
async fn a_callback_works_once_and_its_repetition_ends_nothing() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    let back = path_of(&upstream.come_back(&browser.leave("corp").await));
    browser.open(&back).await.expect_status(303);
    let asked = upstream.seen("/token").len();
    let page = browser.open(&back).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "state.spent", "{}", page.body);
    assert!(browser.is_signed_in().await);
    // The code is not sent again either, because the provider would end what it gave for it.
    assert_eq!(upstream.seen("/token").len(), asked);
    assert_eq!(server.database.count("session").await, 1);
}

#[tokio::test]
async fn a_sign_in_must_be_done_within_an_hour() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    let (early, late) = (browser.leave("corp").await, browser.leave("corp").await);
    server.advance(Duration::from_secs(59 * 60)).await;
    browser.open(&path_of(&upstream.come_back(&early))).await.expect_status(303);
    server.advance(Duration::from_secs(2 * 60)).await;
    let page = browser.open(&path_of(&upstream.come_back(&late))).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "state.expired", "{}", page.body);
}

/// A provider of the list that attacks the others: it knows codes and states that were meant for it.
#[tokio::test]
async fn a_code_of_one_provider_is_never_sent_to_another() {
    let (corp, evil) = (Upstream::start().await, Upstream::start().await);
    let entries = [
        corp.entry(&json!({})),
        evil.entry(&json!({ "name": "evil", "domains": ["evil.example"] })),
    ];
    let server = with(&entries).start().await;
    let mut browser = Browser::of(&server);
    // The person chooses evil, which sends them to corp with the state of evil.
    let place = browser.leave("evil").await;
    let honest = browser.leave("corp").await;
    let pairs = reqwest::Url::parse(&place).unwrap();
    let mixed = honest.split('?').next().unwrap().to_owned() + "?" + pairs.query().unwrap();
    let back = corp.come_back(&mixed);
    let page = browser.open(&path_of(&back)).await;
    // The issuer in the reply is not the one that was asked.
    assert_eq!(check_of(&server, &page).await, "iss.other", "{}", page.body);
    assert!(evil.seen("/token").is_empty(), "evil has a code of corp");
    // The same code and state at the other callback.
    for (from, to) in [("evil", "corp"), ("corp", "evil")] {
        let (provider, place) = if from == "evil" {
            (&evil, browser.leave("evil").await)
        } else {
            (&corp, browser.leave("corp").await)
        };
        let back = path_of(&provider.come_back(&place));
        let swapped = back.replace(&format!("/with/{from}/"), &format!("/with/{to}/"));
        let page = browser.open(&swapped).await.expect_status(400);
        assert_eq!(check_of(&server, &page).await, "provider.other", "{}", page.body);
    }
    assert!(evil.seen("/token").is_empty() && corp.seen("/token").is_empty());
    assert_nothing_happened(&server, &mut browser, "mix-up").await;
}

/// A thief puts the code of another person into their own sign-in.
#[tokio::test]
async fn a_code_of_another_sign_in_is_refused_by_its_verifier() {
    let (upstream, server) = corp(&json!({})).await;
    let (mut victim, mut thief) = (Browser::of(&server), Browser::of(&server));
    let stolen = upstream.come_back(&victim.leave("corp").await);
    let own = upstream.come_back(&thief.leave("corp").await);
    let code = |url: &str| parameter(url, "code").unwrap();
    let page = thief.open(&path_of(&own.replace(&code(&own), &code(&stolen)))).await;
    assert_eq!(check_of(&server, &page).await, "exchange.code", "{}", page.body);
    assert_nothing_happened(&server, &mut thief, "another code").await;
    // The verifier was sent, and the provider compared it.
    let sent = upstream.seen("/token");
    assert!(sent[0].body.contains("code_verifier="), "{}", sent[0].body);
}

#[tokio::test]
async fn a_callback_that_is_posted_is_answered_with_the_same_place() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    let back = path_of(&upstream.come_back(&browser.leave("corp").await));
    let (path, query) = back.split_once('?').unwrap();
    // A browser sends no cookies with a form of another site.
    let posted = server.post(path).header("origin", "https://idp.example");
    let posted = posted.header("sec-fetch-site", "cross-site");
    let posted = posted.body("application/x-www-form-urlencoded", query.to_owned());
    let led = posted.send().await.expect_status(303);
    assert_eq!(server.database.count("session").await, 0);
    // Nothing but the known parameters is repeated, and the place is this server.
    let place = led.header("location");
    let page = reqwest::Url::parse(&server.url(path)).unwrap().join(&place).unwrap();
    assert_eq!(page.path(), path);
    browser.open(&path_of(page.as_str())).await.expect_status(303);
    assert!(browser.is_signed_in().await);
    for body in ["", "state=a&state=b", &"x".repeat(70_000), "code=%ff", "=&=&="] {
        let posted = server.post(path).header("accept", "text/html");
        let posted = posted.body("application/x-www-form-urlencoded", body.to_owned());
        let status = posted.send().await.status;
        assert!([303, 400, 413].contains(&status), "{status} for {body:.40}");
    }
}

#[tokio::test]
async fn hostile_callbacks_and_names_are_refused_and_cause_no_fault() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    let back = path_of(&upstream.come_back(&browser.leave("corp").await));
    let state = parameter(&back, "state").unwrap();
    let mut broken = state.clone().into_bytes();
    broken[10] = if broken[10] == b'A' { b'B' } else { b'A' };
    let broken = String::from_utf8(broken).unwrap();
    for query in [
        String::new(),
        "?".to_owned(),
        format!("?code=a&state={broken}"),
        format!("?code=a&state={}", &state[..state.len() - 1]),
        format!("?code=a&code=b&state={state}"),
        format!("?code=a&state={state}&state={state}"),
        format!("?code=a&error=b&state={state}"),
        format!("?code={}&state={state}", "x".repeat(5000)),
        "?code=%ff%fe&state=%ff".to_owned(),
    ] {
        let page = browser.open(&format!("/login/with/corp/callback{query}")).await;
        assert_eq!(page.status, 400, "{query:.80}: {}", page.body);
        assert!(page.header("content-type").starts_with("text/html"), "{query:.80}");
    }
    for name in ["unknown", "CORP", "corp%2f", "..%2fcorp", "corp%00", "%ff", "'"] {
        for path in [format!("/login/with/{name}"), format!("/login/with/{name}/callback")] {
            let page = browser.open(&path).await;
            assert_eq!(page.status, 404, "{path}: {}", page.body);
        }
    }
    assert!(upstream.seen("/token").is_empty());
    assert_nothing_happened(&server, &mut browser, "hostile").await;
}

#[tokio::test]
async fn the_way_on_after_a_provider_stays_on_this_server() {
    let (upstream, server) = corp(&json!({})).await;
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aset-cookie:a=b",
        "/\t/evil.example",
    ] {
        let mut browser = Browser::of(&server);
        let query = reqwest::Url::parse_with_params("http://host/", [("next", next)]).unwrap();
        let left = browser.open(&format!("/login/with/corp?{}", query.query().unwrap())).await;
        let place = left.expect_status(303).header("location");
        let arrived = browser.open(&path_of(&upstream.come_back(&place))).await.expect_status(303);
        let base = reqwest::Url::parse("http://here.example/login/with/corp/callback").unwrap();
        let led = base.join(&arrived.header("location")).unwrap();
        assert_eq!(led.host_str(), Some("here.example"), "{next}: {led}");
        assert!(!arrived.headers.contains_key("a"), "{next}");
    }
}

#[tokio::test]
async fn keys_of_a_provider_can_change_and_unknown_ones_are_not_asked_for_without_limit() {
    let (upstream, server) = corp(&json!({})).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(upstream.seen("/jwks").len(), 1);
    // Another algorithm of the provider.
    upstream.make(signed_by(Key::Elliptic));
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(upstream.seen("/jwks").len(), 1, "keys are kept");
    server.advance(Duration::from_secs(61)).await;
    upstream.make(Wrong::default());
    upstream.rotate("second");
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(upstream.seen("/jwks").len(), 2);
    for turn in 0..5 {
        upstream.make(header("kid", format!("made-up-{turn}")));
        let page = Browser::of(&server).sign_in_with(&upstream).await;
        assert_eq!(check_of(&server, &page).await, "id_token.key");
    }
    assert!(
        upstream.seen("/jwks").len() <= 3,
        "{} requests for keys",
        upstream.seen("/jwks").len()
    );
}

/// An answer contains tokens, and claims are personal. A refusal says which member is wrong, and no value.
#[tokio::test]
async fn a_refusal_shows_no_value_of_an_answer_that_cannot_be_read() {
    let (upstream, server) = corp(&json!({})).await;
    let secret = json!("a-secret-in-the-answer");
    let body = |body: Value| Instead::Json(200, body);
    let cases: Vec<(Wrong, &str)> = vec![
        (claim("exp", secret.clone()), "exp is a text"),
        (claim("iat", json!({ "a": secret })), "iat is an object"),
        (claim("sub", json!([secret])), "sub is a list"),
        (claim("sub", 733_133_733_133_i64), "sub is a number"),
        (claim("aud", 733_133_733_133_i64), "aud is a number"),
        (claim("auth_time", secret.clone()), "auth_time is a text"),
        (tokens("id_token", Some(json!([secret]))), "status 200: id_token is a list"),
        (tokens("access_token", Some(json!(733_133_733_133_i64))), "access_token is a number"),
        (instead("/token", body(json!([secret]))), "status 200: the document is a list"),
        (asked(instead("/userinfo", body(json!([secret])))), "the document is a list"),
        (asked(instead("/userinfo", body(secret.clone()))), "the document is a text"),
    ];
    let mut shown = Vec::new();
    for (wrong, came) in cases {
        upstream.make(wrong);
        let page = Browser::of(&server).sign_in_with(&upstream).await;
        shown.push(page.body.clone());
        let reference = super::reference(&page);
        check_with(&server, &reference).await;
        let sql = format!("select came from upstream_refusal where reference = '{reference}'");
        let found = server.database.column::<String>(&sql).await.remove(0);
        assert!(found.ends_with(came), "{found}, not {came}");
        shown.push(found);
    }
    shown.push(server.log_so_far().await);
    for text in shown {
        for value in ["a-secret-in-the-answer", "733133733133"] {
            assert!(!text.contains(value), "{value}: {text}");
        }
    }
}
