//! Accounts that somebody else registered with your address: after you have proved the address and set a password,
//! nothing that they hold works.

use serde_json::json;

use crate::consents::silently;
use crate::provider;
use crate::recovery::{NEW_PASSWORD, RESET, VERIFY};
use crate::support::{Answer, Browser, PASSWORD, Person, Request, Server};

/// Everything that a person holds who knows the password of an account.
pub(crate) struct Held<'a> {
    pub(crate) person: Person,
    pub(crate) api_tokens: Vec<String>,
    pub(crate) cookie: String,
    pub(crate) browser: Browser<'a>,
}

impl<'a> Held<'a> {
    /// Signs in through every interface.
    pub(crate) async fn by(server: &'a Server, person: Person) -> Self {
        let secret = server.api_token(&person.access, &json!({})).await;
        let form = [("username", person.email.as_str()), ("password", PASSWORD)];
        let signed_in = server.post("/auth/cookie/login").form(&form).send().await;
        let cookie = signed_in.expect_status(204).header("set-cookie");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut browser = Browser::of(server);
        browser.sign_in(&person.email, PASSWORD).await;
        Self { person, api_tokens: vec![secret], cookie, browser }
    }

    /// Signs in again, and makes another API token.
    async fn more(&mut self, server: &Server) {
        (self.person.access, self.person.refresh) =
            server.sign_in(&self.person.email, PASSWORD).await;
        self.api_tokens.push(server.api_token(&self.person.access, &json!({})).await);
    }

    /// Uses everything that the person holds. Returns the answers with their names.
    pub(crate) async fn use_everything(&mut self, server: &Server) -> Vec<(&'static str, Answer)> {
        let me = || server.get("/users/me");
        let Person { access, refresh, .. } = &self.person;
        let mut answers = vec![
            ("access token", me().bearer(access).send().await),
            ("cookie", me().header("cookie", &self.cookie).send().await),
            ("refresh token", server.refresh(refresh).await),
            (
                "fresh token",
                server
                    .post("/auth/jwt/fresh")
                    .bearer(access)
                    .json(&json!({ "password": PASSWORD }))
                    .send()
                    .await,
            ),
            ("page", self.browser.open("/account").await),
        ];
        for secret in &self.api_tokens {
            let shows: [fn(Request, &str) -> Request; 3] = [
                |request, secret| request.bearer(secret),
                |request, secret| request.header("token", secret),
                |request, secret| request.header("x-api-key", secret),
            ];
            for show in shows {
                answers.push(("API token", show(me(), secret).send().await));
            }
        }
        answers
    }
}

/// Opens the link of the verification e-mail, and sets a new password on the page.
async fn take_over(server: &Server, email: &str, count: usize) {
    let letter = server.letter(email, VERIFY, count).await;
    let mut browser = Browser::of(server);
    let page = browser.open(&letter.path()).await.expect_status(200);
    assert!(page.body.contains("You did not register?"), "{}", page.body);
    let filled = [("act", "take-over"), ("token", &*letter.token()), ("password", NEW_PASSWORD)];
    let done = browser.press("/verify", &filled).await.expect_status(200);
    assert!(done.body.contains("Everyone else was signed out"), "{}", done.body);
}

async fn reset_on_page(server: &Server, email: &str) {
    let letter = server.reset_letter(email, 1).await;
    let mut browser = Browser::of(server);
    let page = browser.open(&letter.path()).await.expect_status(200);
    // The page says that API tokens will be deleted, and has no box for this.
    assert!(page.body.contains("someone else may have created"), "{}", page.body);
    assert!(!page.body.contains("type=\"checkbox\""), "{}", page.body);
    let filled = [("token", &*letter.token()), ("password", NEW_PASSWORD)];
    browser.press("/reset-password", &filled).await.expect_status(200);
}

