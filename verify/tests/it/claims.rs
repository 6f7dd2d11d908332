//! The claims of a token, and their written form.

use serde_json::{Value, json};
use tessera_verify::{
    Audiences, Claims, Key, KeySet, Refusal, Subject, TokenKind, TokenType, Verifier,
};
use uuid::Uuid;

use crate::support::{
    AUDIENCE, Forgery, ISSUER, NOW, SECRET, access_claims, access_token, id_at, judge, keys, names,
    part, refresh_claims, refresh_token, session, user, verifier,
};

fn judge_refresh(token: &str) -> Result<Claims, Refusal> {
    verifier().verify(token, TokenType::Refresh, NOW)
}

fn of_sessions(token: &str) -> Result<Claims, Refusal> {
    Verifier::new(keys(), ISSUER, AUDIENCE).of_sessions_alone().verify_either(token, NOW)
}

#[test]
fn an_access_token_is_written_in_the_form_that_libraries_read() {
    let expected = json!({
        "iss": ISSUER, "sub": user().to_string(), "aud": "reports",
        "iat": NOW, "nbf": NOW - 5, "exp": NOW + 900,
        "jti": id_at(NOW * 1000 + 5).to_string(), "sid": session().to_string(),
        "type": "access", "fresh": true, "auth_time": NOW - 10, "scope": "read write",
    });
    assert_eq!(part(&access_token(), 1), expected);
    let written = serde_json::to_string(&access_claims()).unwrap();
    assert!(written.starts_with(&format!("{{\"iss\":\"{ISSUER}\",\"sub\":")), "{written}");
}

#[test]
fn a_refresh_token_is_written_with_its_generation() {
    let expected = json!({
        "iss": ISSUER, "sub": user().to_string(), "aud": ISSUER,
        "iat": NOW, "nbf": NOW, "exp": NOW + 90_000,
        "jti": Uuid::from_u128(0x3333).to_string(), "sid": session().to_string(),
        "type": "refresh", "gen": 3,
    });
    assert_eq!(part(&refresh_token(), 1), expected);
}

#[test]
fn claims_are_written_without_a_session_and_with_further_claims() {
    let claims = Claims::new(TokenKind::access(false, 1, ""), "i", "client", "a", Uuid::nil());
    let claims = claims.with_extra("act", json!({ "sub": "x" }));
    let written = json!(claims);
    assert_eq!(written["sub"], "client");
    assert_eq!(written.get("sid"), None);
    assert_eq!(written["act"], json!({ "sub": "x" }));
    let several = Audiences::from("a").and("b");
    assert_eq!(serde_json::to_value(several).unwrap(), json!(["a", "b"]));
}

#[test]
fn new_claims_have_expired_and_belong_to_no_session() {
    let claims = Claims::new(TokenKind::refresh(9), "i", "s", "a", Uuid::max());
    assert_eq!((claims.iat, claims.nbf, claims.exp, claims.sid), (0, 0, 0, None));
    assert_eq!((claims.iss.as_str(), claims.aud.first(), claims.jti), ("i", "a", Uuid::max()));
    assert_eq!(claims.kind, TokenKind::refresh(9));
    assert!(claims.extra.is_empty());
}

#[test]
fn a_token_is_read_as_it_was_written() {
    assert_eq!(judge(&access_token()).unwrap(), access_claims());
    assert_eq!(judge_refresh(&refresh_token()).unwrap(), refresh_claims());
    assert_eq!(access_claims().token_type(), TokenType::Access);
    assert_eq!(refresh_claims().token_type(), TokenType::Refresh);
}

#[test]
fn no_claim_except_the_session_may_be_missing() {
    for (claims, forgery) in
        [(access_claims(), Forgery::access()), (refresh_claims(), Forgery::refresh())]
    {
        for name in names(&claims) {
            let token = forgery.clone().without(&name).sign();
            let judged = verifier().verify_either(&token, NOW);
            if name == "sid" {
                assert_eq!(judged.unwrap().sid, None);
            } else {
                assert_eq!(judged, Err(Refusal::ClaimsInvalid), "{name}");
            }
            assert_eq!(of_sessions(&token), Err(Refusal::ClaimsInvalid), "{name}");
        }
    }
}

