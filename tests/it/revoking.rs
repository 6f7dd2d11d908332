//! `POST /auth/revoke`, and what superusers revoke.

use serde_json::{Value, json};

use crate::support::{Answer, Forgery, PASSWORD, Person, Server, claims_of};

async fn superuser(server: &Server) -> Person {
    let root = server.person("root").await;
    let sql = format!("update \"user\" set is_superuser = true where id = '{}'", root.id);
    assert_eq!(server.database.execute(&sql).await, 1);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    root
}

async fn revoke(server: &Server, token: &str) -> Answer {
    server.post("/auth/revoke").form(&[("token", token)]).send().await
}

async fn by_hand(server: &Server, root: &Person, kind: &str, subject: &Value) -> Answer {
    let body = json!({ "kind": kind, "subject": subject, "why": "a test" });
    server.post("/admin/revocations").bearer(&root.access).json(&body).send().await
}

async fn listed(server: &Server, root: &Person) -> Vec<Value> {
    let answer = server.get("/admin/revocations").bearer(&root.access).send().await;
    answer.expect_status(200).json["items"].as_array().unwrap().clone()
}

async fn lift(server: &Server, root: &Person, seq: &Value) -> Answer {
    server.request("DELETE", &format!("/admin/revocations/{seq}")).bearer(&root.access).send().await
}

#[tokio::test]
async fn an_access_token_is_given_up_alone() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let answer = revoke(&server, &person.access).await.expect_status(200);
    assert_eq!(answer.body, "");
    server.me(&person.access).await.expect_reason("token_revoked");
    let next = server.refresh(&person.refresh).await.expect_status(200).text("access_token");
    server.me(&next).await.expect_status(200);
    // Again is no fault, and writes nothing.
    revoke(&server, &person.access).await.expect_status(200);
    assert_eq!(server.database.count("revocation").await, 1);
    let server = Server::setup().on(server.kill()).start().await;
    server.me(&person.access).await.expect_reason("token_revoked");
    server.me(&next).await.expect_status(200);
}

#[tokio::test]
async fn a_refresh_token_is_given_up_with_its_session() {
    let server = Server::start().await;
    let person = server.person("first").await;
    revoke(&server, &person.refresh).await.expect_status(200);
    server.me(&person.access).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    revoke(&server, &person.refresh).await.expect_status(200);
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_answered_as_one_that_is() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let forged = Forgery::of(&person.access);
    let tokens = [
        "x".to_owned(),
        "..".to_owned(),
        forged.clone().secret(b"another").sign(),
        forged.clone().with_header("alg", "none").unsigned(),
        forged.clone().with("iss", "https://attacker.example").sign(),
        forged.with("exp", 1).with("iat", 0).sign(),
    ];
    for token in tokens {
        let answer = revoke(&server, &token).await.expect_status(200);
        assert_eq!(answer.body, "");
    }
    assert_eq!(server.database.count("revocation").await, 0);
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_in_the_words_of_oauth() {
    let server = Server::start().await;
    let revoke = || server.post("/auth/revoke");
    let requests = [
        revoke(),
        revoke().form(&[("token_type_hint", "access_token")]),
        revoke().form(&[("token", "a"), ("token", "b")]),
        revoke().json(&json!({ "token": "a" })),
        revoke().body("text/plain", "token=a"),
    ];
    for request in requests {
        let answer = request.send().await.expect_status(400);
        assert_eq!(answer.json["error"], "invalid_request");
        assert!(answer.json["error_description"].is_string());
        assert!(answer.json.get("detail").is_none());
    }
}

#[tokio::test]
async fn a_superuser_revokes_a_token_a_session_and_a_user() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;

    let jti = &claims_of(&person.access)["jti"];
    by_hand(&server, &root, "jti", jti).await.expect_status(204);
    server.me(&person.access).await.expect_reason("token_revoked");
    let next = server.refresh(&person.refresh).await.expect_status(200).text("access_token");

    let sid = &claims_of(&person.access)["sid"];
    by_hand(&server, &root, "sid", sid).await.expect_status(204);
    server.me(&next).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.me(&other.0).await.expect_status(200);

    by_hand(&server, &root, "sub", &json!(person.id)).await.expect_status(204);
    server.me(&other.0).await.expect_reason("token_revoked");
    server.refresh(&other.1).await.expect_refusal(401, "SESSION_ENDED");
    let (again, _) = server.sign_in(&person.email, PASSWORD).await;
    server.me(&again).await.expect_status(200);
    server.me(&root.access).await.expect_status(200);

    let listed = listed(&server, &root).await;
    let kinds: Vec<_> = listed.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sub", "sid", "sid", "jti"]);
    assert!(listed.iter().all(|row| row["why"] == "a test"));
    assert_eq!(&listed[3]["subject"], jti);
}

