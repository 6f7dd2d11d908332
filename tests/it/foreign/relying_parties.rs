//! Applications of other people's code that sign their people in, unmodified, in a real browser.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{free_port, is_root, node_folder, node_program};
use crate::once::{block, project, read, run, text, tool};
use crate::support::{PASSWORD, Server, command, eventually};
use crate::terminal::{json_of, out, tessera};

/// An application that runs on a port of this machine.
pub(super) struct App(Child);

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl App {
    pub(super) async fn start(mut command: Command, port: u16) -> Self {
        let mut app = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        eventually(&format!("{command:?} answers"), async || {
            if let Some(status) = app.0.try_wait().unwrap() {
                panic!("{command:?} ended: {status}");
            }
            reqwest::get(format!("http://localhost:{port}/")).await.is_ok()
        })
        .await;
        app
    }
}

/// A server at its URL, with a user.
async fn server() -> Server {
    let server = Server::setup().set("PORT", free_port()).start().await;
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    server
}

fn issuer(server: &Server) -> String {
    format!("http://localhost:{}", server.address.port())
}

/// Registers an application with a command. Returns its secret.
fn register(server: &Server, id: &str, redirect: &str, options: &[&str]) -> String {
    let arguments = ["client", "create", id, "--redirect", redirect, "--output", "json"];
    let made = json_of(&tessera(server, &[&arguments[..], options].concat()));
    made["client_secret"].as_str().unwrap_or_default().to_owned()
}

/// Signs in to an application in a browser. Returns whether it asked for consent, and what the application shows.
fn sign_in(port: u16, path: &str) -> (bool, String) {
    let output = run(Command::new(tool("python"))
        .arg(project().join("tests/browser/relying_party.py"))
        .args([&format!("http://localhost:{port}{path}"), "ada@user.com", PASSWORD]));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let said = text(&output.stdout);
    let (asked, shown) = said.split_once('\n').unwrap();
    (asked == "asked", shown.trim().to_owned())
}

fn shown(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_with_openid_client_signs_people_in_and_refreshes_and_revokes() {
    let (server, port) = (server().await, free_port());
    let redirect = format!("http://localhost:{port}/callback");
    let secret =
        register(&server, "shop", &redirect, &["--scope", "openid,email,profile,offline_access"]);
    let mut command = Command::new("node");
    let file = node_program(&read("tests/relying_parties/openid_client.mjs"));
    command.arg(file.path()).args([&issuer(&server), "shop", &secret, &port.to_string()]);
    let _app = App::start(command, port).await;
    let (asked, seen) = sign_in(port, "/sign-in");
    assert!(asked, "an application that is not trusted asks for consent");
    let expected = json!({
        "email": "ada@user.com", "sub": true, "refreshed": true, "active": true, "ended": false,
        "own": "unauthorized_client",
    });
    assert_eq!(shown(&seen), expected);
    assert!(!sign_in(port, "/sign-in").0, "consent is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_application_of_the_guide_signs_people_in_after_three_commands() {
    const GUIDE: &str = "docs/guide/applications.md";
    let commands = block(GUIDE, "first application");
    let [serve, create, run] = commands.lines().collect::<Vec<_>>()[..] else {
        panic!("{commands}");
    };
    // Other servers use the ports of the guide.
    let (server, port) = (server().await, free_port());
    assert_eq!(serve, "tessera serve --dev");
    let create = create.replace(":5000", &format!(":{port}"));
    let arguments: Vec<_> = create.split(' ').skip(1).chain(["--output", "json"]).collect();
    let made = json_of(&tessera(&server, &arguments));
    let folder = tempfile::tempdir().unwrap();
    let app = block("docs/guide/applications.md", "shop")
        .replace("http://localhost:8000", &issuer(&server));
    std::fs::write(folder.path().join("shop.py"), app).unwrap();
    let run = run.strip_prefix("CLIENT_SECRET=\u{2026} flask ").unwrap();
    let mut command = Command::new(tool("flask"));
    command.current_dir(folder.path()).args(run.split(' ')).arg(format!("--port={port}"));
    command.env("CLIENT_SECRET", made["client_secret"].as_str().unwrap());
    let _app = App::start(command, port).await;
    assert_eq!(sign_in(port, "/"), (true, "Hello, ada@user.com".to_owned()));
    assert!(!sign_in(port, "/").0, "consent is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_oidc_client_ts_signs_people_in_without_a_secret() {
    let (server, port) = (server().await, free_port());
    let redirect = format!("http://localhost:{port}/callback");
    let options = ["--public", "--scope", "openid,email,offline_access"];
    assert_eq!(register(&server, "page", &redirect, &options), "");
    let mut command = Command::new("node");
    command.current_dir(node_folder());
    command.arg(project().join("tests/relying_parties/oidc_client_ts.mjs"));
    command.args([&issuer(&server), "page", &port.to_string()]);
    let _app = App::start(command, port).await;
    let (asked, seen) = sign_in(port, "/sign-in");
    assert!(asked);
    assert_eq!(shown(&seen), json!({ "email": "ada@user.com", "refreshed": true }));
}

/// The printed configuration is used as it is, except for the passphrase, which it tells the reader to make.
#[tokio::test(flavor = "multi_thread")]
async fn apache_with_mod_auth_openidc_signs_people_in_with_the_configuration_of_its_preset() {
    let (server, port) = (server().await, free_port());
    let app = format!("http://localhost:{port}");
    let arguments = ["client", "create", "site", "--preset", "mod_auth_openidc", "--app", &app];
    let mut create = command(server.folder());
    create.args(arguments).env("DATABASE_URL", server.database.url());
    let create = create.env("PUBLIC_URL", issuer(&server));
    let printed = out(&run(create));
    let (_, preset) = printed.split_once("# Apache\n").unwrap_or_else(|| panic!("{printed}"));
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(
        site.join("index.html"),
        "<p id=\"signed-in\"><!--#echo var=\"REMOTE_USER\" --></p>",
    )
    .unwrap();
    for open in [folder.path(), &site] {
        open_to_all(open);
    }
    let file = folder.path().join("apache.conf");
    std::fs::write(&file, apache(folder.path(), &site, port) + preset).unwrap();
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-f").arg(&file).arg("-DFOREGROUND");
    let _app = App::start(command, port).await;
    let (_, seen) = sign_in(port, "/index.html");
    assert_eq!(seen, "ada@user.com");
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The part of Apache's configuration that is not about signing in.
fn apache(folder: &Path, site: &Path, port: u16) -> String {
    let modules = [
        "mpm_event",
        "authn_core",
        "authz_core",
        "authz_user",
        "include",
        "filter",
        "mime",
        "auth_openidc",
    ];
    let modules = modules
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let (folder, site) = (folder.display(), site.display());
    let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
    format!(
        "{}{user}ServerName localhost\nListen 127.0.0.1:{port}\nPidFile {folder}/pid\nErrorLog /dev/stderr\n\
         DefaultRuntimeDir {folder}\nDocumentRoot {site}\nTypesConfig /dev/null\nAddType text/html .html\nAddOutputFilter INCLUDES .html\n\
         <Directory {site}>\nOptions +Includes\n</Directory>\n",
        modules.concat()
    )
}
