//! Mails, and their delivery to a real mail server.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Browser, MailServer, PASSWORD, Server, Setup, eventually, free_port};

const FROM: &str = "Example <accounts@example.com>";

fn setup(port: u16) -> Setup {
    Server::setup()
        .set("MAIL_URL", format!("smtp://127.0.0.1:{port}?tls=none"))
        .set("MAIL_FROM", FROM)
}

#[tokio::test]
async fn a_registration_sends_a_mail_to_the_mail_server() {
    let mails = MailServer::start(&[]);
    let server = setup(mails.port).start().await;
    // The mail contains no input of the caller. Otherwise strangers could send advertisements.
    let body = json!({
        "email": "first@user.com", "password": PASSWORD,
        "name": "Visit evil.example", "website": "https://evil.example"
    });
    server.post("/auth/register").json(&body).send().await.expect_status(201);
    let letter = mails.letter("first@user.com").await;
    assert_eq!(letter.from, "accounts@example.com");
    assert!(letter.id.ends_with("@example.com"), "{letter:?}");
    assert!(letter.headers.contains("Auto-Submitted: auto-generated"), "{letter:?}");
    assert!(!format!("{letter:?}").contains("evil."), "{letter:?}");
    let mut browser = Browser::of(&server);
    let answer = browser.open(&letter.path()).await.expect_status(200);
    assert!(answer.body.contains("<button type="));
    let token = [("token", letter.token()), ("current", PASSWORD.to_owned())];
    let token: Vec<_> = token.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.press("/verify", &token).await.expect_status(200);
    server.sign_in("first@user.com", PASSWORD).await;
    // The log has neither the address nor the token or code of the mail.
    server.log.wait_for("a mail was sent").await;
    let log = server.log_so_far().await;
    for secret in [letter.token(), letter.to.clone()] {
        assert!(!log.contains(&secret), "{log}");
    }
    // Times and ids of log lines have six such digits too, by chance.
    let (code, parts) = (letter.code(), |sign: char| !sign.is_alphanumeric() && sign != '.');
    assert!(!log.split(parts).any(|word| word.trim_matches('.') == code), "{log}");
    assert_eq!(mails.letters().len(), 1);
    assert!(server.outbox().is_empty());
}

#[tokio::test]
async fn requests_do_not_wait_for_a_mail_server_that_is_away() {
    let port = free_port();
    let server = setup(port).start().await;
    let began = Instant::now();
    for turn in 0..10 {
        server.register(&format!("user{turn}@user.com"), PASSWORD).await.expect_status(201);
    }
    // This does not measure speed: with waits for the mail server, each request would take ten seconds.
    assert!(began.elapsed() < Duration::from_secs(60));
    server.log.wait_for("a job failed and will be retried").await;
    let mails = MailServer::start_on(port, &[]);
    // Moves the clock until each mail is retried.
    server.move_clock(Duration::from_secs(60));
    for turn in 0..10 {
        mails.letter(&format!("user{turn}@user.com")).await;
    }
    assert_eq!(mails.letters().len(), 10);
    let log = server.log_so_far().await;
    assert!(!log.contains("user1@user.com"), "an address is in the log");
}

#[tokio::test]
async fn requests_do_not_wait_for_a_slow_mail_server_and_refused_mails_are_retried() {
    let mails = MailServer::start(&["--hold", "--refuse=3"]);
    let server = setup(mails.port).start().await;
    for turn in 0..5 {
        server.register(&format!("user{turn}@user.com"), PASSWORD).await.expect_status(201);
        let asked = json!({ "email": "user0@user.com" });
        server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
    }
    assert!(mails.letters().is_empty(), "no mail was delivered yet");
    mails.go_on();
    for turn in 0..5 {
        mails.letter(&format!("user{turn}@user.com")).await;
    }
    let log = server.log.wait_for("the mail server answered 451").await;
    assert!(!log.contains("@user.com"), "the address from the mail server's answer is in the log");
}

