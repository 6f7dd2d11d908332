//! The person that a provider names: each row of the table of rules, and addresses that look like others.

use serde_json::{Value, json};

use super::{ADA, corp, ids_of, with};
use crate::recovery::VERIFY;
use crate::support::upstream::Upstream;
use crate::support::{Answer, Browser, PASSWORD, Person, Server};

/// The mail about a new way to sign in.
pub(super) const LINKED: &str = "A provider was linked";

impl Server {
    /// A user of this address, who has proved it and the password together.
    pub(crate) async fn verified_at(&self, email: &str) -> Person {
        let user = self.register(email, PASSWORD).await.expect_status(201);
        let letter = self.letter(email, VERIFY, 1).await;
        let mut browser = Browser::of(self);
        browser.open(&letter.path()).await.expect_status(200);
        let filled = [("token", &*letter.token()), ("current", PASSWORD)];
        browser.press("/verify", &filled).await.expect_status(200);
        let (access, refresh) = self.sign_in(email, PASSWORD).await;
        Person { id: user.text("id"), email: email.to_owned(), access, refresh }
    }

    /// The user that a superuser sees for an address.
    pub(super) async fn user_of(&self, email: &str) -> Value {
        let sql = format!(
            "select case when is_verified then 'verified' else 'unverified' end from \"user\" where email = '{email}'"
        );
        let found = self.database.column::<String>(&sql).await;
        json!(found)
    }

    pub(super) async fn identities(&self) -> i64 {
        self.database.count("federated_identity").await
    }
}

/// Asserts that the person was told to sign in as before, and is not linked.
async fn assert_not_linked(server: &Server, page: &Answer, browser: &mut Browser<'_>) {
    assert_eq!(page.status, 400, "{}", page.body);
    assert!(page.body.contains("as before"), "{}", page.body);
    assert!(!browser.is_signed_in().await);
    assert_eq!(server.identities().await, 0);
}

#[tokio::test]
async fn a_new_person_with_an_owned_address_gets_a_verified_account_without_a_password() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let page = browser.account().await;
    assert!(page.body.contains(ADA) && page.body.contains("Ada"), "{}", page.body);
    assert_eq!(server.user_of(ADA).await, json!(["verified"]));
    // No password opens the account, and asking for one by mail tells nobody that it has none.
    for guess in ["", PASSWORD, "248289761001"] {
        let refused = server.login(ADA, guess).await;
        assert!([400, 422].contains(&refused.status), "{}", refused.body);
    }
    // The second time, it is the same user.
    let ids = ids_of(&server, ADA).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    assert_eq!((ids_of(&server, ADA).await, server.identities().await), (ids, 1));
}

#[tokio::test]
async fn a_known_subject_is_the_same_user_whatever_its_address_is_now() {
    let (upstream, server) = corp(&json!({})).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    let ids = ids_of(&server, ADA).await;
    let other = server.verified_at("other@corp.example").await;
    for email in [
        json!("other@corp.example"),
        json!("new@corp.example"),
        json!("x@evil.example"),
        Value::Null,
    ] {
        upstream.person(&json!({ "email": email }));
        let mut browser = Browser::of(&server);
        browser.sign_in_with(&upstream).await.expect_status(303);
        let page = browser.account().await;
        assert!(page.body.contains(ADA), "{email}: {}", page.body);
    }
    assert_eq!(ids_of(&server, ADA).await, ids);
    assert_eq!(ids_of(&server, "other@corp.example").await, [other.id]);
    assert_eq!(server.database.count("\"user\"").await, 2);
}

#[tokio::test]
async fn an_owned_address_of_a_verified_user_links_the_account_and_tells_its_owner() {
    let (upstream, server) = corp(&json!({})).await;
    let person = server.verified_at(ADA).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    assert!(browser.account().await.body.contains(ADA));
    assert_eq!(ids_of(&server, ADA).await, std::slice::from_ref(&person.id));
    // Other sessions end, and the owner can take it back.
    server.wait_until_refused(&person.access).await;
    let letter = server.letter(ADA, LINKED, 1).await;
    assert!(letter.text.contains("corp"), "{}", letter.text);
    // The password stays.
    server.sign_in(ADA, PASSWORD).await;
}

