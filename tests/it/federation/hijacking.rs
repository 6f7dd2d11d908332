//! Accounts that an attacker prepares before their victim comes: the five kinds of account pre-hijacking, and foreign
//! tenants that name other people's addresses.

use std::time::Duration;

use serde_json::json;

use super::{ADA, corp, ids_of, with};
use crate::consents::silently;
use crate::hijack::Held;
use crate::provider::{self, Client};
use crate::recovery::{RESET, VERIFY};
use crate::support::upstream::Upstream;
use crate::support::{Browser, PASSWORD, Person, Server};

/// Asserts that nothing that the attacker holds opens anything.
async fn assert_nothing_works(server: &Server, held: &mut Held<'_>) {
    server.wait_until_caught_up().await;
    for (what, answer) in held.use_everything(server).await {
        assert!(answer.status != 200, "{what} still works: {}", answer.body);
    }
    server.login(ADA, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
}

/// An attacker who registered the address of a person who has not come yet.
async fn squatter(server: &Server) -> Held<'_> {
    let id = server.register(ADA, PASSWORD).await.expect_status(201).text("id");
    let (access, refresh) = server.sign_in(ADA, PASSWORD).await;
    Held::by(server, Person { id, email: ADA.to_owned(), access, refresh }).await
}

/// The first two kinds: the victim signs in with a provider, the attacker with the password (classic-federated merge),
/// or with a session that was never ended (unexpired session).
#[tokio::test]
async fn an_account_that_was_prepared_with_a_password_and_sessions_is_not_the_victims() {
    let (upstream, server) = corp(&json!({})).await;
    let mut held = squatter(&server).await;
    // It is sent before the account ends: a mail that still waits then is never sent.
    let letter = server.letter(ADA, VERIFY, 1).await;
    let mut victim = Browser::of(&server);
    victim.sign_in_with(&upstream).await.expect_status(303);
    let ids = ids_of(&server, ADA).await;
    assert!(ids.len() == 1 && ids[0] != held.person.id, "{ids:?}");
    assert_nothing_works(&server, &mut held).await;
    assert!(victim.is_signed_in().await);
    // No link of the old account works either.
    server.verify(&letter.token()).await.expect_status(400);
}

/// The third kind (trojan identifier): the attacker adds a provider's account of their own to the prepared account.
#[tokio::test]
async fn an_account_whose_address_was_never_proved_cannot_be_linked_in_advance() {
    let (corp, evil) = (Upstream::start().await, Upstream::start().await);
    let entries = [corp.entry(&json!({})), evil.entry(&json!({ "name": "evil", "domains": [] }))];
    let server = with(&entries).start().await;
    evil.person(&json!({ "sub": "eve", "email": "eve@evil.example" }));
    let mut held = squatter(&server).await;
    held.browser.link("evil", &evil).await;
    // Whether or not the attacker could link it, nothing of theirs is in the victim's account.
    let mut victim = Browser::of(&server);
    victim.sign_in_at("corp", &corp).await.expect_status(303);
    let mut attacker = Browser::of(&server);
    attacker.sign_in_at("evil", &evil).await;
    let page = attacker.open("/account").await;
    assert!(!page.body.contains(ADA), "{}", page.body);
    assert_nothing_works(&server, &mut held).await;

    // The same if the victim takes the account over with the link of the mail, or with a new password.
    for way in ["verify", "reset"] {
        let server = with(&entries).start().await;
        let mut held = squatter(&server).await;
        held.browser.link("evil", &evil).await;
        let new = crate::recovery::NEW_PASSWORD;
        if way == "verify" {
            let letter = server.letter(ADA, VERIFY, 1).await;
            let mut owner = Browser::of(&server);
            owner.open(&letter.path()).await.expect_status(200);
            let filled = [("act", "take-over"), ("token", &*letter.token()), ("password", new)];
            owner.press("/verify", &filled).await.expect_status(200);
        } else {
            let letter = server.reset_letter(ADA, 1).await;
            assert!(letter.subject.contains(RESET));
            server.reset(&letter.token(), new).await.expect_status(200);
        }
        let mut attacker = Browser::of(&server);
        attacker.sign_in_at("evil", &evil).await;
        let page = attacker.open("/account").await;
        assert!(!page.body.contains(ADA), "{way}: {}", page.body);
        server.sign_in(ADA, new).await;
    }
}

