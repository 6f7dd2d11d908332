//! The address of the client, as proxies write it, and paths as they pass them on.

use crate::support::{Browser, PASSWORD, Server};

const LOCAL: &str = "127.0.0.0/8,::1";

/// Signs in with these headers, and returns the address that the server took for the client's.
async fn address(server: &Server, access: &str, headers: &[(&str, &str)]) -> String {
    let mut login = server.post("/auth/jwt/login");
    for (name, value) in headers {
        login = login.header(name, value);
    }
    let form = [("username", "first@user.com"), ("password", PASSWORD)];
    login.form(&form).send().await.expect_status(200);
    let sessions = server.get("/auth/sessions?limit=1").bearer(access).send().await;
    sessions.json["items"][0]["ip"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_clients_address_is_read_as_proxies_write_it() {
    let (list, elements, real) = ("x-forwarded-for", "forwarded", "x-real-ip");
    let stranger = "6.6.6.6";
    let cases: [(&str, &[(&str, &str, &str)]); 3] = [
        (
            list,
            &[
                (list, "203.0.113.7:51234", "203.0.113.7"),
                (list, "[2001:db8::1]:443", "2001:db8::1"),
                (list, "[2001:db8::1]", "2001:db8::1"),
                (list, "fe80::1%eth0", "fe80::1"),
                (list, "[::ffff:203.0.113.7]:80", "203.0.113.7"),
                (list, "6.6.6.6:1, 203.0.113.7:51234, 127.0.0.5:80", "203.0.113.7"),
                (list, "\"6.6.6.6, 203.0.113.7", "203.0.113.7"),
                // What the proxy wrote is not an address. Nothing before it counts.
                (list, "6.6.6.6, unknown", "127.0.0.1"),
                (list, "6.6.6.6,", "127.0.0.1"),
                (elements, "for=6.6.6.6", "127.0.0.1"),
                (real, stranger, "127.0.0.1"),
            ],
        ),
        (
            elements,
            &[
                (elements, "for=203.0.113.7", "203.0.113.7"),
                (elements, "For=\"[2001:db8::1]:443\";proto=https", "2001:db8::1"),
                (elements, "for=6.6.6.6, for=\"203.0.113.7:1\";host=\"a, b\"", "203.0.113.7"),
                (elements, "for=\"6.6.6.6, for=203.0.113.7", "203.0.113.7"),
                (elements, "for=203.0.113.7, for=127.0.0.5", "203.0.113.7"),
                (elements, "for=6.6.6.6, for=_hidden", "127.0.0.1"),
                (elements, "for=6.6.6.6, for=unknown;proto=http", "127.0.0.1"),
                (list, stranger, "127.0.0.1"),
                (real, stranger, "127.0.0.1"),
            ],
        ),
        (
            real,
            &[
                (real, "203.0.113.7", "203.0.113.7"),
                (real, "[2001:db8::1]:443", "2001:db8::1"),
                (real, "6.6.6.6, 203.0.113.7", "127.0.0.1"),
                (list, stranger, "127.0.0.1"),
                (elements, "for=6.6.6.6", "127.0.0.1"),
            ],
        ),
    ];
    for (setting, cases) in cases {
        let server = Server::setup().set("TRUSTED_PROXIES", LOCAL).set("FORWARDED_HEADER", setting);
        let server = server.start().await;
        let person = server.person("first").await;
        for (name, value, expected) in cases {
            let found = address(&server, &person.access, &[(name, value)]).await;
            assert_eq!(found, *expected, "{setting}: {name}: {value}");
        }
        let log = server.log_so_far().await;
        assert_eq!(log.matches("which is not an IP address").count(), 1, "{setting}");
        assert_eq!(log.matches("set FORWARDED_HEADER to the header").count(), 1, "{setting}");
    }
    // Nobody but a trusted proxy says what the address is.
    let server = Server::setup().set("TRUSTED_PROXIES", "192.0.2.1").start().await;
    let person = server.person("first").await;
    for header in [(list, stranger), (elements, "for=6.6.6.6"), (real, stranger)] {
        assert_eq!(address(&server, &person.access, &[header]).await, "127.0.0.1");
    }
}

#[tokio::test]
async fn pages_of_other_origins_can_send_the_headers_of_tracing_programs_and_listed_ones() {
    let origin = "https://app.example.com";
    let server = Server::setup().set("CORS_ORIGINS", origin);
    let server = server.set("CORS_ALLOW_HEADERS", "X-Tenant, x-client-version").start().await;
    let asked = "traceparent,tracestate,baggage,sentry-trace,x-request-id,authorization,x-tenant,X-Client-Version";
    let preflight = server.request("OPTIONS", "/users/me").header("origin", origin);
    let preflight = preflight.header("access-control-request-method", "GET");
    let preflight = preflight.header("access-control-request-headers", asked).send().await;
    let allowed = preflight.expect_status(204).header("access-control-allow-headers");
    let allowed: Vec<_> = allowed.split(", ").map(str::to_ascii_lowercase).collect();
    for name in asked.to_ascii_lowercase().split(',') {
        assert!(allowed.iter().any(|known| known == name), "{name}");
    }
    assert!(!allowed.iter().any(|known| known == "*" || known == "cookie"), "{allowed:?}");
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_path_is_left_out_and_other_empty_segments_are_refused() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let asks = async |path: &str| server.get(path).bearer(&person.access).send().await;
    for (path, plain) in [
        ("/users/me/", "/users/me"),
        ("/auth/sessions/?limit=1", "/auth/sessions?limit=1"),
        ("/health/live/", "/health/live"),
        ("/.well-known/jwks.json/", "/.well-known/jwks.json"),
        ("/openapi.json/", "/openapi.json"),
    ] {
        let (served, expected) = (asks(path).await, asks(plain).await);
        match served.status {
            // A file that pages load has no body to lose.
            308 => assert_eq!(served.header("location"), format!("..{plain}")),
            status => assert_eq!((status, &served.json), (200, &expected.json), "{path}"),
        }
    }
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    server.post("/auth/jwt/login/").form(&form).send().await.expect_status(200);
    let body = serde_json::json!({ "name": "First" });
    let changed = server.patch("/users/me/").bearer(&person.access).json(&body).send().await;
    assert_eq!(changed.expect_status(200).text("name"), "First");
    let wrong = server.request("PUT", "/users/me/").bearer(&person.access).send().await;
    assert!(wrong.expect_status(405).header("allow").contains("PATCH"));

    // Pages: a browser that opens one is redirected, because its links are relative. A form is not.
    let mut browser = Browser::of(&server);
    for (path, place) in
        [("/login/?next=/account", "../login?next=/account"), ("/docs/", "../docs")]
    {
        assert_eq!(browser.open(path).await.expect_status(308).header("location"), place);
    }
    browser.open("/login").await.expect_status(200);
    let fields = [("email", person.email.as_str()), ("password", PASSWORD)];
    let signed_in = browser.press("/login/", &fields).await.expect_status(303);
    assert_eq!(signed_in.header("location"), "../");

    for path in [
        "//users/me",
        "/users//me",
        "/users/me//",
        "//",
        "/users%2Fme",
        "/users/me%2F",
        "/users/./me/x",
        "//evil.example/",
        "//evil.example/login/",
        "/login//",
        "/%2F/login/",
    ] {
        let raw = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            person.access
        );
        let refused = server.raw(&raw);
        let status: u16 = refused.split(' ').nth(1).unwrap().parse().unwrap();
        assert!([403, 404].contains(&status), "{path}: {refused}");
        assert!(!refused.to_ascii_lowercase().contains("\nlocation:"), "{path}: {refused}");
    }
}

#[tokio::test]
async fn below_a_path_the_document_and_every_link_stay_below_it() {
    let server = Server::setup().set("PUBLIC_URL", "https://example.com/id/").start().await;
    for path in ["/openapi.json", "/openapi.yaml"] {
        let text = server.get(path).send().await.expect_status(200).body;
        let document: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(document["servers"][0]["url"], "/id", "{path}");
        let schemes = document["components"]["securitySchemes"].as_object().unwrap();
        let flows: Vec<_> =
            schemes.values().filter_map(|scheme| scheme["flows"].as_object()).flatten().collect();
        assert!(!flows.is_empty());
        for (_, flow) in flows {
            assert_eq!(flow["tokenUrl"], "/id/auth/jwt/login");
        }
    }
    server.person("first").await;
    let mut browser = Browser::of(&server);
    let mut pages = vec![
        "/login",
        "/register",
        "/forgot-password",
        "/reset-password",
        "/verify",
        "/docs",
        "/nothing",
    ];
    for signed_in in [false, true] {
        if signed_in {
            browser.sign_in("first@user.com", PASSWORD).await;
            pages.extend(["/", "/account", "/admin"]);
        }
        for page in &pages {
            let answer = browser.open(page).await;
            let location = answer.header("location");
            assert!(!location.starts_with('/') && !location.contains("://"), "{page}: {location}");
            for attribute in ["href=\"", "src=\"", "action=\""] {
                for link in answer.body.split(attribute).skip(1) {
                    let link = link.split('"').next().unwrap();
                    assert!(!link.starts_with('/'), "{page}: {link}");
                }
            }
        }
    }
    let plain = Server::start().await.get("/openapi.json").send().await;
    assert_eq!(plain.json["servers"][0]["url"], "/");
}
