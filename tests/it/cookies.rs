//! `/auth/cookie/…`: sessions in cookies.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Forgery, PASSWORD, Request, Server, claims_of, eventually};

const FORM: [(&str, &str); 2] = [("username", "first@user.com"), ("password", PASSWORD)];

/// The cookies of a browser, as it sends them, and the CSRF value.
#[derive(Debug, Clone)]
struct Browser {
    cookies: String,
    csrf: String,
}

impl Browser {
    async fn sign_in(server: &Server) -> Self {
        let answer = server.post("/auth/cookie/login").form(&FORM).send().await;
        Self::of(&answer.expect_status(204))
    }

    fn of(answer: &Answer) -> Self {
        let pairs: Vec<_> =
            set(answer).iter().map(|cookie| cookie.split(';').next().unwrap().to_owned()).collect();
        Self { cookies: pairs.join("; "), csrf: answer.header("x-csrf-token") }
    }

    /// A request as a page of the server's own site sends it.
    fn with_cookies_and_csrf(&self, request: Request) -> Request {
        self.with_cookies(request).header("x-csrf-token", &self.csrf)
    }

    /// A request that any site can make the browser send.
    fn with_cookies(&self, request: Request) -> Request {
        request.header("cookie", &self.cookies)
    }

    fn token(&self) -> &str {
        self.cookies.split("; ").next().unwrap().split_once('=').unwrap().1
    }
}

fn set(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all("set-cookie").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_browser_can_sign_in_send_requests_and_sign_out() {
    let server = Server::start().await;
    server.person("first").await;
    let answer = server.post("/auth/cookie/login").form(&FORM).send().await.expect_status(204);
    assert_eq!(answer.body, "");
    let cookies = set(&answer);
    assert_eq!(cookies.len(), 2);
    assert!(cookies[0].starts_with("tessera=ey"), "{cookies:?}");
    assert!(cookies[0].ends_with("; Max-Age=900; Path=/; SameSite=Lax; HttpOnly"), "{cookies:?}");
    assert!(cookies[1].starts_with("tessera-csrf="), "{cookies:?}");
    assert!(cookies[1].ends_with("; Max-Age=900; Path=/; SameSite=Lax"), "{cookies:?}");

    let browser = Browser::of(&answer);
    let me = browser.with_cookies(server.get("/users/me")).send().await.expect_status(200);
    assert_eq!(me.text("email"), "first@user.com");
    assert!(set(&me).is_empty());
    let out = browser
        .with_cookies_and_csrf(server.post("/auth/cookie/logout"))
        .send()
        .await
        .expect_status(204);
    assert!(set(&out).iter().all(|cookie| cookie.contains("=; Max-Age=0;")), "{:?}", set(&out));
    assert_eq!(set(&out).len(), 2);
    let me = browser.with_cookies(server.get("/users/me")).send().await;
    me.expect_reason("token_revoked");
    server.me(browser.token()).await.expect_reason("token_revoked");
    server.post("/auth/cookie/logout").send().await.expect_refusal(401, "Unauthorized");
}

/// Characters that programs treat as white space and browsers do not.
pub(crate) const BLANKS: [&str; 8] =
    ["\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{2003}", "\u{2028}", "\u{3000}", "\u{200b}"];

#[tokio::test]
async fn no_other_host_can_plant_a_secure_cookie() {
    let server = Server::setup().production().set("BCRYPT_COST", 10).start().await;
    server.person("first").await;
    let answer = server.post("/auth/cookie/login").form(&FORM).send().await.expect_status(204);
    let cookies = set(&answer);
    assert!(cookies[0].starts_with("__Host-tessera="), "{cookies:?}");
    assert!(cookies[1].starts_with("__Host-tessera-csrf="), "{cookies:?}");
    for cookie in &cookies {
        assert!(cookie.contains("; Secure") && cookie.contains("; Path=/;"), "{cookie}");
        assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
    }
    let browser = Browser::of(&answer);
    browser.with_cookies_and_csrf(server.get("/users/me")).send().await.expect_status(200);
    let asks = |cookies: String| server.get("/users/me").header("cookie", &cookies).send();
    asks(format!("tessera={}", browser.token())).await.expect_refusal(401, "Unauthorized");
    // For browsers these characters are part of the name, so any host can plant such a cookie.
    for blank in BLANKS {
        let own = format!("__Host-tessera={}", browser.token());
        asks(format!("{blank}{own}")).await.expect_refusal(401, "Unauthorized");
        let after = format!("__Host-tessera{blank}={}", browser.token());
        asks(after).await.expect_refusal(401, "Unauthorized");
        asks(format!("{own}; {blank}__Host-tessera=x")).await.expect_status(200);
    }
    asks(format!("x=y;\t __Host-tessera={}", browser.token())).await.expect_status(200);
}

#[tokio::test]
async fn a_change_requires_the_csrf_value_of_its_session() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.person("mallory").await;
    let browser = Browser::sign_in(&server).await;
    let other = Browser::sign_in(&server).await;
    let form = [("username", "mallory@user.com"), ("password", PASSWORD)];
    let mallory = Browser::of(&server.post("/auth/cookie/login").form(&form).send().await);
    let change = || server.patch("/users/me").json(&json!({ "email": "new@user.com" }));
    let wrong = ["", "x", &other.csrf, &mallory.csrf, browser.token(), "null"];
    for value in wrong {
        let request = browser.with_cookies(change()).header("x-csrf-token", value);
        request.send().await.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    }
    browser.with_cookies(change()).send().await.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    // A planted cookie with a matching header does not match the session.
    let planted = format!("{}; tessera-csrf={}", browser.cookies, mallory.csrf);
    let request = change().header("cookie", &planted).header("x-csrf-token", &mallory.csrf);
    request.send().await.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    for (method, path) in [("POST", "/auth/cookie/logout"), ("DELETE", "/auth/sessions")] {
        let request = browser.with_cookies(server.request(method, path));
        request.send().await.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    }
    assert_eq!(server.me(&person.access).await.text("email"), "first@user.com");
    browser.with_cookies_and_csrf(change()).send().await.expect_status(200);
}

