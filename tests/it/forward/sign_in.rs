//! Signing in at another host: the state, the code and the cookie.

use std::time::Duration;

use serde_json::json;

use super::leading::sign_in;
use super::{APP, FILES, ID, about, ask, setup, told};
use crate::support::{Answer, Browser, PASSWORD, Server, eventually};

/// A browser at a host behind a gateway: it keeps that host's cookies, and those of this server apart.
struct Visitor<'a> {
    server: &'a Server,
    host: &'static str,
    cookies: Vec<(String, String)>,
}

impl<'a> Visitor<'a> {
    fn of(server: &'a Server, host: &'static str) -> Self {
        Self { server, host, cookies: Vec::new() }
    }

    fn jar(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Opens the callback of the host, which the gateway passes on. Returns the path at this server to which it leads, or
    /// the URL elsewhere.
    async fn calls_back(&mut self, path: &str) -> String {
        let request = self.server.get(path).header("x-forwarded-host", self.host);
        let answer = request.header("cookie", &self.jar()).send().await.expect_status(303);
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with("__Host-tessera_"), "{cookie}");
            for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
                assert!(cookie.split("; ").any(|known| known == part), "{cookie}");
            }
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let location = answer.header("location");
        location.strip_prefix(ID).map_or(location.clone(), ToOwned::to_owned)
    }

    /// Goes from the page that leads on to the callback with a code.
    async fn gets_a_code(&mut self, browser: &mut Browser<'_>, page: &str) -> String {
        let begin = browser.open(page).await.expect_status(303).header("location");
        let back = self.calls_back(&self.path_of(&begin)).await;
        let coded = browser.open(&back).await.expect_status(303).header("location");
        assert!(coded.contains("code="), "{coded}");
        self.path_of(&coded)
    }

    fn path_of(&self, url: &str) -> String {
        let path = url.strip_prefix(&format!("https://{}", self.host));
        path.unwrap_or_else(|| panic!("{url} is not at {}", self.host)).to_owned()
    }

    async fn asks(&self, query: &str) -> Answer {
        let asked = ask(self.server, query).header("x-forwarded-host", self.host);
        asked.header("cookie", &self.jar()).send().await
    }
}

#[tokio::test]
async fn a_browser_signs_in_here_and_passes_at_another_host_until_it_signs_out_here() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    let led = about(&server, APP, "/reports?a=1").send().await.expect_status(302);
    let login = led.header("location").strip_prefix(ID).unwrap().to_owned();
    let page = browser.open(&login).await.expect_status(200);
    // Browsers apply this to the redirects that follow the form too.
    let policy = page.header("content-security-policy");
    assert!(policy.contains(&format!("form-action 'self' https://{APP};")), "{policy}");
    let next = format!("/forward?to=https://{APP}/reports?a=1");
    let fields = [("email", &*person.email), ("password", PASSWORD), ("next", &*next)];
    let place = browser.press("/login", &fields).await.expect_status(303).header("location");
    let page = place.strip_prefix('.').unwrap().to_owned();

    let mut visitor = Visitor::of(&server, APP);
    let code = visitor.gets_a_code(&mut browser, &page).await;
    assert_eq!(visitor.calls_back(&code).await, format!("https://{APP}/reports?a=1"));
    let passes = visitor.asks("").await.expect_status(200);
    assert_eq!(told(&passes)[..2], [&*person.id, ""]);
    visitor.asks("?scope=authenticated&fresh=900").await.expect_status(200);
    visitor.asks("?scope=reports").await.expect_refusal(403, "INSUFFICIENT_SCOPE");
    let changed = ask(&server, "").header("x-forwarded-host", APP).header("cookie", &visitor.jar());
    changed.header("x-forwarded-method", "POST").send().await.expect_status(200);
    for (name, value, status) in [
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("origin", "https://app.example.com", 200),
        ("sec-fetch-site", "same-origin", 200),
    ] {
        let asked = ask(&server, "").header("x-forwarded-host", APP).header(name, value);
        let asked = asked.header("cookie", &visitor.jar()).header("x-forwarded-method", "POST");
        assert_eq!(asked.send().await.status, status, "{name} {value}");
    }

    // Another browser of the same user goes on when this one signs out.
    let mut second = Browser::of(&server);
    second.sign_in(&person.email, PASSWORD).await;
    let mut other = Visitor::of(&server, APP);
    let code = other.gets_a_code(&mut second, "/forward?to=https://app.example.com/").await;
    other.calls_back(&code).await;
    browser.open("/").await.expect_status(200);
    browser.press("/logout", &[]).await.expect_status(303);
    visitor.asks("").await.expect_refusal(401, "Unauthorized");
    other.asks("").await.expect_status(200);
    // A code of the session that ended gives nothing.
    let body = json!({ "is_active": false });
    let root = server.superuser("root").await;
    let path = format!("/users/{}", person.id);
    server.patch(&path).bearer(&root.access).json(&body).send().await.expect_status(200);
    eventually("the user cannot act", async || other.asks("").await.status == 401).await;
}

