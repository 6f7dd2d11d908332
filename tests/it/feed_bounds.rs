//! The bounds of the feed: how long requests wait, when heartbeats and streams end, and the number that answers name.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::feed::Reader;
use crate::support::{
    Answer, Kind, PASSWORD, Person, Proxy, Request, Server, TestDatabase, claims_of, eventually,
};

/// An operation that ends something of a person, who is signed in twice. The first session is that of the person, and
/// the second one has this access token.
type Ends = fn(&Server, &Person, &Person, &str) -> Request;

fn sid(token: &str) -> String {
    claims_of(token)["sid"].as_str().unwrap().to_owned()
}

/// The operations. The arguments are the server, a superuser, the person and the second access token.
const ENDS: [(&str, Ends); 15] = [
    ("a sign-out", |server, _, _, access| server.post("/auth/jwt/logout").bearer(access)),
    ("a sign-out with a refresh token", |server, _, person, _| {
        server.post("/auth/jwt/logout").bearer(&person.refresh)
    }),
    ("a sign-out everywhere", |server, _, _, access| {
        server.post("/auth/jwt/logout-all").bearer(access)
    }),
    ("the end of the other sessions", |server, _, _, access| {
        server.request("DELETE", "/auth/sessions").bearer(access)
    }),
    ("the end of a session", |server, _, person, access| {
        let path = format!("/auth/sessions/{}", sid(&person.access));
        server.request("DELETE", &path).bearer(access)
    }),
    ("another password", |server, _, _, access| {
        server.patch("/users/me").bearer(access).json(&json!({ "password": "another battery" }))
    }),
    ("a password of a superuser", |server, root, person, _| {
        let body = json!({ "password": "another battery" });
        server.patch(&format!("/users/{}", person.id)).bearer(&root.access).json(&body)
    }),
    ("a revoked access token", |server, _, _, access| {
        server.post("/auth/revoke").form(&[("token", access)])
    }),
    ("a revoked refresh token", |server, _, person, _| {
        server.post("/auth/revoke").form(&[("token", &*person.refresh)])
    }),
    ("the deletion of the own account", |server, _, _, access| {
        server.request("DELETE", "/users/me").bearer(access)
    }),
    ("a deactivation", |server, root, person, _| {
        let path = format!("/users/{}", person.id);
        server.patch(&path).bearer(&root.access).json(&json!({ "is_active": false }))
    }),
    ("a deletion", |server, root, person, _| {
        server.request("DELETE", &format!("/users/{}", person.id)).bearer(&root.access)
    }),
    ("the end of all sessions by a superuser", |server, root, person, _| {
        let body = json!({ "username": person.email, "why": "a test" });
        server.post("/admin/sessions/end").bearer(&root.access).json(&body)
    }),
    ("a revocation of a session by a superuser", |server, root, person, _| {
        let body = json!({ "kind": "sid", "subject": sid(&person.access), "why": "a test" });
        server.post("/admin/revocations").bearer(&root.access).json(&body)
    }),
    ("a revocation of a user by a superuser", |server, root, person, _| {
        let body = json!({ "kind": "sub", "subject": person.id, "why": "a test" });
        server.post("/admin/revocations").bearer(&root.access).json(&body)
    }),
];

/// Checks that an answer names the last number in the table.
async fn names_the_last_number(server: &Server, what: &str, answer: &Answer) {
    assert!((200..400).contains(&answer.status), "{what}: {} {}", answer.status, answer.body);
    let place = answer.header("tessera-revocation-seq");
    let last = server.database.column::<i64>("select max(seq) from revocation").await[0];
    let seq = place.split('.').nth(1).and_then(|seq| seq.parse::<i64>().ok());
    assert_eq!(seq, Some(last), "{what}: {place:?}");
}

