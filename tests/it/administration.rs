//! The administration pages: who can see them, who can act on them, and the results.

use std::time::UNIX_EPOCH;

use serde_json::json;

use crate::support::{Browser, Clock, Kind, PASSWORD, Person, Server, awaited, eventually};

const PAGES: [&str; 11] = [
    "/admin",
    "/admin/users",
    "/admin/signed-in",
    "/admin/api-tokens",
    "/admin/revoked",
    "/admin/events",
    "/admin/mails",
    "/admin/signing-keys",
    "/admin/apps",
    "/admin/servers",
    "/admin/settings",
];

impl Server {
    /// Changes a user, as a superuser does.
    async fn grant(&self, root: &Person, person: &Person, changes: serde_json::Value) {
        let path = format!("/users/{}", person.id);
        let change = self.patch(&path).bearer(&root.access).json(&changes);
        change.send().await.expect_status(200);
    }
}

#[tokio::test]
async fn administration_pages_require_a_scope_and_name_the_missing_one() {
    let server = Server::setup().set("BRAND_CONTACT", "help@example.com").start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let user_page = format!("/admin/users/{}", person.id);
    let pages = PAGES.iter().copied().chain([user_page.as_str()]);
    let mut browser = Browser::of(&server);
    for page in pages.clone() {
        let led = browser.open(page).await.expect_status(303);
        assert!(led.header("location").ends_with(&format!("login?next={page}")), "{page}");
        browser.press(page, &[("act", "change")]).await;
    }
    browser.sign_in(&person.email, PASSWORD).await;
    for page in pages.clone() {
        let refused = browser.open(page).await.expect_status(403);
        assert!(refused.body.contains("“admin”"), "{}", refused.body);
        assert!(refused.body.contains("help@example.com"), "{}", refused.body);
        assert!(!refused.body.contains(&root.email), "{}", refused.body);
    }
    assert!(!browser.open("/").await.body.contains("Administration"));
    // A user who got the scope signs in again, and sees everything.
    server.grant(&root, &person, json!({ "scopes": ["authenticated", "admin"] })).await;
    browser.open("/admin").await.expect_status(303);
    browser.sign_in(&person.email, PASSWORD).await;
    assert!(browser.open("/").await.body.contains("Administration"));
    for page in pages.clone() {
        let seen = browser.open(page).await.expect_status(200);
        assert!(seen.body.contains("aria-current=\"page\""), "{}", seen.body);
        // The pages offer this user no actions of superusers.
        for act in ["delete", "revoke", "rotate", "create-service", "end-session", "change"] {
            let button = format!("name=\"act\" value=\"{act}\"");
            let is_shown = seen.body.contains(&button) && page != user_page;
            assert!(!is_shown, "{page}: {act}");
        }
    }
    let id = person.id.as_str();
    for (page, act) in [
        (user_page.as_str(), "change"),
        (&user_page, "delete"),
        (&user_page, "end-sessions"),
        ("/admin/signed-in", "end-session"),
        ("/admin/api-tokens", "create-service"),
        ("/admin/revoked", "revoke"),
        ("/admin/mails", "discard"),
        ("/admin/signing-keys", "rotate"),
    ] {
        let fields =
            [("act", act), ("id", id), ("why", "x"), ("is_superuser", "on"), ("name", "x")];
        let refused = browser.press(page, &fields).await.expect_status(403);
        assert!(refused.body.contains("“super”"), "{page} {act}: {}", refused.body);
    }
    assert_eq!(server.me(&person.access).await.json["is_superuser"], false);
}

#[tokio::test]
async fn a_user_who_gains_permissions_must_sign_in_again_on_the_pages() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let mut thief = Browser::of(&server);
    thief.cookies = browser.cookies.clone();
    // A change that gives and takes no permissions ends no session.
    server.grant(&root, &person, json!({ "is_verified": true, "name": "Ada" })).await;
    browser.open("/account").await.expect_status(200);
    server.grant(&root, &person, json!({ "is_superuser": true })).await;
    browser.open("/account").await.expect_status(303);
    thief.open("/admin").await.expect_status(303);
    server.me(&person.access).await.expect_status(200);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/admin").await.expect_status(200);
    thief.open("/admin").await.expect_status(303);
    // After the flag is removed, the session goes on, but the pages refuse.
    server.grant(&root, &person, json!({ "is_superuser": false })).await;
    server.advance(std::time::Duration::from_secs(1)).await;
    browser.open("/admin").await.expect_status(403);
    browser.open("/account").await.expect_status(200);
}

