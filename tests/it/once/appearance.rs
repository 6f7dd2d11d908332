//! The look and the texts of pages: languages, and the operator's brand, templates and texts.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{project, run, start, text, tool};
use crate::support::{Answer, Browser, PASSWORD, SECRET, Server};

async fn open(server: &Server, path: &str, language: &str) -> Answer {
    server.get(path).header("accept-language", language).send().await
}

#[tokio::test]
async fn pages_and_their_errors_use_the_preferred_language() {
    let server = Server::setup().production().start().await;
    let english = open(&server, "/login", "fr, *;q=0.1").await.expect_status(200);
    assert!(english.body.contains("<html lang=\"en\">") && english.body.contains("Password"));
    let german = open(&server, "/login", "de-AT,de;q=0.9,en;q=0.8").await.expect_status(200);
    assert!(german.body.contains("<html lang=\"de\">") && german.body.contains("Passwort"));
    assert_eq!(german.header("content-language"), "de");
    assert!(german.header("vary").contains("Accept-Language"), "{:?}", german.headers);
    // Malformed languages have no other effect.
    for odd in ["../../etc/passwd", "<script>", "de\u{e9}", &"de,".repeat(2000)] {
        let answer = open(&server, "/login", odd).await.expect_status(200);
        assert!(!answer.body.contains("<script>") && !answer.body.contains("passwd"), "{odd}");
    }
    let mut browser = Browser::of(&server);
    browser.language = "de".to_owned();
    browser.open("/register").await.expect_status(200);
    let filled = |password| [("email", "first@user.com"), ("password", password)];
    let short = browser.press("/register", &filled("kurz")).await.expect_status(400);
    assert!(short.body.contains("mindestens 8 Zeichen"), "{}", short.body);
    let easy = browser.press("/register", &filled("passwort1")).await.expect_status(400);
    assert!(easy.body.contains("zu leicht zu erraten"), "{}", easy.body);
    assert!(!easy.body.contains("common") && !easy.body.contains("Add another"), "{}", easy.body);
    let refused = browser.press("/login", &filled(PASSWORD)).await.expect_status(400);
    assert!(refused.body.contains("ist falsch"), "{}", refused.body);
    browser.csrf = "x".to_owned();
    let refused = browser.press("/login", &filled(PASSWORD)).await.expect_status(403);
    assert!(refused.body.contains("<html lang=\"de\">"), "{}", refused.body);
    // The JSON operations always answer in English.
    let program = server.post("/auth/register").header("accept-language", "de");
    let body = json!({ "email": "first@user.com", "password": "kurz" });
    let answer = program.json(&body).send().await.expect_status(400);
    assert_eq!(answer.json["detail"]["reason"], "Password should be at least 8 characters");
}

#[tokio::test]
async fn operators_can_set_the_name_the_logo_the_colour_and_the_contact() {
    let folder = tempfile::tempdir().unwrap();
    let logo = folder.path().join("logo.svg");
    fs::write(&logo, "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
        .unwrap();
    let server = Server::setup()
        .set("BRAND_NAME", "Acme <b>& Sons")
        .set("BRAND_LOGO", logo.display())
        .set("BRAND_COLOR", "#ffd400")
        .set("BRAND_CONTACT", "help@example.com")
        .start()
        .await;
    let page = server.get("/login").send().await.expect_status(200);
    assert!(page.body.contains("Acme &lt;b&gt;&amp; Sons</a>"), "{}", page.body);
    assert!(page.body.contains("src=\"./logo\"") && page.body.contains("mailto:help@example.com"));
    let style = server.get("/style.css").send().await.expect_status(200);
    // Text on yellow is black. Links that would not be readable on white are darker.
    assert!(style.body.contains("--act: #ffd400; --on-act: #000000;"), "{}", style.body);
    assert!(!style.body.contains("--link: #ffd400 }\n@media"), "{}", style.body);
    let logo = server.get("/logo").send().await.expect_status(200);
    assert_eq!(logo.header("content-type"), "image/svg+xml");
    assert!(logo.header("content-security-policy").contains("sandbox"));
    assert!(logo.header("content-security-policy").contains("default-src 'none'"));
    let known = server.get("/logo").header("if-none-match", &logo.header("etag"));
    known.send().await.expect_status(304);
    assert_eq!(Server::start().await.get("/logo").send().await.status, 404);
}

#[tokio::test]
async fn templates_texts_and_styles_of_an_operator_replace_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "home.html",
        "{% extends \"layout.html\" %}{% block title %}Hi{% endblock %}{% block content %}Hello, {{ signed_in.email }}!{% endblock %}",
    );
    write("en.ftl", "sign-in = Come in\nsing-in = Typo\n");
    write("fr.ftl", "sign-in = Se connecter\n");
    write("style.css", "main { color: red }\n");
    write("extra.css", "h1 { color: green }\n");
    write("login.html~", "{% an editor keeps this");
    let server = Server::setup().set("PAGE_TEMPLATES", folder.path().display()).start().await;
    let page = open(&server, "/login", "en").await;
    assert!(
        page.body.contains("<h1>Come in</h1>") && page.body.contains("Password"),
        "{}",
        page.body
    );
    // A file adds a third language. Texts that it does not have are in English.
    let page = open(&server, "/login", "fr-CA").await;
    assert!(page.body.contains("<html lang=\"fr\">") && page.body.contains("Se connecter"));
    assert!(page.body.contains("Password"), "{}", page.body);
    assert!(open(&server, "/login", "de").await.body.contains("Anmelden"));
    assert!(server.get("/style.css").send().await.body.starts_with("main { color: red }"));
    assert!(server.get("/style.css").send().await.body.ends_with("h1 { color: green }\n"));
    server.log.wait_for("no page uses a text with this name").await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    assert!(browser.open("/").await.body.contains("Hello, first@user.com!"));
}

