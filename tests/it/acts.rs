//! Allowances: actions of an account that write rows are limited. Actions that end a thief's sessions are not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::grants::{tokens, trusted};
use crate::provider::{basic, exchange, request};
use crate::support::{Answer, Browser, PASSWORD, Person, Request, Server, claims_of, operations};

/// A server with rate limits, behind a trusted proxy.
async fn limiting() -> Server {
    let server = Server::setup().set("RATE_LIMIT", "on").set("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    server.start().await
}

/// Asserts that the answer is 429 with `Retry-After`.
#[track_caller]
fn expect_wait(answer: Answer, longest: u64) {
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=longest).contains(&wait), "{wait}");
    answer.expect_refusal(429, "TOO_MANY_ATTEMPTS");
}

/// Repeats an action until it is refused with 429. Returns the number of actions before that. The action gets its turn.
async fn until_refused(most: usize, mut act: impl AsyncFnMut(usize) -> Answer) -> (usize, Answer) {
    for turn in 0..most {
        let answer = act(turn).await;
        if answer.status == 429 {
            return (turn, answer);
        }
        assert!(answer.status < 500, "{}", answer.body);
    }
    panic!("{most} actions were not refused");
}

impl Server {
    /// Signs in from an IP address that was not used before.
    async fn signed_in_at(&self, place: usize, email: &str) -> (String, String) {
        let place = format!("198.51.{}.{}", place / 200, place % 200);
        let form = [("username", email), ("password", PASSWORD)];
        let login = self.post("/auth/jwt/login").header("X-Forwarded-For", &place);
        let answer = login.form(&form).send().await.expect_status(200);
        (answer.text("access_token"), answer.text("refresh_token"))
    }

    /// Uses up the allowance for the user's own account.
    async fn spend(&self, person: &Person) {
        let rename = json!({ "name": "Ada" });
        until_refused(600, async |_| self.change_me(&person.access, &rename).await).await;
    }
}

