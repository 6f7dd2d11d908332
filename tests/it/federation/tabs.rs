//! Tabs, the button "Back" and forms that are sent twice, while a person is on the way through a provider.

use serde_json::json;

use super::{ADA, check_of, corp, path_of};
use crate::provider::{self, Client, accept, exchange, follow, refresh, request};
use crate::support::upstream::Upstream;
use crate::support::{Answer, Browser, PASSWORD, Server};

const OTHER: [(&str, &str); 2] =
    [("client_id", "other"), ("redirect_uri", "https://other.example.com/cb")];

/// The link on a page that leads on, as a path.
fn way_on(page: &Answer, word: &str) -> String {
    let (before, _) = page.body.split_once(&format!("\">{word}</a>")).unwrap_or_else(|| {
        panic!("no link {word}: {} {}", page.status, page.body);
    });
    let (_, place) = before.rsplit_once("href=\"").unwrap();
    let place = place.replace("&#x2f;", "/").replace("&amp;", "&").replace("&#x3d;", "=");
    path_of(&format!("/{}", place.trim_start_matches("./").trim_start_matches("../")))
}

/// Opens the request of an application, and goes to the provider from the sign-in page. Returns the place there.
async fn set_out(browser: &mut Browser<'_>, changes: &[(&str, &str)]) -> String {
    let asked = browser.open(&request(changes)).await.expect_status(303);
    let next = super::parameter(&asked.header("location"), "next").unwrap();
    let begin = reqwest::Url::parse_with_params("http://h/login/with/corp", [("next", next)]);
    let left = browser.open(&path_of(begin.unwrap().as_str())).await.expect_status(303);
    left.header("location")
}

/// Comes back from the provider, and consents. Returns the code.
async fn arrive(browser: &mut Browser<'_>, upstream: &Upstream, place: &str) -> String {
    let path = path_of(&upstream.come_back(place));
    let led = browser.open(&path).await;
    let page = follow(browser, &path, led).await;
    accept(browser, page).await
}

async fn with_two_applications() -> (Upstream, Server) {
    let (upstream, server) = corp(&json!({})).await;
    Client::default().insert(&server.database).await;
    Client { id: "other", redirect: OTHER[1].1, ..Client::default() }
        .insert(&server.database)
        .await;
    (upstream, server)
}

async fn tokens_of_other(server: &Server, code: &str) -> Answer {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", OTHER[1].1),
        ("code_verifier", provider::VERIFIER),
    ];
    exchange(server, "other", &fields).await.expect_status(200)
}

#[tokio::test]
async fn two_tabs_on_the_way_through_a_provider_lead_to_their_own_applications() {
    let (upstream, server) = with_two_applications().await;
    let mut browser = Browser::of(&server);
    let first = set_out(&mut browser, &[]).await;
    let second = set_out(&mut browser, &OTHER).await;
    let code = arrive(&mut browser, &upstream, &first).await;
    let tokens = exchange(&server, "app", &provider::with_code(&code)).await.expect_status(200);
    let code = arrive(&mut browser, &upstream, &second).await;
    tokens_of_other(&server, &code).await;
    // The second sign-in ended nothing that the first one gave.
    refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    assert_eq!(server.database.count("session where ended_at is null").await, 1);
    assert!(browser.account().await.body.contains(ADA));
}

#[tokio::test]
async fn another_person_who_signs_in_in_the_second_tab_replaces_the_first() {
    let (upstream, server) = with_two_applications().await;
    let mut browser = Browser::of(&server);
    let first = set_out(&mut browser, &[]).await;
    let second = set_out(&mut browser, &OTHER).await;
    let code = arrive(&mut browser, &upstream, &first).await;
    let tokens = exchange(&server, "app", &provider::with_code(&code)).await.expect_status(200);
    upstream.person(&json!({ "sub": "bob", "email": "bob@corp.example" }));
    let code = arrive(&mut browser, &upstream, &second).await;
    tokens_of_other(&server, &code).await;
    assert!(browser.account().await.body.contains("bob@corp.example"));
    assert_eq!(server.database.count("session where ended_at is null").await, 1);
    refresh(&server, &tokens.text("refresh_token")).await.expect_refusal(400, "invalid_grant");
}

