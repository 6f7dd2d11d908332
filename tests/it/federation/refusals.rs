//! Refusals by their names: of persons, of forms that come late, and of logout tokens. Strangers read no details.

use std::time::Duration;

use serde_json::{Value, json};

use super::linking::eve;
use super::person::form_of;
use super::{ADA, check_of, check_with, corp, ids_of, path_of, tessera, with};
use crate::provider;
use crate::support::upstream::{Instead, Key, Upstream, Wrong, now};
use crate::support::{Answer, Browser, PASSWORD, Server};
use crate::terminal::out;

fn claim(name: &'static str, value: impl Into<Value>) -> Wrong {
    Wrong { claims: vec![(name, Some(value.into()))], ..Wrong::default() }
}

fn no_claim(name: &'static str) -> Wrong {
    Wrong { claims: vec![(name, None)], ..Wrong::default() }
}

async fn back_channel(server: &Server, token: &str) -> Answer {
    let request = server.post("/auth/corp/backchannel-logout");
    request.form(&[("logout_token", token)]).send().await.expect_status(400)
}

/// The provider, if the refusal says that it sent the token. Anybody can send one.
async fn provider_of(server: &Server, reference: &str) -> String {
    let sql = format!("select upstream from upstream_refusal where reference = '{reference}'");
    server.database.column::<String>(&sql).await.pop().unwrap()
}

/// A name that somebody else gave an issuer is no reason to be its people.
#[tokio::test]
async fn the_subject_of_another_issuer_under_the_same_name_is_somebody_else() {
    let (old, new) = (Upstream::start().await, Upstream::start().await);
    let server = with(&[old.entry(&json!({}))]).start().await;
    Browser::of(&server).sign_in_with(&old).await.expect_status(303);
    let ids = ids_of(&server, ADA).await;
    let clock = server.database.clock().clone();
    let server = with(&[new.entry(&json!({}))]).clock(&clock).on(server.kill()).start().await;
    let mut browser = Browser::of(&server);
    let page = browser.sign_in_with(&new).await.expect_status(502);
    assert_eq!(check_of(&server, &page).await, "person.issuer");
    assert!(!browser.is_signed_in().await);
    // Neither can anybody link that subject to an account of their own.
    let (_, mut eve) = eve(&server).await;
    let page = eve.link("corp", &new).await;
    assert_eq!(check_of(&server, &page).await, "person.issuer");
    assert_eq!((ids_of(&server, ADA).await, server.identities().await), (ids, 1));
    let told = out(&tessera(&server, &["upstream", "explain", &super::reference(&page)]));
    assert!(told.contains(&old.issuer()) && told.contains(&new.issuer()), "{told}");
}

#[tokio::test]
async fn each_refusal_of_a_person_is_named() {
    let (upstream, server) = corp(&json!({})).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    server.verified_at("other@corp.example").await;
    let refused = async |claims: Value| {
        upstream.person(&claims);
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await;
        assert!(!browser.is_signed_in().await);
        check_of(&server, &page).await
    };
    let known = json!({ "sub": "248289761001", "email": ADA, "email_verified": true });
    let by_address = json!({ "sub": "other", "email": "other@corp.example" });
    let not_owned = json!({ "sub": "other", "email": "other@corp.example", "email_verified": 1 });
    assert_eq!(refused(not_owned).await, "person.not_linked");
    server.database.execute("update \"user\" set is_active = false").await;
    server.advance(Duration::from_secs(1)).await;
    for claims in [known, json!({ "email_verified": true }), by_address] {
        assert_eq!(refused(claims.clone()).await, "person.inactive", "{claims}");
    }

    let (upstream, server) = corp(&json!({ "register": false })).await;
    let page = Browser::of(&server).sign_in_with(&upstream).await.expect_status(403);
    assert_eq!(check_of(&server, &page).await, "person.no_account");

    // Somebody whose address is not proved must not keep a way in.
    server.register("eve@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("eve@user.com", PASSWORD).await;
    let page = browser.link("corp", &upstream).await;
    assert_eq!(check_of(&server, &page).await, "person.not_verified");
    assert!(page.body.contains("Confirm the e-mail address"), "{}", page.body);
    assert_eq!(server.identities().await, 0);
}

#[tokio::test]
async fn an_answer_for_something_else_or_for_nobody_is_named() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    // The proof that one user began is another user's by now.
    let left = browser.open("/login/with/corp?again=1").await.expect_status(303);
    let back = path_of(&upstream.come_back(&left.header("location")));
    browser.open("/").await.expect_status(200);
    browser.press("/logout", &[]).await.expect_status(303);
    server.register("eve@user.com", PASSWORD).await.expect_status(201);
    browser.sign_in("eve@user.com", PASSWORD).await;
    let page = browser.open(&back).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "purpose.other");
    // A request that no URL can carry.
    let next = format!("/{}", "a".repeat(6000));
    let page = Browser::of(&server).open(&format!("/login/with/corp?next={next}")).await;
    assert_eq!(check_of(&server, &page).await, "start.too_long");
    upstream.make(Wrong {
        instead: vec![("/token", Instead::Json(400, json!({ "error": "redirect_uri_mismatch" })))],
        ..Wrong::default()
    });
    let page = Browser::of(&server).sign_in_with(&upstream).await.expect_status(502);
    assert_eq!(check_of(&server, &page).await, "exchange.redirect_uri");
}

