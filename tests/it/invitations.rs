//! Invitations: creating and inviting users, and what an invitation must not become.

use std::time::Duration;

use serde_json::{Value, json};

use crate::hijack::Held;
use crate::recovery::NEW_PASSWORD;
use crate::support::{Answer, Browser, PASSWORD, Person, Server, eventually};

const INVITED: &str = "Invitation to Tessera";
const WEEK: Duration = Duration::from_secs(7 * 86_400);

impl Server {
    /// Sends `POST /users`.
    pub(crate) async fn create_user(&self, token: &str, body: &Value) -> Answer {
        self.post("/users").bearer(token).json(body).send().await
    }

    /// Invites an address. Returns the answer and the token of the mail.
    async fn invite(&self, token: &str, body: &Value) -> (Answer, String) {
        let invited = self.create_user(token, body).await.expect_status(202);
        let email = body["email"].as_str().unwrap();
        let letter = self.letter(email, INVITED, 1).await;
        (invited, letter.token())
    }

    pub(crate) async fn accept(&self, token: &str, password: &str) -> Answer {
        let body = json!({ "token": token, "password": password });
        self.post("/auth/accept-invitation").json(&body).send().await
    }

    async fn invitations(&self, token: &str) -> Vec<Value> {
        let list = self.get("/admin/invitations").bearer(token).send().await.expect_status(200);
        list.json["items"].as_array().unwrap().clone()
    }

    async fn state_of(&self, token: &str, email: &str) -> String {
        let listed = self.invitations(token).await;
        let found = listed.iter().find(|item| item["email"] == email);
        found.map_or_else(String::new, |item| item["state"].as_str().unwrap().to_owned())
    }

    async fn resend(&self, token: &str, id: &str) -> Answer {
        self.post(&format!("/admin/invitations/{id}/resend")).bearer(token).send().await
    }

    async fn withdraw(&self, token: &str, id: &str) -> Answer {
        self.request("DELETE", &format!("/admin/invitations/{id}")).bearer(token).send().await
    }
}

#[tokio::test]
async fn a_superuser_creates_a_user_with_a_password() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for (body, expected) in [
        (
            json!({ "email": "plain@user.com" }),
            json!({ "is_active": true, "is_superuser": false, "is_verified": true }),
        ),
        (
            json!({ "email": "full@user.com", "name": "Ada", "surname": "L", "website": "https://a.example/",
                    "scopes": ["authenticated", "reports"], "is_superuser": true, "is_active": false,
                    "id": "56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2" }),
            json!({ "name": "Ada", "surname": "L", "website": "https://a.example/", "is_active": true,
                    "is_superuser": true, "scopes": ["authenticated", "reports"] }),
        ),
        (
            json!({ "email": "unproved@user.com", "is_verified": false }),
            json!({ "is_verified": false }),
        ),
    ] {
        let mut body = body;
        body["password"] = PASSWORD.into();
        let made = server.create_user(&root.access, &body).await.expect_status(201);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&made.json[name], value, "{body}: {name}");
        }
        assert_ne!(made.text("id"), "56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2");
        server.sign_in(body["email"].as_str().unwrap(), PASSWORD).await;
    }
    server.letter("unproved@user.com", crate::recovery::VERIFY, 1).await;
    for (body, status, code) in [
        (
            json!({ "email": "PLAIN@user.com", "password": PASSWORD }),
            400,
            "REGISTER_USER_ALREADY_EXISTS",
        ),
        (json!({ "email": "PLAIN@user.com" }), 400, "REGISTER_USER_ALREADY_EXISTS"),
        (json!({ "email": "a@user.com", "password": "" }), 400, "REGISTER_INVALID_PASSWORD"),
        (json!({ "email": "a@user.com", "scopes": ["super"] }), 422, ""),
        (json!({ "email": "a@user.com", "password": PASSWORD, "scopes": ["super"] }), 422, ""),
        (json!({ "email": "a@user.com", "password": 7 }), 422, ""),
        (json!({ "email": "nothing" }), 422, ""),
        (json!({}), 422, ""),
    ] {
        let refused = server.create_user(&root.access, &body).await.expect_status(status);
        assert!(code.is_empty() || refused.code() == code, "{body}: {}", refused.body);
    }
    assert!(server.invitations(&root.access).await.is_empty());
}

