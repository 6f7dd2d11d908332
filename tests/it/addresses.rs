//! Addresses and codes as people type them.

use serde_json::json;

use crate::recovery::{NEW_PASSWORD, RESET, VERIFY};
use crate::support::{Browser, PASSWORD, Server};

/// Spellings of one address, with and without white space around them.
const SPELLINGS: [&str; 7] = [
    "kontakt@m\u{fc}ller.de",
    "kontakt@M\u{dc}LLER.de",
    "KONTAKT@xn--mller-kva.de",
    " kontakt@XN--MLLER-KVA.de ",
    "\tkontakt@mu\u{308}ller.de\n",
    "\u{feff}kontakt@m\u{fc}ller\u{3002}de\u{a0}",
    "kontakt@\u{ff4d}\u{fc}ller.de",
];

const ASCII: &str = "kontakt@xn--mller-kva.de";

/// Addresses that browsers and the usual validators refuse.
const REFUSED: [&str; 9] = [
    "a@b.co?x",
    "a@b_c.co",
    "a@1.2.3.4",
    "a@-b.co",
    "a@b..co",
    "a@b.co.",
    "a@[1.2.3.4]",
    "a b@c.co",
    "a@xn--0.co",
];

#[tokio::test]
async fn all_spellings_of_an_address_are_one_account() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let user = server.register(SPELLINGS[1], PASSWORD).await.expect_status(201);
    assert_eq!(user.text("email"), ASCII);
    let mut mails = 0;
    for typed in SPELLINGS {
        let again = server.register(typed, PASSWORD).await;
        again.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
        server.login(typed, PASSWORD).await.expect_status(200);
        let mut browser = Browser::of(&server);
        browser.sign_in(typed, PASSWORD).await;
        let asked = json!({ "email": typed });
        let answer = server.post("/auth/forgot-password").json(&asked).send().await;
        mails += usize::from(answer.status == 202);
    }
    // One limit for all spellings.
    assert!((1..SPELLINGS.len()).contains(&mails), "{mails}");
    assert_eq!(server.letter(ASCII, RESET, 1).await.to, ASCII);
    assert_eq!(server.database.count("\"user\"").await, 1);
    let mut checked = 0;
    for turn in 0..20 {
        let typed = SPELLINGS[turn % SPELLINGS.len()];
        checked += usize::from(server.login(typed, "wrong").await.status == 400);
        server.prolong_delays().await;
    }
    assert_eq!(checked, 6);
}

#[tokio::test]
async fn rows_of_earlier_versions_are_found_and_never_merged() {
    let server = Server::start().await;
    let person = server.person("first").await;
    for stored in ["Kontakt@m\u{fc}ller.de", "kontakt@m\u{dc}ller.de", "kontakt@xn--mller-kva.de"] {
        let sql = format!("update \"user\" set email = '{stored}' where id = '{}'", person.id);
        server.database.execute(&sql).await;
        for typed in SPELLINGS {
            server.login(typed, PASSWORD).await.expect_status(200);
            let again = server.register(typed, PASSWORD).await;
            again.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
        }
        let asked = json!({ "email": SPELLINGS[0] });
        server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
    }
    for letter in server.outbox().iter().filter(|letter| letter.subject.contains(RESET)) {
        assert!(letter.to.eq_ignore_ascii_case(ASCII), "{}", letter.to);
    }
    let other = server.person("second").await;
    let sql = "update \"user\" set email = 'kontakt@m\u{fc}ller.de' where id = ";
    server.database.execute(&format!("{sql}'{}'", other.id)).await;
    // Each account is found by the spelling that it has.
    for (typed, id) in [(ASCII, &person.id), ("kontakt@m\u{fc}ller.de", &other.id)] {
        let (access, _) = server.sign_in(typed, PASSWORD).await;
        assert_eq!(server.me(&access).await.text("id"), *id, "{typed}");
    }
    let log = server.log_so_far().await;
    assert_eq!(log.matches("two spellings of its domain").count(), 1);
    assert!(log.contains(&person.id) && log.contains(&other.id));
    // An address that is refused today can still be used by the account that has it.
    let sql = format!("update \"user\" set email = 'a@b_c.co' where id = '{}'", other.id);
    server.database.execute(&sql).await;
    server.login(" A@b_c.co", PASSWORD).await.expect_status(200);
    let asked = json!({ "email": "a@b_c.co" });
    server.post("/auth/forgot-password").json(&asked).send().await.expect_status(202);
    server.letter("a@b_c.co", RESET, 1).await;
}

