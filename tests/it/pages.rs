//! Pages: signing in with a browser, and what somebody would try against it.

use std::time::Duration;

use reqwest::Url;
use serde_json::json;

use crate::support::{Browser, PASSWORD, Server};

#[tokio::test]
async fn somebody_registers_signs_in_and_out_without_scripts() {
    let server = Server::start().await;
    let mut browser = Browser::of(&server);
    assert_eq!(browser.open("/").await.expect_status(303).header("location"), "./login?next=/");
    assert_eq!(browser.open("/auth").await.expect_status(303).header("location"), "./login");
    browser.open("/register").await.expect_status(200);
    let filled = [("email", "first@user.com"), ("password", PASSWORD)];
    let done = browser.press("/register", &filled).await.expect_status(201);
    assert!(done.body.contains("A mail is on its way"), "{}", done.body);
    server.letter("first@user.com", "Confirm", 1).await;
    browser.open("/login?next=/").await.expect_status(200);
    let answer = browser.press("/login", &filled).await.expect_status(303);
    assert_eq!(answer.header("location"), "./");
    let home = browser.open("/").await.expect_status(200);
    assert!(home.body.contains("first@user.com"), "{}", home.body);
    for page in ["/login", "/register"] {
        assert_eq!(browser.open(page).await.expect_status(303).header("location"), "./");
    }
    browser.open("/").await.expect_status(200);
    let out = browser.press("/logout", &[]).await.expect_status(303);
    assert_eq!(out.header("location"), "./login");
    browser.open("/").await.expect_status(303);
}

#[tokio::test]
async fn what_was_typed_stays_but_for_the_password_and_unknown_is_wrong() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.open("/login").await;
    let mut bodies = Vec::new();
    for email in ["first@user.com", "nobody@user.com"] {
        let typed = [("email", email), ("password", "s3cret typed"), ("next", "/x")];
        let answer = browser.press("/login", &typed).await.expect_status(400);
        assert!(answer.body.contains(&format!("value=\"{email}\"")), "{}", answer.body);
        assert!(answer.body.contains("value=\"&#x2f;x\"") || answer.body.contains("value=\"/x\""));
        assert!(!answer.body.contains("s3cret"), "{}", answer.body);
        bodies.push(answer.body.replace(email, ""));
    }
    assert_eq!(bodies[0], bodies[1]);
    browser.open("/register").await;
    let typed = [("email", "first@user.com"), ("password", "s3cret typed")];
    let taken = browser.press("/register", &typed).await.expect_status(400);
    assert!(taken.body.contains("email-fault") && !taken.body.contains("s3cret"));
    let typed = [("email", "new@user.com"), ("password", "")];
    let short = browser.press("/register", &typed).await.expect_status(400);
    assert!(short.body.contains("password-fault"), "{}", short.body);
    let closed = Server::setup().set("REGISTRATION", "closed").start().await;
    let mut browser = Browser::of(&closed);
    let page = browser.open("/register").await.expect_status(403);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!browser.open("/login").await.body.contains("href=\"register\""));
}

#[tokio::test]
async fn a_session_of_a_browser_is_one_like_any_other() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let list = server.get("/auth/sessions").bearer(&person.access).send().await;
    let list = list.expect_status(200).json["items"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2);
    let other = list.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/auth/sessions/{}", other["id"].as_str().unwrap());
    server.request("DELETE", &path).bearer(&person.access).send().await.expect_status(204);
    browser.open("/").await.expect_status(303);

    browser.sign_in(&person.email, PASSWORD).await;
    let change = json!({ "password": "battery staple correct" });
    server.change_me(&person.access, &change).await.expect_status(200);
    browser.open("/").await.expect_status(303);

    browser.sign_in(&person.email, "battery staple correct").await;
    server.database.execute("update \"user\" set is_active = false").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    browser.open("/").await.expect_status(303);
}

#[tokio::test]
async fn signing_in_gives_another_id_and_a_planted_one_opens_nothing() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    // An attacker takes an id of their own, and has the victim sign in by it.
    let mut attacker = Browser::of(&server);
    attacker.open("/login").await;
    let planted = attacker.id();
    let mut victim = Browser::of(&server);
    victim.cookies = attacker.cookies.clone();
    victim.sign_in("first@user.com", PASSWORD).await;
    assert_ne!(victim.id(), planted);
    victim.open("/").await.expect_status(200);
    attacker.open("/").await.expect_status(303);
    // One of the attacker's making is not taken either, nor two at once.
    for id in ["x", "", &"A".repeat(43), "../../etc", "%00"] {
        let mut other = Browser::of(&server);
        other.cookies.insert("tessera-browser".to_owned(), id.to_owned());
        other.open("/").await.expect_status(303);
        other.sign_in("first@user.com", PASSWORD).await;
        assert_ne!(other.id(), id);
    }
    let two = format!("tessera-browser={}; tessera-browser={planted}", victim.id());
    server.get("/").header("cookie", &two).send().await.expect_status(303);
}

