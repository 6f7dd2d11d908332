//! Introspection of the tokens of clients: who sees which.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::grants::{tokens, trusted};
use crate::provider::{Client, SECRET, basic, exchange, server};
use crate::support::{Answer, Browser, PASSWORD, Server, claims_of};

const API: &str = "https://api.example.com";

/// The way in which an asker authenticates.
enum Asker {
    Basic(&'static str),
    Post(&'static str),
    Public(&'static str),
    ApiToken(String),
}

async fn ask(server: &Server, asker: &Asker, token: &str) -> Answer {
    let request = server.post("/oauth2/introspect");
    let request = match asker {
        Asker::Basic(id) => request.header("authorization", &basic(id)).form(&[("token", token)]),
        Asker::Post(id) => {
            let secret = format!("{SECRET}{id}");
            request.form(&[
                ("token", token),
                ("client_id", *id),
                ("client_secret", secret.as_str()),
            ])
        }
        Asker::Public(id) => request.form(&[("token", token), ("client_id", *id)]),
        Asker::ApiToken(secret) => request.bearer(secret).form(&[("token", token)]),
    };
    request.send().await
}

/// A server with clients that introspect different tokens.
async fn with_clients() -> Server {
    let server = server().await;
    let audience = json!({ "trusted": true, "audience": [API] });
    Client { id: "shop", settings: audience, ..Client::default() }.insert(&server.database).await;
    trusted("plain").insert(&server.database).await;
    for (id, settings) in [
        ("own", json!({})),
        ("api", json!({ "introspects": "served", "serves": [API] })),
        ("other", json!({ "introspects": "served", "serves": ["https://other.example.com"] })),
        ("any", json!({ "introspects": "any" })),
        ("post", json!({ "introspects": "any" })),
    ] {
        Client { id, settings, ..Client::default() }.insert(&server.database).await;
    }
    Client { id: "page", public: true, ..Client::default() }.insert(&server.database).await;
    let post = "update client set auth_method = 'client_secret_post' where client_id = 'post'";
    server.database.execute(post).await;
    server
}

/// One token of each kind, by its name.
async fn some_tokens(server: &Server) -> BTreeMap<&'static str, String> {
    let mut browser = Browser::of(server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let scope = [("scope", "openid api:read")];
    let shop = tokens(server, &mut browser, "shop", &scope).await;
    let plain = tokens(server, &mut browser, "plain", &scope).await;
    let own = exchange(server, "shop", &[("grant_type", "client_credentials")]).await;
    let text = |answer: &Answer, name: &str| answer.text(name);
    BTreeMap::from([
        ("access", text(&shop, "access_token")),
        ("refresh", text(&shop, "refresh_token")),
        ("own", text(&own.expect_status(200), "access_token")),
        ("plain", text(&plain, "access_token")),
    ])
}

#[tokio::test]
async fn each_asker_sees_the_tokens_that_its_settings_allow_and_no_others() {
    let server = with_clients().await;
    let root = server.superuser("root").await;
    let service = server.service(&root, "billing", &["tokens:introspect"]).await;
    let all = some_tokens(&server).await;
    for (asker, seen) in [
        (Asker::Basic("shop"), vec!["access", "own", "refresh"]),
        (Asker::Basic("plain"), vec!["plain"]),
        (Asker::Basic("own"), vec![]),
        (Asker::Basic("api"), vec!["access", "own"]),
        (Asker::Basic("other"), vec![]),
        // Only its client and operators see a refresh token.
        (Asker::Basic("any"), vec!["access", "own", "plain"]),
        (Asker::Post("post"), vec!["access", "own", "plain"]),
        (Asker::Post("shop"), vec!["access", "own", "refresh"]),
        (Asker::ApiToken(service), vec!["access", "own", "plain", "refresh"]),
    ] {
        let mut found = Vec::new();
        for (name, token) in &all {
            let answer = ask(&server, &asker, token).await.expect_status(200);
            match answer.json["active"] == true {
                true => found.push(*name),
                false => assert_eq!(answer.json, json!({ "active": false })),
            }
        }
        assert_eq!(found, seen);
    }
}

#[tokio::test]
async fn askers_that_do_not_prove_who_they_are_or_may_not_ask_are_refused() {
    let server = with_clients().await;
    let root = server.superuser("root").await;
    let weak = server.service(&root, "weak", &["tokens:check"]).await;
    let able = server.service(&root, "able", &["tokens:introspect"]).await;
    let token = some_tokens(&server).await["access"].clone();
    for (asker, status) in [
        (Asker::Public("page"), 401),
        (Asker::Public("shop"), 401),
        (Asker::Basic("post"), 401),
        (Asker::Basic("nobody"), 401),
        (Asker::ApiToken(weak), 403),
        (Asker::ApiToken("tsr_unknown".to_owned()), 401),
        (Asker::ApiToken(root.access.clone()), 401),
    ] {
        let refused = ask(&server, &asker, &token).await;
        assert_eq!(refused.status, status, "{}", refused.body);
        assert!(refused.json.get("active").is_none(), "{}", refused.body);
    }
    let both = server.post("/oauth2/introspect").bearer(&able);
    let both = both.form(&[("token", token.as_str()), ("client_secret", "x")]).send().await;
    both.expect_refusal(400, "invalid_request");
}

#[tokio::test]
async fn a_refresh_token_is_active_until_it_is_refreshed_and_its_access_tokens_stay() {
    let server = with_clients().await;
    let all = some_tokens(&server).await;
    let shop = Asker::Basic("shop");
    let first = ask(&server, &shop, &all["refresh"]).await.expect_status(200).json;
    let claims = claims_of(&all["access"]);
    for (name, expected) in [
        ("active", json!(true)),
        ("client_id", json!("shop")),
        ("username", json!("ada@user.com")),
        ("sub", claims["sub"].clone()),
        ("iss", claims["iss"].clone()),
        ("grant_id", claims["grant_id"].clone()),
        ("scope", json!("api:read openid")),
        ("token_type", Value::Null),
    ] {
        assert_eq!(first[name], expected, "{name}");
    }
    let fields = [("grant_type", "refresh_token"), ("refresh_token", all["refresh"].as_str())];
    let next = exchange(&server, "shop", &fields).await.expect_status(200);
    for (token, is_active) in [
        (&all["refresh"], false),
        (&next.text("refresh_token"), true),
        (&all["access"], true),
        (&next.text("access_token"), true),
    ] {
        let answer = ask(&server, &shop, token).await.expect_status(200);
        assert_eq!(answer.json["active"], is_active, "{}", answer.body);
    }
    let revoke = server.post("/oauth2/revoke").header("authorization", &basic("shop"));
    revoke.form(&[("token", &next.text("refresh_token"))]).send().await.expect_status(200);
    for token in [&next.text("refresh_token"), &all["access"], &next.text("access_token")] {
        let answer = ask(&server, &shop, token).await.expect_status(200);
        assert_eq!(answer.json, json!({ "active": false }));
    }
}
