//! nginx, HAProxy and Caddy in front of Tessera, with the configurations of the guide.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::tls::Certificate;
use serde_json::json;
use tempfile::TempDir;

use super::{free_port, is_root};
use crate::once::{block, project};
use crate::support::{PASSWORD, Server, eventually};

const PAGE: &str = "docs/guide/proxies.md";

/// A proxy in a folder of its own.
pub(super) struct Proxy {
    process: Child,
    plain: u16,
    port: u16,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Each program ends its workers on SIGTERM.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.process.wait();
    }
}

/// The ports of a proxy, and the place of Tessera.
pub(super) struct Setting<'a> {
    folder: &'a Path,
    plain: u16,
    port: u16,
    upstream: &'a str,
}

impl Setting<'_> {
    /// Replaces parts of a configuration of the guide. Each must be there.
    fn adapt(&self, name: &str, parts: &[(&str, String)]) -> String {
        parts.iter().fold(block(PAGE, name), |text, (from, to)| {
            assert!(text.contains(from), "{name} has no {from}");
            text.replace(from, to)
        })
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn cert(&self) -> String {
        fixture("first.crt").display().to_string()
    }

    fn key(&self) -> String {
        fixture("first.key").display().to_string()
    }
}

fn fixture(name: &str) -> PathBuf {
    project().join("tests/it/support/tls").join(name)
}

pub(super) fn nginx(setting: &Setting<'_>) -> Command {
    let site = setting.adapt(
        "nginx",
        &[
            ("listen 443 ssl;", format!("listen 127.0.0.1:{} ssl;", setting.port)),
            ("listen 80;", format!("listen 127.0.0.1:{};", setting.plain)),
            ("/etc/ssl/id.example.com.crt", setting.cert()),
            ("/etc/ssl/private/id.example.com.key", setting.key()),
            ("server 127.0.0.1:8000;", format!("server {};", setting.upstream)),
        ],
    );
    let folder = setting.folder.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    // As root, its workers are another user otherwise, who cannot use the folder.
    let user = if is_root() { "user root;\n" } else { "" };
    let text = format!(
        "{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{paths}{site}}}\n"
    );
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(setting.file("nginx.conf", &text)).arg("-p").arg(setting.folder);
    command
}

pub(super) fn haproxy(setting: &Setting<'_>) -> Command {
    let pem = [setting.cert(), setting.key()].map(|path| std::fs::read_to_string(path).unwrap());
    let pem = setting.file("id.pem", &pem.concat());
    let text = setting.adapt(
        "haproxy",
        &[
            ("bind :80\n", format!("bind 127.0.0.1:{}\n", setting.plain)),
            ("bind :443", format!("bind 127.0.0.1:{}", setting.port)),
            ("/etc/haproxy/id.example.com.pem", pem.display().to_string()),
            ("server one 127.0.0.1:8000", format!("server one {}", setting.upstream)),
        ],
    );
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-f").arg(setting.file("haproxy.cfg", &text));
    command
}

