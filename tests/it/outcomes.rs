//! Results of forms: a page with a flash message, or the form again with what was typed.

use crate::support::{Browser, PASSWORD, Server};

#[tokio::test]
async fn a_flash_message_is_shown_once_on_its_page_and_cannot_be_forged() {
    let server = Server::start().await;
    let (person, other) = (server.person("first").await, server.person("second").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let saved = "role=\"status\">Saved.";
    let profile = [("act", "profile"), ("name", "Ada")];
    let led = browser.press("/account", &profile).await.expect_status(303);
    assert_eq!(led.header("location"), "./account#profile-title");
    let told = browser.cookies["tessera-done"].clone();
    // It is not shown on another page, to another user, or with changed content.
    assert!(!browser.open("/").await.body.contains(saved));
    let mut thief = Browser::of(&server);
    thief.sign_in(&other.email, PASSWORD).await;
    for planted in [
        told.clone(),
        told.replace("saved", "password-changed"),
        "profile.saved.".into(),
        ".".into(),
        "x".repeat(3000),
    ] {
        let cookies = format!("tessera-browser={}; tessera-done={planted}", thief.id());
        let page = server.get("/account").header("cookie", &cookies).send().await;
        assert!(!page.expect_status(200).body.contains("role=\"status\""), "{planted}");
    }
    assert!(browser.open("/account").await.body.contains(saved));
    assert_eq!(browser.cookies["tessera-done"], "");
    assert!(!browser.open("/account").await.body.contains(saved));
}

#[tokio::test]
async fn an_expired_form_changes_nothing_and_keeps_what_was_typed() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.open("/login").await.expect_status(200);
    server.letter(&person.email, "Verify", 1).await;
    let mails = server.outbox().len();
    for (path, fields) in [
        ("/login", &[("email", "ada@user.com"), ("password", "typed secret")][..]),
        ("/register", &[("email", "ada@user.com"), ("password", "typed secret")]),
        ("/forgot-password", &[("email", "ada@user.com")]),
        ("/request-verify-token", &[("email", "ada@user.com")]),
    ] {
        let right = std::mem::replace(&mut browser.csrf, "x".repeat(43));
        let again = browser.press(path, fields).await.expect_status(403);
        assert!(again.body.contains("was no longer valid"), "{path}: {}", again.body);
        assert!(again.body.contains("value=\"ada@user.com\""), "{path}: {}", again.body);
        assert!(!again.body.contains("typed secret"), "{path}: {}", again.body);
        assert_eq!(browser.csrf, right, "the CSRF value of the new form is valid");
    }
    assert_eq!(server.database.count("\"user\"").await, 1);
    assert_eq!(server.outbox().len(), mails);
    // A user signs in in one of two windows. The form in the second window redirects.
    let mut second = Browser::of(&server);
    (second.cookies, second.csrf) = (browser.cookies.clone(), browser.csrf.clone());
    let filled = [("email", &*person.email), ("password", PASSWORD), ("next", "/account")];
    browser.press("/login", &filled).await.expect_status(303);
    second.cookies = browser.cookies.clone();
    let led = second.press("/login", &filled).await.expect_status(303);
    assert_eq!(led.header("location"), "./account");
}

#[tokio::test]
async fn a_form_beyond_a_rate_limit_keeps_what_was_typed_and_says_how_long_to_wait() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let mut browser = Browser::of(&server);
    for (path, mut left) in [("/login", 20), ("/forgot-password", 20)] {
        browser.open(path).await.expect_status(200);
        let filled = [("email", "ada@user.com"), ("password", "wrong")];
        let page = loop {
            let page = browser.press(path, &filled).await;
            left -= 1;
            assert!(left > 0, "no attempt was refused");
            if page.status == 429 {
                break page;
            }
        };
        assert!(page.body.contains("Too many attempts. Try again in "), "{}", page.body);
        assert!(page.body.contains("value=\"ada@user.com\""), "{}", page.body);
        assert!(page.header("retry-after").parse::<u64>().unwrap() > 0);
    }
}

