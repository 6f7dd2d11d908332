//! The discovery document announces exactly what the server accepts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::clients::create;
use crate::federation::with;
use crate::grants::{tokens, trusted};
use crate::provider::{Client, SECRET, basic, reply, request, server, userinfo, value, with_code};
use crate::support::upstream::Upstream;
use crate::support::{Browser, PASSWORD, Server, claims_of};

async fn document(server: &Server) -> Value {
    server.get("/.well-known/openid-configuration").send().await.expect_status(200).json
}

/// The values of a list of the document.
fn announced(document: &Value, name: &str) -> BTreeSet<String> {
    let list = document[name].as_array().unwrap_or_else(|| panic!("no {name}"));
    list.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// The error that the client hears of, or the answer's status if there is none.
async fn error_of(server: &Server, changes: &[(&str, &str)]) -> String {
    let answer = server.get(&request(changes)).send().await;
    let is_own = answer.status == 303 && !answer.header("location").starts_with("https://app");
    if answer.status != 303 || is_own {
        return format!("{}", answer.status);
    }
    value(&reply(&answer), "error_description")
}

#[tokio::test]
async fn parameters_of_requests_are_announced_exactly_if_they_are_accepted() {
    let server = server().await;
    let document = document(&server).await;
    for (name, parameter, refusal, others) in [
        (
            "response_modes_supported",
            "response_mode",
            "response_mode.unsupported",
            vec!["fragment", "web_message", "query.jwt"],
        ),
        (
            "response_types_supported",
            "response_type",
            "response_type.unsupported",
            vec!["token", "id_token", "code id_token", "none"],
        ),
        ("prompt_values_supported", "prompt", "prompt.unsupported", vec!["signup", "NONE"]),
        (
            "code_challenge_methods_supported",
            "code_challenge_method",
            "pkce.method",
            vec!["plain", "S512"],
        ),
    ] {
        for value in announced(&document, name) {
            let error = error_of(&server, &[(parameter, &value)]).await;
            assert!(!error.contains(refusal), "{value}: {error}");
        }
        for value in others {
            assert!(!announced(&document, name).contains(value), "{value}");
            let error = error_of(&server, &[(parameter, value)]).await;
            assert!(error.contains(refusal), "{value}: {error}");
        }
    }
    // Each language is spoken, and another one is not.
    for (language, is_spoken) in [("en", true), ("de", true), ("fr", false), ("es", false)] {
        assert_eq!(announced(&document, "ui_locales_supported").contains(language), is_spoken);
        let mut browser = Browser::of(&server);
        browser.language = if language == "en" { "de" } else { "en" }.to_owned();
        browser.sign_in("ada@user.com", PASSWORD).await;
        let page = browser.open(&request(&[("ui_locales", language)])).await.expect_status(200);
        let spoken = page.body.contains(&format!("<html lang=\"{language}\""));
        assert_eq!(spoken, is_spoken, "{language}");
    }
    for (name, value) in [
        ("claims_parameter_supported", true),
        ("authorization_response_iss_parameter_supported", true),
        ("request_parameter_supported", false),
        ("request_uri_parameter_supported", false),
    ] {
        assert_eq!(document[name], value, "{name}");
    }
    assert_eq!(document["subject_types_supported"], json!(["public"]));
    assert_eq!(document["claim_types_supported"], json!(["normal"]));
}

#[tokio::test]
async fn scopes_and_claims_are_announced_exactly_if_a_user_can_have_them() {
    let server = server().await;
    trusted("one").insert(&server.database).await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let path = format!("/users/{}", person.id);
    let profile = json!({
        "name": "Ada", "surname": "Lovelace", "website": "https://ada.example.com",
        "is_verified": true, "scopes": ["authenticated", "group:staff"],
    });
    server.patch(&path).bearer(&root.access).json(&profile).send().await.expect_status(200);
    let document = document(&server).await;
    let scopes = announced(&document, "scopes_supported");
    let asked: Vec<_> = scopes.iter().map(String::as_str).collect();
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let answer = tokens(&server, &mut browser, "one", &[("scope", &asked.join(" "))]).await;
    let granted: BTreeSet<_> = answer.text("scope").split(' ').map(ToOwned::to_owned).collect();
    assert_eq!(granted, scopes);
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let mut found = names(&claims_of(&answer.text("id_token")));
    let user = userinfo(&server, &answer.text("access_token")).await.expect_status(200);
    found.extend(names(&user.json));
    assert_eq!(found, announced(&document, "claims_supported"));
}

#[tokio::test]
async fn algorithms_of_id_tokens_are_announced_exactly_if_a_client_can_have_them() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let body = json!({ "client_id": "app", "redirect_uris": ["https://app.example.com/cb"] });
    create(&server, &root, &body).await;
    let document = document(&server).await;
    let announced = announced(&document, "id_token_signing_alg_values_supported");
    for algorithm in ["RS256", "ES256", "EdDSA", "PS256", "ES384", "HS256", "none"] {
        let change = server.patch("/admin/clients/app").bearer(&root.access);
        let changed = change.json(&json!({ "id_token_alg": algorithm })).send().await;
        assert_eq!(changed.status == 200, announced.contains(algorithm), "{algorithm}");
    }
}

