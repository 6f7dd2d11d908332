//! Fresh tokens, `/auth/sessions`, and the lifetime of a session.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, Server, claims_of};

async fn sessions(server: &Server, token: &str, query: &str) -> Answer {
    server.get(&format!("/auth/sessions{query}")).bearer(token).send().await
}

fn items(answer: &Answer) -> Vec<Value> {
    answer.json["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_user_makes_a_stale_session_fresh_with_the_password() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let stale = server.refresh(&person.refresh).await.text("access_token");
    let change = json!({ "email": "new@user.com" });
    server.change_me(&stale, &change).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    server.advance(Duration::from_millis(1100)).await;

    let fresh = |password: &str| {
        server.post("/auth/jwt/fresh").bearer(&stale).json(&json!({ "password": password }))
    };
    fresh("wrong").send().await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    let answer = fresh(PASSWORD).send().await.expect_status(200);
    let claims = claims_of(&answer.text("access_token"));
    assert_eq!(claims["fresh"], true);
    assert_eq!(claims["sid"], claims_of(&stale)["sid"]);
    assert!(claims["auth_time"].as_u64() > claims_of(&stale)["auth_time"].as_u64());
    assert!(answer.json.get("refresh_token").is_none());
    server.change_me(&answer.text("access_token"), &change).await.expect_status(200);
    // The token of the next refresh is not fresh, and has the time when the password was given.
    let next = server.refresh(&person.refresh).await;
    let next = claims_of(&next.text("access_token"));
    assert_eq!((&next["fresh"], &next["auth_time"]), (&json!(false), &claims["auth_time"]));
}

#[tokio::test]
async fn a_token_is_fresh_only_for_a_limited_time() {
    let server = Server::setup().set("FRESH_TOKEN_EXPIRES", 100).start().await;
    let person = server.person("first").await;
    server.advance(Duration::from_secs(110)).await;
    let change = json!({ "email": "new@user.com" });
    server.change_me(&person.access, &change).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn a_session_that_ended_cannot_become_fresh() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    // Another replica may not have read the revocation yet, so it reads the row.
    let body = json!({ "password": PASSWORD });
    let fresh = other.post("/auth/jwt/fresh").bearer(&person.access).json(&body).send().await;
    fresh.expect_reason("token_revoked");
}

#[tokio::test]
async fn users_see_where_they_are_signed_in() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    let login = server.post("/auth/jwt/login").header("user-agent", "Phone/1.0").form(&form);
    let phone = login.send().await.expect_status(200);
    let refreshed = server.post("/auth/jwt/refresh").header("user-agent", "Phone/1.1");
    let phone = refreshed.bearer(&phone.text("refresh_token")).send().await.text("access_token");
    server.person("stranger").await;

    let listed = sessions(&server, &phone, "").await.expect_status(200);
    assert_eq!(listed.json["next"], Value::Null);
    let listed = items(&listed);
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["id"], claims_of(&phone)["sid"]);
    assert_eq!(listed[0]["user_agent"], "Phone/1.1");
    assert_eq!(listed[0]["ip"], "127.0.0.1");
    assert_eq!((&listed[0]["generation"], &listed[1]["generation"]), (&json!(1), &json!(0)));
    assert_eq!((&listed[0]["current"], &listed[1]["current"]), (&json!(true), &json!(false)));
    assert!(listed[0].get("ended").is_none());
    let lasts = listed[0]["expires"].as_u64().unwrap() - listed[0]["last_used"].as_u64().unwrap();
    assert_eq!(lasts, 2_592_000);
}

#[tokio::test]
async fn sessions_are_listed_page_by_page() {
    let server = Server::start().await;
    let person = server.person("first").await;
    for _ in 0..4 {
        server.sign_in(&person.email, PASSWORD).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for pages in 1.. {
        let page = sessions(&server, &person.access, &format!("?limit=2{after}")).await;
        let page = page.expect_status(200);
        seen.extend(items(&page).iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page.json["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => {
                assert_eq!(pages, 3);
                break;
            }
        }
    }
    let distinct: std::collections::HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (5, 5));
}

