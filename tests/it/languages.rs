//! The language of users: who sets it, and what is in it.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Browser, PASSWORD, Server};

/// The title of the account page in each language.
const TITLES: [(&str, &str); 2] = [("en", "Your account"), ("de", "Ihr Konto")];

async fn assert_page(browser: &mut Browser<'_>, language: &str) {
    let page = browser.open("/account").await.expect_status(200);
    assert_eq!(page.header("content-language"), language);
    let (_, title) = TITLES.iter().find(|(tag, _)| *tag == language).unwrap();
    assert!(page.body.contains(title), "{}", page.body);
}

#[tokio::test]
async fn a_user_sets_their_language_and_gets_pages_and_mails_in_it() {
    let server = Server::start().await;
    let person = server.person("first").await;
    assert!(server.me(&person.access).await.json.get("language").is_none());
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    assert_page(&mut browser, "en").await;

    let form =
        [("act", "profile"), ("name", ""), ("surname", ""), ("website", ""), ("language", "de")];
    let saved = browser.press_and_follow("/account", &form).await.expect_status(200);
    // The result of the form is in the new language, too.
    assert!(saved.body.contains("Gespeichert"), "{}", saved.body);
    assert!(saved.body.contains("<option value=\"de\" lang=\"de\" selected>Deutsch</option>"));
    assert_page(&mut browser, "de").await;
    assert_eq!(server.me(&person.access).await.text("language"), "de");
    let refused = browser.open("/admin").await.expect_status(403);
    assert!(refused.body.contains("Sie haben keinen Zugriff"), "{}", refused.body);

    server.post("/auth/forgot-password").json(&json!({ "email": person.email })).send().await;
    let letter = server.letter(&person.email, "Passwort", 1).await;
    assert_eq!(letter.subject, "Wählen Sie ein neues Passwort");
    assert!(letter.text.contains("innerhalb von 1 Stunde") && letter.html.contains("lang=\"de\""));
    assert!(letter.path().starts_with("/reset-password?token="), "{}", letter.text);

    // A form of an earlier version has no language, and keeps it.
    let old = [("act", "profile"), ("name", "Ada"), ("surname", ""), ("website", "")];
    browser.press_and_follow("/account", &old).await.expect_status(200);
    assert_page(&mut browser, "de").await;
    let none = [("act", "profile"), ("name", "Ada"), ("language", "")];
    browser.press_and_follow("/account", &none).await.expect_status(200);
    assert_page(&mut browser, "en").await;
    let wrong = [("act", "profile"), ("name", "Ada"), ("language", "not a language")];
    let refused = browser.press("/account", &wrong).await.expect_status(422);
    assert!(refused.body.contains("Choose a language from the list"), "{}", refused.body);
}

#[tokio::test]
async fn a_language_is_the_same_at_every_operation_and_others_are_refused() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let register = json!({ "email": "a@user.com", "password": PASSWORD, "language": "pt_br" });
    let user = server.post("/auth/register").json(&register).send().await.expect_status(201);
    assert_eq!(user.text("language"), "pt-BR");
    let (access, _) = server.sign_in("a@user.com", PASSWORD).await;
    for (language, kept) in [
        (json!("de"), json!("de")),
        (json!("DE-at"), json!("de-AT")),
        (json!(null), Value::Null),
        (json!("fr"), json!("fr")),
        (json!(""), Value::Null),
    ] {
        let body = json!({ "language": language });
        let changed = server.change_me(&access, &body).await.expect_status(200);
        assert_eq!(changed.json["language"], kept, "{language}");
        server.change_me(&access, &json!({ "name": "Ada" })).await.expect_status(200);
        assert_eq!(server.me(&access).await.json["language"], kept, "{language}");
    }
    let path = format!("/users/{}", user.text("id"));
    let change = async |language: Value| {
        let body = json!({ "language": language });
        server.patch(&path).bearer(&root.access).json(&body).send().await
    };
    assert_eq!(change(json!("de")).await.expect_status(200).text("language"), "de");
    for wrong in
        [json!("german"), json!("d"), json!("de;q=1"), json!("../de"), json!(7), json!(["de"])]
    {
        change(wrong.clone()).await.expect_status(422);
        server.change_me(&access, &json!({ "language": wrong })).await.expect_status(422);
        let body = json!({ "email": "b@user.com", "password": PASSWORD, "language": wrong });
        server.post("/auth/register").json(&body).send().await.expect_status(422);
        server.create_user(&root.access, &body).await.expect_status(422);
    }
    let export = server.post("/users/me/export").bearer(&access).send().await.expect_status(200);
    assert_eq!(export.json["user"]["language"], "de");
    let table = server.post("/users/export").bearer(&root.access).send().await.expect_status(200);
    assert!(table.body.starts_with("id,email,name,surname,website,language,"), "{}", table.body);
    assert!(table.body.contains(",a@user.com,Ada,,,de,"), "{}", table.body);
    // An empty profile has no row.
    server.change_me(&access, &json!({ "language": null, "name": "" })).await.expect_status(200);
    assert_eq!(server.database.count("profile").await, 0);
}

