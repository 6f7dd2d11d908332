//! The issuer and the audiences of a token.

use serde_json::json;
use tessera_verify::{Audiences, Claims, Key, KeySet, Refusal, Verifier};

use crate::support::{
    AUDIENCE, Forgery, ISSUER, NOW, SECRET, access_claims, access_token, judge, keys,
    refresh_claims, refresh_token, verifier,
};

#[test]
fn every_method_refuses_another_issuer() {
    for issuer in ["", "https://id.example.co", "https://id.example.com/", "https://ID.example.com"]
    {
        let verifier = Verifier::new(keys(), issuer, AUDIENCE);
        let token = access_token();
        assert_eq!(verifier.verify_either(&token, NOW), Err(Refusal::IssuerMismatch), "{issuer}");
        assert_eq!(verifier.verify_any(&token, NOW), Err(Refusal::IssuerMismatch), "{issuer}");
        assert_eq!(verifier.read(&token), Err(Refusal::IssuerMismatch), "{issuer}");
    }
}

#[test]
fn an_access_token_is_for_its_audiences() {
    for audience in ["", "report", "reports2", "Reports", ISSUER] {
        let token = Forgery::access().with("aud", audience).sign();
        assert_eq!(judge(&token), Err(Refusal::AudienceMismatch), "{audience}");
        assert_eq!(verifier().read(&token), Err(Refusal::AudienceMismatch), "{audience}");
    }
    for audiences in [json!(["reports"]), json!(["a", "reports"]), json!(["reports", "a", "b"])] {
        let claims = judge(&Forgery::access().with("aud", audiences.clone()).sign()).unwrap();
        let read: Vec<_> = claims.aud.iter().collect();
        assert_eq!(json!(read), audiences);
    }
    let token = Forgery::access().with("aud", json!(["a", "b"])).sign();
    assert_eq!(judge(&token), Err(Refusal::AudienceMismatch));
}

#[test]
fn a_refresh_token_is_only_for_its_issuer() {
    let verifier = verifier();
    assert!(verifier.verify_either(&refresh_token(), NOW).is_ok());
    for audience in [json!("reports"), json!([ISSUER, "reports"]), json!(["reports", ISSUER])] {
        let token = Forgery::refresh().with("aud", audience.clone()).sign();
        let judged = verifier.verify_either(&token, NOW);
        assert_eq!(judged, Err(Refusal::AudienceMismatch), "{audience}");
    }
}

#[test]
fn tokens_for_the_further_audiences_are_read_but_not_accepted() {
    let verifier = verifier().more_audiences(vec!["billing".into(), "mail".into()]);
    for audience in [json!("billing"), json!("mail"), json!(["x", "mail"]), json!("reports")] {
        let token = Forgery::access().with("aud", audience.clone()).sign();
        assert!(verifier.read(&token).is_ok(), "{audience}");
        assert!(verifier.verify_any(&token, NOW).is_ok(), "{audience}");
        assert!(verifier.read_past(&token, NOW).is_ok(), "{audience}");
        // The verifier accepts only tokens for its own audience.
        let is_own = audience == "reports";
        assert_eq!(verifier.verify_either(&token, NOW).is_ok(), is_own, "{audience}");
    }
    let token = Forgery::access().with("aud", "elsewhere").sign();
    assert_eq!(verifier.read(&token), Err(Refusal::AudienceMismatch));
    // Refresh tokens for the further audiences are not read.
    let token = Forgery::refresh().with("aud", "billing").sign();
    assert_eq!(verifier.read(&token), Err(Refusal::AudienceMismatch));
    assert!(verifier.read(&refresh_token()).is_ok());
}

#[test]
fn the_key_of_an_audience_signs_only_tokens_for_this_audience() {
    let secret = b"the secret of one audience alone, of many bytes";
    let key = || Key::hs256(secret).for_audience("reports");
    let keys = KeySet::verifying([Key::hs256(SECRET), key(), Key::refresh(SECRET)]);
    let verifier = Verifier::new(keys, ISSUER, AUDIENCE).more_audiences(vec!["mail".into()]);
    let token = key().sign(&access_claims()).unwrap();
    assert_eq!(verifier.verify_either(&token, NOW), Ok(access_claims()));
    for audience in [json!("mail"), json!(["reports", "mail"]), json!(["mail", "reports"])] {
        let token = Forgery::of(&token, secret).with("aud", audience.clone()).sign();
        assert_eq!(verifier.read(&token), Err(Refusal::AudienceMismatch), "{audience}");
    }
    // A key without an audience signs tokens for all audiences.
    let token = Forgery::access().with("aud", json!(["reports", "mail"])).sign();
    assert!(verifier.read(&token).is_ok());
}

#[test]
fn audiences_are_one_or_several() {
    let one = Audiences::from("a");
    assert_eq!((one.first(), json!(one)), ("a", json!("a")));
    assert!(one.contains("a") && one.is_only("a"));
    assert!(!one.contains("b") && !one.is_only("b"));
    assert_eq!(Audiences::from("a".to_owned()), one);
    let several = one.clone().and("b").and("c");
    assert_eq!((several.first(), json!(several)), ("a", json!(["a", "b", "c"])));
    assert!(several.contains("a") && several.contains("c") && !several.contains("d"));
    assert!(!several.is_only("a") && !several.is_only("b"));
    assert_ne!(several, one);
    let claims: Claims = refresh_claims();
    assert!(claims.aud.is_only(ISSUER));
}
