//! nginx, Caddy and HAProxy with the configurations of the guide, between a browser and an application that knows nothing
//! of Tessera.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::free_port;
use crate::once::{block, project};
use crate::support::{PASSWORD, Person, Server, eventually};

const GUIDE: &str = "docs/guide/gateways.md";

/// An application that answers with the request as it came.
pub(super) async fn application() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut came = Vec::new();
                let mut buffer = [0; 4096];
                while !is_whole(&came) {
                    match stream.read(&mut buffer).await {
                        Ok(length) if length > 0 => came.extend_from_slice(&buffer[..length]),
                        _ => return,
                    }
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    came.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &came].concat()).await;
            });
        }
    });
    port
}

pub(super) fn is_whole(came: &[u8]) -> bool {
    let text = String::from_utf8_lossy(came).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}

impl Server {
    /// Lets a superuser say that an address belongs to its user.
    async fn prove_address(&self, root: &Person, person: &Person) {
        let (path, change) = (format!("/users/{}", person.id), json!({ "is_verified": true }));
        self.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
    }
}

/// A gateway of another program.
pub(super) struct Program {
    process: Child,
    folder: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A gateway, with the server and the application that it stands before.
struct Gateway {
    _program: Program,
    port: u16,
    server: Server,
    client: reqwest::Client,
}

/// Replaces parts of the guide's configuration that the reader replaces too. Each must be there.
fn adapted(text: &str, changes: &[(&str, String)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the guide has no {from}");
        text.replace(from, to)
    })
}

/// The ports of a scene: of the gateway, of Tessera and of the application.
pub(super) struct Ports {
    pub(super) gateway: u16,
    pub(super) server: u16,
    pub(super) app: u16,
}

impl Ports {
    /// The addresses in the guide.
    fn changes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("127.0.0.1:8080", format!("127.0.0.1:{}", self.app)),
            ("127.0.0.1:8000", format!("127.0.0.1:{}", self.server)),
        ]
    }

    /// The addresses, and the names of the cookies, which have no prefix without https.
    fn changes_and_cookies(&self) -> Vec<(&'static str, String)> {
        let cookies = ("(?:__Host-tessera)", "(?:tessera|site=)".to_owned());
        self.changes().into_iter().chain([cookies]).collect()
    }
}

pub(super) fn nginx(folder: &Path, ports: &Ports) -> Command {
    let mut changes = ports.changes_and_cookies();
    changes.push(("listen 443 ssl", format!("listen 127.0.0.1:{}", ports.gateway)));
    let guide = adapted(&block(GUIDE, "nginx"), &changes);
    let place = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {place}/{name};\n")).concat();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/errors;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{guide}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(folder.join("start"));
    command
}

pub(super) fn caddy(folder: &Path, ports: &Ports) -> Command {
    let mut changes = ports.changes_and_cookies();
    changes.push(("app.example.com {", format!("http://127.0.0.1:{} {{", ports.gateway)));
    let guide = adapted(&block(GUIDE, "caddy"), &changes);
    let file = folder.join("Caddyfile");
    std::fs::write(&file, format!("{{\n\tadmin off\n}}\n{guide}\n")).unwrap();
    let mut command = Command::new("/usr/bin/caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

pub(super) fn haproxy(folder: &Path, ports: &Ports) -> Command {
    let script = folder.join("tessera.lua");
    let program = [
        ("127.0.0.1:8000", format!("127.0.0.1:{}", ports.server)),
        ("{ \"__Host-tessera\" }", "{ \"tessera\", \"site=\" }".to_owned()),
        // A busy machine can answer later than a gateway should wait.
        ("timeout = 2000", "timeout = 10000".to_owned()),
    ];
    std::fs::write(&script, adapted(&block(GUIDE, "haproxy.lua"), &program)).unwrap();
    let mut changes = ports.changes();
    let bind = "bind :443 ssl crt /etc/haproxy/app.example.com.pem";
    changes.push((bind, format!("bind 127.0.0.1:{}", ports.gateway)));
    changes.push(("/etc/haproxy/tessera.lua", script.display().to_string()));
    let guide = adapted(&block(GUIDE, "haproxy"), &changes);
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, format!("{guide}\n")).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

/// HAProxy whose program fails at each request.
fn failing_haproxy(folder: &Path, ports: &Ports) -> Command {
    let command = haproxy(folder, ports);
    let script = folder.join("tessera.lua");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, format!("core.httpclient = nil\n{text}")).unwrap();
    command
}

impl Program {
    /// Starts a gateway, and waits until it listens.
    pub(super) async fn start(make: fn(&Path, &Ports) -> Command, ports: &Ports) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = make(folder.path(), ports);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/test --all"));
        let mut program = Self { process, folder };
        eventually("the gateway listens", async || {
            if let Some(status) = program.process.try_wait().unwrap() {
                let log = std::fs::read_to_string(program.folder.path().join("log")).unwrap();
                panic!("{command:?} ended: {status}\n{log}");
            }
            tokio::net::TcpStream::connect(("127.0.0.1", ports.gateway)).await.is_ok()
        })
        .await;
        program
    }
}