#[tokio::test]
async fn a_form_of_a_signed_out_user_changes_nothing_and_says_so() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let out = server.request("DELETE", "/auth/sessions").bearer(&person.access).send();
    out.await.expect_status(204);
    let led = browser.press("/account", &[("act", "profile"), ("name", "Ada")]).await;
    assert_eq!(led.expect_status(303).header("location"), "./login?next=/account");
    let page = browser.open("/login?next=/account").await.expect_status(200);
    assert!(page.body.contains("You were signed out."), "{}", page.body);
    let page = browser.open("/login?next=/account").await.expect_status(200);
    assert!(page.body.contains("Sign in to continue."), "{}", page.body);
    assert_eq!(server.database.count("profile").await, 0);
    let export = browser.press("/account/export", &[]).await.expect_status(303);
    assert_eq!(export.header("location"), "../login?next=/account/data");
}

#[tokio::test]
async fn a_password_link_shows_its_account_and_signs_the_browser_out() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    // The form contains the address of the signed-in user.
    assert!(browser.open("/forgot-password").await.body.contains(&person.email));
    let asked = browser.press("/forgot-password", &[("email", &person.email)]).await;
    assert!(asked.expect_status(200).body.contains("name=\"code\""));
    let letter = server.letter(&person.email, "password", 1).await;
    assert!(letter.text.contains("at http://localhost:8000/reset-password"), "{}", letter.text);
    let page = browser.open(&letter.path()).await.expect_status(200);
    let named = format!("name=\"email\" value=\"{}\" autocomplete=\"username\"", person.email);
    assert!(page.body.contains(&named), "{}", page.body);
    let filled =
        [("token", &*letter.token()), ("password", "another password"), ("email", &person.email)];
    // A right code stays in the form if the password is refused. An expired form keeps its link.
    let empty = [("email", &*person.email), ("code", &*letter.code()), ("password", "")];
    let again = browser.press("/reset-password", &empty).await.expect_status(400);
    let code = format!("name=\"code\" value=\"{}\"", letter.code());
    assert!(again.body.contains(&code), "{}", again.body);
    let right = std::mem::replace(&mut browser.csrf, "x".repeat(43));
    for path in ["/reset-password", "/verify", "/restore-email"] {
        let stale = browser.press(path, &filled).await.expect_status(403);
        let kept = format!("name=\"token\" value=\"{}\"", letter.token());
        assert!(stale.body.contains(&kept), "{path}: {}", stale.body);
        browser.csrf = "x".repeat(43);
    }
    browser.csrf = right;
    let done = browser.press("/reset-password", &filled).await.expect_status(200);
    assert!(!done.body.contains("logout") && done.body.contains("./login"), "{}", done.body);
    // The link is used. Opening it again shows this, and how to get another mail.
    let used = browser.open(&letter.path()).await.expect_status(400);
    assert!(used.body.contains("been used already"), "{}", used.body);
    assert!(used.body.contains("./forgot-password") && !used.body.contains(&person.email));
    // A token for another purpose shows no account.
    let verify = server.letter(&person.email, "Verify", 1).await;
    let other = browser.open(&format!("/reset-password?token={}", verify.token())).await;
    assert!(!other.expect_status(400).body.contains(&person.email));
}

#[tokio::test]
async fn a_superuser_who_gives_themself_a_scope_must_sign_in_again() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let own = format!("/admin/users/{}", root.id);
    browser.open(&own).await.expect_status(200);
    let before = browser.id();
    let more = [
        ("act", "change"),
        ("was_active", "on"),
        ("is_active", "on"),
        ("was_superuser", "on"),
        ("is_superuser", "on"),
        ("was_scopes", "authenticated"),
        ("scopes", "authenticated billing"),
    ];
    let led = browser.press(&own, &more).await.expect_status(303);
    let login = format!("/login?next={own}");
    assert_eq!(led.header("location"), format!("../..{login}"));
    let page = browser.open(&login).await.expect_status(200);
    assert!(page.body.contains("ended your own session"), "{}", page.body);
    browser.sign_in(&root.email, PASSWORD).await;
    assert_ne!(browser.id(), before);
    assert!(browser.open(&own).await.expect_status(200).body.contains("authenticated billing"));
}
