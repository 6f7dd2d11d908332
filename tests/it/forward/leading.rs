//! The original request, and the pages to which browsers are led.

use super::{APP, FILES, ID, about, ask, setup};
use crate::support::{Browser, PASSWORD, Request, Server};

/// The page where a browser signs in before it goes to a URL.
pub(super) fn sign_in(url: &str) -> String {
    let encoded = |text: &str| {
        let escapes = [("%", "%25"), ("&", "%26"), ("+", "%2B"), ("#", "%23"), ("\"", "%22")];
        escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    format!("{ID}/login?next={}", encoded(&format!("/forward?to={}", encoded(url))))
}

#[tokio::test]
async fn a_browser_that_opens_a_page_is_led_to_the_sign_in_and_nothing_else_is() {
    let server = setup().start().await;
    let page = "/reports/7?from=a&to=b%20c";
    let expected = sign_in(&format!("https://{APP}{page}"));
    let led = about(&server, APP, page).send().await.expect_status(302);
    assert_eq!(
        (led.header("location"), led.header("cache-control")),
        (expected.clone(), "no-store".into())
    );
    let navigation = about(&server, APP, page).header("sec-fetch-mode", "navigate");
    navigation.send().await.expect_status(302);
    let file = format!("https://{FILES}/x");
    assert_eq!(about(&server, FILES, "/x").send().await.header("location"), sign_in(&file));
    // nginx passes on no redirect.
    let asked = ask(&server, "?redirect=header&scope=reports").header("accept", "text/html");
    let asked = asked.header("x-forwarded-host", APP).header("x-forwarded-uri", page);
    let told = asked.send().await.expect_refusal(401, "Unauthorized");
    assert_eq!(
        (told.header("x-auth-redirect"), told.header("location")),
        (expected, String::new())
    );
    type Change = fn(Request) -> Request;
    let others: [(&str, Change); 6] = [
        ("a script", |r| r.header("sec-fetch-mode", "cors")),
        ("a websocket", |r| r.header("sec-fetch-mode", "websocket")),
        ("a bearer token", |r| r.bearer("x")),
        ("another stated method", |r| r.header("x-forwarded-method", "POST")),
        ("a program", |r| r.header("accept", "application/json")),
        ("anything", |r| r),
    ];
    for (what, change) in others {
        let asked = ask(&server, "").header("x-forwarded-host", APP);
        let asked = match what {
            "a program" | "anything" => asked,
            _ => asked.header("accept", "text/html"),
        };
        let refused = change(asked).send().await;
        assert_eq!((refused.status, refused.header("location")), (401, String::new()), "{what}");
    }
    // Another sign-in would not give a person the scope that is missing.
    let person = server.person("first").await;
    let asked = ask(&server, "?scope=reports").header("accept", "text/html");
    let asked = asked.header("x-forwarded-host", APP).bearer(&person.access);
    asked.send().await.expect_refusal(403, "INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn the_original_request_is_read_from_trusted_proxies_alone_and_must_be_one() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let to = format!("https://{APP}/a");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, u16, &str); 27] = [
        (&[("x-original-url", "https://app.example.com/a")], 302, &to),
        (&[("x-original-url", "http://APP.example.com:443/a")], 302, &to),
        (&[("x-original-url", "https://app.example.com/a"), ("x-forwarded-host", APP)], 302, &to),
        (
            &[("x-forwarded-host", APP), ("x-forwarded-uri", "/a"), ("x-forwarded-proto", "http")],
            302,
            &to,
        ),
        (&[("x-original-url", "https://app.example.com/a"), ("x-forwarded-host", FILES)], 400, ""),
        (&[("x-original-url", "https://app.example.com/a"), ("x-forwarded-uri", "/b")], 400, ""),
        (&[("x-original-url", "https://app.example.com/a"), ("x-forwarded-uri", "/A")], 400, ""),
        (
            &[("x-original-url", "https://app.example.com/a"), ("x-forwarded-proto", "http")],
            400,
            "",
        ),
        (&[("x-forwarded-host", APP), ("x-forwarded-host", APP)], 400, ""),
        (&[("x-forwarded-host", "app.example.com, files.example.com")], 400, ""),
        (&[("x-forwarded-host", APP), ("x-forwarded-uri", "a")], 400, ""),
        (&[("x-forwarded-host", APP), ("x-forwarded-uri", "/a b")], 400, ""),
        (&[("x-forwarded-host", APP), ("x-forwarded-proto", "ftp")], 400, ""),
        (&[("x-forwarded-host", APP), ("x-forwarded-method", "GET, POST")], 400, ""),
        (&[("x-forwarded-host", APP), ("x-forwarded-method", "G(T")], 400, ""),
        (
            &[("x-original-url", "https://app.example.com/a"), ("x-original-method", "GET")],
            302,
            &to,
        ),
        (
            &[("x-original-url", "https://app.example.com/a"), ("x-original-method", "POST")],
            401,
            "",
        ),
        (&[("x-original-method", "GET"), ("x-forwarded-method", "POST")], 400, ""),
        (&[("x-original-method", "get"), ("x-forwarded-method", "GET")], 400, ""),
        (&[("x-original-method", "GET, POST")], 400, ""),
        (&[("x-original-method", "G(T")], 400, ""),
        (&[("x-original-url", "app.example.com/a")], 400, ""),
        (&[("x-original-url", "https:///a")], 400, ""),
        (&[("x-original-url", "https://x@app.example.com/a")], 400, ""),
        (&[("x-original-url", "https://app.example.com?a")], 400, ""),
        // Another host, or none: there is nowhere to lead to.
        (&[("x-forwarded-host", "evil.example")], 401, ""),
        (&[], 401, ""),
    ];
    for (headers, status, to) in cases {
        let with = |mut asked: Request| {
            for (name, value) in headers {
                asked = asked.header(name, value);
            }
            asked
        };
        let answer = with(ask(&server, "").header("accept", "text/html")).send().await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
        let location = if to.is_empty() { String::new() } else { sign_in(to) };
        assert_eq!(answer.header("location"), location, "{headers:?}");
        // A request that cannot be told from another one does not pass either.
        let passes = with(ask(&server, "").bearer(&person.access)).send().await.status;
        assert_eq!(passes, if status == 400 { 400 } else { 200 }, "{headers:?}");
    }
    // A long path is not carried along.
    let long = format!("/{}", "a".repeat(2000));
    let led = about(&server, APP, &long).send().await.expect_status(302);
    assert_eq!(led.header("location"), sign_in(&format!("https://{APP}/")));

    let other = Server::setup().set("PUBLIC_URL", ID).set("FORWARD_HOSTS", APP);
    let other = other.set("TRUSTED_PROXIES", "192.0.2.1").start().await;
    let refused = about(&other, APP, "/a").send().await.expect_status(401);
    assert_eq!(refused.header("location"), "");
    other.log.wait_for("its address is not in TRUSTED_PROXIES").await;
    about(&other, "a, b", "x").send().await.expect_status(401);
}

/// Spellings of a stranger's host, as an original host and as the end of a sign-in.
const STRANGERS: [&str; 34] = [
    "https://evil.example/",
    "http://app.example.com/",
    "http://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "\\\\evil.example/",
    "https:evil.example/",
    "https:/evil.example/",
    "https:///evil.example/",
    "https:\\\\evil.example/",
    "https://app.example.com@evil.example/",
    "https://app.example.com:x@evil.example/",
    "https://app.example.com:443@evil.example/",
    "https://app.example.com.evil.example/",
    "https://app.example.comevil.example/",
    "https://app.example.com%2eevil.example/",
    "https://app.example.com%2f@evil.example/",
    "https://app.example.com\\@evil.example/",
    "https://app.example.com\\.evil.example/",
    "https://app.example.com#@evil.example/",
    "https://app.example.com?@evil.example/",
    "https://app.example.com:8443/",
    "https://app.example.com:443/",
    "https://app.example.com./",
    "https://APP.example.com/",
    "https://evil.app.example.com/",
    "https://app\u{3002}example.com/",
    "https://\u{ff41}pp.example.com/",
    "https://app.example.com \t/",
    " https://app.example.com/",
    "https://app.example.com",
    "https://app.example.com/\r\nx: y",
    "javascript:alert(1)//app.example.com/",
    "data:text/html,https://app.example.com/",
];

/// A text as the value of a parameter.
fn in_a_query(text: &str) -> String {
    let url = reqwest::Url::parse_with_params("http://x/", [("to", text)]).unwrap();
    url.query().unwrap().strip_prefix("to=").unwrap().to_owned()
}

#[tokio::test]
async fn no_spelling_of_a_stranger_leads_a_browser_away() {
    let server = setup().start().await;
    server.person("first").await;
    let mut browser = Browser::of(&server);
    for signed_in in [false, true] {
        if signed_in {
            browser.sign_in("first@user.com", PASSWORD).await;
        }
        for stranger in STRANGERS {
            let to = in_a_query(stranger);
            let refused = browser.open(&format!("/forward?to={to}")).await;
            assert_eq!(
                (refused.status, refused.header("location")),
                (403, String::new()),
                "{stranger}"
            );
            assert!(!refused.body.contains("evil.example"), "{stranger}");
            // As the end of a sign-in itself.
            let ended = browser.open(&format!("/login?next={to}")).await;
            let place = ended.header("location");
            assert!(place.is_empty() || place == "./", "{stranger}: {place}");
            let policy = ended.header("content-security-policy");
            assert!(
                !policy.contains("evil") && !policy.contains("example"),
                "{stranger}: {policy}"
            );
        }
    }
    for host in [
        "evil.example",
        "app.example.com.evil.example",
        "app.example.com@evil.example",
        "evil.example#app.example.com",
        "evil.example/app.example.com",
        "evil.example?app.example.com",
        "evil.example\\app.example.com",
        "app.example.com.",
        "app.example.com:8443",
        "app.example.com:80",
        "xapp.example.com",
        "%61pp.example.com",
    ] {
        let refused = about(&server, host, "/").send().await;
        assert_eq!((refused.status, refused.header("location")), (401, String::new()), "{host}");
    }
    // A path that begins like a host stays a path.
    for path in [
        "//evil.example/",
        "/\\evil.example",
        "/@evil.example",
        "/.evil.example",
        "/:80@evil.example",
    ] {
        let led = about(&server, APP, path).send().await.expect_status(302);
        assert_eq!(led.header("location"), sign_in(&format!("https://{APP}{path}")), "{path}");
    }
}
