//! Keys, each for one algorithm and one type of token.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use serde_json::{Value, json};
use tessera_verify::{Key, KeyError, KeySet, Refusal, SigningAlgorithm, TokenType, Verifier};

use crate::support::{
    AUDIENCE, Forgery, ISSUER, NOW, SECRET, access_claims, access_token, judge, part,
    refresh_claims, segment, sign_hs256, verifier,
};

use SigningAlgorithm::{EdDsa, Es256, Hs256, Rs256};

/// The RSA key of these tests. There is only one, because it takes long to generate.
pub(crate) fn rsa() -> &'static RsaKeyPair {
    static PAIR: LazyLock<RsaKeyPair> =
        LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    &PAIR
}

/// Generates a private key in PKCS #8 for an algorithm that has private keys.
pub(crate) fn pkcs8(algorithm: SigningAlgorithm) -> Vec<u8> {
    match algorithm {
        Rs256 => AsDer::<Pkcs8V1Der<'_>>::as_der(rsa()).unwrap().as_ref().to_vec(),
        Es256 => {
            let random = SystemRandom::new();
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .unwrap()
                .as_ref()
                .to_vec()
        }
        _ => Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap().as_ref().to_vec(),
    }
}

pub(crate) fn pair(algorithm: SigningAlgorithm) -> Key {
    Key::from_pkcs8(algorithm, &pkcs8(algorithm)).unwrap()
}

#[test]
fn an_algorithm_has_the_name_that_tokens_give_it() {
    for (algorithm, name) in
        [(Hs256, "HS256"), (Rs256, "RS256"), (Es256, "ES256"), (EdDsa, "EdDSA")]
    {
        assert_eq!(algorithm.name(), name);
        assert_eq!(name.parse(), Ok(algorithm));
    }
    for name in ["", "none", "hs256", "HS512", "PS256"] {
        assert!(name.parse::<SigningAlgorithm>().is_err(), "{name}");
    }
}

#[test]
fn the_public_key_of_every_algorithm_verifies_its_signatures() {
    for algorithm in [Rs256, Es256, EdDsa] {
        let key = pair(algorithm);
        let public = json!(key.public().unwrap());
        assert_eq!(public["kid"], key.id());
        assert_eq!(public["use"], "sig");
        assert_eq!(public["alg"], algorithm.name());
        assert_eq!(public.get("d"), None, "a private key");
        let token = key.sign(&access_claims()).unwrap();
        let header = json!({ "typ": "JWT", "alg": algorithm.name(), "kid": key.id() });
        assert_eq!(part(&token, 0), header);
        assert_eq!(part(&token, 1), json!(access_claims()));
        let verifying = Key::from_jwk(&public.to_string()).unwrap();
        assert_eq!(verifying.id(), key.id());
        let verifier = Verifier::new(KeySet::verifying([verifying]), ISSUER, AUDIENCE);
        assert_eq!(verifier.verify_either(&token, NOW), Ok(access_claims()));
        // The key does not sign refresh tokens, and its public key signs nothing.
        assert!(key.sign(&refresh_claims()).is_err());
        assert!(Key::from_jwk(&public.to_string()).unwrap().sign(&access_claims()).is_err());
        let other = Verifier::new(KeySet::new(pair(EdDsa)), ISSUER, AUDIENCE);
        assert_eq!(other.verify_either(&token, NOW), Err(Refusal::KeyUnknown));
    }
}

#[test]
fn a_private_key_is_for_its_own_algorithm_only() {
    let keys = [Rs256, Es256, EdDsa].map(|algorithm| (algorithm, pkcs8(algorithm)));
    for (of, pkcs8) in &keys {
        for algorithm in [Hs256, Rs256, Es256, EdDsa] {
            assert_eq!(Key::from_pkcs8(algorithm, pkcs8).is_ok(), algorithm == *of);
        }
    }
    assert!(Key::from_pkcs8(EdDsa, b"no key").is_err());
}

#[test]
fn a_public_key_is_not_accepted_as_an_hmac_secret() {
    for algorithm in [Rs256, Es256, EdDsa] {
        let key = pair(algorithm);
        let public = json!(key.public().unwrap());
        let claims = json!(access_claims()).to_string();
        let header = json!({ "typ": "JWT", "alg": "HS256", "kid": key.id() }).to_string();
        let signed = format!("{}.{}", segment(header), segment(claims));
        let verifier = Verifier::new(KeySet::new(key), ISSUER, AUDIENCE);
        for secret in [public.to_string(), public["x"].to_string(), public["n"].to_string()] {
            let token = sign_hs256(&signed, secret.as_bytes());
            assert_eq!(verifier.verify_either(&token, NOW), Err(Refusal::AlgorithmMismatch));
        }
    }
}

#[test]
fn an_hmac_key_has_no_public_key_and_its_name_depends_on_its_secret() {
    let key = Key::hs256(SECRET);
    assert!(key.public().is_none());
    assert_eq!((key.id(), key.id().len()), (Key::hs256(SECRET).id(), 16));
    let mut other = SECRET.to_vec();
    other.push(b'x');
    assert_ne!(key.id(), Key::hs256(&other).id());
    assert_ne!(key.id(), Key::refresh(SECRET).id());
    assert_eq!(format!("{key:?}"), format!("Key {{ id: {:?}, .. }}", key.id()));
    assert_eq!(KeyError::to_string(&"x".parse::<SigningAlgorithm>().unwrap_err()), {
        "the key cannot be used"
    });
}

#[test]
fn a_key_signs_one_type_of_token() {
    assert!(Key::hs256(SECRET).sign(&refresh_claims()).is_err());
    assert!(Key::refresh(SECRET).sign(&access_claims()).is_err());
    assert!(Key::hs256(SECRET).for_audience("x").sign(&access_claims()).is_ok());
}

#[test]
fn a_key_verifies_its_signatures_and_ignores_the_claims() {
    let key = Key::hs256(SECRET);
    let payload = key.verify(&access_token()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), json!(access_claims()));
    let token = Forgery::access().sign_claims("no JSON");
    assert_eq!(key.verify(&token).unwrap(), b"no JSON");
    let nameless = Forgery::access().without_header("kid").sign();
    assert!(key.verify(&nameless).is_ok());
    let other = Forgery::access().with_header("kid", "x").sign();
    assert_eq!(key.verify(&other), Err(Refusal::KeyUnknown));
    let refresh = Forgery::access().with_header("typ", "rt+jwt").sign();
    assert_eq!(key.verify(&refresh), Err(Refusal::KeyUnknown));
    let forged = Forgery::access().signed_with(b"x").sign();
    assert_eq!(key.verify(&forged), Err(Refusal::SignatureInvalid));
}

#[test]
fn a_replaced_key_is_unknown_from_then_on() {
    let verifier = verifier();
    assert!(verifier.verify(&access_token(), TokenType::Access, NOW).is_ok());
    assert!(verifier.keys().access(AUDIENCE).is_none());
    verifier.replace_keys(KeySet::new(Key::hs256(b"another secret of at least 32 bytes")));
    assert_eq!(verifier.verify_either(&access_token(), NOW), Err(Refusal::KeyUnknown));
    assert!(verifier.keys().access(AUDIENCE).is_some());
    for kid in ["", "x"] {
        let token = Forgery::access().with_header("kid", kid).sign();
        assert_eq!(judge(&token), Err(Refusal::KeyUnknown), "{kid}");
    }
}