/// Headers of a request, and the status of the answer about it.
type Sent<'a> = (&'a [(&'a str, &'a str)], u16);

const OWN: (&str, &str) = ("origin", "https://app.example.com");
const OTHER: (&str, &str) = ("origin", "https://files.example.com:8443");
const URL: (&str, &str) = ("x-original-url", "https://app.example.com/a");

#[tokio::test]
async fn only_pages_of_the_same_host_change_something_or_open_a_websocket_with_its_cookie() {
    let server = setup().set("CORS_ORIGINS", "https://front.example.com").start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let mut visitor = Visitor::of(&server, APP);
    let code = visitor.gets_a_code(&mut browser, "/forward?to=https://app.example.com/").await;
    visitor.calls_back(&code).await;
    let (post, get) = (("x-forwarded-method", "POST"), ("x-forwarded-method", "GET"));
    let (upgrade, mode) = (("upgrade", "websocket"), ("sec-fetch-mode", "websocket"));
    let cases: [Sent<'_>; 24] = [
        (&[post, OWN], 200),
        (&[post, OTHER], 403),
        (&[post, ("origin", ID)], 403),
        (&[post, ("origin", "https://front.example.com")], 200),
        (&[post, ("origin", "http://app.example.com")], 403),
        (&[get, OTHER], 200),
        (&[("x-original-method", "DELETE"), OTHER], 403),
        (&[("x-original-method", "DELETE"), OWN], 200),
        (&[get, upgrade, OTHER], 403),
        (&[get, upgrade, ("origin", "null")], 403),
        (&[get, upgrade, OWN], 200),
        (&[get, upgrade], 200),
        (&[get, ("upgrade", "h2c, WebSocket"), OTHER], 403),
        (&[get, mode, OTHER], 403),
        (&[get, mode, ("sec-fetch-site", "same-site")], 403),
        (&[get, mode, OWN], 200),
        (&[get, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), OTHER], 403),
        (&[get, ("sec-fetch-mode", "cors"), OTHER], 200),
        // A gateway that describes the request in this way asks with a method of its own.
        (&[URL, OTHER], 403),
        (&[URL, ("sec-fetch-site", "cross-site")], 403),
        (&[URL, OWN], 200),
        (&[URL, ("x-original-method", "GET"), OTHER], 200),
        (&[URL, ("x-original-method", "POST"), OTHER], 403),
        (&[URL, post, OTHER], 403),
    ];
    for (headers, status) in cases {
        let mut asked = ask(&server, "").header("cookie", &visitor.jar());
        for (name, value) in headers.iter().chain([&("x-forwarded-host", APP)]) {
            asked = asked.header(name, value);
        }
        let answer = asked.send().await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
        // A token shows that its holder sent the request.
        let mut asked = ask(&server, "").bearer(&person.access);
        for (name, value) in headers {
            asked = asked.header(name, value);
        }
        asked.send().await.expect_status(200);
    }
}

#[tokio::test]
async fn the_row_of_a_code_goes_after_minutes() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let mut visitor = Visitor::of(&server, APP);
    let code = visitor.gets_a_code(&mut browser, "/forward?to=https://app.example.com/").await;
    visitor.calls_back(&code).await;
    assert_eq!(server.database.count("seen").await, 1);
    server.advance(Duration::from_secs(420)).await;
    // A start purges.
    let server = setup().on(server.kill()).start().await;
    eventually("the row is deleted", async || server.database.count("seen").await == 0).await;
}