#[tokio::test]
async fn a_superuser_can_manage_users_on_their_pages() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    for name in ["second", "third"] {
        server.person(name).await;
    }
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let found = browser.open("/admin/users?q=FIRST").await.expect_status(200);
    assert!(
        found.body.contains(&person.email) && !found.body.contains("second@"),
        "{}",
        found.body
    );
    let found = browser.open("/admin/users?state=superuser").await.expect_status(200);
    assert!(found.body.contains(&root.email) && !found.body.contains(&person.email));
    let nobody = browser.open("/admin/users?q=%25%00&state=nonsense").await.expect_status(200);
    assert!(nobody.body.contains("No users found."), "{}", nobody.body);
    browser.open("/admin/users/nobody").await.expect_status(404);

    let page = format!("/admin/users/{}", person.id);
    browser.open(&page).await.expect_status(200);
    let flags = [
        ("act", "change"),
        ("was_active", "on"),
        ("was_scopes", "authenticated"),
        ("is_active", "on"),
        ("is_verified", "on"),
        ("scopes", "authenticated a:b"),
    ];
    browser.press_and_follow(&page, &flags).await;
    let me = server.me(&person.access).await;
    assert_eq!(
        (&me.json["is_verified"], &me.json["scopes"]),
        (&json!(true), &json!(["a:b", "authenticated"]))
    );
    let wrong = [("act", "change"), ("is_active", "on"), ("scopes", "a\"b")];
    let refused = browser.press(&page, &wrong).await.expect_status(422);
    assert!(refused.body.contains("Enter at most 32 scopes"), "{}", refused.body);

    let wrong = [("act", "change"), ("is_active", "on"), ("scopes", "a,b")];
    browser.press(&page, &wrong).await.expect_status(422);

    // A form that was loaded earlier does not undo a change that another superuser made since.
    let person_active = json!({ "is_active": false });
    let other = server.person("other").await;
    server.grant(&root, &other, person_active).await;
    let old = [
        ("act", "change"),
        ("was_active", "on"),
        ("was_scopes", "authenticated"),
        ("is_active", "on"),
        ("scopes", "authenticated x:y"),
    ];
    let other_page = format!("/admin/users/{}", other.id);
    let refused: Vec<_> = old.into_iter().filter(|(name, _)| *name != "scopes").collect();
    let refused: Vec<_> = refused.into_iter().chain([("scopes", "authenticated, x:y")]).collect();
    let shown = browser.press(&other_page, &refused).await.expect_status(422);
    // The refused form still has the state from which it was loaded.
    assert!(shown.body.contains("name=\"was_active\""), "{}", shown.body);
    browser.press_and_follow(&other_page, &old).await;
    server.login(&other.email, PASSWORD).await.expect_status(400);
    // Two superusers can each add a scope. A scope with a comma that was set elsewhere stays.
    server.grant(&root, &other, json!({ "scopes": ["authenticated", "a,b", "x:y"] })).await;
    let added = [("act", "change"), ("was_scopes", "authenticated a,b"), ("scopes", "a,b z")];
    browser.press_and_follow(&other_page, &added).await;
    let read = server.get(&format!("/users/{}", other.id)).bearer(&root.access).send().await;
    assert_eq!(read.json["scopes"], json!(["a,b", "x:y", "z"]));

    // Ending sessions requires a reason, which the list shows.
    browser.press(&page, &[("act", "end-sessions"), ("why", " ")]).await.expect_status(422);
    server.me(&person.access).await.expect_status(200);
    let end = [("act", "end-sessions"), ("why", "laptop <b>lost")];
    browser.press_and_follow(&page, &end).await;
    server.me(&person.access).await.expect_status(401);
    let revoked = browser.open("/admin/revoked").await.expect_status(200);
    assert!(revoked.body.contains("laptop &lt;b&gt;lost"), "{}", revoked.body);

    // An inactive user is signed out and cannot sign in.
    let flags = [("act", "change"), ("was_active", "on")];
    browser.press_and_follow(&page, &flags).await;
    server.login(&person.email, PASSWORD).await.expect_status(400);
    let delete = |email| [("act", "delete"), ("email", email)];
    browser.press(&page, &delete("second@user.com")).await.expect_status(422);
    let gone = browser.press(&page, &delete(&person.email)).await.expect_status(303);
    assert_eq!(gone.header("location"), "../../admin/users");
    assert!(browser.open("/admin/users").await.body.contains("The account is deleted."));
    browser.open(&page).await.expect_status(404);

    // The last superuser can neither demote nor delete their own account.
    let own = format!("/admin/users/{}", root.id);
    browser.open(&own).await.expect_status(200);
    let demote = [("act", "change"), ("was_superuser", "on")];
    let demoted = browser.press(&own, &demote).await;
    assert!(demoted.expect_status(409).body.contains("Make another account a superuser first"));
    browser.press(&own, &delete(&root.email)).await.expect_status(403);
    let events = browser.open(&format!("/admin/events?actor={}", root.email)).await;
    assert!(events.expect_status(200).body.contains("Account status changed"));
    let events = browser.open("/admin/events?act=user-delete&since=2020-01-01").await;
    assert!(events.body.contains("Account deleted"), "{}", events.body);
    let later = browser.open("/admin/events?act=user-delete&since=2999-01-01").await;
    assert!(!later.body.contains("Account deleted</td>"), "{}", later.body);
    let never = browser.open("/admin/events?since=yesterday").await.expect_status(200);
    assert!(
        never.body.contains("This is not a date") && never.body.contains("None."),
        "{}",
        never.body
    );

    // The audit records who had a mail sent. A reason with marks that reverse text is refused.
    let other = format!("/admin/users/{}", other.id);
    let turned = [("act", "end-sessions"), ("why", "\u{202e}x")];
    browser.press(&other, &turned).await.expect_status(422);
    let third =
        server.database.column::<String>("select id from \"user\" where email = 'third@user.com'");
    let third = format!("/admin/users/{}", third.await[0]);
    browser.open(&third).await.expect_status(200);
    browser.press_and_follow(&third, &[("act", "reset-mail")]).await;
    server.letter("third@user.com", "password", 1).await;
    let acts = format!("actor = 'user:{}' and act = 'password-reset-mail'", root.id);
    assert_eq!(server.database.count(&format!("audit where {acts}")).await, 1);
}

