//! Linking by hand and unlinking: with a fresh proof, never by another user, and never the last way in.

use std::time::Duration;

use serde_json::json;

use super::{ADA, check_of, corp, ids_of, path_of, person, with};
use crate::support::upstream::{Upstream, Wrong, now};
use crate::support::{Answer, Browser, PASSWORD, Server};

/// A user who is signed in on the pages, and whose address no provider owns.
pub(super) async fn eve(server: &Server) -> (String, Browser<'_>) {
    let user = server.verified_at("eve@user.com").await;
    let mut browser = Browser::of(server);
    browser.sign_in(&user.email, PASSWORD).await;
    (user.id, browser)
}

/// The hidden fields of the form on `/account/password` that unlinks a provider, whose name people read there.
fn unlinking(page: &Answer, label: &str) -> Option<Vec<(String, String)>> {
    let forms = page.body.split("<form").skip(1).map(|form| form.split("</form>").next().unwrap());
    let form = forms.into_iter().find(|form| form.contains("unlink") && form.contains(label))?;
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let tags = form.split('<').skip(1);
    let named = tags.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)));
    Some(named.filter(|(name, _)| name != "csrf").collect())
}

impl Browser<'_> {
    /// Unlinks a provider on the account page. `None` if the page offers no such form.
    pub(super) async fn unlink(&mut self, label: &str, password: &str) -> Option<Answer> {
        let page = self.section("password").await;
        let mut fields = unlinking(&page, label)?;
        if !password.is_empty() {
            fields.push(("current".to_owned(), password.to_owned()));
        }
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        Some(self.press("/account/password", &fields).await)
    }

    async fn sign_out(&mut self) {
        self.open("/").await.expect_status(200);
        self.press("/logout", &[]).await.expect_status(303);
    }

    /// Begins to link. Returns the place at the provider.
    async fn begin_link(&mut self, name: &str) -> String {
        let answer = self.open(&format!("/account/link/{name}")).await;
        answer.expect_status(303).header("location")
    }
}

#[tokio::test]
async fn a_user_links_an_account_after_they_have_seen_which_one() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (id, mut browser) = eve(&server).await;
    let (other, _) = server.sign_in("eve@user.com", PASSWORD).await;
    let place = browser.begin_link("corp").await;
    let asked = browser.open(&path_of(&upstream.come_back(&place))).await.expect_status(200);
    assert!(asked.body.contains(ADA) && asked.body.contains("corp"), "{}", asked.body);
    assert_eq!(server.identities().await, 0, "the answer of the provider alone links");
    let (action, hidden) = person::form_of(&asked);
    let fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    // The form of the page needs its CSRF value.
    let csrf = std::mem::replace(&mut browser.csrf, "another".to_owned());
    let refused = browser.press(&action, &fields).await;
    assert!(refused.status >= 400 && server.identities().await == 0, "{}", refused.status);
    browser.csrf = csrf;
    let done = browser.press(&action, &fields).await.expect_status(303);
    assert!(done.header("location").contains("account"), "{}", done.header("location"));
    assert_eq!(server.identities().await, 1);
    let page = browser.section("password").await;
    assert!(page.body.contains(ADA) && page.body.contains("eve@user.com"), "{}", page.body);
    let letter = server.letter("eve@user.com", person::LINKED, 1).await;
    assert!(
        letter.text.contains("corp") && letter.text.contains("ada·corp·example"),
        "{}",
        letter.text
    );
    // Other sessions end.
    server.wait_until_refused(&other).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    assert!(browser.account().await.body.contains("eve@user.com"));
    assert_eq!(ids_of(&server, "eve@user.com").await, [id]);
    assert_eq!(server.database.count("audit where act = 'identity-link'").await, 1);
    // The form cannot be sent again.
    let again = browser.press(&action, &fields).await;
    assert!(again.status >= 400, "{} {}", again.status, again.header("location"));
}