pub(super) fn caddy(setting: &Setting<'_>) -> Command {
    let site = format!(
        "https://id.example.com:{} {{\n\ttls {} {}",
        setting.port,
        setting.cert(),
        setting.key()
    );
    let text = setting.adapt(
        "caddy",
        &[("id.example.com {", site), ("127.0.0.1:8000", setting.upstream.to_owned())],
    );
    let text = format!(
        "{{\n\tadmin off\n\thttp_port {}\n\thttps_port {}\n\tdefault_bind 127.0.0.1\n}}\n{text}",
        setting.plain, setting.port
    );
    let mut command = Command::new("/usr/bin/caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]);
    command.arg(setting.file("Caddyfile", &text)).env("HOME", setting.folder);
    command
}

pub(super) type Make = fn(&Setting<'_>) -> Command;

/// Starts a proxy in front of an address of Tessera.
pub(super) async fn start(make: Make, upstream: &str, ports: (u16, u16)) -> Proxy {
    let folder = tempfile::tempdir().unwrap();
    let (plain, port) = ports;
    let mut command = make(&Setting { folder: folder.path(), plain, port, upstream });
    let program = command.get_program().to_owned();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let process = command.stdout(Stdio::null()).stderr(log).spawn();
    let process =
        process.unwrap_or_else(|_| panic!("{program:?} is missing: run scripts/test --all"));
    let mut proxy = Proxy { process, plain, port, _folder: folder };
    eventually("the proxy listens", async || {
        if let Some(status) = proxy.process.try_wait().unwrap() {
            let log = std::fs::read_to_string(proxy._folder.path().join("log"));
            panic!("{program:?} ended: {status}: {}", log.unwrap());
        }
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    proxy
}

/// A caller with an address of its own, who trusts the authority of the tests.
pub(super) fn caller(port: u16, address: &str) -> reqwest::Client {
    let authority = std::fs::read(fixture("authority.crt")).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([Certificate::from_pem(&authority).unwrap()])
        .resolve("id.example.com", SocketAddr::from(([127, 0, 0, 1], port)))
        .local_address(address.parse::<IpAddr>().unwrap())
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// Checks what every proxy must do. `server` is behind the proxy.
async fn check(server: &Server, proxy: &Proxy) {
    let url = format!("https://id.example.com:{}", proxy.port);
    let root = server.superuser("root").await;
    let one = caller(proxy.port, "127.0.0.9");
    let health = format!("{url}/health/ready");
    eventually("the server answers through the proxy", async || {
        one.get(&health).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;

    // The address of the caller, who would prefer another one.
    let person = server.person("first").await;
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    let login = one.post(format!("{url}/auth/jwt/login")).header("x-forwarded-for", "6.6.6.6");
    let signed_in = login.form(&form).send().await.unwrap();
    assert_eq!(signed_in.status(), 200);
    let sessions = server.get("/auth/sessions?limit=1").bearer(&person.access).send().await;
    assert_eq!(sessions.json["items"][0]["ip"], "127.0.0.9");

    // URLs begin with https, and http is redirected there.
    let document = one.get(format!("{url}/.well-known/openid-configuration")).send().await.unwrap();
    let document: serde_json::Value = document.json().await.unwrap();
    assert_eq!(document["issuer"], url.as_str());
    let plain = caller(proxy.plain, "127.0.0.9");
    let place = format!("http://id.example.com:{}/login?next=%2Faccount", proxy.plain);
    let redirected = plain.get(place).send().await.unwrap();
    assert_eq!(redirected.status(), 308);
    let place = redirected.headers()["location"].to_str().unwrap();
    assert!(place.starts_with("https://id.example.com"), "{place}");
    assert!(place.ends_with("/login?next=%2Faccount"), "{place}");

    // A form of a page, with the origin of the page and its cookies.
    let page = one.get(format!("{url}/login")).header("accept", "text/html").send().await.unwrap();
    let cookie = page.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let html = page.text().await.unwrap();
    let csrf = html.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let fields = [("csrf", csrf), ("email", person.email.as_str()), ("password", PASSWORD)];
    let post = one.post(format!("{url}/login")).header("origin", &url).header("cookie", cookie);
    let signed_in = post.header("accept", "text/html").form(&fields).send().await.unwrap();
    assert_eq!(signed_in.status(), 303);

    // Bodies: what Tessera accepts passes, and nothing much larger.
    for (size, status) in [(60_000, 400), (70_000, 413)] {
        let body = json!({ "email": "second@user.com", "password": "x".repeat(size) });
        let answer = one.post(format!("{url}/auth/register")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{size}");
    }

    // A revocation arrives through the proxy, although the answer has no end.
    let token = server.service(&root, "reports", &["revocations:read"]).await;
    let stream = one.get(format!("{url}/auth/revocations/stream")).bearer_auth(token);
    let mut stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let begin = stream.chunk().await.unwrap().unwrap();
    assert!(!begin.is_empty());
    let next = server.login(&person.email, PASSWORD).await.expect_status(200);
    server.logout(&next.text("access_token")).await.expect_status(204);
    let mut text = String::new();
    while !text.contains("\"records\":\"A") {
        let part = stream.chunk().await.unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&part).unwrap());
    }
}

async fn every_proxy_does_this(make: Make) {
    let ports = (free_port(), free_port());
    let url = format!("https://id.example.com:{}", ports.1);
    let setup = Server::setup().set("PUBLIC_URL", url).set("TRUSTED_PROXIES", "127.0.0.1");
    let server = setup.start().await;
    let proxy = start(make, &server.address.to_string(), ports).await;
    check(&server, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_the_configuration_of_the_guide_passes_everything_on() {
    every_proxy_does_this(nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_with_the_configuration_of_the_guide_passes_everything_on() {
    every_proxy_does_this(haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_with_the_configuration_of_the_guide_passes_everything_on() {
    every_proxy_does_this(caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_everything_on_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("tessera.sock").display());
    let ports = (free_port(), free_port());
    let setup = Server::setup().set("PUBLIC_URL", format!("https://id.example.com:{}", ports.1));
    let setup = setup.set("TRUSTED_PROXIES", "unix").set("LISTEN", format!("127.0.0.1:0,{socket}"));
    let server = setup.start().await;
    let proxy = start(nginx, &socket, ports).await;
    check(&server, &proxy).await;
}