#[tokio::test]
async fn administration_pages_show_user_input_as_text() {
    let server = Server::setup().set("TRUSTED_PROXIES", "127.0.0.1").start().await;
    let root = server.superuser("root").await;
    let (script, image) = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>");
    let body = json!({
        "email": "first@user.com", "password": PASSWORD, "name": script, "surname": image,
        "website": "https://example.com/'onclick=alert(1)",
    });
    let made = server.post("/auth/register").json(&body).send().await.expect_status(201);
    let form = [("username", "first@user.com"), ("password", PASSWORD)];
    let login = server.post("/auth/jwt/login").header("user-agent", script);
    let login = login.header("x-forwarded-for", image).header("x-request-id", image);
    let access = login.form(&form).send().await.expect_status(200).text("access_token");
    server.api_token(&access, &json!({ "name": image })).await;
    let why = json!({ "kind": "sub", "subject": made.text("id"), "why": script });
    let revoke = server.post("/admin/revocations").bearer(&root.access).json(&why);
    let login = server.post("/auth/jwt/login").header("user-agent", image);
    revoke.send().await.expect_status(204);
    login.form(&form).send().await.expect_status(200);
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let user_page = format!("/admin/users/{}", made.text("id"));
    let query = "?q=%3Cscript%3Ealert(1)%3C/script%3E&state=%22%3E%3Cscript%3Ealert(1)&actor=%3Cimg%20src=x";
    for page in PAGES.iter().copied().chain([user_page.as_str()]) {
        for page in [page.to_owned(), format!("{page}{query}")] {
            let seen = browser.open(&page).await.expect_status(200);
            for bad in ["<script>alert", "<img src=x", "'onclick", "=\"\"><script"] {
                assert!(!seen.body.contains(bad), "{page}: {}", seen.body);
            }
            let policy = seen.header("content-security-policy").to_owned();
            assert!(
                policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'; ")
            );
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        }
    }
}