#[tokio::test]
async fn a_form_of_another_site_cannot_sign_a_browser_in() {
    let origins = "https://app.example.com";
    let server = Server::setup().set("CORS_ORIGINS", origins).start().await;
    server.person("first").await;
    let login = |origin: &str, site: &str| {
        let request = server.post("/auth/cookie/login").form(&FORM);
        request.header("origin", origin).header("sec-fetch-site", site)
    };
    let foreign = login("https://attacker.example", "cross-site").send().await;
    assert!(set(&foreign).is_empty());
    foreign.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    for (origin, site) in [
        ("https://attacker.example", ""),
        ("https://attacker.example", "same-site"),
        ("null", "same-origin"),
        ("http://localhost:80000", ""),
        ("http://localhost", ""),
    ] {
        let foreign = login(origin, site).send().await;
        assert!(set(&foreign).is_empty(), "{origin} {site}");
        foreign.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    }
    let place = server.url("").replace("http://", "");
    for part in ["http:", "http:/", "http://", "localhost:8000", "\u{ff}"] {
        login(part, "").send().await.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    }
    login(&format!("ftp://{place}"), "").send().await.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    login("http://localhost:8000", "same-origin").send().await.expect_status(204);
    login(&server.url(""), "").send().await.expect_status(204);
    server.post("/auth/cookie/login").form(&FORM).send().await.expect_status(204);
    let listed = login(origins, "cross-site").send().await.expect_status(204);
    assert_eq!(listed.header("access-control-allow-credentials"), "true");
    assert!(listed.header("access-control-expose-headers").contains("X-CSRF-Token"));
}

#[tokio::test]
async fn an_authorization_header_takes_precedence_over_a_cookie() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    let me = |authorization: &str| {
        browser.with_cookies(server.get("/users/me")).header("authorization", authorization)
    };
    let stranger = server.person("stranger").await;
    let answer = me(&format!("Bearer {}", stranger.access)).send().await.expect_status(200);
    assert_eq!(answer.text("id"), stranger.id);
    for bad in ["Bearer x", "Basic Og=="] {
        me(bad).send().await.expect_status(401);
    }
    // Another site cannot send a request with this header.
    let change = browser.with_cookies(server.patch("/users/me")).bearer(&person.access);
    change.json(&json!({})).send().await.expect_status(200);
}