#[tokio::test]
async fn linking_requires_a_proof_of_a_moment_ago() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (_, mut browser) = eve(&server).await;
    server.advance(Duration::from_secs(1800)).await;
    let led = browser.open("/account/link/corp").await.expect_status(303);
    assert!(led.header("location").contains("login"), "{}", led.header("location"));
    // The proof becomes too old while the person is at the provider.
    let mut browser = Browser::of(&server);
    browser.sign_in("eve@user.com", PASSWORD).await;
    let place = browser.begin_link("corp").await;
    let back = path_of(&upstream.come_back(&place));
    server.advance(Duration::from_secs(1800)).await;
    let asked = browser.open(&back).await;
    if asked.status == 200 {
        let (action, hidden) = person::form_of(&asked);
        let fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
        browser.press(&action, &fields).await;
    }
    assert_eq!(server.identities().await, 0);
    // Nobody who is signed out begins.
    let led = Browser::of(&server).open("/account/link/corp").await.expect_status(303);
    assert!(led.header("location").contains("login"), "{}", led.header("location"));
}

#[tokio::test]
async fn an_account_that_is_linked_elsewhere_is_refused_without_naming_its_user() {
    let (upstream, server) = corp(&json!({})).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    let (_, mut browser) = eve(&server).await;
    upstream.person(&json!({ "email": "changed@corp.example" }));
    let page = browser.link("corp", &upstream).await;
    assert_eq!(check_of(&server, &page).await, "person.linked_elsewhere");
    assert!(!page.body.contains(ADA), "{}", page.body);
    assert_eq!(server.identities().await, 1);
    let mut ada = Browser::of(&server);
    ada.sign_in_with(&upstream).await.expect_status(303);
    assert!(ada.account().await.body.contains(ADA));
}

/// An attacker sends a victim, who is signed in, the end of a linking that the attacker began.
#[tokio::test]
async fn a_linking_ends_only_in_the_browser_and_for_the_user_who_began_it() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (_, mut victim) = eve(&server).await;
    let thief = server.verified_at("thief@user.com").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&thief.email, PASSWORD).await;
    let place = browser.begin_link("corp").await;
    let back = path_of(&upstream.come_back(&place));
    let page = victim.open(&back).await.expect_status(400);
    assert_eq!(check_of(&server, &page).await, "browser.other");
    // Even with the cookie of the browser, another user links nothing.
    let place = browser.begin_link("corp").await;
    let back = path_of(&upstream.come_back(&place));
    browser.sign_out().await;
    browser.sign_in("eve@user.com", PASSWORD).await;
    let page = browser.open(&back).await;
    assert!(page.status >= 400, "{} {}", page.status, page.body);
    // The page that asks belongs to one user and one browser too.
    let mut browser = Browser::of(&server);
    browser.sign_in(&thief.email, PASSWORD).await;
    let place = browser.begin_link("corp").await;
    let asked = browser.open(&path_of(&upstream.come_back(&place))).await.expect_status(200);
    let (action, hidden) = person::form_of(&asked);
    let fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    victim.account().await;
    let refused = victim.press(&action, &fields).await;
    assert!(refused.status >= 400, "{} {}", refused.status, refused.header("location"));
    assert_eq!(server.identities().await, 0);
}

#[tokio::test]
async fn an_account_has_one_identity_at_each_provider() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (_, mut browser) = eve(&server).await;
    browser.link("corp", &upstream).await.expect_status(303);
    upstream.person(&json!({ "sub": "another" }));
    let page = browser.link("corp", &upstream).await;
    assert_eq!(check_of(&server, &page).await, "person.has_another");
    assert_eq!(server.identities().await, 1);
}

/// A server with two providers, of which the first one owns the address.
pub(super) async fn two() -> (Upstream, Upstream, Server) {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let entries = [one.entry(&json!({})), other.entry(&json!({ "name": "second", "domains": [] }))];
    let server = with(&entries).start().await;
    one.use_clock_of(&server);
    other.use_clock_of(&server);
    (one, other, server)
}