#[tokio::test]
async fn pages_show_unknown_actions_by_name_and_long_lists_completely() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let act = format!(
        "insert into audit (seq, at, act, actor, subject, detail, digest) \
         values (100000, 0, 'act-of-next-release', 'anybody', 'user:{}', '{{}}', 'x')",
        root.id
    );
    server.database.execute(&act).await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    for page in ["/account/events", "/admin/events", &format!("/admin/users/{}", root.id)] {
        let seen = browser.open(page).await.expect_status(200);
        assert!(seen.body.contains("act-of-next-release"), "{page}: {}", seen.body);
    }
    for number in 0..60 {
        let service = json!({ "name": format!("service-{number}"), "scopes": [] });
        let make = server.post("/admin/services").bearer(&root.access).json(&service);
        make.send().await.expect_status(201);
    }
    for number in 0..55 {
        let token = json!({ "username": format!("service-{number}") });
        server.api_token(&root.access, &token).await;
    }
    let first = browser.open("/admin/api-tokens").await.expect_status(200);
    let (_, rest) = first.body.split_once("href=\"?after=").unwrap();
    let next = format!("/admin/api-tokens?after={}", rest.split('"').next().unwrap());
    let second = browser.open(&next).await.expect_status(200);
    let shown = |page: &str| page.matches("value=\"delete-token\"").count();
    assert_eq!((shown(&first.body), shown(&second.body)), (50, 5));
    browser.open("/admin/users?q=root&state=").await.expect_status(200);
}

