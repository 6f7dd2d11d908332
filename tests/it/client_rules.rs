//! The rules between clients, resources, services and the file that declares them.

use serde_json::json;

use crate::clients::tessera;
use crate::provider::{code, exchange, server, with_code};
use crate::support::{Browser, PASSWORD, Server};
use crate::terminal::{fault, out};

#[tokio::test]
async fn a_code_for_which_nothing_is_left_is_not_spent() {
    let server = server().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let code = code(&mut browser, &[]).await;
    let scopes = |scopes: &[&str]| {
        let request = server.patch("/admin/clients/app").bearer(&root.access);
        let body = json!({ "scopes": scopes });
        async move { request.json(&body).send().await.expect_status(200) }
    };
    scopes(&["api:read"]).await;
    let refused = exchange(&server, "app", &with_code(&code)).await;
    let refused = refused.expect_refusal(400, "invalid_grant");
    assert!(refused.body.contains("grant.nothing_left"), "{}", refused.body);
    assert_eq!(server.database.count("oauth_grant").await, 0);
    scopes(&["openid"]).await;
    let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    assert_eq!(tokens.text("scope"), "openid");
    // Spent is spent, whatever is left.
    scopes(&["api:read"]).await;
    let again = exchange(&server, "app", &with_code(&code)).await;
    assert!(again.expect_refusal(400, "invalid_grant").body.contains("code.spent"));
}

#[tokio::test]
async fn of_a_client_and_an_audience_that_two_superusers_make_at_once_one_exists() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let send = |body: serde_json::Value| {
        let request = server.post("/admin/clients").bearer(&root.access).json(&body);
        async move { request.send().await.status }
    };
    for number in 0..8 {
        let name = format!("name{number}");
        let own = json!({ "client_id": name, "grant_types": ["client_credentials"] });
        let other = json!({
            "client_id": format!("other{number}"), "grant_types": ["client_credentials"],
            "audience": [name],
        });
        let service = server.post("/admin/services").bearer(&root.access);
        let service = service.json(&json!({ "name": name, "scopes": [] }));
        let service = async move { service.send().await.status };
        let (one, two, three) = tokio::join!(send(own), send(other), service);
        let made = [one, two, three].into_iter().filter(|status| *status == 201).count();
        assert_eq!(made, 1, "{one} {two} {three}");
    }
}

#[tokio::test]
async fn a_file_takes_nothing_over_and_names_nothing_twice() {
    let server = Server::start().await;
    for arguments in [
        &["client", "create", "wiki", "--redirect", "https://wiki.example.com/cb"][..],
        &["resource", "create", "https://api.example.com"],
    ] {
        assert!(tessera(&server, arguments).status.success());
    }
    let own = |id: &str, more: &str| {
        format!(
            "- {{client_id: {id}, secret: 0f9c1d2b3a4e5f60718293a4b5c6d{id}, grant_types: [client_credentials]{more}}}\n"
        )
    };
    let path = server.folder().join("clients.yaml");
    let apply = |text: &str| {
        std::fs::write(&path, text).unwrap();
        tessera(&server, &["client", "apply", path.to_str().unwrap()])
    };
    let (one, two) = (own("one", ", audience: [two]"), own("two", ", audience: [one]"));
    let rows = [
        (
            format!("clients:\n{}", own("wiki", "")),
            "line 2: The client \"wiki\" exists already: an operator made it",
            "tessera client delete wiki",
        ),
        (
            "resources:\n- uri: https://api.example.com\n".to_owned(),
            "line 2: The resource \"https://api.example.com\" exists already",
            "tessera resource delete https://api.example.com",
        ),
        (
            "resources:\n- uri: https://b.example.com\n- uri: https://b.example.com\n".to_owned(),
            "line 3: The resource \"https://b.example.com\" is declared twice",
            "leave one out",
        ),
        (
            "clients: []\nresources: []\nclients: []\n".to_owned(),
            "this is not valid YAML",
            "duplicate",
        ),
        (
            format!("clients:\n{one}{two}"),
            "line 2: The client id \"one\" is an audience",
            "line 3: The client id \"two\"",
        ),
    ];
    for (text, sentence, word) in rows {
        let refused = apply(&text);
        let told = fault(&refused);
        assert_eq!(refused.status.code(), Some(1), "{text}");
        assert!(told.contains(sentence) && told.contains(word), "{text}{told}");
    }
    assert_eq!(server.database.count("client where origin = 'file'").await, 0);
    // What the file itself gives up can be given again in the same file.
    assert!(apply(&format!("clients:\n{}", own("one", ", audience: [two]"))).status.success());
    let moved = apply(&format!("clients:\n{}{}", own("two", ""), own("one", "")));
    assert!(moved.status.success(), "{}", fault(&moved));
}

#[tokio::test]
async fn a_public_client_that_gets_another_method_needs_a_secret_and_the_command_says_so() {
    let server = Server::start().await;
    let made = ["client", "create", "app", "--public", "--redirect", "https://app.example.com/cb"];
    assert!(tessera(&server, &made).status.success());
    let update =
        || tessera(&server, &["client", "update", "app", "--auth-method", "client_secret"]);
    let told = String::from_utf8(update().stderr).unwrap();
    assert!(told.contains("tessera client rotate-secret app"), "{told}");
    assert!(out(&tessera(&server, &["client", "rotate-secret", "app"])).contains("tsr_cs_"));
    let told = String::from_utf8(update().stderr).unwrap();
    assert!(!told.contains("rotate-secret"), "{told}");
}
