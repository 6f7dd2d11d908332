//! A front end that was written for FastAPI Users makes its calls, with the settings of the guide. Other tests compare
//! the answers with recorded ones.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::once::start::refused;
use crate::once::{block, read};
use crate::recovery::{RESET, VERIFY};
use crate::support::{Answer, PASSWORD, Request, Server};

/// Starts a server with the settings of the guide, and with one more.
async fn configured(name: &str, value: &str) -> Server {
    let settings = block("docs/guide/fastapi-users.md", "settings");
    let setup = settings.lines().fold(Server::setup().set(name, value), |setup, line| {
        let (name, value) = line.split_once('=').unwrap();
        setup.set(name, value)
    });
    setup.start().await
}

/// The calls that front ends made, each with its method and its path. Ids are written as `{id}`.
type Calls = Mutex<BTreeSet<String>>;

/// The calls in the table of the guide.
fn calls_of_guide() -> BTreeSet<String> {
    let page = read("docs/guide/fastapi-users.md");
    let (_, table) = page.split_once("| router | calls |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let codes = table.split('`').skip(1).step_by(2);
    let calls = codes.filter(|code| code.contains(" /"));
    // Those of the OAuth routers need a provider: `federation::fastapi` makes them.
    calls.filter(|call| !call.contains("{provider}")).map(str::to_owned).collect()
}

/// The front end: it knows a prefix, and keeps an access token or a cookie.
struct FrontEnd<'a> {
    server: &'a Server,
    calls: &'a Calls,
    bearer: Option<String>,
    cookie: Option<String>,
}

impl<'a> FrontEnd<'a> {
    fn of(server: &'a Server, calls: &'a Calls) -> Self {
        Self { server, calls, bearer: None, cookie: None }
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let id = path.strip_prefix("/users/").filter(|id| *id != "me");
        let named = if id.is_some() { "/users/{id}" } else { path };
        self.calls.lock().unwrap().insert(format!("{method} {named}"));
        let request = self.server.request(method, &format!("/api{path}"));
        let request = match &body {
            Some(body) if path.ends_with("/login") => request.form(&[
                ("username", body["username"].as_str().unwrap()),
                ("password", body["password"].as_str().unwrap()),
            ]),
            Some(body) => request.json(body),
            None => request,
        };
        let answer = self.signed(request).send().await;
        let set = answer.headers.get_all("set-cookie").iter();
        let set = set.map(|cookie| cookie.to_str().unwrap());
        if let Some(cookie) = set.into_iter().find(|cookie| cookie.contains("fastapiusersauth=")) {
            let pair = cookie.split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
            let life = if self.cookie.is_some() { "Max-Age=3600" } else { "Max-Age=0" };
            assert!(cookie.contains(life) && cookie.contains("HttpOnly"), "{cookie}");
        }
        if let Some(token) = answer.json["access_token"].as_str() {
            self.bearer = Some(token.to_owned());
        }
        answer
    }

    /// Adds what a browser on the page of the front end sends.
    fn signed(&self, request: Request) -> Request {
        let request = request.header("sec-fetch-site", "same-origin");
        match (&self.bearer, &self.cookie) {
            (Some(token), _) => request.bearer(token),
            (None, Some(cookie)) => request.header("cookie", cookie),
            (None, None) => request,
        }
    }
}

