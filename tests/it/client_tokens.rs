//! The keys and the lives of tokens of clients, and their secrets at other doors.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::clients::{create, tessera};
use crate::grants::tokens;
use crate::provider::{Client, basic, code, exchange, server, userinfo, with_code};
use crate::support::{Browser, PASSWORD, Server, claims_of, eventually, header_of};
use crate::terminal::fault;

/// The algorithms of the published keys.
async fn algorithms(server: &Server) -> Vec<String> {
    let keys = server.get("/.well-known/jwks.json").send().await.expect_status(200);
    let keys = keys.json["keys"].as_array().unwrap().clone();
    let mut found: Vec<_> =
        keys.iter().map(|key| key["alg"].as_str().unwrap().to_owned()).collect();
    found.sort();
    found
}

/// Waits until a server publishes a key with an algorithm.
async fn wait_for_key(server: &Server, algorithm: &str) {
    let is_known = async || algorithms(server).await.contains(&algorithm.to_owned());
    eventually("the server publishes the key", is_known).await;
}

#[tokio::test]
async fn the_keys_of_a_client_are_published_when_it_is_made_and_before_its_first_token() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    assert!(!algorithms(&server).await.contains(&"RS256".to_owned()));
    let body = json!({ "client_id": "app", "redirect_uris": ["https://app.example.com/cb"] });
    create(&server, &root, &body).await;
    wait_for_key(&server, "RS256").await;
    // A change makes the key of another algorithm, and another client needs no other key.
    let change = server.patch("/admin/clients/app").bearer(&root.access);
    change.json(&json!({ "id_token_alg": "EdDSA" })).send().await.expect_status(200);
    wait_for_key(&server, "EdDSA").await;
    let body = json!({
        "client_id": "two", "access_token_alg": "ES256",
        "redirect_uris": ["https://two.example.com/cb"],
    });
    create(&server, &root, &body).await;
    wait_for_key(&server, "ES256").await;
    assert_eq!(server.database.count("signing_key where purpose = 'clients'").await, 3);
}

#[tokio::test]
async fn a_file_or_a_command_that_declares_the_first_client_makes_its_keys() {
    let file = "clients:\n- {client_id: wiki, auth_method: none, redirect_uris: ['https://wiki.example.com/cb']}\n";
    let server = Server::start().await;
    let path = server.folder().join("clients.yaml");
    std::fs::write(&path, file).unwrap();
    // The command has no APP_SECRET, and a key of its own would be no use to the server.
    let run = |action| tessera(&server, &["client", action, path.to_str().unwrap()]);
    assert!(run("check").status.success());
    assert!(!algorithms(&server).await.contains(&"RS256".to_owned()));
    assert!(run("apply").status.success());
    wait_for_key(&server, "RS256").await;
    let server = Server::setup().set("CLIENTS", file).start().await;
    wait_for_key(&server, "RS256").await;
    assert_eq!(server.database.count("signing_key where purpose = 'clients'").await, 1);
}

#[tokio::test]
async fn a_key_that_is_gone_is_made_again_for_the_next_token() {
    let server = server().await;
    let own = [("grant_type", "client_credentials")];
    let first = exchange(&server, "app", &own).await.expect_status(200).text("access_token");
    server.database.execute("delete from signing_key where purpose = 'clients'").await;
    let server = restarted(server).await;
    let second = exchange(&server, "app", &own).await.expect_status(200).text("access_token");
    assert_ne!(header_of(&first)["kid"], header_of(&second)["kid"]);
}

/// Kills a server, and starts another one on its database with its clock.
async fn restarted(server: Server) -> Server {
    let database = server.kill();
    Server::setup().set("BCRYPT_COST", 4).on(database).start().await
}

#[tokio::test]
async fn the_cut_off_of_a_user_covers_the_longest_token_of_a_client() {
    let server = Server::setup().set("BCRYPT_COST", 4).start().await;
    let settings = json!({ "access_token_expires": 86_400 });
    Client { settings, ..Client::default() }.insert(&server.database).await;
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let asked = [("scope", "openid offline_access")];
    let code = code(&mut browser, &asked).await;
    let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    let access = tokens.text("access_token");
    userinfo(&server, &access).await.expect_status(200);
    let claims = claims_of(&access);
    let path = format!("/users/{}", claims["sub"].as_str().unwrap());
    // Other scopes end no grant, but the tokens with the earlier ones are revoked.
    let change = server.patch(&path).bearer(&root.access).json(&json!({ "scopes": ["staff"] }));
    change.send().await.expect_status(200);
    userinfo(&server, &access).await.expect_reason("token_revoked");
    // A token of a session has expired now, and a server that starts reads only what is still needed.
    server.advance(Duration::from_secs(3600)).await;
    let server = restarted(server).await;
    userinfo(&server, &access).await.expect_reason("token_revoked");
    let refused =
        [("grant_type", "refresh_token"), ("refresh_token", &tokens.text("refresh_token"))];
    let next = exchange(&server, "app", &refused).await.expect_status(200);
    userinfo(&server, &next.text("access_token")).await.expect_status(200);
}