/// Performs one step of the owner of the address, or of the person who registered it.
async fn step(server: &Server, name: &str, held: &mut Held<'_>) {
    let email = held.person.email.clone();
    match name {
        "they sign in again" => held.more(server).await,
        "confirm by the operation" => {
            let letter = server.letter(&email, VERIFY, 1).await;
            server.verify(&letter.token()).await.expect_status(200);
        }
        "confirm without the password" => {
            let letter = server.letter(&email, VERIFY, 1).await;
            let mut browser = Browser::of(server);
            browser.open(&letter.path()).await.expect_status(200);
            for current in [None, Some(("current", "a guess"))] {
                let filled = [("token", letter.token())];
                let filled = filled.iter().map(|(name, value)| (*name, value.as_str()));
                let filled: Vec<_> = filled.chain(current).collect();
                let refused = browser.press("/verify", &filled).await.expect_status(400);
                assert!(refused.body.contains("password is wrong"), "{}", refused.body);
            }
            assert_eq!(server.me(&held.person.access).await.json["is_verified"], false);
        }
        "set a password on the page" => take_over(server, &email, 1).await,
        "ask again, and set a password on the page" => {
            server.letter(&email, VERIFY, 1).await;
            server
                .post("/auth/request-verify-token")
                .json(&json!({ "email": email }))
                .send()
                .await
                .expect_status(202);
            take_over(server, &email, 2).await;
        }
        "reset by the operation" => {
            let letter = server.reset_letter(&email, 1).await;
            server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
        }
        "reset on the page" => reset_on_page(server, &email).await,
        name => panic!("unknown step: {name}"),
    }
}

#[tokio::test]
async fn an_owner_who_proves_the_address_and_sets_a_password_in_any_order_removes_everyone_else() {
    let server = Server::start().await;
    let (sign_in, confirm) = ("they sign in again", "confirm by the operation");
    let orders: [&[&str]; 12] = [
        &["set a password on the page"],
        &["ask again, and set a password on the page"],
        &["confirm without the password", "set a password on the page"],
        &["reset by the operation"],
        &["reset on the page"],
        &[sign_in, "reset by the operation"],
        &[confirm, "reset by the operation"],
        &[confirm, "reset on the page"],
        &[confirm, sign_in, "reset by the operation"],
        &[confirm, sign_in, "reset on the page"],
        &[sign_in, confirm, sign_in, "reset by the operation"],
        &["confirm without the password", confirm, sign_in, "reset on the page"],
    ];
    for (number, order) in orders.into_iter().enumerate() {
        let person = server.person(&format!("victim{number}")).await;
        let mut held = Held::by(&server, person).await;
        for name in order {
            step(&server, name, &mut held).await;
        }
        let refused = server.login(&held.person.email, PASSWORD).await;
        refused.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
        for (interface, answer) in held.use_everything(&server).await {
            let expected = if interface == "page" { 303 } else { 401 };
            assert_eq!(answer.status, expected, "{order:?}: {interface}: {}", answer.body);
        }
        let (access, _) = server.sign_in(&held.person.email, NEW_PASSWORD).await;
        // Setting a new password by mail does not verify the address.
        let verifies = order.iter().any(|step| step.contains("confirm") || step.contains("set a"));
        assert_eq!(server.me(&access).await.json["is_verified"], verifies, "{order:?}");
        assert_eq!(server.database.count("unclaimed").await, 0, "{order:?}");
    }
    assert_eq!(server.database.count("api_token").await, 0);
}

