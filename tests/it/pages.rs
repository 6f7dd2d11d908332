//! Pages: sign-in with a browser, and attacks on it.

use std::time::Duration;

use serde_json::json;

use crate::support::{Browser, PASSWORD, Server, eventually};

#[tokio::test]
async fn a_user_can_register_sign_in_and_sign_out_without_scripts() {
    let server = Server::start().await;
    let mut browser = Browser::of(&server);
    assert_eq!(browser.open("/").await.expect_status(303).header("location"), "./login?next=/");
    assert_eq!(browser.open("/auth").await.expect_status(303).header("location"), "./login");
    browser.open("/register").await.expect_status(200);
    let filled = [("email", "first@user.com"), ("password", PASSWORD)];
    let done = browser.press("/register", &filled).await.expect_status(201);
    assert!(done.body.contains("e-mail is on its way to first@user.com"), "{}", done.body);
    server.letter("first@user.com", "Verify", 1).await;
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
    // The page says so, once.
    let said = "role=\"status\">You are signed out.";
    assert!(browser.open("/login").await.body.contains(said));
    assert!(!browser.open("/login").await.body.contains(said));
    browser.open("/").await.expect_status(303);
}

#[tokio::test]
async fn a_refused_form_keeps_all_input_except_the_password() {
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
    assert!(!taken.body.contains("s3cret"), "{}", taken.body);
    let closed = Server::setup().set("REGISTRATION", "closed").start().await;
    let mut browser = Browser::of(&closed);
    let page = browser.open("/register").await.expect_status(403);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!browser.open("/login").await.body.contains("href=\"register\""));
}

#[tokio::test]
async fn a_browser_session_ends_like_any_other_session() {
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
    server.advance(Duration::from_secs(1)).await;
    browser.open("/").await.expect_status(303);
}

#[tokio::test]
async fn a_sign_in_gives_the_browser_a_new_id_and_a_planted_id_is_worthless() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    // An attacker plants an id of their own in the victim's browser, and the victim signs in.
    let mut attacker = Browser::of(&server);
    attacker.open("/login").await;
    let planted = attacker.id();
    let mut victim = Browser::of(&server);
    victim.cookies = attacker.cookies.clone();
    victim.sign_in("first@user.com", PASSWORD).await;
    assert_ne!(victim.id(), planted);
    victim.open("/").await.expect_status(200);
    attacker.open("/").await.expect_status(303);
    // An id that the attacker invents is not accepted either, and two cookies are refused.
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
async fn a_copy_of_the_cookie_is_worthless_after_the_sign_out() {
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
    // The cookie works only for pages.
    server.me(&thief.id()).await.expect_status(401);
    let cookie = format!("tessera={}", thief.id());
    server.get("/users/me").header("cookie", &cookie).send().await.expect_status(401);
    assert!(!server.log_so_far().await.contains(&thief.id()));
}

#[tokio::test]
async fn a_browser_session_ends_after_a_time_without_use_and_at_its_maximum_age() {
    let server = Server::start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    let times = async || server.database.column::<i64>("select expires_at from session").await[0];
    let before = times().await;
    browser.open("/").await.expect_status(200);
    // Nothing reports that a write did not happen.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(times().await, before, "the use was recorded again within a minute");
    let ago = |seconds: i64| {
        let millis = seconds * 1000;
        format!(
            "update session set last_used_at = last_used_at - {millis}, expires_at = expires_at - {millis}"
        )
    };
    server.database.execute(&ago(61)).await;
    browser.open("/").await.expect_status(200);
    eventually("the use extends the session", async || times().await >= before).await;
    // Use does not extend a session beyond its maximum age. (A restarted server has no memory of recorded uses.)
    let cookies = browser.cookies.clone();
    let server = Server::setup().on(server.kill()).start().await;
    let mut browser = Browser::of(&server);
    browser.cookies = cookies;
    let times = async || server.database.column::<i64>("select expires_at from session").await[0];
    server.database.execute("update session set created_at = created_at - 604000 * 1000").await;
    server.database.execute(&ago(61)).await;
    browser.open("/").await.expect_status(200);
    let created = server.database.column::<i64>("select created_at from session").await[0];
    let last = async || times().await == created + 604_800 * 1000;
    eventually("the session expires at its maximum age", last).await;
    server.database.execute(&ago(3600)).await;
    browser.open("/").await.expect_status(303);
}