#[tokio::test]
async fn an_invited_person_opens_the_link_chooses_a_password_and_is_signed_in() {
    let server = Server::setup().set("REGISTRATION", "invite").start().await;
    server.operate(&["user", "create", "--superuser", "root@user.com"], PASSWORD);
    let (root, _) = server.sign_in("root@user.com", PASSWORD).await;
    // Nobody else can register, and both the operation and the page say why.
    server
        .register("stranger@user.com", PASSWORD)
        .await
        .expect_refusal(403, "REGISTRATION_BY_INVITATION");
    let mut browser = Browser::of(&server);
    let page = browser.open("/register").await.expect_status(403);
    assert!(page.body.contains("Only invited people can register here"), "{}", page.body);

    let body = json!({ "email": "New.Person@user.com", "name": "Ada", "scopes": ["authenticated", "reports"] });
    let (invited, token) = server.invite(&root, &body).await;
    assert_eq!(invited.text("state"), "pending");
    assert_eq!(invited.text("invited_by"), "root@user.com");
    assert!(!invited.body.contains(&token));
    let letter = server.letter("New.Person@user.com", INVITED, 1).await;
    assert!(letter.text.contains("root@user.com invites you to Tessera"), "{}", letter.text);
    assert!(letter.text.contains("within 7 days"), "{}", letter.text);
    // There is no account yet: neither a password nor a mail makes one.
    server.login("new.person@user.com", PASSWORD).await.expect_status(400);
    let asked = json!({ "email": "new.person@user.com" });
    server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
    server.database.wait_until_no_job_is_left().await;
    assert_eq!(server.outbox().iter().filter(|letter| letter.to.contains("ew.")).count(), 1);

    // Programs that scan mail open the link, which changes nothing.
    for _ in 0..2 {
        let page = browser.open(&letter.path()).await.expect_status(200);
        assert!(page.body.contains("New.Person@user.com") && page.body.contains("Ada"));
    }
    // A password that breaks a rule does not spend the link, and the page keeps what was typed.
    let weak = [("token", &*token), ("name", "Augusta"), ("surname", ""), ("password", "")];
    let refused = browser.press("/accept-invitation", &weak).await.expect_status(400);
    assert!(refused.body.contains("Augusta"), "{}", refused.body);
    let good = [
        ("token", &*token),
        ("name", "Augusta"),
        ("surname", "K"),
        ("password", NEW_PASSWORD),
        ("is_superuser", "true"),
        ("email", "root@user.com"),
        ("scopes", "super"),
    ];
    let done = browser.press_and_follow("/accept-invitation", &good).await.expect_status(200);
    assert!(done.body.contains("Your account is ready"), "{}", done.body);
    browser.open("/account").await.expect_status(200);
    let (access, _) = server.sign_in("new.person@user.com", NEW_PASSWORD).await;
    let me = server.me(&access).await;
    assert_eq!(me.json["scopes"], json!(["authenticated", "reports"]));
    assert_eq!((me.text("name"), me.text("surname")), ("Augusta".to_owned(), "K".to_owned()));
    assert_eq!((&me.json["is_verified"], &me.json["is_superuser"]), (&json!(true), &json!(false)));

    // The link worked once.
    let again = browser.press("/accept-invitation", &good).await.expect_status(400);
    assert!(again.body.contains("no longer works"), "{}", again.body);
    browser.open(&letter.path()).await.expect_status(400);
    server.accept(&token, PASSWORD).await.expect_refusal(400, "INVITATION_BAD_TOKEN");
    assert!(server.invitations(&root).await.is_empty());
}

/// A case: what happens to an invitation before its link is used, and the code with which the link is refused.
type Case = (&'static str, &'static str);

const BAD: &str = "INVITATION_BAD_TOKEN";
const TAKEN: &str = "REGISTER_USER_ALREADY_EXISTS";