#[tokio::test]
async fn addresses_that_browsers_refuse_are_refused_by_every_interface_and_spend_no_guess() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let person = server.person("first").await;
    let before = server.database.count("attempt").await;
    let mut browser = Browser::of(&server);
    browser.open("/register").await.expect_status(200);
    for typed in REFUSED {
        server.register(typed, PASSWORD).await.expect_status(422);
        let changed = server.change_me(&person.access, &json!({ "email": typed })).await;
        changed.expect_status(422);
        let form = [("email", typed), ("password", PASSWORD)];
        let page = browser.press("/register", &form).await.expect_status(422);
        assert!(page.body.contains("aria-invalid"), "{typed}");
    }
    assert_eq!(server.database.count("attempt").await, before);
    assert_eq!(server.database.count("\"user\"").await, 1);
    // White space around an address is no guess either.
    for _ in 0..8 {
        server.login(" first@user.com\n", PASSWORD).await.expect_status(200);
    }
}

#[tokio::test]
async fn ones_own_address_in_another_spelling_changes_nothing() {
    for strict in ["false", "true"] {
        let server = Server::setup().set("REQUIRE_VERIFICATION", strict).start().await;
        for (name, stored, others) in [
            (
                "1",
                "Case.User@user.com",
                ["case.user@user.com", " CASE.USER@USER.COM", "Case.User@user.com"],
            ),
            ("2", SPELLINGS[0], [SPELLINGS[1], SPELLINGS[2], ASCII]),
        ] {
            let user = server.register(stored, PASSWORD).await.expect_status(201);
            let address = user.text("email");
            let letter = server.letter(&address, VERIFY, 1).await;
            server.verify(&letter.token()).await.expect_status(200);
            let (access, _) = server.sign_in(stored, PASSWORD).await;
            for typed in others {
                let change = json!({ "email": typed, "name": name });
                let changed = server.change_me(&access, &change).await.expect_status(200);
                assert_eq!(changed.text("email"), address, "{typed}");
                assert_eq!(changed.json["is_verified"], true, "{typed}");
                assert_eq!(changed.text("name"), name);
            }
            assert_eq!(server.database.count("former_email").await, 0);
            assert_eq!(server.database.count("pending_email").await, 0);
            // Nothing waits for a link that takes the address back.
            let gone = server.request("DELETE", "/users/me").bearer(&access).send().await;
            gone.expect_status(204);
        }
        assert_eq!(server.outbox().len(), 2, "only the mails of the registrations");
    }
}

#[tokio::test]
async fn codes_are_understood_as_people_type_them() {
    let server = Server::start().await;
    let groups = |code: &str, between: &str| format!("{}{between}{}", &code[..3], &code[3..]);
    let arabic = |code: &str| -> String {
        let digits = code.chars().filter_map(|char| char.to_digit(10));
        digits.filter_map(|digit| char::from_u32(0x660 + digit)).collect()
    };
    let typings: [&dyn Fn(&str) -> String; 6] = [
        &|code| format!(" {code}\n"),
        &|code| groups(code, " "),
        &|code| groups(code, "-"),
        &|code| groups(code, "\u{2011}"),
        &|code| groups(code, "\u{a0}"),
        &|code| arabic(code),
    ];
    for (turn, typing) in typings.iter().enumerate() {
        let email = format!("u{turn}@user.com");
        let registered = server.register(&email, PASSWORD).await.expect_status(201);
        let code = typing(&server.letter(&email, VERIFY, 1).await.code());
        let kept = registered.header("x-code-binding");
        let verified = server.type_code("/auth/verify", &kept, &format!(" {email}"), &code).await;
        verified.expect_status(200);

        let mut browser = Browser::of(&server);
        browser.open("/forgot-password").await.expect_status(200);
        browser.press("/forgot-password", &[("email", &email)]).await.expect_status(200);
        let page = browser.open("/reset-password").await.expect_status(200);
        assert!(!page.body.contains("maxlength=\"6\""), "a pasted code is cut");
        let code = typing(&server.letter(&email, RESET, 1).await.code());
        let form = [("email", email.as_str()), ("code", &code), ("password", NEW_PASSWORD)];
        let reset = browser.press("/reset-password", &form).await;
        assert!(reset.status < 400, "{code}: {}", reset.body);
        server.login(&email, NEW_PASSWORD).await.expect_status(200);
    }
    let registered = server.register("last@user.com", PASSWORD).await.expect_status(201);
    let kept = registered.header("x-code-binding");
    let code = server.letter("last@user.com", VERIFY, 1).await.code();
    for wrong in ["", "x", &format!("x{code}"), &code[1..]] {
        let refused = server.type_code("/auth/verify", &kept, "last@user.com", wrong).await;
        refused.expect_refusal(400, "VERIFY_USER_BAD_TOKEN");
    }
}

