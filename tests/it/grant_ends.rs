//! The ends of grants: each act, what it ends, and that every server of the database refuses the access tokens.

use std::time::Duration;

use serde_json::json;

use crate::grants::{tokens, trusted};
use crate::provider::{Client, basic, code, exchange, refresh, server, userinfo, with_code};
use crate::recovery::{NEW_PASSWORD, RESET};
use crate::support::{
    Answer, Browser, Letter, PASSWORD, Person, Server, awaited, claims_of, eventually,
};

/// The fate of a grant after an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It continues, and its access token too.
    Stays,
    /// It continues, but its access token is revoked.
    Refreshes,
    /// It ends, and its access token is revoked.
    Ends,
}

use Fate::{Ends, Refreshes, Stays};

/// Each act, with the fates of a grant of the session, of one that outlives this session, and of one of another
/// session.
const ACTS: [(&str, [Fate; 3]); 25] = [
    ("user: sign out", [Ends, Stays, Stays]),
    ("user: end the session in the list", [Ends, Stays, Stays]),
    ("user: end the session on the page", [Ends, Stays, Stays]),
    ("user: end all others", [Stays, Stays, Ends]),
    ("user: sign out everywhere", [Ends, Ends, Ends]),
    ("user: new password in this session", [Refreshes, Refreshes, Ends]),
    ("user: new password elsewhere", [Ends, Ends, Ends]),
    ("user: new password by mail", [Ends, Ends, Ends]),
    ("user: end the access of the application", [Ends, Ends, Ends]),
    ("user: delete the account", [Ends, Ends, Ends]),
    ("superuser: end the session", [Ends, Stays, Stays]),
    ("superuser: end all sessions", [Ends, Ends, Ends]),
    ("superuser: revoke the user", [Ends, Ends, Ends]),
    ("superuser: new password", [Ends, Ends, Ends]),
    ("superuser: deactivation", [Ends, Ends, Ends]),
    ("superuser: deletion", [Ends, Ends, Ends]),
    ("superuser: more rights", [Ends, Stays, Ends]),
    ("superuser: another scope", [Ends, Stays, Ends]),
    ("superuser: fewer scopes", [Refreshes, Refreshes, Refreshes]),
    ("superuser: disable the application", [Ends, Ends, Ends]),
    ("superuser: delete the application", [Ends, Ends, Ends]),
    ("application: revoke the refresh token", [Ends, Stays, Stays]),
    ("application: revoke the access token", [Refreshes, Stays, Stays]),
    ("application: use a refresh token again", [Ends, Stays, Stays]),
    ("application: use the code again", [Ends, Stays, Stays]),
];

struct Scene<'a> {
    server: &'a Server,
    beside: &'a Server,
    root: Person,
    person: Person,
    client: String,
    mine: Browser<'a>,
    other: Browser<'a>,
    /// The code of the first grant.
    code: String,
    /// The tokens of the three grants.
    tokens: Vec<Answer>,
}