/// The fourth kind (unexpired email change): the attacker asks for another address and confirms it later.
#[tokio::test]
async fn a_change_of_address_that_an_attacker_began_changes_nothing_later() {
    let (upstream, server) = corp(&json!({})).await;
    let mut held = squatter(&server).await;
    // The prepared account moves away from the victim's address, and back.
    for email in ["eve@evil.example", ADA] {
        let change = json!({ "email": email });
        server.change_me(&held.person.access, &change).await.expect_status(200);
    }
    server
        .change_me(&held.person.access, &json!({ "email": "eve@evil.example" }))
        .await
        .expect_status(200);
    let letter = server.letter("eve@evil.example", VERIFY, 2).await;
    let mut victim = Browser::of(&server);
    victim.sign_in_with(&upstream).await.expect_status(303);
    let ids = ids_of(&server, ADA).await;
    assert!(ids.len() == 1 && ids[0] != held.person.id, "{ids:?}");
    // The attacker may prove their own address, of their own account.
    server.verify(&letter.token()).await;
    assert_eq!(ids_of(&server, ADA).await, ids);
    assert!(victim.account().await.body.contains(ADA));
    held.person.email = ADA.to_owned();
    server.login(ADA, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    for letter in server.outbox().into_iter().filter(|letter| letter.text.contains("?token=")) {
        server.verify(&letter.token()).await;
        server.restore(&letter.token()).await;
    }
    assert_eq!(ids_of(&server, ADA).await, ids);
}

/// The fifth kind (non-verifying provider), and nOAuth: a provider says the address of another person.
#[tokio::test]
async fn a_provider_that_does_not_own_the_address_prepares_no_account() {
    let (corp, loose) = (Upstream::start().await, Upstream::start().await);
    let entries = [corp.entry(&json!({})), loose.entry(&json!({ "name": "loose", "domains": [] }))];
    let server = with(&entries).start().await;
    loose.person(&json!({ "sub": "eve", "email_verified": true }));
    let mut attacker = Browser::of(&server);
    attacker.sign_in_at("loose", &loose).await.expect_status(303);
    let prepared = ids_of(&server, ADA).await;
    let mut victim = Browser::of(&server);
    victim.sign_in_at("corp", &corp).await.expect_status(303);
    let ids = ids_of(&server, ADA).await;
    assert!(ids.len() == 1 && ids != prepared, "{ids:?}");
    assert!(!attacker.is_signed_in().await, "the prepared session still works");
    let mut attacker = Browser::of(&server);
    let page = attacker.sign_in_at("loose", &loose).await;
    assert!(page.status >= 400, "{} {}", page.status, page.body);
    assert!(!attacker.is_signed_in().await);
    // The victim who registers with a password is safe from it too.
    let server = with(&entries).start().await;
    let mut attacker = Browser::of(&server);
    attacker.sign_in_at("loose", &loose).await.expect_status(303);
    let letter = server.reset_letter(ADA, 1).await;
    server.reset(&letter.token(), crate::recovery::NEW_PASSWORD).await.expect_status(200);
    let mut attacker = Browser::of(&server);
    attacker.sign_in_at("loose", &loose).await;
    assert!(!attacker.is_signed_in().await, "the attacker is in the victim's account");
}

/// Links the account of the provider to the user's, as somebody who knows the password does.
async fn link_by_hand(server: &Server, upstream: &Upstream, person: &Person) {
    let mut browser = Browser::of(server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.link("corp", upstream).await.expect_status(303);
    assert_eq!(server.identities().await, 1);
}

/// A thief who knew the password linked an account of theirs. The owner says with the reset that somebody else was there.
#[tokio::test]
async fn a_reset_that_ends_everything_removes_identities_of_the_last_three_days() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let person = server.verified_at("owner@user.com").await;
    let mut mails = 0;
    for (hours, ends, expected) in [(0, true, 0), (71, true, 0), (0, false, 1), (73, true, 1)] {
        server.database.execute("delete from federated_identity").await;
        server.database.execute("delete from session").await;
        link_by_hand(&server, &upstream, &person).await;
        server.advance(Duration::from_secs(hours * 3600)).await;
        mails += 1;
        let letter = server.reset_letter(&person.email, mails).await;
        let body =
            json!({ "token": letter.token(), "password": PASSWORD, "delete_api_tokens": ends });
        server.post("/auth/reset-password").json(&body).send().await.expect_status(200);
        assert_eq!(server.identities().await, expected, "{hours} hours, {ends}");
        let mut linked = Browser::of(&server);
        linked.sign_in_with(&upstream).await;
        let page = linked.open("/account").await;
        assert_eq!(page.body.contains(&person.email), expected == 1, "{hours} hours, {ends}");
        // An account of its own that the other person got.
        server.database.execute("delete from \"user\" where email <> 'owner@user.com'").await;
    }
}

/// A thief links an account and changes the address. The owner takes the account back, and then has no password.
#[tokio::test]
async fn an_account_that_was_taken_back_has_no_password_and_no_identity_of_the_thief() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    let thief = crate::recovery::NEW_PASSWORD;
    for (hours, email, expected) in [(0, "first@user.com", 0), (73, "second@user.com", 1)] {
        let person = server.verified_at(email).await;
        link_by_hand(&server, &upstream, &person).await;
        server.advance(Duration::from_secs(hours * 3600)).await;
        let (access, _) = server.sign_in(&person.email, PASSWORD).await;
        let change = json!({ "email": format!("thief-of-{email}"), "password": thief });
        server.change_me(&access, &change).await.expect_status(200);
        let letter = server.letter(&person.email, crate::recovery::CHANGED, 1).await;
        server.restore(&letter.token()).await.expect_status(200);
        assert_eq!(server.identities().await, expected, "{hours} hours");
        for password in [PASSWORD, thief] {
            let refused = server.login(&person.email, password).await;
            refused.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
        }
        if expected == 0 {
            continue;
        }
        // The account has no password, so its page asks for none, and the last way in stays.
        let mut browser = Browser::of(&server);
        browser.sign_in_with(&upstream).await.expect_status(303);
        let page = browser.section("data").await;
        assert!(!page.body.contains("name=\"current\""), "{}", page.body);
        if let Some(refused) = browser.unlink("corp", "").await {
            assert_eq!(refused.status, 409, "{}", refused.body);
        }
        assert_eq!(server.identities().await, 1);
        browser.account().await;
        let export = browser.press("/account/export", &[]).await;
        assert_eq!(export.status, 200, "a proof of a moment ago is enough: {}", export.body);
    }
}