/// The cases that move the clock are the last ones.
const CASES: [Case; 12] = [
    ("nothing", ""),
    ("it is withdrawn", BAD),
    ("it is sent again", BAD),
    ("the inviter is demoted", BAD),
    ("the inviter is deactivated", BAD),
    ("the inviter is deleted", BAD),
    ("the inviter is demoted and promoted", ""),
    ("a superuser creates the user", BAD),
    ("the person registers and verifies", TAKEN),
    ("the person is deactivated", TAKEN),
    ("almost a week passes", ""),
    ("a week passes", BAD),
];

async fn happen(server: &Server, what: &str, root: &Person, boss: &Person, id: &str, email: &str) {
    let change = async |body: Value| {
        let path = format!("/users/{}", boss.id);
        server.patch(&path).bearer(&root.access).json(&body).send().await.expect_status(200);
    };
    match what {
        "nothing" => {}
        "it is withdrawn" => drop(server.withdraw(&root.access, id).await.expect_status(204)),
        "it is sent again" => drop(server.resend(&root.access, id).await.expect_status(200)),
        "the inviter is demoted" => change(json!({ "is_superuser": false })).await,
        "the inviter is deactivated" => change(json!({ "is_active": false })).await,
        "the inviter is deleted" => {
            let path = format!("/users/{}", boss.id);
            let gone = server.request("DELETE", &path).bearer(&root.access).send().await;
            gone.expect_status(204);
        }
        "the inviter is demoted and promoted" => {
            change(json!({ "is_superuser": false })).await;
            change(json!({ "is_superuser": true })).await;
        }
        "a superuser creates the user" => {
            let body = json!({ "email": email.to_uppercase(), "password": PASSWORD });
            server.create_user(&root.access, &body).await.expect_status(201);
        }
        "the person registers and verifies" | "the person is deactivated" => {
            server.register(email, PASSWORD).await.expect_status(201);
            let column =
                if what.contains("verifies") { "is_verified = true" } else { "is_active = false" };
            let sql = format!("update \"user\" set {column} where email = '{email}'");
            server.database.execute(&sql).await;
        }
        "almost a week passes" => server.advance(WEEK - Duration::from_secs(60)).await,
        "a week passes" => server.advance(WEEK).await,
        what => panic!("unknown: {what}"),
    }
}

#[tokio::test]
async fn a_link_works_only_while_its_invitation_stands() {
    let server = Server::start().await;
    let mut root = server.superuser("root").await;
    for (number, (what, refusal)) in CASES.into_iter().enumerate() {
        let boss = server.superuser(&format!("boss{number}")).await;
        (root.access, root.refresh) = server.sign_in(&root.email, PASSWORD).await;
        let email = format!("invited{number}@user.com");
        let (invited, token) = server.invite(&boss.access, &json!({ "email": email })).await;
        happen(&server, what, &root, &boss, &invited.text("id"), &email).await;
        let page = Browser::of(&server).open(&format!("/accept-invitation?token={token}")).await;
        let accepted = server.accept(&token, NEW_PASSWORD).await;
        let login = server.login(&email, NEW_PASSWORD).await;
        let right = if refusal.is_empty() { (200, 201, 200) } else { (400, 400, 400) };
        let seen = (page.status, accepted.status, login.status);
        assert_eq!(seen, right, "{what}: {} {}", page.body, accepted.body);
        assert!(refusal.is_empty() || accepted.code() == refusal, "{what}: {}", accepted.body);
    }
}

