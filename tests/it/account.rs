//! The pages of the account: a page for each section, and one proof for all of them.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Browser, PASSWORD, Server};

/// The pages, with the titles that no other page has.
const SECTIONS: [(&str, &str); 8] = [
    ("/account", "Profile"),
    ("/account/email", "E-mail address"),
    ("/account/password", "Password and sign-in"),
    ("/account/sessions", "Sessions"),
    ("/account/events", "Recent activity"),
    ("/account/tokens", "API tokens"),
    ("/account/apps", "Applications"),
    ("/account/data", "Your data"),
];

const NEW: &str = "battery staple correct";

/// A form that needs a proof, without one.
const TOKEN: [(&str, &str); 2] = [("act", "create-token"), ("name", "ci")];

/// The same form with the password.
const PROVED: [(&str, &str); 3] = [("act", "create-token"), ("name", "ci"), ("current", PASSWORD)];

impl Browser<'_> {
    /// Gives the password in a form that makes an API token.
    async fn prove(&mut self) {
        self.open("/account/tokens").await.expect_status(200);
        self.press("/account/tokens", &PROVED).await.expect_status(201);
    }

    /// Sends a form that needs a proof, without a password.
    async fn act_without_password(&mut self) -> Answer {
        self.open("/account/tokens").await.expect_status(200);
        self.press("/account/tokens", &TOKEN).await
    }
}

/// A user and a browser that is signed in.
async fn signed_in(server: &Server) -> (crate::support::Person, Browser<'_>) {
    let person = server.person("first").await;
    let mut browser = Browser::of(server);
    browser.sign_in(&person.email, PASSWORD).await;
    (person, browser)
}

#[tokio::test]
async fn each_section_of_the_account_has_a_page_and_a_place_in_the_menu() {
    let server = Server::start().await;
    let mut stranger = Browser::of(&server);
    for (path, _) in SECTIONS {
        let led = stranger.open(path).await.expect_status(303);
        assert!(led.header("location").ends_with(&format!("login?next={path}")), "{path}");
    }
    let (person, mut browser) = signed_in(&server).await;
    for (path, title) in SECTIONS {
        let page = browser.open(path).await.expect_status(200);
        assert!(page.body.contains(&format!("<h1>{title}</h1>")), "{path}: {}", page.body);
        assert!(page.body.contains(&format!("aria-current=\"page\">{title}<")), "{path}");
        for (other, _) in SECTIONS {
            let link =
                format!("href=\"{}{}\"", "../".repeat(path.matches('/').count() - 1), &other[1..]);
            let link = link.replace("href=\"account", "href=\"./account");
            assert!(page.body.contains(&link), "{path}: {link}: {}", page.body);
        }
    }
    // A form leads to the page of its section, also if a page of an earlier version sent it to `/account`.
    browser.open("/account").await.expect_status(200);
    for path in ["/account", "/account/email", "/account/data"] {
        let led = browser.press(path, &[("act", "end-others")]).await.expect_status(303);
        assert!(led.header("location").ends_with("/account/sessions#sessions-title"), "{path}");
    }
    let refused = browser.press("/account", &TOKEN).await.expect_status(403);
    assert!(refused.body.contains("<h1>API tokens</h1>"), "{}", refused.body);
    assert!(refused.body.contains("value=\"ci\""), "{}", refused.body);
    assert!(browser.open("/account").await.body.contains(&person.email));
}

#[tokio::test]
async fn one_password_is_enough_for_the_forms_of_all_sections_for_five_minutes() {
    let server = Server::start().await;
    let (person, mut browser) = signed_in(&server).await;
    let asks = |page: &Answer| page.body.contains("name=\"current\"");
    for path in ["/account/email", "/account/password", "/account/tokens", "/account/data"] {
        assert!(asks(&browser.open(path).await), "{path}");
    }
    browser.prove().await;
    for path in ["/account/email", "/account/password", "/account/tokens", "/account/data"] {
        assert!(!asks(&browser.open(path).await), "{path}");
    }
    let email = [("act", "email"), ("email", "second@user.com")];
    browser.press_and_follow("/account/email", &email).await;
    assert_eq!(server.me(&person.access).await.text("email"), "second@user.com");
    let export = browser.press("/account/export", &[]).await.expect_status(200);
    assert_eq!(export.json["user"]["email"], "second@user.com");
    server.advance(Duration::from_secs(290)).await;
    browser.act_without_password().await.expect_status(201);
    // The use of a proof does not make it last longer.
    server.advance(Duration::from_secs(15)).await;
    let refused = browser.act_without_password().await.expect_status(403);
    assert!(refused.body.contains("Also enter your password"), "{}", refused.body);
    assert!(asks(&refused) && refused.body.contains("value=\"ci\""), "{}", refused.body);
    assert!(asks(&browser.open("/account/data").await));
    browser.press("/account/data", &[("act", "delete")]).await.expect_status(403);
    assert_eq!(server.database.count("api_token").await, 2);
    browser.prove().await;
    let gone = browser.press("/account/data", &[("act", "delete")]).await.expect_status(200);
    assert!(gone.body.contains("all its data are deleted"), "{}", gone.body);
}

