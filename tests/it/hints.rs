//! Parameters with which an application says who should sign in, how, and how recently (OpenID Connect Core, section
//! 3.1.2.1).

use std::time::Duration;

use serde_json::json;

use crate::consents::silently;
use crate::federation::{corp, path_of};
use crate::flows::{AUTHORIZE, at_login, sign_in_for};
use crate::provider::{
    Client, accept, code, exchange, follow, reply, request, server, value, with_code,
};
use crate::support::{Answer, Browser, PASSWORD, Server, claims_of};

const ADA: &str = "ada@user.com";
const EVE: &str = "eve@user.com";

/// The ID token that a client gets for a user, and the id of the user.
async fn id_token(server: &Server, client: &str, email: &str) -> (String, String) {
    let mut browser = Browser::of(server);
    browser.sign_in(email, PASSWORD).await;
    let first = code(&mut browser, &[("client_id", client)]).await;
    let tokens = exchange(server, client, &with_code(&first)).await.expect_status(200);
    let token = tokens.text("id_token");
    let user = claims_of(&token)["sub"].as_str().unwrap().to_owned();
    (token, user)
}

/// The error that the client hears, and the name of the refusal.
#[track_caller]
fn refusal(answer: &Answer) -> (String, String) {
    let pairs = reply(answer);
    let told = value(&pairs, "error_description");
    let (_, name) = told.rsplit_once('(').unwrap();
    (value(&pairs, "error"), name.split(',').next().unwrap().to_owned())
}

/// The user of the code that an answer leads to. The user consents if that is asked for.
async fn user_of(server: &Server, browser: &mut Browser<'_>, answer: Answer) -> String {
    let code = match answer.status {
        303 => value(&reply(&answer), "code"),
        _ => accept(browser, answer).await,
    };
    let tokens = exchange(server, "app", &with_code(&code)).await.expect_status(200);
    claims_of(&tokens.text("id_token"))["email"].as_str().unwrap().to_owned()
}

async fn with_two_users() -> Server {
    let server = server().await;
    // The ID tokens of this client expire after a minute.
    let short = json!({ "id_token_expires": 60 });
    Client { id: "other", settings: short, ..Client::default() }.insert(&server.database).await;
    server.register(EVE, PASSWORD).await.expect_status(201);
    server
}

#[tokio::test]
async fn a_request_that_names_a_user_gets_that_user_or_a_refusal() {
    let server = with_two_users().await;
    let (of_ada, ada) = id_token(&server, "app", ADA).await;
    let (of_eve, eve) = id_token(&server, "app", EVE).await;
    let sub = |id: &str| json!({ "id_token": { "sub": { "value": id } } }).to_string();
    for (name, own, another) in
        [("id_token_hint", of_ada.clone(), of_eve.clone()), ("claims", sub(&ada), sub(&eve))]
    {
        let (own, another) = ((name, own.as_str()), (name, another.as_str()));
        // Nobody is signed in.
        let mut browser = Browser::of(&server);
        assert_eq!(
            silently(&mut browser, &[own]).await,
            Err("login_required".to_owned()),
            "{name}"
        );
        let page = at_login(&mut browser, &[own]).await;
        let answer = sign_in_for(&mut browser, &page, ADA).await;
        assert_eq!(user_of(&server, &mut browser, answer).await, ADA, "{name}");
        // The user is signed in.
        assert!(silently(&mut browser, &[own]).await.is_ok(), "{name}");
        // Another user is.
        assert_eq!(silently(&mut browser, &[another]).await, Err("login_required".to_owned()));
        let page = at_login(&mut browser, &[another]).await;
        let answer = sign_in_for(&mut browser, &page, EVE).await;
        assert_eq!(user_of(&server, &mut browser, answer).await, EVE, "{name}");
        // The wrong user signs in. The page is not shown for ever, and the application hears why.
        for already in [true, false] {
            let mut browser = Browser::of(&server);
            if already {
                browser.sign_in(ADA, PASSWORD).await;
            }
            let page = at_login(&mut browser, &[another]).await;
            let answer = sign_in_for(&mut browser, &page, ADA).await.expect_status(303);
            let expected = ("login_required".to_owned(), "authentication.other_user".to_owned());
            assert_eq!(refusal(&answer), expected, "{name} {already}");
            // The next request may be for the right one.
            let page = at_login(&mut browser, &[another]).await;
            let answer = sign_in_for(&mut browser, &page, EVE).await;
            assert_eq!(user_of(&server, &mut browser, answer).await, EVE, "{name} {already}");
        }
    }
}