impl<'a> Scene<'a> {
    async fn of([server, beside]: [&'a Server; 2], root: &Person, number: usize) -> Self {
        let client = format!("app{number}");
        trusted(&client).insert(&server.database).await;
        let person = server.person(&format!("user{number}")).await;
        let (mut mine, mut other) = (Browser::of(server), Browser::of(server));
        mine.sign_in(&person.email, PASSWORD).await;
        other.sign_in(&person.email, PASSWORD).await;
        let code = code(&mut mine, &[("client_id", &client)]).await;
        let offline = [("scope", "openid email offline_access")];
        let tokens = vec![
            exchange(server, &client, &with_code(&code)).await.expect_status(200),
            tokens(server, &mut mine, &client, &offline).await,
            tokens(server, &mut other, &client, &[]).await,
        ];
        let root = Person { access: server.sign_in(&root.email, PASSWORD).await.0, ..root.clone() };
        Self { server, beside, root, person, client, mine, other, code, tokens }
    }

    /// The id of the session of the first grant.
    async fn session(&self) -> String {
        let grant = claims_of(&self.tokens[0].text("access_token"))["grant_id"].clone();
        let sql = format!(
            "select cast(session_id as text) from oauth_grant where id = '{}'",
            grant.as_str().unwrap()
        );
        self.server.database.column::<String>(&sql).await.remove(0)
    }

    async fn by_user(&mut self, act: &str) -> Answer {
        let (server, session) = (self.server, self.session().await);
        let bearer =
            |method: &str, path: &str| server.request(method, path).bearer(&self.person.access);
        let password = json!({ "password": NEW_PASSWORD, "current_password": PASSWORD });
        self.mine.open("/account").await.expect_status(200);
        self.other.open("/account").await.expect_status(200);
        match act {
            "sign out" => self.mine.press("/logout", &[]).await,
            "end the session in the list" => {
                bearer("DELETE", &format!("/auth/sessions/{session}")).send().await
            }
            "end the session on the page" => {
                let fields = [("act", "end-session"), ("id", session.as_str())];
                self.other.press("/account", &fields).await
            }
            "end all others" => self.mine.press("/account", &[("act", "end-others")]).await,
            "sign out everywhere" => bearer("POST", "/auth/jwt/logout-all").send().await,
            "new password in this session" => {
                let fields =
                    [("act", "password"), ("current", PASSWORD), ("password", NEW_PASSWORD)];
                self.mine.press("/account", &fields).await
            }
            "new password elsewhere" => bearer("PATCH", "/users/me").json(&password).send().await,
            "new password by mail" => {
                let address = json!({ "email": self.person.email });
                server.post("/auth/forgot-password").json(&address).send().await.expect_status(202);
                // Any server of the database sends the mail.
                let letter = awaited("a mail to choose a new password", async || {
                    let letters = [server, self.beside].into_iter().flat_map(Server::outbox);
                    let of_person = |letter: &Letter| {
                        letter.to == self.person.email && letter.subject.contains(RESET)
                    };
                    letters.into_iter().find(of_person)
                });
                server.reset(&letter.await.token(), NEW_PASSWORD).await
            }
            "end the access of the application" => {
                let page = self.other.open("/account/apps").await.expect_status(200);
                let (_, id) = page.body.split_once("name=\"client\" value=\"").unwrap();
                let id = id.split('"').next().unwrap().to_owned();
                self.other.press("/account/apps", &[("client", &id)]).await
            }
            _ => bearer("DELETE", "/users/me").send().await,
        }
    }

    async fn by_superuser(&mut self, act: &str) -> Answer {
        let (user, client) =
            (format!("/users/{}", self.person.id), format!("/admin/clients/{}", self.client));
        let revoke = |kind: &str, subject: &str| json!({ "kind": kind, "subject": subject, "why": "a test" });
        let (method, path, body) = match act {
            "end the session" => {
                ("POST", "/admin/revocations", revoke("sid", &self.session().await))
            }
            "end all sessions" => {
                let body = json!({ "username": self.person.email, "why": "a test" });
                ("POST", "/admin/sessions/end", body)
            }
            "revoke the user" => ("POST", "/admin/revocations", revoke("sub", &self.person.id)),
            "new password" => ("PATCH", &*user, json!({ "password": NEW_PASSWORD })),
            "deactivation" => ("PATCH", &*user, json!({ "is_active": false })),
            "deletion" => ("DELETE", &*user, json!({})),
            "more rights" => ("PATCH", &*user, json!({ "is_superuser": true })),
            "another scope" => ("PATCH", &*user, json!({ "scopes": ["authenticated", "staff"] })),
            "fewer scopes" => ("PATCH", &*user, json!({ "scopes": [] })),
            "disable the application" => ("PATCH", &*client, json!({ "enabled": false })),
            _ => ("DELETE", &*client, json!({})),
        };
        self.server.request(method, path).bearer(&self.root.access).json(&body).send().await
    }

    /// An act of the application. The first tokens are afterwards those that it got last.
    async fn by_application(&mut self, act: &str) -> Answer {
        let (server, client) = (self.server, self.client.clone());
        let first = self.tokens[0].clone();
        match act {
            "revoke the refresh token" | "revoke the access token" => {
                let name = act.strip_prefix("revoke the ").unwrap().replace(' ', "_");
                let request =
                    server.post("/oauth2/revoke").header("authorization", &basic(&client));
                request.form(&[("token", &first.text(&name))]).send().await
            }
            "use a refresh token again" => {
                let token = first.text("refresh_token");
                let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
                self.tokens[0] = exchange(server, &client, &fields).await.expect_status(200);
                server.advance(Duration::from_secs(30)).await;
                let refused = exchange(server, &client, &fields).await;
                Answer { status: 200, ..refused.expect_refusal(400, "invalid_grant") }
            }
            _ => {
                server.advance(Duration::from_secs(30)).await;
                let refused = exchange(server, &client, &with_code(&self.code)).await;
                Answer { status: 200, ..refused.expect_refusal(400, "invalid_grant") }
            }
        }
    }
}

/// Asserts what became of a grant, at two servers of the database.
pub(crate) async fn expect_fate(
    servers: [&Server; 2],
    client: &str,
    (what, fate): (&str, Fate),
    tokens: &Answer,
) {
    let status = if fate == Stays { 200 } else { 401 };
    let access = tokens.text("access_token");
    for server in servers {
        let has = async || userinfo(server, &access).await.status == status;
        eventually(&format!("{what}: userinfo answers {status}"), has).await;
    }
    let token = tokens.text("refresh_token");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
    let next = exchange(servers[1], client, &fields).await;
    if fate == Ends {
        assert!([400, 401].contains(&next.status), "{what}: {}", next.body);
        return;
    }
    assert_eq!(next.status, 200, "{what}: {}", next.body);
    for server in servers {
        userinfo(server, &next.text("access_token")).await.expect_status(200);
    }
}

#[tokio::test]
async fn each_act_ends_the_grants_that_it_must_and_no_others_on_every_server() {
    let server = server().await;
    let root = server.superuser("root").await;
    let beside = Server::setup().set("BCRYPT_COST", 4).on(server.database.clone()).start().await;
    for (number, (act, fates)) in ACTS.into_iter().enumerate() {
        let mut scene = Scene::of([&server, &beside], &root, number).await;
        for tokens in &scene.tokens {
            for server in [&server, &beside] {
                let access = tokens.text("access_token");
                let is_known = async || userinfo(server, &access).await.status == 200;
                eventually(&format!("{act}: the token is accepted"), is_known).await;
            }
        }
        let (by, rest) = act.split_once(": ").unwrap();
        let answer = match by {
            "user" => scene.by_user(rest).await,
            "superuser" => scene.by_superuser(rest).await,
            _ => scene.by_application(rest).await,
        };
        let (status, body) = (answer.status, &answer.body);
        assert!([200, 204, 303].contains(&status), "{act}: {status} {body}");
        beside.wait_until_caught_up().await;
        let names = ["of the session", "that outlives it", "of another session"];
        for ((tokens, fate), name) in scene.tokens.iter().zip(fates).zip(names) {
            let what = format!("{act}, the grant {name}");
            expect_fate([&server, &beside], &scene.client, (&what, fate), tokens).await;
        }
    }
}

#[tokio::test]
async fn a_grant_expires_if_it_is_not_used_and_at_its_absolute_end() {
    let setup = Server::setup().set("REFRESH_TOKEN_EXPIRES", 3600).set("GRANT_EXPIRES", 7200);
    let server = setup.start().await;
    Client::default().insert(&server.database).await;
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    for scope in ["openid email", "openid email offline_access"] {
        let idle = tokens(&server, &mut browser, "app", &[("scope", scope)]).await;
        let used = tokens(&server, &mut browser, "app", &[("scope", scope)]).await;
        let mut token = used.text("refresh_token");
        for _ in 0..2 {
            server.advance(Duration::from_secs(3500)).await;
            let answer = refresh(&server, &token).await.expect_status(200);
            token = answer.text("refresh_token");
            // The last access token does not outlive the grant.
            let life = answer.json["expires_in"].as_u64().unwrap();
            assert!(life <= 900, "{life}");
        }
        let late = refresh(&server, &idle.text("refresh_token")).await;
        let late = late.expect_refusal(400, "invalid_grant");
        assert!(late.body.contains("refresh_token.expired"), "{scope}: {}", late.body);
        let last = refresh(&server, &token).await.expect_status(200);
        assert!(last.json["expires_in"].as_u64().unwrap() <= 200, "{scope}: {}", last.body);
        server.advance(Duration::from_secs(201)).await;
        let late = refresh(&server, &last.text("refresh_token")).await;
        let late = late.expect_refusal(400, "invalid_grant");
        assert!(late.body.contains("refresh_token.expired"), "{scope}: {}", late.body);
        userinfo(&server, &last.text("access_token")).await.expect_status(401);
        browser.sign_in("ada@user.com", PASSWORD).await;
    }
}
