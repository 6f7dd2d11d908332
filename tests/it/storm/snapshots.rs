//! Snapshots that clients take slowly.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::feed::Reader;
use crate::support::{Kind, Server, awaited, eventually};

/// The number of snapshots that are sent at the same time, and the part of them for one owner.
const ALL: usize = 32;
const OF_ONE: usize = ALL / 2;

/// Asks for a snapshot with a small buffer, and reads only the status of the answer. Returns `None` if there is no place.
async fn asks(server: &Server, token: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let request = format!(
        "GET /auth/revocations/snapshot HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    match &status {
        b"HTTP/1.1 200" => Some(stream),
        b"HTTP/1.1 503" => None,
        other => panic!("{}", String::from_utf8_lossy(other)),
    }
}

/// A client that takes a few bytes each second would keep its place for ever.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_a_snapshot_slowly_lose_their_places_and_others_find_room_meanwhile() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let slow = server.service(&root, "slow", &["revocations:read"]).await;
    let other = server.service(&root, "other", &["revocations:read"]).await;
    let from_numbers = match server.database.kind() {
        Kind::Postgres => {
            "select 'jti', gen_random_uuid()::text, 9000000000000, 'x', 1 from generate_series(1, 900000)"
        }
        Kind::Sqlite => {
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 900000) \
             select 'jti', lower(hex(randomblob(4))||'-'||hex(randomblob(2))||'-7'||substr(hex(randomblob(2)),2)||'-8'||substr(hex(randomblob(2)),2)||'-'||hex(randomblob(6))), \
             9000000000000, 'x', 1 from n"
        }
    };
    let insert = format!("insert into revocation (kind, subject, until, why, at) {from_numbers}");
    server.database.execute(&insert).await;
    server.wait_until_caught_up().await;
    let (greedy, modest) = (Reader::of(&server, &slow), Reader::of(&server, &other));
    // A busy machine needs long for the first one, and reads no revocations meanwhile.
    eventually("a snapshot is made", async || modest.get("/snapshot").await.status == 200).await;
    let (_, records) = modest.snapshot().await;
    assert!(records.len() >= 900_000);
    drop(records);

    // Each keeps its place for some seconds, and a busy machine can need longer to fill all of them.
    let streams = awaited("one service takes all of its places", async || {
        let mut streams = Vec::new();
        for _ in 0..OF_ONE {
            streams.push(asks(&server, &slow).await?);
        }
        let further = greedy.get("/snapshot").await;
        assert!([200, 503].contains(&further.status), "{}", further.body);
        (further.code() == "SERVICE_BUSY").then_some(streams)
    })
    .await;
    let mut drips = Vec::new();
    for mut stream in streams {
        drips.push(tokio::spawn(async move {
            let mut byte = [0; 64];
            while stream.read(&mut byte).await.is_ok_and(|length| length > 0) {
                // The client is slow on purpose.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }));
    }
    eventually("another service finds room", async || modest.get("/snapshot").await.status == 200)
        .await;
    eventually("the slow clients have lost their places", async || {
        greedy.get("/snapshot").await.status == 200
    })
    .await;
    drips.iter().for_each(tokio::task::JoinHandle::abort);
}