#[tokio::test]
async fn each_operation_that_ends_something_names_the_number_of_its_revocation() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let count = async || server.database.count("revocation").await;
    for (turn, (what, ends)) in ENDS.into_iter().enumerate() {
        let person = server.person(&format!("person{turn}")).await;
        let (access, _) = server.sign_in(&person.email, PASSWORD).await;
        let before = count().await;
        let answer = ends(&server, &root, &person, &access).send().await;
        names_the_last_number(&server, what, &answer).await;
        assert!(count().await > before, "{what} writes no revocation");
    }
    // A reused refresh token ends its session.
    let person = server.person("reused").await;
    let next = server.refresh(&person.refresh).await.expect_status(200).text("refresh_token");
    server.refresh(&next).await.expect_status(200);
    server.advance(Duration::from_secs(120)).await;
    let reused = server.refresh(&person.refresh).await;
    assert_eq!(reused.status, 401);
    let place = reused.header("tessera-revocation-seq");
    let last = server.database.column::<i64>("select max(seq) from revocation").await[0];
    assert_eq!(place.split('.').nth(1), Some(&*last.to_string()));
    // A lift is a revocation of the feed too.
    let listed = server.get("/admin/revocations").bearer(&root.access).send().await;
    let seq = listed.expect_status(200).json["items"][0]["seq"].clone();
    let lift = server.request("DELETE", &format!("/admin/revocations/{seq}")).bearer(&root.access);
    names_the_last_number(&server, "a lift", &lift.send().await).await;
}

/// Other requests are ended after nine seconds.
#[tokio::test]
async fn a_request_can_wait_for_longer_than_others_may_take() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let end = reader.end().await;
    let began = Instant::now();
    let page = reader.get(&format!("?after={end}&wait=12")).await.expect_status(200);
    assert_eq!((&page.json["entries"], page.text("cursor")), (&json!([]), end));
    assert!(page.json["at"].as_u64().unwrap() > 0);
    assert!(began.elapsed() >= Duration::from_secs(11), "it did not wait");
}

/// A server on PostgreSQL behind a proxy; `None` on SQLite, which is a file of the server itself.
async fn behind_a_proxy() -> Option<(Server, Proxy)> {
    if Kind::from_environment() == Kind::Sqlite {
        return None;
    }
    let database = TestDatabase::prepared(Kind::Postgres).await;
    let (login, rest) = database.url().split_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(address.to_owned()).await;
    let url = format!("{login}@{}/{name}", proxy.address());
    let setup = Server::setup().on(database.clone()).reach_database_at(url);
    Some((setup.start().await, proxy))
}

#[tokio::test]
async fn a_server_whose_reads_fail_sends_no_heartbeat() {
    let Some((server, proxy)) = behind_a_proxy().await else { return };
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let mut stream = reader.stream("", None).await;
    stream.data(false).await;
    let beat = stream.data(false).await;
    assert_eq!(beat["records"], "");
    proxy.silence();
    // The proxy sees that before this test goes on. What was read before can still be on its way.
    tokio::task::yield_now().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let mut events: Vec<Value> = Vec::new();
    let listening = async {
        loop {
            events.push(stream.data(false).await);
        }
    };
    // Three heartbeats would come in this time.
    let silence = tokio::time::timeout(Duration::from_secs(7), listening).await;
    assert!(silence.is_err());
    let later = |event: &&Value| u128::from(event["at"].as_u64().unwrap()) > now;
    let later: Vec<_> = events.iter().filter(later).collect();
    assert!(later.is_empty(), "after {now}: {later:?}");
    proxy.mend();
    let later = stream.data(false).await;
    assert!(later["at"].as_u64() > beat["at"].as_u64());
}

#[tokio::test]
async fn a_stream_ends_soon_after_its_token_was_deleted_on_another_server() {
    if Kind::from_environment() == Kind::Sqlite {
        return;
    }
    let one = Server::start().await;
    let two = Server::setup().on(one.database.clone()).start().await;
    let root = one.superuser("root").await;
    let token = one.service(&root, "reports", &["revocations:read"]).await;
    let mut streams = Vec::new();
    for server in [&one, &two] {
        let reader = Reader::of(server, &token);
        eventually("the token is known", async || reader.get("").await.status == 200).await;
        streams.push(reader.stream("", None).await);
    }
    let delete = one.request("DELETE", "/admin/services/reports").bearer(&root.access);
    delete.send().await.expect_status(204);
    let (mut of_two, mut of_one) = (streams.pop().unwrap(), streams.pop().unwrap());
    tokio::join!(of_one.ends_soon(), of_two.ends_soon());
    Reader::of(&two, &token).get("").await.expect_status(401);
}
