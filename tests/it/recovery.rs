//! Tokens and codes of mails: users verify an address, choose a new password, or take an address back.

use serde_json::json;

use crate::support::{Browser, Letter, PASSWORD, Person, Server};

pub(crate) const VERIFY: &str = "Verify your e-mail address";
pub(crate) const RESET: &str = "Choose a new password";
pub(crate) const CHANGED: &str = "e-mail address was changed";
pub(crate) const NEW_PASSWORD: &str = "battery staple correct";

impl Server {
    async fn ask(&self, path: &str, email: &str) {
        let answer = self.post(path).json(&json!({ "email": email })).send().await;
        assert_eq!(answer.expect_status(202).body, "null");
    }

    /// Asks for a mail to choose a new password, and waits for the `count`th one.
    pub(crate) async fn reset_letter(&self, email: &str, count: usize) -> Letter {
        self.ask("/auth/forgot-password", email).await;
        self.letter(email, RESET, count).await
    }

    pub(crate) async fn verify(&self, token: &str) -> crate::support::Answer {
        self.post("/auth/verify").json(&json!({ "token": token })).send().await
    }

    pub(crate) async fn reset(&self, token: &str, password: &str) -> crate::support::Answer {
        let body = json!({ "token": token, "password": password });
        self.post("/auth/reset-password").json(&body).send().await
    }

    pub(crate) async fn restore(&self, token: &str) -> crate::support::Answer {
        self.post("/auth/restore-email").json(&json!({ "token": token })).send().await
    }

    /// Registers a new user. Returns also the value that their client keeps for the code of the mail.
    pub(crate) async fn person_and_client(&self, name: &str) -> (Person, String) {
        let email = format!("{name}@user.com");
        let user = self.register(&email, PASSWORD).await.expect_status(201);
        let (access, refresh) = self.sign_in(&email, PASSWORD).await;
        let client = user.header("x-code-binding");
        (Person { id: user.text("id"), email, access, refresh }, client)
    }

    /// Registers a user and verifies their address.
    pub(crate) async fn verified(&self, name: &str) -> Person {
        let person = self.person(name).await;
        let letter = self.letter(&person.email, VERIFY, 1).await;
        self.verify(&letter.token()).await.expect_status(200);
        person
    }

    /// Changes the address of a user. Returns the mail to the previous address.
    pub(crate) async fn change_address(&self, person: &Person, email: &str) -> Letter {
        self.change_me(&person.access, &json!({ "email": email })).await.expect_status(200);
        self.letter(&person.email, CHANGED, 1).await
    }
}

#[tokio::test]
async fn a_registration_sends_a_mail_whose_token_verifies_the_address_once() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let letter = server.letter(&person.email, VERIFY, 1).await;
    assert!(letter.link().starts_with("http://localhost:8000/verify?token="), "{letter:?}");
    assert_eq!(server.me(&person.access).await.json["is_verified"], false);
    let verified = server.verify(&letter.token()).await.expect_status(200);
    assert_eq!((verified.text("id"), &verified.json["is_verified"]), (person.id, &json!(true)));
    // It takes effect at once, for an earlier access token too.
    assert_eq!(server.me(&person.access).await.json["is_verified"], true);
    server.verify(&letter.token()).await.expect_refusal(400, "VERIFY_USER_ALREADY_VERIFIED");
    // The token cannot undo a later decision of a superuser.
    server.database.execute("update \"user\" set is_verified = false").await;
    server.verify(&letter.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
}

#[tokio::test]
async fn a_user_can_sign_in_after_the_required_verification() {
    let server = Server::setup().set("REQUIRE_VERIFICATION", "true").start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let refused = server.login("first@user.com", PASSWORD).await;
    refused.expect_refusal(400, "LOGIN_USER_NOT_VERIFIED");
    let letter = server.letter("first@user.com", VERIFY, 1).await;
    server.verify(&letter.token()).await.expect_status(200);
    server.sign_in("first@user.com", PASSWORD).await;
}