#[tokio::test]
async fn going_back_to_a_sign_in_that_is_done_leads_on_to_the_application() {
    let (upstream, server) = with_two_applications().await;
    let mut browser = Browser::of(&server);
    let place = set_out(&mut browser, &[]).await;
    let back = path_of(&upstream.come_back(&place));
    browser.open(&back).await.expect_status(303);
    let page = browser.open(&back).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "state.spent");
    let onward = way_on(&page, "Continue");
    assert!(onward.starts_with("/oauth2/authorize?continue="), "{onward}");
    let page = browser.open(&onward).await.expect_status(200);
    accept(&mut browser, page).await;
    // Somebody who is not signed in signs in first.
    browser.open("/").await.expect_status(200);
    browser.press("/logout", &[]).await.expect_status(303);
    let page = browser.open(&back).await.expect_status(400);
    let onward = way_on(&page, "Sign in");
    assert!(onward.starts_with("/login?next=/oauth2/authorize?continue="), "{onward}");
    browser.open(&onward).await.expect_status(200);
    // In another browser, the link of a stranger leads to no other place.
    let mut other = Browser::of(&server);
    server.register("eve@user.com", PASSWORD).await.expect_status(201);
    other.sign_in("eve@user.com", PASSWORD).await;
    let place = browser.open("/login/with/corp?next=//evil.example").await.header("location");
    let page = other.open(&path_of(&upstream.come_back(&place))).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "browser.other");
    assert_eq!(way_on(&page, "Your account"), "/account");
}

#[tokio::test]
async fn linking_and_proving_again_in_two_tabs_do_not_disturb_each_other() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let begin = async |browser: &mut Browser<'_>| {
        let left = browser.open("/login/with/corp?again=1&next=/account").await;
        left.expect_status(303).header("location")
    };
    let (one, other) = (begin(&mut browser).await, begin(&mut browser).await);
    for place in [one, other] {
        let done = browser.open(&path_of(&upstream.come_back(&place))).await.expect_status(303);
        assert!(done.header("location").ends_with("account"), "{}", done.header("location"));
    }
    assert_eq!(server.database.count("session").await, 1);
}

/// The form that asks for an address is sent twice, for example by somebody who has a copy of it.
#[tokio::test]
async fn the_answer_of_a_provider_that_was_used_changes_nothing_when_its_form_is_sent_again() {
    let (upstream, server) = corp(&json!({})).await;
    upstream.person(&json!({ "email": null, "email_verified": null }));
    let mut browser = Browser::of(&server);
    let page = browser.sign_in_with(&upstream).await.expect_status(200);
    let (action, hidden) = super::person::form_of(&page);
    let arrival = hidden.iter().find(|(name, _)| name == "arrival").unwrap().1.clone();
    let fields = |email| [("arrival", arrival.as_str()), ("email", email)];
    browser.press(&action, &fields("ada@elsewhere.example")).await.expect_status(303);
    let row = async || {
        let sql = "select email || ' ' || cast(used_at as text) from federated_identity";
        server.database.column::<String>(sql).await
    };
    let before = row().await;
    server.advance(std::time::Duration::from_secs(60)).await;
    for email in ["ada@elsewhere.example", "other@elsewhere.example"] {
        browser.account().await;
        let again = browser.press(&action, &fields(email)).await.expect_status(400);
        assert_eq!(check_of(&server, &again).await, "arrival.spent");
    }
    assert_eq!(row().await, before);
    assert_eq!(server.database.count("\"user\"").await, 1);
    assert_eq!(server.database.count("session").await, 1);
}