/// An account that the provider closed must not stay open with a password that its owner prepared.
#[tokio::test]
async fn nobody_who_is_linked_to_an_exclusive_provider_leaves_it_for_a_password() {
    let (upstream, server) = corp(&json!({ "exclusive": true })).await;
    let (_, mut browser) = eve(&server).await;
    server.sign_in("eve@user.com", PASSWORD).await;
    browser.link("corp", &upstream).await.expect_status(303);
    server.login("eve@user.com", PASSWORD).await.expect_refusal(400, "LOGIN_WITH_PROVIDER");
    if let Some(refused) = browser.unlink("corp", PASSWORD).await {
        assert!(refused.status >= 400, "{} {}", refused.status, refused.body);
    }
    assert_eq!(server.identities().await, 1);
    server.login("eve@user.com", PASSWORD).await.expect_refusal(400, "LOGIN_WITH_PROVIDER");
    let mut other = Browser::of(&server);
    other.sign_in_with(&upstream).await.expect_status(303);
    assert!(other.account().await.body.contains("eve@user.com"));
}

#[tokio::test]
async fn unlinking_never_removes_the_last_way_in() {
    let (one, other, server) = two().await;
    let mut browser = Browser::of(&server);
    browser.sign_in_at("corp", &one).await.expect_status(303);
    // There is no password, and one provider.
    if let Some(refused) = browser.unlink("corp", "").await {
        assert!(refused.status >= 400, "{} {}", refused.status, refused.header("location"));
    }
    assert_eq!(server.identities().await, 1);
    other.person(&json!({ "sub": "second", "email": "eve@second.example" }));
    browser.link("second", &other).await.expect_status(303);
    assert_eq!(server.identities().await, 2);
    // A session stays fresh for the other way in.
    browser.sign_out().await;
    browser.sign_in_at("second", &other).await.expect_status(303);
    let done = browser.unlink("corp", "").await.expect("there is another way in");
    assert_eq!(done.status, 303, "{}", done.body);
    assert_eq!(server.identities().await, 1);
    if let Some(refused) = browser.unlink("second", "").await {
        assert!(refused.status >= 400, "{}", refused.header("location"));
    }
    assert_eq!(server.identities().await, 1);
    // With a password, the provider is not needed any more.
    let letter = server.reset_letter(ADA, 1).await;
    server.reset(&letter.token(), PASSWORD).await.expect_status(200);
    let mut browser = Browser::of(&server);
    browser.sign_in(ADA, PASSWORD).await;
    let done = browser.unlink("second", PASSWORD).await.unwrap();
    assert_eq!(done.status, 303, "{}", done.body);
    assert_eq!(server.identities().await, 0);
    assert_eq!(server.database.count("audit where act = 'identity-unlink'").await, 2);
}

#[tokio::test]
async fn two_unlinkings_at_once_leave_one_way_in() {
    let (one, other, server) = two().await;
    for round in 0..4 {
        let email = format!("ada{round}@corp.example");
        let subject = format!("subject-{round}");
        one.person(&json!({ "sub": subject, "email": email }));
        other.person(&json!({ "sub": subject, "email": format!("x{round}@second.example") }));
        let mut browser = Browser::of(&server);
        browser.sign_in_at("corp", &one).await.expect_status(303);
        browser.link("second", &other).await.expect_status(303);
        assert_eq!(server.identities().await, round + 2);
        let page = browser.section("password").await;
        let mut acts = Vec::new();
        for name in ["corp", "second"] {
            let fields = unlinking(&page, name).unwrap();
            let mut tab = Browser::of(&server);
            tab.cookies.clone_from(&browser.cookies);
            tab.csrf.clone_from(&browser.csrf);
            acts.push(async move {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                tab.press("/account/password", &fields).await.status
            });
        }
        futures_util::future::join_all(acts).await;
        assert_eq!(server.identities().await, round + 1, "both or none were unlinked");
    }
}

