//! Published keys, which are parsed strictly.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use tessera_verify::{Key, Refusal};

use crate::support::segment;

fn reads(jwk: &Value) -> bool {
    Key::from_jwk(&jwk.to_string()).is_ok()
}

/// Verifies a token with this `alg` and this signature with the key.
fn verifies(jwk: &Value, alg: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Result<(), Refusal> {
    let header = segment(json!({ "alg": alg }).to_string());
    let signed = format!("{header}.{}", segment("{}"));
    let token = format!("{signed}.{}", segment(sign(signed.as_bytes())));
    Key::from_jwk(&jwk.to_string()).unwrap().verify(&token).map(|_| ())
}

fn with(jwk: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut jwk = jwk.clone();
    jwk[name] = value.into();
    jwk
}

fn without(jwk: &Value, name: &str) -> Value {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().remove(name);
    jwk
}

fn secret_of(length: usize, alg: &str) -> Value {
    json!({ "kty": "oct", "alg": alg, "k": segment(vec![7; length]) })
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &str) -> (EcdsaKeyPair, Value) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let point = pair.public_key().as_ref()[1..].to_vec();
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({ "kty": "EC", "crv": curve, "x": segment(x), "y": segment(y) });
    (pair, jwk)
}

fn ed25519() -> (Ed25519KeyPair, Value) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = segment(pair.public_key().as_ref());
    (pair, json!({ "kty": "OKP", "crv": "Ed25519", "x": x }))
}

fn rsa() -> (&'static RsaKeyPair, Value) {
    let pair = crate::keys::rsa();
    let RsaPublicKeyComponents { n, e } =
        RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    (pair, json!({ "kty": "RSA", "alg": "RS256", "n": segment(n), "e": segment(e) }))
}

fn ecdsa_sign(pair: &EcdsaKeyPair) -> impl Fn(&[u8]) -> Vec<u8> {
    |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn rsa_sign(pair: &RsaKeyPair, padding: &'static dyn RsaEncoding) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }
}

#[test]
fn a_secret_is_at_least_as_long_as_its_digest() {
    let algorithms = [
        ("HS256", 32, hmac::HMAC_SHA256),
        ("HS384", 48, hmac::HMAC_SHA384),
        ("HS512", 64, hmac::HMAC_SHA512),
    ];
    for (alg, min_length, algorithm) in algorithms {
        for length in [min_length, min_length + 1] {
            let jwk = secret_of(length, alg);
            let key = hmac::Key::new(algorithm, &vec![7; length]);
            let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
            assert_eq!(verifies(&jwk, alg, sign), Ok(()), "{alg}");
        }
        assert!(!reads(&secret_of(min_length - 1, alg)), "{alg}");
        assert!(!reads(&secret_of(0, alg)), "{alg}");
    }
    let jwk = secret_of(64, "HS256");
    let other = |_: &[u8]| vec![0; 32];
    assert_eq!(verifies(&jwk, "HS256", other), Err(Refusal::SignatureInvalid));
    assert_eq!(verifies(&jwk, "HS512", other), Err(Refusal::AlgorithmMismatch));
    assert!(!reads(&without(&jwk, "k")));
    assert!(!reads(&without(&jwk, "alg")));
}

#[test]
fn a_curve_has_one_algorithm() {
    let curves = [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", "ES256"),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", "ES384"),
    ];
    for (algorithm, curve, alg) in curves {
        let (pair, jwk) = ec(algorithm, curve);
        assert_eq!(verifies(&jwk, alg, ecdsa_sign(&pair)), Ok(()));
        assert_eq!(verifies(&with(&jwk, "alg", alg), alg, ecdsa_sign(&pair)), Ok(()));
        let (other, _) = ec(algorithm, curve);
        assert_eq!(verifies(&jwk, alg, ecdsa_sign(&other)), Err(Refusal::SignatureInvalid));
        for wrong in ["ES256", "ES384", "HS256", "RS256", "EdDSA", "x"] {
            if wrong != alg {
                assert!(!reads(&with(&jwk, "alg", wrong)), "{curve} {wrong}");
            }
        }
        for wrong in ["P-256", "P-384", "P-521", "secp256k1", "Ed25519", "p-256"] {
            if wrong != curve {
                assert!(!reads(&with(&jwk, "crv", wrong)), "{curve} {wrong}");
            }
        }
        for name in ["x", "y", "crv", "kty"] {
            assert!(!reads(&without(&jwk, name)), "{name}");
        }
        // A key of another type is refused, even if it names the algorithm.
        for kty in ["RSA", "oct"] {
            let other = with(&with(&without(&jwk, "crv"), "kty", kty), "alg", alg);
            assert!(!reads(&other), "{kty}");
        }
        for (name, length) in [("x", 31), ("y", 31), ("x", 33), ("y", 33), ("x", 49), ("y", 47)] {
            assert!(!reads(&with(&jwk, name, segment(vec![1; length]))), "{name}");
        }
        // A long and a short coordinate are refused, even if their total length is right.
        assert!(!reads(&with(&with(&jwk, "x", segment(vec![1; 31])), "y", segment(vec![1; 33]))));
    }
}