#[tokio::test]
async fn secrets_of_applications_are_named_at_every_door_for_users() {
    let server = server().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let code = code(&mut browser, &[]).await;
    let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    let body = json!({ "client_id": "other", "redirect_uris": ["https://o.example.com/cb"] });
    let made = create(&server, &root, &body).await;
    let secret = made["client_secret"].as_str().unwrap().to_owned();
    for (token, reason) in
        [(tokens.text("refresh_token"), "client_refresh_token"), (secret, "client_secret")]
    {
        server.me(&token).await.expect_status(401).expect_reason(reason);
        let by_header = server.get("/users/me").header("x-api-key", &token).send().await;
        by_header.expect_status(401).expect_reason(reason);
        let explained = fault(&tessera(&server, &["token", "explain", &token]));
        assert!(explained.contains(reason), "{explained}");
        let asked = server.post("/auth/introspect").bearer(&root.access);
        let asked = asked.form(&[("token", &token)]).send().await.expect_status(200);
        assert_eq!(asked.json, json!({ "active": false }));
        // A holder of a refresh token cannot end a grant without the client, as everywhere else.
        server.post("/auth/revoke").form(&[("token", &token)]).send().await.expect_status(200);
    }
    let again = [("grant_type", "refresh_token"), ("refresh_token", &tokens.text("refresh_token"))];
    exchange(&server, "app", &again).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_revocations_of_tokens_of_a_client_are_counted_one_by_one() {
    let one = server().await;
    let mut browser = Browser::of(&one);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let code = code(&mut browser, &[]).await;
    let mut last = exchange(&one, "app", &with_code(&code)).await.expect_status(200);
    let own = [("grant_type", "client_credentials")];
    let (mut of_user, mut of_client) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        of_user.push(last.text("access_token"));
        let token = last.text("refresh_token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        last = exchange(&one, "app", &fields).await.expect_status(200);
        let next = exchange(&one, "app", &own).await.expect_status(200);
        of_client.push(next.text("access_token"));
    }
    let two = Server::setup().on(one.database.clone()).start().await;
    let ask = async |server: &Server, path: &str, token: &str| {
        let request = |server: &Server| {
            server.post(path).header("authorization", &basic("app")).form(&[("token", token)])
        };
        server.beside_others(request).await.expect_status(200).json
    };
    for tokens in [of_user, of_client] {
        let before = one.database.count("revocation").await;
        let revoked = tokens
            .iter()
            .enumerate()
            .map(|(turn, token)| ask([&one, &two][turn % 2], "/oauth2/revoke", token));
        futures_util::future::join_all(revoked).await;
        let kinds = format!("select kind from revocation order by seq limit 100 offset {before}");
        let kinds = one.database.column::<String>(&kinds).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "jti").count(), 20, "{kinds:?}");
        assert_eq!(kinds.len(), 21, "{kinds:?}");
        for server in [&one, &two] {
            for token in &tokens {
                let is_refused =
                    async || ask(server, "/oauth2/introspect", token).await["active"] == false;
                eventually("the token is refused", is_refused).await;
            }
        }
    }
    // The grant of the user ended, and the next token that the client gets for itself is accepted.
    let token = last.text("refresh_token");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
    exchange(&one, "app", &fields).await.expect_refusal(400, "invalid_grant");
    let next = exchange(&one, "app", &own).await.expect_status(200).text("access_token");
    assert_eq!(ask(&one, "/oauth2/introspect", &next).await["active"], true);
}

#[tokio::test]
async fn id_tokens_of_each_algorithm_have_the_claims_and_the_hash_of_their_access_token() {
    let server = server().await;
    for (id, algorithm) in [("rs", "RS256"), ("es", "ES256"), ("ed", "EdDSA")] {
        let settings = json!({
            "trusted": true, "id_token_alg": algorithm, "access_token_alg": algorithm,
        });
        Client { id, settings, ..Client::default() }.insert(&server.database).await;
        let mut browser = Browser::of(&server);
        browser.sign_in("ada@user.com", PASSWORD).await;
        let issued = tokens(&server, &mut browser, id, &[]).await;
        let (access, id_token) = (issued.text("access_token"), issued.text("id_token"));
        let keys = server.get("/.well-known/jwks.json").send().await.expect_status(200).json;
        for (token, typ) in [(&access, "at+jwt"), (&id_token, "JWT")] {
            let header = header_of(token);
            assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm), &json!(typ)));
            let keys = keys["keys"].as_array().unwrap();
            let key = keys.iter().find(|key| key["kid"] == header["kid"]);
            assert_eq!(key.unwrap_or_else(|| panic!("{header}"))["alg"], algorithm);
        }
        let kind = if algorithm == "EdDSA" { &SHA512 } else { &SHA256 };
        let hash = digest(kind, access.as_bytes());
        let half = &hash.as_ref()[..hash.as_ref().len() / 2];
        let claims = claims_of(&id_token);
        for (name, expected) in [
            ("at_hash", json!(URL_SAFE_NO_PAD.encode(half))),
            ("aud", json!(id)),
            ("nonce", json!("n-1")),
            ("iss", claims_of(&access)["iss"].clone()),
            ("sub", claims_of(&access)["sub"].clone()),
            ("email", json!("ada@user.com")),
            ("amr", json!(["pwd"])),
        ] {
            assert_eq!(claims[name], expected, "{algorithm} {name}");
        }
        userinfo(&server, &access).await.expect_status(200);
        let token = issued.text("refresh_token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        let next = exchange(&server, id, &fields).await.expect_status(200);
        assert_eq!(header_of(&next.text("id_token"))["alg"], algorithm);
    }
}