#[tokio::test]
async fn administrators_choose_the_language_of_new_and_known_users() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let page = "/admin/users";
    browser.open(page).await.expect_status(200);
    let invite = [("act", "invite"), ("email", "invited@user.com"), ("language", "de")];
    browser.press_and_follow(page, &invite).await.expect_status(200);
    let letter = server.letter("invited@user.com", "", 1).await;
    assert_eq!(letter.subject, "Einladung zu Tessera");
    assert!(letter.text.contains("root@user.com lädt Sie zu Tessera ein"), "{}", letter.text);
    let user = server.accept(&letter.token(), PASSWORD).await.expect_status(201);
    assert_eq!(user.text("language"), "de");

    let own = format!("/admin/users/{}", user.text("id"));
    browser.open(&own).await.expect_status(200);
    let form = |was: &'static str, is: &'static str| {
        let same = "invited@user.com";
        [
            ("act", "profile"),
            ("was_email", same),
            ("email", same),
            ("was_language", was),
            ("language", is),
        ]
    };
    browser.press_and_follow(&own, &form("de", "")).await.expect_status(200);
    let read = async || {
        server.get(&format!("/users/{}", user.text("id"))).bearer(&root.access).send().await
    };
    assert!(read().await.json.get("language").is_none());
    browser.press_and_follow(&own, &form("", "de")).await.expect_status(200);
    // A form that was loaded earlier changes only what was changed in it.
    browser.press_and_follow(&own, &form("en", "en")).await.expect_status(200);
    assert_eq!(read().await.text("language"), "de");

    let body = json!({ "email": "made@user.com", "language": "de", "is_verified": false, "password": PASSWORD });
    server.create_user(&root.access, &body).await.expect_status(201);
    let letter = server.letter("made@user.com", "", 1).await;
    assert_eq!(letter.subject, "Bestätigen Sie Ihre E-Mail-Adresse");
    let body = json!({ "email": "api@user.com", "language": "de" });
    let invited = server.create_user(&root.access, &body).await.expect_status(202);
    assert_eq!(invited.text("language"), "de");
    assert_eq!(server.letter("api@user.com", "Einladung", 1).await.subject, "Einladung zu Tessera");
}

#[tokio::test]
async fn people_who_register_on_a_german_page_get_german_mails() {
    let server = Server::start().await;
    let mut browser = Browser::of(&server);
    browser.language = "de-CH, en;q=0.5".to_owned();
    browser.open("/register").await.expect_status(200);
    let form = [("email", "neu@user.com"), ("password", PASSWORD)];
    browser.press("/register", &form).await.expect_status(201);
    let letter = server.letter("neu@user.com", "", 1).await;
    assert_eq!(letter.subject, "Bestätigen Sie Ihre E-Mail-Adresse");
    let stored = server.database.column::<String>("select language from profile").await;
    assert_eq!(stored, ["de"]);
}

#[tokio::test]
async fn operators_set_the_language_at_the_terminal() {
    let server = Server::start().await;
    let password = format!("{PASSWORD}\n");
    let create = ["user", "create", "a@user.com", "--language", "de_DE", "--name", "Ada"];
    server.operate(&create, &password);
    let shown: Value = serde_json::from_str(
        &server.operate(&["user", "show", "a@user.com", "--output", "json"], ""),
    )
    .unwrap();
    assert_eq!((&shown["language"], &shown["name"]), (&json!("de-DE"), &json!("Ada")));
    let update =
        ["user", "update", "a@user.com", "--language", "fr", "--name", "", "--email", "b@user.com"];
    let told = server.operate(&update, "");
    assert!(told.contains("b@user.com is changed"), "{told}");
    let shown: Value = serde_json::from_str(
        &server.operate(&["user", "show", "b@user.com", "--output", "json"], ""),
    )
    .unwrap();
    assert_eq!((&shown["language"], shown.get("name")), (&json!("fr"), None));
    for (wrong, words) in [
        (vec!["user", "update", "b@user.com"], "nothing changes: give at least one of"),
        (vec!["user", "update", "b@user.com", "--language", "german"], "such as de or pt-BR"),
        (vec!["user", "create", "c@user.com", "--language", "german"], "such as de or pt-BR"),
    ] {
        let output = server.beside().args(&wrong).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "{wrong:?}: {told}");
    }
    server.operate(&["user", "invite", "d@user.com", "--language", "de"], "");
    assert_eq!(server.letter("d@user.com", "", 1).await.subject, "Einladung zu Tessera");
}