#[tokio::test]
async fn a_code_works_once_within_a_minute_at_its_host_in_its_browser() {
    let server = setup().start().await;
    server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    let page = "/forward?to=https://app.example.com/a";
    let mut visitor = Visitor::of(&server, APP);
    let code = visitor.gets_a_code(&mut browser, page).await;
    let state = visitor.cookies.clone();
    // An attacker sends their own code to a browser that never asked: it has no state, or another one.
    let mut victim = Visitor::of(&server, APP);
    let failed = "/forward?to=https://app.example.com/a&failed=1";
    assert_eq!(victim.calls_back(&code).await, failed);
    let begun = code.split_once("code=").unwrap().1.split_once('&').unwrap().1;
    victim.calls_back(&format!("/.tessera/callback?{begun}")).await;
    assert_eq!(victim.cookies.len(), 1);
    assert_eq!(victim.calls_back(&code).await, failed);
    assert_eq!(victim.cookies.len(), 1);
    // At another host, even in a browser with the same state.
    let mut elsewhere = Visitor { cookies: state.clone(), ..Visitor::of(&server, FILES) };
    let at_files = "/forward?to=https://files.example.com:8443/a&failed=1";
    assert_eq!(elsewhere.calls_back(&code).await, at_files);
    // Where it belongs it still works, and once.
    assert_eq!(visitor.calls_back(&code).await, format!("https://{APP}/a"));
    let mut again = Visitor { cookies: state, ..Visitor::of(&server, APP) };
    assert_eq!(again.calls_back(&code).await, failed);
    let page_of_fault = browser.open(failed).await.expect_status(403);
    assert!(page_of_fault.body.contains(APP), "{}", page_of_fault.body);

    let late = visitor.gets_a_code(&mut browser, page).await;
    server.advance(Duration::from_secs(61)).await;
    assert_eq!(visitor.calls_back(&late).await, failed);
    for mangled in ["code=x", "code=", &format!("{}x", &code[19..])] {
        let path = format!("/.tessera/callback?{mangled}&to=/a");
        assert!(visitor.calls_back(&path).await.ends_with("failed=1"), "{mangled}");
    }
    // At a host that is not listed there is no callback, nor at this server itself.
    for host in ["evil.example", "id.example.com", "app.example.com:8443"] {
        let asked = server.get("/.tessera/callback?to=/").header("x-forwarded-host", host);
        asked.send().await.expect_status(404);
    }
    // Two at once: one wins.
    let mut wins = 0;
    let code = visitor.gets_a_code(&mut browser, page).await;
    let (mut one, mut two) = (
        Visitor { cookies: visitor.cookies.clone(), ..Visitor::of(&server, APP) },
        Visitor { cookies: visitor.cookies.clone(), ..Visitor::of(&server, APP) },
    );
    let (first, second) = tokio::join!(one.calls_back(&code), two.calls_back(&code));
    wins += usize::from(!first.ends_with("failed=1"));
    wins += usize::from(!second.ends_with("failed=1"));
    assert_eq!(wins, 1);
}

#[tokio::test]
async fn the_cookie_of_a_host_is_useless_at_another_host_and_at_this_server() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let mut visitor = Visitor::of(&server, APP);
    let code = visitor.gets_a_code(&mut browser, "/forward?to=https://app.example.com/").await;
    let raw = code.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
    visitor.calls_back(&code).await;
    visitor.asks("").await.expect_status(200);
    let cookie =
        visitor.cookies.iter().find(|(name, _)| name.ends_with("forward")).unwrap().1.clone();
    for (what, host, cookies) in [
        ("another host", FILES, format!("__Host-tessera_forward={cookie}")),
        ("a stranger", "evil.example", format!("__Host-tessera_forward={cookie}")),
        ("without the prefix", APP, format!("tessera_forward={cookie}")),
        (
            "planted beside",
            APP,
            format!("__Host-tessera_forward=x; __Host-tessera_forward={cookie}"),
        ),
        ("a code as a cookie", APP, format!("__Host-tessera_forward={raw}")),
        ("cut off", APP, format!("__Host-tessera_forward={}", &cookie[..cookie.len() - 2])),
        ("as the cookie of this server", APP, format!("__Host-tessera={cookie}")),
        ("as the cookie of its pages", APP, format!("__Host-tessera-browser={cookie}")),
    ] {
        let asked = ask(&server, "").header("x-forwarded-host", host).header("cookie", &cookies);
        assert_eq!(asked.send().await.status, 401, "{what}");
    }
    // Without a trusted word about the host it counts nowhere.
    let asked = ask(&server, "").header("cookie", &visitor.jar());
    asked.send().await.expect_status(401);
    for path in ["/users/me", "/auth/sessions"] {
        let asked = server.get(path).header("cookie", &visitor.jar());
        asked.send().await.expect_status(401);
    }
    let asked =
        server.get("/account").header("cookie", &visitor.jar()).header("accept", "text/html");
    assert!(asked.send().await.expect_status(303).header("location").contains("login"));

    // A later proof of the password makes no copy of the cookie fresh.
    server.advance(Duration::from_secs(600)).await;
    visitor.asks("?fresh=300").await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    let asked = ask(&server, "?fresh=300").header("x-forwarded-host", APP);
    let asked = asked.header("cookie", &visitor.jar()).header("accept", "text/html");
    let led = asked.send().await.expect_status(302).header("location");
    let login = led.strip_prefix(ID).unwrap();
    assert!(login.starts_with("/login?again=1&next="), "{login}");
    browser.open(login).await.expect_status(200);
    let fields = [("email", &*person.email), ("password", PASSWORD), ("again", "1")];
    browser.press("/login", &fields).await.expect_status(303);
    let code = visitor.gets_a_code(&mut browser, "/forward?to=https://app.example.com/").await;
    let old = Visitor { cookies: visitor.cookies.clone(), ..Visitor::of(&server, APP) };
    visitor.calls_back(&code).await;
    eventually("the new cookie is fresh", async || visitor.asks("?fresh=300").await.status == 200)
        .await;
    old.asks("").await.expect_status(200);
    old.asks("?fresh=300").await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
}

