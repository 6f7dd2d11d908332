//! Access tokens of grants, and the four differences that keep them apart from the tokens of sessions.

use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use tessera_verify::{
    GrantClaims, Key, KeySet, Refusal, Revocation, RevocationList, SigningAlgorithm, TokenType,
    Verifier,
};
use uuid::Uuid;

use crate::keys::pkcs8;
use crate::support::{
    AUDIENCE, Forgery, ISSUER, NOW, SECRET, access_claims, access_token, id_at, part,
    refresh_token, segment, user,
};

const CLIENT: &str = "grafana";

fn grant() -> Uuid {
    Uuid::from_u128(0x4444)
}

fn claims() -> GrantClaims {
    GrantClaims::new(ISSUER, user(), AUDIENCE, CLIENT, grant(), id_at(NOW * 1000 + 5))
        .with_iat(NOW)
        .with_nbf(NOW - 5)
        .with_exp(NOW + 900)
        .with_scope("openid api:read")
        .with_proof(NOW - 10, "urn:example:password", &["pwd"])
        .with_extra("role", "reader")
}

/// A private key, as one for clients and as one for sessions.
fn key_pair() -> (Key, Key) {
    let pkcs8 = pkcs8(SigningAlgorithm::Es256);
    let key = || Key::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap();
    (key().for_clients().unwrap(), key())
}

fn verifier(keys: KeySet) -> Verifier {
    Verifier::new(keys, ISSUER, AUDIENCE)
}

/// The key as services read it, which does not say what it is for.
fn published(key: &Key) -> Key {
    Key::from_jwk(&json!(key.public().unwrap()).to_string()).unwrap()
}

/// Signs any claims as an ID token, whose `typ` is that of a session's access token.
fn as_jwt(key: &Key, claims: &Value) -> String {
    key.sign_id_token(claims).unwrap()
}

#[test]
fn a_token_of_a_grant_is_read_as_it_was_written() {
    let (key, _) = key_pair();
    let token = key.sign_grant(&claims()).unwrap();
    assert_eq!(part(&token, 0)["typ"], "at+jwt");
    for keys in [KeySet::verifying([published(&key)]), KeySet::default().with_previous(key)] {
        assert_eq!(verifier(keys).verify_grant(&token, NOW), Ok(claims()));
    }
    assert_eq!(claims().issued_at_millis(), NOW * 1000 + 5);
}

#[test]
fn a_token_of_a_session_is_never_one_of_a_grant_nor_the_reverse() {
    let (clients, sessions) = key_pair();
    let grant = clients.sign_grant(&claims()).unwrap();
    let session = sessions.sign(&access_claims()).unwrap();
    for keys in [
        KeySet::verifying([published(&sessions)]),
        KeySet::verifying([published(&sessions), Key::hs256(SECRET), Key::refresh(SECRET)]),
        KeySet::new(sessions).with_previous(Key::hs256(SECRET)),
        KeySet::default().with_previous(clients).with_previous(Key::hs256(SECRET)),
    ] {
        let verifier = verifier(keys);
        for expected in [TokenType::Access, TokenType::Refresh] {
            assert!(verifier.verify(&grant, expected, NOW).is_err());
        }
        assert!(verifier.verify_either(&grant, NOW).is_err());
        assert!(verifier.verify_any(&grant, NOW).is_err());
        assert!(verifier.read(&grant).is_err() && verifier.read_past(&grant, NOW).is_err());
        for token in [&session, &access_token(), &refresh_token()] {
            assert!(verifier.verify_grant(token, NOW).is_err());
            assert!(verifier.verify_any_grant(token, NOW).is_err());
            assert!(verifier.read_grant(token).is_err());
        }
    }
}

/// First difference: the same claims, signed with the same key, under another `typ`.
#[test]
fn the_typ_alone_keeps_the_kinds_apart() {
    let (key, _) = key_pair();
    let verifier = verifier(KeySet::verifying([published(&key)]));
    let token = as_jwt(&key, &json!(claims()));
    assert_eq!(verifier.verify_grant(&token, NOW), Err(Refusal::TypeMismatch));
    let token = key.sign_grant(&claims()).unwrap();
    let refused = verifier.verify(&token, TokenType::Access, NOW);
    assert_eq!(refused, Err(Refusal::HeaderUnsupported));
}

/// Second difference: the required claims, under the right `typ` and with a key that does not say what it is for.
#[test]
fn the_required_claims_alone_keep_the_kinds_apart() {
    let (key, _) = key_pair();
    let verifier = verifier(KeySet::verifying([published(&key)]));
    // `verify` accepts the claims of a session, but not those of a grant, with the same key and the same `typ`.
    let token = as_jwt(&key, &json!(access_claims()));
    assert_eq!(verifier.verify(&token, TokenType::Access, NOW), Ok(access_claims()));
    let token = as_jwt(&key, &json!(claims()));
    let refused = verifier.verify(&token, TokenType::Access, NOW);
    assert_eq!(refused, Err(Refusal::ClaimsInvalid));
}