#[tokio::test]
async fn a_copy_of_the_cookie_is_worth_nothing_after_the_sign_out_and_the_table_has_none() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    let mut thief = Browser::of(&server);
    thief.cookies = browser.cookies.clone();
    thief.open("/").await.expect_status(200);
    let digests = server.database.column::<String>("select digest from browser_session").await;
    assert!(digests.iter().all(|digest| !digest.contains(&browser.id())), "{digests:?}");
    browser.open("/").await;
    browser.press("/logout", &[]).await.expect_status(303);
    thief.open("/").await.expect_status(303);
    // Nor does it open anything but pages.
    server.me(&thief.id()).await.expect_status(401);
    let cookie = format!("tessera={}", thief.id());
    server.get("/users/me").header("cookie", &cookie).send().await.expect_status(401);
    assert!(!server.log.text().contains(&thief.id()));
}

#[tokio::test]
async fn no_page_of_another_site_sends_a_form() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    browser.open("/").await.expect_status(200);
    let right = browser.csrf.clone();
    // None, another browser's, and that from before the sign-in.
    let mut other = Browser::of(&server);
    other.open("/login").await;
    for csrf in ["", "x", &other.csrf.clone(), &"A".repeat(43)] {
        browser.csrf = csrf.to_owned();
        let refused = browser.press("/logout", &[]).await.expect_status(403);
        assert!(refused.header("content-type").starts_with("text/html"), "{}", refused.body);
    }
    let cookie = format!("tessera-browser={}", browser.id());
    let post = || server.post("/logout").header("cookie", &cookie).form(&[("csrf", &*right)]);
    post().header("origin", "https://evil.example").send().await.expect_status(403);
    post().header("origin", "null").send().await.expect_status(403);
    post().header("sec-fetch-site", "cross-site").send().await.expect_status(403);
    post().header("sec-fetch-site", "same-site").send().await.expect_status(403);
    let text = format!("csrf={right}");
    let typed = server.post("/logout").header("cookie", &cookie).body("text/plain", text);
    typed.send().await.expect_status(415);
    browser.open("/").await.expect_status(200);
    // Nor does one sign a browser in as somebody else.
    let filled = [("email", "first@user.com"), ("password", PASSWORD), ("csrf", &*right)];
    server.post("/login").form(&filled).send().await.expect_status(403);
    server.post("/register").form(&filled).send().await.expect_status(403);
    post().header("origin", &server.url("")).send().await.expect_status(303);
}

#[tokio::test]
async fn whatever_next_says_leads_to_this_site() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "///evil.example",
        "javascript:alert(1)",
        "/%2f%2fevil.example",
        "/.//evil.example",
        "/..//evil.example",
        "/\r\nLocation: https://evil.example",
        "https:evil.example",
        "@evil.example",
        "",
        "/docs",
    ] {
        let mut browser = Browser::of(&server);
        browser.open("/login").await;
        let filled = [("email", "first@user.com"), ("password", PASSWORD), ("next", next)];
        let answer = browser.press("/login", &filled).await.expect_status(303);
        let base = Url::parse(&server.url("/login")).unwrap();
        let place = base.join(&answer.header("location")).unwrap();
        assert_eq!(place.origin(), base.origin(), "{next:?} leads to {place}");
        let query = Url::parse_with_params(&server.url("/login"), [("next", next)]).unwrap();
        let path = format!("/login?{}", query.query().unwrap_or_default());
        let answer = browser.open(&path).await.expect_status(303);
        let place = base.join(&answer.header("location")).unwrap();
        assert_eq!(place.origin(), base.origin(), "{next:?} leads to {place}");
    }
}

