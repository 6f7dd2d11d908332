//! TLS that the server speaks itself: versions, certificates and their replacement.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::tls::{Certificate, TlsInfo, Version};
use tempfile::TempDir;

use crate::once::{project, run, text};
use crate::support::{Server, Setup, awaited, command, eventually};

/// The text of a certificate or a key of the tests. `first` and `second` are for localhost and valid until 2120.
fn pem(name: &str) -> String {
    let path = project().join("tests/it/support/tls").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A part of a key that no one may see.
fn secret(key: &str) -> &str {
    key.lines().nth(1).unwrap()
}

/// The files that `TLS_CERT` and `TLS_KEY` name.
struct Files(TempDir);

impl Files {
    fn of(name: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put(&pem(&format!("{name}.crt")), &pem(&format!("{name}.key")));
        files
    }

    fn cert(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn put(&self, cert: &str, key: &str) {
        std::fs::write(self.cert(), cert).unwrap();
        write_key(&self.key(), key);
    }

    fn replace(&self, name: &str) {
        self.put(&pem(&format!("{name}.crt")), &pem(&format!("{name}.key")));
    }

    fn setup(&self) -> Setup {
        let setup = Server::setup().set("TLS_CERT", self.cert().display());
        setup.set("TLS_KEY", self.key().display())
    }
}

fn write_key(path: &Path, key: &str) {
    std::fs::write(path, key).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A client that trusts the authority of the tests, and opens a connection for each request.
fn client(change: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> reqwest::Client {
    let authority = Certificate::from_pem(pem("authority.crt").as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).tls_info(true);
    change(client.pool_max_idle_per_host(0)).build().unwrap()
}

/// The certificate that a server shows, in the form of PEM.
async fn shown(server: &Server) -> String {
    use base64::Engine;
    let answer = client(|client| client).get(server.url("/health/live")).send().await.unwrap();
    let info = answer.extensions().get::<TlsInfo>().unwrap();
    let der = base64::engine::general_purpose::STANDARD.encode(info.peer_certificate().unwrap());
    let name = ["first", "second"]
        .into_iter()
        .find(|name| pem(&format!("{name}.crt")).replace('\n', "").contains(&der));
    name.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_speaks_tls_with_http_1_1_and_its_links_begin_with_https() {
    let files = Files::of("first");
    let port = crate::support::free_port();
    let server = files.setup().set("PORT", port).start().await;
    assert_eq!(server.url(""), format!("https://127.0.0.1:{port}"));
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let client = client(|client| client.tls_version_min(version).tls_version_max(version));
        let live =
            client.get(format!("https://localhost:{port}/health/live")).send().await.unwrap();
        assert_eq!((live.status().as_u16(), live.version()), (200, reqwest::Version::HTTP_11));
        assert_eq!(live.headers()["strict-transport-security"], "max-age=31536000");
    }
    // Signing in over TLS works, and many requests use one connection.
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    let claims = crate::support::claims_of(&person.access);
    assert_eq!(claims["iss"], format!("https://localhost:{port}"));

    let health = |files: &Files| {
        let mut health = command(server.folder());
        health.arg("health").env("PORT", port.to_string()).env("TLS_CERT", files.cert());
        run(health.env("TLS_KEY", files.key()))
    };
    assert!(health(&files).status.success(), "{}", text(&health(&files).stderr));
    let mut plain = command(server.folder());
    let plain = run(plain.arg("health").env("PORT", port.to_string()));
    assert!(!plain.status.success(), "a health check without TLS is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_speak_tls_are_told_so_and_broken_handshakes_are_closed() {
    let server = Files::of("first").setup().start().await;
    let answer = server.raw("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");
    // Records that are no handshake, a version of SSL, and a hello that is cut off.
    for begin in
        [&[22, 3, 1, 255, 255, 0][..], &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[22, 3], &[22; 5000]]
    {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream.write_all(begin).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    server.get("/health/live").send().await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let files = Files::of("first");
    let server = files.setup().start().await;
    assert_eq!(shown(&server).await, "first");
    // The server looks by itself.
    files.replace("second");
    eventually("the new certificate is shown", async || shown(&server).await == "second").await;

    for (cert, key, said) in [
        (pem("first.crt"), pem("second.key"), "does not belong to the first certificate"),
        ("nothing".to_owned(), pem("second.key"), "contains no certificate"),
        (pem("second.crt"), String::new(), "contains no private key"),
    ] {
        files.put(&cert, &key);
        server.hang_up().await;
        let log = server.log.wait_for(said).await;
        let warned = log.lines().rev().find(|line| line.contains(said)).unwrap();
        assert!(warned.contains("keeps the certificate that it has"), "{warned}");
        assert_eq!(shown(&server).await, "second", "{said}");
    }
    std::fs::remove_file(files.key()).unwrap();
    server.hang_up().await;
    server.log.wait_for("and this file cannot be read").await;
    assert_eq!(shown(&server).await, "second");
    files.replace("first");
    server.hang_up().await;
    assert_eq!(shown(&server).await, "first");
    let log = server.log_so_far().await;
    assert_eq!(log.matches("the certificate was replaced").count(), 2, "{log}");
    assert!(!log.contains(secret(&pem("first.key"))) && !log.contains(secret(&pem("second.key"))));
}

/// Programs write the two files one after the other. The server waits for the second before it warns.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pair_that_stays_is_warned_about_once_without_a_signal() {
    let files = Files::of("first");
    let server = files.setup().start().await;
    std::fs::write(files.cert(), pem("second.crt")).unwrap();
    let log = server.log.wait_for("does not belong to the first certificate").await;
    assert!(log.contains("name the key that it was made for"), "{log}");
    // After two more looks, the warning is still one.
    write_key(&files.key(), &pem("second.key"));
    eventually("the new pair is used", async || shown(&server).await == "second").await;
    let log = server.log_so_far().await;
    assert_eq!(log.matches("does not belong to the first certificate").count(), 1, "{log}");
}

#[tokio::test]
async fn a_certificate_that_expires_or_is_for_another_host_is_warned_about() {
    let warned = async |setup: Setup, said: &str| {
        let server = setup.start().await;
        server.log.wait_for(said).await;
        server
    };
    warned(Files::of("ended").setup(), "expired on 2021-01-01 00:00 UTC, so callers refuse it")
        .await;
    let server =
        warned(Files::of("ended").setup(), "is not for localhost, the host of PUBLIC_URL").await;
    server.get("/health/live").send().await.expect_status(200);
    let files = Files::of("first");
    let setup = files.setup().set("PUBLIC_URL", "http://localhost:8000");
    warned(setup, "TLS_CERT is set, so callers need https://").await;
    std::fs::set_permissions(files.key(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let server = warned(files.setup(), "every user of this machine can read TLS_KEY").await;
    assert!(!server.log_so_far().await.contains("expire"), "{}", server.log_so_far().await);
    // While the server runs, the certificate comes to its end.
    let year = Duration::from_secs(31_556_952);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let end = Duration::from_secs(4_733_510_400);
    server.move_clock(end - now - year / 180);
    server.log.wait_for("expires on 2120-01-01 00:00 UTC: renew it").await;
    server.move_clock(year / 90);
    server.log.wait_for("expired on 2120-01-01 00:00 UTC").await;
}

#[test]
fn a_start_with_files_that_cannot_be_used_is_refused_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["first.crt", "first.key", "second.key"] {
        write_key(&folder.path().join(name), &pem(name));
    }
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write_key(&folder.path().join("encrypted.key"), encrypted);
    write_key(&folder.path().join("half.crt"), &pem("first.crt")[..200]);
    let (cert, key) = (path("first.crt"), path("first.key"));
    for (cert, key, said) in [
        (&*cert, "", "TLS_CERT is set, but TLS_KEY is not"),
        ("", &*key, "TLS_KEY is set, but TLS_CERT is not"),
        (&path("none"), &key, "and this file cannot be read"),
        (&cert, &path("none"), "and this file cannot be read"),
        (&key, &key, "contains no certificate"),
        (&cert, &cert, "contains no private key"),
        (&cert, &path("second.key"), "does not belong to the first certificate"),
        (&cert, &path("encrypted.key"), "has a password"),
        (&path("half.crt"), &key, "is damaged"),
    ] {
        let variables = [("TLS_CERT", cert), ("TLS_KEY", key), ("TESSERA_DEV", "true")];
        for words in [&["serve", "--port=0"][..], &["config", "check"]] {
            let output = run(command(folder.path()).args(words).envs(variables));
            let all = text(&output.stdout) + &text(&output.stderr);
            assert!(!output.status.success(), "{variables:?}");
            assert!(all.contains(said), "{variables:?}: {all}");
            assert!(!all.contains(secret(&pem("first.key"))), "{all}");
        }
    }
    let good = [("TLS_CERT", &*cert), ("TLS_KEY", &key), ("TESSERA_DEV", "true")];
    let output = run(command(folder.path()).args(["config", "check"]).envs(good));
    assert!(output.status.success(), "{}", text(&output.stdout));
}

/// A unix socket stays without TLS, because only programs of this machine can use it.
#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_speaks_no_tls() {
    let files = Files::of("first");
    let socket = files.0.path().join("s");
    let listen = format!("127.0.0.1:0,unix:{}", socket.display());
    let server = files.setup().set("LISTEN", listen).start().await;
    server.get("/health/live").send().await.expect_status(200);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let health = awaited("a health check through the socket succeeds", async || {
        let mut health = command(server.folder());
        health.arg("health").env("LISTEN", format!("unix:{}", socket.display()));
        health.env("TLS_CERT", files.cert()).env("TLS_KEY", files.key());
        Some(run(&mut health))
    });
    assert!(health.await.status.success());
}
