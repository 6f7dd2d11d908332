//! Sets of keys, with the keys that sign and those that verify.

use serde_json::json;
use tessera_verify::{Key, KeySet, SigningAlgorithm, Verifier};

use crate::keys::pair;
use crate::support::{ISSUER, NOW, access_claims, refresh_claims};

fn key(secret: &str) -> Key {
    Key::hs256(secret.as_bytes())
}

fn signs(keys: &KeySet, audience: &str) -> Option<String> {
    keys.access(audience).map(|key| key.id().to_owned())
}

fn named(secret: &str) -> Option<String> {
    Some(key(secret).id().to_owned())
}

#[test]
fn the_latest_key_for_an_audience_signs_its_tokens() {
    let keys = KeySet::new(key("first"))
        .with_access(key("second"))
        .with_access(key("mail").for_audience("mail"))
        .with_access(key("mail again").for_audience("mail"))
        .with_access(key("billing").for_audience("billing"));
    assert_eq!(signs(&keys, "mail"), named("mail again"));
    assert_eq!(signs(&keys, "billing"), named("billing"));
    assert_eq!(signs(&keys, "anybody"), named("second"));
    let keys = KeySet::default().with_access(key("mail").for_audience("mail"));
    assert_eq!(signs(&keys, "anybody"), None);
    assert_eq!(signs(&keys, "mail"), named("mail"));
}

#[test]
fn keys_that_only_verify_sign_nothing() {
    let keys = KeySet::verifying([key("a"), Key::refresh(b"a")]).with_previous(key("b"));
    assert_eq!(signs(&keys, "anybody"), None);
    assert!(keys.refresh().is_none());
    let keys = keys.with_refresh(Key::refresh(b"c"));
    assert_eq!(keys.refresh().unwrap().id(), Key::refresh(b"c").id());
    assert_eq!(signs(&keys, "anybody"), None);
}

#[test]
fn every_key_of_a_set_verifies() {
    let keys = KeySet::new(key("a"))
        .with_access(key("b"))
        .with_previous(key("c"))
        .with_refresh(Key::refresh(b"d"));
    let verifier = Verifier::new(keys, ISSUER, "reports");
    for secret in ["a", "b", "c"] {
        let token = key(secret).sign(&access_claims()).unwrap();
        assert_eq!(verifier.verify_either(&token, NOW), Ok(access_claims()), "{secret}");
    }
    let token = Key::refresh(b"d").sign(&refresh_claims()).unwrap();
    assert_eq!(verifier.verify_either(&token, NOW), Ok(refresh_claims()));
}

#[test]
fn a_key_that_already_verifies_can_sign_and_is_published_once() {
    let (first, second) = (pair(SigningAlgorithm::EdDsa), pair(SigningAlgorithm::Es256));
    let (first, second) = (std::sync::Arc::new(first), std::sync::Arc::new(second));
    let keys = KeySet::default()
        .with_previous(first.clone())
        .with_access(first.clone())
        .with_access(second.clone())
        .with_previous(key("a secret"))
        .with_refresh(Key::refresh(b"a secret"));
    let published: Vec<_> = keys.public().map(|key| json!(key)["kid"].clone()).collect();
    assert_eq!(json!(published), json!([first.id(), second.id()]));
    assert_eq!(signs(&keys, "anybody").as_deref(), Some(second.id()));
}
