//! The cost of passwords, and more sign-ins than can be hashed at once.

use crate::support::{PASSWORD, Server};

/// The test measures CPU time, because the machine may be busy.
#[tokio::test]
async fn unknown_users_and_long_passwords_cost_as_much_as_a_wrong_password() {
    let server = Server::setup().set("BCRYPT_COST", 11).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let long = "x".repeat(1000);
    server.register("long@user.com", &long).await.expect_status(201);
    let inactive = server.register("inactive@user.com", PASSWORD).await.text("id");
    server
        .database
        .execute(&format!("update \"user\" set is_active = false where id = '{inactive}'"))
        .await;
    let cases = [
        ("first@user.com", "wrong"),
        ("nobody@user.com", "wrong"),
        ("nobody@user.com", &long),
        ("first@user.com", &long),
        ("first@user.com", "nul\0nul"),
        ("long@user.com", "wrong"),
        ("inactive@user.com", PASSWORD),
        ("nul\0@user.com", "wrong"),
    ];
    let mut costs = Vec::new();
    for (username, password) in cases {
        let before = server.cpu_ticks();
        for _ in 0..4 {
            server.login(username, password).await.expect_status(400);
        }
        costs.push(server.cpu_ticks() - before);
    }
    let expected = costs[0];
    assert!(expected > 20, "the hashing is too cheap to measure: {costs:?}");
    for cost in &costs {
        assert!(cost * 3 > expected * 2 && cost * 2 < expected * 3, "{costs:?}");
    }
}

/// The cost must not show that a user has an old hash with a lower cost.
#[tokio::test]
async fn a_user_with_an_old_hash_costs_as_much_as_an_unknown_user() {
    let server = Server::setup().set("BCRYPT_COST", 7).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let server = Server::setup().on(server.kill()).set("BCRYPT_COST", 11).start().await;
    let mut costs = Vec::new();
    for username in ["first@user.com", "nobody@user.com"] {
        let before = server.cpu_ticks();
        for _ in 0..4 {
            server.login(username, "wrong").await.expect_status(400);
        }
        costs.push(server.cpu_ticks() - before);
    }
    assert!(costs[1] > 20, "the hashing is too cheap to measure: {costs:?}");
    assert!(costs[0] * 3 > costs[1] * 2 && costs[0] * 2 < costs[1] * 3, "{costs:?}");
    server.login("first@user.com", PASSWORD).await.expect_status(200);
}

/// If many users sign in at once, those that find the queue full get 503. Every request in the queue is answered, and
/// requests without a password do not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sign_ins_gets_503_and_does_not_delay_other_requests() {
    let server = Server::setup().set("BCRYPT_COST", 12).start().await;
    let person = server.person("first").await;
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let form = [("username", "nobody@user.com"), ("password", "wrong")];
        flood.spawn(server.post("/auth/jwt/login").form(&form).send());
    }
    for _ in 0..20 {
        server.me(&person.access).await.expect_status(200);
    }
    let mut statuses = Vec::new();
    let mut codes = std::collections::BTreeSet::new();
    while let Some(answer) = flood.join_next().await {
        let answer = answer.unwrap();
        if answer.status == 503 {
            codes.insert(answer.code());
            assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
        }
        statuses.push(answer.status);
    }
    // On a busy machine, some requests in the queue also time out.
    assert!(codes.contains("SERVICE_BUSY"), "no request found the queue full: {codes:?}");
    assert!(statuses.contains(&400), "no request in the queue was answered");
    assert!(statuses.iter().all(|status| [400, 503].contains(status)), "{statuses:?}");
    server.me(&person.access).await.expect_status(200);
}