/// Each action that an ordinary account can repeat. It is counted before it is performed, so it does not need to
/// succeed.
type Act = (&'static str, fn(&Server, &Person, usize) -> Request);

/// A secret that a user chose for an API token. No other account has it, because that would count too.
fn chosen_secret(person: &Person) -> String {
    format!("a-secret-of-{}", person.id)
}

const ACTS: [Act; 7] = [
    ("make an API token", |server, person, _| {
        server.post("/auth/tokens").bearer(&person.access).json(&json!({ "expire": 1 }))
    }),
    ("give an API token another name", |server, person, turn| {
        let wanted = json!({ "token": chosen_secret(person), "name": turn.to_string() });
        server.post("/auth/tokens").bearer(&person.access).json(&wanted)
    }),
    ("make and delete an API token in turn", |server, person, turn| {
        let (made, secret) = (turn % 2 == 0, json!({ "token": chosen_secret(person) }));
        let request = server.request(if made { "POST" } else { "DELETE" }, "/auth/tokens");
        request.bearer(&person.access).json(&secret)
    }),
    ("delete API tokens by their ids", |server, person, _| {
        let path = format!("/auth/tokens/{}", uuid::Uuid::nil());
        server.request("DELETE", &path).bearer(&person.access)
    }),
    ("delete all API tokens", |server, person, _| {
        let all = json!({ "username": person.email });
        server.request("DELETE", "/auth/tokens").bearer(&person.access).json(&all)
    }),
    ("change the name", |server, person, turn| {
        let name = json!({ "name": turn.to_string() });
        server.patch("/users/me").bearer(&person.access).json(&name)
    }),
    ("change the address", |server, person, turn| {
        let email = json!({ "email": format!("{turn}-{}", person.email) });
        server.patch("/users/me").bearer(&person.access).json(&email)
    }),
];

#[tokio::test]
async fn each_action_that_writes_rows_has_a_limit_for_each_account() {
    let server = limiting().await;
    let other = server.person("other").await;
    for (number, (what, act)) in ACTS.into_iter().enumerate() {
        let person = server.person(&format!("user{number}")).await;
        let (granted, refused) =
            until_refused(600, async |turn| act(&server, &person, turn).send().await).await;
        // New addresses have a stricter limit, because they reveal accounts and cause mails.
        let (least, longest) = if what == "change the address" { (5, 3600) } else { (60, 1) };
        assert!(granted >= least, "{what}: {granted}");
        expect_wait(refused, longest);
        // An action of another kind takes from the same allowance.
        if least == 60 {
            let (granted, refused) =
                until_refused(60, async |_| ACTS[5].1(&server, &person, 0).send().await).await;
            assert!(granted < 30, "{what}: {granted} more");
            expect_wait(refused, 1);
        }
        ACTS[5].1(&server, &other, number).send().await.expect_status(200);
    }
}

#[tokio::test]
async fn revocations_of_access_tokens_have_a_limit() {
    let server = limiting().await;
    let (person, other) = (server.person("first").await, server.person("other").await);
    let revoke =
        async |token: &str| server.post("/auth/revoke").form(&[("token", token)]).send().await;
    let mut last = String::new();
    let (granted, refused) = until_refused(600, async |turn| {
        last = server.signed_in_at(turn, &person.email).await.0;
        revoke(&last).await
    })
    .await;
    assert!(granted >= 60, "{granted}");
    expect_wait(refused, 1);
    assert_eq!(server.me(&last).await.status, 200, "a refused revocation changes nothing");
    // An unknown token does not count, and another user has an allowance of their own.
    revoke("nobody's").await.expect_status(200);
    revoke(&other.access).await.expect_status(200);
    server.me(&other.access).await.expect_reason("token_revoked");
    // Signing out and revoking a refresh token have no limit.
    server.logout(&last).await.expect_status(204);
    let (access, refresh) = server.signed_in_at(601, &person.email).await;
    revoke(&refresh).await.expect_status(200);
    server.me(&access).await.expect_reason("token_revoked");
    // Actions of other kinds have other allowances.
    ACTS[0].1(&server, &person, 0).send().await.expect_status(201);
}

#[tokio::test]
async fn a_thief_who_spends_the_allowance_cannot_prevent_the_owner_from_ending_sessions() {
    let server = limiting().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    server.spend(&person).await;
    let own = |method: &str, path: &str| server.request(method, path).bearer(&person.access);

    // The owner ends one session and all others, with an access token and on the page.
    let end = async |place: usize| {
        let thief = server.signed_in_at(place, &person.email).await.0;
        (claims_of(&thief)["sid"].as_str().unwrap().to_owned(), thief)
    };
    let (sid, thief) = end(1).await;
    own("DELETE", &format!("/auth/sessions/{sid}")).send().await.expect_status(204);
    server.me(&thief).await.expect_reason("token_revoked");
    let (sid, thief) = end(2).await;
    browser.press_and_follow("/account", &[("act", "end-session"), ("id", &sid)]).await;
    server.me(&thief).await.expect_reason("token_revoked");
    let thief = end(3).await.1;
    browser.press_and_follow("/account", &[("act", "end-others")]).await;
    server.me(&thief).await.expect_reason("token_revoked");

    // The owner sets a new password, with an access token and on the page.
    let person = Person { access: server.signed_in_at(4, &person.email).await.0, ..person };
    server.spend(&person).await;
    let change = json!({ "password": "battery staple correct" });
    server.change_me(&person.access, &change).await.expect_status(200);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, "battery staple correct").await;
    browser.open("/account").await.expect_status(200);
    let form = [("act", "password"), ("current", "battery staple correct"), ("password", PASSWORD)];
    browser.press_and_follow("/account", &form).await;

    // The owner signs out everywhere, and sets a new password by mail.
    let person = Person { access: server.signed_in_at(5, &person.email).await.0, ..person };
    server.spend(&person).await;
    server.post("/auth/jwt/logout-all").bearer(&person.access).send().await.expect_status(204);
    let address = json!({ "email": person.email });
    server.post("/auth/forgot-password").json(&address).send().await.expect_status(202);
    let letter = server.letter(&person.email, "Choose", 1).await;
    let reset = json!({ "token": letter.token(), "password": "battery staple correct" });
    server.post("/auth/reset-password").json(&reset).send().await.expect_status(200);
}

