//! Guards: the requests that they accept, and the answers to all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tessera_verify::{
    Claims, Denied, Guard, Key, Prepared, Refusal, Revocation, RevocationList, Verifier, Watch,
};

use crate::support::{
    AUDIENCE, Forgery, ISSUER, NOW, SECRET, access_claims, access_token, keys, refresh_claims,
    refresh_token, session, verifier, verifier_with,
};

fn guard() -> Guard {
    Guard::new(verifier())
}

#[test]
fn a_guard_accepts_access_tokens_only() {
    let guard = guard();
    assert_eq!(guard.required(Some(&access_token()), NOW), Ok(access_claims()));
    assert_eq!(guard.required(None, NOW), Err(Denied::NoToken));
    let mismatch = Denied::Refused(Refusal::TypeMismatch);
    assert_eq!(guard.required(Some(&refresh_token()), NOW), Err(mismatch));
    let malformed = Denied::Refused(Refusal::Malformed);
    assert_eq!(guard.required(Some(""), NOW), Err(malformed));
    let expired = Denied::Refused(Refusal::Expired);
    assert_eq!(guard.required(Some(&access_token()), NOW + 900), Err(expired));
}

#[test]
fn an_optional_token_that_is_not_valid_is_refused() {
    let guard = guard();
    assert_eq!(guard.optional(None, NOW), Ok(None));
    assert_eq!(guard.optional(Some(&access_token()), NOW), Ok(Some(access_claims())));
    let malformed = Denied::Refused(Refusal::Malformed);
    assert_eq!(guard.optional(Some("x"), NOW), Err(malformed));
}

#[test]
fn a_guard_of_refresh_tokens_accepts_refresh_tokens_only() {
    let guard = guard();
    assert_eq!(guard.refresh(Some(&refresh_token()), NOW), Ok(refresh_claims()));
    assert_eq!(guard.refresh(None, NOW), Err(Denied::NoToken));
    let mismatch = Denied::Refused(Refusal::TypeMismatch);
    assert_eq!(guard.refresh(Some(&access_token()), NOW), Err(mismatch));
}

#[test]
fn a_token_is_fresh_for_as_long_as_the_guard_is_set_to() {
    let given_at = |auth_time| Forgery::access().with("auth_time", auth_time).sign();
    let stale = |max_age| Denied::NotFresh { max_age };
    let guard = guard();
    assert!(guard.fresh(Some(&given_at(NOW - 900)), NOW).is_ok());
    assert_eq!(guard.fresh(Some(&given_at(NOW - 901)), NOW), Err(stale(900)));
    assert_eq!(guard.fresh(None, NOW), Err(Denied::NoToken));
    let guard = guard.fresh_for(60);
    assert!(guard.fresh(Some(&given_at(NOW - 60)), NOW).is_ok());
    assert_eq!(guard.fresh(Some(&given_at(NOW - 61)), NOW), Err(stale(60)));
    let renewed = Forgery::access().with("fresh", false).sign();
    assert_eq!(guard.fresh(Some(&renewed), NOW), Err(stale(60)));
    assert_eq!(guard.require_fresh(&access_claims(), NOW), Ok(()));
    assert_eq!(guard.require_fresh(&access_claims(), NOW + 60), Err(stale(60)));
    assert_eq!(guard.require_fresh(&refresh_claims(), NOW), Err(stale(60)));
}

#[test]
fn a_scope_is_a_whole_word() {
    let guard = guard();
    let scoped = |scope: &str, asked: &str| {
        let token = Forgery::access().with("scope", scope).sign();
        guard.scoped(Some(&token), asked, NOW).map(|_| ())
    };
    for scope in ["reports", "a reports", "reports b", "a reports b"] {
        assert_eq!(scoped(scope, "reports"), Ok(()), "{scope}");
    }
    for scope in ["", "report", "reports2", "xreports", "Reports", "reports\tb"] {
        assert_eq!(scoped(scope, "reports"), Err(Denied::Scope("reports".into())), "{scope}");
    }
    assert_eq!(guard.scoped(None, "reports", NOW), Err(Denied::NoToken));
    let mismatch = Denied::Refused(Refusal::TypeMismatch);
    assert_eq!(guard.scoped(Some(&refresh_token()), "reports", NOW), Err(mismatch));
}