#[tokio::test]
async fn a_page_confirms_an_address_only_with_the_password_or_in_the_browser_of_its_account() {
    let server = Server::start().await;
    let (person, other) = (server.person("first").await, server.person("second").await);
    let letter = server.letter(&person.email, VERIFY, 1).await;
    let (path, token) = (letter.path(), letter.token());
    // In the browser of another account, the page requires the password.
    let mut browser = Browser::of(&server);
    browser.sign_in(&other.email, PASSWORD).await;
    let page = browser.open(&path).await.expect_status(200);
    assert!(page.body.contains("name=\"current\"") && page.body.contains(&person.email));
    let refused = browser.press("/verify", &[("token", &token)]).await.expect_status(400);
    assert!(refused.body.contains("password is wrong"), "{}", refused.body);
    let wrong = [("token", token.as_str()), ("current", "a guess")];
    let refused = browser.press("/verify", &wrong).await.expect_status(400);
    let field = refused.body.split("<label>").find(|input| input.contains("name=\"current\""));
    let field = field.unwrap();
    assert!(field.contains("aria-invalid") && field.contains("role=\"alert\""), "{field}");
    assert!(!refused.body.contains("a guess"), "{}", refused.body);
    let right = [("token", token.as_str()), ("current", PASSWORD)];
    browser.press("/verify", &right).await.expect_status(200);
    assert_eq!(server.me(&person.access).await.json["is_verified"], true);
    // If the link is opened again, the page shows that the address is confirmed, and sets no password.
    let again = browser.open(&path).await.expect_status(200);
    assert!(again.body.contains("is verified") && !again.body.contains("name=\"password\""));
    let late = [("act", "take-over"), ("token", &*token), ("password", NEW_PASSWORD)];
    let late = browser.press("/verify", &late).await.expect_status(400);
    assert!(late.body.contains("is already verified"), "{}", late.body);
    server.sign_in(&person.email, PASSWORD).await;

    let letter = server.letter(&other.email, VERIFY, 1).await;
    let page = browser.open(&letter.path()).await.expect_status(200);
    assert!(!page.body.contains("type=\"password\""), "{}", page.body);
    let token = letter.token();
    let done = browser.press("/verify", &[("token", &token)]).await.expect_status(200);
    assert!(done.body.contains("is verified"), "{}", done.body);
    assert_eq!(server.me(&other.access).await.json["is_verified"], true);
    // Both accounts are claimed, so their API tokens stay.
    for person in [&person, &other] {
        let secret = server.api_token(&person.access, &json!({})).await;
        let letter = server.reset_letter(&person.email, 1).await;
        server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
        server.me(&secret).await.expect_status(200);
    }
}

#[tokio::test]
async fn passwords_on_the_page_of_a_link_count_as_sign_in_attempts() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let email = "first@user.com";
    server.register(email, PASSWORD).await.expect_status(201);
    let letter = server.letter(email, VERIFY, 1).await;
    let token = letter.token();
    let mut browser = Browser::of(&server);
    browser.open(&letter.path()).await.expect_status(200);
    let wrong = [("token", token.as_str()), ("current", "a guess")];
    for _ in 0..6 {
        browser.press("/verify", &wrong).await.expect_status(400);
        server.prolong_delays().await;
    }
    let refused = browser.press("/verify", &wrong).await.expect_status(429);
    assert!(refused.body.contains(&token), "{}", refused.body);
    server.login(email, PASSWORD).await.expect_refusal(429, "TOO_MANY_ATTEMPTS");
    // With an invalid link, the password is not checked.
    let unknown = [("token", "unknown"), ("current", "a guess")];
    let refused = browser.press("/verify", &unknown).await.expect_status(400);
    assert!(refused.body.contains("may have expired"), "{}", refused.body);
    // A user who reads the mail does not have to wait.
    let filled = [("act", "take-over"), ("token", &*token), ("password", NEW_PASSWORD)];
    browser.press("/verify", &filled).await.expect_status(200);
    server.sign_in(email, NEW_PASSWORD).await;
}

#[tokio::test]
async fn a_new_password_by_mail_deletes_api_tokens_on_request() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.database.execute("update \"user\" set is_verified = true").await;
    let mut count = 0;
    for (interface, deletes) in [("operation", None), ("operation", Some(false)), ("page", None)] {
        let (access, _) = match count {
            0 => (person.access.clone(), String::new()),
            _ => server.sign_in(&person.email, NEW_PASSWORD).await,
        };
        let secret = server.api_token(&access, &json!({})).await;
        count += 1;
        let letter = server.reset_letter(&person.email, count).await;
        let body = json!({ "token": letter.token(), "password": NEW_PASSWORD, "delete_api_tokens": deletes });
        match interface {
            "operation" => {
                server.post("/auth/reset-password").json(&body).send().await.expect_status(200);
            }
            _ => {
                let mut browser = Browser::of(&server);
                let page = browser.open(&letter.path()).await.expect_status(200);
                let offered = format!("Also delete all {count} API tokens of this account");
                assert!(page.body.contains(&offered), "{}", page.body);
                assert!(!page.body.contains(" checked"), "{}", page.body);
                let filled = [("token", &*letter.token()), ("password", NEW_PASSWORD)];
                browser.press("/reset-password", &filled).await.expect_status(200);
            }
        }
        server.me(&secret).await.expect_status(200);
    }
    assert_eq!(server.database.count("api_token").await, 3);
    let letter = server.reset_letter(&person.email, 4).await;
    let mut browser = Browser::of(&server);
    browser.open(&letter.path()).await.expect_status(200);
    let token = letter.token();
    // The box stays checked if the password is refused.
    let short = [("token", &*token), ("password", ""), ("delete_api_tokens", "on")];
    let again = browser.press("/reset-password", &short).await.expect_status(400);
    assert!(again.body.contains(" checked"), "{}", again.body);
    let filled = [("token", &*token), ("password", NEW_PASSWORD), ("delete_api_tokens", "on")];
    browser.press("/reset-password", &filled).await.expect_status(200);
    assert_eq!(server.database.count("api_token").await, 0);

    let (access, _) = server.sign_in(&person.email, NEW_PASSWORD).await;
    let secret = server.api_token(&access, &json!({})).await;
    let letter = server.letter(&person.email, RESET, 4).await;
    let wrong = json!({ "token": letter.token(), "password": "x", "delete_api_tokens": "yes" });
    let wrong = server.post("/auth/reset-password").json(&wrong).send().await.expect_status(422);
    assert_eq!(wrong.json["detail"][0]["loc"], json!(["body", "delete_api_tokens"]));
    let letter = server.reset_letter(&person.email, 5).await;
    let body =
        json!({ "token": letter.token(), "password": NEW_PASSWORD, "delete_api_tokens": true });
    server.post("/auth/reset-password").json(&body).send().await.expect_status(200);
    server.me(&secret).await.expect_reason("api_token_unknown");
}