#[tokio::test]
async fn a_person_without_a_subject_or_of_a_foreign_tenant_is_refused() {
    let upstream = Upstream::start().await;
    let (tenant, other) =
        ("8eaef023-2b34-4da1-9baa-8bc8c9d6a490", "11111111-2b34-4da1-9baa-8bc8c9d6a490");
    upstream.be_tenant(tenant, tenant);
    let entry = upstream.entry(&json!({
        "preset": "entra", "name": "corp", "tenants": [tenant],
        "issuer": format!("{}/{{tenantid}}/v2.0", upstream.issuer()),
    }));
    let server = with(&[entry]).start().await;
    for (claims, check) in [
        (json!({ "tid": tenant, "oid": null }), "claims.subject"),
        (json!({ "tid": tenant, "oid": 7 }), "claims.subject"),
        (json!({ "tid": other, "oid": "a" }), "id_token.tenant"),
        (json!({ "tid": null, "oid": "a" }), "id_token.tenant"),
    ] {
        upstream.person(&claims);
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await;
        assert_eq!(check_of(&server, &page).await, check, "{claims}");
        assert!(!browser.is_signed_in().await, "{claims}");
    }
    // A logout token of that tenant ends nothing either.
    let token = upstream.logout_token(&claim("tid", other));
    let refused = back_channel(&server, &token).await;
    assert_eq!(check_of(&server, &refused).await, "logout_token.tenant");
}

/// A program can ask nobody for an address.
#[tokio::test]
async fn a_program_hears_that_the_provider_says_no_address() {
    let (upstream, server) = corp(&json!({})).await;
    upstream.person(&json!({ "email": null, "email_verified": null }));
    let begun = server.get("/auth/corp/authorize").send().await.expect_status(200);
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    let back = upstream.come_back(&begun.text("authorization_url"));
    let query = back.split_once('?').unwrap().1;
    let arrived = server.get(&format!("/auth/corp/callback?{query}")).header("cookie", &cookie);
    let refused = arrived.send().await.expect_refusal(400, "OAUTH_NOT_AVAILABLE_EMAIL");
    assert_eq!(check_of(&server, &refused).await, "claims.email");
    assert_eq!(server.database.count("\"user\"").await, 0);
}

#[tokio::test]
async fn a_form_that_asks_for_an_address_works_in_time_in_its_browser_and_for_its_purpose() {
    let (upstream, server) = corp(&json!({})).await;
    upstream.person(&json!({ "email": null, "email_verified": null }));
    let asked = async |browser: &mut Browser<'_>| {
        let page = browser.sign_in_with(&upstream).await.expect_status(200);
        let (action, hidden) = form_of(&page);
        let arrival = hidden.into_iter().find(|(name, _)| name == "arrival").unwrap().1;
        (action, arrival)
    };
    let mut browser = Browser::of(&server);
    let (action, arrival) = asked(&mut browser).await;
    let fields = [("arrival", arrival.as_str()), ("email", "ada@elsewhere.example")];
    // Another browser has the form.
    let mut thief = Browser::of(&server);
    asked(&mut thief).await;
    let page = thief.press(&action, &fields).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "arrival.expired");
    server.advance(Duration::from_secs(601)).await;
    let page = browser.press(&action, &fields).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "arrival.expired");
    assert_eq!(server.database.count("\"user\"").await, 0);
    // The claims that somebody brought to link them make no account.
    let (_, mut eve) = eve(&server).await;
    let left = eve.open("/account/link/corp").await.expect_status(303).header("location");
    let page = eve.open(&path_of(&upstream.come_back(&left))).await.expect_status(200);
    let (_, hidden) = form_of(&page);
    let arrival = &hidden.iter().find(|(name, _)| name == "arrival").unwrap().1;
    let fields = [("arrival", arrival.as_str()), ("email", "ada@elsewhere.example")];
    let page = eve.press("/login/with/corp/address", &fields).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "arrival.other");
    assert_eq!(server.identities().await, 0);
}

