//! Codes of six digits: they work only in the browser or client that asked for the mail, and for a few tries.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::recovery::{CHANGED, NEW_PASSWORD, RESET, VERIFY};
use crate::support::{Answer, Browser, Letter, PASSWORD, Request, Server};

const BINDING: &str = "x-code-binding";
const VERIFYING: &str = "/auth/verify";
const RESETTING: &str = "/auth/reset-password";

impl Server {
    /// Sends a request that causes a mail. Returns the value that the client must keep.
    async fn request_value(&self, path: &str, body: &Value) -> String {
        let answer = self.post(path).json(body).send().await;
        assert!([200, 201, 202].contains(&answer.status), "{}", answer.body);
        answer.header(BINDING)
    }

    /// Sends a code as a client that keeps this value.
    pub(crate) async fn type_code(
        &self,
        path: &str,
        kept: &str,
        email: &str,
        code: &str,
    ) -> Answer {
        self.typing_code(path, kept, email, code).send().await
    }

    fn typing_code(&self, path: &str, kept: &str, email: &str, code: &str) -> Request {
        let mut body = json!({ "email": email, "code": code });
        if path == RESETTING {
            body["password"] = NEW_PASSWORD.into();
        }
        self.post(path).header(BINDING, kept).json(&body)
    }
}

fn wrong(letter: &Letter, turn: u32) -> String {
    let right: u32 = letter.code().parse().unwrap();
    format!("{:06}", (right + turn) % 1_000_000)
}

/// The code of the refusal, whatever the reason is.
fn refusal(path: &str) -> &'static str {
    if path == VERIFYING { "VERIFY_USER_BAD_TOKEN" } else { "RESET_PASSWORD_BAD_TOKEN" }
}

#[tokio::test]
async fn a_code_works_only_with_the_value_of_the_client_that_asked_for_it() {
    let server = Server::start().await;
    let asked = json!({ "email": "first@user.com" });
    let registered = json!({ "email": "first@user.com", "password": PASSWORD });
    let stranger =
        server.request_value("/auth/forgot-password", &json!({ "email": "x@user.com" })).await;
    // Each operation that causes such a mail.
    for (turn, path, body, subject, typed_at) in [
        (1, "/auth/register", &registered, VERIFY, VERIFYING),
        (2, "/auth/request-verify-token", &asked, VERIFY, VERIFYING),
        (1, "/auth/forgot-password", &asked, RESET, RESETTING),
    ] {
        let kept = server.request_value(path, body).await;
        let letter = server.letter("first@user.com", subject, turn).await;
        let reversed: String = kept.chars().rev().collect();
        for other in ["", "x", &stranger, &reversed, &kept[1..], &format!("{kept}x")] {
            let refused = server.type_code(typed_at, other, "first@user.com", &letter.code()).await;
            refused.expect_refusal(400, refusal(typed_at));
        }
        // The code of the registration is not used: it would verify the address before the next case.
        if turn == 2 || subject == RESET {
            let right = server.type_code(typed_at, &kept, "FIRST@user.com", &letter.code()).await;
            right.expect_status(200);
        }
    }
    // A changed address, and one that is taken back: the client that does it gets the value for the mail's code.
    let (access, _) = server.sign_in("first@user.com", NEW_PASSWORD).await;
    let moved = server.change_me(&access, &json!({ "email": "moved@user.com" })).await;
    let kept = moved.expect_status(200).header(BINDING);
    let letter = server.letter("moved@user.com", VERIFY, 1).await;
    let code = letter.code();
    let refused = server.type_code(VERIFYING, &stranger, "moved@user.com", &code).await;
    refused.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    server.type_code(VERIFYING, &kept, "moved@user.com", &code).await.expect_status(200);
    let token = server.letter("first@user.com", CHANGED, 1).await.token();
    let kept = server.request_value("/auth/restore-email", &json!({ "token": token })).await;
    let code = server.letter("first@user.com", RESET, 2).await.code();
    let refused = server.type_code(RESETTING, &stranger, "first@user.com", &code).await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    server.type_code(RESETTING, &kept, "first@user.com", &code).await.expect_status(200);
    // A change of the name returns no value.
    let (access, _) = server.sign_in("first@user.com", NEW_PASSWORD).await;
    let named = server.change_me(&access, &json!({ "name": "Ada" })).await;
    assert_eq!(named.expect_status(200).header(BINDING), "");
}

