//! Refusals that explain themselves: to operators at the terminal and on pages, and to people in their language.

use serde_json::json;

use crate::clients::{create, tessera};
use crate::provider::{basic, request, server};
use crate::support::{Answer, Browser, PASSWORD, Server, eventually};
use crate::terminal::{fault, out};

/// The reference on a page.
fn reference(page: &Answer) -> String {
    let begin = ["Reference:", "Referenz:"].into_iter().find_map(|word| page.body.split_once(word));
    let (_, rest) = begin.unwrap_or_else(|| panic!("{}", page.body));
    let (_, rest) = rest.split_once("<code>").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

async fn page(server: &Server, path: &str, language: &str) -> Answer {
    let request = server.get(path).header("accept", "text/html");
    request.header("accept-language", language).send().await.expect_status(400)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_and_every_effect_of_a_url_is_explained() {
    let server = server().await;
    let explain = |url: &str| out(&tessera(&server, &["client", "explain", "--request", url]));
    let changes = [
        ("redirect_uri", "https://app.example.com/callback/"),
        ("code_challenge_method", "plain"),
        ("scope", "openid email jobs:run"),
        ("max_age", "soon"),
        ("prompt", "none"),
    ];
    let told = explain(&format!("https://evil.example{}", request(&changes)));
    for word in [
        "endpoint: The URL is not the one of this server's authorization endpoint. (endpoint.other)",
        "came: https://evil.example/oauth2/authorize",
        "parameters: ok\nclient: ok (the request is from app (The app))\nredirect_uri: ",
        "redirect_uri.not_registered",
        "pkce.method",
        "scope: ok (the scopes are email openid; dropped, because the application cannot ask for them: jobs:run)",
        "max_age.malformed",
        "authentication.required",
        "consent.required",
        "6 checks refuse the request.",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let good = explain(&request(&[("prompt", "login")]));
    assert!(!good.contains("endpoint"), "{good}");
    assert!(good.contains("somebody who is signed in signs in again"), "{good}");
    assert!(good.ends_with("No check refuses the request.\n"), "{good}");
    // Without a client, the checks that need one say nothing.
    let none = explain(&request(&[("client_id", "nobody"), ("response_mode", "fragment")]));
    assert!(none.contains("response_mode.unsupported"), "{none}");
    assert_eq!(none.matches("client.unknown").count(), 1, "{none}");
    let cut = explain("http://localhost:8000/oauth2/authorize?continue=abc");
    assert!(cut.contains("flow.unreadable"), "{cut}");
    // It has no effect.
    assert_eq!(server.database.count("refusal").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_a_reference_that_stays_known_whatever_is_refused_later() {
    let server = server().await;
    let wrong = request(&[("redirect_uri", "https://app.example.com/other")]);
    let first = reference(&page(&server, &wrong, "en").await);
    let other = request(&[("redirect_uri", "https://app.example.com/third")]);
    let other = reference(&page(&server, &other, "en").await);
    let again = reference(&page(&server, &wrong, "de").await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let cut = reference(&page(&server, "/oauth2/authorize?continue=abc", "en").await);
    // Somebody who may not use the application, and a request that forbids pages.
    assert!(tessera(&server, &["client", "update", "app", "--only", "staff"]).status.success());
    let mut browser = Browser::of(&server);
    let silent = request(&[("prompt", "none")]);
    let refused = browser.open(&silent).await.expect_status(303).header("location");
    let (_, silent) = refused.split_once("reference+").unwrap();
    let silent = silent[..16].to_owned();
    browser.sign_in("ada@user.com", PASSWORD).await;
    let not_allowed = eventually_forbidden(&mut browser).await;
    for (reference, name) in [
        (&first, "redirect_uri.not_registered"),
        (&other, "redirect_uri.not_registered"),
        (&cut, "flow.unreadable"),
        (&silent, "authentication.required"),
        (&not_allowed, "user.not_allowed"),
    ] {
        let explained = async || {
            let told = out(&tessera(&server, &["client", "explain", reference]));
            told.contains(name) && told.contains(&format!("reference {reference}"))
        };
        eventually("the reference is explained", explained).await;
    }
    let told = out(&tessera(&server, &["client", "explain", &first]));
    assert!(told.contains("count: 2") && told.contains("came: https://app.example.com/other"));
    let unknown = out(&tessera(&server, &["client", "explain", "0123456789abcdef"]));
    assert!(unknown.contains("no refusal with this reference"), "{unknown}");
}

/// Opens a request until the change of its client is known. Returns the reference on the page.
async fn eventually_forbidden(browser: &mut Browser<'_>) -> String {
    let mut found = None;
    eventually("the user is refused", async || {
        let answer = browser.open(&request(&[])).await;
        found = (answer.status == 403).then(|| reference(&answer));
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn a_refusal_page_speaks_the_language_of_its_reader_and_marks_the_difference() {
    let server = server().await;
    let cases = [
        (request(&[("client_id", "")]), "keine client_id", "tessera client list"),
        (
            request(&[("client_id", "nobody")]),
            "keine Anwendung mit dieser client_id",
            "client list",
        ),
        (request(&[("redirect_uri", "")]), "keine redirect_uri", "Korrigieren Sie"),
        (format!("{}&state=x", request(&[])), "den Parameter state zweimal", "Korrigieren Sie"),
        (request(&[("state", &"x".repeat(7000))]), "zu lang", "Korrigieren Sie"),
        (format!("{}&nonce=%00", request(&[("nonce", "")])), "U+0000", "Korrigieren Sie"),
        ("/oauth2/authorize?continue=abc".to_owned(), "kann nicht gelesen", "APP_SECRET_PREVIOUS"),
        (
            request(&[("redirect_uri", "https://app.example.com/Callback")]),
            "ist für diese Anwendung nicht registriert",
            "<code>https:&#x2f;&#x2f;app.example.com&#x2f;<mark>C</mark>allback</code>",
        ),
        (
            request(&[("redirect_uri", "http://app.example.com/callback")]),
            "ist für diese Anwendung nicht registriert",
            "Die erhaltene kann nicht registriert werden",
        ),
    ];
    for (path, sentence, more) in cases {
        let german = page(&server, &path, "de").await;
        assert!(german.body.contains("<html lang=\"de\""), "{}", german.body);
        assert!(german.body.contains(sentence), "{sentence}: {}", german.body);
        assert!(german.body.contains(more), "{more}: {}", german.body);
        for english in ["The request", "Correct the", "lang=\"en\""] {
            assert!(!german.body.contains(english), "{english}: {}", german.body);
        }
        page(&server, &path, "en").await;
    }
    let other = request(&[("redirect_uri", "https://app.example.com/x")]);
    let command = page(&server, &other, "de").await.body;
    assert!(command.contains("<code>tessera client update app --redirect"), "{command}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_application_shows_its_settings_secrets_and_refusals() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let body = json!({
        "client_id": "shop", "name": "The <shop>", "only": ["staff"],
        "redirect_uris": ["https://shop.example.com/cb"],
    });
    create(&server, &root, &body).await;
    let rotate = ["client", "rotate-secret", "shop"];
    assert!(tessera(&server, &rotate).status.success());
    let wrong = server.post("/oauth2/token").header("authorization", &basic("shop"));
    let own = [("grant_type", "client_credentials")];
    wrong.form(&own).send().await.expect_refusal(401, "invalid_client");
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let list = browser.open("/admin/apps").await.expect_status(200);
    assert!(list.body.contains("admin/apps/shop\""), "{}", list.body);
    let shown = browser.open("/admin/apps/shop").await.expect_status(200);
    for word in [
        "The &lt;shop&gt;",
        "https:&#x2f;&#x2f;shop.example.com&#x2f;cb",
        "staff",
        "retired <time",
        "never",
        "client_secret.wrong",
        "tessera client rotate-secret shop",
    ] {
        assert!(shown.body.contains(word), "{word}: {}", shown.body);
    }
    browser.open("/admin/apps/nobody").await.expect_status(404);
    // The commands use the same words as people do.
    let shown = out(&tessera(&server, &["client", "show", "shop"]));
    assert!(shown.starts_with("client id: shop\nname: The <shop>\n"), "{shown}");
    for word in ["redirect URIs: https://shop", "only users with: staff", "retired 20", "does not"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let long = ["client", "update", "shop", "--access-token-lifetime", "1s"];
    assert!(fault(&tessera(&server, &long)).contains("60 to 86400 seconds"));
    for (field, value, sentence) in [
        ("access_token_expires", json!("soon"), "must be a whole number"),
        ("trusted", json!("yes"), "must be true or false"),
        ("redirect_uris", json!("https://a.example/"), "must be a list"),
        ("pkce", json!("never"), "must be required or optional"),
        ("colour", json!("red"), "is no setting"),
    ] {
        let change = server.patch("/admin/clients/shop").bearer(&root.access);
        let refused = change.json(&json!({ field: value })).send().await.expect_status(422).body;
        assert!(refused.contains(sentence), "{field}: {refused}");
        for word in ["u64", "sequence", "variant", "unknown field", "invalid type"] {
            assert!(!refused.contains(word), "{field}: {refused}");
        }
    }
}
