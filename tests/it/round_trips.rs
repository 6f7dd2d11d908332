//! The round trips to the database that each operation needs, counted on the wire.

use serde_json::json;

use crate::once::away::behind_a_proxy;
use crate::support::{PASSWORD, Proxy, Server};

/// The round trips of an operation, without those of the background work. That work can add some to a single run, so the
/// least of several runs counts.
async fn least(proxy: &Proxy, mut operation: impl AsyncFnMut(usize)) -> u64 {
    let mut least = u64::MAX;
    for turn in 0..12 {
        let before = proxy.round_trips();
        operation(turn).await;
        least = least.min(proxy.round_trips() - before);
    }
    least
}

fn token(answer: &crate::support::Answer, name: &str) -> String {
    answer.text(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_needs_no_more_round_trips_than_its_budget() {
    let (server, proxy) = behind_a_proxy().await;
    let person = server.person("first").await;
    let mut found = Vec::new();

    let me =
        least(&proxy, async |_| drop(server.me(&person.access).await.expect_status(200))).await;
    found.push(("GET /users/me of a known user", me, 0));

    let ask = async |request: crate::support::Request| {
        request.send().await.expect_status(200);
    };
    let asked =
        least(&proxy, async |_| ask(server.get("/auth/forward").bearer(&person.access)).await)
            .await;
    found.push(("GET /auth/forward with a token of a known user", asked, 0));
    let mut browser = crate::support::Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let cookie = format!("tessera-browser={}", browser.id());
    let asked = least(&proxy, async |_| {
        ask(server.get("/auth/forward").header("cookie", &cookie)).await;
    });
    found.push(("GET /auth/forward with the cookie of a known browser", asked.await, 0));

    let mut refresh = person.refresh.clone();
    let warm = least(&proxy, async |_| {
        let answer = server.refresh(&refresh).await.expect_status(200);
        refresh = token(&answer, "refresh_token");
    });
    found.push(("refresh of a known session", warm.await, 1));

    let other = Server::setup().on(server.database.clone()).start().await;
    let mut sessions = Vec::new();
    for _ in 0..12 {
        sessions.push(other.sign_in(&person.email, PASSWORD).await);
    }
    let cold = least(&proxy, async |turn: usize| {
        server.refresh(&sessions[turn].1).await.expect_status(200);
    });
    found.push(("refresh of a session that this replica has not seen", cold.await, 2));

    let logout = least(&proxy, async |turn: usize| {
        server.logout(&sessions[turn].0).await.expect_status(204);
    });
    found.push(("POST /auth/jwt/logout", logout.await, 2));

    let sign_in = least(&proxy, async |_| {
        server.login(&person.email, PASSWORD).await.expect_status(200);
    });
    found.push(("sign-in", sign_in.await, 8));

    let refused = least(&proxy, async |_| {
        server.login(&person.email, "not this one").await.expect_status(400);
    });
    found.push(("refused sign-in", refused.await, 2));

    let register = least(&proxy, async |turn: usize| {
        server.register(&format!("new{turn}@user.com"), PASSWORD).await.expect_status(201);
    });
    found.push(("registration", register.await, 10));

    let body = json!({ "name": "ci" });
    let created = server.post("/auth/tokens").bearer(&person.access).json(&body).send().await;
    let api_token = created.expect_status(201).text("token");
    let used = least(&proxy, async |_| drop(server.me(&api_token).await.expect_status(200))).await;
    found.push(("GET /users/me by a known API token", used, 0));

    let root = server.superuser("root").await;
    let service = server.service(&root, "billing", &["tokens:introspect"]).await;
    let introspected = least(&proxy, async |_| {
        let request = server.post("/auth/introspect").bearer(&service);
        let answer = request.form(&[("token", &*person.access)]).send().await.expect_status(200);
        assert_eq!(answer.json["active"], true);
    });
    found.push(("introspection of an access token of a known session", introspected.await, 0));

    let over: Vec<_> = found.iter().filter(|(_, needed, budget)| needed > budget).collect();
    assert!(over.is_empty(), "more round trips than the budget: {over:?}, of all: {found:?}");
}
