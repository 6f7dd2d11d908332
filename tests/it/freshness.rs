//! Actions on others by a superuser's session: they require that its password was given a short time ago.

use serde_json::{Value, json};

use crate::support::{Answer, Browser, Forgery, PASSWORD, Person, Server, claims_of};
use crate::terminal::{fault, remotely, tessera};

/// A request to an operation, and the status of its success.
type Act = (&'static str, String, Value, u16);

/// A user and their things to act on. Each caller gets new ones, because some actions delete them.
struct Victims {
    person: Person,
    token: String,
    service: String,
    lifted: i64,
}

impl Server {
    async fn victims(&self, root: &Person, name: &str) -> Victims {
        let person = self.person(name).await;
        let token = self.make_api_token(&person.access, &json!({})).await.text("id");
        let service = format!("{name}-service");
        self.service(root, &service, &["tokens:introspect"]).await;
        let revoked = json!({ "kind": "jti", "subject": person.id, "why": "test" });
        let revoke = self.post("/admin/revocations").bearer(&root.access).json(&revoked).send();
        revoke.await.expect_status(204);
        let seq = "select max(seq) from revocation where kind = 'jti'";
        let lifted = self.database.column::<i64>(seq).await[0];
        Victims { person, token, service, lifted }
    }

    /// Performs an action as a caller.
    async fn act(&self, act: &Act, caller: &Caller) -> Answer {
        let (method, path, body, _) = act;
        let request = caller.authenticate(self.request(method, path));
        let request = if body.is_null() { request } else { request.json(body) };
        request.send().await
    }
}

/// The credential that a request is sent with.
enum Caller {
    Bearer(String),
    Cookie { token: String, csrf: String },
}

impl Caller {
    fn authenticate(&self, request: crate::support::Request) -> crate::support::Request {
        match self {
            Caller::Bearer(token) => request.bearer(token),
            Caller::Cookie { token, csrf } => request
                .header("cookie", &format!("tessera={token}; tessera-csrf={csrf}"))
                .header("x-csrf-token", csrf),
        }
    }

    /// Signs in with `/auth/cookie/login`.
    async fn with_cookie(server: &Server, email: &str) -> Self {
        let form = [("username", email), ("password", PASSWORD)];
        let answer = server.post("/auth/cookie/login").form(&form).send().await.expect_status(204);
        let cookie = answer.headers.get("set-cookie").unwrap().to_str().unwrap().to_owned();
        let token = cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
        Caller::Cookie { token, csrf: answer.header("x-csrf-token") }
    }
}

/// Actions that change flags, passwords, addresses, scopes, tokens of others, services or keys, or that import users.
fn acts_on(victims: &Victims) -> Vec<Act> {
    let Victims { person, token, service, lifted } = victims;
    let user = format!("/users/{}", person.id);
    let patch = |changes: Value| ("PATCH", user.clone(), changes, 200);
    let hash = "$2b$04$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
    let name = &person.email[..person.email.find('@').unwrap()];
    let imported = |dry_run: bool| {
        let email = format!("{name}-{dry_run}@elsewhere.com");
        json!({ "users": [{ "email": email, "hashed_password": hash }], "dry_run": dry_run })
    };
    vec![
        ("POST", format!("{user}/export"), json!(null), 200),
        ("POST", "/users/export".to_owned(), json!(null), 200),
        ("POST", "/users".to_owned(), json!({ "email": format!("{name}@invited.com") }), 202),
        (
            "POST",
            "/users".to_owned(),
            json!({ "email": format!("{name}@made.com"), "password": PASSWORD }),
            201,
        ),
        patch(json!({ "is_superuser": true })),
        patch(json!({ "is_superuser": false })),
        patch(json!({ "is_active": false })),
        patch(json!({ "is_active": true, "is_verified": true })),
        patch(json!({ "scopes": ["authenticated", "admin"] })),
        patch(json!({ "password": "another of theirs" })),
        patch(json!({ "name": "Eve" })),
        ("POST", "/auth/tokens".to_owned(), json!({ "username": person.email }), 201),
        ("POST", "/auth/tokens".to_owned(), json!({ "username": service }), 201),
        ("DELETE", format!("/auth/tokens/{token}"), json!(null), 200),
        ("DELETE", format!("/auth/tokens?username={}", person.email), json!(null), 200),
        ("DELETE", "/auth/tokens".to_owned(), json!({ "username": service }), 200),
        patch(json!({ "email": format!("{name}@moved.com") })),
        ("POST", "/admin/services".to_owned(), json!({ "name": format!("{name}-new") }), 201),
        ("DELETE", format!("/admin/services/{service}"), json!(null), 204),
        ("POST", "/admin/import".to_owned(), imported(true), 200),
        ("POST", "/admin/import".to_owned(), imported(false), 200),
        ("POST", "/admin/keys".to_owned(), json!({ "algorithm": "ES256" }), 201),
        ("DELETE", format!("/admin/revocations/{lifted}"), json!(null), 204),
        ("DELETE", user, json!(null), 204),
    ]
}

/// Returns numbers of rows that an action would change.
async fn state(server: &Server) -> Vec<i64> {
    let mut counts = Vec::new();
    for rows in [
        "audit",
        "\"user\"",
        "\"user\" where is_superuser",
        "\"user\" where is_active",
        "api_token",
        "service",
        "signing_key",
        "revocation",
        "job",
    ] {
        counts.push(server.database.count(rows).await);
    }
    counts
}

#[tokio::test]
async fn a_session_can_act_on_others_only_soon_after_its_password_was_given() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let victims = server.victims(&root, "first").await;
    let strong = server.api_token(&root.access, &json!({ "scopes": ["super"] })).await;
    let refreshed = server.refresh(&root.refresh).await.text("access_token");
    // A token as it would be an hour after the sign-in.
    let given = claims_of(&root.access)["auth_time"].as_u64().unwrap() - 3600;
    let old = Forgery::of(&root.access).with("auth_time", given).sign();
    let fresh_cookie = Caller::with_cookie(&server, &root.email).await;
    let Caller::Cookie { token, csrf } = &fresh_cookie else { unreachable!() };
    let old_cookie = Forgery::of(token).with("auth_time", given).sign();
    let stale = [
        Caller::Bearer(refreshed),
        Caller::Bearer(old),
        Caller::Cookie { token: old_cookie, csrf: csrf.clone() },
    ];
    // The mails of the preparations are jobs too.
    server.database.wait_until_no_job_is_left().await;
    let before = state(&server).await;
    for act in acts_on(&victims) {
        for caller in &stale {
            let refused = server.act(&act, caller).await;
            // Not 401, because front ends would answer it with a refresh, which does not help.
            let refused = refused.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
            let challenge = refused.header("www-authenticate");
            assert!(
                challenge.contains("error=\"insufficient_user_authentication\""),
                "{challenge}"
            );
            assert!(challenge.contains("max_age=\"900\""), "{challenge}");
        }
    }
    assert_eq!(state(&server).await, before, "a session with an old password changed something");
    // A fresh token, a fresh cookie and an API token can do all of this.
    let fresh = Caller::Bearer(root.access.clone());
    for (name, caller) in
        [("second", fresh), ("third", fresh_cookie), ("fourth", Caller::Bearer(strong))]
    {
        let victims = server.victims(&root, name).await;
        for act in acts_on(&victims) {
            let done = server.act(&act, &caller).await;
            assert_eq!(done.status, act.3, "{name}: {} {}: {}", act.0, act.1, done.body);
        }
    }
}

