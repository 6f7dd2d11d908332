//! Many services that wait for revocations.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::feed::Reader;
use crate::pacing::expect_pauses_while_behind;
use crate::support::Server;

/// The services, for which a process needs somewhat fewer than 4,096 open files.
const WAITERS: u16 = 1900;

/// Waits for revocations from `127.0.0.last`. It reads no event: a few of them are in the buffers of its connection.
async fn waits_from(last: u8, server: &Server, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let request = format!(
        "GET /auth/revocations/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_many_waiting_services_each_gets_its_events_with_longer_pauses() {
    let files = rlimit::increase_nofile_limit(4096).unwrap();
    assert!(files > u64::from(WAITERS) + 200, "raise the limit of open files: {files}");
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let mut tokens = Vec::new();
    for owner in ["one", "two", "three"] {
        tokens.push(server.service(&root, owner, &["revocations:read"]).await);
    }
    let mut waiting = Vec::new();
    for turn in 0..WAITERS {
        let (last, token) = ((2 + turn % 3) as u8, &tokens[usize::from(turn / 3 % 3)]);
        waiting.push(waits_from(last, &server, token).await);
    }
    let reader = Reader::of(&server, &tokens[0]);
    let gap = Duration::from_micros(20) * u32::from(WAITERS);
    expect_pauses_while_behind(&reader, gap).await;
    drop(waiting);
}
