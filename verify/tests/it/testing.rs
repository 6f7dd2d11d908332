//! The issuer for tests of services, and what a service answers to its tokens.

use tessera_verify::testing::FakeIssuer;
use tessera_verify::{Denied, Refusal};

const USER: &str = "56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2";

#[test]
fn a_token_is_accepted_until_it_is_revoked_expires_or_its_key_is_retired() {
    let issuer = FakeIssuer::new("reports");
    let guard = issuer.tessera().guard();
    let judge = |token: &str| guard.required(Some(token), issuer.now());
    let (first, second) = (issuer.token(USER).sign(), issuer.token(USER).sign());
    assert_eq!(judge(&first).unwrap().sub.to_string(), USER);
    issuer.revoke(&first);
    assert_eq!(judge(&first), Err(Denied::Refused(Refusal::Revoked)));
    judge(&second).unwrap();
    issuer.rotate();
    assert_eq!(judge(&second), Err(Denied::Refused(Refusal::KeyUnknown)));
    judge(&issuer.token(USER).sign()).unwrap();
    let expired = issuer.token(USER).expires_in(-1).sign();
    assert_eq!(judge(&expired), Err(Denied::Refused(Refusal::Expired)));
}

#[test]
fn guards_ask_for_a_fresh_token_and_for_a_scope() {
    let issuer = FakeIssuer::new("reports");
    let (guard, now) = (issuer.tessera().guard(), issuer.now());
    let token = issuer.token(USER).fresh(false).scope("read write").sign();
    assert!(matches!(guard.fresh(Some(&token), now), Err(Denied::NotFresh { max_age: 900 })));
    guard.scoped(Some(&token), "write", now).unwrap();
    let denied = guard.scoped(Some(&token), "admin", now);
    assert_eq!(denied, Err(Denied::Scope("admin".to_owned())));
    assert_eq!(guard.optional(None, now), Ok(None));
    guard.fresh(Some(&issuer.token(USER).sign()), now).unwrap();
}

#[test]
fn a_service_that_knows_too_little_refuses_valid_tokens_with_503_and_revoked_ones_with_401() {
    let issuer = FakeIssuer::new("reports");
    let guard = issuer.tessera().guard();
    let judge = |token: &str| guard.required(Some(token), issuer.now());
    let (valid, revoked) = (issuer.token(USER).sign(), issuer.token(USER).sign());
    issuer.revoke(&revoked);
    assert_eq!(format!("{issuer:?}"), "FakeIssuer { .. }");
    issuer.make_stale();
    assert_eq!(judge(&valid), Err(Denied::Unavailable));
    assert_eq!(judge(&revoked), Err(Denied::Refused(Refusal::Revoked)));
    assert_eq!(judge("no token"), Err(Denied::Refused(Refusal::Malformed)));
    assert_eq!(guard.required(None, issuer.now()), Err(Denied::NoToken));
    issuer.make_fresh();
    judge(&valid).unwrap();
    let metrics = issuer.tessera().metrics();
    assert!(
        metrics.contains("tessera_verify_refusals_total{reason=\"token_revoked\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("tessera_verify_refusals_total{reason=\"unavailable\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("tessera_verify_state{state=\"fresh\"} 1\n"), "{metrics}");
}