#[tokio::test]
async fn a_page_accepts_a_code_only_in_the_browser_that_asked_for_it() {
    let server = Server::start().await;
    let (mut own, mut other) = (Browser::of(&server), Browser::of(&server));
    own.open("/register").await.expect_status(200);
    let filled = [("email", "first@user.com"), ("password", PASSWORD)];
    own.press("/register", &filled).await.expect_status(201);
    let code = server.letter("first@user.com", VERIFY, 1).await.code();
    let typed = [("email", "first@user.com"), ("code", &code)];
    // Another browser that asked for another mail has a value of its own, which does not fit this code.
    other.open("/forgot-password").await.expect_status(200);
    other.press("/forgot-password", &[("email", "nobody@user.com")]).await.expect_status(200);
    let proven = [typed[0], typed[1], ("current", PASSWORD)];
    let refused = other.press("/verify", &proven).await.expect_status(400);
    assert!(refused.body.contains("only in the browser that requested it"), "{}", refused.body);
    // A sign-in gives the browser another id, and its codes stay valid.
    own.sign_in("first@user.com", PASSWORD).await;
    own.open("/verify").await.expect_status(200);
    own.press("/verify", &typed).await.expect_status(200);

    own.open("/forgot-password").await.expect_status(200);
    own.press("/forgot-password", &[("email", "first@user.com")]).await.expect_status(200);
    let code = server.letter("first@user.com", RESET, 1).await.code();
    let typed = [("email", "first@user.com"), ("code", &*code), ("password", NEW_PASSWORD)];
    other.open("/reset-password").await.expect_status(200);
    other.press("/reset-password", &typed).await.expect_status(400);
    own.press("/reset-password", &typed).await.expect_status(200);

    own.sign_in("first@user.com", NEW_PASSWORD).await;
    own.open("/account").await.expect_status(200);
    let moved = [("act", "email"), ("email", "moved@user.com"), ("current", NEW_PASSWORD)];
    own.press_and_follow("/account", &moved).await;
    let code = server.letter("moved@user.com", VERIFY, 1).await.code();
    let typed = [("email", "moved@user.com"), ("code", &*code)];
    other.open("/verify").await.expect_status(200);
    let proven = [typed[0], typed[1], ("current", NEW_PASSWORD)];
    other.press("/verify", &proven).await.expect_status(400);
    own.open("/verify").await.expect_status(200);
    own.press("/verify", &typed).await.expect_status(200);
}

#[tokio::test]
async fn the_answer_has_a_value_for_the_client_whether_or_not_the_address_has_an_account() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    for path in ["/auth/request-verify-token", "/auth/forgot-password"] {
        let mut seen = Vec::new();
        for email in ["first@user.com", "nobody@user.com"] {
            let answer = server.post(path).json(&json!({ "email": email })).send().await;
            let kept = answer.expect_status(202).header(BINDING);
            let again = server.post(path).header(BINDING, &kept).json(&json!({ "email": email }));
            let again = again.send().await.expect_status(202);
            // A client that sends its value, in the header or in the cookie, gets the same value back.
            assert_eq!(again.header(BINDING), kept);
            let cookie =
                format!("tessera-code={kept}; Max-Age=3600; Path=/; SameSite=Lax; HttpOnly");
            assert_eq!(again.header("set-cookie"), cookie);
            let request = server.post(path).header("cookie", &format!("tessera-code={kept}"));
            let by_cookie = request.json(&json!({ "email": email })).send().await;
            assert_eq!(by_cookie.expect_status(202).header(BINDING), kept);
            assert!(kept.len() == 43 && kept.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(!seen.contains(&kept));
            seen.push(kept);
        }
        // A value that the server did not draw is replaced.
        let chosen = server.post(path).header(BINDING, "chosen by its caller");
        let answer = chosen.json(&json!({ "email": "first@user.com" })).send().await;
        assert_eq!(answer.expect_status(202).header(BINDING).len(), 43);
    }
    // The table has only digests of the values.
    let rows = server.database.column::<String>("select binding from confirmation").await;
    assert!(rows.iter().all(|row| row.len() == 64), "{rows:?}");
}

