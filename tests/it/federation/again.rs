//! Proofs that are repeated: which providers a session depends on, what is recent, and who can prove nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::linking::{eve, two};
use super::{ADA, check_of, corp, fastapi, path_of, with};
use crate::provider::{self, Client};
use crate::support::upstream::{Upstream, Wrong, now};
use crate::support::{Answer, Browser, PASSWORD, Server, claims_of};

const MINUTE: u64 = 60;

impl Browser<'_> {
    /// Proves at a provider again who is signed in, and returns the answer to its callback.
    pub(super) async fn prove_again(&mut self, name: &str, upstream: &Upstream) -> Answer {
        let place = self.open(&format!("/login/with/{name}?again=1&next=/account")).await;
        let place = place.expect_status(303).header("location");
        self.open(&path_of(&upstream.come_back(&place))).await
    }
}

fn claims(changes: &[(&'static str, Option<Value>)]) -> Wrong {
    Wrong { claims: changes.to_vec(), ..Wrong::default() }
}

async fn back_channel(server: &Server, name: &str, token: &str) -> Answer {
    let request = server.post(&format!("/auth/{name}/backchannel-logout"));
    request.form(&[("logout_token", token)]).send().await
}

/// Two providers, and a user without a password who is linked to both.
async fn linked_to_both() -> (Upstream, Upstream, Server) {
    let (one, other, server) = two().await;
    one.person(&json!({ "sid": "at-corp" }));
    other.person(&json!({ "sub": "second", "email": "ada@second.example", "sid": "at-second" }));
    let mut browser = Browser::of(&server);
    browser.sign_in_at("corp", &one).await.expect_status(303);
    browser.link("second", &other).await.expect_status(303);
    assert_eq!(server.identities().await, 2);
    (one, other, server)
}

/// A person who signs out of a provider expects to be signed out of everything that it let them into.
#[tokio::test]
async fn a_session_ends_with_a_logout_at_any_provider_that_proved_it() {
    let (one, other, server) = linked_to_both().await;
    let (corp, second) = (("corp", &one, "at-corp"), ("second", &other, "at-second"));
    for (first, later) in [(corp, second), (second, corp)] {
        for ending in [first, later] {
            for with_sid_alone in [false, true] {
                let mut browser = Browser::of(&server);
                browser.sign_in_at(first.0, first.1).await.expect_status(303);
                browser.prove_again(later.0, later.1).await.expect_status(303);
                let (name, upstream, sid) = ending;
                let token = upstream.logout_token(&claims(&[("sid", Some(json!("another")))]));
                assert_eq!(back_channel(&server, name, &token).await.status / 100, 2);
                assert!(browser.is_signed_in().await, "the end of another session there ends it");
                let changes = match with_sid_alone {
                    true => claims(&[("sub", None), ("sid", Some(json!(sid)))]),
                    false => Wrong::default(),
                };
                let token = upstream.logout_token(&changes);
                assert_eq!(back_channel(&server, name, &token).await.status / 100, 2);
                let case = format!("{} then {}, ended at {name}", first.0, later.0);
                assert!(!browser.is_signed_in().await, "{case}, sid alone: {with_sid_alone}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_ends_with_each_session_of_the_provider_that_proved_it() {
    let (upstream, server) = corp(&json!({})).await;
    for ending in ["first", "later"] {
        upstream.person(&json!({ "sid": "first" }));
        let mut browser = Browser::of(&server);
        browser.sign_in_with(&upstream).await.expect_status(303);
        upstream.person(&json!({ "sid": "later" }));
        browser.prove_again("corp", &upstream).await.expect_status(303);
        let token = upstream.logout_token(&claims(&[("sid", Some(json!(ending)))]));
        assert_eq!(back_channel(&server, "corp", &token).await.status / 100, 2);
        assert!(!browser.is_signed_in().await, "{ending}");
    }
    // A session that began with a password, and that a provider proved since.
    let user = server.verified_at("eve@user.com").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&user.email, PASSWORD).await;
    upstream.person(&json!({ "sub": "eve", "email": "eve@other.example", "sid": "of-eve" }));
    browser.link("corp", &upstream).await.expect_status(303);
    browser.prove_again("corp", &upstream).await.expect_status(303);
    let token = upstream.logout_token(&claims(&[("sid", Some(json!("of-eve")))]));
    assert_eq!(back_channel(&server, "corp", &token).await.status / 100, 2);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_session_ends_if_an_identity_that_proved_it_later_is_unlinked() {
    let (one, other, server) = linked_to_both().await;
    let mut proved = Browser::of(&server);
    proved.sign_in_at("corp", &one).await.expect_status(303);
    proved.prove_again("second", &other).await.expect_status(303);
    let mut browser = Browser::of(&server);
    browser.sign_in_at("corp", &one).await.expect_status(303);
    let unlinked = browser.unlink("second", "").await.unwrap().expect_status(303);
    let last = server.database.column::<i64>("select max(seq) from revocation").await[0];
    let place = unlinked.header("tessera-revocation-seq");
    assert_eq!(place.split('.').nth(1), Some(&*last.to_string()));
    assert!(!proved.is_signed_in().await && browser.is_signed_in().await);
}

/// A logout token may leave out the session, or say that it is null.
#[tokio::test]
async fn a_logout_token_without_a_session_ends_all_of_the_person() {
    let (upstream, server) = corp(&json!({})).await;
    for sid in [None, Some(Value::Null)] {
        let mut browsers = Vec::new();
        for name in ["first", "second"] {
            upstream.person(&json!({ "sid": name }));
            let mut browser = Browser::of(&server);
            browser.sign_in_with(&upstream).await.expect_status(303);
            browsers.push(browser);
        }
        let token = upstream.logout_token(&claims(&[("sid", sid.clone())]));
        assert_eq!(back_channel(&server, "corp", &token).await.status / 100, 2);
        for browser in &mut browsers {
            assert!(!browser.is_signed_in().await, "{sid:?}");
        }
    }
    // Without a session and a person, it is about nothing.
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let token = upstream.logout_token(&claims(&[("sub", None), ("sid", Some(Value::Null))]));
    back_channel(&server, "corp", &token).await.expect_status(400);
    // Only Microsoft names people with `oid`.
    let oid = claims(&[("sub", Some(json!("unknown"))), ("oid", Some(json!("248289761001")))]);
    let token = upstream.logout_token(&oid);
    assert_eq!(back_channel(&server, "corp", &token).await.status / 100, 2);
    assert!(browser.is_signed_in().await);
}

/// A session has one end, and each place that judges it knows it.
#[tokio::test]
async fn a_session_that_a_provider_bounds_has_ended_at_its_end_everywhere() {
    let (upstream, server) = corp(&json!({ "session": "10m" })).await;
    let (_, mut linked) = eve(&server).await;
    upstream.person(&json!({ "sub": "eve", "email": "eve@other.example" }));
    linked.link("corp", &upstream).await.expect_status(303);
    // A session that began with a password gets its end with the proof, and is not used since.
    let mut proved = Browser::of(&server);
    proved.sign_in("eve@user.com", PASSWORD).await;
    proved.prove_again("corp", &upstream).await.expect_status(303);
    let tokens = fastapi::sign_in(&server, &upstream).await;
    let mut opened = Browser::of(&server);
    opened.sign_in_with(&upstream).await.expect_status(303);
    // A release that knows no end has extended them.
    let later = "update session set expires_at = expires_at + 864000000 where ends_at is not null";
    assert_eq!(server.database.execute(later).await, 3);
    server.advance(Duration::from_secs(11 * MINUTE)).await;
    assert!(!proved.is_signed_in().await && !opened.is_signed_in().await);
    assert_eq!(server.refresh(&tokens.text("refresh_token")).await.status, 401);
    let (access, _) = server.sign_in("eve@user.com", PASSWORD).await;
    let listed = server.get("/auth/sessions").bearer(&access).send().await.expect_status(200);
    let count = listed.json["items"].as_array().map_or(0, Vec::len);
    assert_eq!(count, 2, "the session of the password and the one of now: {}", listed.body);
}

#[tokio::test]
async fn a_proof_at_the_provider_gives_a_bounded_session_its_time_again() {
    let (upstream, server) = corp(&json!({ "session": "2h" })).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    for _ in 0..3 {
        server.advance(Duration::from_secs(30 * MINUTE)).await;
        assert!(browser.is_signed_in().await);
    }
    browser.prove_again("corp", &upstream).await.expect_status(303);
    for _ in 0..3 {
        server.advance(Duration::from_secs(30 * MINUTE)).await;
        assert!(browser.is_signed_in().await);
    }
    server.advance(Duration::from_secs(31 * MINUTE)).await;
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn another_provider_does_not_lift_the_bound_of_the_first() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let entries = [
        one.entry(&json!({ "session": "1h" })),
        other.entry(&json!({ "name": "second", "domains": [] })),
    ];
    let server = with(&entries).start().await;
    one.use_clock_of(&server);
    other.use_clock_of(&server);
    other.person(&json!({ "sub": "second", "email": "ada@second.example" }));
    let mut browser = Browser::of(&server);
    browser.sign_in_at("corp", &one).await.expect_status(303);
    browser.link("second", &other).await.expect_status(303);
    for _ in 0..2 {
        server.advance(Duration::from_secs(25 * MINUTE)).await;
        browser.prove_again("second", &other).await.expect_status(303);
    }
    server.advance(Duration::from_secs(11 * MINUTE)).await;
    assert!(!browser.is_signed_in().await);
}

/// A user of an exclusive provider proves themselves there alone, also for a session that they have.
#[tokio::test]
async fn only_an_exclusive_provider_makes_the_sessions_of_its_people_fresh() {
    let (one, other, server) = {
        let (one, other) = (Upstream::start().await, Upstream::start().await);
        let entries = [
            one.entry(&json!({ "exclusive": true })),
            other.entry(&json!({ "name": "second", "domains": [] })),
        ];
        let server = with(&entries).start().await;
        one.use_clock_of(&server);
        other.use_clock_of(&server);
        (one, other, server)
    };
    other.person(&json!({ "sub": "second", "email": "ada@second.example" }));
    let mut browser = Browser::of(&server);
    browser.sign_in_at("corp", &one).await.expect_status(303);
    browser.link("second", &other).await.expect_status(303);
    let reset = server.reset_letter(ADA, 1).await;
    server.reset(&reset.token(), PASSWORD).await.expect_status(200);
    let mut browser = Browser::of(&server);
    browser.sign_in_at("corp", &one).await.expect_status(303);
    let access = fastapi::sign_in(&server, &one).await.text("access_token");
    server.advance(Duration::from_secs(10 * MINUTE)).await;
    let password = json!({ "password": PASSWORD });
    let fresh = server.post("/auth/jwt/fresh").bearer(&access).json(&password).send().await;
    fresh.expect_refusal(400, "LOGIN_WITH_PROVIDER");
    browser.open("/login?again=1").await;
    let fields = [("email", ADA), ("password", PASSWORD), ("again", "1")];
    let refused = browser.press("/login", &fields).await;
    assert!(refused.status >= 400, "{} {}", refused.status, refused.header("location"));
    let refused = browser.prove_again("second", &other).await;
    assert!(refused.status >= 400, "{} {}", refused.status, refused.header("location"));
    let freshened = server.database.count("audit where act = 'freshen'").await;
    browser.prove_again("corp", &one).await.expect_status(303);
    assert_eq!(server.database.count("audit where act = 'freshen'").await, freshened + 1);
    let by_provider = "audit where act = 'freshen' and detail like '%\"amr\":\"fed\"%'";
    assert!(server.database.count(by_provider).await > 0, "the audit does not say the method");
}

/// OpenID Connect allows a fraction in each NumericDate.
#[tokio::test]
async fn a_time_with_a_fraction_is_a_time() {
    let (upstream, server) = corp(&json!({})).await;
    #[expect(clippy::cast_precision_loss, reason = "the time of a test")]
    let time = || Some(json!(now() as f64 + 0.75));
    upstream.make(claims(&[("auth_time", time()), ("iat", time())]));
    let tokens = fastapi::sign_in(&server, &upstream).await;
    assert_eq!(claims_of(&tokens.text("access_token"))["fresh"], true);
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    upstream.make(claims(&[("auth_time", time()), ("iat", time())]));
    browser.prove_again("corp", &upstream).await.expect_status(303);
}

/// A provider that does not say when somebody signed in may have asked nothing. So a sign-in with it proves nothing about
/// this moment, and a repeated proof is refused with another way.
#[tokio::test]
async fn a_sign_in_without_a_time_is_no_fresh_proof() {
    let (upstream, server) = corp(&json!({})).await;
    let day = 86_400;
    for time in [None, Some(Value::Null), Some(json!(now() + day)), Some(json!(0))] {
        upstream.make(claims(&[("auth_time", time.clone())]));
        let tokens = fastapi::sign_in(&server, &upstream).await;
        let (access, refresh) = (tokens.text("access_token"), tokens.text("refresh_token"));
        let said = claims_of(&access);
        assert_eq!((&said["fresh"], &said["auth_time"]), (&json!(false), &json!(0)), "{time:?}");
        let refused = server.get("/auth/associate/corp/authorize").bearer(&access).send().await;
        refused.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
        let next = server.refresh(&refresh).await.expect_status(200).text("access_token");
        assert_eq!(claims_of(&next)["fresh"], false);
        let mut browser = Browser::of(&server);
        browser.sign_in_with(&upstream).await.expect_status(303);
        browser.account().await;
        browser.press("/account", &[("act", "delete")]).await;
        assert_eq!(server.database.count("\"user\"").await, 1, "{time:?}");
    }
    upstream.make(claims(&[("auth_time", None)]));
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let page = browser.prove_again("corp", &upstream).await.expect_status(502);
    assert!(page.body.contains("forgot-password"), "{}", page.body);
    assert_eq!(check_of(&server, &page).await, "id_token.auth_time");
    // The other way: a password, which a mail sets.
    let reset = server.reset_letter(ADA, 1).await;
    server.reset(&reset.token(), PASSWORD).await.expect_status(200);
    browser.sign_in_with(&upstream).await.expect_status(303);
    browser.open("/login?again=1").await;
    let fields = [("email", ADA), ("password", PASSWORD), ("again", "1")];
    browser.press("/login", &fields).await.expect_status(303);
    browser.account().await;
    browser.press("/account", &[("act", "delete"), ("current", PASSWORD)]).await;
    assert_eq!(server.database.count("\"user\"").await, 0);
}

/// If nobody knows the time of a sign-in, an application that asks for a recent one gets no time.
#[tokio::test]
async fn an_application_gets_no_time_that_the_provider_does_not_say() {
    let (upstream, server) = corp(&json!({})).await;
    Client::default().insert(&server.database).await;
    upstream.make(claims(&[("auth_time", None)]));
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let code = provider::code(&mut browser, &[]).await;
    let tokens = provider::exchange(&server, "app", &provider::with_code(&code)).await;
    let claims_of_id = claims_of(&tokens.expect_status(200).text("id_token"));
    assert!(claims_of_id.get("auth_time").is_none(), "{claims_of_id}");
    for asked in [("max_age", "100000"), ("prompt", "login")] {
        let led = browser.open(&provider::request(&[asked])).await.expect_status(303);
        assert!(led.header("location").contains("login"), "{}", led.header("location"));
        let silent = [asked, ("prompt", "none")];
        let silent = if asked.0 == "prompt" { &silent[1..] } else { &silent[..] };
        let answer = browser.open(&provider::request(silent)).await;
        let is_refused = answer.header("location").contains("error=login_required");
        assert_eq!(is_refused, asked.0 == "max_age", "{}", answer.header("location"));
    }
    // A user who signs in for the request has chosen an account.
    let mut browser = Browser::of(&server);
    let request = provider::request(&[("prompt", "select_account")]);
    let led = browser.open(&request).await;
    let page = provider::follow(&mut browser, &request, led).await.expect_status(200);
    let (_, rest) = page.body.split_once("login/with/corp?").unwrap();
    let query = rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#x2f;", "/");
    let place = browser.open(&format!("/login/with/corp?{query}")).await.header("location");
    let back = path_of(&upstream.come_back(&place));
    let led = browser.open(&back).await;
    let answer = provider::follow(&mut browser, &back, led).await;
    let place = answer.header("location");
    assert!(answer.status == 200 || place.contains("code="), "{} {place}", answer.status);
    assert!(!place.contains("/login"), "{place}");
}

/// Good sign-ins use up nothing, however many come from one address.
#[tokio::test]
async fn sign_ins_that_succeed_are_not_counted() {
    let upstream = Upstream::start().await;
    let server = with(&[upstream.entry(&json!({}))]).set("RATE_LIMIT", "on").start().await;
    for turn in 0..70 {
        let mut browser = Browser::of(&server);
        let answer = browser.sign_in_with(&upstream).await;
        assert_eq!(answer.status, 303, "turn {turn}: {}", answer.body);
    }
    for turn in 0..70 {
        let token = upstream.logout_token(&Wrong::default());
        let answer = back_channel(&server, "corp", &token).await;
        assert_eq!(answer.status / 100, 2, "turn {turn}: {}", answer.body);
    }
    // Others are.
    let mut last = 0;
    for _ in 0..70 {
        let page = Browser::of(&server).open("/login/with/corp/callback?code=a&state=b").await;
        last = page.status;
    }
    assert_eq!(last, 429);
}

/// A page that asks something works once. A copy of its form does not sign in again.
#[tokio::test]
async fn an_answer_that_asked_for_an_address_works_once() {
    let (upstream, server) = corp(&json!({})).await;
    upstream.person(&json!({ "email": null }));
    let mut browser = Browser::of(&server);
    let page = browser.sign_in_with(&upstream).await.expect_status(200);
    let (action, hidden) = super::person::form_of(&page);
    let arrival = hidden.iter().find(|(name, _)| name == "arrival").unwrap().1.clone();
    let mut thief = Browser::of(&server);
    thief.cookies.clone_from(&browser.cookies);
    thief.csrf.clone_from(&browser.csrf);
    let fields = [("arrival", arrival.as_str()), ("email", "anonymous@user.com")];
    browser.press(&action, &fields).await.expect_status(303);
    assert!(browser.is_signed_in().await);
    let sessions = server.database.count("session").await;
    let refused = thief.press(&action, &fields).await;
    assert_eq!(check_of(&server, &refused).await, "arrival.spent", "{}", refused.body);
    assert_eq!(server.database.count("session").await, sessions);
    assert!(!thief.is_signed_in().await);
}

/// The administration works for a superuser who has no password.
#[tokio::test]
async fn an_administrator_without_a_password_acts_after_a_proof_at_the_provider() {
    let (upstream, server) = corp(&json!({})).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    server.database.execute("update \"user\" set is_superuser = true").await;
    server.advance(Duration::from_secs(1)).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let user = [("act", "create-user"), ("email", "made@user.com"), ("password", PASSWORD)];
    let token = [("act", "create-token"), ("username", "made@user.com")];
    let made = "\"user\" where email = 'made@user.com'";
    server.advance(Duration::from_secs(30 * MINUTE)).await;
    for (path, fields, table) in
        [("/admin/users", &user[..], made), ("/admin/api-tokens", &token[..], "api_token")]
    {
        // The page asks for no password, which nobody has, and leads to the provider.
        let page = browser.open(path).await.expect_status(200);
        assert!(!page.body.contains("name=\"current\""), "{path}: {}", page.body);
        assert!(page.body.contains("login/with/corp?again=1"), "{path}: {}", page.body);
        for more in [&[][..], &[("current", "")], &[("current", PASSWORD)]] {
            let fields: Vec<_> = fields.iter().chain(more).copied().collect();
            let refused = browser.press(path, &fields).await;
            assert!(refused.status >= 400, "{path}: {}", refused.status);
            assert_eq!(server.database.count(table).await, 0, "{path}");
        }
        browser.prove_again("corp", &upstream).await.expect_status(303);
        let page = browser.open(path).await.expect_status(200);
        assert!(!page.body.contains("login/with/corp?again=1"), "{path}: {}", page.body);
        let done = browser.press(path, fields).await;
        assert!([201, 303].contains(&done.status), "{path}: {} {}", done.status, done.body);
        assert_eq!(server.database.count(table).await, 1, "{path}");
        server.advance(Duration::from_secs(30 * MINUTE)).await;
    }
    // Forms that need a proof only if the last one is too old lead there too, and back to their page.
    let service = [("act", "create-service"), ("name", "robot")];
    browser.open("/admin/api-tokens").await.expect_status(200);
    let asked = browser.press("/admin/api-tokens", &service).await;
    assert_eq!(asked.status, 403, "{}", asked.body);
    assert!(!asked.body.contains("name=\"proof\""), "{}", asked.body);
    let way = "login/with/corp?again=1&amp;next=/admin/api-tokens";
    assert!(asked.body.replace("&#x2f;", "/").contains(way), "{}", asked.body);
    browser.prove_again("corp", &upstream).await.expect_status(303);
    browser.open("/admin/api-tokens").await.expect_status(200);
    browser.press("/admin/api-tokens", &service).await.expect_status(303);
    // Also for actions on the own account.
    let own = server
        .database
        .column::<String>("select cast(id as text) from \"user\" where email = 'ada@corp.example'");
    let page = format!("/admin/users/{}", own.await[0]);
    let name = [("act", "profile"), ("was_email", ADA), ("email", ADA), ("name", "Augusta")];
    browser.open(&page).await.expect_status(200);
    let done = browser.press(&page, &name).await;
    assert_eq!(done.status, 303, "{}", done.body);
}
