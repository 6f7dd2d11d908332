//! The addresses that a server listens on: ports and Unix sockets.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::once::{run, text};
use crate::support::{PASSWORD, Server, command, eventually};

/// Sends raw text to a Unix socket, and returns the answer.
fn raw(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(socket: &Path, path: &str) -> String {
    raw(socket, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// Signs in through a Unix socket with a header, and returns the address that the server took for the client's.
async fn address(server: &Server, socket: &Path, access: &str, header: &str) -> String {
    let body = format!("username=first%40user.com&password={}", PASSWORD.replace(' ', "+"));
    let answer = raw(
        socket,
        &format!(
            "POST /auth/jwt/login HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let sessions = server.get("/auth/sessions?limit=1").bearer(access).send().await;
    sessions.json["items"][0]["ip"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_listens_on_ports_and_a_unix_socket_at_once_and_removes_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tessera.sock");
    let listen = format!("127.0.0.1:0,[::1]:0,unix:{}", socket.display());
    let mut server = Server::setup().set("LISTEN", &listen).start().await;
    let person = server.person("first").await;
    let log = server.log.wait_for(&format!("unix:{}", socket.display())).await;
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let addresses: Vec<String> = lines
        .filter(|line: &serde_json::Value| line["message"] == "listening")
        .map(|line| line["address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for address in &addresses[..2] {
        let live = reqwest::get(format!("http://{address}/health/live")).await.unwrap();
        assert_eq!(live.status(), 200, "{address}");
    }
    assert!(addresses[1].starts_with("[::1]:"), "{addresses:?}");
    let me = raw(
        &socket,
        &format!(
            "GET /users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
            person.access
        ),
    );
    assert!(me.contains("first@user.com"), "{me}");
    let found = std::fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);

    // The health check uses the first address of the settings.
    let mut health = command(server.folder());
    health.arg("health").env("LISTEN", format!("unix:{}", socket.display()));
    let output = run(&mut health);
    assert!(output.status.success(), "{}", text(&output.stderr));

    server.terminate();
    assert!(server.ended().await.success());
    assert!(!socket.exists());
    let output = run(&mut health);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains(&*socket.to_string_lossy()) && said.contains("is it running"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_through_a_unix_socket_count_only_if_the_socket_is_a_trusted_proxy() {
    let forwarded = "X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n";
    for (proxies, found, without) in [
        ("127.0.0.0/8,::1", "127.0.0.1", "127.0.0.1"),
        ("unix", "203.0.113.7", "127.0.0.1"),
        ("unix,203.0.113.0/24", "6.6.6.6", "127.0.0.1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let setup = Server::setup().set("TRUSTED_PROXIES", proxies);
        let listen = format!("127.0.0.1:0,unix:{}", socket.display());
        let server = setup.set("LISTEN", listen).start().await;
        let person = server.person("first").await;
        assert_eq!(address(&server, &socket, &person.access, forwarded).await, found, "{proxies}");
        assert_eq!(address(&server, &socket, &person.access, "").await, without, "{proxies}");
        let log = server.log_so_far().await;
        let is_warned = log.contains("TRUSTED_PROXIES does not contain unix");
        assert_eq!(is_warned, !proxies.contains("unix"), "{proxies}: {log}");
    }
}

/// Attempts through a socket that is no trusted proxy share one address, so a stranger behind a proxy cannot use the
/// header to get more of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_a_unix_socket_cannot_choose_an_address_to_evade_limits() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let setup = Server::setup().set("RATE_LIMIT", "on");
    let server =
        setup.set("LISTEN", format!("127.0.0.1:0,unix:{}", socket.display())).start().await;
    let register = |number: usize| {
        let body =
            json!({ "email": format!("u{number}@user.com"), "password": PASSWORD }).to_string();
        let answer = raw(
            &socket,
            &format!(
                "POST /auth/register HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.{number}\r\n\
                 Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let refused = (0..60).map(register).find(|status| status != "201");
    assert_eq!(refused.as_deref(), Some("429"));
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_a_dead_server_left_is_replaced_and_any_other_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listen = format!("127.0.0.1:0,unix:{}", socket.display());
    let starts = async || Server::setup().set("LISTEN", &listen).start().await;
    starts().await.kill();
    assert!(socket.exists(), "a killed server leaves its socket behind");
    let server = starts().await;
    assert!(get(&socket, "/health/live").starts_with("HTTP/1.1 200"));

    let refused = |path: &Path| {
        let mut command = command(folder.path());
        command.args(["serve", "--dev"]).env("LISTEN", format!("unix:{}", path.display()));
        let output = run(&mut command);
        assert!(!output.status.success());
        text(&output.stderr)
    };
    let said = refused(&socket);
    assert!(
        said.contains("a server listens on it") && said.contains("end the other server"),
        "{said}"
    );
    assert!(get(&socket, "/health/live").starts_with("HTTP/1.1 200"));
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&socket, folder.path().join("link")).unwrap();
    for path in [&file, &folder.path().join("link")] {
        let said = refused(path);
        assert!(said.contains("there is a file that is no socket"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let said = refused(&folder.path().join("none/s"));
    assert!(said.contains("must exist"), "{said}");

    // Another program replaced the socket while the server ran. The server leaves its file alone.
    std::fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    let mut server = server;
    server.terminate();
    assert!(server.ended().await.success());
    assert!(socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_addresses_of_both_families_can_share_a_port() {
    let port = crate::support::free_port();
    let listen = format!("0.0.0.0:{port},[::]:{port}");
    let server = Server::setup().set("LISTEN", listen).start().await;
    for host in ["127.0.0.1", "[::1]"] {
        let url = format!("http://{host}:{port}/health/live");
        eventually("the address answers", async || reqwest::get(&url).await.is_ok()).await;
    }
    drop(server);
}

/// Runs `tessera config` with settings, and returns its status and what it prints.
fn config(word: &str, settings: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    let output = run(command
        .args(["config", word])
        .env("TESSERA_DEV", "true")
        .envs(settings.iter().copied()));
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn host_and_port_must_be_those_of_an_address_in_listen() {
    let two = "127.0.0.1:8000,[::1]:9000,unix:/run/s";
    for (listen, host, port) in [
        (two, "", ""),
        (two, "127.0.0.1", ""),
        (two, "::1", "9000"),
        (two, "", "9000"),
        ("unix:/run/s", "", ""),
        ("127.0.0.1:0,127.0.0.1:0", "", "0"),
    ] {
        let settings = [("LISTEN", listen), ("HOST", host), ("PORT", port)];
        let (is_valid, said) = config("check", &settings);
        assert!(is_valid, "{settings:?}: {said}");
    }
    for (listen, host, port, expected) in [
        (two, "0.0.0.0", "", "but HOST is 0.0.0.0: LISTEN names every address, so remove HOST"),
        (two, "", "8001", "but PORT is 8001: LISTEN names every address, so remove PORT"),
        (two, "::1", "8000", "but HOST is ::1 and PORT is 8000: LISTEN names every address"),
        ("unix:/run/s", "", "8000", "but PORT is 8000"),
        ("127.0.0.1:80,127.0.0.1:80", "", "", "it names an address twice"),
        ("unix:/run/s,unix:/run/s", "", "", "it names an address twice"),
        ("nginx:80", "", "", "must be addresses, separated by commas, of the form 127.0.0.1:8000"),
        ("::1:80", "", "", "must have IPv6 addresses in brackets"),
        ("unix:s", "", "", "must have an absolute path after unix:"),
    ] {
        let settings = [("LISTEN", listen), ("HOST", host), ("PORT", port)];
        let (is_valid, said) = config("check", &settings);
        assert!(!is_valid && said.contains(expected), "{settings:?}: {said}");
        assert_eq!(said.matches("LISTEN is").count(), 1, "{said}");
    }
}

#[test]
fn in_development_the_public_url_follows_the_first_port_and_tls() {
    for (settings, url) in [
        (&[("LISTEN", "unix:/run/s,127.0.0.1:9000,[::1]:9001")][..], "http://localhost:9000"),
        (&[("LISTEN", "[::]:443"), ("TLS_CERT", "c"), ("TLS_KEY", "k")], "https://localhost"),
        (&[("TLS_CERT", "c"), ("TLS_KEY", "k")], "https://localhost:8000"),
        (&[("TLS_CERT", ""), ("TLS_KEY", "")], "http://localhost:8000"),
        (&[("LISTEN", "unix:/run/s")], "http://localhost:8000"),
        (&[("LISTEN", "127.0.0.1:0")], "http://localhost:8000"),
    ] {
        let (_, printed) = config("print", settings);
        assert!(printed.contains(&format!("PUBLIC_URL={url}\n")), "{settings:?}: {printed}");
    }
}