#[tokio::test]
async fn a_front_end_for_fastapi_users_makes_its_calls_with_the_settings_of_the_guide() {
    let server = configured("CORS_ORIGINS", "https://app.example.com").await;
    let calls = Calls::default();
    let root = server.superuser("root").await;
    let (email, first, second) = ("first@user.com", "blurp", "blurp2");
    let credentials = |password: &str| Some(json!({ "username": email, "password": password }));
    let mut page = FrontEnd::of(&server, &calls);
    let account = Some(json!({ "email": email, "password": first }));
    let user = page.send("POST", "/auth/register", account).await.expect_status(201).text("id");
    page.send("POST", "/auth/jwt/login", credentials(first)).await.expect_status(200);
    assert_eq!(page.send("GET", "/users/me", None).await.expect_status(200).text("id"), user);
    // The page stays signed in after a new password, with the token that it has. Others do not.
    let mut other = FrontEnd::of(&server, &calls);
    other.send("POST", "/auth/jwt/login", credentials(first)).await.expect_status(200);
    let change = Some(json!({ "password": second }));
    page.send("PATCH", "/users/me", change).await.expect_status(200);
    page.send("GET", "/users/me", None).await.expect_status(200);
    other.send("GET", "/users/me", None).await.expect_reason("token_revoked");
    page.send("PATCH", "/users/me", Some(json!({ "name": "A" }))).await.expect_status(200);
    page.send("POST", "/auth/jwt/logout", None).await.expect_status(204);

    let mut page = FrontEnd::of(&server, &calls);
    page.send("POST", "/auth/cookie/login", credentials(second)).await.expect_status(204);
    page.send("GET", "/users/me", None).await.expect_status(200);
    let change = Some(json!({ "password": first }));
    page.send("PATCH", "/users/me", change).await.expect_status(200);
    page.send("GET", "/users/me", None).await.expect_status(200);
    page.send("POST", "/auth/cookie/logout", None).await.expect_status(204);
    page.send("GET", "/users/me", None).await.expect_status(401);

    let of = Some(json!({ "email": email }));
    page.send("POST", "/auth/request-verify-token", of.clone()).await.expect_status(202);
    let token = server.letter(email, VERIFY, 1).await.token();
    let verified = page.send("POST", "/auth/verify", Some(json!({ "token": token }))).await;
    assert_eq!(verified.expect_status(200).json["is_verified"], true);
    page.send("POST", "/auth/forgot-password", of).await.expect_status(202);
    let token = server.letter(email, RESET, 1).await.token();
    let reset = Some(json!({ "token": token, "password": second }));
    page.send("POST", "/auth/reset-password", reset).await.expect_status(200);

    let mut page = FrontEnd::of(&server, &calls);
    let of_root = json!({ "username": root.email, "password": PASSWORD });
    page.send("POST", "/auth/jwt/login", Some(of_root)).await.expect_status(200);
    let path = format!("/users/{user}");
    page.send("GET", &path, None).await.expect_status(200);
    let change = Some(json!({ "is_active": false }));
    assert_eq!(page.send("PATCH", &path, change).await.expect_status(200).json["is_active"], false);
    page.send("DELETE", &path, None).await.expect_status(204);
    page.send("GET", &path, None).await.expect_status(404);

    let document = page.send("GET", "/openapi.json", None).await.expect_status(200);
    assert!(document.json["paths"]["/users/me"]["patch"].is_object());
    let docs = page.send("GET", "/docs", None).await.expect_status(200);
    assert!(docs.header("content-type").starts_with("text/html"));
    preflight(&server, &calls).await;
    assert_eq!(*calls.lock().unwrap(), calls_of_guide());
    assert_eq!(calls.lock().unwrap().len(), 17);
}

/// Asks what a browser asks before a page of another origin changes its user.
async fn preflight(server: &Server, calls: &Calls) {
    calls.lock().unwrap().insert("OPTIONS /users/me".to_owned());
    let asked = server
        .request("OPTIONS", "/api/users/me")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "authorization,content-type");
    let allowed = asked.send().await.expect_status(204);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example.com");
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"));
}

/// Without the settings, or for somebody who attacks, nothing of this is weaker.
#[tokio::test]
async fn the_settings_for_front_ends_keep_pages_of_other_sites_out() {
    let server = configured("CORS_ORIGINS", "https://app.example.com").await;
    let person = server.person("first").await;
    let fields = [("username", person.email.as_str()), ("password", PASSWORD)];
    let signed_in = server.post("/auth/cookie/login").form(&fields).send().await;
    let cookies = signed_in.headers.get_all("set-cookie").iter();
    let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("fastapiusersauth=")).unwrap();
    let pair = cookie.split(';').next().unwrap();
    let change = |name: &str, value: &str| {
        let request = server.patch("/users/me").header("cookie", pair).header(name, value);
        request.json(&json!({ "name": "A" }))
    };
    for (name, value) in [
        ("origin", "https://evil.example.com"),
        ("origin", "null"),
        ("origin", "https://app.example.com.evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        change(name, value).send().await.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
    }
    change("origin", "https://app.example.com").send().await.expect_status(200);
    change("sec-fetch-site", "same-origin").send().await.expect_status(200);
    // The prefix is a path of its own, and is removed once.
    for (path, status) in [
        ("/api/version", 200),
        ("/version", 200),
        ("/api/version?x=/api/y", 200),
        ("/api", 404),
        ("/apiversion", 404),
        ("/api/api/version", 404),
        ("/api//version", 404),
        ("/api/../version", 404),
        ("/API/version", 404),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = server.raw(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

#[test]
fn settings_for_front_ends_that_cannot_work_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, said) in [
        ("PATH_PREFIX", "api", "must be a path"),
        ("PATH_PREFIX", "/", "must be a path"),
        ("PATH_PREFIX", "/api//v1", "must be a path"),
        ("PATH_PREFIX", "/../api", "must be a path"),
        ("PATH_PREFIX", "/a?b", "must be a path"),
        ("COOKIE_NAME", "a b", "must be 1 to 64 letters"),
        ("COOKIE_NAME", "a;b", "must be 1 to 64 letters"),
        ("COOKIE_NAME", "tessera-csrf", "must be 1 to 64 letters"),
        ("COOKIE_NAME", "__Host-tessera-code", "must be 1 to 64 letters"),
        ("COOKIE_NAME", "__Secure-session", "only over https"),
        ("CSRF_CHECK", "none", "token or origin"),
    ] {
        let text = refused(folder.path(), &[(name, value)], &["--dev"]);
        assert!(text.contains(said), "{name}={value}: {text}");
    }
}