#[tokio::test]
async fn invitations_are_listed_sent_again_and_withdrawn() {
    let server = Server::start().await;
    let (root, boss) = (server.superuser("root").await, server.superuser("boss").await);
    let (one, first) = server.invite(&boss.access, &json!({ "email": "One@user.com" })).await;
    let again = server.create_user(&root.access, &json!({ "email": "one@USER.com" })).await;
    again.expect_refusal(409, "INVITATION_ALREADY_EXISTS");
    let (two, _) = server.invite(&root.access, &json!({ "email": "two@user.com" })).await;
    let page = server.get("/admin/invitations?limit=1").bearer(&root.access).send().await;
    let page = page.expect_status(200);
    assert_eq!(
        (page.text("next"), &page.json["items"][0]["email"]),
        ("One@user.com".into(), &json!("One@user.com"))
    );
    let rest =
        server.get("/admin/invitations?after=One@user.com").bearer(&root.access).send().await;
    assert_eq!(
        (&rest.json["items"][0]["id"], &rest.json["next"]),
        (&json!(two.text("id")), &Value::Null)
    );

    // The inviter loses their rights. Another superuser sends the invitation again and answers for it.
    let demote = json!({ "is_superuser": false });
    let path = format!("/users/{}", boss.id);
    server.patch(&path).bearer(&root.access).json(&demote).send().await.expect_status(200);
    assert_eq!(server.state_of(&root.access, "One@user.com").await, "inviter-left");
    let sent = server.resend(&root.access, &one.text("id")).await.expect_status(200);
    assert_eq!(
        (sent.text("state"), sent.text("invited_by")),
        ("pending".into(), root.email.clone())
    );
    let second = server.letter("One@user.com", INVITED, 2).await.token();
    assert_ne!(first, second);
    server.accept(&first, PASSWORD).await.expect_refusal(400, "INVITATION_BAD_TOKEN");

    server.withdraw(&root.access, &two.text("id")).await.expect_status(204);
    server.withdraw(&root.access, &two.text("id")).await.expect_refusal(404, "Not Found");
    server.resend(&root.access, &two.text("id")).await.expect_refusal(404, "Not Found");
    server.resend(&root.access, "nonsense").await.expect_refusal(404, "Not Found");
    server.create_user(&root.access, &json!({ "email": "two@user.com" })).await.expect_status(202);

    // An expired invitation is listed, and is replaced by a new one of the same address.
    server.advance(WEEK).await;
    let (access, _) = server.sign_in(&root.email, PASSWORD).await;
    assert_eq!(server.state_of(&access, "two@user.com").await, "expired");
    server.create_user(&access, &json!({ "email": "two@user.com" })).await.expect_status(202);
    server.resend(&access, &one.text("id")).await.expect_status(200);
    let third = server.letter("One@user.com", INVITED, 3).await.token();
    server.accept(&third, PASSWORD).await.expect_status(201);
    let acts = server.database.column::<String>("select act from audit where act like 'invite%'");
    eventually("everything is in the audit", async || {
        server.database.count("audit_pending").await == 0
    })
    .await;
    let acts = acts.await;
    let count = |name: &str| acts.iter().filter(|act| *act == name).count();
    let counts = ["invite", "invite-again", "invite-withdraw", "invite-accept"].map(count);
    assert_eq!(counts, [4, 2, 1, 1]);
}

#[tokio::test]
async fn only_superusers_with_a_fresh_password_invite_and_an_api_token_does_too() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let body = json!({ "email": "new@user.com", "is_superuser": true });
    let secret =
        server.api_token(&root.access, &json!({ "scopes": ["authenticated", "super"] })).await;
    let weak = server.api_token(&root.access, &json!({ "scopes": ["authenticated"] })).await;
    server.create_user(&person.access, &body).await.expect_refusal(403, "Forbidden");
    server.create_user(&weak, &body).await.expect_refusal(403, "INSUFFICIENT_SCOPE");
    let refreshed = server.refresh(&root.refresh).await.expect_status(200).text("access_token");
    for body in [&body, &json!({ "email": "new@user.com", "password": PASSWORD })] {
        let refused = server.create_user(&refreshed, body).await;
        refused.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
    }
    let (invited, token) = server.invite(&secret, &body).await;
    assert_eq!(invited.text("invited_by"), root.email);
    for refused in [
        server.resend(&refreshed, &invited.text("id")).await,
        server.withdraw(&refreshed, &invited.text("id")).await,
    ] {
        refused.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
    }
    server.accept(&token, NEW_PASSWORD).await.expect_status(201);
    // Every superuser hears of a new one.
    let notice = server.letter(&root.email, "A superuser was added", 1).await;
    assert!(notice.text.contains("new@user.com") && notice.text.contains("root@user.com"));
    let (access, _) = server.sign_in("new@user.com", NEW_PASSWORD).await;
    server.get("/users").bearer(&access).send().await.expect_status(200);
}

