//! `PUBLIC_URL` and `CORS_ORIGINS` in every spelling that operators type.

use crate::support::{Answer, Browser, PASSWORD, Server, claims_of};

/// Spellings of a URL, each with its normalised form.
const SPELLINGS: [(&str, &str); 9] = [
    ("https://id.example.com", "https://id.example.com"),
    ("HTTPS://id.example.com", "https://id.example.com"),
    ("hTtPs://ID.Example.COM/", "https://id.example.com"),
    ("https://id.example.com:443", "https://id.example.com"),
    ("https://id.example.com:/", "https://id.example.com"),
    (" https://id.example.com:0443// ", "https://id.example.com"),
    ("HTTPS://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
    ("Https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
    ("https://ID.example.com:8443", "https://id.example.com:8443"),
];

fn host_of(origin: &str) -> &str {
    origin.split_once("://").unwrap().1
}

async fn sign_in(server: &Server, origin: &str, host: &str) -> Answer {
    let form = [("username", "first@user.com"), ("password", PASSWORD)];
    let request = server.post("/auth/cookie/login").header("host", host).form(&form);
    request.header("origin", origin).send().await
}

#[tokio::test]
async fn every_spelling_of_the_public_url_keeps_all_checks_on() {
    for (typed, origin) in SPELLINGS {
        let server = Server::setup().set("PUBLIC_URL", typed).start().await;
        let person = server.person("first").await;
        let live = server.get("/health/live").send().await;
        assert_eq!(live.header("strict-transport-security"), "max-age=31536000", "{typed}");
        assert_eq!(claims_of(&person.access)["iss"], origin, "{typed}");
        server.me(&person.access).await.expect_status(200);

        // Behind a proxy that keeps the host, and behind one that does not.
        for host in [host_of(origin), "internal:8000"] {
            let own = sign_in(&server, origin, host).await.expect_status(204);
            let cookie = own.header("set-cookie");
            assert!(cookie.starts_with("__Host-tessera="), "{typed}: {cookie}");
            assert!(cookie.contains("; Secure"), "{typed}: {cookie}");
            let plain = origin.replace("https:", "http:");
            for foreign in [plain.as_str(), "https://evil.example", "null"] {
                let refused = sign_in(&server, foreign, host).await;
                refused.expect_refusal(403, "CSRF_TOKEN_MISMATCH");
            }
        }
        let mut browser = Browser::of(&server);
        browser.sign_in("first@user.com", PASSWORD).await;
        assert!(browser.cookies.contains_key("__Host-tessera-browser"), "{typed}");
    }
}

#[tokio::test]
async fn links_in_mails_begin_with_the_normalised_public_url() {
    for (typed, form) in [
        ("HTTPS://Id.Example.Com:443/", "https://id.example.com/"),
        ("Https://id.example.com/Accounts/", "https://id.example.com/Accounts/"),
        ("http://ID.example.com:80/a/../b", "http://id.example.com/b/"),
    ] {
        let server = Server::setup().set("PUBLIC_URL", typed).start().await;
        let person = server.person("first").await;
        let asked = serde_json::json!({ "email": person.email });
        server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
        let link = server.letter(&person.email, "assword", 1).await.link();
        assert!(link.starts_with(&format!("{form}reset-password?token=")), "{typed}: {link}");
        let issuer = form.trim_end_matches('/');
        assert_eq!(claims_of(&person.access)["iss"], issuer, "{typed}");
    }
}

#[tokio::test]
async fn cors_origins_are_recognised_in_every_spelling() {
    let listed: Vec<_> = SPELLINGS.iter().map(|(typed, _)| *typed).collect();
    let server = Server::setup().set("CORS_ORIGINS", listed.join(",")).start().await;
    server.person("first").await;
    for (typed, origin) in SPELLINGS {
        let preflight = server.request("OPTIONS", "/users/me").header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "GET").send().await;
        let allowed = preflight.expect_status(204).header("access-control-allow-origin");
        assert_eq!(allowed, origin, "{typed}");
        sign_in(&server, origin, "internal:8000").await.expect_status(204);
        let plain = origin.replace("https:", "http:");
        let live = server.get("/health/live").header("origin", &plain).send().await;
        assert!(live.headers.get("access-control-allow-origin").is_none(), "{plain}");
    }
}

/// A proxy ends TLS, and `PUBLIC_URL` does not say so: nobody can send a form. The page and the log say why.
#[tokio::test]
async fn a_form_that_is_refused_for_its_origin_says_what_to_check() {
    let server = Server::setup().set("PUBLIC_URL", "http://id.example.com").start().await;
    server.person("first").await;
    let mut browser = Browser::of(&server);
    browser.open("/login").await.expect_status(200);
    let cookie = format!("__Host-tessera-browser={0}; tessera-browser={0}", browser.id());
    let fields = [("email", "first@user.com"), ("password", PASSWORD), ("csrf", &*browser.csrf)];
    for _ in 0..3 {
        let form = server.post("/login").header("cookie", &cookie).header("host", "internal:8000");
        let form = form.header("origin", "https://id.example.com").form(&fields);
        let refused = form.send().await.expect_status(403);
        assert!(refused.body.contains("PUBLIC_URL must be the address"), "{}", refused.body);
        sign_in(&server, "https://id.example.com", "internal:8000").await.expect_status(403);
    }
    let log = server.log_so_far().await;
    let line: Vec<_> = log.lines().filter(|line| line.contains("its Origin is neither")).collect();
    assert_eq!(line.len(), 1, "{log}");
    for part in ["https://id.example.com", "http://id.example.com", "internal:8000"] {
        assert!(line[0].contains(part), "{}", line[0]);
    }
}
