//! Tokens that an attacker makes (RFC 8725): each gets 401 with a reason, and none causes a 500.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::json;

use crate::support::{Forgery, Server, claims_of, header_of};

#[expect(clippy::disallowed_methods, reason = "an attacker has a clock of their own")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn an_unchanged_forgery_is_accepted() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    assert_eq!(Forgery::of(&token).sign().split('.').count(), 3);
    server.me(&Forgery::of(&token).sign()).await.expect_status(200);
}

#[tokio::test]
async fn every_attack_on_the_header_is_refused_with_the_reason() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    let good = || Forgery::of(&token);
    let attacks = [
        (good().with_header("alg", "none").unsigned(), "algorithm_mismatch"),
        (good().with_header("alg", "None").unsigned(), "algorithm_mismatch"),
        (good().with_header("alg", "nOnE").sign(), "algorithm_mismatch"),
        (good().with_header("alg", "hs256").sign(), "algorithm_mismatch"),
        (good().with_header("alg", "").sign(), "algorithm_mismatch"),
        (good().with_header("alg", "HS512").sign_with(hmac::HMAC_SHA512), "algorithm_mismatch"),
        (good().with_header("alg", "RS256").sign(), "algorithm_mismatch"),
        (good().with_header("alg", "ES256").sign(), "algorithm_mismatch"),
        (good().with_header("alg", json!(["HS256"])).sign(), "header_invalid"),
        (good().with_header("alg", json!(null)).sign(), "header_invalid"),
        (good().without_header("alg").sign(), "header_invalid"),
        (good().without_header("kid").sign(), "header_invalid"),
        (good().with_header("kid", "another").sign(), "key_unknown"),
        (good().with_header("kid", "../../dev/null").sign(), "key_unknown"),
        (good().with_header("kid", "' or 1=1 --").sign(), "key_unknown"),
        (good().with_header("kid", 7).sign(), "header_invalid"),
        (good().with_header("crit", json!(["exp"])).sign(), "header_unsupported"),
        (good().with_header("crit", json!([])).sign(), "header_unsupported"),
        (good().with_header("b64", false).sign(), "header_unsupported"),
        (good().with_header("zip", "DEF").sign(), "header_unsupported"),
        (good().with_header("cty", "JWT").sign(), "header_unsupported"),
        (good().with_header("jku", "https://attacker.example").sign(), "header_unsupported"),
        (good().with_header("jwk", json!({ "kty": "oct" })).sign(), "header_unsupported"),
        (good().with_header("x5u", "https://attacker.example").sign(), "header_unsupported"),
        (good().with_header("x5c", json!([])).sign(), "header_unsupported"),
        (good().with_header("typ", "at+jwt").sign(), "header_unsupported"),
        (good().with_header("typ", "rt+jwt").sign(), "key_unknown"),
        (good().doubled_header("alg", "\"none\"").sign(), "header_invalid"),
        (good().doubled_header("kid", "\"x\"").sign(), "header_invalid"),
        (good().doubled_header("x", "1").doubled_header("x", "2").sign(), "header_invalid"),
        (good().header("[]").sign(), "header_invalid"),
        (good().header("null").sign(), "header_invalid"),
        (good().header("").sign(), "header_invalid"),
        (good().header("{").sign(), "header_invalid"),
        (good().header("[".repeat(3000)).sign(), "header_invalid"),
    ];
    for (attack, reason) in attacks {
        let answer = server.me(&attack).await;
        assert_eq!(answer.body, r#"{"detail":"Unauthorized"}"#);
        answer.expect_reason(reason);
    }
    // `typ` is a media type, so its case does not matter.
    server.me(&good().with_header("typ", "jwt").sign()).await.expect_status(200);
    server.me(&good().without_header("typ").sign()).await.expect_status(200);
}