#[tokio::test]
async fn an_account_that_somebody_else_registered_belongs_to_the_invited_person() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for (number, before) in [true, false].into_iter().enumerate() {
        let email = format!("victim{number}@user.com");
        let body = json!({ "email": email, "scopes": ["authenticated", "reports"] });
        let squat =
            async || Held::by(&server, server.person(&format!("victim{number}")).await).await;
        let mut held = None;
        if before {
            held = Some(squat().await);
        }
        let (_, token) = server.invite(&root.access, &body).await;
        let mut held = match held {
            Some(held) => held,
            None => squat().await,
        };
        // The thief gains nothing before the person accepts.
        assert_eq!(server.me(&held.person.access).await.json["scopes"], Value::Null);
        let mut browser = Browser::of(&server);
        let page = browser.open(&format!("/accept-invitation?token={token}")).await;
        assert!(page.expect_status(200).body.contains("If you accept, the account is yours"));
        server.accept(&token, NEW_PASSWORD).await.expect_status(201);
        server.wait_until_refused(&held.person.access).await;
        for (what, answer) in held.use_everything(&server).await {
            assert!([401, 303].contains(&answer.status), "{what}: {}", answer.body);
        }
        server.login(&email, PASSWORD).await.expect_status(400);
        let (access, _) = server.sign_in(&email, NEW_PASSWORD).await;
        let me = server.me(&access).await;
        assert_eq!(me.json["scopes"], json!(["authenticated", "reports"]));
        assert_eq!(me.json["is_verified"], true);
    }
}

#[tokio::test]
async fn only_one_of_many_who_use_a_link_at_once_makes_the_account() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let (_, token) = server.invite(&root.access, &json!({ "email": "new@user.com" })).await;
    let uses = (0..6).map(|number| {
        let body = json!({ "token": token, "password": format!("correct horse {number} battery") });
        server.post("/auth/accept-invitation").json(&body).send()
    });
    let answers = futures_util::future::join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(server.database.count("\"user\" where email = 'new@user.com'").await, 1);
}

#[tokio::test]
async fn nobody_floods_mailboxes_with_invitations() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let (root, other) = (server.superuser("root").await, server.superuser("other").await);
    // One address, by all superusers together.
    let one = server.create_user(&root.access, &json!({ "email": "one@user.com" })).await;
    let id = one.expect_status(202).text("id");
    let mut sent = 1;
    while sent < 50 && server.resend(&root.access, &id).await.status == 200 {
        sent += 1;
    }
    assert!((8..15).contains(&sent), "{sent}");
    server.resend(&other.access, &id).await.expect_refusal(429, "TOO_MANY_ATTEMPTS");
    // One account, to all addresses together.
    let mut invited = 0;
    while invited < 200 {
        let body = json!({ "email": format!("p{invited}@user.com") });
        if server.create_user(&root.access, &body).await.status != 202 {
            break;
        }
        invited += 1;
    }
    assert!((80..101).contains(&invited), "{invited}");
    server.create_user(&other.access, &json!({ "email": "x@user.com" })).await.expect_status(202);
    // Creating users is not inviting.
    let body = json!({ "email": "with@user.com", "password": PASSWORD });
    server.create_user(&root.access, &body).await.expect_status(201);
}

#[tokio::test]
async fn a_server_that_sends_no_mail_creates_users_but_invites_nobody() {
    let server = Server::setup().production().start().await;
    server.operate(&["user", "create", "--superuser", "root@user.com"], PASSWORD);
    let (access, _) = server.sign_in("root@user.com", PASSWORD).await;
    let refused = server.create_user(&access, &json!({ "email": "new@user.com" })).await;
    let refused = refused.expect_status(422);
    assert!(refused.body.contains("MAIL_URL"), "{}", refused.body);
    let body = json!({ "email": "new@user.com", "password": NEW_PASSWORD });
    server.create_user(&access, &body).await.expect_status(201);
}