/// Somebody who finds a browser signed in does not know the password.
#[tokio::test]
async fn a_sign_in_alone_is_no_proof_and_neither_is_a_wrong_password() {
    let server = Server::start().await;
    let (_, mut browser) = signed_in(&server).await;
    browser.act_without_password().await.expect_status(403);
    let wrong = [TOKEN[0], TOKEN[1], ("current", "wrong")];
    browser.press("/account/tokens", &wrong).await.expect_status(400);
    browser.act_without_password().await.expect_status(403);
    assert_eq!(server.database.count("api_token").await, 0);
    assert_eq!(server.database.count("audit where act = 'freshen'").await, 0);
}

#[tokio::test]
async fn a_proof_of_another_session_or_of_another_user_is_not_accepted() {
    let server = Server::start().await;
    let (person, mut browser) = signed_in(&server).await;
    let other = server.person("second").await;
    let (mut thief, mut stranger) = (Browser::of(&server), Browser::of(&server));
    thief.sign_in(&person.email, PASSWORD).await;
    stranger.sign_in(&other.email, PASSWORD).await;
    browser.prove().await;
    thief.act_without_password().await.expect_status(403);
    stranger.act_without_password().await.expect_status(403);
    // Neither do tokens have it: an access token that is not fresh, and the session of a browser is no token.
    let stale = server.refresh(&person.refresh).await.text("access_token");
    let change = json!({ "password": NEW });
    server.change_me(&stale, &change).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    server.change_me(&browser.id(), &change).await.expect_status(401);
    browser.act_without_password().await.expect_status(201);
}

#[tokio::test]
async fn a_copy_of_the_cookie_from_before_a_proof_gains_nothing() {
    let server = Server::start().await;
    let (_, mut browser) = signed_in(&server).await;
    let mut thief = Browser::of(&server);
    thief.cookies = browser.cookies.clone();
    thief.open("/account/tokens").await.expect_status(200);
    browser.prove().await;
    let led = thief.press("/account/tokens", &TOKEN).await.expect_status(303);
    assert!(led.header("location").contains("login?next="), "{}", led.header("location"));
    assert_eq!(server.database.count("api_token").await, 1);
    browser.open("/account/tokens").await.expect_status(200);
}

#[tokio::test]
async fn a_proof_ends_with_a_new_password_a_sign_out_and_the_session() {
    let server = Server::start().await;
    let (person, mut browser) = signed_in(&server).await;
    browser.prove().await;
    browser.open("/account/password").await.expect_status(200);
    let change = [("act", "password"), ("password", NEW)];
    browser.press_and_follow("/account/password", &change).await;
    browser.act_without_password().await.expect_status(403);
    // The previous password proves nothing, and the new one does.
    browser.press("/account/tokens", &PROVED).await.expect_status(400);
    let right = [TOKEN[0], TOKEN[1], ("current", NEW)];
    browser.press("/account/tokens", &right).await.expect_status(201);
    browser.act_without_password().await.expect_status(201);
    // A password in the form that changes it counts for nothing else.
    server.database.execute("update session set proved_at = null").await;
    let back = [("act", "password"), ("password", PASSWORD), ("current", NEW)];
    browser.press_and_follow("/account/password", &back).await;
    browser.act_without_password().await.expect_status(403);

    browser.prove().await;
    browser.open("/").await.expect_status(200);
    browser.press("/logout", &[]).await.expect_status(303);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.act_without_password().await.expect_status(403);

    browser.prove().await;
    browser.open("/account/tokens").await.expect_status(200);
    let (access, _) = server.sign_in(&person.email, PASSWORD).await;
    let end = server.request("DELETE", "/auth/sessions").bearer(&access).send();
    end.await.expect_status(204);
    let before = server.database.count("api_token").await;
    browser.press("/account/tokens", &TOKEN).await.expect_status(303);
    assert_eq!(server.database.count("api_token").await, before);
}