/// Local parts beyond ASCII: with an accent, in another alphabet, and with a letter that looks like an ASCII one.
const NOT_ASCII: [&str; 4] = [
    "j\u{f6}rg@user.com",
    "\u{438}\u{432}\u{430}\u{43d}@user.com",
    "\u{430}da@user.com",
    "zo\u{65}\u{308}@m\u{fc}ller.de",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_account_gets_an_address_that_the_field_of_browsers_refuses() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let hash = "$2b$04$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    for email in NOT_ASCII {
        let why = "only letters without accents";
        let with_password = json!({ "email": email, "password": PASSWORD });
        let path = format!("/users/{}", person.id);
        for answer in [
            server.register(email, PASSWORD).await,
            server.create_user(&root.access, &with_password).await,
            server.create_user(&root.access, &json!({ "email": email })).await,
            server.change_me(&person.access, &json!({ "email": email })).await,
            server.patch(&path).bearer(&root.access).json(&json!({ "email": email })).send().await,
        ] {
            assert!(answer.expect_status(422).body.contains(why), "{email}");
        }
        let users = json!({ "users": [{ "email": email, "hashed_password": hash }] });
        let import = server.post("/admin/import").bearer(&root.access).json(&users).send().await;
        assert!(import.expect_status(200).body.contains(why), "{email}");
        let on_page = "without accented letters before the @";
        browser.open("/admin/users").await.expect_status(200);
        for fields in [
            vec![("act", "invite"), ("email", email)],
            vec![
                ("act", "create-user"),
                ("email", email),
                ("password", PASSWORD),
                ("current", PASSWORD),
            ],
        ] {
            let page = browser.press("/admin/users", &fields).await.expect_status(422);
            assert!(page.body.contains(on_page), "{email}: {}", page.body);
        }
        browser.open("/account").await.expect_status(200);
        let page = browser
            .press("/account", &[("act", "email"), ("email", email), ("current", PASSWORD)])
            .await;
        assert!(page.expect_status(422).body.contains(on_page), "{email}");
        let mut stranger = Browser::of(&server);
        stranger.open("/register").await.expect_status(200);
        let page = stranger.press("/register", &[("email", email), ("password", PASSWORD)]).await;
        assert!(page.expect_status(422).body.contains(on_page), "{email}");
        for arguments in [["user", "create", email], ["user", "invite", email]] {
            let output = server
                .beside()
                .args(arguments)
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
        }
    }
    assert_eq!(server.database.count("\"user\"").await, 2);
    assert_eq!(server.database.count("invitation").await, 0);
}

#[tokio::test]
async fn an_account_of_an_earlier_version_keeps_an_address_that_is_refused_today() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for email in [NOT_ASCII[0], "a@b_c.co"] {
        let person = server.person("first").await;
        let sql = format!(
            "update \"user\" set email = '{email}', is_verified = true where id = '{}'",
            person.id
        );
        server.database.execute(&sql).await;
        let (access, _) = server.sign_in(email, PASSWORD).await;
        let mut browser = Browser::of(&server);
        // Browsers check a field for addresses themselves, so a sign-in has none.
        let page = browser.open("/login").await.expect_status(200);
        assert!(!page.body.contains("type=\"email\""), "{}", page.body);
        browser.sign_in(email, PASSWORD).await;
        // Front ends send the whole user back.
        let whole = server.me(&access).await.json;
        let changed = server.change_me(&access, &whole).await.expect_status(200);
        assert_eq!(
            (changed.text("email"), &changed.json["is_verified"]),
            (email.to_owned(), &json!(true))
        );
        let path = format!("/users/{}", person.id);
        let changed = server.patch(&path).bearer(&root.access).json(&whole).send().await;
        assert_eq!(changed.expect_status(200).text("email"), email);
        let form = [("act", "profile"), ("was_email", email), ("email", email), ("name", "Ada")];
        let mut admin = Browser::of(&server);
        admin.sign_in(&root.email, PASSWORD).await;
        let page = format!("/admin/users/{}", person.id);
        admin.open(&page).await.expect_status(200);
        admin.press_and_follow(&page, &form).await.expect_status(200);
        admin.press_and_follow(&page, &[("act", "reset-mail")]).await.expect_status(200);
        server.database.wait_until_no_job_is_left().await;
        assert!(server.outbox().iter().any(|letter| letter.subject.contains(RESET)), "{email}");
        let delete = server.request("DELETE", &path).bearer(&root.access).send().await;
        delete.expect_status(204);
    }
}