/// Otherwise a stranger who asks again and again could prevent the owner from using any mail.
#[tokio::test]
async fn a_request_of_a_stranger_ends_neither_the_owners_link_nor_the_owners_code() {
    let server = Server::start().await;
    let registered = json!({ "email": "first@user.com", "password": PASSWORD });
    let asked = json!({ "email": "first@user.com" });
    let kept = server.request_value("/auth/register", &registered).await;
    let verify = server.letter("first@user.com", VERIFY, 1).await;
    for turn in 0..3 {
        server.request_value("/auth/request-verify-token", &asked).await;
        server.letter("first@user.com", VERIFY, turn + 2).await;
    }
    let right = server.type_code(VERIFYING, &kept, "first@user.com", &verify.code()).await;
    right.expect_status(200);
    let others = "confirmation where purpose = 'verify'";
    assert_eq!(server.database.count(others).await, 1, "using one ends the others");

    let owners = server.reset_letter("first@user.com", 1).await;
    let strangers = server.reset_letter("first@user.com", 2).await;
    server.reset(&owners.token(), NEW_PASSWORD).await.expect_status(200);
    let late = server.reset(&strangers.token(), "yet another one of these").await;
    late.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
}

#[tokio::test]
async fn codes_cannot_be_guessed_and_the_link_still_works() {
    // Rate limits are off in tests, but the limits of codes are always on.
    let server = Server::start().await;
    let registered = json!({ "email": "first@user.com", "password": PASSWORD });
    server.request_value("/auth/register", &registered).await;
    let forgot = "/auth/forgot-password";
    let asked = json!({ "email": "first@user.com" });
    let nobodys = server.request_value(forgot, &json!({ "email": "nobody@user.com" })).await;
    // Each mail has five tries, and each account eleven. Then the right code is refused like a wrong one.
    let mut letters = Vec::new();
    for (turn, tries) in [(1, 5), (2, 5), (3, 1)] {
        let kept = server.request_value(forgot, &asked).await;
        let letter = server.letter("first@user.com", RESET, turn).await;
        for turn in 1..=tries {
            let code = wrong(&letter, turn);
            for (kept, email) in [(&kept, "first@user.com"), (&nobodys, "nobody@user.com")] {
                let refused = server.type_code(RESETTING, kept, email, &code).await;
                refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
            }
        }
        for email in ["FIRST@user.com", "nobody@user.com"] {
            let refused = server.type_code(RESETTING, &kept, email, &letter.code()).await;
            refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
        }
        letters.push(letter);
    }
    // It is also refused after an hour, a day, a restart, and with another mail.
    let counted = "update attempt set blocked_until = 0, expires_at = expires_at - 2505600000 \
                   where expires_at > 2505600000 and count > 5 and count < 20";
    server.database.execute(counted).await;
    let server = Server::setup().on(server.kill()).start().await;
    let kept = server.request_value(forgot, &asked).await;
    let letter = server.letter("first@user.com", RESET, 1).await;
    server
        .type_code(RESETTING, &kept, "first@user.com", &wrong(&letter, 1))
        .await
        .expect_status(400);
    let refused = server.type_code(RESETTING, &kept, "first@user.com", &letter.code()).await;
    refused.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
    // A user who uses the link has proved that the mail is theirs, so codes work again.
    server.reset(&letters[0].token(), NEW_PASSWORD).await.expect_status(200);
    let kept = server.request_value(forgot, &asked).await;
    let letter = server.letter("first@user.com", RESET, 2).await;
    let right = server.type_code(RESETTING, &kept, "first@user.com", &letter.code()).await;
    right.expect_status(200);
}

#[tokio::test]
async fn refused_passwords_do_not_use_up_a_right_code() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let kept =
        server.request_value("/auth/forgot-password", &json!({ "email": "first@user.com" })).await;
    let code = server.letter("first@user.com", RESET, 1).await.code();
    for _ in 0..13 {
        let body = json!({ "email": "first@user.com", "code": code, "password": "" });
        let refused = server.post(RESETTING).header(BINDING, &kept).json(&body).send().await;
        refused.expect_refusal(400, "RESET_PASSWORD_INVALID_PASSWORD");
    }
    server.type_code(RESETTING, &kept, "first@user.com", &code).await.expect_status(200);
}

