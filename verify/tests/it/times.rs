//! The times at which a token is valid, and the kind that it must have.

use tessera_verify::{Claims, DEFAULT_LEEWAY, Key, MAX_LEEWAY, Refusal, TokenType, Verifier};

use crate::support::{
    AUDIENCE, ISSUER, NOW, SECRET, access_claims, access_token, keys, refresh_claims,
    refresh_token, verifier,
};

fn sign(claims: &Claims) -> String {
    let key = match claims.token_type() {
        TokenType::Access => Key::hs256(SECRET),
        _ => Key::refresh(SECRET),
    };
    key.sign(claims).unwrap()
}

/// Verifies a token with each method, and checks that all have the same result.
fn all(verifier: &Verifier, claims: &Claims, now: u64) -> Result<Claims, Refusal> {
    let token = sign(claims);
    let judged = verifier.verify(&token, claims.token_type(), now);
    assert_eq!(verifier.verify_either(&token, now), judged);
    assert_eq!(verifier.verify_any(&token, now), judged);
    judged
}

#[test]
fn a_token_expires_at_the_second_of_its_expiry_whatever_the_leeway_is() {
    for leeway in [0, DEFAULT_LEEWAY, MAX_LEEWAY] {
        let verifier = verifier().leeway(leeway);
        for claims in [access_claims(), refresh_claims()] {
            assert_eq!(all(&verifier, &claims, claims.exp - 1), Ok(claims.clone()));
            for now in [claims.exp, claims.exp + 1, u64::MAX] {
                assert_eq!(all(&verifier, &claims, now), Err(Refusal::Expired));
            }
        }
    }
}

#[test]
fn a_token_is_valid_from_the_later_of_iat_and_nbf_minus_the_leeway() {
    assert_eq!((DEFAULT_LEEWAY, MAX_LEEWAY), (2, 60));
    for (verifier, leeway) in [
        (verifier(), 2),
        (verifier().leeway(0), 0),
        (verifier().leeway(30), 30),
        (verifier().leeway(60), 60),
        (verifier().leeway(61), 60),
        (verifier().leeway(u64::MAX), 60),
    ] {
        for claims in [
            access_claims().with_iat(NOW + 100).with_nbf(NOW),
            access_claims().with_iat(NOW).with_nbf(NOW + 100),
            refresh_claims().with_iat(NOW + 100),
            refresh_claims().with_nbf(NOW + 100),
        ] {
            let start = NOW + 100 - leeway;
            assert_eq!(all(&verifier, &claims, start), Ok(claims.clone()), "{leeway}");
            assert_eq!(all(&verifier, &claims, start - 1), Err(Refusal::NotYetValid), "{leeway}");
        }
    }
    // The addition of the leeway does not overflow.
    let endless = access_claims().with_exp(u64::MAX).with_iat(u64::MAX - 1);
    assert_eq!(all(&verifier(), &endless, u64::MAX - 1), Ok(endless.clone()));
}

#[test]
fn a_token_with_a_lifetime_that_is_too_long_is_refused() {
    let life = |seconds| access_claims().with_exp(NOW + seconds);
    let verifier = verifier();
    assert!(all(&verifier, &life(86_400), NOW).is_ok());
    assert_eq!(all(&verifier, &life(86_401), NOW), Err(Refusal::LifetimeTooLong));
    verifier.replace_max_access_lifetime(900);
    assert!(all(&verifier, &life(900), NOW).is_ok());
    assert_eq!(all(&verifier, &life(901), NOW), Err(Refusal::LifetimeTooLong));
    let verifier = verifier.max_access_lifetime(60);
    assert!(all(&verifier, &life(60), NOW).is_ok());
    assert_eq!(all(&verifier, &life(61), NOW), Err(Refusal::LifetimeTooLong));
    // The limit for refresh tokens is ten years.
    let ten_years = 10 * 366 * 86_400;
    assert!(all(&verifier, &refresh_claims().with_exp(NOW + ten_years), NOW).is_ok());
    let longer = refresh_claims().with_exp(NOW + ten_years + 1);
    assert_eq!(all(&verifier, &longer, NOW), Err(Refusal::LifetimeTooLong));
}

#[test]
fn a_token_of_one_kind_is_never_accepted_as_the_other_kind() {
    let verifier = verifier();
    let (access, refresh) = (access_token(), refresh_token());
    let kinds = [(TokenType::Access, &access, &refresh), (TokenType::Refresh, &refresh, &access)];
    for (expected, right, wrong) in kinds {
        assert!(verifier.verify(right, expected, NOW).is_ok());
        assert_eq!(verifier.verify(wrong, expected, NOW), Err(Refusal::TypeMismatch));
        assert!(verifier.verify_either(wrong, NOW).is_ok());
        assert!(verifier.verify_any(wrong, NOW).is_ok());
        assert!(verifier.read(wrong).is_ok());
    }
    // The header and the claims must name the same kind.
    let disguised = crate::support::Forgery::access().with("type", "refresh").with("gen", 0);
    let judged = verifier.verify_either(&disguised.with("aud", ISSUER).sign(), NOW);
    assert_eq!(judged, Err(Refusal::TypeMismatch));
}

#[test]
fn a_token_is_read_whatever_its_times_are() {
    let verifier = verifier();
    for claims in [
        access_claims().with_exp(NOW - 1),
        access_claims().with_nbf(NOW + 1000),
        access_claims().with_exp(NOW + 1_000_000),
        refresh_claims().with_exp(0),
    ] {
        assert_eq!(verifier.read(&sign(&claims)), Ok(claims));
    }
}

#[test]
fn an_expired_token_is_read_if_it_could_have_been_valid() {
    let verifier = verifier();
    let past = |claims: &Claims| verifier.read_past(&sign(claims), NOW);
    for claims in [access_claims(), access_claims().with_exp(NOW - 1), refresh_claims().with_exp(1)]
    {
        assert_eq!(past(&claims), Ok(claims));
    }
    assert_eq!(past(&access_claims().with_nbf(NOW + 3)), Err(Refusal::NotYetValid));
    assert_eq!(past(&access_claims().with_iat(NOW + 3)), Err(Refusal::NotYetValid));
    assert_eq!(past(&access_claims().with_exp(NOW + 86_401)), Err(Refusal::LifetimeTooLong));
    assert_eq!(verifier.read_past("x", NOW), Err(Refusal::Malformed));
}

#[test]
fn the_checks_have_an_order() {
    // A token with several faults is refused for the first of them.
    let other = Verifier::new(keys(), "https://elsewhere.example", "elsewhere");
    let expired = access_claims().with_exp(NOW - 1);
    let token = sign(&expired);
    assert_eq!(other.verify(&token, TokenType::Refresh, NOW), Err(Refusal::IssuerMismatch));
    let other = Verifier::new(keys(), ISSUER, "elsewhere");
    assert_eq!(other.verify(&token, TokenType::Refresh, NOW), Err(Refusal::AudienceMismatch));
    let other = Verifier::new(keys(), ISSUER, AUDIENCE);
    assert_eq!(other.verify(&token, TokenType::Refresh, NOW), Err(Refusal::Expired));
    assert_eq!(other.verify(&token, TokenType::Refresh, NOW - 2), Err(Refusal::TypeMismatch));
}
