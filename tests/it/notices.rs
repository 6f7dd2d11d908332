//! Security notices: mails to superusers about superusers, and to users about their API tokens.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::recovery::RESET;
use crate::support::{Browser, Letter, PASSWORD, SECRET, Server};

const ADDED: &str = "superuser was added";
const SET: &str = "password of a superuser was changed";
const CHANGED: &str = "password was changed";
const TOKEN: &str = "API token was created";

impl Server {
    /// Waits until all mails are sent. Returns the mails to an address with this text in their subject.
    async fn mails_to(&self, to: &str, subject: &str) -> Vec<Letter> {
        self.database.wait_until_no_job_is_left().await;
        let is_one = |letter: &Letter| letter.to == to && letter.subject.contains(subject);
        self.outbox().into_iter().filter(is_one).collect()
    }

    /// Runs a command on the database of this server, with the secret and the settings of the server.
    /// Runs a command beside the server, with what is typed at it. Returns what it prints.
    pub(crate) fn operate(&self, arguments: &[&str], typed: &str) -> String {
        let mut operator = self.beside();
        operator.args(arguments).env("APP_SECRET", SECRET);
        operator.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = operator.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn change_user(&self, bearer: &str, of: &str, changes: &serde_json::Value) {
        let request = self.patch(&format!("/users/{of}")).bearer(bearer).json(changes);
        request.send().await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn superusers_get_a_mail_for_each_superuser_who_is_added_by_any_means() {
    let server = Server::start().await;
    let (root, second) = (server.superuser("root").await, server.superuser("second").await);
    let strong = server.api_token(&root.access, &json!({ "scopes": ["super"] })).await;
    let bystander = server.person("bystander").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let raise = json!({ "is_superuser": true });
    let hash = "$2b$04$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
    let interfaces = ["session", "token", "page", "activated", "promote", "create", "import"];
    for (count, interface) in interfaces.iter().enumerate() {
        let email = format!("{interface}@new.com");
        let id = match *interface {
            "import" | "create" => String::new(),
            _ => server.register(&email, PASSWORD).await.expect_status(201).text("id"),
        };
        let by = match *interface {
            "session" => {
                server.change_user(&root.access, &id, &raise).await;
                root.email.as_str()
            }
            "token" => {
                server.change_user(&strong, &id, &raise).await;
                "root@user.com, with the API token"
            }
            "page" => {
                let page = format!("/admin/users/{id}");
                browser.open(&page).await.expect_status(200);
                let form = [
                    ("act", "change"),
                    ("was_active", "on"),
                    ("is_active", "on"),
                    ("is_superuser", "on"),
                    ("was_scopes", "authenticated"),
                    ("scopes", "authenticated"),
                ];
                browser.press_and_follow(&page, &form).await;
                root.email.as_str()
            }
            "activated" => {
                let sleeping = json!({ "is_superuser": true, "is_active": false });
                server.change_user(&root.access, &id, &sleeping).await;
                assert_eq!(server.mails_to(&second.email, ADDED).await.len(), count);
                server.change_user(&root.access, &id, &json!({ "is_active": true })).await;
                root.email.as_str()
            }
            "promote" => {
                server.operate(&["user", "promote", &email], "");
                "an operator at the terminal"
            }
            "create" => {
                server.operate(&["user", "create", "--superuser", &email], "correct horse battery");
                "an operator at the terminal"
            }
            _ => {
                let people = |superuser: bool, email: &str| json!({ "email": email, "hashed_password": hash, "is_superuser": superuser });
                let both = [people(true, &email), people(false, "plain@new.com")];
                let both = json!({ "users": both });
                let import = server.post("/admin/import").bearer(&root.access).json(&both).send();
                import.await.expect_status(200);
                root.email.as_str()
            }
        };
        for to in [&root.email, &second.email] {
            let told = server.mails_to(to, ADDED).await;
            assert_eq!(told.len(), count + 1, "{interface}: {to}");
            let letter =
                told.iter().find(|letter| letter.text.contains(&format!(": {email}."))).unwrap();
            assert!(
                letter.text.contains(&format!("Added by {by}")),
                "{interface}: {}",
                letter.text
            );
            assert!(letter.html.contains(&email), "{interface}: {}", letter.html);
            assert!(letter.path().starts_with("/admin/users"), "{interface}: {}", letter.path());
        }
        assert_eq!(server.mails_to(&email, ADDED).await.len(), 1, "{interface}: the new superuser");
    }
    // Setting the flag again adds nobody. Removing it, and changing scopes of others, cause no mail.
    let people = "select id from \"user\" where email = 'session@new.com'";
    let id = server.database.column::<String>(people).await.remove(0);
    server.change_user(&root.access, &id, &raise).await;
    server.change_user(&root.access, &id, &json!({ "is_superuser": false })).await;
    server.change_user(&root.access, &bystander.id, &json!({ "scopes": ["authenticated"] })).await;
    assert_eq!(server.mails_to(&second.email, ADDED).await.len(), interfaces.len());
    assert!(server.mails_to(&bystander.email, ADDED).await.is_empty());
    // A dry run causes no mail.
    let dry = json!({
        "dry_run": true,
        "users": [{ "email": "x@new.com", "hashed_password": hash, "is_superuser": true }],
    });
    let tried = server.post("/admin/import").bearer(&root.access).json(&dry).send().await;
    assert_eq!(tried.expect_status(200).json["outcomes"][0]["outcome"], "created");
    assert_eq!(server.mails_to(&second.email, ADDED).await.len(), interfaces.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn superusers_get_a_mail_if_another_superuser_loses_a_password() {
    let server = Server::start().await;
    let (root, victim) = (server.superuser("root").await, server.superuser("victim").await);
    let person = server.person("first").await;
    let told = async |count: usize| {
        let told = server.mails_to(&root.email, SET).await;
        assert_eq!(told.len(), count);
        told.into_iter().find(|letter| letter.text.contains(&victim.email))
    };
    // No mail if they change their own password, or if it is the password of another user.
    let new = json!({ "password": "another password" });
    server.change_me(&victim.access, &new).await.expect_status(200);
    server.change_user(&root.access, &person.id, &new).await;
    assert!(told(0).await.is_none());
    // Another superuser sets the password.
    server
        .change_user(&root.access, &victim.id, &json!({ "password": "set by root itself" }))
        .await;
    let letter = told(1).await.unwrap();
    assert!(letter.text.contains(&format!("Changed by {}", root.email)), "{}", letter.text);
    assert_eq!(letter.path(), format!("/admin/users/{}", victim.id));
    // An operator at the terminal sets it.
    server.operate(&["user", "set-password", &victim.email], "set by an operator");
    told(2).await.unwrap();
    // A mail sets it.
    let ask = server.post("/auth/forgot-password").json(&json!({ "email": victim.email }));
    ask.send().await.expect_status(202);
    let reset = server.letter(&victim.email, RESET, 1).await;
    let set = json!({ "token": reset.token(), "password": "set by the reader of the mail" });
    server.post("/auth/reset-password").json(&set).send().await.expect_status(200);
    let told = server.mails_to(&root.email, SET).await;
    let by_mail = |letter: &&Letter| letter.text.contains("an e-mail to that address");
    assert_eq!((told.len(), told.iter().filter(by_mail).count()), (3, 1));
    // The owner gets the mail that every user gets.
    assert_eq!(server.mails_to(&victim.email, CHANGED).await.len(), 4);
    assert!(server.mails_to(&victim.email, SET).await.is_empty());
    assert!(server.mails_to(&person.email, SET).await.is_empty());
}

#[tokio::test]
async fn users_get_a_mail_for_each_api_token_that_is_made_for_them() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.verified("first").await);
    let wanted = json!({ "name": "deploy http://evil.example", "expire": 86400 });
    let made = server.make_api_token(&person.access, &wanted).await.expect_status(201);
    let told = server.mails_to(&person.email, TOKEN).await;
    assert_eq!(told.len(), 1);
    let letter = &told[0];
    let (secret, prefix) = (made.text("token"), made.text("prefix"));
    for said in [
        "deploy http···evil·example",
        &format!("Begins with: {prefix}"),
        "authenticated",
        " UTC",
        "from your account, from the IP address 127.0.0.1",
    ] {
        assert!(letter.text.contains(said), "{said}: {}", letter.text);
    }
    for part in [&letter.text, &letter.html, &letter.headers] {
        assert!(!part.contains(&secret) && !part.contains("evil.example"), "{part}");
    }
    assert_eq!(letter.path(), "/account/tokens");
    // A superuser makes the token, and the mail does not name them.
    let theirs = json!({ "username": person.email });
    server.make_api_token(&root.access, &theirs).await.expect_status(201);
    let told = server.mails_to(&person.email, TOKEN).await;
    assert_eq!(told.len(), 2);
    let by_root = told.iter().find(|letter| letter.text.contains("by an administrator")).unwrap();
    assert!(!by_root.text.contains(&root.email), "{}", by_root.text);
    assert!(by_root.text.contains("Expires: never"), "{}", by_root.text);
    // The page makes tokens as well. Storing an existing secret again makes none.
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let id = uuid::Uuid::from_u128(7).to_string();
    let form = [("act", "create-token"), ("id", &*id), ("name", "ci"), ("current", PASSWORD)];
    browser.press("/account", &form).await.expect_status(201);
    let again = json!({ "token": secret, "expire": 60 });
    server.make_api_token(&person.access, &again).await.expect_status(201);
    assert_eq!(server.mails_to(&person.email, TOKEN).await.len(), 3);
    // The mail to an unverified address does not contain the name of the token.
    let stranger = server.person("stranger").await;
    let buy = json!({ "name": "buy pills now" });
    server.make_api_token(&stranger.access, &buy).await.expect_status(201);
    let told = server.mails_to(&stranger.email, TOKEN).await;
    assert_eq!(told.len(), 1);
    assert!(!told[0].text.contains("pills"), "{}", told[0].text);
    // A service has no address.
    let before = server.outbox().len();
    server.service(&root, "billing", &["tokens:introspect"]).await;
    server.mails_to("nobody", TOKEN).await;
    assert_eq!(server.outbox().len(), before);
}

/// Each of these mails has a limit of its own for each account that gets it.
#[tokio::test]
async fn making_many_api_tokens_does_not_fill_the_owners_mailbox() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let person = server.person("first").await;
    for _ in 0..16 {
        server.make_api_token(&person.access, &json!({})).await.expect_status(201);
    }
    let told = server.mails_to(&person.email, TOKEN).await.len();
    assert!((10..=11).contains(&told), "{told}");
    // Other mails have other limits.
    let new = json!({ "password": "another password" });
    server.change_me(&person.access, &new).await.expect_status(200);
    assert_eq!(server.mails_to(&person.email, CHANGED).await.len(), 1);
}