#[tokio::test]
async fn new_passwords_have_an_allowance_of_their_own() {
    let server = limiting().await;
    let person = server.person("first").await;
    let mut access = String::new();
    let (granted, refused) = until_refused(100, async |turn| {
        // Each new password ends the access token that set it.
        access = server.signed_in_at(turn, &person.email).await.0;
        server.change_me(&access, &json!({ "password": PASSWORD })).await
    })
    .await;
    assert!((10..20).contains(&granted), "{granted}");
    expect_wait(refused, 30);
    server.change_me(&access, &json!({ "name": "Ada" })).await.expect_status(200);
}

#[tokio::test]
async fn a_request_that_ends_no_session_writes_no_row() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let rows = async || {
        let audit = server.database.count("audit").await;
        (audit, server.database.count("revocation").await)
    };
    let before = rows().await;
    for _ in 0..3 {
        let end = server.request("DELETE", "/auth/sessions").bearer(&person.access).send().await;
        end.expect_status(204);
    }
    assert_eq!(rows().await, before);
    server.sign_in(&person.email, PASSWORD).await;
    let before = rows().await;
    server.request("DELETE", "/auth/sessions").bearer(&person.access).send().await;
    assert_eq!(rows().await, (before.0 + 1, before.1 + 1));
}

#[tokio::test]
async fn repeated_sign_ins_have_a_limit_for_each_ip_address() {
    let server = limiting().await;
    let person = server.person("first").await;
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    for interface in ["/auth/jwt/login", "/auth/cookie/login"] {
        let login = |place: &str| {
            server.post(interface).header("X-Forwarded-For", place).form(&form).send()
        };
        let place = format!("192.0.2.{}", interface.len());
        let (granted, refused) = until_refused(600, async |_| login(&place).await).await;
        assert!(granted >= 60, "{interface}: {granted}");
        expect_wait(refused, 1);
        assert!(login("203.0.113.7").await.status < 300);
    }
    // Giving the password again takes from the same allowance.
    let fresh = json!({ "password": PASSWORD });
    let (granted, refused) = until_refused(600, async |_| {
        let fresh = server.post("/auth/jwt/fresh").bearer(&person.access).json(&fresh);
        fresh.header("X-Forwarded-For", "192.0.2.99").send().await
    })
    .await;
    assert!(granted >= 60, "{granted}");
    expect_wait(refused, 1);
}

#[tokio::test]
async fn a_page_says_how_long_to_wait_after_too_many_actions() {
    let server = limiting().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let forms: [&[(&str, &str)]; 3] = [
        &[("act", "profile"), ("name", "Ada")],
        &[("act", "delete-token"), ("id", "00000000-0000-0000-0000-000000000000")],
        &[("act", "create-token"), ("name", "ci"), ("current", PASSWORD)],
    ];
    for form in forms {
        let (_, refused) =
            until_refused(600, async |_| browser.press("/account", form).await).await;
        assert!(refused.body.contains("Too many attempts. Try again in "), "{}", refused.body);
        assert_eq!(refused.header("retry-after"), "1");
    }
}

/// A method, a path and a body.
type OnOthers = (&'static str, &'static str, fn(&Person) -> Value);