#[tokio::test]
async fn a_superuser_can_manage_sessions_tokens_services_and_revocations_on_the_pages() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let session = server.get("/auth/sessions").bearer(&person.access).send().await;
    let session = session.json["items"][0]["id"].as_str().unwrap().to_owned();
    let list = browser.open("/admin/signed-in").await.expect_status(200);
    assert!(list.body.contains(&session) && list.body.contains(&person.email), "{}", list.body);
    let end = [("act", "end-session"), ("id", session.as_str()), ("why", "x")];
    browser.press_and_follow("/admin/signed-in", &end).await;
    server.me(&person.access).await.expect_status(401);
    browser
        .press("/admin/signed-in", &[("id", "x"), ("act", ""), ("why", "x")])
        .await
        .expect_status(404);

    browser.open("/admin/api-tokens").await.expect_status(200);
    let service = [("act", "create-service"), ("name", "shop"), ("scopes", "tokens:introspect")];
    browser.press_and_follow("/admin/api-tokens", &service).await;
    browser.press("/admin/api-tokens", &service).await.expect_status(409);
    let token = [("act", "create-token"), ("username", "shop"), ("name", "shop's <i>")];
    let wrong: Vec<_> = token.into_iter().chain([("current", "wrong secret")]).collect();
    let refused = browser.press("/admin/api-tokens", &wrong).await.expect_status(400);
    assert!(refused.body.contains("value=\"shop&#x27;s &lt;i&gt;\""), "{}", refused.body);
    assert!(!refused.body.contains("wrong secret"), "{}", refused.body);
    for name in ["a\nb", "\0", &"L".repeat(65)] {
        let wrong =
            [("act", "create-token"), ("username", "shop"), ("name", name), ("current", PASSWORD)];
        browser.press("/admin/api-tokens", &wrong).await.expect_status(422);
    }
    let token: Vec<_> = token.into_iter().chain([("current", PASSWORD)]).collect();
    let made = browser.press("/admin/api-tokens", &token).await.expect_status(201);
    let secret = made
        .body
        .split("class=\"secret\"")
        .nth(1)
        .unwrap()
        .split("<code>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap()
        .to_owned();
    let asked =
        server.post("/auth/introspect").bearer(&secret).form(&[("token", "x")]).send().await;
    asked.expect_status(200);
    let list = browser.open("/admin/api-tokens").await;
    assert!(
        !list.body.contains(&secret) && list.body.contains("shop&#x27;s &lt;i&gt;"),
        "{}",
        list.body
    );
    let id = server.database.column::<String>("select id from api_token").await.remove(0);
    let delete = [("act", "delete-token"), ("id", id.as_str())];
    browser.press_and_follow("/admin/api-tokens", &delete).await;
    browser.press("/admin/api-tokens", &delete).await.expect_status(404);
    let made = browser.open("/admin/events?act=service-create&subject=service:shop").await;
    assert_eq!(made.expect_status(200).body.matches(">Service shop<").count(), 1);
    let delete = [("act", "delete-service"), ("name", "shop")];
    browser.press_and_follow("/admin/api-tokens", &delete).await;

    let (access, _) = server.sign_in(&person.email, PASSWORD).await;
    browser.open("/admin/revoked").await.expect_status(200);
    let explain = [("act", "explain"), ("token", access.as_str())];
    let told = browser.press("/admin/revoked", &explain).await.expect_status(200);
    assert!(told.body.contains("accepted"), "{}", told.body);
    let revoke = [("act", "revoke"), ("kind", "sub"), ("subject", &person.id), ("why", "left")];
    browser.press_and_follow("/admin/revoked", &revoke).await;
    server.me(&access).await.expect_status(401);
    // A superuser who acts on a later page of a list stays on this page.
    let middle = "/admin/revoked?after=1000000";
    let page = browser.open(middle).await.expect_status(200);
    assert!(page.body.contains("revoked?after=1000000\"><input"), "{}", page.body);
    let led = browser.press(middle, &revoke).await.expect_status(303);
    assert_eq!(led.header("location"), format!("..{middle}#revoke-title"));
    let wrong = [("act", "revoke"), ("kind", "sub"), ("subject", "x"), ("why", "left")];
    let refused = browser.press("/admin/revoked", &wrong).await.expect_status(422);
    // The form keeps what was typed and shows the reason of the refusal.
    let form =
        refused.body.split("id=\"revoke-title\"").nth(1).unwrap().split("</form>").next().unwrap();
    for kept in ["value=\"sub\" selected", "value=\"x\"", "value=\"left\"", "not a valid ID."] {
        assert!(form.contains(kept), "{kept}: {form}");
    }
    let seq = server
        .database
        .column::<i64>("select max(seq) from revocation")
        .await
        .remove(0)
        .to_string();
    let lift = [("act", "lift"), ("id", seq.as_str())];
    let lifted = browser.press_and_follow("/admin/revoked", &lift).await;
    assert!(lifted.body.contains("The revocation is lifted"), "{}", lifted.body);
    browser.press("/admin/revoked", &lift).await.expect_status(404);

    // Entries that only lift others do not fill a page.
    browser.press_and_follow("/admin/revoked", &revoke).await;
    server
        .database
        .execute(
            "insert into revocation (kind, subject, \"until\", why, \"at\") \
             with recursive n (x) as (select 1 union all select x + 1 from n where x < 60) \
             select 'lift', 'jti:x', 4102444800000, 'read again', 0 from n",
        )
        .await;
    let list = browser.open("/admin/revoked").await.expect_status(200);
    assert!(list.body.contains("left") && !list.body.contains("read again"), "{}", list.body);
}

#[tokio::test]
async fn the_overview_shows_hourly_counts_which_are_kept_for_400_days() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let hour = match server.database.kind() {
        Kind::Sqlite => "cast(strftime('%s') as integer) / 3600",
        Kind::Postgres => "cast(extract(epoch from now()) as bigint) / 3600",
    };
    for (days, sessions) in [(1, 77), (399, 78), (401, 79)] {
        let sql = format!(
            "insert into sample (hour, sessions, api_tokens) \
             values (({hour} - {days} * 24) * 3600000, {sessions}, 0)"
        );
        server.database.execute(&sql).await;
    }
    // A start purges.
    let server = Server::setup().on(server.kill()).start().await;
    eventually("what is old is purged", async || {
        let kept = server.database.column::<i64>("select sessions from sample").await;
        assert!(kept.contains(&77) && kept.contains(&78), "{kept:?}");
        !kept.contains(&79) && kept.len() >= 3
    })
    .await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let overview = browser.open("/admin").await.expect_status(200);
    assert!(overview.body.contains(": 77</title>"), "{}", overview.body);
}