#[tokio::test]
async fn an_owned_address_that_was_never_proved_here_gives_the_person_a_new_account() {
    let (upstream, server) = corp(&json!({})).await;
    let squatter = server.register(ADA, PASSWORD).await.expect_status(201).text("id");
    let (access, refresh) = server.sign_in(ADA, PASSWORD).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let ids = ids_of(&server, ADA).await;
    assert!(ids.len() == 1 && ids[0] != squatter, "{ids:?}");
    assert_eq!(server.user_of(ADA).await, json!(["verified"]));
    server.wait_until_refused(&access).await;
    assert_eq!(server.refresh(&refresh).await.status, 401);
    server.login(ADA, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
}

/// Organisations give the address of a person who left to another one.
#[tokio::test]
async fn an_address_that_was_given_to_another_person_does_not_open_the_account_of_the_first() {
    let (upstream, server) = corp(&json!({})).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    upstream.person(&json!({ "sub": "another" }));
    let mut browser = Browser::of(&server);
    let page = browser.sign_in_with(&upstream).await;
    let refused = super::reference(&page);
    assert_eq!(super::check_with(&server, &refused).await, "person.has_another");
    assert!(!browser.is_signed_in().await);
    assert_eq!(server.identities().await, 1);
}

#[tokio::test]
async fn superusers_and_people_with_words_of_their_own_are_never_linked_by_an_address() {
    let (upstream, server) = corp(&json!({})).await;
    let person = server.verified_at(ADA).await;
    let root = server.superuser("root").await;
    let path = format!("/users/{}", person.id);
    for change in [
        json!({ "is_superuser": true }),
        json!({ "is_superuser": false, "scopes": ["authenticated", "deploy"] }),
    ] {
        server.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await;
        assert_not_linked(&server, &page, &mut browser).await;
        assert_eq!(ids_of(&server, ADA).await, std::slice::from_ref(&person.id));
        server.sign_in(ADA, PASSWORD).await;
    }
    // With no more than others have, the account is linked.
    let change = json!({ "scopes": ["authenticated"] });
    server.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(server.identities().await, 1);
}

#[tokio::test]
async fn a_provider_that_may_not_register_people_registers_nobody() {
    let (upstream, server) = corp(&json!({ "register": false })).await;
    for email in [ADA, "ada@elsewhere.example"] {
        upstream.person(&json!({ "email": email }));
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await;
        assert!([400, 403].contains(&page.status), "{} {}", page.status, page.body);
        assert!(!browser.is_signed_in().await);
    }
    assert_eq!(server.database.count("\"user\"").await + server.identities().await, 0);
    // A user who is here is linked.
    upstream.person(&json!({ "email": ADA }));
    server.verified_at(ADA).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
}

/// Claims about an address that the provider does not own. Each looks like `ada@corp.example` to somebody.
fn not_owned() -> Vec<(&'static str, Value)> {
    let at = |email: &str| json!({ "email": email, "email_verified": true });
    vec![
        (ADA, json!({ "email": ADA, "email_verified": false })),
        (ADA, json!({ "email": ADA, "email_verified": null })),
        (ADA, json!({ "email": ADA, "email_verified": "yes" })),
        (ADA, json!({ "email": ADA, "email_verified": 1 })),
        ("ada@sub.corp.example", at("ada@sub.corp.example")),
        ("ada@evilcorp.example", at("ada@evilcorp.example")),
        ("ada@corp.example.evil.com", at("ada@corp.example.evil.com")),
        ("ada@example", at("ada@example")),
    ]
}

#[tokio::test]
async fn an_address_that_the_provider_does_not_own_links_nobody() {
    for (address, claims) in not_owned() {
        let (upstream, server) = corp(&json!({})).await;
        if address == "ada@example" {
            // Nobody can register such an address.
            continue;
        }
        let person = server.verified_at(address).await;
        upstream.person(&claims);
        let mut browser = Browser::of(&server);
        let page = browser.sign_in_with(&upstream).await;
        assert_not_linked(&server, &page, &mut browser).await;
        server.me(&person.access).await.expect_status(200);
        assert_eq!(ids_of(&server, address).await, [person.id]);
    }
}

#[tokio::test]
async fn an_address_that_the_provider_does_not_own_makes_an_unverified_user() {
    for (address, claims) in not_owned() {
        let (upstream, server) = corp(&json!({})).await;
        upstream.person(&claims);
        let mut browser = Browser::of(&server);
        let answer = browser.sign_in_with(&upstream).await;
        if address == "ada@example" {
            assert!(answer.status >= 400 || server.user_of(address).await != json!(["verified"]));
            continue;
        }
        answer.expect_status(303);
        assert_eq!(server.user_of(address).await, json!(["unverified"]), "{claims}");
        let letter = server.letter(address, VERIFY, 1).await;
        let page = browser.open(&letter.path()).await.expect_status(200);
        assert!(!page.body.contains("type=\"password\" name=\"current\""), "{}", page.body);
    }
}

#[tokio::test]
async fn spellings_of_an_owned_address_are_one_person() {
    let (upstream, server) = corp(&json!({ "domains": ["Corp.Example"] })).await;
    let person = server.verified_at(ADA).await;
    upstream.person(&json!({ "email": "Ada@CORP.example" }));
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(server.database.count("\"user\"").await, 1);
    assert_eq!(ids_of(&server, ADA).await, [person.id]);
}

#[tokio::test]
async fn hostile_claims_of_a_provider_cause_no_fault_and_are_shown_as_text() {
    let script = "<script>alert(1)</script>";
    for claims in [
        json!({ "email": script }),
        json!({ "email": "ada@corp.example\u{0}" }),
        json!({ "email": "ada@corp.example,evil@evil.example" }),
        json!({ "email": "ada@corp.example\r\nBcc: evil@evil.example" }),
        json!({ "email": ["ada@corp.example"] }),
        json!({ "email": format!("{}@corp.example", "a".repeat(2000)) }),
        json!({ "given_name": script, "family_name": "x\u{0}y" }),
        json!({ "given_name": "n".repeat(5000) }),
        json!({ "given_name": { "a": 1 }, "name": 5 }),
        json!({ "sub": "a\u{0}b" }),
        json!({ "picture": "javascript:alert(1)", "website": "javascript:alert(1)" }),
    ] {
        let (upstream, server) = corp(&json!({})).await;
        upstream.person(&claims);
        let mut browser = Browser::of(&server);
        let answer = browser.sign_in_with(&upstream).await;
        // What cannot be an address or a name is as good as missing. A page asks for an address.
        let sub = claims.get("sub").is_some();
        assert!(
            [200, 303].contains(&answer.status) != sub,
            "{claims}: {} {}",
            answer.status,
            answer.body
        );
        let page = browser.open("/account").await;
        for body in [&answer.body, &page.body] {
            assert!(!body.contains(script) && !body.contains("javascript:"), "{claims}: {body}");
        }
    }
}

#[tokio::test]
async fn one_subject_at_two_providers_is_two_people() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let entries = [
        one.entry(&json!({})),
        other.entry(&json!({ "name": "second", "domains": ["second.example"] })),
    ];
    let server = with(&entries).start().await;
    other.person(&json!({ "email": "eve@second.example" }));
    let (mut ada, mut eve) = (Browser::of(&server), Browser::of(&server));
    ada.sign_in_at("corp", &one).await.expect_status(303);
    eve.sign_in_at("second", &other).await.expect_status(303);
    assert!(ada.account().await.body.contains(ADA));
    let page = eve.account().await;
    assert!(page.body.contains("eve@second.example") && !page.body.contains(ADA), "{}", page.body);
    assert_eq!((server.database.count("\"user\"").await, server.identities().await), (2, 2));
}