#[tokio::test]
async fn a_browser_that_does_nothing_is_signed_out_and_one_that_is_used_is_noted_once_a_minute() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    let times = async || server.database.column::<i64>("select expires_at from session").await[0];
    let before = times().await;
    browser.open("/").await.expect_status(200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(times().await, before, "within the minute nothing is written");
    let ago = |seconds: i64| {
        let millis = seconds * 1000;
        format!(
            "update session set last_used_at = last_used_at - {millis}, expires_at = expires_at - {millis}"
        )
    };
    server.database.execute(&ago(61)).await;
    browser.open("/").await.expect_status(200);
    for _ in 0..500 {
        if times().await >= before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(times().await >= before, "it goes on");
    // However much it is used, not for ever. (Another start, which remembers no minute.)
    let cookies = browser.cookies.clone();
    let server = Server::setup().on(server.kill()).start().await;
    let mut browser = Browser::of(&server);
    browser.cookies = cookies;
    let times = async || server.database.column::<i64>("select expires_at from session").await[0];
    server.database.execute("update session set created_at = created_at - 604000 * 1000").await;
    server.database.execute(&ago(61)).await;
    browser.open("/").await.expect_status(200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let created = server.database.column::<i64>("select created_at from session").await[0];
    assert_eq!(times().await, created + 604_800 * 1000);
    server.database.execute(&ago(3600)).await;
    browser.open("/").await.expect_status(303);
}

#[tokio::test]
async fn what_is_typed_is_shown_as_text_and_pages_run_nothing_and_stand_in_no_frame() {
    let server = Server::start().await;
    let mut browser = Browser::of(&server);
    browser.open("/login").await;
    let evil = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";
    for path in ["/login", "/register"] {
        let filled = [("email", evil), ("password", evil), ("next", evil)];
        let answer = browser.press(path, &filled).await.expect_status(400);
        assert!(!answer.body.contains("<script>") && !answer.body.contains("<img"), "{path}");
    }
    for path in ["/login", "/register", "/forgot-password", "/verify", "/reset-password"] {
        let page = browser.open(path).await.expect_status(200);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(!page.body.contains("style=") && !page.body.contains("http://"), "{path}");
    }
    let cookie = browser.open("/style.css").await.expect_status(200);
    assert!(cookie.headers.get("set-cookie").is_none());
    let secure = Server::setup().set("PUBLIC_URL", "https://id.example.com").start().await;
    let page = secure.get("/login").send().await.expect_status(200);
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("__Host-tessera-browser="), "{cookie}");
    for attribute in ["; Path=/", "; SameSite=Lax", "; Secure", "; HttpOnly"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
}

#[tokio::test]
async fn people_look_after_their_account_on_its_page() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    let led = browser.open("/account").await.expect_status(303);
    assert_eq!(led.header("location"), "./login?next=/account");
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);

    let profile = [("act", "profile"), ("name", "Ada"), ("surname", "<b>King"), ("website", "")];
    let page = browser.press("/account", &profile).await.expect_status(200);
    assert!(page.body.contains("value=\"&lt;b&gt;King\""), "{}", page.body);
    assert_eq!(server.me(&person.access).await.text("surname"), "<b>King");
    let bad = [("act", "profile"), ("website", "javascript:alert(1)")];
    let page = browser.press("/account", &bad).await.expect_status(422);
    assert!(page.body.contains("should be a URL"), "{}", page.body);

    // What a password is wanted for is refused without one, and with a wrong one.
    for fields in [
        &[("act", "email"), ("email", "thief@user.com")][..],
        &[("act", "password"), ("password", "battery staple correct")],
        &[("act", "create-token"), ("name", "ci")],
        &[("act", "delete")],
    ] {
        browser.press("/account", fields).await.expect_status(403);
        let wrong: Vec<_> = fields.iter().copied().chain([("current", "wrong")]).collect();
        browser.press("/account", &wrong).await.expect_status(400);
    }
    assert_eq!(server.me(&person.access).await.text("email"), person.email);

    let token = [("act", "create-token"), ("name", "ci"), ("days", "30"), ("current", PASSWORD)];
    let page = browser.press("/account", &token).await.expect_status(201);
    let secret = page.body.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(server.me(&secret).await.expect_status(200).text("id"), person.id);
    let page = browser.open("/account").await;
    assert!(!page.body.contains(&secret) && page.body.contains(&secret[..8]), "{}", page.body);
    let id = server.database.column::<String>("select id from api_token").await.remove(0);
    browser.press("/account", &[("act", "delete-token"), ("id", &id)]).await.expect_status(200);
    browser.press("/account", &[("act", "delete-token"), ("id", &id)]).await.expect_status(404);
    server.me(&secret).await.expect_reason("api_token_unknown");

    // A new password ends the others, and moves this one to another id.
    let mut other = Browser::of(&server);
    other.sign_in(&person.email, PASSWORD).await;
    let mut copy = Browser::of(&server);
    copy.cookies = browser.cookies.clone();
    let new = "battery staple correct";
    let change = [("act", "password"), ("password", new), ("current", PASSWORD)];
    browser.press("/account", &change).await.expect_status(200);
    other.open("/account").await.expect_status(303);
    copy.open("/account").await.expect_status(303);
    server.me(&person.access).await.expect_status(401);
    browser.open("/account").await.expect_status(200);

    other.sign_in(&person.email, new).await;
    let list = browser.open("/account").await;
    assert!(list.body.contains("this one") && list.body.contains("Sign out everywhere else"));
    browser.press("/account", &[("act", "end-others")]).await.expect_status(200);
    other.open("/account").await.expect_status(303);
    let export = browser.press("/account/export", &[]).await.expect_status(200);
    assert_eq!(export.json["user"]["email"], person.email.as_str());
    assert!(export.header("content-disposition").starts_with("attachment"));
    assert!(browser.open("/account").await.body.contains("the password was changed"));
    browser.press("/account", &[("act", "nonsense")]).await.expect_status(422);
    browser.press("/account", &[("act", "delete"), ("current", new)]).await.expect_status(303);
    server.login(&person.email, new).await.expect_status(400);
    browser.open("/account").await.expect_status(303);
}