#[tokio::test]
async fn a_hint_may_have_expired_but_must_be_of_the_same_client() {
    let server = with_two_users().await;
    let (token, _) = id_token(&server, "other", ADA).await;
    server.advance(Duration::from_secs(120)).await;
    let mut browser = Browser::of(&server);
    browser.sign_in(ADA, PASSWORD).await;
    let hint = ("id_token_hint", token.as_str());
    let own = silently(&mut browser, &[("client_id", "other"), hint]).await;
    assert!(own.is_ok(), "{own:?}");
    // An access token, and a hint that somebody changed, are no hints either.
    let (access, _) = server.sign_in(ADA, PASSWORD).await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    for hint in [&token, &access, &forged] {
        let answer = browser.open(&request(&[("id_token_hint", hint)])).await.expect_status(303);
        let expected = ("invalid_request".to_owned(), "hint.invalid".to_owned());
        assert_eq!(refusal(&answer), expected, "{hint}");
    }
}

#[tokio::test]
async fn a_login_hint_fills_the_form_and_decides_nothing() {
    let server = with_two_users().await;
    let mut browser = Browser::of(&server);
    for hint in [EVE, "\"><script>alert(1)</script>"] {
        let page = at_login(&mut browser, &[("login_hint", hint)]).await;
        assert_eq!(page.body.contains(&format!("name=\"email\" value=\"{EVE}\"")), hint == EVE);
        assert!(!page.body.contains("<script>alert"), "{}", page.body);
    }
    let page = at_login(&mut browser, &[("login_hint", EVE)]).await;
    let answer = sign_in_for(&mut browser, &page, ADA).await;
    assert_eq!(user_of(&server, &mut browser, answer).await, ADA);
    assert!(silently(&mut browser, &[("login_hint", EVE)]).await.is_ok());
}

#[tokio::test]
async fn a_user_chooses_an_account_or_proves_it_again_once_for_each_request() {
    let server = with_two_users().await;
    for (prompt, email) in [("select_account", ADA), ("select_account", EVE), ("login", ADA)] {
        let mut browser = Browser::of(&server);
        browser.sign_in(ADA, PASSWORD).await;
        code(&mut browser, &[]).await;
        let page = at_login(&mut browser, &[("prompt", prompt)]).await;
        assert!(page.body.contains("name=\"again\""), "{}", page.body);
        let answer = sign_in_for(&mut browser, &page, email).await;
        assert_eq!(user_of(&server, &mut browser, answer).await, email, "{prompt}");
        // The next request asks again.
        at_login(&mut browser, &[("prompt", prompt)]).await;
    }
}

#[tokio::test]
async fn a_proof_by_password_that_is_too_old_is_refused_without_a_page_and_renewed_with_one() {
    let server = with_two_users().await;
    let mut browser = Browser::of(&server);
    browser.sign_in(ADA, PASSWORD).await;
    code(&mut browser, &[]).await;
    let age = [("max_age", "100")];
    assert!(silently(&mut browser, &age).await.is_ok());
    server.advance(Duration::from_secs(101)).await;
    assert_eq!(silently(&mut browser, &age).await, Err("login_required".to_owned()));
    assert!(silently(&mut browser, &[("max_age", "1000")]).await.is_ok());
    let page = at_login(&mut browser, &age).await;
    sign_in_for(&mut browser, &page, ADA).await.expect_status(303);
    assert!(silently(&mut browser, &age).await.is_ok());
    // No proof is as young as that, unless it was given for the request.
    let page = at_login(&mut browser, &[("max_age", "0")]).await;
    let answer = sign_in_for(&mut browser, &page, ADA).await.expect_status(303);
    assert_eq!(value(&reply(&answer), "code").len(), 43);
}