/// Actions of superusers on others.
const ON_OTHERS: [OnOthers; 14] = [
    ("PATCH", "/users/{id}", |_| json!({ "name": "Ada" })),
    ("POST", "/users", |person| json!({ "email": person.email, "password": PASSWORD })),
    ("POST", "/admin/invitations/00000000-0000-0000-0000-000000000000/resend", |_| json!({})),
    ("DELETE", "/admin/invitations/00000000-0000-0000-0000-000000000000", |_| json!({})),
    ("POST", "/auth/tokens", |person| json!({ "username": person.email, "expire": 1 })),
    ("DELETE", "/auth/tokens", |person| json!({ "username": person.email })),
    ("POST", "/admin/services", |_| json!({ "name": "one" })),
    ("DELETE", "/admin/services/one", |_| json!({})),
    ("POST", "/admin/import", |_| json!({ "users": [] })),
    (
        "POST",
        "/admin/revocations",
        |_| json!({ "kind": "jti", "subject": uuid::Uuid::nil(), "why": "a test" }),
    ),
    ("DELETE", "/admin/revocations/999", |_| json!({})),
    ("POST", "/admin/sessions/end", |person| json!({ "username": person.email, "why": "a test" })),
    ("POST", "/admin/keys", |_| json!({ "algorithm": "EdDSA" })),
    ("DELETE", "/admin/keys/none", |_| json!({})),
];

#[tokio::test]
async fn superusers_and_services_have_a_larger_limit() {
    let server = limiting().await;
    let (root, other) = (server.superuser("root").await, server.superuser("other").await);
    let person = server.person("first").await;
    let path = format!("/users/{}", person.id);
    let (granted, refused) = until_refused(6000, async |_| {
        server.patch(&path).bearer(&root.access).json(&json!({})).send().await
    })
    .await;
    assert!(granted >= 600, "{granted}");
    expect_wait(refused, 1);
    for (method, path, body) in ON_OTHERS {
        let path = path.replace("{id}", &person.id);
        let (granted, refused) = until_refused(600, async |_| {
            server.request(method, &path).bearer(&root.access).json(&body(&person)).send().await
        })
        .await;
        assert!(granted < 300, "{method} {path}: {granted}");
        expect_wait(refused, 1);
    }
    // Another superuser has another allowance. So has a superuser's own account.
    server.patch(&path).bearer(&other.access).json(&json!({})).send().await.expect_status(200);
    server.change_me(&root.access, &json!({ "name": "Ada" })).await.expect_status(200);
    // A service has the same limit as a superuser.
    let service = server.service(&other, "billing", &["tokens:introspect"]).await;
    let (granted, _) = until_refused(6000, async |_| {
        let path = format!("/auth/tokens/{}", uuid::Uuid::nil());
        server.request("DELETE", &path).bearer(&service).send().await
    })
    .await;
    assert!(granted >= 600, "{granted}");
    let known = server.post("/auth/introspect").bearer(&service);
    known.form(&[("token", &person.access)]).send().await.expect_status(200);
}

#[tokio::test]
async fn renewals_of_a_cookie_have_a_limit() {
    let server = Server::setup().set("RATE_LIMIT", "on").set("ACCESS_TOKEN_EXPIRES", 600);
    let server = server.start().await;
    let person = server.person("first").await;
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    let signed_in = server.post("/auth/cookie/login").form(&form).send().await.expect_status(204);
    let cookie = signed_in.headers.get_all("set-cookie").iter();
    let cookie = cookie.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
    let cookie = cookie.collect::<Vec<_>>().join("; ");
    let ask = async || {
        let me = server.get("/users/me").header("cookie", &cookie).send().await.expect_status(200);
        usize::from(me.headers.contains_key("set-cookie"))
    };
    server.advance(std::time::Duration::from_secs(333)).await;
    let mut renewed = 0;
    for _ in 0..40 {
        renewed += ask().await;
    }
    assert!((10..15).contains(&renewed), "{renewed}");
}