/// Third difference: keys of the issuer itself have a purpose.
#[test]
fn the_purpose_of_the_key_alone_keeps_the_kinds_apart() {
    let (clients, sessions) = key_pair();
    let grant = clients.sign_grant(&claims()).unwrap();
    let session = as_jwt(&clients, &json!(access_claims()));
    let for_sessions = verifier(KeySet::new(sessions));
    let for_clients = verifier(KeySet::default().with_previous(clients));
    assert_eq!(for_sessions.verify_grant(&grant, NOW), Err(Refusal::KeyUnknown));
    assert_eq!(for_clients.verify_grant(&grant, NOW), Ok(claims()));
    let judged = |verifier: &Verifier| verifier.verify(&session, TokenType::Access, NOW);
    assert_eq!(judged(&for_clients), Err(Refusal::KeyUnknown));
    assert_eq!(judged(&for_sessions), Ok(access_claims()));
}

/// Fourth difference: the audience. No client has the id of an audience.
#[test]
fn the_audience_alone_keeps_the_kinds_apart() {
    let (key, _) = key_pair();
    let verifier = verifier(KeySet::default().with_previous(key_pair().0).with_previous(key));
    for aud in ["another", CLIENT, ISSUER, "report", "reports "] {
        let (key, _) = key_pair();
        let other = Verifier::new(KeySet::verifying([published(&key)]), ISSUER, AUDIENCE);
        let mut claims = claims();
        claims.aud = aud.into();
        let token = key.sign_grant(&claims).unwrap();
        assert_eq!(other.verify_grant(&token, NOW), Err(Refusal::AudienceMismatch), "{aud}");
        assert!(other.verify_any_grant(&token, NOW).is_ok());
        assert_eq!(verifier.verify_grant(&token, NOW), Err(Refusal::KeyUnknown));
    }
}

#[test]
fn keys_sign_only_for_their_purpose() {
    let (clients, sessions) = key_pair();
    assert!(clients.sign(&access_claims()).is_err());
    assert!(sessions.sign_grant(&claims()).is_err());
    assert!(sessions.sign_id_token(&json!({})).is_err());
    for secret in [Key::hs256(SECRET), Key::refresh(SECRET)] {
        assert!(secret.sign_grant(&claims()).is_err());
        assert!(secret.sign_id_token(&json!({})).is_err());
        assert!(secret.for_clients().is_err());
    }
    assert!(published(&clients).sign_grant(&claims()).is_err());
    assert!(published(&clients).for_clients().is_err());
}

#[test]
fn a_token_without_a_signature_or_signed_with_a_public_key_is_refused() {
    let (key, _) = key_pair();
    let public = json!(key.public().unwrap());
    let token = key.sign_grant(&claims()).unwrap();
    let secrets = [public.to_string().into_bytes(), public["x"].to_string().into_bytes()];
    for keys in [KeySet::verifying([published(&key)]), KeySet::default().with_previous(key)] {
        let verifier = verifier(keys);
        for secret in &secrets {
            let forged = Forgery::of(&token, secret).with_header("alg", "HS256").sign();
            assert_eq!(verifier.verify_grant(&forged, NOW), Err(Refusal::AlgorithmMismatch));
            let forged = Forgery::of(&token, secret).sign();
            assert_eq!(verifier.verify_grant(&forged, NOW), Err(Refusal::SignatureInvalid));
        }
        for alg in ["none", "None", "", "HS256", "RS256"] {
            let mut header = part(&token, 0);
            header["alg"] = alg.into();
            let payload = token.split('.').nth(1).unwrap();
            for signature in ["", "AAAA"] {
                let forged = format!("{}.{payload}.{signature}", segment(header.to_string()));
                assert!(verifier.verify_grant(&forged, NOW).is_err(), "{alg}");
            }
        }
    }
}

#[test]
fn a_secret_never_verifies_a_token_of_a_grant() {
    let (key, _) = key_pair();
    let token = key.sign_grant(&claims()).unwrap();
    let kid = Key::hs256(SECRET).id().to_owned();
    let forged =
        Forgery::of(&token, SECRET).with_header("alg", "HS256").with_header("kid", kid).sign();
    let jwk = json!({"kty": "oct", "alg": "HS256", "kid": "s", "k": segment(SECRET)}).to_string();
    let named = Forgery::of(&token, SECRET).with_header("alg", "HS256").with_header("kid", "s");
    let keys =
        KeySet::verifying([Key::hs256(SECRET), Key::refresh(SECRET), Key::from_jwk(&jwk).unwrap()]);
    let verifier = verifier(keys);
    for token in [forged, named.sign()] {
        assert_eq!(verifier.verify_grant(&token, NOW), Err(Refusal::KeyUnknown));
    }
}