/// Actions that only end something require no password, because a new sign-in brings it back.
#[tokio::test]
async fn emergency_actions_require_no_fresh_password() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let stale = server.refresh(&root.refresh).await.text("access_token");
    let made = server.post("/admin/keys").bearer(&root.access);
    let made = made.json(&json!({ "algorithm": "ES256" })).send().await.expect_status(201);
    let kid = made.text("kid");
    let (other, _) = server.sign_in(&person.email, PASSWORD).await;
    let revoke =
        |kind: &str, subject: &Value| json!({ "kind": kind, "subject": subject, "why": "stolen" });
    let claims = claims_of(&other);
    for (method, path, body) in [
        ("POST", "/admin/revocations".to_owned(), revoke("jti", &claims["jti"])),
        ("POST", "/admin/revocations".to_owned(), revoke("sid", &claims["sid"])),
        ("POST", "/admin/sessions/end".to_owned(), json!({ "username": person.email, "why": "x" })),
        ("POST", "/admin/revocations".to_owned(), revoke("sub", &json!(person.id))),
        ("DELETE", format!("/admin/keys/{kid}?force=true"), json!(null)),
    ] {
        let done = server.act(&(method, path, body, 204), &Caller::Bearer(stale.clone())).await;
        done.expect_status(204);
    }
    server.me(&person.access).await.expect_status(401);
}

