//! Servers that require verified addresses (`REQUIRE_VERIFICATION`): every interface checks this, and a new address
//! takes over after it is verified.

use std::time::Duration;

use serde_json::json;

use crate::hijack::Held;
use crate::recovery::{NEW_PASSWORD, VERIFY};
use crate::support::{Answer, Browser, Letter, PASSWORD, Person, Server};

impl Server {
    /// Starts a server that requires verified addresses.
    async fn requiring() -> Self {
        Server::setup().set("REQUIRE_VERIFICATION", "true").start().await
    }

    /// Registers a user, verifies their address and signs them in.
    async fn member(&self, name: &str) -> Person {
        let email = format!("{name}@user.com");
        let user = self.register(&email, PASSWORD).await.expect_status(201);
        let letter = self.letter(&email, VERIFY, 1).await;
        self.verify(&letter.token()).await.expect_status(200);
        let (access, refresh) = self.sign_in(&email, PASSWORD).await;
        Person { id: user.text("id"), email, access, refresh }
    }

    /// Makes a superuser with a verified address.
    async fn verified_superuser(&self, name: &str) -> Person {
        let person = self.member(name).await;
        let sql = format!("update \"user\" set is_superuser = true where id = '{}'", person.id);
        self.database.execute(&sql).await;
        self.advance(Duration::from_millis(900)).await;
        person
    }
}

