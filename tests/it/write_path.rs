//! The write path: what is read by the statement that writes, and what is written behind an action.

use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use crate::provider::{Client, code, exchange, userinfo, with_code};
use crate::support::{Browser, Kind, PASSWORD, Server, TestDatabase, claims_of, eventually};

/// Waits until this many statements on a PostgreSQL database wait for a lock.
async fn wait_for_blocked_statements(database: &TestDatabase, number: i64) {
    let blocked =
        "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("statements wait for a lock", async || database.count(blocked).await >= number)
        .await;
}

/// The statement of the refresh begins before the scope is taken away, and waits for the row until after that. What it
/// reads of the user is as it was when it began.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_waited_for_a_change_of_scopes_signs_the_new_scopes() {
    let server = Server::setup().on(TestDatabase::create(Kind::Postgres).await).start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let scopes = |scopes: &[&str]| json!({ "scopes": scopes });
    let granted = scopes(&["authenticated", "billing"]);
    server.change(&root.access, &person.id, &granted).await.expect_status(200);
    let before = server.refresh(&person.refresh).await.expect_status(200);
    assert_eq!(claims_of(&before.text("access_token"))["scope"], "authenticated billing");

    let connection = server.database.connect().await;
    let held = connection.begin().await.unwrap();
    let sql = format!("select 1 from session where user_id = '{}' for update", person.id);
    held.execute_unprepared(&sql).await.unwrap();
    let path = format!("/users/{}", person.id);
    let change = server.patch(&path).bearer(&root.access).json(&scopes(&["authenticated"])).send();
    let change = tokio::spawn(change);
    wait_for_blocked_statements(&server.database, 1).await;
    let refresh = server.post("/auth/jwt/refresh").bearer(&before.text("refresh_token")).send();
    let refresh = tokio::spawn(refresh);
    wait_for_blocked_statements(&server.database, 2).await;
    held.rollback().await.unwrap();

    change.await.unwrap().expect_status(200);
    let after = refresh.await.unwrap().expect_status(200).text("access_token");
    assert_eq!(claims_of(&after)["scope"], "authenticated");
    server.me(&after).await.expect_status(200);
    server.me(&before.text("access_token")).await.expect_reason("token_revoked");
}

/// A sign-out that needs no careful path waits for the row of its session. Meanwhile the session gets a grant of an
/// application, or a token that is ahead of the clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_that_waited_for_a_grant_or_a_token_ends_these_too() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let server = Server::setup().set("BCRYPT_COST", 4).on(database).start().await;
    Client::default().insert(&server.database).await;
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let given = code(&mut browser, &[]).await;
    let tokens = exchange(&server, "app", &with_code(&given)).await.expect_status(200);
    // The grant is hidden, and appears while the sign-out waits.
    server.database.execute("update oauth_grant set ended_at = 1").await;
    browser.open("/account").await.expect_status(200);

    let connection = server.database.connect().await;
    let held = connection.begin().await.unwrap();
    for sql in ["update session set cuts = cuts + 1", "update oauth_grant set ended_at = null"] {
        held.execute_unprepared(sql).await.unwrap();
    }
    let signed_out = async {
        browser.press("/logout", &[]).await.expect_status(303);
    };
    let appears = async {
        wait_for_blocked_statements(&server.database, 1).await;
        held.commit().await.unwrap();
    };
    tokio::join!(signed_out, appears);
    assert_eq!(server.database.count("oauth_grant where ended_at is null").await, 0);
    userinfo(&server, &tokens.text("access_token")).await.expect_status(401);

    let person = server.person("first").await;
    let ahead = 3_600_000;
    let held = connection.begin().await.unwrap();
    let sql = format!(
        "update session set issued_at = issued_at + {ahead} where user_id = '{}'",
        person.id
    );
    held.execute_unprepared(&sql).await.unwrap();
    let signed_out = async {
        server.logout(&person.access).await.expect_status(204);
    };
    let appears = async {
        wait_for_blocked_statements(&server.database, 1).await;
        held.commit().await.unwrap();
    };
    tokio::join!(signed_out, appears);
    let longer = format!(
        "(select 1 from revocation join session on session.id = revocation.subject \
         where revocation.until > session.issued_at + 900000 and user_id = '{}') as longer",
        person.id
    );
    assert_eq!(server.database.count(&longer).await, 1);
}