#[tokio::test]
async fn codes_for_other_hosts_have_a_limit_for_each_user_and_take_from_no_other() {
    let server = Server::setup().set("RATE_LIMIT", "on").set("FORWARD_HOSTS", "app.example.com");
    let server = server.start().await;
    let (person, other) = (server.person("first").await, server.person("other").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let begins = "/forward?to=https://app.example.com/";
    let page = format!("{begins}&state={}", "A".repeat(43));
    let mut code = String::new();
    let (granted, refused) = until_refused(600, async |_| {
        let answer = browser.open(&page).await;
        code = answer.header("location");
        answer
    })
    .await;
    assert!(granted >= 60, "{granted}");
    assert!(!code.contains("code="), "{code}");
    expect_wait(refused, 1);
    // Another browser of the same user gets none either, and another user does.
    let mut second = Browser::of(&server);
    second.sign_in(&person.email, PASSWORD).await;
    let (granted, _) = until_refused(60, async |_| second.open(&page).await).await;
    assert!(granted < 30, "{granted} more");
    let mut others = Browser::of(&server);
    others.sign_in(&other.email, PASSWORD).await;
    assert!(others.open(&page).await.expect_status(303).header("location").contains("code="));
    // Pages of other sites can cause this, so nothing else is refused.
    server.change_me(&person.access, &json!({ "name": "Ada" })).await.expect_status(200);
}

#[tokio::test]
async fn codes_for_applications_have_a_limit_for_each_user_and_take_from_no_other() {
    let server = limiting().await;
    trusted("app").insert(&server.database).await;
    let (person, other) = (server.person("first").await, server.person("other").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let page = request(&[("prompt", "none")]);
    let (granted, refused) = until_refused(600, async |_| browser.open(&page).await).await;
    assert!(granted >= 60, "{granted}");
    assert_eq!(refused.header("retry-after"), "1");
    let codes = server.database.count("authorization_code").await;
    assert_eq!(usize::try_from(codes).unwrap(), granted);
    let mut second = Browser::of(&server);
    second.sign_in(&person.email, PASSWORD).await;
    let (granted, _) = until_refused(60, async |_| second.open(&page).await).await;
    assert!(granted < 30, "{granted} more");
    let mut others = Browser::of(&server);
    others.sign_in(&other.email, PASSWORD).await;
    assert!(others.open(&page).await.expect_status(303).header("location").contains("code="));
    server.change_me(&person.access, &json!({ "name": "Ada" })).await.expect_status(200);
}

#[tokio::test]
async fn access_tokens_that_applications_revoke_alone_have_a_limit() {
    let server = limiting().await;
    for id in ["app", "other"] {
        trusted(id).insert(&server.database).await;
    }
    let own = [("grant_type", "client_credentials")];
    let turn = async |client: &str| {
        let token = exchange(&server, client, &own).await.expect_status(200).text("access_token");
        let revoke = server.post("/oauth2/revoke").header("authorization", &basic(client));
        revoke.form(&[("token", &token)]).send().await
    };
    let (granted, refused) = until_refused(600, async |_| turn("app").await).await;
    assert!(granted >= 60, "{granted}");
    assert_eq!(refused.header("retry-after"), "1");
    let rows = server.database.count("revocation").await;
    assert_eq!(usize::try_from(rows).unwrap(), granted);
    // Neither another application nor a user is refused.
    turn("other").await.expect_status(200);
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let tokens = tokens(&server, &mut browser, "app", &[]).await;
    for name in ["access_token", "refresh_token"] {
        let revoke = server.post("/oauth2/revoke").header("authorization", &basic("app"));
        revoke.form(&[("token", &tokens.text(name))]).send().await.expect_status(200);
    }
}

/// The operations that change something and have no limit, with the reason why they are bounded.
const UNLIMITED: [(&str, &str, &str); 15] = [
    ("POST", "/auth/jwt/refresh", "changes the row of its session, and adds none"),
    ("POST", "/auth/jwt/logout", "ends a session that lives"),
    ("POST", "/auth/jwt/logout-all", "ends the session that it is asked from"),
    ("POST", "/auth/cookie/logout", "ends a session that lives"),
    ("DELETE", "/auth/sessions", "writes a row only if it ends a session"),
    ("DELETE", "/auth/sessions/{id}", "ends a session that lives"),
    ("POST", "/auth/restore-email", "spends a link of a mail"),
    ("POST", "/auth/accept-invitation", "spends an invitation"),
    ("POST", "/auth/introspect", "writes nothing"),
    ("POST", "/auth/tokens/check", "writes nothing"),
    ("POST", "/admin/tokens/explain", "writes nothing"),
    ("POST", "/admin/authorization-checks", "writes nothing"),
    ("DELETE", "/users/me/pending-email", "takes back a change of address, and those are limited"),
    ("DELETE", "/users/me/previous-emails", "takes back what such a change has sent"),
    ("DELETE", "/users/me", "ends the account"),
];

/// The operations that change something and have a limit. The document alone does not show it: every operation can
/// answer 429 to a caller who sends wrong API tokens.
const LIMITED: [(&str, &str); 39] = [
    ("POST", "/admin/clients"),
    ("POST", "/admin/clients-document"),
    ("DELETE", "/admin/clients/{client_id}"),
    ("PATCH", "/admin/clients/{client_id}"),
    ("POST", "/admin/clients/{client_id}/secrets"),
    ("POST", "/admin/resources"),
    ("DELETE", "/admin/resources"),
    ("POST", "/admin/feed/reset"),
    ("POST", "/admin/import"),
    ("DELETE", "/admin/invitations/{id}"),
    ("POST", "/admin/invitations/{id}/resend"),
    ("POST", "/admin/keys"),
    ("DELETE", "/admin/keys/{kid}"),
    ("POST", "/admin/revocations"),
    ("DELETE", "/admin/revocations/{seq}"),
    ("POST", "/admin/services"),
    ("DELETE", "/admin/services/{name}"),
    ("POST", "/admin/sessions/end"),
    ("POST", "/admin/upstreams/{name}/check"),
    ("POST", "/auth/{provider}/backchannel-logout"),
    ("POST", "/auth/cookie/login"),
    ("POST", "/auth/forgot-password"),
    ("POST", "/auth/jwt/fresh"),
    ("POST", "/auth/jwt/login"),
    ("POST", "/auth/register"),
    ("POST", "/auth/request-verify-token"),
    ("POST", "/auth/reset-password"),
    ("POST", "/auth/revoke"),
    ("DELETE", "/auth/tokens"),
    ("POST", "/auth/tokens"),
    ("DELETE", "/auth/tokens/{id}"),
    ("POST", "/auth/verify"),
    ("POST", "/users"),
    ("POST", "/users/export"),
    ("PATCH", "/users/me"),
    ("POST", "/users/me/export"),
    ("DELETE", "/users/{id}"),
    ("PATCH", "/users/{id}"),
    ("POST", "/users/{id}/export"),
];

#[test]
fn every_operation_that_changes_something_has_a_limit_or_a_reason_for_none() {
    let documented = operations().into_iter().filter(|(method, ..)| method != "GET");
    let documented: BTreeMap<_, _> = documented
        .map(|(method, path, operation)| ((method, path), operation["responses"]["429"].clone()))
        .collect();
    let owned = |method: &str, path: &str| (method.to_owned(), path.to_owned());
    let limited = LIMITED.map(|(method, path)| owned(method, path));
    let unlimited = UNLIMITED.map(|(method, path, _)| owned(method, path));
    let known: BTreeSet<_> = limited.iter().chain(&unlimited).cloned().collect();
    assert_eq!(
        known.len(),
        limited.len() + unlimited.len(),
        "an operation is in both lists, or twice in one"
    );
    assert_eq!(known, documented.keys().cloned().collect());
    for operation in limited {
        assert!(!documented[&operation].is_null(), "{operation:?} has no 429 in the document");
    }
}