/// The ways in which a client can authenticate, as a request to an endpoint.
async fn authenticates(server: &Server, path: &str, method: &str) -> bool {
    let post = || server.post(path);
    let code = with_code("unknown");
    let form = |more: &[(&'static str, &'static str)]| {
        let token = [("token", "unknown")];
        let fields = if path == "/oauth2/token" { &code[..] } else { &token[..] };
        fields.iter().chain(more).copied().collect::<Vec<_>>()
    };
    let secret: &'static str = Box::leak(format!("{SECRET}app").into_boxed_str());
    let request = match method {
        "client_secret_basic" => post().header("authorization", &basic("app")).form(&form(&[])),
        "client_secret_post" => {
            post().form(&form(&[("client_id", "app"), ("client_secret", secret)]))
        }
        "none" => post().form(&form(&[("client_id", "page")])),
        _ => post().form(&form(&[
            ("client_id", "app"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "e30.e30.e30"),
        ])),
    };
    let answer = request.send().await;
    assert!([200, 400, 401].contains(&answer.status), "{path} {method}: {}", answer.body);
    answer.status != 401
}

#[tokio::test]
async fn methods_of_authentication_are_announced_exactly_if_the_endpoint_accepts_them() {
    let server = server().await;
    Client { id: "page", public: true, ..Client::default() }.insert(&server.database).await;
    let document = document(&server).await;
    for (path, name) in [
        ("/oauth2/token", "token_endpoint_auth_methods_supported"),
        ("/oauth2/introspect", "introspection_endpoint_auth_methods_supported"),
        ("/oauth2/revoke", "revocation_endpoint_auth_methods_supported"),
    ] {
        let announced = announced(&document, name);
        for method in ["client_secret_basic", "client_secret_post", "none", "private_key_jwt"] {
            let accepted = authenticates(&server, path, method).await;
            assert_eq!(accepted, announced.contains(method), "{path} {method}");
        }
    }
}

#[tokio::test]
async fn classes_of_proofs_are_announced_exactly_if_somebody_can_have_them() {
    let upstream = Upstream::start().await;
    for (entries, expected) in [
        (vec![], vec!["password"]),
        (vec![upstream.entry(&json!({}))], vec!["password", "federated"]),
        (vec![upstream.entry(&json!({ "second": ["mfa"] }))], vec!["password", "federated", "mfa"]),
    ] {
        let server = with(&entries).start().await;
        Client::default().insert(&server.database).await;
        let document = document(&server).await;
        let announced = announced(&document, "acr_values_supported");
        let class = |name: &str| format!("urn:tessera:acr:{name}");
        assert_eq!(announced, expected.iter().map(|name| class(name)).collect());
        for name in ["password", "federated", "mfa", "phishing"] {
            let acr = json!({ "essential": true, "values": [class(name)] });
            let claims = json!({ "id_token": { "acr": acr } }).to_string();
            let error = error_of(&server, &[("claims", &claims)]).await;
            let is_refused = error.contains("authentication.acr");
            assert_eq!(is_refused, !expected.contains(&name), "{name} {expected:?}: {error}");
        }
    }
}