impl Gateway {
    async fn start(program: fn(&Path, &Ports) -> Command) -> Self {
        let ports = Ports { gateway: free_port(), server: free_port(), app: application().await };
        let server = Server::setup()
            .set("PORT", ports.server)
            .set("TRUSTED_PROXIES", "127.0.0.1")
            .set("FORWARD_HOSTS", format!("http://127.0.0.1:{}", ports.gateway))
            .set("COOKIE_NAME", "site")
            .start()
            .await;
        let program = Program::start(program, &ports).await;
        let none = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().redirect(none).build().unwrap();
        Self { _program: program, port: ports.gateway, server, client }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }
}

/// The headers that an application reads as those of the gateway. Some frameworks make no difference between a hyphen and
/// an underscore.
fn seen(came: &str) -> Vec<(String, String)> {
    let (head, _) = came.split_once("\r\n\r\n").unwrap();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let lines = lines.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let mut found: Vec<_> =
        lines.filter(|(name, _)| name.replace('_', "-").starts_with("x-auth-")).collect();
    found.sort();
    found
}

fn expected(id: &str, email: &str, verified: &str, scopes: &str) -> Vec<(String, String)> {
    let values = [
        ("x-auth-email", email),
        ("x-auth-email-verified", verified),
        ("x-auth-scopes", scopes),
        ("x-auth-user", id),
    ];
    // A header without a value may be left out.
    let values = values.into_iter().filter(|(_, value)| !value.is_empty());
    values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn without_empty(found: Vec<(String, String)>) -> Vec<(String, String)> {
    found.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// The cookies of a request.
fn cookies(came: &str) -> Vec<&str> {
    let (head, _) = came.split_once("\r\n\r\n").unwrap();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let lines = lines.filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let cookies = lines.flat_map(|(_, value)| value.split(';')).map(str::trim);
    cookies.filter(|cookie| !cookie.is_empty()).collect()
}

/// Cookies of a caller, and those of them that the application gets.
const COOKIES: [(&str, &[&str]); 8] = [
    ("a=1; b=2", &["a=1", "b=2"]),
    ("tessera_forward=x", &[]),
    ("xtessera_forward=1; tessera_forward=x; b=2", &["xtessera_forward=1", "b=2"]),
    ("a=1; tessera_forward=x", &["a=1"]),
    ("tessera_forward=x;tessera_state=y;a=1", &["a=1"]),
    ("a=tessera_forward=2; tessera_forward=x;; b=2;", &["a=tessera_forward=2", "b=2"]),
    (
        "a=1; tessera=x; tessera-csrf=x; b=2; tessera-browser=x;\ttessera_forward=x;site=x; mysite=3",
        &["a=1", "b=2", "mysite=3"],
    ),
    ("tessera_forward=x; tessera_forward=y; tessera_forward=z", &[]),
];

async fn an_application_gets_no_credentials(gateway: &Gateway, person: &Person, service: &str) {
    let about = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    for name in ["authorization", "x-api-key", "token"] {
        let value = match name {
            "authorization" => format!("Bearer {}", person.access),
            _ => service.to_owned(),
        };
        let came = about(gateway.get("/").header(name, &value)).await.to_lowercase();
        assert!(!came.contains(&format!("\n{name}:")), "{name}: {came}");
        assert!(!came.contains(&value.to_lowercase()), "{name}: {came}");
    }
    for (given, kept) in COOKIES {
        let came = about(gateway.get("/").bearer_auth(service).header("cookie", given)).await;
        assert_eq!(cookies(&came), kept, "{given}: {came}");
    }
    let many = format!("{}a=1", "tessera_forward=x; ".repeat(20));
    let came = about(gateway.get("/").bearer_auth(service).header("cookie", many)).await;
    assert!(!came.contains("tessera_forward"), "{came}");
}

/// Headers with which a caller could claim to be somebody else.
const CLAIMS: [&str; 12] = [
    "X-Auth-User",
    "X_Auth_User",
    "X-Auth_User",
    "X_Auth-User",
    "x_auth_email",
    "X-Auth-Email",
    "X-Auth_Email",
    "X-Auth-Email-Verified",
    "X-Auth-Email_Verified",
    "X_AUTH_EMAIL_VERIFIED",
    "X-Auth-Scopes",
    "X_Auth_Scopes",
];

async fn a_gateway_passes_on_users_and_nobody_else(program: fn(&Path, &Ports) -> Command) {
    let gateway = Gateway::start(program).await;
    let server = &gateway.server;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let service = server.service(&root, "reports", &["tokens:check"]).await;

    let refused = gateway.get("/a").send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["www-authenticate"]),
        (401, &"Bearer".parse().unwrap())
    );
    let refused = gateway.get("/a").bearer_auth("x").send().await.unwrap();
    assert_eq!(refused.status(), 401);

    let verified = server.person("second").await;
    server.prove_address(&root, &verified).await;
    let owner = expected(&verified.id, &verified.email, "true", "authenticated");
    // Nobody has proved this address, so the caller could claim one.
    let own = expected(&person.id, "", "false", "authenticated");
    let came = gateway.get("/a?b=c").bearer_auth(&person.access).send().await.unwrap();
    let came = came.text().await.unwrap();
    assert!(came.starts_with("GET /a?b=c HTTP/1."), "{came}");
    assert_eq!(without_empty(seen(&came)), own, "{came}");
    let body = "x".repeat(20_000);
    let sent = gateway.client.post(gateway.url("/a")).bearer_auth(&person.access);
    let came = sent.body(body.clone()).send().await.unwrap().text().await.unwrap();
    assert!(came.starts_with("POST /a HTTP/1.") && came.ends_with(&body));

    // A caller cannot say who they are, not even where the gateway has nothing to say.
    let [user, ..] =
        &seen(&gateway.get("/").bearer_auth(&service).send().await.unwrap().text().await.unwrap())
            .into_iter()
            .filter(|(name, _)| name == "x-auth-user")
            .map(|(_, id)| id)
            .collect::<Vec<_>>()[..]
    else {
        panic!("no user");
    };
    let services = expected(user, "", "", "tokens:check");
    an_application_gets_no_credentials(&gateway, &person, &service).await;
    let callers = [(&person.access, &own), (&verified.access, &owner), (&service, &services)];
    for (token, honest) in callers {
        for name in CLAIMS {
            let asked = gateway.get("/").bearer_auth(token).header(name, &root.id);
            let came = asked.send().await.unwrap().text().await.unwrap();
            assert_eq!(without_empty(seen(&came)), *honest, "{name}: {came}");
        }
    }
    for (name, value) in [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Original-URL", "https://evil.example/"),
        ("X-Forwarded-Uri", "//evil.example/"),
        ("X-Forwarded-Proto", "ftp"),
        ("X-Forwarded-Method", "POST"),
        ("X-Original-Method", "POST"),
    ] {
        let asked = gateway.get("/a").header("accept", "text/html").header(name, value);
        let led = asked.send().await.unwrap();
        let location =
            led.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        let location = location.unwrap_or_default();
        assert!(!location.contains("evil"), "{name}: {location}");
        assert_eq!(led.status(), 302, "{name}");
    }

    server.logout(&person.access).await.expect_status(204);
    let refused = gateway.get("/a").bearer_auth(&person.access).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    // Without Tessera nobody passes.
    server.freeze();
    let away = gateway.get("/a").bearer_auth(&service).timeout(std::time::Duration::from_secs(90));
    let status = away.send().await.unwrap().status().as_u16();
    server.thaw();
    assert!(status >= 500, "{status}");
    eventually("Tessera answers again", async || {
        gateway.get("/a").bearer_auth(&service).send().await.unwrap().status() == 200
    })
    .await;
}

