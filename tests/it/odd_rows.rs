//! Rows that somebody changed by hand and that cannot be read: they are refused by themselves, and nothing else stops.

use serde_json::json;

use crate::recovery::RESET;
use crate::support::{Answer, Browser, Kind, PASSWORD, Person, Server};

const LISTS: [&str; 6] = [
    "/users",
    "/auth/sessions",
    "/auth/tokens",
    "/admin/services",
    "/admin/audit",
    "/admin/replicas",
];

const PAGES: [&str; 6] = [
    "/admin",
    "/admin/users",
    "/admin/signed-in",
    "/admin/api-tokens",
    "/admin/events",
    "/admin/mails",
];

/// The ids of all items of a list, read page by page.
async fn ids(server: &Server, root: &Person, path: &str) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{path}?limit=1{after}")).bearer(&root.access).send().await;
        let page = page.expect_status(200);
        for item in page.json["items"].as_array().unwrap() {
            ids.push(item["id"].as_str().unwrap().to_owned());
        }
        match page.json["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return ids,
        }
    }
}

/// Asserts that every list and page of a superuser goes on, and that the log names a row.
async fn goes_on(server: &Server, root: &Person, browser: &mut Browser<'_>, sql: &str, id: &str) {
    for path in LISTS {
        let list: Answer = server.get(path).bearer(&root.access).send().await;
        assert_eq!(list.status, 200, "{sql}: {path}: {}", list.body);
    }
    for path in PAGES {
        let page = browser.open(path).await;
        assert_eq!(page.status, 200, "{sql}: {path}");
    }
    server.me(&root.access).await.expect_status(200);
    let log = server.log_so_far().await;
    let named = |line: &str| line.contains("a row cannot be read") && line.contains(id);
    assert!(log.lines().any(named), "{sql}: the log does not name {id}");
}

#[tokio::test]
async fn a_user_who_cannot_be_read_is_refused_alone() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    // An id that is no UUID, on both databases. It stands first in every list.
    let sql = "insert into \"user\" (id, email, hashed_password, is_active, is_superuser, is_verified) \
               values ('not a uuid', 'a@user.com', 'x', true, false, false)";
    server.database.execute(sql).await;
    goes_on(&server, &root, &mut browser, sql, "not a uuid").await;
    server.login("a@user.com", PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    let again = server.register("a@user.com", PASSWORD).await;
    again.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
    if server.database.kind() == Kind::Postgres {
        // The types of columns refuse other values there.
        return;
    }
    server.person("last").await;
    for (turn, set) in [
        "is_superuser = 'true'",
        "is_active = 'yes'",
        "is_verified = x'00ff'",
        "is_superuser = 2.5",
        "hashed_password = x'00ff'",
        "email = x'00ff'",
    ]
    .iter()
    .enumerate()
    {
        let person = server.person(&format!("odd{turn}")).await;
        let sql = format!("update \"user\" set {set} where id = '{}'", person.id);
        server.database.execute(&sql).await;
        server.advance(std::time::Duration::from_millis(900)).await;
        goes_on(&server, &root, &mut browser, &sql, &person.id).await;
        server.login(&person.email, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
        server.me(&person.access).await.expect_status(401);
        server.refresh(&person.refresh).await.expect_status(401);
        let path = format!("/users/{}", person.id);
        server.get(&path).bearer(&root.access).send().await.expect_status(404);
        let known = ids(&server, &root, "/users").await;
        assert!(!known.contains(&person.id), "{sql}");
        assert_eq!(known.len(), 2, "{sql}: {known:?}");
    }
    // The scopes of a user are beside the row. If they cannot be read, the user has none.
    let person = server.person("beside").await;
    let sql = format!("insert into profile (user_id, name) values ('{}', x'00ff')", person.id);
    server.database.execute(&sql).await;
    server.advance(std::time::Duration::from_millis(900)).await;
    goes_on(&server, &root, &mut browser, &sql, &person.id).await;
    server.me(&person.access).await.expect_status(401);
    server.login(&person.email, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
}

#[tokio::test]
async fn other_rows_that_cannot_be_read_are_left_out() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    server.service(&root, "billing", &[]).await;
    server.make_api_token(&root.access, &json!({ "name": "ci" })).await.expect_status(201);
    let user = &root.id;
    let far = 99_999_999_999_999_i64;
    let copies = [
        format!(
            "insert into session (id, user_id, created_at, auth_time, expires_at, generation, rotated_at, \
             last_used_at, issued_at, secret, cuts) select 'not a session', user_id, {far}, auth_time, {far}, \
             generation, rotated_at, last_used_at, issued_at, secret, cuts from session where user_id = '{user}' limit 1"
        ),
        format!(
            "insert into api_token (id, user_id, prefix, digest, scopes, created_at) \
             values ('not a token', '{user}', 'tsr_x', 'x', '', {far})"
        ),
        format!(
            "insert into service (id, name, scopes, is_active, created_at) select 'not a service', 'aaa', scopes, \
             is_active, {far} from service limit 1"
        ),
        "insert into job (id, kind, sealed, attempts, due_at, expires_at) values \
         ('not a job', 'mail', 'x', 0, 0, 99999999999999)"
            .to_owned(),
    ];
    for sql in &copies {
        server.database.execute(sql).await;
        let id = sql.split("'not a ").nth(1).unwrap().split('\'').next().unwrap();
        goes_on(&server, &root, &mut browser, sql, &format!("not a {id}")).await;
    }
    if server.database.kind() == Kind::Sqlite {
        let first = server.person("first").await;
        let (id, user) = (&first.id, &first.id);
        for (sql, id) in [
            (
                format!(
                    "update session set created_at = 'abc', issued_at = 'abc' where user_id = '{user}'"
                ),
                "",
            ),
            (
                format!(
                    "update session set ip = x'00ff', secret = 'text' where user_id = '{user}'"
                ),
                "",
            ),
            ("update audit set at = 'abc' where seq = 1".to_owned(), "1"),
            ("update audit set detail = x'00ff' where seq = 2".to_owned(), "2"),
            ("update api_token set created_at = 'abc' where name = 'ci'".to_owned(), ""),
            ("update service set created_at = 'abc' where name = 'billing'".to_owned(), ""),
        ] {
            server.database.execute(&sql).await;
            goes_on(&server, &root, &mut browser, &sql, id).await;
        }
        // Sessions that cannot be read can still be ended.
        let path = format!("/users/{id}");
        let new = json!({ "is_active": false });
        let ended = server.patch(&path).bearer(&root.access).json(&new).send().await;
        ended.expect_status(200);
        let open = format!("session where user_id = '{id}' and ended_at is null");
        assert_eq!(server.database.count(&open).await, 0);
    }
    // Mails are still sent, although a job that cannot be read is due before them.
    server.person("mailed").await;
    let asked = json!({ "email": "mailed@user.com" });
    server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
    server.letter("mailed@user.com", RESET, 1).await;
}
