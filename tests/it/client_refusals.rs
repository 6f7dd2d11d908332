//! The authentication of clients, the records of refusals, and mapped claims of access tokens.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::clients::{create, tessera};
use crate::support::{Person, Server, claims_of, eventually};
use crate::terminal::{fault, out};

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

/// An own secret with characters that form encoding changes.
const OWN: &str = "a+b%41c/0f9c1d2b3a4e5f60718293a4b5c6d7e8";
const OWN_ENCODED: &str = "a%2Bb%2541c%2F0f9c1d2b3a4e5f60718293a4b5c6d7e8";

async fn make_robots(server: &Server, root: &Person) {
    for (id, method, secret) in [
        ("robot", "client_secret", Some(OWN)),
        ("pinned", "client_secret_basic", Some("1f9c1d2b3a4e5f60718293a4b5c6d7e8")),
        ("other", "client_secret_post", Some("2f9c1d2b3a4e5f60718293a4b5c6d7e8")),
    ] {
        let body = json!({
            "client_id": id, "auth_method": method, "secret": secret,
            "grant_types": ["client_credentials"], "scopes": ["jobs:run"],
        });
        create(server, root, &body).await;
    }
}

#[tokio::test]
async fn a_client_authenticates_in_one_way_and_a_refusal_does_not_tell_why() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    make_robots(&server, &root).await;
    let token = |authorization: Option<String>, fields: Vec<(&'static str, &'static str)>| {
        let form = [vec![("grant_type", "client_credentials")], fields].concat();
        let request = server.post("/oauth2/token").form(&form);
        let request = match authorization {
            Some(value) => request.header("authorization", &value),
            None => request,
        };
        async move { request.send().await }
    };
    let post = |id, secret| vec![("client_id", id), ("client_secret", secret)];
    let good = [
        (Some(basic(&format!("robot:{OWN}"))), vec![]),
        (Some(basic(&format!("robot:{OWN_ENCODED}"))), vec![]),
        (
            Some(basic(&format!("robot:{OWN}")).replace("Basic", "bAsIc")),
            vec![("client_id", "robot")],
        ),
        (Some(basic(&format!("robot:{OWN}"))), vec![("client_secret", "")]),
        (None, post("robot", OWN)),
        (Some(basic("pinned:1f9c1d2b3a4e5f60718293a4b5c6d7e8")), vec![]),
        (None, post("other", "2f9c1d2b3a4e5f60718293a4b5c6d7e8")),
    ];
    for (authorization, fields) in good {
        let shown = format!("{authorization:?} {fields:?}");
        let answer = token(authorization, fields).await;
        assert_eq!(answer.status, 200, "{shown}: {}", answer.body);
    }
    let bad = [
        (Some(basic("robot:wrong-0f9c1d2b3a4e5f60718293a4b5c6d7")), vec![], "client_secret.wrong"),
        (Some(basic("nobody:0f9c1d2b3a4e5f60718293a4b5c6d7e8")), vec![], "client.unknown"),
        (None, post("nobody", OWN), "client.unknown"),
        (
            None,
            post("robot", "2f9c1d2b3a4e5f60718293a4b5c6d7e8"),
            "client_secret.of_another_client",
        ),
        (
            None,
            post("pinned", "1f9c1d2b3a4e5f60718293a4b5c6d7e8"),
            "client_auth.method_not_allowed",
        ),
        (
            Some(basic("other:2f9c1d2b3a4e5f60718293a4b5c6d7e8")),
            vec![],
            "client_auth.method_not_allowed",
        ),
        (None, vec![("client_id", "robot")], "client_secret.missing"),
        (Some(basic("robot:")), vec![], "client_secret.missing"),
    ];
    let (mut sentences, mut shown_references) = (Vec::new(), Vec::new());
    for (authorization, fields, name) in bad {
        let shown = format!("{authorization:?} {fields:?}");
        let has_challenge = authorization.is_some();
        let answer = token(authorization, fields).await.expect_refusal(401, "invalid_client");
        assert_eq!(
            answer.header("www-authenticate").starts_with("Basic"),
            has_challenge,
            "{shown}"
        );
        let sentence = answer.text("error_description");
        let (sentence, references) = sentence.split_once("reference ").unwrap();
        sentences.push(sentence.to_owned());
        // The operator finds the reason by the reference, and by the id of the request.
        let (reference, request) = references.split_once(", request ").unwrap();
        for reference in [reference, request.trim_end_matches(')')] {
            let path = format!("/admin/refusals?reference={reference}");
            let found = server.get(&path).bearer(&root.access).send().await.expect_status(200);
            assert_eq!(found.json["items"][0]["name"], name, "{shown}: {}", found.body);
            assert!(!found.body.contains(OWN), "{}", found.body);
            assert!(!found.body.contains("0f9c1d2b"), "{}", found.body);
        }
        shown_references.push(reference.to_owned());
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    // Equal refusals show another reference each time, so nobody learns from it that they are equal.
    let lengths: BTreeSet<_> = shown_references.iter().map(String::len).collect();
    let different: BTreeSet<_> = shown_references.iter().collect();
    assert_eq!((lengths.len(), different.len()), (1, shown_references.len()));
    let both = token(Some(basic(&format!("robot:{OWN}"))), vec![("client_secret", OWN)]).await;
    both.expect_refusal(400, "invalid_request");
    let two = token(Some(basic(&format!("robot:{OWN}"))), vec![("client_id", "other")]).await;
    two.expect_refusal(400, "invalid_request");
    token(None, vec![]).await.expect_refusal(401, "invalid_client");
    token(Some("Basic ???".to_owned()), vec![]).await.expect_refusal(401, "invalid_client");

    // A retired secret is explained, and the uses of the live one are noted.
    let rotate = server.post("/admin/clients/robot/secrets").bearer(&root.access);
    rotate.json(&json!({ "overlap": 60 })).send().await.expect_status(201);
    token(None, post("robot", OWN)).await.expect_status(200);
    server.advance(Duration::from_secs(61)).await;
    token(None, post("robot", OWN)).await.expect_refusal(401, "invalid_client");
    let (access, _) = server.sign_in(&root.email, crate::support::PASSWORD).await;
    let refusals = server.get("/admin/refusals?client_id=robot").bearer(&access).send().await;
    assert_eq!(refusals.json["items"][0]["name"], "client_secret.retired", "{}", refusals.body);
    eventually("the last use is stored", async || {
        let shown = server.get("/admin/clients/robot").bearer(&access).send().await;
        let secrets = shown.json["secrets"].as_array().unwrap().clone();
        secrets.iter().any(|secret| !secret["last_used"].is_null())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_bounded_and_explained_at_the_terminal() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    make_robots(&server, &root).await;
    for number in 0..130 {
        let id = format!("nobody{number}");
        let form =
            [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", "x")];
        server.post("/oauth2/token").form(&form).send().await.expect_status(401);
    }
    for _ in 0..3 {
        let form =
            [("grant_type", "client_credentials"), ("client_id", "robot"), ("client_secret", "x")];
        server.post("/oauth2/token").form(&form).send().await.expect_status(401);
    }
    eventually("the refusals are stored", async || {
        let known = "select cast(count as text) from refusal where client_id is not null";
        server.database.column::<String>(known).await == ["3"]
    })
    .await;
    eventually("the oldest refusals are deleted", async || {
        server.database.count("refusal").await <= 101
    })
    .await;
    // The reference of each answer is known to the command, also after equal and many other requests.
    let explained = |reference: &str| {
        let mut command = server.beside();
        command.env("APP_SECRET", crate::support::SECRET);
        out(&command.args(["client", "explain", reference]).output().unwrap())
    };
    let form =
        [("grant_type", "client_credentials"), ("client_id", "robot"), ("client_secret", "y")];
    let answer = server.post("/oauth2/token").form(&form).send().await;
    let sentence = answer.text("error_description");
    let (_, reference) = sentence.split_once("reference ").unwrap();
    let reference = reference.split(',').next().unwrap();
    let floods = (0..400).map(|number| {
        let id = format!("flood{number}");
        let server = &server;
        async move {
            let form =
                [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", "x")];
            server.post("/oauth2/token").form(&form).send().await.text("error_description")
        }
    });
    for sentence in futures_util::future::join_all(floods).await {
        let (_, reference) = sentence.split_once("reference ").unwrap();
        // In a command, a hyphen would begin an option.
        assert!(!reference.starts_with('-'), "{reference}");
    }
    server.post("/oauth2/token").form(&form).send().await.expect_status(401);
    // The server writes its refusals behind the answers.
    eventually("the reference is known to the command", async || {
        explained(reference).contains("client_secret.wrong")
    })
    .await;
    // The last one of a flood is explained too, with its value or as one of many.
    let form =
        [("grant_type", "client_credentials"), ("client_id", "the-last"), ("client_secret", "x")];
    let last = server.post("/oauth2/token").form(&form).send().await.text("error_description");
    let (_, reference) = last.split_once("reference ").unwrap();
    let reference = reference.split(',').next().unwrap();
    eventually("the reference of the last one is known to the command", async || {
        explained(reference).contains("client.unknown")
    })
    .await;
    // The refusals are written behind the answers.
    eventually("all refusals of the robot are counted", async || {
        out(&tessera(&server, &["client", "explain", "robot"])).contains("count: 5")
    })
    .await;
    let told = out(&tessera(&server, &["client", "explain", "robot"]));
    assert!(told.contains("client_secret.wrong (invalid_client, token)"), "{told}");
    assert!(told.contains("tessera client rotate-secret robot"), "{told}");
    let told = out(&tessera(&server, &["client", "explain"]));
    assert!(told.contains("client.unknown") && told.contains("flood"), "{told}");
    // The checks of a request, without effect.
    let body = json!({ "client_id": "app", "redirect_uris": ["https://app.example.com/cb"] });
    create(&server, &root, &body).await;
    let url = "http://localhost:8000/oauth2/authorize?client_id=app&response_type=code&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb%2F";
    let told = out(&tessera(&server, &["client", "explain", "--request", url]));
    assert!(
        told.contains("parameters: ok\nclient: ok (the request is from app (app))\nredirect_uri: "),
        "{told}"
    );
    assert!(
        told.contains("redirect_uri.not_registered")
            && told.contains("came: https://app.example.com/cb/"),
        "{told}"
    );
}

#[tokio::test]
async fn a_setting_maps_claims_into_access_tokens_of_sessions() {
    let mapping = "email,username=email,role=authenticated,groups=words(group:)";
    let server = Server::setup().set("ACCESS_TOKEN_CLAIMS", mapping).start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let claims = claims_of(&person.access);
    assert_eq!(
        (&claims["email"], &claims["email_verified"]),
        (&json!(person.email), &json!(false))
    );
    assert_eq!((&claims["role"], &claims["groups"]), (&json!("authenticated"), &json!([])));
    // Anyone can register an address, so it is a name only if it is verified.
    assert_eq!(claims.get("username"), None);
    server.me(&person.access).await.expect_status(200);
    let changes = json!({ "is_verified": true, "scopes": ["authenticated", "group:staff"] });
    let path = format!("/users/{}", person.id);
    server.patch(&path).bearer(&root.access).json(&changes).send().await.expect_status(200);
    let refreshed = server.refresh(&person.refresh).await.expect_status(200);
    let claims = claims_of(&refreshed.text("access_token"));
    assert_eq!((&claims["username"], &claims["groups"]), (&json!(person.email), &json!(["staff"])));
    assert_eq!(claims["email_verified"], json!(true));
    let mut refused = server.beside();
    refused.args(["serve", "--port=0"]).env("APP_SECRET", crate::support::SECRET);
    for (bad, word) in [("sub=email", "protocol"), ("username=emial", "emial"), ("role", "source")]
    {
        let refused = refused.env("ACCESS_TOKEN_CLAIMS", bad).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let told = fault(&refused);
        assert!(told.contains("ACCESS_TOKEN_CLAIMS") && told.contains(word), "{told}");
    }
}