#[tokio::test]
async fn an_entry_of_the_audit_is_listed_at_once_and_sealed_within_a_second() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    for turn in 1..4 {
        server.login(&person.email, "not this one").await.expect_status(400);
        let path = "/admin/audit?act=login-refused";
        let count = async || {
            let listed = server.get(path).bearer(&root.access).send().await.expect_status(200);
            listed.json["items"].as_array().unwrap().len()
        };
        // A list waits for two seconds for others that are sealing, and says so if that is not enough.
        if count().await != turn {
            let log = server.log_so_far().await;
            assert!(log.contains("the audit is read without its latest entries"), "{log}");
            eventually("the entry is listed", async || count().await == turn).await;
        }
    }
    server.login(&person.email, "not this one").await.expect_status(400);
    let pending = "select count(*) from audit_pending";
    let sealed = async || server.database.column::<i64>(pending).await[0] == 0;
    eventually("the entry is sealed", sealed).await;
    let ready = server.get("/health/ready").send().await.expect_status(200);
    assert_eq!(ready.json["audit"], "ok");
}

/// Nothing seals: the table is locked. Actions go on, and the server says that the audit is behind.
#[tokio::test(flavor = "multi_thread")]
async fn actions_go_on_while_the_audit_cannot_be_sealed() {
    let server = Server::setup().on(TestDatabase::create(Kind::Postgres).await).start().await;
    let person = server.person("first").await;
    let connection = server.database.connect().await;
    let held = connection.begin().await.unwrap();
    held.execute_unprepared("lock table audit in exclusive mode").await.unwrap();
    server.login(&person.email, "not this one").await.expect_status(400);
    server.move_clock(std::time::Duration::from_secs(6));
    let behind = async || {
        let ready = server.get("/health/ready").send().await;
        ready.status == 200 && ready.json["audit"] == "behind"
    };
    eventually("the server says that the audit is behind", behind).await;
    server.login(&person.email, PASSWORD).await.expect_status(200);
    held.rollback().await.unwrap();
    let sealed = async || server.get("/health/ready").send().await.json["audit"] == "ok";
    eventually("the audit is sealed again", sealed).await;
    assert_eq!(server.database.count("audit where act = 'login-refused'").await, 1);
}

/// A newer release adds a column while this server runs.
#[tokio::test]
async fn a_refresh_succeeds_after_another_release_has_added_a_column() {
    // With the default of users, which most tests do not have.
    let server = Server::setup().set("SQLITE_SYNCHRONOUS", "full").start().await;
    let person = server.person("first").await;
    let mut refresh = person.refresh;
    for turn in 0..12 {
        if turn == 6 {
            server.database.execute("alter table session add column later text").await;
        }
        refresh = server.refresh(&refresh).await.expect_status(200).text("refresh_token");
    }
}

/// The sequence is behind the table, as after a partial restore. Replicas look only for numbers above their place.
#[tokio::test]
async fn a_revocation_gets_a_number_above_the_last_row_although_the_sequence_is_behind() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let server = Server::setup().on(database).start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    for name in ["first", "second", "third"] {
        let person = server.person(name).await;
        server.database.execute("select setval('revocation_place', 1, false)").await;
        server.logout(&person.access).await.expect_status(204);
        other.wait_until_refused(&person.access).await.expect_reason("token_revoked");
    }
    let numbers = server.database.column::<i64>("select seq from revocation order by seq").await;
    assert_eq!(numbers, [1, 2, 3]);
}

/// The tables belong to the role that migrates; the server uses a role that may only change rows.
#[tokio::test]
async fn a_role_that_may_only_change_rows_can_do_everything_but_migrate() {
    let database = TestDatabase::create(Kind::Postgres).await;
    Server::setup().on(database.clone()).start().await.kill();
    let role = format!("{}_role", database.name());
    database.execute(&format!("create role {role} login")).await;
    let grant = "grant select, insert, update, delete on all tables in schema public to";
    database.execute(&format!("{grant} {role}")).await;
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let setup = Server::setup().on(database.clone()).reach_database_at(url);
    let server = setup.set("MIGRATE", "off").start().await;
    let person = server.person("first").await;
    let refreshed = server.refresh(&person.refresh).await.expect_status(200);
    server.logout(&refreshed.text("access_token")).await.expect_status(204);
    server.me(&person.access).await.expect_reason("token_revoked");
    assert_eq!(database.count("audit where act = 'logout'").await, 1);
    server.kill();
    database.execute(&format!("drop owned by {role}")).await;
    database.execute(&format!("drop role {role}")).await;
}