#[tokio::test]
async fn sessions_that_an_unlinked_account_opened_end() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (_, mut browser) = eve(&server).await;
    browser.link("corp", &upstream).await.expect_status(303);
    let mut other = Browser::of(&server);
    other.sign_in_with(&upstream).await.expect_status(303);
    browser.unlink("corp", PASSWORD).await.unwrap().expect_status(303);
    assert!(!other.is_signed_in().await);
    assert!(browser.is_signed_in().await);
    let mut other = Browser::of(&server);
    other.sign_in_with(&upstream).await;
    let page = other.open("/account").await;
    assert!(!page.body.contains("eve@user.com"), "{}", page.body);
}

/// Follows the way to the provider from an answer that requires a fresh proof.
async fn again(browser: &mut Browser<'_>, upstream: &Upstream, answer: Answer) -> String {
    let mut answer = answer;
    for _ in 0..4 {
        let place = answer.header("location");
        if place.starts_with(&upstream.issuer()) {
            return place;
        }
        if answer.status == 303 {
            answer = browser.open(&path_of(&place)).await;
            continue;
        }
        let (_, rest) = answer
            .body
            .split_once("login/with/corp?")
            .unwrap_or_else(|| panic!("no way to the provider: {} {}", answer.status, answer.body));
        let query = rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#x2f;", "/");
        answer = browser.open(&format!("/login/with/corp?{query}")).await;
    }
    panic!("no way to the provider: {} {}", answer.status, answer.body);
}

const DELETE: [(&str, &str); 1] = [("act", "delete")];

/// The actions of an account that require its password also work for users who have none: they sign in at their
/// provider again.
#[tokio::test]
async fn an_account_without_a_password_proves_itself_at_its_provider_again() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    server.advance(Duration::from_secs(1800)).await;
    browser.account().await;
    for fields in [&DELETE[..], &[("act", "delete"), ("current", "")]] {
        browser.press("/account", fields).await;
        assert_eq!(server.database.count("\"user\"").await, 1, "a form without a proof deletes");
    }
    let page = browser.section("data").await;
    let place = again(&mut browser, &upstream, page).await;
    assert_eq!(super::parameter(&place, "max_age").as_deref(), Some("0"), "{place}");
    // A provider that did not ask says an old time, or none.
    for auth_time in [Some(json!(now())), None] {
        let claims = vec![("auth_time", auth_time)];
        upstream.make(Wrong { claims, ..Wrong::default() });
        let page = browser.section("data").await;
        let place = again(&mut browser, &upstream, page).await;
        let page = browser.open(&path_of(&upstream.come_back(&place))).await;
        assert_eq!(check_of(&server, &page).await, "id_token.auth_time");
    }
    upstream.make(Wrong::default());
    let page = browser.section("data").await;
    let place = again(&mut browser, &upstream, page).await;
    browser.open(&path_of(&upstream.come_back(&place))).await.expect_status(303);
    browser.account().await;
    let done = browser.press("/account", &DELETE).await;
    assert!([200, 303].contains(&done.status), "{}", done.body);
    assert_eq!(server.database.count("\"user\"").await, 0);
}

#[tokio::test]
async fn another_person_of_the_provider_proves_nothing_for_this_account() {
    let (upstream, server) = corp(&json!({})).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    server.advance(Duration::from_secs(1800)).await;
    let page = browser.section("data").await;
    let place = again(&mut browser, &upstream, page).await;
    upstream.person(&json!({ "sub": "another", "email": "bob@corp.example" }));
    let page = browser.open(&path_of(&upstream.come_back(&place))).await;
    assert_eq!(check_of(&server, &page).await, "person.other");
    browser.account().await;
    browser.press("/account", &DELETE).await;
    assert_eq!(server.database.count("\"user\"").await, 1);
    assert_eq!(server.user_of(ADA).await, json!(["verified"]));
}

