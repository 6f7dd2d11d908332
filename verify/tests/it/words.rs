//! The reasons of refusals: stable names for programs, and sentences for people.

use std::collections::HashSet;

use tessera_verify::Refusal;

#[test]
fn each_refusal_has_a_stable_reason_and_a_sentence() {
    let words = [
        ("token_too_long", "the token is longer than 8192 bytes"),
        (
            "token_malformed",
            "the token is not a JWT, which has three parts in canonical base64url, separated by dots",
        ),
        ("header_invalid", "the header is not a JSON object with typ, alg and kid"),
        ("header_unsupported", "the header has a member that is not supported"),
        ("key_unknown", "the token names a key that is not in use"),
        ("algorithm_mismatch", "the algorithm in the header is not that of the key"),
        ("signature_invalid", "the signature does not match"),
        ("claims_invalid", "a claim is missing, appears twice or has the wrong type"),
        ("issuer_mismatch", "the token is from another issuer"),
        ("audience_mismatch", "the token is for another audience"),
        ("token_expired", "the token has expired"),
        ("token_not_yet_valid", "the token is not valid yet"),
        ("lifetime_too_long", "the lifetime of the token is longer than allowed"),
        ("type_mismatch", "this kind of token is not accepted here"),
        ("token_revoked", "the token was revoked"),
    ];
    let found: Vec<_> =
        Refusal::ALL.iter().map(|refusal| (refusal.reason(), refusal.sentence())).collect();
    assert_eq!(found, words);
    let distinct: HashSet<_> = Refusal::ALL.iter().collect();
    assert_eq!(distinct.len(), words.len());
    for refusal in Refusal::ALL {
        assert_eq!(refusal.to_string(), refusal.sentence());
    }
}
