//! The way of a user through the pages of a request: tabs, the button "Back" and a page that was left open all lead back
//! to the application.

use std::time::Duration;

use crate::provider::{
    self, CALLBACK, Client, accept, exchange, follow, reply, request, server, value, with_code,
};
use crate::support::{Answer, Browser, PASSWORD, Server};

pub(crate) const AUTHORIZE: &str = "/oauth2/authorize";

/// The text of an attribute, as a browser reads it.
fn unescaped(text: &str) -> String {
    text.replace("&#x2f;", "/").replace("&amp;", "&").replace("&#x27;", "'")
}

/// The value of a field in a form.
fn field(page: &Answer, name: &str) -> Option<String> {
    let (_, rest) = page.body.split_once(&format!("name=\"{name}\" value=\""))?;
    Some(unescaped(rest.split('"').next().unwrap()))
}

/// Sends the form of a sign-in page. Returns the answer to it.
pub(crate) async fn fill_in(browser: &mut Browser<'_>, page: &Answer, email: &str) -> Answer {
    let (next, again) = (field(page, "next"), field(page, "again"));
    let mut fields = vec![("email", email), ("password", PASSWORD)];
    fields.extend(next.as_deref().map(|next| ("next", next)));
    fields.extend(again.as_deref().map(|again| ("again", again)));
    browser.press("/login", &fields).await.expect_status(303)
}

/// Opens a request, and the sign-in page that it leads to.
pub(crate) async fn at_login(browser: &mut Browser<'_>, changes: &[(&str, &str)]) -> Answer {
    let led = browser.open(&request(changes)).await.expect_status(303);
    let place = led.header("location");
    assert!(place.contains("login?") && !place.starts_with(CALLBACK), "{place}");
    follow(browser, AUTHORIZE, led).await.expect_status(200)
}

/// Signs in on a sign-in page, and returns where the request of the application leads then.
pub(crate) async fn sign_in_for(browser: &mut Browser<'_>, page: &Answer, email: &str) -> Answer {
    let led = fill_in(browser, page, email).await;
    follow(browser, "/login", led).await
}

/// The code, after the consent if it is asked for.
async fn code_of(browser: &mut Browser<'_>, answer: Answer) -> String {
    match answer.status {
        303 => value(&reply(&answer), "code"),
        _ => accept(browser, answer).await,
    }
}

const OTHER: [(&str, &str); 2] =
    [("client_id", "other"), ("redirect_uri", "https://other.example.com/cb")];

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
async fn two_tabs_of_one_browser_lead_to_their_own_applications() {
    let server = server().await;
    Client { id: "other", redirect: OTHER[1].1, ..Client::default() }
        .insert(&server.database)
        .await;
    let mut browser = Browser::of(&server);
    let first = at_login(&mut browser, &[]).await;
    let first_csrf = browser.csrf.clone();
    let second = at_login(&mut browser, &OTHER).await;
    let second_csrf = std::mem::replace(&mut browser.csrf, first_csrf);
    let answer = sign_in_for(&mut browser, &first, "ada@user.com").await;
    let code = code_of(&mut browser, answer).await;
    let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    // The form of the other tab is from before the sign-in.
    browser.csrf = second_csrf;
    let answer = sign_in_for(&mut browser, &second, "ada@user.com").await;
    let code = code_of(&mut browser, answer).await;
    tokens_of_other(&server, &code).await;
    provider::refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    assert_eq!(server.database.count("session where ended_at is null").await, 1);
}

#[tokio::test]
async fn a_sign_in_page_that_was_open_overnight_leads_to_the_application() {
    let server = server().await;
    let mut browser = Browser::of(&server);
    let page = at_login(&mut browser, &[("max_age", "60"), ("prompt", "login")]).await;
    server.advance(Duration::from_secs(12 * 3600)).await;
    let answer = sign_in_for(&mut browser, &page, "ada@user.com").await;
    let page = answer.expect_status(200);
    // So does the page that asks for consent. The session has ended meanwhile.
    server.advance(Duration::from_secs(12 * 3600)).await;
    let fields = [("request", &*provider::sealed(&page)), ("decision", "accept")];
    let led = browser.press("/oauth2/consent", &fields).await.expect_status(303);
    let page = follow(&mut browser, "/oauth2/consent", led).await.expect_status(200);
    let answer = sign_in_for(&mut browser, &page, "ada@user.com").await;
    let code = code_of(&mut browser, answer).await;
    exchange(&server, "app", &with_code(&code)).await.expect_status(200);
}