#[tokio::test]
async fn an_operator_invites_at_the_terminal() {
    let server = Server::setup().set("REGISTRATION", "closed").start().await;
    let invite =
        ["user", "invite", "new@user.com", "--scope", "authenticated,reports", "--name", "Ada"];
    let told = server.operate(&invite, "");
    assert!(told.contains("new@user.com is invited"), "{told}");
    let letter = server.letter("new@user.com", INVITED, 1).await;
    assert!(letter.text.starts_with("You are invited to Tessera"), "{}", letter.text);
    server.operate(&["user", "invite", "new@user.com", "--again"], "");
    let letter = server.letter("new@user.com", INVITED, 2).await;
    let list = server.operate(&["user", "invitations"], "");
    assert!(list.contains("new@user.com") && list.contains("operator"), "{list}");
    let user = server.accept(&letter.token(), NEW_PASSWORD).await.expect_status(201);
    assert_eq!(
        (user.text("name"), &user.json["scopes"]),
        ("Ada".into(), &json!(["authenticated", "reports"]))
    );
    server.operate(&["user", "invite", "other@user.com"], "");
    let told = server.operate(&["user", "withdraw", "other@user.com"], "");
    assert!(told.contains("withdrawn"), "{told}");
    assert!(!server.operate(&["user", "invitations"], "").contains("other"));
}

#[tokio::test]
async fn superusers_invite_and_create_users_on_the_page() {
    let server = Server::start().await;
    server.superuser("root").await;
    server.database.execute("update \"user\" set is_verified = true").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("root@user.com", PASSWORD).await;
    let page = "/admin/users";
    browser.open(page).await.expect_status(200);
    let invite = [("act", "invite"), ("email", "new@user.com"), ("name", "Ada"), ("scopes", "")];
    let done = browser.press_and_follow(page, &invite).await.expect_status(200);
    assert!(done.body.contains("The invitation is on its way"), "{}", done.body);
    assert!(done.body.contains("sent <time"), "{}", done.body);
    let id = server.database.column::<String>("select id from invitation").await.remove(0);
    for (fields, words) in [
        (vec![("act", "invite"), ("email", "NEW@user.com")], "already has an invitation"),
        (vec![("act", "invite"), ("email", "root@user.com")], "already an account"),
        (vec![("act", "invite"), ("email", "nothing")], "Enter a valid e-mail address"),
        (vec![("act", "invite"), ("email", "b@user.com"), ("scopes", "super")], "super"),
        (vec![("act", "invite"), ("email", "b@user.com"), ("scopes", "a,b")], "Scopes"),
        (
            vec![("act", "create-user"), ("email", "b@user.com"), ("password", "x")],
            "Also enter your password",
        ),
        (
            vec![("act", "create-user"), ("email", "b@user.com"), ("current", PASSWORD)],
            "at least one character",
        ),
        (vec![("act", "resend-invitation"), ("id", "nothing")], "does not exist"),
    ] {
        let refused = browser.press(page, &fields).await;
        assert!((400..500).contains(&refused.status), "{fields:?}: {}", refused.status);
        assert!(refused.body.contains(words), "{fields:?}: {}", refused.body);
    }
    let again = [("act", "resend-invitation"), ("id", &*id), ("email", "new@user.com")];
    browser.press_and_follow(page, &again).await.expect_status(200);
    let token = server.letter("new@user.com", INVITED, 2).await.token();
    let withdraw = [("act", "withdraw-invitation"), ("id", &*id)];
    let done = browser.press_and_follow(page, &withdraw).await.expect_status(200);
    assert!(done.body.contains("The invitation is withdrawn"), "{}", done.body);
    server.accept(&token, PASSWORD).await.expect_refusal(400, "INVITATION_BAD_TOKEN");
    let create = [
        ("act", "create-user"),
        ("email", "made@user.com"),
        ("surname", "King"),
        ("password", NEW_PASSWORD),
        ("current", PASSWORD),
        ("scopes", "authenticated reports"),
    ];
    let done = browser.press_and_follow(page, &create).await.expect_status(200);
    assert!(done.body.contains("The user is created"), "{}", done.body);
    let (access, _) = server.sign_in("made@user.com", NEW_PASSWORD).await;
    let me = server.me(&access).await;
    assert_eq!(me.text("surname"), "King");
    // Superusers change the name and the address. Values that the form showed stay as they are.
    let own = format!("/admin/users/{}", me.text("id"));
    let change = [
        ("act", "profile"),
        ("was_email", "made@user.com"),
        ("email", "moved@user.com"),
        ("was_name", ""),
        ("name", "Grace"),
        ("was_surname", "King"),
        ("surname", "King"),
        ("website", ""),
        ("was_website", ""),
    ];
    browser.open(&own).await.expect_status(200);
    browser.press_and_follow(&own, &change).await.expect_status(200);
    let me = server.me(&access).await;
    assert_eq!((me.text("name"), me.text("email")), ("Grace".into(), "moved@user.com".into()));
    assert_eq!(me.json["is_verified"], false);
    server.letter("made@user.com", crate::recovery::CHANGED, 1).await;
    server.letter("moved@user.com", crate::recovery::VERIFY, 1).await;
}