#[tokio::test]
async fn a_user_whose_address_is_no_longer_verified_is_refused_by_every_interface() {
    let server = Server::requiring().await;
    let root = server.verified_superuser("root").await;
    let service = server.service(&root, "billing", &["tokens:introspect", "tokens:check"]).await;
    for by_hand in [true, false] {
        let person = server.member(&format!("user{by_hand}")).await;
        let mut held = Held::by(&server, person.clone()).await;
        let set = async |verified: bool| {
            if by_hand {
                let id = &person.id;
                let sql = format!("update \"user\" set is_verified = {verified} where id = '{id}'");
                server.database.execute(&sql).await;
                server.advance(Duration::from_millis(900)).await;
            } else {
                let change = json!({ "is_verified": verified });
                let path = format!("/users/{}", person.id);
                let changed = server.patch(&path).bearer(&root.access).json(&change).send().await;
                changed.expect_status(200);
            }
        };
        set(false).await;
        for (interface, answer) in held.use_everything(&server).await {
            match interface {
                "page" => {
                    assert_eq!(answer.status, 303, "{interface}");
                    assert!(answer.header("location").contains("login"), "{interface}");
                }
                "refresh token" => {
                    answer.expect_reason("user_not_verified").expect_refusal(401, "SESSION_ENDED");
                }
                _ => {
                    answer.expect_reason("user_not_verified").expect_refusal(401, "Unauthorized");
                }
            }
        }
        let refused = server.login(&person.email, PASSWORD).await;
        refused.expect_refusal(400, "LOGIN_USER_NOT_VERIFIED");
        let tokens = [&person.access, &person.refresh, &held.api_tokens[0]];
        for token in tokens {
            let told = server.introspect(&service, token).await.expect_status(200);
            assert_eq!(told.body, r#"{"active":false}"#);
            let asked = json!({ "token": token });
            let explain = server.post("/admin/tokens/explain").bearer(&root.access).json(&asked);
            assert_eq!(explain.send().await.text("reason"), "user_not_verified");
        }
        let check = server.post("/auth/tokens/check").bearer(&service);
        let check = check.json(&json!({ "token": held.api_tokens[0] })).send().await;
        assert_eq!(check.expect_status(200).json["valid"], false);
        // Nothing was ended or used up, so everything works again.
        set(true).await;
        for (interface, answer) in held.use_everything(&server).await {
            assert_eq!(answer.status, 200, "{interface}: {}", answer.body);
        }
        // A user who is not verified can sign out.
        set(false).await;
        server.logout(&person.access).await.expect_status(204);
    }
}

const NEW: &str = "Verify the new e-mail address";

impl Server {
    /// Asks for a new address, and returns the mail that verifies it.
    async fn ask_for_address(&self, person: &Person, email: &str) -> Letter {
        let asked = self.change_me(&person.access, &json!({ "email": email })).await;
        assert_eq!(asked.expect_status(200).text("pending_email"), email);
        self.letter(email, NEW, 1).await
    }

    async fn cancel_pending_address(&self, bearer: &str) -> Answer {
        self.request("DELETE", "/users/me/pending-email").bearer(bearer).send().await
    }
}

#[tokio::test]
async fn a_new_address_takes_over_after_it_is_verified() {
    let server = Server::requiring().await;
    let person = server.member("first").await;
    let first = server.ask_for_address(&person, "new@user.com").await;
    let told = server.letter(&person.email, "asked to change", 1).await;
    assert!(!told.text.contains("new@user.com") && told.text.contains("/forgot-password"));
    // Another request ends the earlier link.
    let second = server.ask_for_address(&person, "newer@user.com").await;
    let export = server.export_me(&person.access).await.expect_status(200);
    assert_eq!(export.json["user"]["pending_email"], "newer@user.com");
    server.verify(&first.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    let me = server.me(&person.access).await.expect_status(200);
    assert_eq!((me.text("email"), &me.json["is_verified"]), (person.email.clone(), &json!(true)));
    server.login("newer@user.com", PASSWORD).await.expect_status(400);
    // A reader of the mail without the password cannot use the page, and the page does not offer to set a password.
    let (token, mut browser) = (second.token(), Browser::of(&server));
    let page = browser.open(&second.path()).await.expect_status(200);
    assert!(page.body.contains("name=\"current\"") && !page.body.contains("take-over"));
    let filled = [("act", "take-over"), ("token", &*token), ("password", NEW_PASSWORD)];
    browser.press("/verify", &filled).await.expect_status(400);
    let wrong = [("token", token.as_str()), ("current", "a guess")];
    browser.press("/verify", &wrong).await.expect_status(400);
    assert_eq!(server.me(&person.access).await.text("email"), person.email);

    let right = [("token", token.as_str()), ("current", PASSWORD)];
    browser.press("/verify", &right).await.expect_status(200);
    let me = server.me(&person.access).await.expect_status(200);
    assert_eq!(
        (me.text("email"), &me.json["is_verified"]),
        ("newer@user.com".into(), &json!(true))
    );
    server.refresh(&person.refresh).await.expect_status(200);
    server.verify(&token).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    // The operation works too, and the previous address can take the account back.
    let third = server.ask_for_address(&person, "newest@user.com").await;
    let verified = server.verify(&third.token()).await.expect_status(200);
    assert_eq!(verified.text("email"), "newest@user.com");
    let back = server.letter(&person.email, "address was changed", 1).await;
    assert_eq!(server.restore(&back.token()).await.expect_status(200).text("email"), person.email);
}

#[tokio::test]
async fn a_pending_address_ends_with_the_session_of_the_thief_who_asked_for_it() {
    let server = Server::requiring().await;
    let root = server.verified_superuser("root").await;
    for act in ["cancel", "logout-all", "password", "reset", "end", "superuser", "logout"] {
        let person = server.member(act).await;
        let (email, access) = (format!("new-{act}@user.com"), &person.access);
        let letter = server.ask_for_address(&person, &email).await;
        match act {
            "cancel" => {
                server.cancel_pending_address(access).await.expect_status(204);
                server.cancel_pending_address(access).await.expect_refusal(404, "Not Found");
            }
            "logout-all" => {
                server.post("/auth/jwt/logout-all").bearer(access).send().await.expect_status(204);
            }
            "password" => {
                let change = json!({ "password": NEW_PASSWORD });
                server.change_me(access, &change).await.expect_status(200);
            }
            "reset" => {
                let reset = server.reset_letter(&person.email, 1).await;
                server.reset(&reset.token(), NEW_PASSWORD).await.expect_status(200);
            }
            "end" => {
                let (other, _) = server.sign_in(&person.email, PASSWORD).await;
                let end = server.request("DELETE", "/auth/sessions").bearer(&other);
                end.send().await.expect_status(204);
            }
            "superuser" => {
                let change = json!({ "email": "set@user.com", "is_verified": true });
                let path = format!("/users/{}", person.id);
                let request = server.patch(&path).bearer(&root.access).json(&change);
                request.send().await.expect_status(200);
            }
            // The user signed out, and confirms on another device.
            _ => {
                server.logout(access).await.expect_status(204);
                server.verify(&letter.token()).await.expect_status(200);
                continue;
            }
        }
        server.verify(&letter.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
        let found = format!("\"user\" where email = '{email}'");
        assert_eq!(server.database.count(&found).await, 0, "{act}");
    }
}

#[tokio::test]
async fn a_pending_address_that_is_now_taken_is_refused() {
    let server = Server::requiring().await;
    let (person, other) = (server.member("first").await, server.member("second").await);
    let taken = server.change_me(&person.access, &json!({ "email": other.email })).await;
    taken.expect_refusal(400, "UPDATE_USER_EMAIL_ALREADY_EXISTS");
    let letter = server.ask_for_address(&person, "new@user.com").await;
    server.register("new@user.com", PASSWORD).await.expect_status(201);
    let refused = server.verify(&letter.token()).await;
    refused.expect_refusal(400, "UPDATE_USER_EMAIL_ALREADY_EXISTS");
    assert_eq!(server.me(&person.access).await.text("email"), person.email);

    let mut browser = Browser::of(&server);
    browser.sign_in(&other.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let filled = [("act", "email"), ("email", "mine@user.com"), ("current", PASSWORD)];
    let page = browser.press_and_follow("/account", &filled).await;
    assert!(
        page.body.contains("keeps its current address until")
            && page.body.contains("mine@user.com")
    );
    let page = browser.press_and_follow("/account", &[("act", "cancel-email")]).await;
    assert!(!page.body.contains("mine@user.com"), "{}", page.body);
    let letter = server.letter("mine@user.com", NEW, 1).await;
    server.verify(&letter.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
}