#[tokio::test]
async fn of_two_changes_of_a_password_with_the_same_old_one_one_is_made() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    for turn in 0..5 {
        let old = if turn == 0 { PASSWORD.to_owned() } else { format!("{PASSWORD} {turn}") };
        let next = format!("{PASSWORD} {}", turn + 1);
        let mut one = Browser::of(&server);
        one.sign_in("first@user.com", &old).await;
        one.open("/account").await;
        let mut other = Browser::of(&server);
        (other.cookies, other.csrf) = (one.cookies.clone(), one.csrf.clone());
        let first = [("act", "password"), ("password", next.as_str()), ("current", old.as_str())];
        let thiefs = format!("{next} of a thief");
        let second =
            [("act", "password"), ("password", thiefs.as_str()), ("current", old.as_str())];
        let (a, b) = futures_util::future::join(
            one.press("/account", &first),
            other.press("/account", &second),
        )
        .await;
        let won = [a.status, b.status].iter().filter(|status| **status == 200).count();
        assert_eq!(won, 1, "{} {}", a.body, b.body);
        let (browser, password) =
            if a.status == 200 { (&mut one, next.clone()) } else { (&mut other, thiefs) };
        browser.open("/account").await.expect_status(200);
        // On to the next with the one that holds.
        let (access, _) = server.sign_in("first@user.com", &password).await;
        if password != next {
            server.change_me(&access, &json!({ "password": next })).await.expect_status(200);
        }
    }
}

#[tokio::test]
async fn pages_are_no_other_origins_to_read_and_superusers_places_nobodys() {
    let server = Server::setup().set("CORS_ORIGINS", "https://app.example.com").start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let cookie = format!("tessera-browser={}", browser.id());
    let origin = "https://app.example.com";
    let page = server.get("/account").header("cookie", &cookie).header("origin", origin);
    let page = page.send().await.expect_status(200);
    assert_eq!(page.header("access-control-allow-origin"), "");
    browser.open("/account").await;
    let form = [("csrf", browser.csrf.as_str()), ("act", "end-others")];
    let posted = server.post("/account").header("cookie", &cookie).header("origin", origin);
    posted.form(&form).send().await.expect_status(403);

    let path = format!("/users/{}", person.id);
    let change = json!({ "scopes": ["authenticated", "admin"] });
    server.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
    let export = server.get("/users/me/export").bearer(&person.access).send().await;
    let acts = export.json["audit"].as_array().unwrap().clone();
    let act = acts.iter().find(|act| act["act"] == "scopes-change").unwrap();
    assert_eq!((&act["actor"], act.get("ip")), (&json!("somebody else"), None));
    assert!(!export.body.contains(&root.id));
    // Signing in again here leaves nobody signed in before.
    let before = browser.cookies.clone();
    browser.open("/account").await;
    let filled = [("email", root.email.as_str()), ("password", PASSWORD)];
    browser.press("/login", &filled).await.expect_status(303);
    let mut old = Browser::of(&server);
    old.cookies = before;
    old.open("/account").await.expect_status(303);
}

#[tokio::test]
async fn the_sessions_of_others_are_not_ended_and_what_programs_say_of_themselves_is_text() {
    let server = Server::start().await;
    let (person, other) = (server.person("first").await, server.person("other").await);
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let list = server.get("/auth/sessions").bearer(&other.access).send().await;
    let theirs = list.json["items"][0]["id"].as_str().unwrap().to_owned();
    browser.open("/account").await;
    for id in [theirs.as_str(), "x", ""] {
        let end = [("act", "end-session"), ("id", id)];
        browser.press("/account", &end).await.expect_status(404);
    }
    server.me(&other.access).await.expect_status(200);
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    let evil = "<script>alert(1)</script>";
    let login = server.post("/auth/jwt/login").header("user-agent", evil).form(&form);
    login.send().await.expect_status(200);
    let page = browser.open("/account").await.expect_status(200);
    assert!(!page.body.contains(evil) && page.body.contains("&lt;script&gt;"), "{}", page.body);
}