/// A browser with the cookies of two hosts.
struct Visitor<'a> {
    gateway: &'a Gateway,
    here: BTreeMap<String, String>,
    there: BTreeMap<String, String>,
}

impl Visitor<'_> {
    /// Opens a page at the host that it is on, and returns the answer.
    async fn opens(&mut self, url: &str) -> reqwest::Response {
        let is_app = url.starts_with(&self.gateway.url(""));
        let request = self.gateway.client.get(url).header("accept", "text/html");
        self.sends(request, is_app).await
    }

    async fn sends(&mut self, request: reqwest::RequestBuilder, is_app: bool) -> reqwest::Response {
        let jar = if is_app { &mut self.there } else { &mut self.here };
        let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", pairs.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            jar.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    /// Follows redirects from a URL, and returns the last one and its answer.
    async fn goes(&mut self, url: &str) -> (String, reqwest::Response) {
        let mut url = url.to_owned();
        for _ in 0..8 {
            let answer = self.opens(&url).await;
            let Some(location) = answer.headers().get("location") else { return (url, answer) };
            let base = reqwest::Url::parse(&url).unwrap();
            url = base.join(location.to_str().unwrap()).unwrap().to_string();
        }
        panic!("too many redirects: {url}");
    }
}

async fn only_own_pages_change_something(visitor: &mut Visitor<'_>) {
    let (client, url) = (visitor.gateway.client.clone(), visitor.gateway.url("/"));
    let own = url.trim_end_matches('/').to_owned();
    let foreign = visitor.gateway.server.url("");
    for (origin, status) in [(&*own, 200), (&*foreign, 403), ("https://evil.example", 403)] {
        let handshake = client.get(&url).header("upgrade", "websocket");
        let handshake =
            handshake.header("connection", "Upgrade").header("sec-websocket-version", "13");
        let requests = [
            client.post(&url),
            handshake.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            client.get(&url).header("sec-fetch-mode", "websocket"),
        ];
        for (place, request) in requests.into_iter().enumerate() {
            let answer = visitor.sends(request.header("origin", origin), true).await;
            assert_eq!(answer.status(), status, "{origin} {place}");
        }
    }
}