#[tokio::test]
async fn a_person_without_an_address_is_asked_for_one_which_is_not_verified() {
    let (upstream, server) = corp(&json!({})).await;
    server.verified_at("taken@corp.example").await;
    upstream.person(&json!({ "email": null, "email_verified": null }));
    let mut browser = Browser::of(&server);
    let page = browser.sign_in_with(&upstream).await;
    let page = match page.status {
        303 => browser.open(&super::path_of(&page.header("location"))).await,
        _ => page,
    };
    let (action, hidden) = form_of(&page);
    let mut fields: Vec<_> =
        hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (email, is_accepted) in [("taken@corp.example", false), ("nonsense", false), (ADA, true)] {
        fields.retain(|(name, _)| *name != "email");
        fields.push(("email", email));
        let answer = browser.press(&action, &fields).await;
        assert_eq!(answer.status == 303, is_accepted, "{email}: {} {}", answer.status, answer.body);
    }
    assert!(browser.account().await.body.contains(ADA));
    assert_eq!(server.user_of(ADA).await, json!(["unverified"]));
    server.letter(ADA, VERIFY, 1).await;
    // The next time, nothing is asked.
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    assert!(browser.account().await.body.contains(ADA));
}

/// The action of the form in the main part of a page, and its hidden fields except for the CSRF value.
pub(super) fn form_of(page: &Answer) -> (String, Vec<(String, String)>) {
    let (_, main) =
        page.body.split_once("<main").unwrap_or_else(|| panic!("{} {}", page.status, page.body));
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!("{name}=\""))?;
        Some(rest.split('"').next()?.replace("&#x2f;", "/").replace("&amp;", "&"))
    };
    let (_, form) = main.split_once("<form").unwrap_or_else(|| panic!("no form in {main}"));
    let form = form.split("</form>").next().unwrap();
    let action = attribute(form.split('>').next().unwrap(), "action").unwrap_or_default();
    let hidden = form.split("<input").skip(1).filter(|tag| tag.contains("type=\"hidden\""));
    let hidden = hidden.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)));
    let path = reqwest::Url::parse("http://host/login/with/corp/").unwrap().join(&action).unwrap();
    (path.path().to_owned(), hidden.filter(|(name, _)| name != "csrf").collect())
}

#[tokio::test]
async fn a_colleague_who_claims_an_address_without_proof_keeps_nobody_out() {
    let (upstream, server) = corp(&json!({})).await;
    upstream.person(&json!({ "sub": "colleague", "email": ADA, "email_verified": false }));
    let mut colleague = Browser::of(&server);
    colleague.sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(server.user_of(ADA).await, json!(["unverified"]));
    upstream.person(&json!({ "sub": "ada", "email": ADA, "email_verified": true }));
    let mut ada = Browser::of(&server);
    ada.sign_in_with(&upstream).await.expect_status(303);
    assert!(ada.account().await.body.contains(ADA));
    assert!(!colleague.is_signed_in().await);
    assert_eq!(server.identities().await, 1);
}