#[test]
fn no_claim_may_appear_twice() {
    for (claims, forgery) in
        [(access_claims(), Forgery::access()), (refresh_claims(), Forgery::refresh())]
    {
        let written = json!(claims);
        for name in names(&claims) {
            // Even the same value twice is refused.
            let token = forgery.clone().and(&name, &written[&name].to_string()).sign();
            assert_eq!(
                verifier().verify_either(&token, NOW),
                Err(Refusal::ClaimsInvalid),
                "{name}"
            );
        }
    }
    let attacks = [
        Forgery::access().and("more", "1").and("more", "1"),
        Forgery::access().and("\\u0073ub", "\"x\""),
        Forgery::access().and("more", "{\"a\":1,\"a\":1}"),
        Forgery::access().and("more", "[0,{\"a\":{\"b\":1,\"\\u0062\":2}}]"),
    ];
    for attack in attacks {
        assert_eq!(judge(&attack.sign()), Err(Refusal::ClaimsInvalid), "{attack:?}");
    }
}

#[test]
fn a_claim_of_another_type_is_refused() {
    let wrong: [(&str, &[Value]); 13] = [
        ("iss", &[json!(1), json!(null), json!([ISSUER])]),
        ("sub", &[json!(1), json!(null), json!(""), json!([user()])]),
        ("aud", &[json!(1), json!(null), json!([]), json!([1]), json!({}), json!([["reports"]])]),
        ("iat", &[json!("1"), json!(-1), json!(1.5), json!(null), json!(1e300)]),
        ("nbf", &[json!("1"), json!(-1), json!(1.5), json!(null), json!([])]),
        ("exp", &[json!("9999999999"), json!(-1), json!(1.5), json!(null)]),
        ("jti", &[json!("x"), json!(1), json!(null)]),
        ("sid", &[json!("x"), json!(1), json!(null), json!({})]),
        ("type", &[json!("Access"), json!("id"), json!(null), json!(["access"])]),
        ("fresh", &[json!("true"), json!(1), json!(null)]),
        ("auth_time", &[json!("1"), json!(-1), json!(null)]),
        ("scope", &[json!(["read"]), json!(null), json!(1)]),
        ("gen", &[json!("0"), json!(-1), json!(null)]),
    ];
    for (name, values) in wrong {
        let forgery = if name == "gen" { Forgery::refresh() } else { Forgery::access() };
        for value in values {
            let token = forgery.clone().with(name, value.clone()).sign();
            assert_eq!(
                verifier().verify_either(&token, NOW),
                Err(Refusal::ClaimsInvalid),
                "{name}: {value}"
            );
        }
    }
}

#[test]
fn a_payload_that_is_not_an_object_is_refused() {
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    for claims in ["", "[]", "null", "\"x\"", "{", "{\"iss\":", "{1:2}", "{} {}", deep.as_str()] {
        let token = Forgery::access().sign_claims(claims);
        assert_eq!(judge(&token), Err(Refusal::ClaimsInvalid), "{claims}");
    }
}

#[test]
fn claims_without_a_field_are_kept_unchanged() {
    let more = json!({
        "null": null, "bool": true, "no": false, "number": 7, "negative": -7, "float": 1.5,
        "text": "a\"b", "list": [1, "two", [3]], "object": { "a": { "b": [null] } },
    });
    let mut forgery = Forgery::access();
    for (name, value) in more.as_object().unwrap() {
        forgery = forgery.with(name, value.clone());
    }
    let claims = judge(&forgery.sign()).unwrap();
    assert_eq!(json!(claims.extra), more);
    // They are also written again.
    let again = Key::hs256(SECRET).sign(&claims).unwrap();
    assert_eq!(judge(&again).unwrap(), claims);
    assert_eq!(claims.extra.len(), more.as_object().unwrap().len());
    assert!(judge(&access_token()).unwrap().extra.is_empty());
}

#[test]
fn no_claim_is_signed_twice() {
    let names = [
        "iss",
        "sub",
        "aud",
        "iat",
        "nbf",
        "exp",
        "jti",
        "sid",
        "type",
        "fresh",
        "auth_time",
        "scope",
        "gen",
    ];
    for name in names {
        for (key, claims) in
            [(Key::hs256(SECRET), access_claims()), (Key::refresh(SECRET), refresh_claims())]
        {
            assert!(key.sign(&claims.clone()).is_ok());
            assert!(key.sign(&claims.with_extra(name, 1)).is_err(), "{name}");
        }
    }
}