#[tokio::test]
async fn a_server_that_is_killed_before_delivery_loses_no_mail() {
    let port = free_port();
    let server = setup(port).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let asked = json!({ "email": "first@user.com" });
    server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
    let database = server.kill();
    assert!(database.count("job").await >= 1);
    let mails = MailServer::start_on(port, &[]);
    let server = setup(port).on(database).start().await;
    eventually("both mails come", async || mails.letters().len() == 2).await;
    let letters = mails.letters();
    let of = |words: &str| letters.iter().find(|letter| letter.subject.contains(words)).unwrap();
    let (letter, _) = (of("Verify"), of("new password"));
    let token = json!({ "token": letter.token() });
    server.post("/auth/verify").json(&token).send().await.expect_status(200);
}

#[tokio::test]
async fn only_one_of_two_replicas_delivers_a_mail() {
    let mails = MailServer::start(&["--delay=0.3"]);
    let one = setup(mails.port).start().await;
    let other = setup(mails.port).on(one.database.clone()).start().await;
    for turn in 0..12 {
        let server = [&one, &other][turn % 2];
        server.register(&format!("user{turn}@user.com"), PASSWORD).await.expect_status(201);
    }
    one.database.wait_until_no_job_is_left().await;
    assert_eq!(mails.letters().len(), 12);
}

#[tokio::test]
async fn a_mail_is_given_up_after_it_has_expired() {
    let server = setup(free_port()).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    server.database.execute("update job set expires_at = 1000, due_at = 0").await;
    server.database.wait_until_no_job_is_left().await;
    server.log.wait_for("a job failed and is given up").await;
}

#[tokio::test]
async fn delivery_to_a_mailbox_that_does_not_exist_is_not_retried() {
    let mails = MailServer::start(&["--refuse=1", "--code=550"]);
    let server = setup(mails.port).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    server.database.wait_until_no_job_is_left().await;
    server.log.wait_for("the mail server answered 550").await;
    assert!(mails.letters().is_empty());
}

/// Makes a certificate that a server trusts if `SSL_CERT_FILE` names it.
fn certificate(folder: &std::path::Path) -> [String; 2] {
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [certificate, key].map(|path| path.display().to_string())
}

#[tokio::test]
async fn the_password_for_the_mail_server_is_sent_only_encrypted_to_a_trusted_server() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = certificate(folder.path());
    let encrypted = ["--certificate", &certificate, "--key", &key];
    let url = |port: u16| format!("smtp://robot:s%40crEt@localhost:{port}");
    let serve = async |port: u16, trusts: Option<&str>| {
        let setup = Server::setup().set("MAIL_URL", url(port)).set("MAIL_FROM", FROM);
        let setup = match trusts {
            Some(file) => setup.set("SSL_CERT_FILE", file),
            None => setup,
        };
        let server = setup.start().await;
        server.register("first@user.com", PASSWORD).await.expect_status(201);
        server
    };
    let failed = async |server: &Server| {
        let log = server.log.wait_for("a job failed and will be retried").await;
        assert!(!log.contains("s@crEt"));
    };
    // An untrusted certificate, and a server (or an attacker in between) without encryption.
    let mails = MailServer::start(&encrypted);
    failed(&serve(mails.port, None).await).await;
    assert_eq!(mails.signed_in(), "");
    let plain = MailServer::start(&[]);
    failed(&serve(plain.port, Some(&certificate)).await).await;
    assert_eq!((plain.signed_in().as_str(), plain.letters().len()), ("", 0));

    let server = serve(mails.port, Some(&certificate)).await;
    mails.letter("first@user.com").await;
    assert_eq!(mails.signed_in().trim(), "robot s@crEt encrypted");
    assert!(!server.log_so_far().await.contains("s@crEt"));

    // TLS from the beginning, also only to a trusted server.
    let mails = MailServer::start(&[&encrypted[..], &["--encrypted"]].concat());
    let smtps = |port: u16| url(port).replace("smtp://", "smtps://");
    let setup = || Server::setup().set("MAIL_URL", smtps(mails.port)).set("MAIL_FROM", FROM);
    let stranger = setup().start().await;
    stranger.register("first@user.com", PASSWORD).await.expect_status(201);
    failed(&stranger).await;
    assert_eq!(mails.signed_in(), "");
    let server = setup().set("SSL_CERT_FILE", &certificate).start().await;
    server.register("second@user.com", PASSWORD).await.expect_status(201);
    mails.letter("second@user.com").await;
    assert!(mails.signed_in().starts_with("robot s@crEt"));
}