#[tokio::test]
async fn another_request_of_the_same_client_ends_the_earlier_token() {
    let server = Server::start().await;
    let registered = server.register("first@user.com", PASSWORD).await.expect_status(201);
    let client = registered.header("x-code-binding");
    let ask = async |path: &str| {
        let request = server.post(path).header("x-code-binding", &client);
        request.json(&json!({ "email": "first@user.com" })).send().await.expect_status(202);
    };
    let first = server.letter("first@user.com", VERIFY, 1).await;
    ask("/auth/request-verify-token").await;
    let second = server.letter("first@user.com", VERIFY, 2).await;
    server.verify(&first.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    server.verify(&second.token()).await.expect_status(200);

    ask("/auth/forgot-password").await;
    let first = server.letter("first@user.com", RESET, 1).await;
    ask("/auth/forgot-password").await;
    let second = server.letter("first@user.com", RESET, 2).await;
    let refused = server.reset(&first.token(), NEW_PASSWORD).await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    server.reset(&second.token(), NEW_PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn a_new_password_by_mail_ends_every_session_and_token_at_once() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;
    let letter = server.reset_letter(&person.email, 1).await;
    let done = server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
    assert_eq!(done.body, "null");
    for (access, refresh) in [(&person.access, &person.refresh), (&other.0, &other.1)] {
        server.me(access).await.expect_reason("token_revoked");
        server.refresh(refresh).await.expect_refusal(401, "SESSION_ENDED");
    }
    server.login(&person.email, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    server.sign_in(&person.email, NEW_PASSWORD).await;
    let again = server.reset(&letter.token(), "yet another one of these").await;
    again.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    // The owner gets a mail.
    server.letter(&person.email, "password was changed", 1).await;
}

#[tokio::test]
async fn a_token_stays_valid_if_the_password_is_refused() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let letter = server.reset_letter(&person.email, 1).await;
    for bad in [String::new(), "p".repeat(1025)] {
        let refused = server.reset(&letter.token(), &bad).await;
        refused.expect_refusal(400, "RESET_PASSWORD_INVALID_PASSWORD");
    }
    server.me(&person.access).await.expect_status(200);
    server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn a_changed_password_or_address_ends_the_tokens_that_were_made_for_it() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let letter = server.reset_letter(&person.email, 1).await;
    let change = json!({ "password": NEW_PASSWORD });
    server.change_me(&person.access, &change).await.expect_status(200);
    let refused = server.reset(&letter.token(), "yet another one of these").await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    server.sign_in(&person.email, NEW_PASSWORD).await;

    let other = server.person("other").await;
    let verify = server.letter(&other.email, VERIFY, 1).await;
    let reset = server.reset_letter(&other.email, 1).await;
    let change = json!({ "email": "moved@user.com" });
    server.change_me(&other.access, &change).await.expect_status(200);
    server.verify(&verify.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    let refused = server.reset(&reset.token(), NEW_PASSWORD).await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    // The new address gets a mail of its own.
    let letter = server.letter("moved@user.com", VERIFY, 1).await;
    server.verify(&letter.token()).await.expect_status(200);
}

#[tokio::test]
async fn a_token_of_a_mail_works_only_for_its_purpose() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let verify = server.letter(&person.email, VERIFY, 1).await.token();
    let reset = server.reset_letter(&person.email, 1).await.token();
    server.verify(&reset).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    server.reset(&verify, NEW_PASSWORD).await.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    for token in [&verify, &reset] {
        server.restore(token).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
        server.me(token).await.expect_refusal(401, "Unauthorized");
        server.refresh(token).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    }
    for token in [&person.access, &person.refresh] {
        server.verify(token).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
        server.reset(token, NEW_PASSWORD).await.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    }
    for token in ["", "x", "\0", "ü", &"x".repeat(10_000)] {
        server.verify(token).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
        server.reset(token, NEW_PASSWORD).await.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
        server.restore(token).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    }
    server.verify(&verify).await.expect_status(200);
}

#[tokio::test]
async fn an_expired_token_of_a_mail_does_nothing() {
    let server = Server::start().await;
    let (person, client) = server.person_and_client("first").await;
    let verify = server.letter(&person.email, VERIFY, 1).await;
    let reset = server.reset_letter(&person.email, 1).await;
    let former = server.change_address(&person, "moved@user.com").await;
    for table in ["confirmation", "former_email"] {
        server.database.execute(&format!("update {table} set expires_at = 1000")).await;
    }
    server.verify(&verify.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    let refused = server.reset(&reset.token(), NEW_PASSWORD).await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    let code = json!({ "email": person.email, "code": verify.code() });
    let request = server.post("/auth/verify").header("x-code-binding", &client);
    let refused = request.json(&code).send().await;
    refused.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    server.restore(&former.token()).await.expect_refusal(400, "RESTORE_EMAIL_BAD_TOKEN");
    // Now anybody can register the previous address.
    server.register(&person.email, PASSWORD).await.expect_status(201);
}

#[tokio::test]
async fn a_request_for_a_mail_gets_the_same_answer_if_no_mail_is_sent() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let letter = server.letter(&person.email, VERIFY, 1).await;
    server.verify(&letter.token()).await.expect_status(200);
    let inactive = server.person("inactive").await;
    server.letter(&inactive.email, VERIFY, 1).await;
    let sql = "update \"user\" set is_active = false where email = 'inactive@user.com'";
    server.database.execute(sql).await;
    server.ask("/auth/request-verify-token", &person.email).await;
    for email in [&inactive.email, "nobody@user.com"] {
        server.ask("/auth/request-verify-token", email).await;
        server.ask("/auth/forgot-password", email).await;
    }
    // When this mail arrives, the earlier requests are done too.
    server.reset_letter(&person.email, 1).await;
    server.database.wait_until_no_job_is_left().await;
    assert_eq!(server.outbox().len(), 3, "{:#?}", server.outbox());
    let bad = server.post("/auth/forgot-password").json(&json!({ "email": "bad" })).send().await;
    let message = "value is not a valid email address: An email address must have an @-sign.";
    assert_eq!(bad.expect_status(422).json["detail"][0]["msg"], message);
    let none = server.post("/auth/reset-password").json(&json!({ "password": "x" })).send().await;
    let detail = &none.expect_status(422).json["detail"];
    assert_eq!(detail[0]["loc"], json!(["body", "token"]));
    assert_eq!(detail.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_inactive_user_cannot_use_the_token_of_a_mail() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let verify = server.letter(&person.email, VERIFY, 1).await;
    let reset = server.reset_letter(&person.email, 1).await;
    server.database.execute("update \"user\" set is_active = false").await;
    let refused = server.reset(&reset.token(), NEW_PASSWORD).await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    server.verify(&verify.token()).await.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
}

#[tokio::test]
async fn the_code_of_a_mail_does_the_same_as_its_link() {
    let server = Server::start().await;
    let (person, client) = server.person_and_client("first").await;
    let show = async |path: &str, client: &str, body: &serde_json::Value| {
        server.post(path).header("x-code-binding", client).json(body).send().await
    };
    let letter = server.letter(&person.email, VERIFY, 1).await;
    assert!(letter.html.contains(&letter.code()), "{letter:?}");
    let body = json!({ "email": "FIRST@user.com", "code": letter.code() });
    let verified = show("/auth/verify", &client, &body).await.expect_status(200);
    assert_eq!(verified.json["is_verified"], true);
    let asked = json!({ "email": person.email });
    show("/auth/forgot-password", &client, &asked).await.expect_status(202);
    let letter = server.letter(&person.email, RESET, 1).await;
    let body = json!({ "email": person.email, "code": letter.code(), "password": NEW_PASSWORD });
    show("/auth/reset-password", &client, &body).await.expect_status(200);
    server.sign_in(&person.email, NEW_PASSWORD).await;
    let again = show("/auth/reset-password", &client, &body).await;
    again.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    // A code of another user does not work.
    let (other, client) = server.person_and_client("other").await;
    let letter = server.letter(&other.email, VERIFY, 1).await;
    let body = json!({ "email": person.email, "code": letter.code() });
    let refused = show("/auth/verify", &client, &body).await;
    refused.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
}

#[tokio::test]
async fn only_one_of_many_parallel_requests_can_use_a_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let verify = server.letter(&person.email, VERIFY, 1).await.token();
    // The address is verified first, because a new password ends the tokens of other mails.
    let answers = futures_util::future::join_all((0..8).map(|_| server.verify(&verify))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    let reset = server.reset_letter(&person.email, 1).await.token();
    let answers = futures_util::future::join_all((0..8).map(|turn| {
        let password = format!("{NEW_PASSWORD} {turn}");
        let (server, reset) = (&server, &reset);
        async move { (server.reset(reset, &password).await, password) }
    }));
    let answers = answers.await;
    let won: Vec<_> = answers.iter().filter(|(answer, _)| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:#?}");
    server.sign_in(&person.email, &won[0].1).await;
}

#[tokio::test]
async fn opening_a_link_changes_nothing_until_the_user_presses_the_button() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let letter = server.letter(&person.email, VERIFY, 1).await;
    for _ in 0..3 {
        // Programs that scan mail do this.
        let page = server.get(&letter.path()).send().await.expect_status(200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(
            page.body.contains(&letter.token())
                && page.body.contains("<button type=\"submit\">Verify")
        );
        server.request("HEAD", &letter.path()).send().await.expect_status(200);
    }
    assert_eq!(server.me(&person.access).await.json["is_verified"], false);
    // A form without a page of this browser does nothing.
    let token = letter.token();
    server.post("/verify").form(&[("token", token.as_str())]).send().await.expect_status(403);
    assert_eq!(server.me(&person.access).await.json["is_verified"], false);
    let mut browser = Browser::of(&server);
    browser.open(&letter.path()).await.expect_status(200);
    let confirm = [("token", token.as_str()), ("current", PASSWORD)];
    let done = browser.press("/verify", &confirm).await.expect_status(200);
    assert!(done.body.contains("is verified"), "{}", done.body);
    assert_eq!(server.me(&person.access).await.json["is_verified"], true);
    let again = browser.press("/verify", &[("token", &token)]).await.expect_status(200);
    assert!(again.body.contains("is verified"), "{}", again.body);

    let letter = server.reset_letter(&person.email, 1).await;
    let page = server.get(&letter.path()).send().await.expect_status(200);
    assert!(page.body.contains("autocomplete=\"new-password\""), "{}", page.body);
    let token = letter.token();
    let refused = browser.press("/reset-password", &[("token", &token), ("password", "")]).await;
    let refused = refused.expect_status(400);
    assert!(refused.body.contains("at least") && refused.body.contains(&token), "{}", refused.body);
    let set = [("token", token.as_str()), ("password", NEW_PASSWORD)];
    browser.press("/reset-password", &set).await.expect_status(200);
    let (access, refresh) = server.sign_in(&person.email, NEW_PASSWORD).await;

    let moved = Person { access, refresh, ..person };
    let letter = server.change_address(&moved, "moved@user.com").await;
    server.get(&letter.path()).send().await.expect_status(200);
    let token = letter.token();
    browser.press("/restore-email", &[("token", &token)]).await.expect_status(200);
    // The person who changed the address knows the password, so the password no longer works.
    server.login(&moved.email, NEW_PASSWORD).await.expect_status(400);
    let form = server.get("/forgot-password").send().await.expect_status(200);
    assert!(form.body.contains("name=\"email\""), "{}", form.body);
    browser.press("/forgot-password", &[("email", "no address")]).await.expect_status(422);
    browser.press("/forgot-password", &[("email", &moved.email)]).await.expect_status(200);
    server.letter(&moved.email, RESET, 3).await;
}

#[tokio::test]
async fn a_page_accepts_the_code_and_shows_input_as_text() {
    let server = Server::start().await;
    let (person, client) = server.person_and_client("first").await;
    let code = server.letter(&person.email, VERIFY, 1).await.code();
    let mut browser = Browser::of(&server);
    browser.cookies.insert("tessera-code".to_owned(), client);
    let page = browser.open("/verify").await.expect_status(200);
    assert!(page.body.contains("one-time-code"), "{}", page.body);
    let wrong = [("email", "<script>x</script>@user.com"), ("code", "000000")];
    let refused = browser.press("/verify", &wrong).await.expect_status(400);
    assert!(!refused.body.contains("<script>") && refused.body.contains("name=\"code\""));
    let page = server.get("/verify?token=%22%3E%3Cscript%3E").send().await.expect_status(400);
    assert!(!page.body.contains("<script>"), "{}", page.body);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let right = [("email", person.email.as_str()), ("code", &code), ("current", PASSWORD)];
    browser.press("/verify", &right).await.expect_status(200);
    assert_eq!(server.me(&person.access).await.json["is_verified"], true);
}

#[tokio::test]
async fn links_in_mails_use_the_settings_and_not_the_host_of_the_request() {
    let setup = Server::setup().set("PUBLIC_URL", "https://id.example.com/accounts");
    let server = setup.start().await;
    server.person("first").await;
    let ask = server.post("/auth/forgot-password").json(&json!({ "email": "first@user.com" }));
    let ask = ask.header("host", "evil.example").header("x-forwarded-host", "evil.example");
    ask.header("forwarded", "host=evil.example").send().await.expect_status(202);
    let letter = server.letter("first@user.com", RESET, 1).await;
    let page = server.get("/verify").send().await.expect_status(200);
    // Links on pages are relative.
    assert!(
        page.body.contains("action=\"./verify\"") && page.body.contains("href=\"./style.css\"")
    );
    let begin = "https://id.example.com/accounts/reset-password?token=";
    assert!(letter.link().starts_with(begin), "{letter:?}");
    assert!(!format!("{letter:?}").contains("evil."));
}

#[tokio::test]
async fn the_code_of_a_mail_still_works_after_the_secret_was_rotated() {
    let server = Server::start().await;
    let (person, client) = server.person_and_client("first").await;
    let letter = server.letter(&person.email, VERIFY, 1).await;
    let rotated = Server::setup()
        .on(server.kill())
        .set("APP_SECRET", "another secret of at least thirty-two bytes")
        .set("APP_SECRET_PREVIOUS", crate::support::SECRET);
    let server = rotated.start().await;
    let body = json!({ "email": person.email, "code": letter.code() });
    let request = server.post("/auth/verify").header("x-code-binding", &client);
    request.json(&body).send().await.expect_status(200);
}

#[tokio::test]
async fn the_database_has_no_token_of_a_mail_and_the_log_of_development_has_it() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let verify = server.letter(&person.email, VERIFY, 1).await;
    let reset = server.reset_letter(&person.email, 1).await;
    let rows = server.database.column::<String>("select digest || code from confirmation").await;
    assert_eq!(rows.len(), 2);
    for secret in [verify.token(), verify.code(), reset.token(), reset.code()] {
        assert!(rows.iter().all(|row| !row.contains(&secret) || secret.len() == 6), "{rows:?}");
    }
    // A developer can copy it from the log.
    server.log.wait_for(&verify.token()).await;
}
