//! Many slow or silent callers.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Server, eventually};

/// Connects from `127.0.0.last`, and never waits for the server. The client takes little of an answer at once.
async fn connect_from(last: u8, server: SocketAddr) -> Option<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    let connected = tokio::time::timeout(Duration::from_secs(2), socket.connect(server)).await;
    connected.ok()?.ok()?.into_std().ok()
}

/// Reads what has arrived. Returns `None` if the connection was closed.
fn arrived(mut stream: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 64];
    match stream.read(&mut bytes) {
        Ok(0) => None,
        Ok(read) => Some(bytes[..read].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(Vec::new()),
        Err(_) => None,
    }
}

/// Asserts that the server answers new callers, each within 20 seconds.
///
/// A server that gets no processor for a second takes a caller whose head it has not read for a silent one. So one of
/// the callers can lose the connection, and calls again.
async fn answers_three_times(server: &Server, or_else: &str) {
    let live = || server.get("/health/live").header("connection", "close").try_send();
    let mut may_lose = true;
    for _ in 0..3 {
        let called = async {
            match live().await {
                Err(error) if std::mem::take(&mut may_lose) && is_reset(&error) => live().await,
                answer => answer,
            }
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), called).await;
        answer.expect(or_else).unwrap().expect_status(200);
    }
}

/// Returns true if the server closed the connection without an answer.
fn is_reset(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == ErrorKind::ConnectionReset)
}

