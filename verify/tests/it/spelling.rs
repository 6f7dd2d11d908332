//! The compact form of a token: it has one spelling and a maximum length.

use tessera_verify::{Key, MAX_TOKEN_LENGTH, Refusal};

use crate::support::{Forgery, SECRET, access_token, judge};

#[test]
fn a_token_of_the_maximum_length_is_read() {
    assert_eq!(MAX_TOKEN_LENGTH, 8192);
    let of_length = |length: usize| {
        // Three characters of a claim make four characters of a token. Padding in the header gives the other lengths.
        (0..4).find_map(|more| {
            let empty = Forgery::access().with_header("x", "x".repeat(more)).with("x", "");
            let room = (length - empty.sign().len()) * 3 / 4;
            (room.saturating_sub(3)..room + 3)
                .map(|room| empty.clone().with("x", "y".repeat(room)).sign())
                .find(|token| token.len() == length)
        })
    };
    assert!(judge(&of_length(8192).unwrap()).is_ok());
    let longer = of_length(8193).unwrap();
    assert_eq!(judge(&longer), Err(Refusal::TooLong));
    assert_eq!(Key::hs256(SECRET).verify(&longer), Err(Refusal::TooLong));
}

#[test]
fn a_text_that_is_not_three_segments_is_refused() {
    let token = access_token();
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three segments") };
    let attacks = [
        String::new(),
        "x".to_owned(),
        ".".to_owned(),
        format!("{header}.{claims}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{token}"),
        format!("{header}..{claims}.{signature}"),
    ];
    for attack in attacks {
        assert_eq!(judge(&attack), Err(Refusal::Malformed), "{attack}");
    }
}

#[test]
fn a_segment_is_canonical_base64url() {
    let token = access_token();
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three segments") };
    // The last character of 32 bytes in base64url has two unused bits.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = signature.split_at(signature.len() - 1);
    let place = alphabet.find(last).unwrap();
    let sibling = &alphabet[place + 1..place + 2];
    let attacks = [
        format!("{header}.{claims}.{rest}{sibling}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.+{}", &signature[1..]),
        format!("{header}.{claims}.é{}", &signature[2..]),
    ];
    for attack in attacks {
        assert_eq!(judge(&attack), Err(Refusal::Malformed), "{attack}");
    }
}

#[test]
fn a_signature_that_does_not_match_is_refused() {
    let token = access_token();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let attacks = [
        format!("{signed}."),
        format!("{signed}.{first}{}", &signature[1..]),
        format!("{signed}.{}", &signature[..40]),
        format!("{signed}.{signature}AAAA"),
        Forgery::access().signed_with(b"another secret of at least 32 bytes").sign(),
        Forgery::access().signed_with(b"").sign(),
    ];
    for attack in attacks {
        assert_eq!(judge(&attack), Err(Refusal::SignatureInvalid), "{attack}");
    }
    // Other claims with this signature are refused too.
    let other = Forgery::access().with("sub", "somebody else").sign();
    let mixed = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    assert_eq!(judge(&mixed), Err(Refusal::SignatureInvalid));
}