#[tokio::test]
async fn a_revocation_is_lifted_on_every_replica() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let jti = &claims_of(&person.access)["jti"];
    for _ in 0..2 {
        by_hand(&server, &root, "jti", jti).await.expect_status(204);
    }
    let wait_for = async |status: u16| {
        for _ in 0..100 {
            if other.me(&person.access).await.status == status {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the other replica never answered {status}");
    };
    wait_for(401).await;
    let rows = listed(&server, &root).await;
    lift(&server, &root, &rows[0]["seq"]).await.expect_status(204);
    lift(&server, &root, &rows[0]["seq"]).await.expect_refusal(404, "Not Found");
    // The other of the two holds on.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    server.me(&person.access).await.expect_reason("token_revoked");
    other.me(&person.access).await.expect_reason("token_revoked");
    lift(&server, &root, &rows[1]["seq"]).await.expect_status(204);
    wait_for(200).await;
    let lifted = listed(&server, &root).await[0].clone();
    assert_eq!(lifted["kind"], "lift");
    lift(&server, &root, &lifted["seq"]).await.expect_refusal(404, "Not Found");

    // What is left in the table says the same to a replica that starts.
    drop(other);
    let server = Server::setup().on(server.kill()).start().await;
    server.me(&person.access).await.expect_status(200);
    by_hand(&server, &root, "jti", jti).await.expect_status(204);
    let server = Server::setup().on(server.kill()).start().await;
    server.me(&person.access).await.expect_reason("token_revoked");
}

/// What a superuser writes is for superusers, however long it is.
#[tokio::test]
async fn a_user_is_not_told_what_a_superuser_wrote() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let words = "reuse ".repeat(40);
    for (kind, subject) in [("sid", &claims_of(&person.access)["sid"]), ("sub", &json!(person.id))]
    {
        let body = json!({ "kind": kind, "subject": subject, "why": words });
        let request = server.post("/admin/revocations").bearer(&root.access).json(&body);
        request.send().await.expect_status(204);
    }
    let (access, _) = server.sign_in(&person.email, PASSWORD).await;
    let ended = server.get("/auth/sessions?ended=true").bearer(&access).send().await;
    assert_eq!(ended.json["items"][0]["ended_why"], "admin");
    assert!(!ended.body.contains("reuse"));
    assert_eq!(listed(&server, &root).await[0]["why"], json!(words));
}

#[tokio::test]
async fn a_token_that_was_given_up_is_remembered_no_longer_than_it_lives() {
    let server = Server::start().await;
    let person = server.person("first").await;
    revoke(&server, &person.access).await.expect_status(200);
    let lasts = server.database.column::<i64>("select until - at from revocation").await;
    assert!(lasts[0] <= 960_000, "{lasts:?}");
    let server = Server::setup().set("BLACKLIST_ENABLED", "false").start().await;
    let person = server.person("first").await;
    revoke(&server, &person.access).await.expect_status(200);
    assert_eq!(server.database.count("revocation").await, 0);
}

#[tokio::test]
async fn a_refresh_token_is_explained_by_its_session() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let explain = async |token: &str| {
        let request = server.post("/admin/tokens/explain").bearer(&root.access);
        request.json(&json!({ "token": token })).send().await.expect_status(200)
    };
    assert_eq!(explain(&person.refresh).await.json["accepted"], true);
    let next = server.refresh(&person.refresh).await.text("refresh_token");
    assert_eq!(explain(&person.refresh).await.text("reason"), "token_spent");
    assert_eq!(explain(&next).await.json["accepted"], true);
    server.logout(&next).await.expect_status(204);
    server.database.execute("delete from revocation").await;
    let server = Server::setup().on(server.kill()).start().await;
    let request = server.post("/admin/tokens/explain").bearer(&root.access);
    let explained = request.json(&json!({ "token": next })).send().await;
    assert_eq!(explained.text("reason"), "session_ended");
}