impl Server {
    async fn cancel_links(&self, bearer: &str, token: Option<&str>) -> Answer {
        let request = self.request("DELETE", "/users/me/previous-emails").bearer(bearer);
        request.json(&json!({ "token": token })).send().await
    }
}

const CANCELLED: &str = "was cancelled";

#[tokio::test]
async fn a_thief_cannot_cancel_the_link_that_takes_the_account_back() {
    let server = Server::start().await;
    let person = server.verified("first").await;
    server.cancel_links(&person.access, None).await.expect_refusal(404, "Not Found");
    let (access, refresh) = server.sign_in(&person.email, PASSWORD).await;
    let thief = Person { access, refresh, ..person.clone() };
    let letter = server.change_address(&thief, "thief@user.com").await;
    let verify = server.letter("thief@user.com", VERIFY, 1).await;
    server.verify(&verify.token()).await.expect_status(200);
    let day = "update former_email set created_at = created_at - 90000000";
    let old = "update session set created_at = created_at - 432000000";
    // A session that began with the theft can cancel it neither at once nor a day later.
    for age in ["", day] {
        if !age.is_empty() {
            server.database.execute(age).await;
        }
        let refused = server.cancel_links(&thief.access, None).await;
        refused.expect_refusal(409, "EMAIL_CHANGE_PENDING");
        let refused = server.cancel_links(&thief.access, Some("a guess")).await;
        refused.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    }
    // An old session cannot cancel it on the first day.
    server.database.execute("update former_email set created_at = created_at + 90000000").await;
    server.database.execute(old).await;
    let refused = server.cancel_links(&thief.access, None).await;
    refused.expect_refusal(409, "EMAIL_CHANGE_PENDING");
    server.restore(&letter.token()).await.expect_status(200);
}