/// Actions on one's own account get the same answers for every user.
#[tokio::test]
async fn a_superusers_own_account_requires_a_fresh_token_like_any_other() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let stale = server.refresh(&root.refresh).await.text("access_token");
    let change = json!({ "email": "new@user.com" });
    server.change_me(&stale, &change).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    let delete = server.request("DELETE", "/users/me").bearer(&stale).send().await;
    delete.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    for wanted in [json!({}), json!({ "username": "ROOT@user.com" })] {
        let refused = server.make_api_token(&stale, &wanted).await;
        refused.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    }
    // Users can delete their own API tokens at once, because the tokens may have leaked.
    let made = server.make_api_token(&root.access, &json!({})).await.expect_status(201);
    let path = format!("/auth/tokens/{}", made.text("id"));
    let deleted = server.request("DELETE", &path).bearer(&stale).send().await;
    assert_eq!(deleted.expect_status(200).json["removed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_says_what_to_do_if_the_password_of_a_session_is_too_old() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let stale = server.refresh(&root.refresh).await.text("access_token");
    for arguments in [
        &["user", "promote", &person.email][..],
        &["user", "delete", "--yes", &person.email],
        &["service", "create", "billing"],
        &["token", "create", "--username", &person.email],
    ] {
        let refused = remotely(&server, &stale, arguments);
        assert!(!refused.status.success());
        let fault = fault(&refused);
        for word in ["/auth/jwt/fresh", "API token with the scope super", "TESSERA_URL"] {
            assert!(fault.contains(word), "{arguments:?}: {fault}");
        }
    }
    assert_eq!(server.me(&person.access).await.json["is_superuser"], false);
    // A command on the database needs no token.
    let promoted = tessera(&server, &["user", "promote", &person.email]);
    assert!(promoted.status.success(), "{}", fault(&promoted));
}

impl Server {
    /// Moves the time at which each session's password was given an hour back.
    async fn age_passwords_by_an_hour(&self) {
        let age =
            "update session set auth_time = auth_time - 3600000, proved_at = proved_at - 3600000";
        self.database.execute(age).await;
    }
}

/// Returns every form of the administration that requires a fresh password, with its fields.
fn forms_on(victims: &Victims) -> Vec<(String, Vec<(&'static str, String)>)> {
    let Victims { person, token, service, lifted } = victims;
    let user = format!("/admin/users/{}", person.id);
    let tokens = "/admin/api-tokens".to_owned();
    let form = |act: &str, more: &[(&'static str, &str)]| {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        std::iter::once(("act", act.to_owned())).chain(more).collect::<Vec<_>>()
    };
    let rights = [
        ("was_active", "on"),
        ("was_scopes", "authenticated"),
        ("is_active", "on"),
        ("is_verified", "on"),
        ("scopes", "authenticated a:b"),
    ];
    let profile = [("was_email", &*person.email), ("email", &*person.email), ("name", "Eve")];
    let invite = [("email", "invited@user.com"), ("name", "Ada"), ("is_superuser", "on")];
    vec![
        (user.clone(), form("change", &rights)),
        (user.clone(), form("profile", &profile)),
        ("/admin/users".to_owned(), form("invite", &invite)),
        (user.clone(), form("delete-token", &[("id", token)])),
        (tokens.clone(), form("create-service", &[("name", &format!("{service}2"))])),
        (tokens.clone(), form("delete-service", &[("name", service)])),
        ("/admin/revoked".to_owned(), form("lift", &[("id", &lifted.to_string())])),
        ("/admin/signing-keys".to_owned(), form("rotate", &[("algorithm", "ES256")])),
        (user, form("delete", &[("email", &person.email)])),
    ]
}

#[tokio::test]
async fn administration_pages_ask_for_the_password_and_keep_what_was_typed() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let victims = server.victims(&root, "first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    for language in ["en", "de"] {
        browser.language = language.to_owned();
        for (page, form) in forms_on(&victims) {
            server.age_passwords_by_an_hour().await;
            server.database.wait_until_no_job_is_left().await;
            let before = state(&server).await;
            browser.open("/admin").await.expect_status(200);
            let fields: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let asked = browser.press(&page, &fields).await.expect_status(403);
            assert_eq!(state(&server).await, before, "{page} {fields:?}");
            assert!(asked.body.contains("type=\"password\" name=\"proof\""), "{}", asked.body);
            for (name, value) in &fields {
                let kept = format!("name=\"{name}\" value=\"{value}\"");
                assert!(asked.body.contains(&kept), "{kept} is lost: {}", asked.body);
            }
            // A wrong password counts as an attempt. The error is shown at the field, and no input is lost.
            let wrong: Vec<_> = fields.iter().copied().chain([("proof", "not mine")]).collect();
            let refused = browser.press(&page, &wrong).await.expect_status(400);
            assert!(refused.body.contains("aria-invalid=\"true\""), "{}", refused.body);
            assert!(refused.body.contains("name=\"act\" value="), "{}", refused.body);
            assert!(!refused.body.contains("not mine"), "{}", refused.body);
            let none: Vec<_> = fields.iter().copied().chain([("proof", "")]).collect();
            browser.press(&page, &none).await.expect_status(403);
            assert_eq!(state(&server).await[1..], before[1..], "{page} {fields:?}");
            if language == "de" {
                let thief = browser.cookies.clone();
                let right: Vec<_> = fields.iter().copied().chain([("proof", PASSWORD)]).collect();
                browser.press(&page, &right).await.expect_status(303);
                assert_ne!(state(&server).await, before, "{page} {fields:?}");
                // A copy of the earlier cookie did not become fresh. It no longer works.
                let mut copy = Browser::of(&server);
                copy.cookies = thief;
                copy.open("/admin").await.expect_status(303);
            }
        }
    }
}

#[tokio::test]
async fn a_password_on_a_page_permits_further_actions_for_a_limited_time() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    server.age_passwords_by_an_hour().await;
    browser.open("/admin/api-tokens").await.expect_status(200);
    let make = |name| [("act", "create-service"), ("name", name)];
    browser.press("/admin/api-tokens", &make("one")).await.expect_status(403);
    let [act, name] = make("one");
    browser.press_and_follow("/admin/api-tokens", &[act, name, ("proof", PASSWORD)]).await;
    browser.press_and_follow("/admin/api-tokens", &make("two")).await;
    assert_eq!(server.database.count("service").await, 2);
    let told = "audit where act = 'freshen'";
    assert_eq!(server.database.count(told).await, 1);
    // A time that is ahead of the clock proves nothing.
    let ahead =
        "update session set auth_time = auth_time + 7200000, proved_at = proved_at + 7200000";
    server.database.execute(ahead).await;
    browser.press("/admin/api-tokens", &make("three")).await.expect_status(403);
    // A password that was given in another session proves nothing either.
    server.age_passwords_by_an_hour().await;
    server.age_passwords_by_an_hour().await;
    server.age_passwords_by_an_hour().await;
    server.sign_in(&root.email, PASSWORD).await;
    browser.press("/admin/api-tokens", &make("three")).await.expect_status(403);
    assert_eq!(server.database.count("service").await, 2);
}

#[tokio::test]
async fn passwords_on_administration_pages_count_as_sign_in_attempts() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    server.age_passwords_by_an_hour().await;
    browser.open("/admin/api-tokens").await.expect_status(200);
    let form = [("act", "create-service"), ("name", "shop"), ("proof", "not mine")];
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(browser.press("/admin/api-tokens", &form).await.status);
        server.prolong_delays().await;
    }
    assert!(statuses.starts_with(&[400; 5]) && statuses.ends_with(&[429]), "{statuses:?}");
    // Unknown input causes no internal error.
    let nonsense = [("act", "<b>nonsense"), ("proof", "not mine")];
    assert!(browser.press("/admin/api-tokens", &nonsense).await.status < 500);
}

