//! Limits of mails: strangers cannot use up the mails that an owner needs.

use serde_json::json;

use crate::recovery::{CHANGED, NEW_PASSWORD, RESET, VERIFY};
use crate::support::{Answer, Browser, PASSWORD, Person, Server, Setup};

const OWNER: &str = "owner@user.com";
const OWNERS_PLACE: &str = "192.0.2.1";
const PASSWORD_CHANGED: &str = "password was changed";

fn setup() -> Setup {
    Server::setup().set("RATE_LIMIT", "on").set("TRUSTED_PROXIES", "127.0.0.0/8,::1")
}

impl Server {
    async fn ask_from(&self, from: &str, path: &str, email: &str) -> Answer {
        let body = json!({ "email": email });
        self.post(path).header("x-forwarded-for", from).json(&body).send().await
    }

    async fn register_from(&self, from: &str, email: &str) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD });
        let request = self.post("/auth/register").header("x-forwarded-for", from);
        request.json(&body).send().await
    }

    /// Registers a new user and signs them in, from an IP address.
    async fn person_at(&self, from: &str, email: &str) -> Person {
        let user = self.register_from(from, email).await.expect_status(201);
        let (access, refresh) = self.sign_in_from(from, email, PASSWORD).await;
        Person { id: user.text("id"), email: email.to_owned(), access, refresh }
    }

    async fn sign_in_from(&self, from: &str, email: &str, password: &str) -> (String, String) {
        let form = [("username", email), ("password", password)];
        let request = self.post("/auth/jwt/login").header("x-forwarded-for", from);
        let answer = request.form(&form).send().await.expect_status(200);
        (answer.text("access_token"), answer.text("refresh_token"))
    }

    async fn change_from(
        &self,
        from: &str,
        person: &Person,
        changes: &serde_json::Value,
    ) -> Answer {
        let request = self.patch("/users/me").header("x-forwarded-for", from);
        request.bearer(&person.access).json(changes).send().await
    }

    /// Waits until all mails are sent. Counts the mails to an address with this text in their subject.
    async fn mails(&self, to: &str, subject: &str) -> usize {
        self.database.wait_until_no_job_is_left().await;
        let letters = self.outbox().into_iter();
        letters.filter(|letter| letter.to == to && letter.subject.contains(subject)).count()
    }
}

#[tokio::test]
async fn strangers_cannot_use_up_the_mails_of_an_owner() {
    let server = setup().start().await;
    let owner = server.person_at(OWNERS_PLACE, OWNER).await;
    let thief = server.person_at("198.51.100.9", "thief@user.com").await;
    let mut browser = Browser::of(&server);
    for turn in 0..12 {
        // From one IP address and from many; with the address as its owner writes it, and in another case.
        let from = format!("203.0.113.{turn}");
        let spelled = if turn % 2 == 0 { OWNER } else { "OWNER@User.com" };
        for place in ["198.51.100.9", &from] {
            let taken = server.register_from(place, spelled).await;
            taken.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
            for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
                let asked = server.ask_from(place, path, spelled).await;
                assert!([202, 429].contains(&asked.status), "{}", asked.body);
                assert!(place == "198.51.100.9" || asked.status == 202, "{}", asked.body);
            }
        }
        let taken = server.change_from(&from, &thief, &json!({ "email": spelled })).await;
        assert!([400, 429].contains(&taken.status), "{}", taken.body);
        // On the pages, which the tests open from one more IP address.
        browser.open("/register").await.expect_status(200);
        let filled = [("email", spelled), ("password", PASSWORD)];
        browser.press("/register", &filled).await.expect_status(400);
        browser.press("/forgot-password", &[("email", spelled)]).await;
    }
    // At an IP address that the account was used from, the owner gets mails, whatever strangers asked for.
    let resets = server.mails(OWNER, RESET).await;
    let verifications = server.mails(OWNER, VERIFY).await;
    let asked = server.ask_from(OWNERS_PLACE, "/auth/forgot-password", OWNER).await;
    asked.expect_status(202);
    let asked = server.ask_from(OWNERS_PLACE, "/auth/request-verify-token", OWNER).await;
    asked.expect_status(202);
    assert_eq!(server.mails(OWNER, RESET).await, resets + 1);
    assert_eq!(server.mails(OWNER, VERIFY).await, verifications + 1);
    // Elsewhere the owner is not refused either, and has the mails that were sent before.
    let asked = server.ask_from("192.0.2.77", "/auth/forgot-password", OWNER).await;
    asked.expect_status(202);
    // The owner can change the address, and both addresses get a mail.
    let moved = server.change_from(OWNERS_PLACE, &owner, &json!({ "email": "new@user.com" })).await;
    moved.expect_status(200);
    server.letter("new@user.com", VERIFY, 1).await;
    server.letter(OWNER, CHANGED, 1).await;
}