#[tokio::test]
async fn the_list_of_users_has_dates_and_its_table_has_no_formulas() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for (email, name) in [("=cmd@user.com", "=1+1"), ("plain@user.com", "King, \"Ada\"")] {
        let body = json!({ "email": email, "name": name, "password": PASSWORD });
        server.create_user(&root.access, &body).await.expect_status(201);
    }
    let list = server.get("/users?q=user.com").bearer(&root.access).send().await.expect_status(200);
    let of = |email: &str| {
        let items = list.json["items"].as_array().unwrap();
        items.iter().find(|item| item["email"] == email).unwrap().clone()
    };
    assert!(
        of("root@user.com")["created"].is_u64() && of("root@user.com")["last_sign_in"].is_u64()
    );
    assert!(of("plain@user.com")["created"].is_u64());
    assert_eq!(of("plain@user.com")["last_sign_in"], Value::Null);

    let table = server.post("/users/export?is_superuser=false").bearer(&root.access).send().await;
    let table = table.expect_status(200);
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<_> = table.body.split("\r\n").collect();
    assert!(lines[0].starts_with("id,email,name"), "{}", lines[0]);
    assert!(lines[1].contains(",'=cmd@user.com,'=1+1,"), "{}", lines[1]);
    assert!(lines[2].contains(",plain@user.com,\"King, \"\"Ada\"\"\","), "{}", lines[2]);
    assert_eq!(lines.len(), 4);
    let refreshed = server.refresh(&root.refresh).await.expect_status(200).text("access_token");
    let refused = server.post("/users/export").bearer(&refreshed).send().await;
    refused.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    browser.open("/admin/users").await.expect_status(200);
    let form = [("act", "export-users"), ("q", "plain"), ("state", "")];
    let table = browser.press("/admin/users", &form).await.expect_status(200);
    assert!(table.body.contains("plain@user.com") && !table.body.contains("cmd"), "{}", table.body);
    let exports = server.get("/admin/audit?act=users-export").bearer(&root.access).send().await;
    assert_eq!(exports.json["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_terminal_says_how_to_create_the_owner_of_a_token() {
    let server = Server::start().await;
    let run = |arguments: &[&str]| {
        let output = server.beside().args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    for (owner, words) in [
        ("foobar", "`tessera service create foobar`"),
        ("foobar", "--create-service"),
        ("foobar@user.com", "`tessera user create foobar@user.com`"),
    ] {
        let (success, told) = run(&["token", "create", "--username", owner]);
        assert!(!success && told.contains(words), "{told}");
    }
    let create =
        ["token", "create", "--username", "foobar", "--scope", "reports", "--create-service"];
    for _ in 0..2 {
        let (success, told) = run(&create);
        assert!(success && told.contains("owner: foobar, scopes: reports"), "{told}");
    }
    let (success, told) = run(&["token", "create", "--username", "a@user.com", "--create-service"]);
    assert!(!success && told.contains("tessera user create"), "{told}");
}
