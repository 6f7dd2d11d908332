//! The reasons of refusals, which programs compare and people read.

use std::collections::HashSet;

use tessera_verify::Refusal;

#[test]
fn each_refusal_has_a_reason_that_stays_and_a_sentence() {
    let words = [
        ("token_too_long", "the token is longer than 8192 bytes"),
        ("token_malformed", "the token is not three segments of canonical base64url"),
        ("header_invalid", "the header is not a JSON object with typ, alg and kid"),
        ("header_unsupported", "the header has a member that is not supported"),
        ("key_unknown", "the token names a key that is not in use"),
        ("algorithm_mismatch", "the token names an algorithm that its key does not have"),
        ("signature_invalid", "the signature does not match"),
        ("claims_invalid", "a claim is missing, doubled or of the wrong type"),
        ("issuer_mismatch", "the token is from another issuer"),
        ("audience_mismatch", "the token is for another audience"),
        ("token_expired", "the token has expired"),
        ("token_not_yet_valid", "the token is not valid yet"),
        ("lifetime_too_long", "the token lives longer than its kind may"),
        ("type_mismatch", "the token is of a kind that is not accepted here"),
        ("token_revoked", "the token was revoked"),
    ];
    let said: Vec<_> =
        Refusal::ALL.iter().map(|refusal| (refusal.reason(), refusal.sentence())).collect();
    assert_eq!(said, words);
    let distinct: HashSet<_> = Refusal::ALL.iter().collect();
    assert_eq!(distinct.len(), words.len());
    for refusal in Refusal::ALL {
        assert_eq!(refusal.to_string(), refusal.sentence());
    }
}