#[tokio::test]
async fn two_cookies_of_the_same_name_are_refused() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let stranger = server.person("stranger").await;
    let two = format!("tessera={}; tessera={}", stranger.access, person.access);
    for cookies in [two.as_str(), "tessera=", "tessera", "=x", "tessera=x", ";;;", "tessera=\"x\""]
    {
        let request = server.get("/users/me").header("cookie", cookies);
        request.send().await.expect_status(401);
    }
    let refresh = format!("tessera={}", person.refresh);
    let request = server.get("/users/me").header("cookie", &refresh);
    request.send().await.expect_reason("type_mismatch");
}

#[tokio::test]
async fn a_browser_that_is_used_keeps_its_session() {
    let server = Server::setup().set("ACCESS_TOKEN_EXPIRES", 600).start().await;
    server.person("first").await;
    let mut browser = Browser::sign_in(&server).await;
    let first = browser.clone();
    for _ in 0..2 {
        server.advance(Duration::from_secs(420)).await;
        let me = browser.with_cookies(server.get("/users/me")).send().await.expect_status(200);
        assert_eq!(set(&me).len(), 2, "the cookie was not renewed");
        let renewed = Browser::of(&me);
        let (was, is) = (claims_of(browser.token()), claims_of(renewed.token()));
        assert_eq!(was["sid"], is["sid"]);
        // The new token is as fresh as the old one.
        assert_eq!((&is["fresh"], &is["auth_time"]), (&json!(true), &was["auth_time"]));
        browser = renewed;
        // A cookie that was just renewed is not renewed again.
        let me = browser.with_cookies(server.get("/users/me")).send().await.expect_status(200);
        assert!(set(&me).is_empty());
    }
    let old = first.with_cookies(server.get("/users/me")).send().await;
    old.expect_reason("token_expired");
    // The CSRF value belongs to the session, so it stays the same.
    assert_eq!(first.csrf, browser.csrf);
    let change = server.patch("/users/me").json(&json!({}));
    browser.with_cookies_and_csrf(change).send().await.expect_status(200);
}

#[tokio::test]
async fn the_cookie_of_an_ended_session_is_not_renewed() {
    let server = Server::setup().set("BLACKLIST_ENABLED", "false").set("ACCESS_TOKEN_EXPIRES", 600);
    let server = server.start().await;
    server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    server.logout(browser.token()).await.expect_status(204);
    server.advance(Duration::from_secs(420)).await;
    let me = browser.with_cookies(server.get("/users/me")).send().await;
    assert!(set(&me).is_empty());
}

/// A copy of a cookie ends with the cookie, also on a replica that has not read the revocation yet.
#[tokio::test]
async fn a_copy_of_a_cookie_is_not_renewed_after_a_new_password() {
    let setup = || Server::setup().set("ACCESS_TOKEN_EXPIRES", 600);
    let server = setup().start().await;
    let other = setup().on(server.database.clone()).start().await;
    server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    server.advance(Duration::from_secs(420)).await;
    let change = server.patch("/users/me").json(&json!({ "password": "a new one" }));
    let answer = browser.with_cookies_and_csrf(change).send().await.expect_status(200);
    eventually("the other replica refuses the copy", async || {
        let copy = browser.with_cookies(other.get("/users/me")).send().await;
        assert!(set(&copy).is_empty(), "the copy was renewed");
        copy.status == 401
    })
    .await;
    let renewed = Browser::of(&answer);
    assert_eq!(set(&answer).len(), 2);
    renewed.with_cookies_and_csrf(server.get("/users/me")).send().await.expect_status(200);
}

#[tokio::test]
async fn a_browser_can_give_the_password_again() {
    let server = Server::setup().set("FRESH_TOKEN_EXPIRES", 100).start().await;
    server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    server.advance(Duration::from_secs(110)).await;
    let change = || server.patch("/users/me").json(&json!({ "email": "new@user.com" }));
    browser
        .with_cookies_and_csrf(change())
        .send()
        .await
        .expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    let fresh = server.post("/auth/jwt/fresh").json(&json!({ "password": PASSWORD }));
    let answer = browser.with_cookies_and_csrf(fresh).send().await.expect_status(204);
    assert_eq!(answer.body, "", "a script could read the token");
    Browser::of(&answer).with_cookies_and_csrf(change()).send().await.expect_status(200);
}