#[tokio::test]
async fn every_attack_on_the_claims_is_refused_with_the_reason() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    let good = || Forgery::of(&token);
    let now = now();
    let mut attacks = vec![
        (good().with("iss", "http://localhost:8000.attacker.example"), "issuer_mismatch"),
        (good().with("iss", "http://localhost:800"), "issuer_mismatch"),
        (good().with("iss", ""), "issuer_mismatch"),
        (good().with("iss", json!(["http://localhost:8000"])), "claims_invalid"),
        (good().with("aud", "tessera2"), "audience_mismatch"),
        (good().with("aud", json!(["tessera"])), "claims_invalid"),
        (good().with("aud", json!(null)), "claims_invalid"),
        (good().with("exp", now), "token_expired"),
        (good().with("exp", now - 30), "token_expired"),
        (good().with("exp", 0), "token_expired"),
        (good().with("exp", "9999999999"), "claims_invalid"),
        (good().with("exp", 1e300), "claims_invalid"),
        (good().with("exp", now as f64 + 100.5), "claims_invalid"),
        (good().with("exp", -1), "claims_invalid"),
        (good().with("exp", json!(null)), "claims_invalid"),
        (good().with("exp", now + 10_000), "lifetime_too_long"),
        (good().with("exp", u64::MAX), "lifetime_too_long"),
        (good().with("nbf", now + 60), "token_not_yet_valid"),
        (good().with("iat", now + 60), "token_not_yet_valid"),
        (good().with("iat", u64::MAX), "token_not_yet_valid"),
        (good().with("iat", 0), "lifetime_too_long"),
        (good().with("type", "refresh"), "claims_invalid"),
        (good().with("type", "Access"), "claims_invalid"),
        (good().with("type", "id"), "claims_invalid"),
        (good().with("type", json!(["access"])), "claims_invalid"),
        (good().with("sub", "admin"), "claims_invalid"),
        (good().with("sub", 1), "claims_invalid"),
        (good().with("jti", "x"), "claims_invalid"),
        (good().with("sid", json!({})), "claims_invalid"),
        (good().with("fresh", "true"), "claims_invalid"),
        (good().with("scope", json!(["a"])), "claims_invalid"),
        (good().doubled("sub", "\"00000000-0000-0000-0000-000000000000\""), "claims_invalid"),
        (good().doubled("exp", "1"), "claims_invalid"),
        (good().doubled("x", "1").doubled("x", "2"), "claims_invalid"),
        (good().doubled("\\u0073ub", "\"x\""), "claims_invalid"),
        (good().claims("[]"), "claims_invalid"),
        (good().claims("\"x\""), "claims_invalid"),
        (good().claims(""), "claims_invalid"),
        (good().claims("[".repeat(5000)), "claims_invalid"),
        (good().claims(format!("{{\"x\":{}", "{\"x\":".repeat(900))), "claims_invalid"),
    ];
    for name in ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "sid", "type", "fresh"] {
        attacks.push((good().without(name), "claims_invalid"));
    }
    for (attack, reason) in attacks {
        eprintln!("{reason}: {attack:?}");
        server.me(&attack.sign()).await.expect_reason(reason);
    }
}

#[tokio::test]
async fn a_signature_by_any_other_key_is_refused() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    let good = || Forgery::of(&token);
    let secret = crate::support::SECRET;
    for key in
        [&b""[..], b"secret", b"\0", &secret.as_bytes()[..63], secret.to_uppercase().as_bytes()]
    {
        server.me(&good().secret(key).sign()).await.expect_reason("signature_invalid");
    }
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let attacks = [
        format!("{signed}."),
        format!("{signed}.{flipped}{}", &signature[1..]),
        format!("{signed}.{}", &signature[..40]),
        format!("{signed}.{signature}AAAA"),
    ];
    for attack in attacks {
        server.me(&attack).await.expect_reason("signature_invalid");
    }
    // Other claims with a valid signature are refused too.
    let mut claims = claims_of(&token);
    claims["sub"] = "00000000-0000-0000-0000-000000000000".into();
    let other = good().claims(claims).sign();
    let (header, rest) = other.split_once('.').unwrap();
    let mixed = format!("{header}.{}.{signature}", rest.split('.').next().unwrap());
    server.me(&mixed).await.expect_reason("signature_invalid");
}