fn essential(classes: &[&str]) -> String {
    let values: Vec<_> = classes.iter().map(|class| format!("urn:tessera:acr:{class}")).collect();
    json!({ "id_token": { "acr": { "essential": true, "values": values } } }).to_string()
}

#[tokio::test]
async fn a_class_that_is_essential_is_met_or_refused_before_and_after_the_sign_in_alike() {
    let server = with_two_users().await;
    let unmet = ("unmet_authentication_requirements".to_owned(), "authentication.acr".to_owned());
    // Without providers, a password is the only proof.
    for (classes, is_met) in [
        (&["password"][..], true),
        (&["mfa", "password"], true),
        (&["mfa"], false),
        (&["federated"], false),
        (&["unknown"], false),
    ] {
        let claims = essential(classes);
        let changes = [("claims", claims.as_str())];
        let mut browser = Browser::of(&server);
        if is_met {
            let page = at_login(&mut browser, &changes).await;
            let answer = sign_in_for(&mut browser, &page, ADA).await;
            assert_eq!(user_of(&server, &mut browser, answer).await, ADA, "{classes:?}");
            assert!(silently(&mut browser, &changes).await.is_ok(), "{classes:?}");
            continue;
        }
        for is_signed_in in [false, true] {
            if is_signed_in {
                browser.sign_in(ADA, PASSWORD).await;
            }
            for prompt in ["", "none"] {
                let asked = [changes[0], ("prompt", prompt)];
                let answer = browser.open(&request(&asked)).await.expect_status(303);
                assert_eq!(refusal(&answer), unmet, "{classes:?} {is_signed_in} {prompt}");
            }
        }
    }
}

#[tokio::test]
async fn a_user_who_can_prove_it_in_the_required_way_is_asked_for_that_once() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    Client::default().insert(&server.database).await;
    let user = server.verified_at(EVE).await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&user.email, PASSWORD).await;
    browser.link("corp", &upstream).await.expect_status(303);
    code(&mut browser, &[]).await;
    let claims = essential(&["federated"]);
    let changes = [("claims", claims.as_str())];
    let unmet = ("unmet_authentication_requirements".to_owned(), "authentication.acr".to_owned());
    let silent = browser.open(&request(&[changes[0], ("prompt", "none")])).await.expect_status(303);
    assert_eq!(refusal(&silent), unmet);
    // The password again is not what is required.
    let page = at_login(&mut browser, &changes).await;
    let answer = sign_in_for(&mut browser, &page, EVE).await.expect_status(303);
    assert_eq!(refusal(&answer), unmet);
    // The provider is.
    let led = browser.open(&request(&changes)).await.expect_status(303);
    let page = follow(&mut browser, AUTHORIZE, led).await.expect_status(200);
    let (_, rest) = page.body.split_once("login/with/corp?").unwrap();
    let query = rest.split('"').next().unwrap().replace("&#x2f;", "/").replace("&amp;", "&");
    let left = browser.open(&format!("/login/with/corp?{query}")).await.expect_status(303);
    let back = path_of(&upstream.come_back(&left.header("location")));
    let led = browser.open(&back).await;
    let answer = follow(&mut browser, &back, led).await.expect_status(303);
    let tokens = exchange(&server, "app", &with_code(&value(&reply(&answer), "code"))).await;
    let claims = claims_of(&tokens.expect_status(200).text("id_token"));
    assert_eq!(claims["acr"], "urn:tessera:acr:federated");
}