#[tokio::test]
async fn pages_show_input_as_text_run_no_scripts_and_cannot_be_framed() {
    let server = Server::start().await;
    let mut browser = Browser::of(&server);
    browser.open("/login").await;
    let evil = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";
    for path in ["/login", "/register"] {
        let filled = [("email", evil), ("password", evil), ("next", evil)];
        let answer = browser.press(path, &filled).await;
        assert!((400..500).contains(&answer.status));
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
async fn users_can_manage_their_account_on_the_account_page() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    let led = browser.open("/account").await.expect_status(303);
    assert_eq!(led.header("location"), "./login?next=/account");
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);

    let profile = [("act", "profile"), ("name", "Ada"), ("surname", "<b>King"), ("website", "")];
    let page = browser.press_and_follow("/account", &profile).await;
    assert!(page.body.contains("value=\"&lt;b&gt;King\""), "{}", page.body);
    assert_eq!(server.me(&person.access).await.text("surname"), "<b>King");
    let bad = [("act", "profile"), ("website", "javascript:alert(1)")];
    let page = browser.press("/account", &bad).await.expect_status(422);
    assert!(page.body.contains("begins with https:"), "{}", page.body);

    // Actions that require the password are refused without it and with a wrong one.
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
    let page = browser.open("/account/tokens").await;
    assert!(!page.body.contains(&secret) && page.body.contains(&secret[..8]), "{}", page.body);
    let id = server.database.column::<String>("select id from api_token").await.remove(0);
    browser.press_and_follow("/account", &[("act", "delete-token"), ("id", &id)]).await;
    browser.press("/account", &[("act", "delete-token"), ("id", &id)]).await.expect_status(404);
    server.me(&secret).await.expect_reason("api_token_unknown");

    // A new password ends the other sessions and gives this one another id.
    let mut other = Browser::of(&server);
    other.sign_in(&person.email, PASSWORD).await;
    let mut copy = Browser::of(&server);
    copy.cookies = browser.cookies.clone();
    let new = "battery staple correct";
    let change = [("act", "password"), ("password", new), ("current", PASSWORD)];
    browser.press_and_follow("/account", &change).await;
    other.open("/account").await.expect_status(303);
    copy.open("/account").await.expect_status(303);
    server.me(&person.access).await.expect_status(401);
    browser.open("/account").await.expect_status(200);

    other.sign_in(&person.email, new).await;
    let list = browser.open("/account/sessions").await;
    assert!(list.body.contains("this session") && list.body.contains("End all other sessions"));
    browser.press_and_follow("/account", &[("act", "end-others")]).await;
    other.open("/account").await.expect_status(303);
    let export = browser.press("/account/export", &[("current", new)]).await;
    let export = export.expect_status(200);
    assert_eq!(export.json["user"]["email"], person.email.as_str());
    assert!(export.header("content-disposition").starts_with("attachment"));
    assert!(browser.open("/account/events").await.body.contains("Password changed"));
    browser.press("/account", &[("act", "nonsense")]).await.expect_status(422);
    let gone = browser.press("/account", &[("act", "delete"), ("current", new)]).await;
    assert!(gone.expect_status(200).body.contains("Your account and all its data are deleted"));
    server.login(&person.email, new).await.expect_status(400);
    browser.open("/account").await.expect_status(303);
}

#[tokio::test]
async fn a_user_can_end_a_sign_in_of_somebody_else_and_is_asked_for_a_new_password() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let (mut browser, mut thief) = (Browser::of(&server), Browser::of(&server));
    thief.sign_in(&person.email, PASSWORD).await;
    browser.sign_in(&person.email, PASSWORD).await;
    let page = browser.open("/account/events").await.expect_status(200);
    // The two other sessions have the button, and the current one does not.
    assert_eq!(page.body.matches("value=\"not-me\"").count(), 2, "{}", page.body);
    let act = "value=\"not-me\"><input type=\"hidden\" name=\"id\" value=\"";
    let id = page.body.split(act).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let form = [("act", "not-me"), ("id", id.as_str())];
    let said = browser.press_and_follow("/account", &form).await;
    assert!(said.body.contains("Choose a new password now"), "{}", said.body);
    thief.open("/account").await.expect_status(303);
    // The answer is the same if the session has already ended.
    browser.press_and_follow("/account", &form).await;
    assert!(!browser.open("/account/events").await.body.contains(&format!("value=\"{id}\"")));
    // The session of another user cannot be ended in this way.
    let other = server.person("other").await;
    let mut others = Browser::of(&server);
    others.sign_in(&other.email, PASSWORD).await;
    others.open("/account").await.expect_status(200);
    let session = server.get("/auth/sessions").bearer(&person.access).send().await;
    let session = session.json["items"][0]["id"].as_str().unwrap().to_owned();
    others.press("/account", &[("act", "not-me"), ("id", session.as_str())]).await;
    browser.open("/account/events").await.expect_status(200);
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn password_managers_find_the_page_and_no_page_shows_an_internal_cause() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    let led = browser.open("/.well-known/change-password").await.expect_status(303);
    assert_eq!(led.header("location"), "../account/password");
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    server.database.execute("drop table browser_session").await;
    for answer in
        [browser.open("/account").await, browser.press("/account", &[("act", "delete")]).await]
    {
        let answer = answer.expect_status(500);
        assert!(!answer.body.contains("browser_session"), "{}", answer.body);
        assert!(answer.header("content-type").starts_with("text/html"));
    }
    server.log.wait_for("browser_session").await;
}