#[tokio::test]
async fn a_token_is_accepted_in_only_one_spelling() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    let parts: Vec<_> = token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    // The last character of 32 bytes in base64url has two unused bits.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(signature.chars().last().unwrap()).unwrap();
    let sibling = &alphabet[last + 1..last + 2];
    let attacks = [
        format!("{header}.{claims}.{}{sibling}", &signature[..signature.len() - 1]),
        format!("{token}="),
        format!("{token}=="),
        format!("{header}=.{claims}.{signature}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{token}"),
        format!("{header}.{claims}"),
        ".".repeat(8000),
        token.replace('.', ".\u{20}"),
        format!("{header}.{claims}.{}", signature.replace(['-', '_'], "+") + "/"),
        format!("{header}.{claims}.{signature}%00"),
        format!("{header}\t.{claims}.{signature}"),
    ];
    for attack in attacks {
        server.me(&attack).await.expect_reason("token_malformed");
    }
    // A text without a dot is not a JWT.
    server.me(header).await.expect_reason("api_token_unknown");
    // Empty segments are well-formed.
    server.me(&format!("{header}..{signature}")).await.expect_reason("signature_invalid");
    server.me("..").await.expect_reason("header_invalid");
}

#[tokio::test]
async fn a_token_longer_than_8_kib_is_refused() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    let long = Forgery::of(&token).with("x", "x".repeat(7000)).sign();
    assert!(long.len() > 8192 && long.len() < 12_000);
    server.me(&long).await.expect_reason("token_too_long");
    let fits = Forgery::of(&token).with("x", "x".repeat(5000)).sign();
    server.me(&fits).await.expect_status(200);
    // A body can be larger than a head.
    for length in [9000, 60_000] {
        let body = json!({ "refresh_token": "x".repeat(length) });
        let answer = server.post("/auth/jwt/refresh").json(&body).send().await;
        answer.expect_refusal(401, "REFRESH_TOKEN_INVALID").expect_reason("token_too_long");
    }
    let body = json!({ "refresh_token": "x".repeat(64 * 1024) });
    let answer = server.post("/auth/jwt/refresh").json(&body).send().await;
    answer.expect_refusal(413, "CONTENT_TOO_LARGE");
}

#[tokio::test]
async fn the_scheme_bearer_ignores_case_and_other_schemes_are_refused() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    let me = |authorization: &str| server.get("/users/me").header("authorization", authorization);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        me(&format!("{scheme} {token}")).send().await.expect_status(200);
    }
    let nothing = ["", "Bearer", "Bearer ", "Basic Og==", "Digest x", "JWT", ":"];
    for nothing in nothing {
        let answer = me(nothing).send().await.expect_refusal(401, "Unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{nothing}");
    }
    me(&format!("JWT {token}")).send().await.expect_status(401);
    me(&format!("Bearer{token}")).send().await.expect_status(401);
    // Two `Authorization` headers are refused.
    let two = me(&format!("Bearer {token}")).header("authorization", &format!("Bearer {token}"));
    two.send().await.expect_status(401);
    // A token in the URL is not accepted, because logs would store it.
    server.get(&format!("/users/me?access_token={token}")).send().await.expect_status(401);
}