/// No account has the address, but somebody in the world reads its mail.
#[tokio::test]
async fn requests_for_an_unknown_address_do_not_use_up_the_mail_of_its_registration() {
    let server = setup().start().await;
    for turn in 0..12 {
        let from = format!("203.0.113.{turn}");
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            server.ask_from(&from, path, OWNER).await.expect_status(202);
        }
    }
    assert_eq!(server.mails(OWNER, "").await, 0);
    server.person_at(OWNERS_PLACE, OWNER).await;
    assert_eq!(server.mails(OWNER, VERIFY).await, 1);
}

#[tokio::test]
async fn mails_to_one_address_are_limited_for_each_purpose_over_all_ip_addresses() {
    let server = setup().start().await;
    server.person_at(OWNERS_PLACE, OWNER).await;
    for turn in 0..40 {
        let from = format!("203.0.113.{turn}");
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            // Status and body are the same for an address without an account.
            for email in [OWNER, "nobody@user.com"] {
                let asked = server.ask_from(&from, path, email).await;
                assert_eq!(asked.expect_status(202).body, "null");
            }
        }
    }
    assert_eq!(server.mails(OWNER, RESET).await, 11);
    // One more from the registration, which has a limit of its own.
    assert_eq!(server.mails(OWNER, VERIFY).await, 12);
    // An address without an account gets no mail.
    assert_eq!(server.mails("nobody@user.com", "").await, 0);
}

#[tokio::test]
async fn registering_and_deleting_an_address_repeatedly_does_not_fill_its_mailbox() {
    let server = setup().start().await;
    for turn in 0..14 {
        let from = format!("203.0.113.{turn}");
        let person = server.person_at(&from, OWNER).await;
        // A mail that still waits ends with the account.
        server.database.wait_until_no_job_is_left().await;
        let request = server.request("DELETE", "/users/me").header("x-forwarded-for", &from);
        request.bearer(&person.access).send().await.expect_status(204);
        server.database.wait_until_no_job_is_left().await;
    }
    assert_eq!(server.mails(OWNER, VERIFY).await, 11);
    // The owner asks for a mail, which has another limit.
    server.person_at(OWNERS_PLACE, OWNER).await;
    server.ask_from(OWNERS_PLACE, "/auth/request-verify-token", OWNER).await.expect_status(202);
    assert_eq!(server.mails(OWNER, VERIFY).await, 12);
}

/// A thief with the password, and strangers before them, ask for every kind of mail. The owner still gets the notice.
#[tokio::test]
async fn a_thief_cannot_suppress_the_mail_about_a_new_password() {
    let server = setup().start().await;
    let owner = server.person_at(OWNERS_PLACE, OWNER).await;
    for turn in 0..15 {
        let from = format!("203.0.113.{turn}");
        server.register_from(&from, OWNER).await.expect_status(400);
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            server.ask_from(&from, path, OWNER).await.expect_status(202);
        }
    }
    // The thief also makes changes that fail, from the same session.
    for _ in 0..8 {
        let taken = json!({ "email": "taken@user.com" });
        server.register_from("198.51.100.1", "taken@user.com").await;
        server.change_from("198.51.100.1", &owner, &taken).await;
    }
    let change = json!({ "password": NEW_PASSWORD });
    server.change_from("198.51.100.1", &owner, &change).await.expect_status(200);
    server.letter(OWNER, PASSWORD_CHANGED, 1).await;
    let (access, refresh) = server.sign_in_from("198.51.100.2", OWNER, NEW_PASSWORD).await;
    let thief = Person { access, refresh, ..owner };
    // The owner gets a mail for each change that the allowance permits.
    let (mut access, mut changed) = (thief.access.clone(), 1);
    for turn in 0..14 {
        let password = format!("{NEW_PASSWORD} {turn}");
        let thief = Person { access: access.clone(), ..thief.clone() };
        let change = json!({ "password": password });
        let answer = server.change_from("198.51.100.2", &thief, &change).await;
        if answer.status == 429 {
            break;
        }
        answer.expect_status(200);
        changed += 1;
        access = server.sign_in_from("198.51.100.2", OWNER, &password).await.0;
    }
    assert!(changed > 5, "{changed}");
    assert_eq!(server.mails(OWNER, PASSWORD_CHANGED).await, changed.min(11));
}