/// Services that verify access tokens themselves trust their scopes.
#[tokio::test(flavor = "multi_thread")]
async fn losing_a_scope_revokes_the_access_tokens_that_carry_it_and_no_session() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    for (name, interface) in
        [("first", "patch"), ("second", "page"), ("third", "scopes"), ("fourth", "terminal")]
    {
        let person = server.person(name).await;
        let path = format!("/users/{}", person.id);
        let raised = json!({ "is_superuser": true, "scopes": ["authenticated", "billing"] });
        server.patch(&path).bearer(&root.access).json(&raised).send().await.expect_status(200);
        let (access, refresh) = server.sign_in(&person.email, PASSWORD).await;
        assert_eq!(
            claims_of(&access)["scope"],
            "authenticated billing revocations:read super tokens:check tokens:introspect"
        );
        let secret = server.api_token(&access, &json!({})).await;
        other.me(&access).await.expect_status(200);
        // A change that removes no scope revokes nothing.
        let more = json!({ "name": "Ada", "scopes": ["authenticated", "billing", "more"] });
        server.patch(&path).bearer(&root.access).json(&more).send().await.expect_status(200);
        server.me(&access).await.expect_status(200);
        match interface {
            "patch" => {
                let flag = json!({ "is_superuser": false });
                let demote = server.patch(&path).bearer(&root.access).json(&flag).send();
                demote.await.expect_status(200);
            }
            "page" => {
                let page = format!("/admin{path}");
                browser.open(&page).await.expect_status(200);
                let form = [
                    ("act", "change"),
                    ("was_active", "on"),
                    ("is_active", "on"),
                    ("was_superuser", "on"),
                    ("was_scopes", "authenticated billing more"),
                    ("scopes", "authenticated billing more"),
                ];
                browser.press_and_follow(&page, &form).await;
            }
            "scopes" => {
                let taken = json!({ "scopes": ["authenticated", "more"] });
                let take = server.patch(&path).bearer(&root.access).json(&taken).send();
                take.await.expect_status(200);
            }
            _ => {
                let arguments = ["user", "demote", &person.email];
                let demoted = tessera(&server, &arguments);
                assert!(demoted.status.success(), "{}", fault(&demoted));
            }
        }
        // This replica refuses it before it answers, except if the terminal, which is another process, made the change.
        if interface != "terminal" {
            server.me(&access).await.expect_reason("token_revoked");
        }
        for replica in [&server, &other] {
            replica.wait_until_refused(&access).await.expect_reason("token_revoked");
        }
        let next = server.refresh(&refresh).await.expect_status(200).text("access_token");
        let scopes = match interface {
            "scopes" => "authenticated more revocations:read super tokens:check tokens:introspect",
            _ => "authenticated billing more",
        };
        assert_eq!(claims_of(&next)["scope"], scopes, "{interface}");
        other.me(&next).await.expect_status(200);
        server.me(&secret).await.expect_status(200);
    }
}