/// A copy of a cookie must not become fresh when its owner gives the password.
#[tokio::test]
async fn a_renewed_cookie_is_as_fresh_as_the_one_it_replaces() {
    let server = Server::start().await;
    server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    // A cookie as it is an hour after the sign-in, in the second half of its lifetime.
    let claims = claims_of(browser.token());
    let (issued, given) = (claims["iat"].as_u64().unwrap(), claims["auth_time"].as_u64().unwrap());
    let old = Forgery::of(browser.token()).with("auth_time", given - 3600);
    let old = old.with("iat", issued - 800).with("nbf", issued - 800).with("exp", issued + 100);
    let cookies = browser.cookies.replace(browser.token(), &old.sign());
    let copy = Browser { cookies, csrf: browser.csrf.clone() };
    let fresh = server.post("/auth/jwt/fresh").json(&json!({ "password": PASSWORD }));
    browser.with_cookies_and_csrf(fresh).send().await.expect_status(204);
    let answer =
        copy.with_cookies_and_csrf(server.get("/users/me")).send().await.expect_status(200);
    let renewed = Browser::of(&answer);
    assert_eq!(claims_of(renewed.token())["auth_time"], given - 3600);
    let change = server.patch("/users/me").json(&json!({ "email": "new@user.com" }));
    let refused = copy.with_cookies(change).header("x-csrf-token", &browser.csrf).send().await;
    refused.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    let cookie = format!("tessera={}", renewed.token());
    let change = server.patch("/users/me").json(&json!({ "email": "new@user.com" }));
    let change = change.header("cookie", &format!("{cookie}; tessera-csrf={}", browser.csrf));
    let refused = change.header("x-csrf-token", &browser.csrf).send().await;
    refused.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
}

#[tokio::test]
async fn planted_cookies_do_not_hide_the_session_cookie() {
    let server = Server::start().await;
    server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    for beside in ["name=J\u{fc}rgen", "a", "=", "b=\"c;d\"", "tesserae=x", "x=tessera=y"] {
        let cookies = format!("{beside}; {}; {beside}", browser.cookies);
        let request = server.get("/users/me").header("cookie", &cookies);
        request.send().await.expect_status(200);
    }
}

#[tokio::test]
async fn a_cookie_sign_out_ends_the_session_of_the_cookie_and_removes_dead_cookies() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    let out = || browser.with_cookies_and_csrf(server.post("/auth/cookie/logout"));
    out().bearer(&person.access).send().await.expect_status(204);
    server.me(&person.access).await.expect_status(200);
    server.me(browser.token()).await.expect_reason("token_revoked");
    let again = out().send().await;
    assert!(set(&again).iter().all(|cookie| cookie.contains("=; Max-Age=0;")));
    assert_eq!(set(&again).len(), 2);
    again.expect_reason("token_revoked");
}

#[tokio::test]
async fn a_refused_request_renews_the_cookie_too() {
    let server = Server::setup().set("ACCESS_TOKEN_EXPIRES", 600).start().await;
    server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    server.advance(Duration::from_secs(420)).await;
    let request = browser.with_cookies_and_csrf(server.request("DELETE", "/auth/sessions/x"));
    let answer = request.send().await.expect_refusal(404, "Not Found");
    assert_eq!(set(&answer).len(), 2);
}

#[tokio::test]
async fn a_browser_that_changes_its_password_stays_signed_in() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    let other = Browser::sign_in(&server).await;
    let change = server.patch("/users/me").json(&json!({ "password": "a new one" }));
    let answer = browser.with_cookies_and_csrf(change).send().await.expect_status(200);
    let renewed = Browser::of(&answer);
    renewed.with_cookies_and_csrf(server.get("/users/me")).send().await.expect_status(200);
    for old in [&browser, &other] {
        old.with_cookies_and_csrf(server.get("/users/me"))
            .send()
            .await
            .expect_reason("token_revoked");
    }
    server.me(&person.access).await.expect_reason("token_revoked");
}

#[tokio::test]
async fn a_cookie_survives_a_new_secret_while_the_old_one_is_configured() {
    let server = Server::start().await;
    server.person("first").await;
    let browser = Browser::sign_in(&server).await;
    let server = Server::setup()
        .on(server.kill())
        .set("APP_SECRET", "f".repeat(64))
        .set("APP_SECRET_PREVIOUS", crate::support::SECRET)
        .start()
        .await;
    let change = server.patch("/users/me").json(&json!({ "email": "new@user.com" }));
    browser.with_cookies_and_csrf(change).send().await.expect_status(200);
}