#[tokio::test]
async fn an_account_can_ask_only_six_times_whether_an_address_is_taken() {
    let server = setup().start().await;
    server.person_at(OWNERS_PLACE, OWNER).await;
    let prober = server.person_at("198.51.100.1", "prober@user.com").await;
    let other = server.person_at("198.51.100.2", "other@user.com").await;
    let mut told = 0;
    for turn in 0..12 {
        // From many IP addresses: the account is counted.
        let from = format!("203.0.113.{turn}");
        let answer = server.change_from(&from, &prober, &json!({ "email": OWNER })).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() > 60);
            answer.expect_refusal(429, "TOO_MANY_ATTEMPTS");
        } else {
            answer.expect_refusal(400, "UPDATE_USER_EMAIL_ALREADY_EXISTS");
            told += 1;
        }
    }
    assert_eq!(told, 6);
    // A free address is refused too. The user's own address, and a name, do not count.
    let free = json!({ "email": "free@user.com" });
    server.change_from("203.0.113.99", &prober, &free).await.expect_status(429);
    let same = json!({ "email": prober.email, "name": "Ada" });
    server.change_from("203.0.113.99", &prober, &same).await.expect_status(200);
    // Another user does not have to wait.
    server.change_from("203.0.113.1", &other, &free).await.expect_status(200);
    // Many accounts at one IP address are counted together.
    let mut told = 0;
    for turn in 0..7 {
        let email = format!("many{turn}@user.com");
        let many = server.person_at("198.51.100.3", &email).await;
        for _ in 0..6 {
            let answer =
                server.change_from("198.51.100.3", &many, &json!({ "email": OWNER })).await;
            told += usize::from(answer.status == 400);
        }
    }
    assert_eq!(told, 31);
}

/// Tessera counts before it looks the address up, so parallel requests are no way around the limit.
#[tokio::test]
async fn parallel_requests_for_a_taken_address_are_counted_before_they_are_answered() {
    let server = setup().start().await;
    let prober = server.person_at("198.51.100.1", "prober@user.com").await;
    server.person_at(OWNERS_PLACE, OWNER).await;
    let body = json!({ "email": OWNER });
    let asked = (0..30).map(|_| server.change_from("198.51.100.1", &prober, &body));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().filter(|answer| answer.status == 400).count() <= 6);
    assert!(answers.iter().all(|answer| [400, 429].contains(&answer.status)));
}

#[tokio::test]
async fn a_new_address_that_got_too_many_mails_is_refused_with_the_time_to_wait() {
    let server = setup().set("REQUIRE_VERIFICATION", "true").start().await;
    let new = json!({ "email": "new@user.com" });
    let mut refused = None;
    for turn in 0..12 {
        let (from, email) = (format!("203.0.113.{turn}"), format!("many{turn}@user.com"));
        let user = server.register_from(&from, &email).await.expect_status(201);
        server.database.execute("update \"user\" set is_verified = true").await;
        let (access, refresh) = server.sign_in_from(&from, &email, PASSWORD).await;
        let person = Person { id: user.text("id"), email, access, refresh };
        let answer = server.change_from(&from, &person, &new).await;
        if turn < 11 {
            answer.expect_status(200);
        } else {
            refused = Some(answer.expect_refusal(429, "TOO_MANY_ATTEMPTS"));
        }
    }
    assert!(refused.unwrap().header("retry-after").parse::<u64>().unwrap() > 0);
}