#[tokio::test]
async fn a_revocation_that_cannot_be_is_refused() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let nil = json!("00000000-0000-0000-0000-000000000000");
    for kind in ["sid", "sub"] {
        by_hand(&server, &root, kind, &nil).await.expect_refusal(404, "Not Found");
    }
    for (kind, subject) in [("kid", &nil), ("lift", &nil), ("jti", &json!("x")), ("jti", &json!(1))]
    {
        by_hand(&server, &root, kind, subject).await.expect_status(422);
    }
    for why in ["line\nline", "nul\0", &"x".repeat(257)] {
        let body = json!({ "kind": "jti", "subject": nil, "why": why });
        let request = server.post("/admin/revocations").bearer(&root.access).json(&body);
        request.send().await.expect_status(422);
    }
    let long = json!({ "kind": "jti", "subject": nil, "why": "ü".repeat(256) });
    let request = server.post("/admin/revocations").bearer(&root.access).json(&long);
    request.send().await.expect_status(204);
    for seq in ["x", "-1", "99999999999999999999999", "%00"] {
        lift(&server, &root, &json!(null)).await.expect_status(404);
        let path = format!("/admin/revocations/{seq}");
        let request = server.request("DELETE", &path).bearer(&root.access);
        request.send().await.expect_refusal(404, "Not Found");
    }
    for query in ["?after=x", "?limit=x", "?after=1%20or%201=1"] {
        let list = server.get(&format!("/admin/revocations{query}")).bearer(&root.access);
        list.send().await.expect_status(422);
    }
}

#[tokio::test]
async fn revocations_are_listed_page_by_page() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    for n in 1..=5_u128 {
        let id = json!(uuid::Uuid::from_u128(n).to_string());
        by_hand(&server, &root, "jti", &id).await.expect_status(204);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/revocations?limit=2{after}");
        let page = server.get(&path).bearer(&root.access).send().await.expect_status(200);
        seen.extend(page.json["items"].as_array().unwrap().iter().map(|row| row["seq"].as_i64()));
        match page.json["next"].as_i64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

/// By hand and at the door, the same token has the same fate.
#[tokio::test]
async fn a_token_is_explained_as_it_is_decided() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    let person = server.person("first").await;
    let good = || Forgery::of(&person.access);
    let tokens = [
        person.access.clone(),
        good().with("exp", 1_000_000_000).with("iat", 999_999_900).sign(),
        good().with("nbf", 9_999_999_999_u64).sign(),
        good().with("exp", 9_999_999_999_u64).sign(),
        good().with("aud", "x").sign(),
        good().with("iss", "x").sign(),
        good().without("jti").sign(),
        good().with_header("alg", "none").unsigned(),
        good().with_header("crit", json!(["exp"])).sign(),
        good().with_header("kid", "x").sign(),
        good().secret(b"another").sign(),
        good().with("x", "x".repeat(7000)).sign(),
        "x".to_owned(),
        "..".to_owned(),
    ];
    let explain = async |token: &str| {
        let request = server.post("/admin/tokens/explain").bearer(&root.access);
        request.json(&json!({ "token": token })).send().await.expect_status(200)
    };
    for token in &tokens {
        let (explained, me) = (explain(token).await, server.me(token).await);
        assert_eq!(explained.json["accepted"], me.status == 200, "{token}");
        match explained.json["reason"].as_str() {
            Some(reason) => {
                assert!(explained.text("sentence").contains(reason));
                me.expect_reason(reason);
            }
            None => assert!(explained.text("sentence").starts_with("accepted: an access token")),
        }
    }
    let expired = explain(&tokens[1]).await;
    assert!(expired.text("sentence").ends_with("ago (at 1000000000)"), "{}", expired.body);
    assert_eq!(expired.text("sub"), person.id);
    assert!(explain(&tokens[10]).await.json["sub"].is_null(), "nobody's claims are believed");
    assert!(explain(&person.refresh).await.text("sentence").contains("a refresh token"));
    server.logout(&person.access).await.expect_status(204);
    assert_eq!(explain(&person.access).await.text("reason"), "token_revoked");
    let sql = format!("update \"user\" set is_active = false where id = '{}'", person.id);
    server.database.execute(&sql).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let again = Forgery::of(&person.access).with("sid", root.id.clone()).sign();
    assert_eq!(explain(&again).await.text("reason"), "user_inactive");
    server.me(&again).await.expect_refusal(401, "Unauthorized");
}

/// A superuser whose flag was taken away is one no more, with the token of before.
#[tokio::test]
async fn a_former_superuser_may_not() {
    let server = Server::start().await;
    let root = superuser(&server).await;
    server.database.execute("update \"user\" set is_superuser = false").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let list = server.get("/admin/revocations").bearer(&root.access).send().await;
    list.expect_refusal(403, "Forbidden");
    let forged = Forgery::of(&root.access).with("scope", "admin super").with("is_superuser", true);
    let list = server.get("/admin/revocations").bearer(&forged.sign()).send().await;
    list.expect_refusal(403, "Forbidden");
}
