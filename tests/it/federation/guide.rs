//! The page of the guide about other providers: its entries start a server, and it names every member and check.

use serde_json::{Value, json};

use super::tessera;
use crate::once::{block, read};
use crate::support::{Browser, SECRET, Server};
use crate::terminal::json_of;

pub(crate) const PAGE: &str = "docs/guide/upstreams.md";

/// The entries of the page, with the names that they get.
const ENTRIES: [(&str, &str); 8] = [
    ("google", "google"),
    ("github", "github"),
    ("entra", "entra"),
    ("okta", "okta"),
    ("keycloak", "keycloak"),
    ("authentik", "authentik"),
    ("oidc", "corp"),
    ("tessera", "head"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_entries_of_the_guide_start_a_server_and_their_redirect_uris_are_right() {
    let entries = ENTRIES.map(|(entry, _)| block(PAGE, &format!("entry {entry}"))).concat();
    // The folder of secrets is the one of the server.
    let entries = entries.replace("/run/secrets/", "secret-of-");
    let mut setup = Server::setup().file("upstreams.yaml", &entries);
    for (_, name) in ENTRIES {
        setup = setup.file(&format!("secret-of-{name}"), "a secret\n");
    }
    let setup = setup.set("UPSTREAMS_FILE", "upstreams.yaml").set("CORP_SECRET", "a secret");
    let server = setup.set("PUBLIC_URL", "https://id.example.com").start().await;
    let mut list = server.beside();
    list.args(["upstream", "list", "--output", "json"]).env("UPSTREAMS_FILE", "upstreams.yaml");
    list.env("CORP_SECRET", "a secret").env("PUBLIC_URL", "https://id.example.com");
    let listed = json_of(&list.output().unwrap());
    let login = Browser::of(&server).open("/login").await.expect_status(200);
    let page = read(PAGE);
    for (place, (entry, name)) in ENTRIES.into_iter().enumerate() {
        let uri = &listed[place]["redirect_uri"];
        assert_eq!(uri, &json!(format!("https://id.example.com/login/with/{name}/callback")));
        assert!(page.contains(uri.as_str().unwrap()), "{uri} is not in the guide");
        assert_eq!(listed[place]["name"], name);
        if entry == name {
            assert_eq!(listed[place]["preset"], entry);
        }
        assert!(login.body.contains(&format!("login/with/{name}")), "no button for {name}");
    }
}

#[test]
fn the_guide_explains_every_member_of_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upstreams.yaml");
    std::fs::write(&file, "- {typo: 1}").unwrap();
    let settings = [("APP_SECRET", SECRET), ("UPSTREAMS_FILE", file.to_str().unwrap())];
    let said = crate::once::start::refused(folder.path(), &settings, &[]);
    let (_, members) = said.split_once("expected one of ").unwrap_or_else(|| panic!("{said}"));
    let members: Vec<_> = members.split('`').skip(1).step_by(2).collect();
    assert!(members.len() > 20, "{members:?}");
    let page = read(PAGE);
    let (_, table) = page.split_once("## Members of an entry").unwrap();
    let table = table.split("\n## ").next().unwrap();
    for member in members {
        assert!(table.contains(&format!("`{member}`")), "the guide does not explain {member}");
    }
}

#[test]
fn the_checks_that_the_guide_names_exist() {
    let page = read(PAGE);
    let (_, table) = page.split_once("| check | usual reason |").unwrap();
    let folder = "api/src/federation";
    let sources = crate::once::sources(folder).into_iter().map(|(_, source)| source);
    let sources = sources.collect::<Vec<_>>().concat();
    let rows = table.split("\n\n").next().unwrap().lines().filter(|row| row.starts_with("| `"));
    let mut count = 0;
    for name in rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)) {
        let begin = name.trim_end_matches('…');
        assert!(sources.contains(&format!("\"{begin}")), "there is no check {name}");
        count += 1;
    }
    assert!(count > 9, "{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_guide_run() {
    let (_upstream, server) = super::corp(&json!({})).await;
    let command = |name: &str| block(PAGE, name).trim().to_owned();
    let check = command("check");
    let arguments: Vec<_> = check.split(' ').skip(1).collect();
    assert!(tessera(&server, &arguments).status.success(), "{check}");
    let page = Browser::of(&server).open("/login/with/corp/callback").await;
    let reference = super::reference(&page);
    super::check_with(&server, &reference).await;
    let explain = command("explain").replace("REFERENCE", &reference);
    let arguments: Vec<_> = explain.split(' ').skip(1).chain(["--output", "json"]).collect();
    let explained: Value = json_of(&tessera(&server, &arguments));
    assert_eq!(explained[0]["name"], "parameters.malformed", "{explained}");
}