#[tokio::test]
async fn callers_that_accept_html_get_errors_as_pages() {
    let server = Server::start().await;
    let twice = server.get("/login?next=/account&next=//evil.example").send().await;
    assert!(twice.expect_status(200).body.contains("value=\"&#x2f;account\""));
    let nowhere = |accept| server.get("/nowhere/at/all").header("accept", accept).send();
    let page = nowhere("text/html,application/xhtml+xml,*/*;q=0.8").await.expect_status(404);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.contains("href=\"../../style.css\""), "{}", page.body);
    for reader in ["text/html;q=0.9", "TEXT/HTML", "text/html; level=1;q=1"] {
        let page = nowhere(reader).await.expect_status(404);
        assert!(page.header("content-type").starts_with("text/html"), "{reader}");
    }
    for program in
        ["*/*", "application/json, text/html", "text/html;q=0, */*", "text/html ; q=0.0, */*"]
    {
        assert_eq!(nowhere(program).await.expect_status(404).json["detail"], "Not Found");
    }
    let root = server.superuser("root").await;
    let wrong = server.get("/users?limit=abc").bearer(&root.access).header("accept", "text/html");
    wrong.send().await.expect_status(422);
    let method = server.request("DELETE", "/login").header("accept", "text/html").send().await;
    assert_eq!(method.expect_status(405).header("allow"), "GET, POST");
    let long = "x".repeat(70_000);
    for (method, path, sent, status) in [
        ("GET", "/logout", "", 405),
        ("GET", "/logo", "", 404),
        ("GET", "/%ff", "", 404),
        ("POST", "/nowhere", "x", 404),
        ("POST", "/login", long.as_str(), 413),
    ] {
        let asked = server.request(method, path).header("accept", "text/html, */*");
        let page = asked.form(&[("username", sent)]).send().await.expect_status(status);
        assert!(page.header("content-type").starts_with("text/html"), "{method} {path}");
        assert!(page.header("content-security-policy").contains("style-src 'self'"), "{path}");
    }
}

#[tokio::test]
async fn the_account_page_cannot_end_sessions_of_others_and_shows_user_agents_as_text() {
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
    let page = browser.open("/account/sessions").await.expect_status(200);
    assert!(!page.body.contains(evil) && page.body.contains("&lt;script&gt;"), "{}", page.body);
}

#[tokio::test]
async fn times_are_in_utc_for_people_and_for_the_script_that_shows_them_in_words() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    for language in ["en", "de"] {
        browser.language = language.to_owned();
        for page in ["/account/sessions", "/account/events"] {
            let page = browser.open(page).await.expect_status(200);
            let (_, time) = page.body.split_once("<time datetime=\"").unwrap();
            let (machine, rest) = time.split_once("\">").unwrap();
            let (shown, _) = rest.split_once("</time>").unwrap();
            let known = chrono::DateTime::parse_from_rfc3339(machine).unwrap();
            assert_eq!(shown, known.format("%Y-%m-%d %H:%M UTC").to_string());
            // A text around a time is a text, and no element of the page is in an attribute.
            assert!(!page.body.contains("&lt;time") && !page.body.contains("=\"<time"));
            assert!(page.body.contains("<script src=\"../times.js\" defer></script>"));
            assert!(page.header("content-security-policy").contains("script-src 'self';"));
        }
    }
    for script in ["/times.js", "/reveal.js", "/strength.js", "/send.js"] {
        let script = server.get(script).send().await.expect_status(200);
        assert!(script.header("content-type").starts_with("text/javascript"));
    }
}

#[tokio::test]
async fn the_first_page_and_errors_say_where_one_can_go() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let mut browser = Browser::of(&server);
    // In development, everybody is led to the operations.
    assert!(browser.open("/login").await.body.contains("href=\"./docs\""));
    let page = server.get("/nowhere").header("accept", "text/html").send().await;
    let page = page.expect_status(404);
    assert!(page.body.contains("href=\"./login\"") && page.body.contains("href=\"./\""));
    assert!(!page.body.contains("href=\"./account\""), "{}", page.body);
    for (email, is_admin) in [(&person.email, false), (&root.email, true)] {
        let mut browser = Browser::of(&server);
        browser.sign_in(email, PASSWORD).await;
        let home = browser.open("/").await.expect_status(200);
        for place in ["account", "account/sessions", "account/apps", "docs"] {
            assert!(home.body.contains(&format!("href=\"./{place}\"")), "{place}: {}", home.body);
        }
        assert_eq!(home.body.contains("<strong>Administration"), is_admin, "{}", home.body);
        let cookie = format!("tessera-browser={}", browser.id());
        let lost = server.get("/a/b").header("cookie", &cookie).header("accept", "text/html");
        let lost = lost.send().await.expect_status(404);
        let main = lost.body.split_once("<main").unwrap().1;
        assert!(main.contains("href=\"../account\"") && main.contains("href=\"../\""), "{main}");
        assert_eq!(main.contains("href=\"../admin\""), is_admin, "{main}");
    }
    let production = Server::setup().production().start().await;
    let page = production.get("/login").send().await.expect_status(200);
    assert!(!page.body.contains("docs\""), "{}", page.body);
}
