//! The header of a token. Its sender chooses neither the key nor the algorithm.

use serde_json::{Value, json};
use tessera_verify::{Key, Refusal, TokenType};

use crate::support::{Forgery, SECRET, access_token, judge, part, refresh_token};

#[test]
fn a_header_names_the_type_the_algorithm_and_the_key() {
    let id = Key::hs256(SECRET).id().to_owned();
    assert_eq!(part(&access_token(), 0), json!({ "typ": "JWT", "alg": "HS256", "kid": id }));
    let id = Key::refresh(SECRET).id().to_owned();
    assert_eq!(part(&refresh_token(), 0), json!({ "typ": "rt+jwt", "alg": "HS256", "kid": id }));
    assert_eq!(TokenType::Access.header(), "JWT");
    assert_eq!(TokenType::Refresh.header(), "rt+jwt");
}

#[test]
fn a_header_with_an_unsupported_member_is_refused() {
    let attacks: [(&str, Value); 10] = [
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("jku", json!("https://attacker.example/keys")),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("x5u", json!("https://attacker.example/cert")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
    ];
    for (name, value) in attacks {
        for value in [value, json!(null)] {
            let token = Forgery::access().with_header(name, value).sign();
            assert_eq!(judge(&token), Err(Refusal::HeaderUnsupported), "{name}");
            let key = Key::hs256(SECRET);
            assert_eq!(key.verify(&token), Err(Refusal::HeaderUnsupported), "{name}");
        }
    }
    // All other members are ignored.
    assert!(judge(&Forgery::access().with_header("more", json!({ "a": 1 })).sign()).is_ok());
}

#[test]
fn a_header_is_an_object_with_each_member_once() {
    for header in ["", "null", "[]", "\"x\"", "{", "{\"alg\":\"HS256\"} x", "{\"alg\":1}"] {
        let token = Forgery::access().sign_header(header);
        assert_eq!(judge(&token), Err(Refusal::HeaderInvalid), "{header}");
    }
    let attacks = [
        Forgery::access().without_header("alg"),
        Forgery::access().without_header("kid"),
        Forgery::access().with_header("alg", 1),
        Forgery::access().with_header("kid", json!(["x"])),
        Forgery::access().with_header("typ", 1),
        Forgery::access().and_header("alg", "\"HS256\""),
        Forgery::access().and_header("kid", "\"x\""),
        Forgery::access().and_header("typ", "\"JWT\""),
        Forgery::access().and_header("x", "1").and_header("x", "1"),
        Forgery::access().and_header("\\u0061lg", "\"none\""),
    ];
    for attack in attacks {
        assert_eq!(judge(&attack.sign()), Err(Refusal::HeaderInvalid), "{attack:?}");
    }
}

#[test]
fn the_type_in_the_header_is_a_media_type() {
    for typ in ["JWT", "jwt", "Jwt"] {
        assert!(judge(&Forgery::access().with_header("typ", typ).sign()).is_ok(), "{typ}");
    }
    assert!(judge(&Forgery::access().without_header("typ").sign()).is_ok());
    for typ in ["", "JWS", "at+jwt", "application/jwt", "JWT "] {
        let token = Forgery::access().with_header("typ", typ).sign();
        assert_eq!(judge(&token), Err(Refusal::HeaderUnsupported), "{typ}");
    }
    // Each key is for one type of token.
    for forgery in [
        Forgery::access().with_header("typ", "RT+JWT"),
        Forgery::refresh().with_header("typ", "JWT"),
        Forgery::refresh().without_header("typ"),
    ] {
        assert_eq!(judge(&forgery.sign()), Err(Refusal::KeyUnknown), "{forgery:?}");
    }
}

#[test]
fn the_algorithm_is_that_of_the_key_whatever_the_token_says() {
    for alg in ["none", "None", "", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA", "HS256 "]
    {
        let token = Forgery::access().with_header("alg", alg).sign();
        assert_eq!(judge(&token), Err(Refusal::AlgorithmMismatch), "{alg}");
    }
}