#[test]
fn a_guard_uses_the_revocation_list_of_its_verifier() {
    let list = RevocationList::new();
    list.add(Revocation::session(session(), NOW + 1000));
    let guard = Guard::new(verifier_with(list));
    let revoked = Denied::Refused(Refusal::Revoked);
    assert_eq!(guard.required(Some(&access_token()), NOW), Err(revoked));
    assert!(guard.verifier().is_revoked(&access_claims()));
    assert!(
        !Guard::new(Verifier::new(keys(), ISSUER, AUDIENCE))
            .verifier()
            .is_revoked(&access_claims())
    );
}

/// The status, the detail, the challenge, the seconds to wait and the sentence of an answer.
type Answer = (u16, &'static str, Option<&'static str>, Option<u64>, &'static str);

#[test]
fn each_denial_has_the_answer_that_tessera_gives() {
    let answers: [(Denied, Answer); 5] = [
        (Denied::NoToken, (401, "Unauthorized", Some("Bearer"), None, "the request has no token")),
        (
            Denied::Refused(Refusal::Expired),
            (
                401,
                "Unauthorized",
                Some(
                    "Bearer error=\"invalid_token\", error_description=\"the token has expired\", \
                     reason=\"token_expired\"",
                ),
                None,
                "the token has expired",
            ),
        ),
        (
            Denied::NotFresh { max_age: 60 },
            (
                401,
                "FRESH_TOKEN_REQUIRED",
                Some(
                    "Bearer error=\"insufficient_user_authentication\", error_description=\"the \
                     password was given too long ago\", max_age=\"60\"",
                ),
                None,
                "the password was given too long ago",
            ),
        ),
        (
            Denied::Scope("reports".into()),
            (
                403,
                "INSUFFICIENT_SCOPE",
                Some("Bearer error=\"insufficient_scope\", scope=\"reports\""),
                None,
                "the token does not have the scope reports",
            ),
        ),
        (
            Denied::Unavailable,
            (
                503,
                "SERVICE_UNAVAILABLE",
                None,
                Some(1),
                "the service cannot tell now whether the token was revoked",
            ),
        ),
    ];
    for (denied, (status, detail, challenge, wait, sentence)) in answers {
        assert_eq!(denied.status(), status);
        assert_eq!(denied.detail(), detail);
        assert_eq!(denied.challenge().as_deref(), challenge);
        assert_eq!(denied.retry_after(), wait);
        assert_eq!(denied.to_string(), sentence);
    }
}

/// A watch that accepts only tokens of one key, once it is prepared, a minute later than the clock says.
#[derive(Debug)]
struct Keeper {
    kid: String,
    is_prepared: AtomicBool,
}

impl Watch for Keeper {
    fn prepare(&self) -> Option<Prepared<'_>> {
        Some(Box::pin(async { self.is_prepared.store(true, Ordering::Relaxed) }))
    }

    fn time(&self, now: u64) -> u64 {
        now + 60
    }

    fn judge(&self, kid: &str, claims: Claims) -> Result<Claims, Denied> {
        let knows = kid == self.kid && self.is_prepared.load(Ordering::Relaxed);
        if knows { Ok(claims.with_extra("watched", true)) } else { Err(Denied::Unavailable) }
    }

    fn refused(&self, _refusal: Refusal) -> Denied {
        Denied::Unavailable
    }
}

#[tokio::test]
async fn a_watch_is_prepared_and_judges_each_token_with_its_key_and_its_time() {
    let keeper = |kid: &str| Keeper { kid: kid.to_owned(), is_prepared: AtomicBool::new(false) };
    let guard = guard().watch(Arc::new(keeper(Key::hs256(SECRET).id())));
    let token = access_token();
    assert_eq!(guard.required(Some(&token), NOW), Err(Denied::Unavailable));
    guard.prepare().await;
    assert_eq!(guard.required(Some(&token), NOW), Ok(access_claims().with_extra("watched", true)));
    assert_eq!(guard.required(Some("x"), NOW), Err(Denied::Unavailable));
    assert!(guard.required(Some(&token), NOW + 839).is_ok());
    assert_eq!(guard.required(Some(&token), NOW + 840), Err(Denied::Unavailable));
    let other = self::guard().watch(Arc::new(keeper("another")));
    other.prepare().await;
    assert_eq!(other.required(Some(&token), NOW), Err(Denied::Unavailable));
}