#[test]
fn no_claim_may_be_missing_or_have_another_type() {
    let pkcs8 = pkcs8(SigningAlgorithm::EdDsa);
    let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
    let key = Key::from_pkcs8(SigningAlgorithm::EdDsa, &pkcs8).unwrap();
    let verifier = verifier(KeySet::verifying([published(&key)]));
    let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": key.id()}).to_string();
    let judge = |claims: &Value| {
        let signed = format!("{}.{}", segment(&header), segment(claims.to_string()));
        let token = format!("{signed}.{}", segment(pair.sign(signed.as_bytes())));
        verifier.verify_grant(&token, NOW).map(drop)
    };
    assert_eq!(judge(&json!(claims())), Ok(()));
    for name in ["iss", "sub", "aud", "client_id", "iat", "nbf", "exp", "jti", "scope", "grant_id"]
    {
        let mut without = json!(claims());
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(judge(&without), Err(Refusal::ClaimsInvalid), "{name}");
        for wrong in [json!(null), json!(true), json!([]), json!({}), json!(-1), json!("")] {
            let mut claims = json!(claims());
            claims[name] = wrong.clone();
            assert!(judge(&claims).is_err() || name == "scope", "{name} {wrong}");
        }
    }
    // A token that is bound to a key, or that has the claim of a session.
    for name in ["cnf", "type"] {
        let mut claims = json!(claims());
        claims[name] = json!("access");
        assert_eq!(judge(&claims), Err(Refusal::ClaimsInvalid), "{name}");
        let key = key_pair().0;
        assert!(key.sign_grant(&self::claims().with_extra(name, 1)).is_err());
    }
}

#[test]
fn times_and_the_issuer_are_checked() {
    let (key, _) = key_pair();
    let verifier = verifier(KeySet::verifying([published(&key)]));
    let judge = |claims: GrantClaims, now: u64| {
        verifier.verify_grant(&key.sign_grant(&claims).unwrap(), now).map(drop)
    };
    assert_eq!(judge(claims(), NOW + 899), Ok(()));
    assert_eq!(judge(claims(), NOW + 900), Err(Refusal::Expired));
    assert_eq!(judge(claims(), NOW - 2), Ok(()));
    assert_eq!(judge(claims(), NOW - 3), Err(Refusal::NotYetValid));
    assert_eq!(judge(claims().with_nbf(NOW + 3), NOW), Err(Refusal::NotYetValid));
    assert_eq!(judge(claims().with_exp(NOW + 86_401), NOW), Err(Refusal::LifetimeTooLong));
    for iss in ["https://id.example.com/", "https://id.example", "http://id.example.com", ""] {
        let mut claims = claims();
        claims.iss = iss.to_owned();
        assert_eq!(judge(claims, NOW), Err(Refusal::IssuerMismatch), "{iss}");
    }
}

#[test]
fn a_token_is_revoked_alone_with_its_grant_or_with_its_user() {
    let (key, _) = key_pair();
    let token = key.sign_grant(&claims()).unwrap();
    let verifier = |entry: Revocation| {
        let list = RevocationList::new();
        list.add(entry);
        verifier(KeySet::verifying([published(&key)])).revocations(list.into())
    };
    let issued = claims().issued_at_millis();
    for entry in [
        Revocation::token(claims().jti, NOW + 900),
        Revocation::session(grant(), NOW + 900),
        Revocation::user(user(), issued, NOW + 900),
    ] {
        let refused = verifier(entry.clone()).verify_grant(&token, NOW);
        assert_eq!(refused, Err(Refusal::Revoked), "{entry:?}");
    }
    for entry in [
        Revocation::token(grant(), NOW + 900),
        Revocation::session(claims().jti, NOW + 900),
        Revocation::session(user(), NOW + 900),
        Revocation::user(user(), issued - 1, NOW + 900),
        Revocation::user(grant(), issued, NOW + 900),
    ] {
        assert!(verifier(entry.clone()).verify_grant(&token, NOW).is_ok(), "{entry:?}");
    }
}

#[test]
fn a_token_that_expired_before_entries_were_dropped_counts_as_revoked() {
    let list = RevocationList::new();
    list.drop_before(NOW);
    assert!(list.covers_grant(&claims().with_exp(NOW - 1)));
    assert!(!list.covers_grant(&claims().with_exp(NOW)));
}

#[test]
fn an_id_token_is_read_only_by_the_keys_for_clients() {
    let (clients, sessions) = key_pair();
    let claims = json!({"iss": ISSUER, "sub": user(), "aud": CLIENT, "exp": 1});
    let token = as_jwt(&clients, &claims);
    let access = clients.sign_grant(&self::claims()).unwrap();
    let of_session = sessions.sign(&access_claims()).unwrap();
    let for_sessions = KeySet::new(sessions);
    let for_clients = KeySet::default().with_previous(clients);
    assert_eq!(for_clients.read_id_token(&token).map(Value::Object), Ok(claims));
    assert_eq!(for_clients.read_id_token(&access), Err(Refusal::TypeMismatch));
    assert_eq!(for_sessions.read_id_token(&token), Err(Refusal::KeyUnknown));
    assert_eq!(for_sessions.read_id_token(&of_session), Err(Refusal::KeyUnknown));
    let verifier = verifier(for_clients);
    assert_eq!(verifier.verify_grant(&token, NOW), Err(Refusal::TypeMismatch));
    assert!(verifier.verify(&token, TokenType::Access, NOW).is_err());
}