async fn a_browser_signs_in_and_out(program: fn(&Path, &Ports) -> Command) {
    let gateway = Gateway::start(program).await;
    let server = &gateway.server;
    let person = server.person("first").await;
    let mut visitor = Visitor { gateway: &gateway, here: BTreeMap::new(), there: BTreeMap::new() };
    visitor.there.insert("own".to_owned(), "kept".to_owned());
    let page = gateway.url("/reports?a=1&b=%20");
    let (login, answer) = visitor.goes(&page).await;
    assert!(login.contains("/login?next="), "{login}");
    let form = answer.text().await.unwrap();
    let field = |name: &str| {
        let (_, rest) = form.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#x2f;", "/")
    };
    let next = reqwest::Url::parse(&login).unwrap();
    let next = next.query_pairs().find(|(name, _)| name == "next").unwrap().1.into_owned();
    let fields = [
        ("email", person.email.clone()),
        ("password", PASSWORD.to_owned()),
        ("next", next),
        ("csrf", field("csrf")),
    ];
    let post = gateway.client.post(login.split('?').next().unwrap()).form(&fields);
    let answer = visitor.sends(post, false).await;
    assert_eq!(answer.status(), 303);
    let place = answer.headers()["location"].to_str().unwrap();
    let place = reqwest::Url::parse(&login).unwrap().join(place).unwrap().to_string();
    let (end, answer) = visitor.goes(&place).await;
    assert_eq!((end, answer.status().as_u16()), (page.clone(), 200));
    let came = answer.text().await.unwrap();
    assert!(came.starts_with("GET /reports?a=1&b=%20 HTTP/1."), "{came}");
    let own = expected(&person.id, "", "false", "authenticated");
    assert_eq!(without_empty(seen(&came)), own);
    // The application gets its own cookies alone.
    assert!(came.contains("own=kept") && !came.contains("tessera_forward"), "{came}");
    assert_eq!(visitor.opens(&page).await.status(), 200);
    only_own_pages_change_something(&mut visitor).await;

    let sessions = server.get("/auth/sessions").bearer(&person.access).send().await;
    let items = sessions.expect_status(200).json["items"].as_array().unwrap().clone();
    let browser = items.iter().find(|item| item["current"] != json!(true)).unwrap();
    let path = format!("/auth/sessions/{}", browser["id"].as_str().unwrap());
    server.request("DELETE", &path).bearer(&person.access).send().await.expect_status(204);
    let (end, _) = visitor.goes(&page).await;
    assert!(end.contains("/login?next="), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_on_users_and_nobody_else() {
    a_gateway_passes_on_users_and_nobody_else(nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_passes_on_users_and_nobody_else() {
    a_gateway_passes_on_users_and_nobody_else(caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_passes_on_users_and_nobody_else() {
    a_gateway_passes_on_users_and_nobody_else(haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_passes_haproxy_if_its_program_fails() {
    let gateway = Gateway::start(failing_haproxy).await;
    let person = gateway.server.person("first").await;
    for request in [gateway.get("/"), gateway.get("/").bearer_auth(&person.access)] {
        let refused = request.send().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert!(!refused.text().await.unwrap().contains("GET /"));
    }
    let callback = gateway.get("/.tessera/callback?to=/").send().await.unwrap();
    assert_eq!(callback.status(), 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_out_behind_nginx() {
    a_browser_signs_in_and_out(nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_out_behind_caddy() {
    a_browser_signs_in_and_out(caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_out_behind_haproxy() {
    a_browser_signs_in_and_out(haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_nginx_greets_signed_in_users_after_one_command() {
    let (port, server_port) = (free_port(), free_port());
    let server = Server::setup()
        .set("PORT", server_port)
        .set("TRUSTED_PROXIES", "127.0.0.1")
        .set("FORWARD_HOSTS", format!("http://localhost:{port}"))
        .start()
        .await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    server.prove_address(&root, &person).await;
    let mut command = Command::new(project().join("examples/run"));
    command.arg("nginx").env("PORT", port.to_string());
    command.env("TESSERA_ISSUER", format!("http://localhost:{server_port}"));
    let service = super::guards::Service::start(&mut command, port).await;
    assert_eq!(service.status("/", None).await, 401);
    let url = format!("http://127.0.0.1:{port}/");
    let asked = reqwest::Client::new().get(url).bearer_auth(&person.access);
    let said = asked.send().await.unwrap().text().await.unwrap();
    assert_eq!(said, format!("Hello, {} ({})\n", person.email, person.id));
    server.logout(&person.access).await.expect_status(204);
    assert_eq!(service.status("/", Some(&person.access)).await, 401);
}