#[tokio::test]
async fn at_the_host_of_this_server_its_own_cookies_count() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let own = format!("__Host-tessera-browser={}", browser.cookies["__Host-tessera-browser"]);
    let asks = async |cookies: &str, method: &str, extra: &[(&str, &str)]| {
        let mut asked = ask(&server, "").header("cookie", cookies);
        asked = asked.header("x-forwarded-host", "id.example.com");
        asked = asked.header("x-forwarded-method", method);
        for (name, value) in extra {
            asked = asked.header(name, value);
        }
        asked.send().await
    };
    assert_eq!(told(&asks(&own, "GET", &[]).await.expect_status(200))[0], person.id);
    asks(&own, "POST", &[("origin", "https://evil.example")]).await.expect_status(403);
    asks(&own, "POST", &[("origin", ID)]).await.expect_status(200);
    // A browser is led back without a code.
    let led = about(&server, "id.example.com", "/wiki").send().await.header("location");
    assert_eq!(led, sign_in(&format!("{ID}/wiki")));
    let back = browser.open("/forward?to=https://id.example.com/wiki").await;
    assert_eq!(back.expect_status(303).header("location"), format!("{ID}/wiki"));

    let form = [("username", &*person.email), ("password", PASSWORD)];
    let login = server.post("/auth/cookie/login").form(&form).send().await.expect_status(204);
    let cookie = login.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let cookie = cookie.into_iter().find(|value| value.starts_with("__Host-tessera=")).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let passes = asks(&cookie, "GET", &[]).await.expect_status(200);
    assert_eq!(told(&passes)[0], person.id);
    let stale = format!("__Host-tessera=x; {own}");
    asks(&stale, "GET", &[]).await.expect_status(200);
    browser.open("/").await.expect_status(200);
    browser.press("/logout", &[]).await.expect_status(303);
    asks(&own, "GET", &[]).await.expect_status(401);
    asks(&cookie, "GET", &[]).await.expect_status(200);
}

#[tokio::test]
async fn a_host_without_https_is_for_development_alone() {
    let folder = tempfile::tempdir().unwrap();
    let secret = ("APP_SECRET", crate::support::SECRET);
    for (host, fault) in
        [("http://app.example.com", "only over https"), ("*.example.com", "no wildcards")]
    {
        let settings = [("FORWARD_HOSTS", host), secret];
        let said = crate::once::start::refused(folder.path(), &settings, &[]);
        assert!(said.contains("FORWARD_HOSTS") && said.contains(fault), "{said}");
    }
    let server = Server::setup().set("FORWARD_HOSTS", "http://localhost:8080");
    let server = server.set("TRUSTED_PROXIES", "127.0.0.1").start().await;
    let person = server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let begin = browser.open("/forward?to=http://localhost:8080/x").await.expect_status(303);
    let path = begin.header("location").strip_prefix("http://localhost:8080").unwrap().to_owned();
    let answer = server.get(&path).header("x-forwarded-host", "localhost:8080").send().await;
    let cookie = answer.expect_status(303).header("set-cookie");
    assert!(cookie.starts_with("tessera_state=") && !cookie.contains("Secure"), "{cookie}");
}
