//! Exports that are large, slow or parallel, or that break off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::support::{Browser, PASSWORD, Server};

/// More rows than fit into the buffers between a server and a caller who reads nothing.
const MANY: u32 = 60_000;

impl Server {
    /// The maximum memory that the process has used, in KiB.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Starts an export, reads its first line, and reads nothing more.
    fn slow_export(&self, token: &str) -> (u16, BufReader<TcpStream>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (address, token) = (self.address, token);
        write!(
            stream,
            "POST /users/me/export HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut reader = BufReader::with_capacity(512, stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        (line.split(' ').nth(1).unwrap().parse().unwrap(), reader)
    }
}

/// Reads the rest of an answer in a thread, so that the runtime can serve other connections meanwhile.
async fn rest_of(mut reader: BufReader<TcpStream>) -> Vec<u8> {
    let (sender, read) = oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        let _ = sender.send(rest);
    });
    read.await.unwrap()
}

fn ends(answer: &[u8]) -> bool {
    answer.ends_with(b"\r\n0\r\n\r\n")
}

#[tokio::test]
async fn four_parallel_exports_use_little_memory_and_do_not_delay_others() {
    let server = Server::start().await;
    let mut people = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let person = server.person(name).await;
        server.fill_audit(&person, MANY).await;
        people.push(person);
    }
    let other = server.person("other").await;
    let before = server.peak_memory();
    let mut exports = JoinSet::new();
    for person in people {
        let request = server.post("/users/me/export").bearer(&person.access);
        exports.spawn(async move {
            let answer = request.send().await.expect_status(200);
            answer.json["audit"].as_array().unwrap().len()
        });
    }
    while !exports.is_empty() {
        server.me(&other.access).await.expect_status(200);
        while let Some(done) = exports.try_join_next() {
            assert!(done.unwrap() > 60_000);
        }
    }
    let grown = server.peak_memory() - before;
    assert!(grown < 48 * 1024, "{grown} KiB");
}

#[tokio::test]
async fn an_account_can_run_one_export_at_a_time_which_does_not_delay_others() {
    let server = Server::start().await;
    let (person, other) = (server.person("first").await, server.person("other").await);
    server.fill_audit(&person, MANY).await;
    let (status, running) = server.slow_export(&person.access);
    assert_eq!(status, 200);
    for _ in 0..3 {
        let again = server.export_me(&person.access).await;
        assert_eq!(again.header("retry-after"), "10");
        again.expect_refusal(429, "TOO_MANY_ATTEMPTS");
    }
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    browser.press("/account/export", &[("current", PASSWORD)]).await.expect_status(429);
    server.export_me(&other.access).await.expect_status(200);
    server.me(&person.access).await.expect_status(200);
    // The audit does not record refused exports.
    assert_eq!(server.database.count("audit where act = 'user-export'").await, 2);
    let whole = rest_of(running).await;
    assert!(ends(&whole), "{}", whole.len());
    server.export_me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn an_export_that_breaks_off_does_not_look_complete() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.fill_audit(&person, MANY).await;
    let (status, running) = server.slow_export(&person.access);
    assert_eq!(status, 200);
    server.database.execute("alter table audit rename to gone").await;
    let answer = rest_of(running).await;
    assert!(!ends(&answer), "the answer looks complete");
    server
        .log
        .wait_for_line("an export broke off", |line| line["message"] == "an export broke off")
        .await;
    server.database.execute("alter table gone rename to audit").await;
    server.export_me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn an_export_whose_caller_reads_nothing_is_cut_off_and_does_not_look_complete() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.fill_audit(&person, MANY).await;
    let (status, running) = server.slow_export(&person.access);
    assert_eq!(status, 200);
    server.export_me(&person.access).await.expect_status(429);
    server
        .log
        .wait_for_line("an export broke off", |line| line["message"] == "an export broke off")
        .await;
    server.export_me(&person.access).await.expect_status(200);
    let answer = rest_of(running).await;
    assert!(!ends(&answer), "the answer looks complete");
}