#[tokio::test]
async fn pages_show_the_place_of_an_ip_address_in_the_preferred_language() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("places.mmdb");
    let script = project().join("tests/tools/places.py");
    let made = run(Command::new(tool("python")).arg(script).arg(&file));
    assert!(made.status.success(), "{}", text(&made.stderr));
    let server = Server::setup()
        .set("GEOIP_DATABASE", file.display())
        .set("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    for address in ["192.0.2.7", "2001:db8::1", "198.51.100.1"] {
        let form = [("username", "first@user.com"), ("password", PASSWORD)];
        let login = server.post("/auth/jwt/login").header("x-forwarded-for", address);
        login.form(&form).send().await.expect_status(200);
    }
    let mut browser = Browser::of(&server);
    browser.sign_in("first@user.com", PASSWORD).await;
    let page = browser.open("/account/sessions").await.expect_status(200);
    let shown = [
        "from Zurich, Switzerland (192.0.2.7)",
        "from &lt;b&gt;Nowhere (2001:db8::1)",
        "from 198.51.100.1,",
    ];
    for shown in shown {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    browser.language = "de".to_owned();
    let page = browser.open("/account/sessions").await.expect_status(200);
    assert!(page.body.contains("von Zürich, Schweiz (192.0.2.7)"), "{}", page.body);
}

#[test]
fn a_start_names_invalid_files_and_settings_of_pages() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let refused = |name: &str, value: &str, words: &str| {
        let said = start::refused(folder.path(), &[("APP_SECRET", SECRET), (name, value)], &[]);
        assert!(said.contains(words), "{said}");
    };
    refused("PAGE_TEMPLATES", "/nowhere", "/nowhere: there is no such folder");
    let pages = folder.path().join("pages");
    fs::create_dir(&pages).unwrap();
    for (name, text, words) in [
        ("logn.html", "", "logn.html: no page has this name"),
        ("login.html", "{% if %}", "PAGE_TEMPLATES: login.html: syntax error"),
        ("login.html", "{% extends \"base.html\" %}", "login.html: there is no template base.html"),
        ("account.html", "", "account.html: no page has this name"),
        (
            "macros.html",
            "{% macro marked(act, name) %}{% endmacro %}",
            "macros.html: it has no macro menu, which account/layout.html uses",
        ),
        (
            "layout.html",
            "<main>{% block content %}{% endblock %}</main>",
            "layout.html: it has no block aside, which account/layout.html fills",
        ),
        ("french.ftl", "a = b", "french: its name is not a language"),
        ("de.ftl", "a = b\n= nothing", "de: line 2: "),
        ("de.ftl", "= nothing", "PAGE_TEMPLATES: de: "),
        ("not a language.ftl", "a = b", "its name is not a language"),
    ] {
        let file = write(&format!("pages/{name}"), text);
        refused("PAGE_TEMPLATES", pages.to_str().unwrap(), words);
        fs::remove_file(file).unwrap();
    }
    let text = write("logo.txt", "no picture");
    refused("GEOIP_DATABASE", text.to_str().unwrap(), "GEOIP_DATABASE: ");
    refused("BRAND_LOGO", text.to_str().unwrap(), "it is not an SVG, PNG, JPEG or WebP image");
    let large = write("large.svg", &format!("<svg>{}", " ".repeat(256 * 1024)));
    refused("BRAND_LOGO", large.to_str().unwrap(), "more than 256 KiB");
    refused(
        "BRAND_COLOR",
        "red;}",
        "BRAND_COLOR is \"red;}\": it must be # and six hexadecimal digits",
    );
    refused("BRAND_CONTACT", "javascript:alert(1)", "a mail address or a URL");
}