/// A thief who knows the password links a provider of their own. The owner reads the mail.
#[tokio::test]
async fn the_owner_gets_an_account_back_from_a_thief_who_linked_a_provider() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (_, mut thief) = eve(&server).await;
    thief.link("corp", &upstream).await.expect_status(303);
    let letter = server.letter("eve@user.com", person::LINKED, 1).await;
    assert!(letter.path().contains("/account"), "{}", letter.path());
    let new = crate::recovery::NEW_PASSWORD;
    let reset = server.reset_letter("eve@user.com", 1).await;
    server.reset(&reset.token(), new).await.expect_status(200);
    assert!(!thief.is_signed_in().await);
    let mut owner = Browser::of(&server);
    owner.sign_in("eve@user.com", new).await;
    owner.open(&letter.path()).await.expect_status(200);
    owner.unlink("corp", new).await.unwrap().expect_status(303);
    let mut thief = Browser::of(&server);
    thief.sign_in_with(&upstream).await;
    let page = thief.open("/account").await;
    assert!(!page.body.contains("eve@user.com"), "{}", page.body);
}

/// The mail about a linked provider has a link that takes it back.
#[tokio::test]
async fn the_link_of_the_mail_takes_a_linked_account_back_once_and_within_three_days() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let (_, mut thief) = eve(&server).await;
    thief.link("corp", &upstream).await.expect_status(303);
    let (access, _) = server.sign_in("eve@user.com", PASSWORD).await;
    for _ in 0..2 {
        server.api_token(&access, &json!({})).await;
    }
    let letter = server.letter("eve@user.com", person::LINKED, 1).await;
    let mut owner = Browser::of(&server);
    owner.open(&letter.path()).await.expect_status(200);
    assert_eq!(server.identities().await, 1, "opening the link did something");
    let token = letter.token();
    // A form needs the CSRF value of its page.
    let csrf = std::mem::replace(&mut owner.csrf, "another".to_owned());
    let refused = owner.press("/account/unlink", &[("token", &token)]).await;
    assert!(refused.status >= 400 && server.identities().await == 1, "{}", refused.status);
    owner.csrf = csrf;
    let done = owner.press("/account/unlink", &[("token", &token)]).await;
    assert!([200, 303].contains(&done.status), "{} {}", done.status, done.body);
    assert_eq!(server.identities().await, 0);
    assert!(!thief.is_signed_in().await);
    // The audit says each thing that ended.
    assert_eq!(server.database.count("api_token").await, 0);
    for (act, count) in [
        ("identity-unlink", 1),
        ("token-delete", 2),
        ("password-reset", 1),
        ("password-reset-mail", 1),
    ] {
        let rows = format!("audit where act = '{act}' and subject like 'user:%'");
        let recorded = async || server.database.count(&rows).await == count;
        crate::support::eventually(act, recorded).await;
    }
    let reset = server.letter("eve@user.com", crate::recovery::RESET, 1).await.token();
    // The person who linked it knew the password.
    server.login("eve@user.com", PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    let reset = json!({ "token": reset, "password": PASSWORD });
    server.post("/auth/reset-password").json(&reset).send().await.expect_status(200);
    let mut late = Browser::of(&server);
    late.sign_in_with(&upstream).await;
    assert!(!late.open("/account").await.body.contains("eve@user.com"));
    // The link is about one identity. A later one of the same person stays.
    server.database.execute("delete from federated_identity").await;
    thief.sign_in("eve@user.com", PASSWORD).await;
    thief.link("corp", &upstream).await.expect_status(303);
    for text in [token.as_str(), "forged", ""] {
        let refused = owner.press("/account/unlink", &[("token", text)]).await;
        assert!(refused.status >= 400, "{text}: {} {}", refused.status, refused.body);
    }
    let letter = server.letter("eve@user.com", person::LINKED, 2).await;
    server.advance(Duration::from_secs(72 * 3600 + 60)).await;
    owner.open(&letter.path()).await;
    let refused = owner.press("/account/unlink", &[("token", &letter.token())]).await;
    assert!(refused.status >= 400, "{} {}", refused.status, refused.body);
    assert_eq!(server.identities().await, 1);
}