#[test]
fn a_subject_is_a_uuid_or_a_name() {
    let id = Uuid::from_u128(0xabcdef);
    let text = id.to_string();
    let subject = Subject::from(id);
    for spelling in [text.clone(), text.to_uppercase()] {
        assert_eq!(Subject::from(spelling.as_str()), subject);
        assert_eq!(Subject::from(spelling).uuid(), Some(id));
    }
    assert_eq!((subject.to_string(), format!("{subject:?}")), (text.clone(), text.clone()));
    // Other forms of a UUID are names.
    for name in ["client", id.simple().to_string().as_str(), &format!("{{{text}}}")] {
        let subject = Subject::from(name);
        assert_eq!(subject.uuid(), None, "{name}");
        assert_eq!(subject.to_string(), name);
        assert_eq!(format!("{subject:?}"), format!("{name:?}"));
        assert_eq!(json!(subject), json!(name));
    }
    assert_ne!(Subject::from("client"), Subject::from("Client"));
    let claims = judge(&Forgery::access().with("sub", "client").sign()).unwrap();
    assert_eq!(claims.sub, "client".into());
}

#[test]
fn a_verifier_of_sessions_refuses_other_tokens() {
    let taken = [
        Forgery::access(),
        Forgery::refresh(),
        // Every spelling of a UUID is the same user.
        Forgery::access().with("sub", user().to_string().to_uppercase()),
        Forgery::access().with("sub", user().simple().to_string()),
    ];
    for forgery in taken {
        assert_eq!(of_sessions(&forgery.sign()).unwrap().sub, user().into(), "{forgery:?}");
    }
    let refused = [
        Forgery::access().with("sub", "admin"),
        Forgery::access().without("sid"),
        Forgery::refresh().without("sid"),
        Forgery::access().with("aud", json!(["reports"])),
        Forgery::access().with("aud", json!(["reports", "billing"])),
    ];
    for forgery in refused {
        assert_eq!(of_sessions(&forgery.sign()), Err(Refusal::ClaimsInvalid), "{forgery:?}");
        assert!(verifier().verify_either(&forgery.sign(), NOW).is_ok(), "{forgery:?}");
    }
}

#[test]
fn a_token_is_fresh_until_the_maximum_age_of_its_password() {
    let given_at = |auth_time| TokenKind::access(true, auth_time, "");
    let fresh = |kind, max_age| {
        let mut claims = access_claims();
        claims.kind = kind;
        claims.is_fresh(max_age, NOW)
    };
    assert!(fresh(given_at(NOW - 60), 60));
    assert!(!fresh(given_at(NOW - 61), 60));
    assert!(fresh(given_at(NOW), 0));
    // If the clock is behind the time of the password, the token is fresh.
    assert!(fresh(given_at(NOW + 5), 0));
    assert!(!fresh(TokenKind::access(false, NOW, ""), 60));
    assert!(!fresh(TokenKind::refresh(0), 60));
}

#[test]
fn the_time_of_issue_is_the_time_in_the_id() {
    let at = |jti| {
        let mut claims = access_claims();
        claims.jti = jti;
        claims.issued_at_millis()
    };
    assert_eq!(at(id_at(NOW * 1000 + 5)), NOW * 1000 + 5);
    assert_eq!(at(id_at(1_999)), 1_999);
    // If the id is not a version 7 UUID, the time of issue is the start of the second in `iat`.
    assert_eq!(at(Uuid::from_u128(7)), NOW * 1000);
    let version_1 = Uuid::parse_str("c232ab00-9414-11ec-b3c8-9f6bdeced846").unwrap();
    assert!(version_1.get_timestamp().is_some());
    assert_eq!(at(version_1), NOW * 1000);
    let mut endless = access_claims().with_iat(u64::MAX);
    endless.jti = Uuid::nil();
    assert_eq!(endless.issued_at_millis(), u64::MAX);
}

#[test]
fn a_verifier_can_use_a_set_that_signs() {
    let keys = KeySet::new(Key::hs256(SECRET));
    let token = keys.access(AUDIENCE).unwrap().sign(&access_claims()).unwrap();
    assert_eq!(token, access_token());
    let verifier = Verifier::new(keys, ISSUER, AUDIENCE);
    assert_eq!(verifier.verify(&token, TokenType::Access, NOW), Ok(access_claims()));
}