#[tokio::test]
async fn production_without_a_mail_server_writes_no_mail_and_says_so_at_start() {
    let server = Server::setup().production().set("PUBLIC_URL", "https://id.example.com");
    let server = server.start().await;
    server.register("first@user.com", "a passphrase nobody guesses").await.expect_status(201);
    // The answer is the same for everybody, so it does not reveal who has an account.
    for email in ["first@user.com", "nobody@user.com"] {
        let asked = json!({ "email": email });
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            let refused = server.post(path).json(&asked).send().await;
            refused.expect_refusal(403, "MAIL_NOT_SET_UP");
        }
    }
    let wrong = server.post("/auth/forgot-password").json(&json!({ "email": "x" })).send().await;
    wrong.expect_status(422);
    let page = server.get("/forgot-password").send().await.expect_status(403);
    assert!(page.body.contains("sends no e-mails") && !page.body.contains("<button"));
    assert_eq!(server.database.count("job").await, 0);
    server.log.wait_for("MAIL_URL is not set").await;
}

#[tokio::test]
async fn pages_that_wait_for_a_mail_say_so_if_none_is_sent() {
    let setup = || Server::setup().production().set("PUBLIC_URL", "https://id.example.com");
    let server = setup().set("REQUIRE_VERIFICATION", "true").start().await;
    let passphrase = "a passphrase nobody guesses";
    for (language, words) in [("en", "sends no e-mails"), ("de", "versendet zurzeit keine E-Mails")]
    {
        for path in ["/verify", "/reset-password", "/forgot-password", "/request-verify-token"] {
            let page = server.get(path).header("accept-language", language).send().await;
            let page = page.expect_status(403);
            assert!(page.body.contains(words) && !page.body.contains("<button"), "{path}");
        }
        let page = server.get("/register").header("accept-language", language).send().await;
        assert!(page.expect_status(200).body.contains(words), "{language}");
    }
    let mut browser = Browser::of(&server);
    browser.open("/register").await.expect_status(200);
    let form = [("email", "first@user.com"), ("password", passphrase)];
    let done = browser.press("/register", &form).await.expect_status(201);
    assert!(done.body.contains("ask an administrator to verify your address"), "{}", done.body);
    browser.open("/login").await.expect_status(200);
    let refused = browser.press("/login", &form).await.expect_status(400);
    assert!(refused.body.contains("Ask an administrator to verify it"), "{}", refused.body);
    assert!(!refused.body.contains("forgot-password") && !refused.body.contains("Open the link"));

    // Without the requirement, nobody waits for a mail to register and to sign in.
    let server = setup().start().await;
    let mut browser = Browser::of(&server);
    let page = browser.open("/register").await.expect_status(200);
    assert!(!page.body.contains("sends no e-mails"), "{}", page.body);
    browser.press("/register", &form).await.expect_status(201);
    browser.open("/login").await.expect_status(200);
    browser.press("/login", &form).await.expect_status(303);
    for path in ["/", "/account/email"] {
        let page = browser.open(path).await.expect_status(200);
        assert!(page.body.contains("Ask an administrator to verify it"), "{path}: {}", page.body);
    }
}

