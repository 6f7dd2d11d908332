//! Accounts that somebody else took over, and mail that nobody asked for.

use serde_json::json;

use crate::recovery::{CHANGED, NEW_PASSWORD, RESET, VERIFY};
use crate::support::{Browser, PASSWORD, Person, Server};

#[tokio::test]
async fn an_unverified_previous_address_cannot_take_an_account_from_a_verified_one() {
    let server = Server::start().await;
    // A user mistypes their address, corrects it, and verifies the right one.
    let typo = server.person("typo").await;
    let letter = server.change_address(&typo, "right@user.com").await;
    // The owner of the mistyped address can register it.
    server.register("typo@user.com", PASSWORD).await.expect_status(201);
    let verify = server.letter("right@user.com", VERIFY, 1).await;
    server.verify(&verify.token()).await.expect_status(200);
    server.restore(&letter.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    assert_eq!(server.me(&typo.access).await.text("email"), "right@user.com");
    // It cannot take the account from an address whose mail set a password either. In this way, owners prove their
    // address if they find an account that they did not register.
    let trap = server.person("trap").await;
    let letter = server.change_address(&trap, "victim@user.com").await;
    let reset = server.reset_letter("victim@user.com", 1).await;
    assert!(reset.text.contains("take back"), "{reset:?}");
    server.reset(&reset.token(), NEW_PASSWORD).await.expect_status(200);
    server.restore(&letter.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    server.sign_in("victim@user.com", NEW_PASSWORD).await;
    // Before such a proof, the previous address can take the account back.
    let other = server.person("other").await;
    let letter = server.change_address(&other, "thief@user.com").await;
    server.restore(&letter.token()).await.expect_status(200);
    let gone = server.person("gone").await;
    let letter = server.change_address(&gone, "elsewhere@user.com").await;
    server.register("gone@user.com", PASSWORD).await.expect_status(201);
    server.restore(&letter.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
}

#[tokio::test]
async fn a_thief_cannot_delete_an_account_that_its_owner_can_take_back() {
    let server = Server::start().await;
    let person = server.verified("first").await;
    let letter = server.change_address(&person, "thief@user.com").await;
    let delete =
        async |token: &str| server.request("DELETE", "/users/me").bearer(token).send().await;
    delete(&person.access).await.expect_refusal(409, "EMAIL_CHANGE_PENDING");
    // The mail to the new address says that the change can be taken back.
    let verify = server.letter("thief@user.com", VERIFY, 1).await;
    assert!(verify.text.contains("take back") && verify.html.contains("take back the account"));
    server.restore(&letter.token()).await.expect_status(200);
    let reset = server.letter(&person.email, RESET, 1).await;
    assert!(!reset.text.contains("take back"), "{reset:?}");
    server.reset(&reset.token(), NEW_PASSWORD).await.expect_status(200);
    let (access, _) = server.sign_in(&person.email, NEW_PASSWORD).await;
    delete(&access).await.expect_status(204);
}

#[tokio::test]
async fn the_owner_gets_a_mail_if_a_superuser_changes_their_address() {
    let server = Server::start().await;
    let (superuser, person) = (server.superuser("root").await, server.verified("first").await);
    let change = json!({ "email": "moved@user.com", "is_verified": true });
    let path = format!("/users/{}", person.id);
    let changed = server.patch(&path).bearer(&superuser.access).json(&change).send().await;
    changed.expect_status(200);
    let letter = server.letter(&person.email, CHANGED, 1).await;
    assert!(letter.text.contains("administrator") && !letter.text.contains("http"), "{letter:?}");
    assert_eq!(server.database.count("former_email").await, 0);
    // A superuser who changes their own address gets the same mail as any user.
    server.database.execute("update \"user\" set is_verified = true").await;
    let (path, change) = (format!("/users/{}", superuser.id), json!({ "email": "boss@user.com" }));
    let changed = server.patch(&path).bearer(&superuser.access).json(&change).send().await;
    changed.expect_status(200);
    let letter = server.letter(&superuser.email, CHANGED, 1).await;
    server.restore(&letter.token()).await.expect_status(200);
    // A verified address has nothing to verify.
    assert!(server.outbox().iter().all(|letter| letter.to != "moved@user.com"));
}

#[tokio::test]
async fn the_owner_of_the_previous_address_can_take_an_account_back_from_a_thief() {
    let server = Server::start().await;
    let person = server.verified("first").await;
    // The thief knows the password. They change the address twice, make an API token, and try to register the
    // previous address.
    let before = server.post("/auth/tokens").bearer(&person.access).json(&json!({})).send().await;
    let before = before.expect_status(201).text("token");
    let (thief, refresh) = server.sign_in(&person.email, PASSWORD).await;
    let thief = Person { access: thief, refresh, ..person.clone() };
    let letter = server.change_address(&thief, "thief@evil.com").await;
    server.change_me(&thief.access, &json!({ "email": "other@evil.com" })).await.expect_status(200);
    let second = server.letter("thief@evil.com", CHANGED, 1).await;
    let stolen = server.post("/auth/tokens").bearer(&thief.access).json(&json!({})).send().await;
    let stolen = stolen.expect_status(201).text("token");
    let reset = server.reset_letter("other@evil.com", 1).await;
    for email in ["first@user.com", "FIRST@user.com"] {
        let taken = server.register(email, PASSWORD).await;
        taken.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
    }
    let other = server.person("accomplice").await;
    let taken = server.change_me(&other.access, &json!({ "email": "first@user.com" })).await;
    taken.expect_refusal(400, "UPDATE_USER_EMAIL_ALREADY_EXISTS");

    let restored = server.restore(&letter.token()).await.expect_status(200);
    assert_eq!(restored.text("email"), "first@user.com");
    assert_eq!(restored.json["is_verified"], true, "a reader of its mail has proved it");
    for access in [&thief.access, &person.access] {
        server.me(access).await.expect_reason("token_revoked");
    }
    server.refresh(&thief.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.me(&stolen).await.expect_reason("api_token_unknown");
    // Nobody knows who made this token, so the owner makes another.
    server.me(&before).await.expect_reason("api_token_unknown");
    let refused = server.login(&person.email, PASSWORD).await;
    refused.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    // Tokens from the thief's mails no longer work, and no token works twice.
    server.restore(&second.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    server.restore(&letter.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    let refused = server.reset(&reset.token(), NEW_PASSWORD).await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    // The owner chooses another password with the mail that follows.
    let letter = server.letter(&person.email, RESET, 1).await;
    server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
    server.login(&person.email, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    server.sign_in(&person.email, NEW_PASSWORD).await;
}

#[tokio::test]
async fn the_owner_of_an_address_takes_over_an_account_that_somebody_else_registered() {
    let server = Server::start().await;
    let thief = server.person("victim").await;
    let secret = server.api_token(&thief.access, &json!({})).await;
    let letter = server.reset_letter(&thief.email, 1).await;
    server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
    server.me(&secret).await.expect_reason("api_token_unknown");
    server.me(&thief.access).await.expect_reason("token_revoked");
    // The API tokens of a claimed account stay, so that scripts continue to work.
    let person = server.person("first").await;
    // The user confirms with the password. With the operation alone, the account would not be claimed.
    let verify = server.letter(&person.email, VERIFY, 1).await;
    let mut browser = Browser::of(&server);
    browser.open(&verify.path()).await.expect_status(200);
    let confirm = [("token", &*verify.token()), ("current", PASSWORD)];
    browser.press("/verify", &confirm).await.expect_status(200);
    let secret = server.api_token(&person.access, &json!({})).await;
    let letter = server.reset_letter(&person.email, 1).await;
    server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
    server.me(&secret).await.expect_status(200);
}

#[tokio::test]
async fn requests_for_mails_are_limited_alike_for_known_and_unknown_addresses() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let ask = async |path: &str, email: &str| {
        server.post(path).json(&json!({ "email": email })).send().await
    };
    // Each purpose has six free requests, whether the account exists or not. The mail of a registration does not count.
    for email in ["first@user.com", "nobody@user.com"] {
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            for _ in 0..6 {
                ask(path, email).await.expect_status(202);
            }
            for email in [email.to_owned(), email.to_uppercase().replace("USER.COM", "user.com")] {
                let refused = ask(path, &email).await;
                let refused = refused.expect_refusal(429, "TOO_MANY_ATTEMPTS");
                let wait = refused.header("retry-after").parse::<u64>().unwrap();
                assert!((50..=60).contains(&wait), "{wait}");
            }
        }
    }
    for turn in 0..19 {
        ask("/auth/forgot-password", &format!("user{turn}@user.com")).await.expect_status(202);
    }
    let refused = ask("/auth/forgot-password", "yet-another@user.com").await;
    refused.expect_refusal(429, "TOO_MANY_ATTEMPTS");
}

#[tokio::test]
async fn repeated_password_changes_neither_fill_a_mailbox_nor_prevent_registrations() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let person = server.person("first").await;
    for turn in 0..11 {
        let (access, _) = match turn {
            0 => (person.access.clone(), String::new()),
            _ => server.sign_in(&person.email, &format!("{NEW_PASSWORD} {}", turn - 1)).await,
        };
        let change = json!({ "password": format!("{NEW_PASSWORD} {turn}") });
        let changed = server.change_me(&access, &change).await;
        match turn {
            0..10 => changed.expect_status(200),
            _ => changed.expect_refusal(429, "TOO_MANY_ATTEMPTS"),
        };
    }
    for _ in 0..7 {
        let ask = json!({ "email": "newcomer@user.com" });
        server.post("/auth/forgot-password").json(&ask).send().await;
    }
    server.database.wait_until_no_job_is_left().await;
    server.register("newcomer@user.com", PASSWORD).await.expect_status(201);
    server.database.wait_until_no_job_is_left().await;
    let to = |email: &str| server.outbox().iter().filter(|letter| letter.to == email).count();
    // One mail of the registration and ten about a password. Requests from before the newcomer's registration do not
    // use up its mail.
    assert_eq!((to("first@user.com"), to("newcomer@user.com")), (11, 1));
}

#[tokio::test]
async fn an_account_cannot_be_used_to_fill_the_mailbox_of_a_stranger() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let person = server.person("first").await;
    let mut answers = Vec::new();
    for turn in 0..8 {
        let email = ["victim@user.com".to_owned(), format!("mine{turn}@user.com")];
        for email in email {
            let changed = server.change_me(&person.access, &json!({ "email": email })).await;
            answers.push(changed.status);
        }
    }
    assert!(answers.contains(&429), "{answers:?}");
    server.database.wait_until_no_job_is_left().await;
    let count = server.outbox().iter().filter(|letter| letter.to == "victim@user.com").count();
    assert!(count <= 14, "{count}");
}