#[tokio::test]
async fn a_proof_from_the_future_is_none() {
    let server = Server::start().await;
    let (_, mut browser) = signed_in(&server).await;
    browser.prove().await;
    server.database.execute("update session set proved_at = proved_at + 3600000").await;
    browser.act_without_password().await.expect_status(403);
    server.database.execute("update session set proved_at = 0").await;
    browser.act_without_password().await.expect_status(403);
}

/// Only one of two requests with the same cookie changes the password, even if both come with the proof of before.
#[tokio::test]
async fn a_proof_of_before_changes_the_password_once() {
    let server = Server::start().await;
    let (person, mut browser) = signed_in(&server).await;
    for turn in 0..5 {
        let password = if turn == 0 { PASSWORD.to_owned() } else { format!("{NEW} {}", turn - 1) };
        let token = [TOKEN[0], TOKEN[1], ("current", &*password)];
        browser.open("/account/tokens").await.expect_status(200);
        browser.press("/account/tokens", &token).await.expect_status(201);
        browser.open("/account/password").await.expect_status(200);
        let mut other = Browser::of(&server);
        (other.cookies, other.csrf) = (browser.cookies.clone(), browser.csrf.clone());
        let (mine, theirs) = (format!("{NEW} {turn}"), format!("{NEW} of a thief"));
        let change = [("act", "password"), ("password", &*mine)];
        let thiefs = [("act", "password"), ("password", &*theirs)];
        let (one, two) = futures_util::future::join(
            browser.press("/account/password", &change),
            other.press("/account/password", &thiefs),
        )
        .await;
        let won = |answer: &Answer| answer.header("location").contains("password-title");
        assert_eq!([&one, &two].iter().filter(|answer| won(answer)).count(), 1, "{}", two.body);
        if !won(&one) {
            browser = other;
            browser.open("/account/password").await.expect_status(200);
            let back = [("act", "password"), ("password", &*mine), ("current", &*theirs)];
            browser.press_and_follow("/account/password", &back).await;
        }
        server.login(&person.email, &mine).await.expect_status(200);
    }
}

/// A download leaves its page open. Its forms must still work.
#[tokio::test]
async fn a_password_for_an_export_counts_for_this_export_alone() {
    let server = Server::start().await;
    let (_, mut browser) = signed_in(&server).await;
    browser.open("/account/data").await.expect_status(200);
    let id = browser.id();
    browser.press("/account/export", &[("current", PASSWORD)]).await.expect_status(200);
    assert_eq!(browser.id(), id);
    browser.press("/account/export", &[]).await.expect_status(403);
    browser.press("/account/export", &[("current", PASSWORD)]).await.expect_status(200);
    browser.act_without_password().await.expect_status(403);
}

#[tokio::test]
async fn a_deletion_asks_for_confirmation_also_without_scripts() {
    let server = Server::start().await;
    let (_, mut browser) = signed_in(&server).await;
    browser.prove().await;
    let page = browser.open("/account/data").await.expect_status(200);
    let (_, form) = page.body.split_once("value=\"delete\"").unwrap();
    let (before, _) = form.split_once("<button").unwrap();
    assert!(before.contains("<details") && before.contains("cannot be undone"), "{before}");
}

#[tokio::test]
async fn a_proof_on_another_page_counts_for_the_account_and_in_the_administration() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    // The page that asks again keeps the session.
    browser.open("/login?again=1").await.expect_status(200);
    let again = [("email", &*root.email), ("password", PASSWORD), ("again", "1")];
    browser.press("/login", &again).await.expect_status(303);
    browser.act_without_password().await.expect_status(201);
    // It counts where the administration asks for the password in a form, too.
    let token = [("act", "create-token"), ("username", &*root.email)];
    browser.open("/admin/api-tokens").await.expect_status(200);
    browser.press("/admin/api-tokens", &token).await.expect_status(201);
    server.advance(Duration::from_secs(305)).await;
    browser.open("/admin/api-tokens").await.expect_status(200);
    browser.press("/admin/api-tokens", &token).await.expect_status(403);
    assert_eq!(server.database.count("api_token").await, 2);
}