#[tokio::test]
async fn templates_of_an_operator_replace_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("verify")).unwrap();
    let own = "Willkommen,\n {{ address }}!";
    std::fs::write(folder.path().join("verify/subject.txt"), own).unwrap();
    let setup = Server::setup().set("MAIL_TEMPLATES", folder.path().display());
    let server = setup.start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let letter = server.letter("first@user.com", "Willkommen", 1).await;
    assert_eq!(letter.subject, "Willkommen, first@user.com!");
    assert!(letter.text.contains(&letter.link()) && !letter.code().is_empty());
}

#[tokio::test]
async fn a_text_of_an_operator_replaces_its_translation_and_can_have_another() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("verify", "Own"), ("fr/verify", "Propre")] {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("subject.txt"), text).unwrap();
    }
    let setup = Server::setup().set("MAIL_TEMPLATES", folder.path().display());
    let server = setup.start().await;
    for (language, subject) in [("de", "Own"), ("fr", "Propre"), ("fr-CA", "Propre")] {
        let email = format!("{}@user.com", language.to_lowercase());
        let user = json!({ "email": email, "password": PASSWORD, "language": language });
        server.post("/auth/register").json(&user).send().await.expect_status(201);
        assert_eq!(server.letter(&email, "", 1).await.subject, subject, "{language}");
    }
    // A mail that the operator did not write is in the language of the user.
    server.database.execute("update \"user\" set is_verified = true").await;
    server.post("/auth/forgot-password").json(&json!({ "email": "de@user.com" })).send().await;
    let letter = server.letter("de@user.com", "Passwort", 1).await;
    assert_eq!(letter.subject, "Wählen Sie ein neues Passwort");
}

/// Servers, proxies and people see the source of a mail, and copy links from it.
#[tokio::test]
async fn links_are_whole_in_the_source_of_a_mail_that_is_not_ascii() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("verify")).unwrap();
    let own = "Grüße, {{ address }}! Öffnen Sie den Link, der für Sie allein ist:\n{{ link }}\n";
    std::fs::write(folder.path().join("verify/text.txt"), own).unwrap();
    let templates = folder.path().display().to_string();

    let server = Server::setup().set("MAIL_TEMPLATES", &templates).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let letter = server.letter("first@user.com", "", 1).await;
    let file = std::fs::read_dir(server.folder().join("outbox")).unwrap().next().unwrap().unwrap();
    let source = std::fs::read_to_string(file.path()).unwrap();
    assert!(letter.text.contains("Grüße") && source.contains(&letter.link()), "{source}");

    let mails = MailServer::start(&[]);
    let setup = |mails: &MailServer| {
        Server::setup()
            .set("MAIL_TEMPLATES", &templates)
            .set("PUBLIC_URL", "https://id.example.com/sub")
            .set("MAIL_URL", format!("smtp://127.0.0.1:{}?tls=none", mails.port))
            .set("MAIL_FROM", "accounts@example.com")
    };
    let server = setup(&mails).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let letter = mails.letter("first@user.com").await;
    assert!(letter.text.contains("Grüße") && mails.source().contains(&letter.link()));
    assert!(!mails.source().contains("quoted-printable"), "{}", mails.source());
    // The server introduces itself with its public name.
    assert_eq!(mails.hello(), "id.example.com");

    // A mail server that takes only ASCII gets the same text.
    let ascii = MailServer::start(&["--ascii"]);
    let server = setup(&ascii).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let letter = ascii.letter("first@user.com").await;
    assert!(letter.text.contains("Grüße") && letter.link().starts_with("https://id.example.com/"));
    assert!(ascii.source().is_ascii() && !ascii.source().contains("quoted-printable"));
}

#[tokio::test]
async fn the_text_of_a_mail_server_that_refuses_is_logged_without_the_address() {
    let mails = MailServer::start(&["--refuse", "1", "--code", "554"]);
    let server = Server::setup()
        .set("MAIL_URL", format!("smtp://127.0.0.1:{}?tls=none", mails.port))
        .set("MAIL_FROM", "accounts@example.com")
        .start()
        .await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let log = server.log.wait_for("the mail server answered 554: not now, (address)").await;
    assert!(!log.contains("first@user.com"), "{log}");
}