/// Callers who send nothing, half a head, single bytes, or half a body, or who are idle after an answer: all of them
/// at once. Meanwhile the server answers others.
#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_are_disconnected_and_do_not_delay_others() {
    let server = Server::start().await;
    let body = "POST /auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{";
    let starts = [
        "",
        "GET /health/live HTTP/1.1\r\nHo",
        body,
        "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let mut slow = Vec::new();
    for start in starts.iter().cycle().take(100) {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        slow.push((*start, stream));
    }
    let address = server.address;
    let drip = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut sent = 0;
        for byte in b"GET /health/live HTTP/1.1\r\n".iter().chain(b"X: y\r\n".iter().cycle()) {
            if stream.write_all(&[*byte]).is_err() || sent > 300 {
                return sent;
            }
            sent += 1;
            // This caller sends one byte at a time.
            std::thread::sleep(Duration::from_millis(200));
        }
        sent
    });
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    for (start, mut stream) in slow {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .unwrap_or_else(|_| panic!("the connection was not closed: {start:?}"));
        if start == body {
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
            assert!(answer.contains(r#"{"detail":"REQUEST_TIMEOUT"}"#), "{answer}");
        }
    }
    assert!(drip.join().unwrap() <= 300, "the caller who sends single bytes was not disconnected");
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_free_file_descriptors_waits_and_recovers() {
    let server = Server::setup().with_shell_limits("ulimit -n 64").start().await;
    let before = server.cpu_ticks();
    let idle: Vec<_> = (0..200).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
    // The server could spin for this time, but must not.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(server.cpu_ticks() - before < 100, "the server uses the CPU while it waits");
    drop(idle);
    server.get("/health/live").send().await.expect_status(200);
    server.person("first").await;
}

/// There are more silent callers than file descriptors, and they connect again after they are disconnected.
#[tokio::test(flavor = "multi_thread")]
async fn silent_callers_do_not_lock_out_others() {
    let server = Server::setup().with_shell_limits("ulimit -n 192").start().await;
    let address = server.address;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let rounds = Arc::new(AtomicUsize::new(0));
    let round = Arc::clone(&rounds);
    let silence = std::thread::spawn(move || {
        let mut streams: Vec<TcpStream> = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            streams.retain_mut(|stream| {
                let _ = stream.set_nonblocking(true);
                !matches!(stream.read(&mut [0]), Ok(0))
            });
            while streams.len() < 500 {
                let Ok(mut stream) = TcpStream::connect(address) else { break };
                let _ = stream.write_all(b"GET /");
                streams.push(stream);
            }
            round.fetch_add(1, Ordering::Relaxed);
            // They connect again soon, but leave CPU time to the server.
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    eventually("silent callers use all connections", async || rounds.load(Ordering::Relaxed) > 3)
        .await;
    answers_three_times(&server, "silent callers lock others out").await;
    stop.store(true, Ordering::Relaxed);
    silence.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_do_not_prevent_requests() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for _ in 0..2000 {
        let Ok(stream) = tokio::net::TcpStream::connect(server.address).await else { break };
        idle.push(stream);
    }
    assert!(idle.len() > 400, "this machine allows only {} connections", idle.len());
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kilobytes: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 300_000, "{resident}");
}

/// There are more slow callers than places, from three addresses, and they connect again after they are disconnected.
/// They must give way to others long before the deadline for their request, so none of them gets an answer.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_arrive_slowly_give_way_to_others() {
    // This allows 172 connections.
    let server = Server::setup().with_shell_limits("ulimit -n 300").start().await;
    let head = "POST /auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for start in [
        format!("{head}Content-Length: 2000\r\n\r\n{{"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n7D0\r\n{{"),
        format!("{head}X: "),
    ] {
        let address = server.address;
        let stop = Arc::new(AtomicBool::new(false));
        let (rounds, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (stopped, round, answered) =
            (Arc::clone(&stop), Arc::clone(&rounds), Arc::clone(&answers));
        let began = start.clone();
        let drip = tokio::spawn(async move {
            let mut streams: Vec<TcpStream> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                streams.retain_mut(|stream| {
                    let came = arrived(stream);
                    let got = came.as_ref().is_some_and(|bytes| !bytes.is_empty());
                    answered.fetch_add(usize::from(got), Ordering::Relaxed);
                    came.is_some() && stream.write_all(b" ").is_ok()
                });
                for last in (1..=3).cycle().take(240 - streams.len()) {
                    let Some(mut stream) = connect_from(last, address).await else { break };
                    let _ = stream.write_all(start.as_bytes());
                    streams.push(stream);
                }
                round.fetch_add(1, Ordering::Relaxed);
                // They send a byte soon again, but leave CPU time to the server.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        eventually("slow callers use all connections", async || rounds.load(Ordering::Relaxed) > 1)
            .await;
        answers_three_times(&server, "slow callers lock others out").await;
        let answers = answers.load(Ordering::Relaxed);
        assert_eq!(answers, 0, "others waited for the deadline of slow callers: {began:?}");
        stop.store(true, Ordering::Relaxed);
        drip.await.unwrap();
    }
}

/// One address opens more connections than it may have. Only its own are closed.
#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_at_most_half_of_the_places() {
    for (proxies, many, stay) in [("192.0.2.1", 200, 86), ("127.0.0.2", 130, 130)] {
        let server = Server::setup()
            .with_shell_limits("ulimit -n 300")
            .set("TRUSTED_PROXIES", proxies)
            .start()
            .await;
        let elsewhere = connect_from(3, server.address).await.unwrap();
        let mut streams = Vec::new();
        for _ in 0..many {
            streams.push(connect_from(2, server.address).await.unwrap());
        }
        let open = || streams.iter().filter(|stream| arrived(stream).is_some()).count();
        server.get("/health/live").send().await.expect_status(200);
        eventually("the address has its share", async || open() <= stay).await;
        assert_eq!(open(), stay, "TRUSTED_PROXIES={proxies}");
        assert!(arrived(&elsewhere).is_some(), "a connection from elsewhere was closed");
    }
}

/// There are more callers who begin a handshake of TLS and send nothing more than there are places. They give way like
/// slow requests, and those that stay are disconnected at the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn silent_handshakes_give_way_and_end_at_the_deadline() {
    let folder = crate::once::project().join("tests/it/support/tls");
    let setup = Server::setup().with_shell_limits("ulimit -n 300");
    let setup = setup.set("TLS_CERT", folder.join("first.crt").display());
    let server = setup.set("TLS_KEY", folder.join("first.key").display()).start().await;
    for begin in [&[][..], &[22, 3, 1, 0, 200, 1, 0]] {
        let mut streams = Vec::new();
        for last in (1..=3).cycle().take(240) {
            let Some(mut stream) = connect_from(last, server.address).await else { break };
            let _ = stream.write_all(begin);
            streams.push(stream);
        }
        answers_three_times(&server, "silent handshakes lock others out").await;
        eventually("every handshake ends", async || {
            streams.iter().all(|stream| arrived(stream).is_none())
        })
        .await;
    }
}
