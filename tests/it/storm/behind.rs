//! Readers and servers that are far behind the end of the revocation feed.

use serde_json::{Value, json};

use crate::support::{Kind, Server, eventually};

/// The number of rows that are committed at once. A server reads them in many parts.
const ROWS: u64 = 200_000;

fn insert(kind: Kind, rows: u64) -> String {
    let ids = match kind {
        Kind::Postgres => format!(
            "select 'jti', lpad(to_hex(i), 8, '0') || '-0000-7000-8000-000000000000', 9000000000000, 'x', \
             cast(extract(epoch from clock_timestamp()) * 1000 as bigint) from generate_series(1, {rows}) i order by i"
        ),
        Kind::Sqlite => format!(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows}) \
             select 'jti', printf('%08x-0000-7000-8000-000000000000', i), 9000000000000, 'x', \
             unixepoch() * 1000 from n"
        ),
    };
    format!("insert into revocation (kind, subject, until, why, at) {ids}")
}

fn seq_of(cursor: &Value) -> u64 {
    cursor.as_str().unwrap().split('.').nth(1).unwrap().parse().unwrap()
}

/// An event says up to which time it is complete. Rows that were committed before that time must have come with it or
/// before it, also while the server has read only a part of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_catches_up_never_claims_to_be_complete_before_it_is() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let begin = reader.end().await;
    let last = seq_of(&json!(begin)) + ROWS;
    let mut stream = reader.stream(&format!("?after={begin}"), None).await;
    stream.data(false).await;
    server.database.execute(&insert(server.database.kind(), ROWS)).await;
    // A time that is later than the commit, by the same clock. The server needs longer than that to read all rows.
    let committed = reader.get("").await.expect_status(200).json["now"].as_u64().unwrap();
    let mut parts = 0;
    loop {
        let event = stream.data(false).await;
        let (seq, at) = (seq_of(&event["cursor"]), event["at"].as_u64().unwrap());
        let is_complete = at >= committed;
        assert!(!is_complete || seq >= last, "{seq} of {last} is not complete");
        parts += usize::from(seq < last);
        if is_complete {
            break;
        }
    }
    assert!(parts > 10, "the rows came in {parts} parts: there is nothing to see");
    // The pages say the same.
    let (mut cursor, mut count) = (begin, 0);
    loop {
        let page = reader.get(&format!("?after={cursor}&limit=1000")).await.expect_status(200);
        count += page.json["entries"].as_array().unwrap().len() as u64;
        cursor = page.text("cursor");
        let is_last = seq_of(&page.json["cursor"]) >= last;
        assert_eq!(page.json["at"].as_u64().unwrap() > 0, is_last, "{cursor}");
        if is_last {
            break;
        }
    }
    assert!(count >= ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_far_behind_does_not_outlive_its_token() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let begin = reader.end().await;
    let last = seq_of(&json!(begin)) + ROWS;
    server.database.execute(&insert(server.database.kind(), ROWS)).await;
    eventually("the server has read all rows", async || seq_of(&json!(reader.end().await)) >= last)
        .await;
    let mut stream = reader.stream(&format!("?after={begin}"), None).await;
    let mut cursor = stream.data(true).await["cursor"].clone();
    let delete = server.request("DELETE", "/admin/services/reports").bearer(&root.access);
    delete.send().await.expect_status(204);
    while let Some(event) = stream.next().await {
        let id = event.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
        cursor = json!(id);
    }
    assert!(seq_of(&cursor) < last, "the stream went on to its end");
}