#[tokio::test]
async fn administration_pages_show_counts_mails_keys_servers_and_settings() {
    // At noon, so that all of it happens today.
    let day = 24 * 60 * 60 * 1000;
    let time = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let server = Server::setup()
        .clock(&Clock::ahead_by(day + day / 2 - time % day))
        .set("JWT_ALGORITHM", "ES256")
        .set("REPLICA_NAME", "replica-<1>")
        .set("MAIL_URL", "smtp://user:hunter2@127.0.0.1:1?tls=none")
        .set("MAIL_FROM", "accounts@example.com")
        .start()
        .await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    server.login(&person.email, "wrong").await.expect_status(400);
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let overview = browser.open("/admin").await.expect_status(200);
    // Today there were two registrations, three sign-ins and one refusal.
    for (chart, count) in [("New users", 2), ("Sign-ins", 3), ("Refused attempts", 1)] {
        let (_, rest) = overview.body.split_once(&format!("<figcaption>{chart}")).unwrap();
        let bar = rest.split("</figure>").next().unwrap();
        assert!(bar.contains(&format!(": {count}</title>")), "{chart}: {bar}");
    }
    let mails = browser.open("/admin/mails").await.expect_status(200);
    assert!(mails.body.contains(&person.email) && mails.body.contains("verify"), "{}", mails.body);
    let token = "value=\"hasten\"><input type=\"hidden\" name=\"id\" value=\"";
    let id = mails.body.split(token).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let count = async || server.database.count("job").await;
    let before = count().await;
    let act = |act: &'static str| [("act", act), ("id", id.as_str())];
    browser.press_and_follow("/admin/mails", &act("hasten")).await;
    browser.press_and_follow("/admin/mails", &act("discard")).await;
    browser.press("/admin/mails", &act("discard")).await.expect_status(404);
    browser.press("/admin/mails", &act("hasten")).await.expect_status(404);
    assert_eq!(count().await, before - 1);
    assert!(browser.open("/admin/events?act=mail-drop").await.body.contains(&format!("mail:{id}")));

    let keys = browser.open("/admin/signing-keys").await.expect_status(200);
    assert!(keys.body.contains(">signs tokens") && keys.body.contains("ES256"), "{}", keys.body);
    let rotate = [("act", "rotate"), ("algorithm", "EdDSA"), ("now", "on")];
    let made = browser.press_and_follow("/admin/signing-keys", &rotate).await;
    assert!(made.body.contains("EdDSA") && made.body.contains("key is created"), "{}", made.body);
    let kid = server
        .database
        .column::<String>("select kid from signing_key where algorithm = 'EdDSA'")
        .await;
    let retire = [("act", "retire"), ("id", kid[0].as_str()), ("force", "on")];
    browser.press_and_follow("/admin/signing-keys", &retire).await;
    let active = server
        .database
        .column::<String>("select kid from signing_key where algorithm = 'ES256'")
        .await;
    let retire = [("act", "retire"), ("id", active[0].as_str()), ("force", "on")];
    browser.press("/admin/signing-keys", &retire).await.expect_status(409);
    browser
        .press("/admin/signing-keys", &[("act", "rotate"), ("algorithm", "HS256")])
        .await
        .expect_status(422);

    // Within a second or two, the page shows that the server has applied everything.
    let servers = awaited("everything is applied", async || {
        let servers = browser.open("/admin/servers").await.expect_status(200);
        Some(servers).filter(|servers| servers.body.contains(">0</td>"))
    });
    let servers = servers.await;
    assert!(servers.body.contains("replica-&lt;1&gt;"), "{}", servers.body);
    let settings = browser.open("/admin/settings").await.expect_status(200);
    assert!(settings.body.contains("JWT_ALGORITHM") && settings.body.contains("environment"));
    assert!(settings.body.contains(">(secret)</td>"), "{}", settings.body);
    for secret in ["hunter2", crate::support::SECRET] {
        assert!(!settings.body.contains(secret), "{secret} is shown");
    }
    // The source of a value is in the reader's language.
    browser.language = "de".to_owned();
    let settings = browser.open("/admin/settings").await.expect_status(200);
    for source in ["Umgebungsvariable", "Vorgabe", "nicht gesetzt"] {
        assert!(settings.body.contains(&format!(">{source}<")), "{source}: {}", settings.body);
    }
}
