//! Commands that ask a server: where they send their API token, and where they do not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};

use crate::support::{Server, command};
use crate::terminal::{fault, json_of, out, strong_token};

const TOKEN: &str = "tsr_the_token_of_a_superuser";

/// Runs `tessera token list` with these settings and arguments.
fn asks(settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command.args(["token", "list", "--output", "json"]).args(arguments);
    command.env("TESSERA_API_TOKEN", TOKEN).envs(settings.iter().copied()).output().unwrap()
}

/// Listens on an address, records the requests, and always sends the same answer.
fn listener(address: &str, answer: &'static str) -> Option<(u16, Receiver<String>)> {
    let listener = TcpListener::bind((address, 0)).ok()?;
    let port = listener.local_addr().unwrap().port();
    let (said, heard) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or_default();
            let _ = said.send(String::from_utf8_lossy(&head[..length]).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Some((port, heard))
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\
                     Connection: close\r\n\r\n{\"items\":[],\"next\":null}";

#[test]
fn a_command_sends_no_token_unencrypted_to_another_machine() {
    for url in [
        "http://192.0.2.1",
        "HTTP://192.0.2.1",
        "http://id.invalid:8000/path",
        "http://localhost.invalid",
        "http://127.0.0.1.invalid",
        "http://[2001:db8::1]",
        "http://[::ffff:192.0.2.1]",
        "http://128.0.0.1",
        "http://0x80000001",
        " http://192.0.2.1",
    ] {
        for (settings, arguments) in
            [(&[("TESSERA_URL", url)][..], &[][..]), (&[], &["--url", url])]
        {
            let refused = asks(settings, arguments);
            let said = fault(&refused);
            assert_eq!(refused.status.code(), Some(1), "{url}: {said}");
            assert!(said.contains("https://") && said.contains("--insecure"), "{url}: {said}");
            assert!(!said.contains(TOKEN), "{said}");
        }
    }
}

#[test]
fn a_command_sends_a_token_unencrypted_only_to_this_machine_or_with_insecure() {
    for (address, name) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.1"),
        ("127.0.0.1", "LOCALHOST"),
        ("127.0.0.9", "127.0.0.9"),
        ("::1", "[::1]"),
    ] {
        let Some((port, heard)) = listener(address, EMPTY) else { continue };
        let answer = asks(&[("TESSERA_URL", &format!("HTTP://{name}:{port}/"))], &[]);
        assert_eq!(json_of(&answer), serde_json::json!([]), "{name}");
        assert!(heard.recv().unwrap().contains(TOKEN), "{name}");
    }
    // An address of this machine that other machines can reach too.
    let Some((port, heard)) = listener("0.0.0.0", EMPTY) else { return };
    let url = format!("http://0.0.0.0:{port}");
    assert!(fault(&asks(&[], &["--url", &url])).contains("--insecure"));
    assert!(heard.try_recv().is_err(), "the command sent a request");
    let answer = asks(&[], &["--url", &url, "--insecure"]);
    assert_eq!(json_of(&answer), serde_json::json!([]));
    assert!(heard.recv().unwrap().contains(TOKEN));
}

#[test]
fn a_command_with_a_token_follows_no_redirect() {
    let (port, heard) = listener("127.0.0.1", EMPTY).unwrap();
    for status in ["301", "302", "303", "307", "308"] {
        let redirect = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        let (first, asked) = listener("127.0.0.1", String::leak(redirect)).unwrap();
        let refused = asks(&[("TESSERA_URL", &format!("http://127.0.0.1:{first}"))], &[]);
        assert_eq!(refused.status.code(), Some(1), "{status}: {}", out(&refused));
        assert!(fault(&refused).contains(status), "{}", fault(&refused));
        asked.recv().unwrap();
        assert!(heard.try_recv().is_err(), "{status} was followed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sends_no_unencrypted_token_through_a_proxy() {
    let server = Server::start().await;
    let (_, strong) = strong_token(&server).await;
    let (port, heard) = listener("127.0.0.1", EMPTY).unwrap();
    let proxy = format!("http://127.0.0.1:{port}");
    let mut command = command(server.folder());
    command.args(["token", "list", "--output", "json"]).env("TESSERA_URL", server.url(""));
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"]
    {
        command.env(name, &proxy);
    }
    let listed = command.env("TESSERA_API_TOKEN", &strong).output().unwrap();
    assert_eq!(json_of(&listed).as_array().unwrap().len(), 1);
    assert!(heard.try_recv().is_err(), "the proxy got the token");
}

#[test]
fn a_url_with_a_password_is_refused_and_not_shown() {
    for url in [
        "http://somebody:hush@127.0.0.1:1",
        "https://hush@id.invalid",
        "http://localhost@192.0.2.1/hush",
        "https://id.invalid/?token=hush",
        "https://id.invalid/#hush",
        "ftp://hush",
        "hush",
        "https:\\\\hush",
        "https://hush\n.invalid",
        "http://localhost./hush",
    ] {
        for arguments in [&["--url", url][..], &["--url", url, "--insecure"]] {
            let refused = asks(&[], arguments);
            let said = format!("{}{}", out(&refused), fault(&refused));
            assert_eq!(refused.status.code(), Some(1), "{url}: {said}");
            assert!(said.contains("TESSERA_URL must"), "{url}: {said}");
            assert!(!said.contains("hush") && !said.contains(TOKEN), "{url}: {said}");
        }
    }
}