#[tokio::test]
async fn an_invalid_page_of_sessions_is_refused() {
    let server = Server::start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    let foreign = claims_of(&second.access)["sid"].as_str().unwrap().to_owned();
    let queries = [
        "?after=x",
        "?after=%27%20or%201%3D1%20--",
        "?after=00000000-0000-0000-0000-000000000000",
        &format!("?after={foreign}"),
        "?limit=x",
        "?limit=-1",
        "?limit=99999999999999999999",
        "?ended=maybe",
    ];
    for query in queries {
        let answer = sessions(&server, &first.access, query).await.expect_status(422);
        assert_eq!(answer.json["detail"][0]["loc"][0], "query", "{query}");
    }
    for query in ["?limit=0", "?limit=1000000", "?unknown=1"] {
        sessions(&server, &first.access, query).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_user_can_end_one_session_from_another() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;
    let stranger = server.person("stranger").await;
    let id = claims_of(&other.0)["sid"].as_str().unwrap().to_owned();
    let end = |token: &str, id: &str| {
        server.request("DELETE", &format!("/auth/sessions/{id}")).bearer(token)
    };
    end(&stranger.access, &id).send().await.expect_refusal(404, "Not Found");
    for none in ["x", "00000000-0000-0000-0000-000000000000", "%00"] {
        end(&person.access, none).send().await.expect_refusal(404, "Not Found");
    }
    server.me(&other.0).await.expect_status(200);
    end(&person.access, &id).send().await.expect_status(204);
    server.me(&other.0).await.expect_reason("token_revoked");
    server.refresh(&other.1).await.expect_refusal(401, "SESSION_ENDED");
    end(&person.access, &id).send().await.expect_refusal(404, "Not Found");
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn a_user_can_end_all_sessions_except_the_current_one() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let others = [
        server.sign_in(&person.email, PASSWORD).await,
        server.sign_in(&person.email, PASSWORD).await,
    ];
    let stranger = server.person("stranger").await;
    let end = server.request("DELETE", "/auth/sessions").bearer(&person.access).send().await;
    end.expect_status(204);
    for (access, refresh) in &others {
        server.me(access).await.expect_reason("token_revoked");
        server.refresh(refresh).await.expect_refusal(401, "SESSION_ENDED");
    }
    server.me(&person.access).await.expect_status(200);
    server.refresh(&person.refresh).await.expect_status(200);
    server.me(&stranger.access).await.expect_status(200);
    assert_eq!(items(&sessions(&server, &person.access, "").await).len(), 1);
}

#[tokio::test]
async fn the_list_of_sessions_shows_the_reuse_of_a_refresh_token() {
    let server = Server::setup().set("REFRESH_REUSE_LEEWAY", 0).start().await;
    let person = server.person("first").await;
    server.refresh(&person.refresh).await.expect_status(200);
    server.move_clock(Duration::from_millis(20));
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_REUSED");
    let (access, _) = server.sign_in(&person.email, PASSWORD).await;
    let ended = items(&sessions(&server, &access, "?ended=true").await);
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (&ended[0]["ended_why"], &ended[0]["ended_ip"]),
        (&json!("reuse"), &json!("127.0.0.1"))
    );
    assert_eq!(ended[0]["id"], claims_of(&person.access)["sid"]);
    assert!(ended[0]["ended"].as_u64().unwrap() > 0);
    assert_eq!(items(&sessions(&server, &access, "").await).len(), 1);
}

#[tokio::test]
async fn refreshes_do_not_extend_a_session_beyond_its_maximum_age() {
    let server = Server::setup().set("SESSION_EXPIRES", 300).start().await;
    let person = server.person("first").await;
    let begun = claims_of(&person.refresh);
    assert_eq!(begun["exp"].as_u64().unwrap() - begun["iat"].as_u64().unwrap(), 300);
    let next = server.refresh(&person.refresh).await.expect_status(200);
    assert!(next.json["refresh_expires_in"].as_u64().unwrap() <= 300);
    let next = next.text("refresh_token");
    assert_eq!(claims_of(&next)["exp"], begun["exp"]);
    server.advance(Duration::from_secs(310)).await;
    server.refresh(&next).await.expect_refusal(401, "REFRESH_TOKEN_EXPIRED");
}

#[tokio::test]
async fn no_access_token_outlives_its_session() {
    let server = Server::setup().set("SESSION_EXPIRES", 300).start().await;
    let person = server.person("first").await;
    let claims = claims_of(&person.access);
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    server.advance(Duration::from_secs(310)).await;
    server.me(&person.access).await.expect_reason("token_expired");
    let body = json!({ "password": PASSWORD });
    let fresh = server.post("/auth/jwt/fresh").bearer(&person.access).json(&body).send().await;
    fresh.expect_reason("token_expired");
}

#[tokio::test]
async fn a_refresh_extends_the_time_without_use() {
    let server = Server::setup().set("REFRESH_TOKEN_EXPIRES", 60).start().await;
    let mut token = server.person("first").await.refresh;
    for _ in 0..3 {
        // Far enough that the server must read the revocations again before it is ready.
        server.advance(Duration::from_secs(31)).await;
        token = server.refresh(&token).await.expect_status(200).text("refresh_token");
    }
}