#[tokio::test]
async fn parallel_codes_are_counted_before_they_are_checked() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let kept =
        server.request_value("/auth/forgot-password", &json!({ "email": "first@user.com" })).await;
    let letter = server.letter("first@user.com", RESET, 1).await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let guesses = (0..24).map(|turn| {
        let server = if turn % 2 == 0 { &server } else { &other };
        let (kept, letter) = (&kept, &letter);
        async move {
            let code = wrong(letter, turn + 1);
            let typed =
                |server: &Server| server.typing_code(RESETTING, kept, "first@user.com", &code);
            server.beside_others(typed).await
        }
    });
    let answers = join_all(guesses).await;
    assert!(answers.iter().all(|answer| answer.status == 400), "{answers:#?}");
    let tries = "select max(tries) from confirmation where purpose = 'reset-password'";
    assert_eq!(server.database.column::<i64>(tries).await, [5]);
    let right = server.type_code(RESETTING, &kept, "first@user.com", &letter.code()).await;
    right.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
}

/// The same is true of a known address if the client did not ask for its mail.
#[tokio::test]
async fn codes_for_unknown_addresses_leave_only_the_row_of_the_ip_address() {
    for limits in ["off", "on"] {
        let server = Server::setup().set("RATE_LIMIT", limits).start().await;
        server.register("first@user.com", PASSWORD).await.expect_status(201);
        server.letter("first@user.com", VERIFY, 1).await;
        let kept =
            server.request_value("/auth/forgot-password", &json!({ "email": "x@user.com" })).await;
        server.database.wait_until_no_job_is_left().await;
        let tables = ["attempt", "audit", "confirmation", "job"];
        let rows = async || {
            let counts = tables.map(|table| server.database.count(table));
            join_all(counts).await
        };
        let before = rows().await;
        for turn in 0..30 {
            let email = format!("nobody{turn}@user.com");
            for email in [&*email, "first@user.com"] {
                for path in [VERIFYING, RESETTING] {
                    let refused = server.type_code(path, &kept, email, "123456").await;
                    assert!([400, 429].contains(&refused.status), "{}", refused.body);
                }
            }
        }
        let after = rows().await;
        assert_eq!(after[1..], before[1..], "{limits}: {tables:?}");
        assert_eq!(after[0], before[0] + 1, "{limits}");
    }
}

/// Guesses of strangers, each with a mail of their own for the same account, do not count for the owner.
#[tokio::test]
async fn strangers_cannot_block_codes_where_the_account_was_used_before() {
    let setup = Server::setup().set("RATE_LIMIT", "on").set("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    let server = setup.start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let owners = ("x-forwarded-for", "192.0.2.1");
    let form = [("username", "first@user.com"), ("password", PASSWORD)];
    let signed_in = server.post("/auth/jwt/login").header(owners.0, owners.1).form(&form);
    signed_in.send().await.expect_status(200);
    let asked = json!({ "email": "first@user.com" });
    for turn in 1..=3 {
        let from = format!("203.0.113.{turn}");
        let answer = server.post("/auth/forgot-password").header("x-forwarded-for", &from);
        let kept = answer.json(&asked).send().await.expect_status(202).header(BINDING);
        let letter = server.letter("first@user.com", RESET, turn).await;
        for turn in 1..=5 {
            let body = json!({
                "email": "first@user.com", "code": wrong(&letter, turn), "password": NEW_PASSWORD
            });
            let guess = server.post(RESETTING).header("x-forwarded-for", &from);
            let guess = guess.header(BINDING, &kept).json(&body).send().await;
            guess.expect_refusal(400, "RESET_PASSWORD_BAD_TOKEN");
        }
    }
    let answer = server.post("/auth/forgot-password").header(owners.0, owners.1);
    let kept = answer.json(&asked).send().await.expect_status(202).header(BINDING);
    let code = server.letter("first@user.com", RESET, 4).await.code();
    let body = json!({ "email": "first@user.com", "code": code, "password": NEW_PASSWORD });
    let right = server.post(RESETTING).header(owners.0, owners.1).header(BINDING, &kept);
    right.json(&body).send().await.expect_status(200);
}

/// A superuser who has a mail sent is not the user who types its code.
#[tokio::test]
async fn a_mail_that_no_client_asked_for_has_a_link_and_no_code() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let page = format!("/admin/users/{}", person.id);
    browser.open(&page).await.expect_status(200);
    browser.press_and_follow(&page, &[("act", "reset-mail")]).await;
    let letter = server.letter(&person.email, RESET, 1).await;
    assert!(!letter.text.contains("the code ") && !letter.html.contains("the code "), "{letter:?}");
    assert!(letter.text.contains("You can use the link once, within 1 hour."), "{}", letter.text);
    server.reset(&letter.token(), NEW_PASSWORD).await.expect_status(200);
}