#[tokio::test]
async fn the_leeway_allows_for_clocks_that_differ() {
    // The default leeway is 2 seconds. `now` is slightly in the past when the server reads its clock.
    for (leeway, accepted, refused) in [(Some(60), 60, 120), (None, 2, 40), (Some(0), 0, 30)] {
        let setup = Server::setup();
        let setup = match leeway {
            Some(leeway) => setup.set("JWT_LEEWAY", leeway),
            None => setup,
        };
        let server = setup.start().await;
        let person = server.person("first").await;
        let token = person.access;
        for claim in ["iat", "nbf"] {
            let ahead =
                |token: &str, seconds: u64| Forgery::of(token).with(claim, now() + seconds).sign();
            server.me(&ahead(&token, accepted)).await.expect_status(200);
            server.me(&ahead(&token, refused)).await.expect_reason("token_not_yet_valid");
            // The clock of the replica that issued it can be ahead.
            server.refresh(&ahead(&person.refresh, accepted)).await.expect_status(200);
            let early = server.refresh(&ahead(&person.refresh, refused)).await;
            early.expect_refusal(401, "REFRESH_TOKEN_INVALID");
        }
        // The leeway does not extend the lifetime of a token.
        let now = now();
        for late in [0, 1, 30] {
            let begun = Forgery::of(&token).with("iat", now - 60).with("nbf", now - 65);
            server.me(&begun.with("exp", now - late).sign()).await.expect_reason("token_expired");
            let begun = Forgery::of(&person.refresh).with("iat", now - 60).with("nbf", now - 60);
            let late = server.refresh(&begun.with("exp", now - late).sign()).await;
            late.expect_refusal(401, "REFRESH_TOKEN_EXPIRED");
        }
    }
}

/// The key id is derived from the key. It is not a part of the secret.
#[tokio::test]
async fn the_key_id_does_not_reveal_the_secret() {
    let server = Server::start().await;
    let token = server.person("first").await.access;
    let kid = header_of(&token)["kid"].as_str().unwrap().to_owned();
    assert!(!crate::support::SECRET.contains(&kid));
    assert_eq!(kid.len(), 16);
}

#[tokio::test]
async fn an_explanation_takes_a_token_as_people_paste_it() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let access = server.person("first").await.access;
    let secret = server.api_token(&root.access, &json!({})).await;
    let explain = async |pasted: &str| {
        let request = server.post("/admin/tokens/explain").bearer(&root.access);
        request.json(&json!({ "token": pasted })).send().await.expect_status(200)
    };
    for token in [&access, &secret] {
        let (start, end) = token.split_at(30);
        for pasted in [
            format!("  {token}\n"),
            format!("{start}\n{end}"),
            format!("{start}\r\n  {end}\r\n"),
            format!("\"{token}\""),
            format!("'{token}',"),
            format!("Bearer {token}"),
            format!("bearer  {token};"),
            format!("Authorization: Bearer {token}"),
            format!("'Authorization: bearer {token}'"),
            format!("X-API-Key: {token}"),
            format!("token={token}"),
            format!("{{\"access_token\": \"{token}\"}}"),
            format!("\u{feff}“{token}”"),
        ] {
            let told = explain(&pasted).await;
            assert_eq!(told.json["accepted"], true, "{pasted}: {}", told.body);
        }
    }
    for pasted in ["", " ", "Bearer", "\"\"", "Bearer \n", "token", "=:\"'"] {
        assert_eq!(explain(pasted).await.json["accepted"], false, "{pasted}");
    }
    // Tokens of other issuers. Their names are text of strangers.
    let foreign = |issuer: &str| Forgery::of(&access).with("iss", issuer).secret(b"theirs").sign();
    let told = explain(&foreign("https://accounts.example.com")).await.text("sentence");
    assert!(told.contains("another issuer's: it names https://accounts.example.com"), "{told}");
    assert!(told.contains("this issuer is http://localhost:8000"), "{told}");
    let signed = Forgery::of(&access).with("iss", "https://other.example.com").sign();
    assert!(explain(&signed).await.text("sentence").contains("another issuer's"));
    for issuer in ["http://localhost:8000", "a\nb", "two words", &"x".repeat(300), ""] {
        let told = explain(&foreign(issuer)).await.text("sentence");
        assert!(told.starts_with("refused") && !told.contains("two words"), "{told}");
        assert!(!told.contains("another issuer's"), "{issuer}: {told}");
    }
}