#[test]
fn an_edwards_key_is_thirty_two_bytes() {
    let (pair, jwk) = ed25519();
    let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();
    assert_eq!(verifies(&jwk, "EdDSA", sign), Ok(()));
    assert_eq!(verifies(&with(&jwk, "alg", "EdDSA"), "EdDSA", sign), Ok(()));
    let (other, _) = ed25519();
    let sign = |message: &[u8]| other.sign(message).as_ref().to_vec();
    assert_eq!(verifies(&jwk, "EdDSA", sign), Err(Refusal::SignatureInvalid));
    assert!(!reads(&with(&jwk, "alg", "ES256")));
    for kty in ["RSA", "oct", "EC"] {
        let other = with(&with(&without(&jwk, "crv"), "kty", kty), "alg", "EdDSA");
        assert!(!reads(&other), "{kty}");
    }
    assert!(!reads(&with(&jwk, "crv", "Ed448")));
    assert!(!reads(&with(&jwk, "crv", "X25519")));
    assert!(!reads(&without(&jwk, "crv")));
    assert!(!reads(&without(&jwk, "x")));
    for length in [0, 31, 33] {
        assert!(!reads(&with(&jwk, "x", segment(vec![1; length]))));
    }
}

#[test]
fn an_rsa_key_has_the_algorithm_that_it_names() {
    let (pair, jwk) = rsa();
    let algorithms: [(&str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    for (alg, padding) in algorithms {
        let jwk = with(&jwk, "alg", alg);
        assert_eq!(verifies(&jwk, alg, rsa_sign(pair, padding)), Ok(()), "{alg}");
    }
    let sign = || rsa_sign(pair, &RSA_PSS_SHA256);
    assert_eq!(verifies(&jwk, "RS256", sign()), Err(Refusal::SignatureInvalid));
    assert_eq!(verifies(&jwk, "PS256", sign()), Err(Refusal::AlgorithmMismatch));
    for alg in ["HS256", "ES256", "EdDSA", "x"] {
        assert!(!reads(&with(&jwk, "alg", alg)), "{alg}");
    }
    for name in ["alg", "n", "e", "kty"] {
        assert!(!reads(&without(&jwk, name)), "{name}");
    }
    assert!(!reads(&with(&jwk, "crv", "P-256")));
    for kty in ["EC", "OKP", "oct", "rsa"] {
        assert!(!reads(&with(&jwk, "kty", kty)), "{kty}");
    }
    // A public key is not accepted as a secret, and a secret is not accepted as a public key.
    assert!(!reads(&with(&with(&jwk, "alg", "HS256"), "k", segment([7; 64]))));
    assert!(!reads(&with(&secret_of(64, "RS256"), "kty", "oct")));
    assert!(!reads(&with(&secret_of(64, "HS256"), "kty", "RSA")));
}

#[test]
fn a_key_of_the_faulty_generator_is_refused() {
    // The product of the primes that the fingerprint is taken with.
    let product = [11_u128, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]
        .iter()
        .product::<u128>()
        .to_be_bytes();
    let of = |first: &[u8], last: [u8; 3]| {
        let modulus = [first, &[0; 200], &last].concat();
        let e = segment([1, 0, 1]);
        json!({ "kty": "RSA", "alg": "RS256", "n": segment(modulus), "e": e })
    };
    // Modulo each prime, these are 65537 and 1.
    assert!(!reads(&of(&product, [1, 0, 1])));
    assert!(!reads(&of(&product, [0, 0, 1])));
    // Modulo 11, 3 is not a power of 65537. The other numbers are arbitrary.
    assert!(reads(&of(&product, [0, 0, 3])));
    assert!(reads(&of(&[5], [0, 0, 1])));
    assert!(reads(&of(&[9, 200, 17], [1, 0, 1])));
}

#[test]
fn a_key_is_for_signatures() {
    let (_, jwk) = ed25519();
    for ops in [json!(["verify"]), json!(["sign", "verify"])] {
        assert!(reads(&with(&jwk, "key_ops", ops.clone())), "{ops}");
        assert!(reads(&with(&with(&jwk, "key_ops", ops.clone()), "use", "sig")), "{ops}");
        assert!(!reads(&with(&with(&jwk, "key_ops", ops), "use", "enc")));
    }
    for ops in [json!([]), json!(["sign"]), json!(["encrypt"]), json!("verify")] {
        assert!(!reads(&with(&jwk, "key_ops", ops.clone())), "{ops}");
        assert!(!reads(&with(&with(&jwk, "use", "sig"), "key_ops", ops)));
    }
    assert!(reads(&with(&jwk, "use", "sig")));
    for purpose in ["enc", "", "SIG"] {
        assert!(!reads(&with(&jwk, "use", purpose)), "{purpose}");
    }
}

#[test]
fn a_key_is_parsed_strictly() {
    let (_, jwk) = ed25519();
    assert_eq!(Key::from_jwk(&jwk.to_string()).unwrap().id(), "");
    assert_eq!(Key::from_jwk(&with(&jwk, "kid", "a name").to_string()).unwrap().id(), "a name");
    assert!(reads(&with(&jwk, "more", json!({ "a": 1 }))));
    for text in ["", "[]", "null", "{}", "x"] {
        assert!(Key::from_jwk(text).is_err(), "{text}");
    }
    let text = jwk.to_string();
    let text = text.trim_end_matches('}');
    for member in ["\"kty\":\"OKP\"", "\"crv\":\"Ed25519\"", "\"d\":1,\"d\":1"] {
        assert!(Key::from_jwk(&format!("{text},{member}}}")).is_err(), "{member}");
    }
    let x = jwk["x"].as_str().unwrap();
    for spelling in [format!("{x}="), format!(" {x}"), x.replace(&x[..1], "+")] {
        assert!(!reads(&with(&jwk, "x", spelling)));
    }
    for name in ["kty", "kid", "use", "alg", "crv", "x"] {
        assert!(!reads(&with(&jwk, name, 1)), "{name}");
    }
}

#[test]
fn a_set_skips_keys_that_cannot_be_used() {
    let (_, first) = ed25519();
    let (_, second) = rsa();
    let keys = |keys: &[Value]| {
        let read = Key::from_jwks(&json!({ "keys": keys }).to_string());
        read.map(|keys| keys.iter().map(|key| key.id().to_owned()).collect::<Vec<_>>())
    };
    let (first, second) = (with(&first, "kid", "a"), with(&second, "kid", "b"));
    assert_eq!(keys(&[first.clone(), second.clone()]), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(keys(&[]), Ok(vec![]));
    let unusable = [
        json!({ "kty": "EC", "crv": "P-521", "kid": "c" }),
        json!({ "kty": "new", "kid": "c" }),
        with(&with(&first, "kid", "c"), "use", "enc"),
    ];
    for other in unusable {
        assert_eq!(keys(&[other, first.clone()]), Ok(vec!["a".to_owned()]));
    }
    // Two keys without a name do not have the same name.
    let nameless = without(&first, "kid");
    assert_eq!(keys(&[nameless.clone(), nameless]).map(|keys| keys.len()), Ok(2));
}

#[test]
fn a_set_that_contradicts_itself_is_refused() {
    let (_, key) = ed25519();
    let named = |name: &str| with(&key, "kid", name);
    let reads = |keys: Value| Key::from_jwks(&json!({ "keys": keys }).to_string()).is_ok();
    assert!(reads(json!([named("a"), named("b"), named("c")])));
    assert!(!reads(json!([named("a"), named("a")])));
    assert!(!reads(json!([named("a"), named("b"), named("a")])));
    assert!(!reads(json!([named("a"), { "kty": "new", "kid": "a" }])));
    // A set with public keys is published, so it must not contain secrets.
    let secret = |name: &str| with(&secret_of(32, "HS256"), "kid", name);
    assert!(reads(json!([secret("s")])));
    assert!(reads(json!([secret("s"), secret("t")])));
    assert!(!reads(json!([secret("s"), named("a")])));
    assert!(!reads(json!([named("a"), named("b"), secret("s")])));
    for keys in [json!([{}]), json!([{ "kid": "a" }]), json!([1]), json!({}), json!(null)] {
        assert!(!reads(keys));
    }
    for text in ["", "{}", "[]", "null"] {
        assert!(Key::from_jwks(text).is_err(), "{text}");
    }
}
