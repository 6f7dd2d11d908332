//! Services that read nothing, or very slowly: they lose their places, fill no memory, and others are answered.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::feed::{Reader, claim};
use crate::support::{Kind, Server, eventually};

/// Sends a request with a small buffer for the answer, and reads only its status.
async fn asks(server: &Server, token: &str, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

/// Writes revocations of now, which stay in the memory of the server.
pub(crate) async fn revoke(server: &Server, count: u32) {
    let statement = match server.database.kind() {
        Kind::Postgres => format!(
            "insert into revocation (kind, subject, until, why, at) select 'jti', \
             gen_random_uuid()::text, 9000000000000, 'x', \
             cast(extract(epoch from now()) * 1000 as bigint) from generate_series(1, {count})"
        ),
        Kind::Sqlite => format!(
            "insert into revocation (kind, subject, until, why, at) with recursive n(i) as \
             (select 1 union all select i + 1 from n where i < {count}) select 'jti', \
             lower(hex(randomblob(4))||'-'||hex(randomblob(2))||'-7'||substr(hex(randomblob(2)),2)||'-8'||substr(hex(randomblob(2)),2)||'-'||hex(randomblob(6))), \
             9000000000000, 'x', cast(strftime('%s') as integer) * 1000 from n"
        ),
    };
    server.database.execute(&statement).await;
}

/// The events of such a backlog are larger than all buffers of a connection.
const BACKLOG: u32 = 200_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_takes_no_events_loses_its_place() {
    let server = Server::setup().set("FEED_WAITERS", 4).start().await;
    let root = server.superuser("root").await;
    let slow = server.service(&root, "slow", &["revocations:read"]).await;
    let other = server.service(&root, "other", &["revocations:read"]).await;
    let (greedy, modest) = (Reader::of(&server, &slow), Reader::of(&server, &other));
    let begin = modest.end().await;
    revoke(&server, BACKLOG).await;
    server.wait_until_caught_up().await;
    // Half of the places: all that one service can have.
    let mut streams = Vec::new();
    for _ in 0..2 {
        let path = format!("/auth/revocations/stream?after={begin}");
        streams.push(asks(&server, &slow, &path).await);
    }
    greedy.get("/stream").await.expect_status(503);
    // A service that reads gets all of them meanwhile, and what is new.
    let mut stream = modest.stream(&format!("?after={begin}"), None).await;
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    let hash = crate::feed::hash(&format!("sid:{}", claim(&person.access, "sid")));
    let mut count = 0;
    loop {
        let hashes = stream.data_hashes().await;
        count += hashes.len();
        if hashes.contains(&hash) {
            break;
        }
    }
    assert!(count > BACKLOG as usize, "{count}");
    eventually("there is a place again", async || {
        let url = server.url("/auth/revocations/stream");
        let answer = reqwest::Client::new().get(url).bearer_auth(&slow).send().await.unwrap();
        answer.status() == 200
    })
    .await;
}

/// The memory of a server, in bytes.
fn memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Pages need no place, so their size is what keeps the memory small.
#[tokio::test(flavor = "multi_thread")]
async fn many_slow_readers_of_large_pages_fill_no_memory_and_others_are_answered() {
    const READERS: usize = 400;
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let begin = reader.end().await;
    revoke(&server, 20_000).await;
    server.wait_until_caught_up().await;
    let page = reader.get(&format!("?after={begin}")).await.expect_status(200);
    assert_eq!(page.json["entries"].as_array().unwrap().len(), 1000);
    let before = memory(&server);
    let mut slow = Vec::new();
    for _ in 0..READERS {
        let path = format!("/auth/revocations?after={begin}&limit=1000");
        slow.push(asks(&server, &reader.token, &path).await);
    }
    let more = memory(&server).saturating_sub(before);
    assert!(more < READERS * 200_000, "{more} bytes for {READERS} readers");
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    reader.snapshot().await;
    let waits = tokio::time::timeout(Duration::from_secs(30), reader.stream("", None));
    waits.await.unwrap().data(false).await;
    drop(slow);
}