#[tokio::test]
async fn going_back_to_the_sign_in_or_to_the_consent_leads_to_the_application_again() {
    let server = server().await;
    let mut browser = Browser::of(&server);
    let login = at_login(&mut browser, &[]).await;
    let consent = sign_in_for(&mut browser, &login, "ada@user.com").await.expect_status(200);
    let sealed = provider::sealed(&consent);
    let fields = [("request", sealed.as_str()), ("decision", "accept")];
    for _ in 0..2 {
        let answer = browser.press("/oauth2/consent", &fields).await.expect_status(303);
        let code = value(&reply(&answer), "code");
        exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    }
    // The form of the sign-in page is from before the sign-in, and so is its CSRF value.
    browser.csrf = "from-before".to_owned();
    let answer = sign_in_for(&mut browser, &login, "ada@user.com").await;
    let code = code_of(&mut browser, answer).await;
    exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    // The person denies this time.
    let asked = [("request", sealed.as_str()), ("decision", "deny")];
    browser.open("/").await.expect_status(200);
    let denied = browser.press("/oauth2/consent", &asked).await.expect_status(303);
    let pairs = reply(&denied);
    assert_eq!(value(&pairs, "error"), "access_denied");
    assert!(value(&pairs, "error_description").contains("consent.denied"), "{pairs:?}");
}

#[tokio::test]
async fn a_user_who_registers_on_the_way_comes_to_the_application() {
    let server = server().await;
    let mut browser = Browser::of(&server);
    for (changes, email) in [(vec![], "eve@user.com"), (vec![("prompt", "create")], "bob@user.com")]
    {
        let mut browser = Browser::of(&server);
        let place = match changes.is_empty() {
            true => {
                let login = at_login(&mut browser, &changes).await;
                link_to(&login, "register?next=")
            }
            false => {
                let led = browser.open(&request(&changes)).await.expect_status(303);
                format!("/{}", led.header("location").trim_start_matches("../"))
            }
        };
        assert!(place.starts_with("/register?next="), "{place}");
        let page = browser.open(&place).await.expect_status(200);
        let next = field(&page, "next").unwrap();
        let filled = [("email", email), ("password", PASSWORD), ("next", next.as_str())];
        let done = browser.press("/register", &filled).await.expect_status(201);
        let login = browser.open(&link_to(&done, "login?next=")).await.expect_status(200);
        let answer = sign_in_for(&mut browser, &login, email).await;
        let code = code_of(&mut browser, answer).await;
        let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
        let claims = crate::support::claims_of(&tokens.text("id_token"));
        assert_eq!(claims["email"], email);
    }
    // Somebody who is signed in and asks for another account signs in again.
    browser.sign_in("ada@user.com", PASSWORD).await;
    let page = at_login(&mut browser, &[("prompt", "create")]).await;
    let answer = sign_in_for(&mut browser, &page, "eve@user.com").await;
    code_of(&mut browser, answer).await;
}

/// The path of the link on a page that begins like this.
fn link_to(page: &Answer, begin: &str) -> String {
    let links = page.body.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let places = links.map(|place| unescaped(place).trim_start_matches("../").replace("./", ""));
    let mut found = places.filter(|place| place.starts_with(begin));
    format!("/{}", found.next().unwrap_or_else(|| panic!("no {begin}: {}", page.body)))
}

#[tokio::test]
async fn a_page_from_before_the_secret_was_changed_leads_to_the_application() {
    let before = server().await;
    let mut browser = Browser::of(&before);
    let login = at_login(&mut browser, &[]).await;
    let (cookies, csrf) = (browser.cookies.clone(), browser.csrf.clone());
    let clock = before.database.clock().clone();
    let after = Server::setup()
        .set("BCRYPT_COST", 4)
        .set("APP_SECRET", "another-secret-of-at-least-32-characters-1f2e3d")
        .set("APP_SECRET_PREVIOUS", crate::support::SECRET)
        .clock(&clock)
        .on(before.kill())
        .start()
        .await;
    let mut browser = Browser::of(&after);
    (browser.cookies, browser.csrf) = (cookies, csrf);
    let answer = sign_in_for(&mut browser, &login, "ada@user.com").await;
    let code = code_of(&mut browser, answer).await;
    exchange(&after, "app", &with_code(&code)).await.expect_status(200);
}
