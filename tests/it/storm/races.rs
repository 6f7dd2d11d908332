//! Parallel requests.

use std::collections::HashSet;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Answer, PASSWORD, Person, Request, Server, claims_of};

const AT_ONCE: usize = 24;

async fn all(requests: impl IntoIterator<Item = Request>) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    for request in requests {
        tasks.spawn(request.send());
    }
    tasks.join_all().await
}

fn refresh(server: &Server, token: &str) -> Request {
    server.post("/auth/jwt/refresh").bearer(token)
}

async fn generation(server: &Server) -> Vec<i64> {
    server.database.column("select generation from session").await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_parallel_registrations_of_an_address_succeeds() {
    let server = Server::start().await;
    let spellings = ["first@user.com", "FIRST@user.com", "First@User.com"];
    let requests = (0..AT_ONCE).map(|turn| {
        let body = json!({ "email": spellings[turn % 3], "password": PASSWORD });
        server.post("/auth/register").json(&body)
    });
    let answers = all(requests).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
    }
    assert_eq!(server.database.count("\"user\"").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_users_gets_an_address_that_both_request() {
    let server = Server::start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    let requests = (0..AT_ONCE).map(|turn| {
        let access = if turn % 2 == 0 { &first.access } else { &second.access };
        server.patch("/users/me").bearer(access).json(&json!({ "email": "wanted@user.com" }))
    });
    let answers = all(requests).await;
    let winners: HashSet<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.text("id"))
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(server.database.count("\"user\" where email = 'wanted@user.com'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_refreshes_with_one_token_make_one_generation() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut token = person.refresh;
    for round in 1..=5 {
        let answers = all((0..AT_ONCE).map(|_| refresh(&server, &token))).await;
        let successors: HashSet<_> = answers
            .into_iter()
            .map(|answer| answer.expect_status(200).text("refresh_token"))
            .collect();
        assert_eq!(successors.len(), 1, "the session forked");
        assert_eq!(generation(&server).await, [round]);
        token = successors.into_iter().next().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_reuse_of_a_refresh_token_ends_the_session_once() {
    let server = Server::setup().set("REFRESH_REUSE_LEEWAY", 0).start().await;
    let person = server.person("first").await;
    let answers = all((0..AT_ONCE).map(|_| refresh(&server, &person.refresh))).await;
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 1);
    server.move_clock(std::time::Duration::from_millis(20));
    let answers = all((0..AT_ONCE).map(|_| refresh(&server, &person.refresh))).await;
    for answer in &answers {
        assert!(["REFRESH_TOKEN_REUSED", "SESSION_ENDED"].contains(&answer.code().as_str()));
    }
    assert_eq!(server.database.count("revocation").await, 1);
    server.me(&person.access).await.expect_reason("token_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refresh_succeeds_after_a_sign_out_was_acknowledged() {
    let server = Server::start().await;
    let first = server.person("first").await;
    for _ in 0..8 {
        let (access, token) = server.sign_in(&first.email, PASSWORD).await;
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            tasks.spawn(refresh(&server, &token).send());
        }
        let logout = tokio::spawn(server.post("/auth/jwt/logout").bearer(&access).send());
        logout.await.unwrap().expect_status(204);
        let (one, two) = tokio::join!(server.refresh(&token), server.me(&access));
        one.expect_refusal(401, "SESSION_ENDED");
        two.expect_reason("token_revoked");
        for answer in tasks.join_all().await {
            if answer.status == 200 {
                // The refresh came before the sign-out, and its tokens ended too.
                server.me(&answer.text("access_token")).await.expect_reason("token_revoked");
                let next = server.refresh(&answer.text("refresh_token")).await;
                next.expect_refusal(401, "SESSION_ENDED");
            } else {
                answer.expect_refusal(401, "SESSION_ENDED");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_parallel_sign_outs_is_acknowledged() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let requests = (0..AT_ONCE).map(|_| server.post("/auth/jwt/logout").bearer(&person.access));
    let answers = all(requests).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    assert!(answers.iter().all(|answer| [204, 401].contains(&answer.status)));
    assert_eq!(server.database.count("revocation").await, 1);
}

/// A thief who knew the old password must not keep a session that began during the change.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_with_the_old_password_does_not_outlive_a_new_password() {
    let server = Server::setup().set("BCRYPT_COST", 8).start().await;
    let person = server.person("first").await;
    let mut password = PASSWORD.to_owned();
    for round in 0..6 {
        let (access, _) = server.sign_in(&person.email, &password).await;
        let new = format!("{PASSWORD} {round}");
        let mut logins = JoinSet::new();
        for _ in 0..6 {
            let form = [("username", person.email.as_str()), ("password", &password)];
            logins.spawn(server.post("/auth/jwt/login").form(&form).send());
        }
        let change = server.change_me(&access, &json!({ "password": new })).await;
        change.expect_status(200);
        for answer in logins.join_all().await {
            if answer.status == 200 {
                server.me(&answer.text("access_token")).await.expect_reason("token_revoked");
                let next = server.refresh(&answer.text("refresh_token")).await;
                next.expect_refusal(401, "SESSION_ENDED");
            } else {
                answer.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
            }
        }
        password = new;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_of_another_session_does_not_outlive_a_new_password() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut password = PASSWORD.to_owned();
    for round in 0..6 {
        let (access, _) = server.sign_in(&person.email, &password).await;
        let (_, other) = server.sign_in(&person.email, &password).await;
        password = format!("{PASSWORD} {round}");
        let mut refreshes = JoinSet::new();
        for _ in 0..6 {
            refreshes.spawn(refresh(&server, &other).send());
        }
        let change = server.change_me(&access, &json!({ "password": password })).await;
        change.expect_status(200);
        for answer in refreshes.join_all().await {
            if answer.status == 200 {
                server.me(&answer.text("access_token")).await.expect_reason("token_revoked");
            }
        }
        server.refresh(&other).await.expect_refusal(401, "SESSION_ENDED");
    }
}

/// If several sessions change one password at once, the first one ends the others, so their changes must fail.
#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_several_parallel_password_changes_succeeds() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut password = PASSWORD.to_owned();
    for round in 0..8 {
        let mut requests = Vec::new();
        for session in 0..4 {
            let (access, _) = server.sign_in(&person.email, &password).await;
            let body = json!({ "password": format!("password {round} of {session}") });
            requests.push(server.patch("/users/me").bearer(&access).json(&body));
        }
        let answers = all(requests).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        for session in 0..4 {
            let new = format!("password {round} of {session}");
            if server.login(&person.email, &new).await.status == 200 {
                password = new;
            }
        }
        server.login(&person.email, &password).await.expect_status(200);
    }
}

/// Three replicas refresh one session in parallel. It does not fork.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_on_parallel_refreshes() {
    let one = Server::start().await;
    let two = Server::setup().on(one.database.clone()).start().await;
    let three = Server::setup().on(one.database.clone()).start().await;
    let Person { mut refresh, access, .. } = one.person("first").await;
    for round in 1..=5 {
        let requests = (0..AT_ONCE).map(|turn| {
            let server = [&one, &two, &three][turn % 3];
            server.beside_others(|server| self::refresh(server, &refresh))
        });
        let successors: HashSet<_> = futures_util::future::join_all(requests)
            .await
            .into_iter()
            .map(|answer| answer.expect_status(200).text("refresh_token"))
            .collect();
        assert_eq!(successors.len(), 1, "the session forked");
        refresh = successors.into_iter().next().unwrap();
        assert_eq!(claims_of(&refresh)["gen"], round);
    }
    let logout = |two: &Server| two.post("/auth/jwt/logout").bearer(&access);
    two.beside_others(logout).await.expect_status(204);
    for server in [&one, &two, &three] {
        let answer = server.beside_others(|server| self::refresh(server, &refresh)).await;
        answer.expect_status(401);
    }
}

/// If everything of a user is revoked, API tokens that are being made at that moment do not survive. Making them cannot
/// prevent the revocation.
#[tokio::test]
async fn api_tokens_that_are_being_made_do_not_survive_the_revocation_of_everything() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for round in 0..10 {
        let person = server.person(&format!("user{round}")).await;
        let mut tasks = JoinSet::new();
        for turn in 0..8 {
            // Half of the requests choose the same secret.
            let wanted = match turn % 2 {
                0 => serde_json::json!({}),
                _ => serde_json::json!({ "token": format!("the-same-secret-{round}") }),
            };
            let request = server.post("/auth/tokens").bearer(&person.access).json(&wanted);
            tasks.spawn(async move { ("create", request.send().await.status) });
        }
        let body = serde_json::json!({ "kind": "sub", "subject": person.id, "why": "race" });
        let request = server.post("/admin/revocations").bearer(&root.access).json(&body);
        tasks.spawn(async move { ("revoke", request.send().await.status) });
        for (what, status) in tasks.join_all().await {
            match what {
                "revoke" => assert_eq!(status, 204),
                _ => assert!([201, 401].contains(&status), "{status}"),
            }
        }
        assert_eq!(server.database.count("api_token").await, 0, "round {round}");
    }
}
