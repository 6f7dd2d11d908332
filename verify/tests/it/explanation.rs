//! Explanations of why a token is accepted or refused.

use tessera_verify::{Claims, Key, Refusal, Revocation, RevocationList};

use crate::support::{
    Forgery, NOW, SECRET, access_claims, access_token, refresh_claims, refresh_token, session,
    user, verifier, verifier_with,
};

fn sign(claims: &Claims) -> String {
    Key::hs256(SECRET).sign(claims).unwrap()
}

fn explain(token: &str, now: u64) -> String {
    verifier().explain(token, now).to_string()
}

#[test]
fn the_explanation_of_an_accepted_token_names_its_user_and_its_remaining_life() {
    let explanation = verifier().explain(&access_token(), NOW + 30);
    assert_eq!(explanation.refusal, None);
    assert_eq!(explanation.claims, Some(access_claims()));
    assert_eq!(
        explanation.to_string(),
        format!(
            "accepted: an access token of user {}, issued 30 seconds ago (at {NOW}), valid for \
             another 14 minutes",
            user()
        )
    );
    let explanation = verifier().explain(&refresh_token(), NOW);
    assert_eq!((explanation.refusal, explanation.claims), (None, Some(refresh_claims())));
    assert_eq!(
        explain(&refresh_token(), NOW),
        format!(
            "accepted: a refresh token of user {}, issued 0 seconds ago (at {NOW}), valid for \
             another 25 hours",
            user()
        )
    );
}

#[test]
fn the_explanation_of_a_refused_token_has_the_reason_and_the_relevant_time() {
    let cases = [
        (
            access_claims().with_exp(NOW - 35),
            Refusal::Expired,
            format!("the token has expired, 35 seconds ago (at {})", NOW - 35),
        ),
        (
            access_claims().with_nbf(NOW + 300),
            Refusal::NotYetValid,
            format!("the token is not valid yet: it becomes valid in 5 minutes (at {})", NOW + 300),
        ),
        (
            access_claims().with_iat(NOW + 301),
            Refusal::NotYetValid,
            format!("the token is not valid yet: it becomes valid in 5 minutes (at {})", NOW + 301),
        ),
        (
            access_claims().with_exp(NOW + 40 * 86_400),
            Refusal::LifetimeTooLong,
            "the lifetime of the token is longer than allowed: it is 40 days".to_owned(),
        ),
    ];
    for (claims, refusal, sentence) in cases {
        let explanation = verifier().explain(&sign(&claims), NOW);
        assert_eq!(explanation.refusal, Some(refusal));
        assert_eq!(explanation.to_string(), format!("refused ({}): {sentence}", refusal.reason()));
        assert_eq!(explanation.claims, Some(claims));
    }
    let list = RevocationList::new();
    list.add(Revocation::session(session(), NOW + 1000));
    assert_eq!(
        verifier_with(list).explain(&access_token(), NOW + 7200).to_string(),
        format!(
            "refused (token_expired): the token has expired, 105 minutes ago (at {})",
            NOW + 900
        )
    );
    let list = RevocationList::new();
    list.add(Revocation::session(session(), NOW + 1000));
    assert_eq!(
        verifier_with(list).explain(&access_token(), NOW + 1).to_string(),
        format!(
            "refused (token_revoked): the token was revoked; it was issued 1 seconds ago (at {NOW})"
        )
    );
}

#[test]
fn the_explanation_of_a_foreign_token_has_no_claims() {
    for (token, words) in [
        (
            "x".to_owned(),
            "refused (token_malformed): the token is not a JWT, which has three parts in canonical base64url, \
             separated by dots",
        ),
        (
            Forgery::access().with("iss", "elsewhere").sign(),
            "refused (issuer_mismatch): the token is from another issuer. The token is another issuer's: it names \
             elsewhere, and this issuer is https://id.example.com",
        ),
        (
            Forgery::access().signed_with(b"x").sign(),
            "refused (signature_invalid): the signature does not match",
        ),
    ] {
        let explanation = verifier().explain(&token, NOW);
        assert_eq!(explanation.claims, None);
        assert_eq!(explanation.to_string(), words);
    }
}

/// A token can contain any text. Terminals and log lines get none that could deceive their reader.
#[test]
fn an_explanation_names_only_an_issuer_that_is_a_short_plain_text() {
    let named = |token: &str| verifier().explain(token, NOW).other_issuer;
    let of = |issuer: &str| Forgery::access().with("iss", issuer).sign();
    for issuer in ["elsewhere", "x", &"x".repeat(200)] {
        assert_eq!(named(&of(issuer)).as_deref(), Some(issuer));
    }
    for issuer in ["", "two words", "a\u{1b}[2J", "a\n", "\u{202e}a", "é", &"x".repeat(201)] {
        assert_eq!(named(&of(issuer)), None, "{issuer:?}");
    }
    // The rest of such a token cannot be read.
    let token = of("elsewhere");
    let (_, rest) = token.split_once('.').unwrap();
    assert_eq!(named(&format!("!!!.{rest}")), None);
}

#[test]
fn a_span_is_written_in_the_largest_unit_of_which_it_contains_two() {
    for (seconds, words) in [
        (0, "0 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
        (864_000, "10 days"),
    ] {
        let token = sign(&access_claims().with_iat(NOW - seconds).with_exp(NOW));
        let sentence = explain(&token, NOW);
        assert_eq!(
            sentence,
            format!("refused (token_expired): the token has expired, 0 seconds ago (at {NOW})")
        );
        let expired = sign(&access_claims().with_iat(NOW - seconds).with_exp(NOW - seconds));
        let sentence = explain(&expired, NOW);
        let end = format!(", {words} ago (at {})", NOW - seconds);
        assert!(sentence.ends_with(&end), "{sentence}");
    }
}