/// An attacker who knows the password lets an application in before the owner comes with a provider, or takes back a link.
#[tokio::test]
async fn what_an_attacker_permitted_an_application_is_gone_with_the_attacker() {
    let (upstream, server) = corp(&json!({})).await;
    Client::default().insert(&server.database).await;
    let mut held = squatter(&server).await;
    provider::code(&mut held.browser, &[]).await;
    // Somebody confirmed the address, and set no password.
    let token = server.letter(ADA, VERIFY, 1).await.token();
    server.verify(&token).await.expect_status(200);
    let mut victim = Browser::of(&server);
    victim.sign_in_with(&upstream).await.expect_status(303);
    assert_eq!(ids_of(&server, ADA).await, [held.person.id]);
    assert_eq!(silently(&mut victim, &[]).await, Err("consent_required".to_owned()));
    assert_eq!(server.database.count("consent").await, 0);

    let owner = server.verified_at("owner@user.com").await;
    upstream.person(&json!({ "sub": "thief", "email": "thief@elsewhere.example" }));
    let mut thief = Browser::of(&server);
    thief.sign_in(&owner.email, PASSWORD).await;
    thief.link("corp", &upstream).await.expect_status(303);
    provider::code(&mut thief, &[]).await;
    assert_eq!(server.database.count("consent").await, 1);
    let letter = server.letter(&owner.email, super::person::LINKED, 1).await;
    let mut browser = Browser::of(&server);
    browser.open(&letter.path()).await.expect_status(200);
    browser.press("/account/unlink", &[("token", &letter.token())]).await;
    assert_eq!((server.identities().await, server.database.count("consent").await), (1, 0));
}
