//! Epochs of the revocation feed: resets, restored tables, restarts, and rows that were purged.

use std::time::Duration;

use serde_json::json;

use crate::feed::{Reader, claim, hash};
use crate::support::{Server, awaited, eventually};
use crate::terminal::{json_of, tessera};

#[tokio::test]
async fn a_reset_begins_a_new_epoch_and_forgets_nothing() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    let end = reader.end().await;
    let mut stream = reader.stream("", None).await;
    let (before, records) = reader.snapshot().await;
    let status = json_of(&tessera(&server, &["feed", "status", "--output", "json"]));
    assert_eq!(status[0]["epoch"], end.split('.').next().unwrap());
    let reset = json_of(&tessera(&server, &["feed", "reset", "--output", "json"]));
    assert_ne!(reset[0]["epoch"], status[0]["epoch"]);
    // An open stream ends, and a cursor of the old epoch is gone.
    stream.ends().await;
    reader.after(&end).await.expect_refusal(410, "REVOCATION_CURSOR_GONE");
    let (after, again) = reader.snapshot().await;
    assert_eq!(after.cursor.split('.').next(), reset[0]["epoch"].as_str());
    assert_ne!(before.cursor, after.cursor);
    assert_eq!(records, again);
    server.me(&person.access).await.expect_reason("token_revoked");
    reader.after(&after.cursor).await.expect_status(200);
    let acts = server.get("/admin/audit?act=feed-reset").bearer(&root.access).send().await;
    assert_eq!(acts.expect_status(200).json["items"].as_array().unwrap().len(), 1);
}

/// The table gets the state of an earlier backup while a server runs on it.
#[tokio::test]
async fn a_restored_table_begins_a_new_epoch_and_what_the_server_knew_stays_refused() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let people = [server.person("a").await, server.person("b").await, server.person("c").await];
    server.logout(&people[0].access).await.expect_status(204);
    let backed_up = reader.end().await;
    server.logout(&people[1].access).await.expect_status(204);
    let end = reader.end().await;
    let mut stream = reader.stream(&format!("?after={end}"), None).await;
    let seq = backed_up.split('.').nth(1).unwrap();
    server.database.execute(&format!("delete from revocation where seq > {seq}")).await;
    stream.ends().await;
    // Both cursors are of the old epoch, also the one whose row is still there.
    for cursor in [&end, &backed_up] {
        let gone = awaited("the new epoch is known", async || {
            Some(reader.after(cursor).await).filter(|answer| answer.status != 503)
        });
        gone.await.expect_refusal(410, "REVOCATION_CURSOR_GONE");
    }
    for person in &people[..2] {
        server.wait_until_refused(&person.access).await.expect_reason("token_revoked");
    }
    let (head, _) = reader.snapshot().await;
    assert_ne!(head.cursor.split('.').next(), end.split('.').next());
    server.logout(&people[2].access).await.expect_status(204);
    let entries = reader.entries_after(&head.cursor).await;
    let sid = claim(&people[2].access, "sid");
    assert_eq!(entries[0]["hash"], hash(&format!("sid:{sid}")));
}

#[tokio::test]
async fn a_cursor_from_before_a_restart_of_the_server_still_counts() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let people = [server.person("a").await, server.person("b").await];
    let begin = reader.end().await;
    server.logout(&people[0].access).await.expect_status(204);
    let middle = reader.end().await;
    server.logout(&people[1].access).await.expect_status(204);
    server.wait_until_caught_up().await;
    let (token, all) = (reader.token.clone(), reader.after(&begin).await.expect_status(200));
    let database = server.kill();
    let server = Server::setup().on(database).start().await;
    let reader = Reader::of(&server, &token);
    for (cursor, count) in [(&middle, 1), (&begin, 2), (&all.text("cursor"), 0)] {
        let page = reader.after(cursor).await.expect_status(200);
        assert_eq!(page.json["entries"].as_array().unwrap().len(), count, "{cursor}");
        assert_eq!(page.text("cursor"), all.text("cursor"));
    }
    assert_eq!(reader.after(&begin).await.json["entries"], all.json["entries"]);
}

#[tokio::test]
async fn a_cursor_whose_row_was_purged_is_gone() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let begin = reader.end().await;
    for name in ["a", "b"] {
        let person = server.person(name).await;
        server.logout(&person.access).await.expect_status(204);
    }
    let end = reader.end().await;
    let token = reader.token.clone();
    let database = server.kill();
    // The first row expired more than a day ago, and the server purges it a minute after its next start.
    let first = "(select min(seq) from revocation)";
    database.execute(&format!("update revocation set until = 1, at = 1 where seq = {first}")).await;
    let server = Server::setup().on(database).start().await;
    let reader = Reader::of(&server, &token);
    server.advance(Duration::from_secs(61)).await;
    eventually("the row is purged", async || server.database.count("revocation").await == 1).await;
    reader.after(&end).await.expect_status(200);
    reader.after(&begin).await.expect_refusal(410, "REVOCATION_CURSOR_GONE");
    let status = json_of(&tessera(&server, &["feed", "status", "--output", "json"]));
    assert!(status[0]["low"].as_i64().unwrap() > 1, "{status}");
}

/// Release 0.1.0 deletes the row that it lifts, and repeats nothing.
#[tokio::test]
async fn a_lift_of_the_earlier_release_ends_nothing_that_still_holds() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let jti = uuid::Uuid::from_u128(7).to_string();
    for _ in 0..2 {
        let body = json!({ "kind": "jti", "subject": jti, "why": "a test" });
        let request = server.post("/admin/revocations").bearer(&root.access).json(&body);
        request.send().await.expect_status(204);
    }
    let end = reader.end().await;
    let lift = async |seq: &str| {
        let both = format!(
            "begin; \
             insert into revocation (kind, subject, until, why, at) \
             select 'lift', 'jti:{jti}', until, 'lifted', at from revocation where seq = ({seq}); \
             delete from revocation where seq = ({seq}); \
             commit"
        );
        server.database.execute(&both).await;
        server.wait_until_caught_up().await;
    };
    let kinds = async || {
        let page = reader.after(&end).await.expect_status(200);
        let entries = page.json["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["kind"].clone()).collect::<Vec<_>>()
    };
    lift(&format!("select min(seq) from revocation where subject = '{jti}'")).await;
    assert_eq!(kinds().await, Vec::<serde_json::Value>::new());
    // Another server reads the rows before its start again for this cursor, and does not show that lift either.
    let other = Server::setup().on(server.database.clone()).start().await;
    let again = Reader::of(&other, &reader.token);
    let page = again.after(&end).await.expect_status(200);
    assert_eq!(page.json["entries"], json!([]));
    assert_eq!(page.text("cursor"), reader.after(&end).await.text("cursor"));
    // Now nothing holds for the id any more.
    lift("select max(seq) from revocation where kind = 'jti'").await;
    assert_eq!(kinds().await, ["lift"]);
}