/// Operators learn why a logout at a provider ended nothing here.
#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_a_logout_token_is_recorded_named_and_explained() {
    let (upstream, server) = corp(&json!({})).await;
    let events = |event: &str| claim("events", json!({ event: {} }));
    let key = |key: Key| Wrong { key, ..Wrong::default() };
    let mut references = Vec::new();
    for (wrong, check, is_of_provider) in [
        (key(Key::Strange), "id_token.signature", false),
        (key(Key::Unsigned), "id_token.alg", false),
        (key(Key::Secret), "id_token.alg", false),
        (no_claim("aud"), "logout_token.malformed", true),
        (claim("events", json!([])), "logout_token.malformed", true),
        (claim("iss", "https://evil.example"), "logout_token.iss", true),
        (claim("aud", "another"), "logout_token.aud", true),
        (claim("aud", 7), "logout_token.aud", true),
        (claim("iat", now() - 31_536_000), "logout_token.time", true),
        (claim("iat", now() + 86_400), "logout_token.time", true),
        (claim("exp", now() - 3600), "logout_token.time", true),
        (events("http://schemas.openid.net/event/another"), "logout_token.events", true),
        (claim("nonce", "a"), "logout_token.nonce", true),
        (no_claim("sub"), "logout_token.sub", true),
        (claim("jti", ""), "logout_token.jti", true),
    ] {
        let refused = back_channel(&server, &upstream.logout_token(&wrong)).await;
        references.push((super::reference(&refused), check, is_of_provider));
    }
    for (reference, check, is_of_provider) in references {
        assert_eq!(check_with(&server, &reference).await, check);
        let expected = if is_of_provider { "corp" } else { "" };
        assert_eq!(provider_of(&server, &reference).await, expected, "{check}");
    }
    let token = upstream.logout_token(&Wrong::default());
    let logout = server.post("/auth/corp/backchannel-logout");
    assert_eq!(logout.form(&[("logout_token", &token)]).send().await.status / 100, 2);
    let reference = super::reference(&back_channel(&server, &token).await);
    assert_eq!(check_with(&server, &reference).await, "logout_token.spent");
    let told = out(&tessera(&server, &["upstream", "explain", &reference]));
    assert!(told.contains("logout_token.spent") && told.contains("a second time"), "{told}");
    // The token itself is recorded nowhere.
    let kept =
        "select coalesce(expected, '') || coalesce(came, '') || remedy from upstream_refusal";
    let kept = server.database.column::<String>(kept).await.join(" ");
    assert!(!kept.contains(&token[..40]), "{kept}");
}

/// GitHub publishes no keys, so nobody can sign a logout token for it.
#[tokio::test]
async fn a_provider_without_keys_ends_no_session() {
    let upstream = Upstream::start().await;
    let entry = json!({ "preset": "github", "name": "corp", "domains": null });
    let server = with(&[upstream.entry(&entry)]).start().await;
    let refused = back_channel(&server, &upstream.logout_token(&Wrong::default())).await;
    assert_eq!(check_of(&server, &refused).await, "keys.missing");
}

/// Anybody can send a person to a page with a refusal. The values on it are for administrators.
#[tokio::test]
async fn only_administrators_see_the_details_of_a_refusal_on_a_production_server() {
    let upstream = Upstream::start().await;
    let server =
        with(&[upstream.entry(&json!({}))]).production().set("BCRYPT_COST", 10).start().await;
    provider::Client::default().insert(&server.database).await;
    let [plain, admin, root] = ["plain@user.com", "admin@user.com", "root@user.com"];
    let registered = server.register(root, PASSWORD).await.expect_status(201).text("id");
    let promote = format!("update \"user\" set is_superuser = true where id = '{registered}'");
    server.database.execute(&promote).await;
    let (access, _) = server.sign_in(root, PASSWORD).await;
    server.register(plain, PASSWORD).await.expect_status(201);
    let registered = server.register(admin, PASSWORD).await.expect_status(201).text("id");
    let raise = server.patch(&format!("/users/{registered}")).bearer(&access);
    let raised = raise.json(&json!({ "scopes": ["authenticated", "admin"] })).send().await;
    raised.expect_status(200);
    upstream.make(Wrong {
        reply: vec![("iss", Some("https://came.example".to_owned()))],
        ..Wrong::default()
    });
    let asked = [("redirect_uri", "https://app.example.com/came-here")];
    let command = "tessera client update app --redirect";
    let compare = "Compare the entry in UPSTREAMS_FILE";
    let readers = [(None, false), (Some(plain), false), (Some(admin), true), (Some(root), true)];
    for (reader, is_admin) in readers {
        let mut browser = Browser::of(&server);
        if let Some(reader) = reader {
            browser.sign_in(reader, PASSWORD).await;
        }
        let page = browser.open(&provider::request(&asked)).await.expect_status(400);
        assert!(page.body.contains("redirect_uri.not_registered"), "{}", page.body);
        for detail in [command, "came-here", "For operators", "<mark>"] {
            assert_eq!(page.body.contains(detail), is_admin, "{reader:?} {detail}: {}", page.body);
        }
        let way = if reader.is_some() { "?again=1" } else { "" };
        let left = browser.open(&format!("/login/with/corp{way}")).await.expect_status(303);
        let back = path_of(&upstream.come_back(&left.header("location")));
        let page = browser.open(&back).await.expect_status(502);
        assert!(page.body.contains("iss.other"), "{}", page.body);
        for detail in
            ["came.example", &upstream.issuer().replace('/', "&#x2f;"), compare, "For operators"]
        {
            assert_eq!(page.body.contains(detail), is_admin, "{reader:?} {detail}: {}", page.body);
        }
    }
}