#[tokio::test]
async fn an_owner_can_cancel_the_link_with_its_token_or_from_an_old_session() {
    let server = Server::start().await;
    let person = server.verified("first").await;
    let letter = server.change_address(&person, "second@user.com").await;
    let (_, refresh) = (&person.access, server.refresh(&person.refresh).await.expect_status(200));
    let stale = server.cancel_links(&refresh.text("access_token"), Some(&letter.token())).await;
    stale.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    let other = server.verified("other").await;
    let foreign = server.cancel_links(&other.access, Some(&letter.token())).await;
    foreign.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    server.cancel_links(&person.access, Some(&letter.token())).await.expect_status(204);
    server.letter("first@user.com", CANCELLED, 1).await;
    server.restore(&letter.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    // Now anybody can register the address.
    server.register("first@user.com", PASSWORD).await.expect_status(201);

    // The owner cancels it on the page of the link, with the password.
    server.database.execute("update \"user\" set is_verified = true").await;
    server
        .change_me(&person.access, &json!({ "email": "third@user.com" }))
        .await
        .expect_status(200);
    let letter = server.letter("second@user.com", "e-mail address was changed", 1).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("third@user.com", PASSWORD).await;
    let page = browser.open(&letter.path()).await.expect_status(200);
    assert!(page.body.contains("Did you change the address yourself?"), "{}", page.body);
    let token = letter.token();
    let wrong = [("act", "cancel-link"), ("token", &*token), ("current", "a guess")];
    let refused = browser.press("/restore-email", &wrong).await.expect_status(400);
    assert!(refused.body.contains("password is wrong"), "{}", refused.body);
    let right = [("act", "cancel-link"), ("token", &*token), ("current", PASSWORD)];
    let done = browser.press_and_follow("/restore-email", &right).await;
    assert!(done.body.contains("The link is cancelled"), "{}", done.body);
    server.restore(&token).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    server.letter("second@user.com", CANCELLED, 1).await;

    // The owner cancels it without the link, a day after the change, in a session from long before it.
    server.database.execute("update \"user\" set is_verified = true").await;
    server
        .change_me(&person.access, &json!({ "email": "fourth@user.com" }))
        .await
        .expect_status(200);
    let letter = server.letter("third@user.com", "e-mail address was changed", 1).await;
    server.database.execute("update former_email set created_at = created_at - 90000000").await;
    server.database.execute("update session set created_at = created_at - 432000000").await;
    browser.open("/account").await.expect_status(200);
    let filled = [("act", "cancel-links"), ("current", PASSWORD)];
    let early = browser.press("/account", &filled).await.expect_status(409);
    assert!(early.body.contains("The new address must be verified"), "{}", early.body);
    server.database.execute("update \"user\" set is_verified = true").await;
    let done = browser.press_and_follow("/account", &filled).await;
    assert!(done.body.contains("The link is cancelled"), "{}", done.body);
    server.restore(&letter.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
}

/// A person who knows the password lets an application in. It must not learn anything of the owner who comes later.
#[tokio::test]
async fn what_somebody_else_permitted_an_application_is_forgotten_when_the_owner_takes_the_account()
{
    let server = provider::server().await;
    let confirm = "confirm by the operation";
    let orders: [&[&str]; 5] = [
        &["set a password on the page"],
        &["reset by the operation"],
        &["reset on the page"],
        &[confirm, "reset by the operation"],
        &[confirm, "reset on the page"],
    ];
    for (number, order) in orders.into_iter().enumerate() {
        let person = server.person(&format!("victim{number}")).await;
        let mut held = Held::by(&server, person).await;
        provider::code(&mut held.browser, &[]).await;
        assert_eq!(server.database.count("consent").await, 1, "{order:?}");
        for name in order {
            step(&server, name, &mut held).await;
        }
        assert_eq!(server.database.count("consent").await, 0, "{order:?}");
        let mut owner = Browser::of(&server);
        owner.sign_in(&held.person.email, NEW_PASSWORD).await;
        let silent = silently(&mut owner, &[]).await;
        assert_eq!(silent, Err("consent_required".to_owned()), "{order:?}");
    }
}

#[tokio::test]
async fn an_owner_forgets_permissions_only_with_an_account_that_somebody_else_may_have_used() {
    let server = provider::server().await;
    let person = server.person("claimed").await;
    let token = server.letter(&person.email, VERIFY, 1).await.token();
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open(&format!("/verify?token={token}")).await.expect_status(200);
    browser.press("/verify", &[("token", &token)]).await.expect_status(200);
    provider::code(&mut browser, &[]).await;
    for (mails, ends, kept) in [(1, false, 1), (2, true, 0)] {
        let token = server.reset_letter(&person.email, mails).await.token();
        let body = json!({ "token": token, "password": PASSWORD, "delete_api_tokens": ends });
        server.post("/auth/reset-password").json(&body).send().await.expect_status(200);
        assert_eq!(server.database.count("consent").await, kept, "{ends}");
    }
    // A thief who changed the address let an application in. The owner takes the account back.
    browser.sign_in(&person.email, PASSWORD).await;
    provider::code(&mut browser, &[]).await;
    let (access, refresh) = server.sign_in(&person.email, PASSWORD).await;
    let thief = Person { access, refresh, ..person };
    let letter = server.change_address(&thief, "thief@user.com").await;
    server.restore(&letter.token()).await.expect_status(200);
    assert_eq!(server.database.count("consent").await, 0);
}
