//! Public keys in PEM: the key as SubjectPublicKeyInfo (RFC 5280, RFC 7468).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// The tags of DER (X.690).
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The algorithm of an Ed25519 key (RFC 8410).
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// The algorithm of a key on P-256 (RFC 5480).
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];
/// The algorithm of an RSA key (RFC 3279).
const RSA: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Writes a public JWK as PEM. Returns `None` if it is not a key of an algorithm that Tessera signs with.
pub(crate) fn of_jwk(jwk: &Value) -> Option<String> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    let (algorithm, key) = match jwk["kty"].as_str()? {
        "OKP" => (ED25519, bytes("x")?),
        "EC" => (P256, [vec![4], bytes("x")?, bytes("y")?].concat()),
        "RSA" => {
            let numbers = [integer(&bytes("n")?), integer(&bytes("e")?)].concat();
            (RSA, element(SEQUENCE, &numbers))
        }
        _ => return None,
    };
    // A bit string begins with the number of bits that its last byte does not use.
    let key = element(BIT_STRING, &[vec![0], key].concat());
    let text = STANDARD.encode(element(SEQUENCE, &[algorithm, &key].concat()));
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    Some(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n")))
}

/// A number that is not negative. Its first bit would be the sign, so a zero byte comes before a first bit that is set.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0][..] } else { &[] };
    element(INTEGER, &[sign, bytes].concat())
}

/// An element: its tag, its length and its content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let first = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let short = &length[first..];
    let length = if content.len() < 0x80 {
        short.to_vec()
    } else {
        // At most eight bytes follow, so their number fits beside the first bit.
        let count = u8::try_from(short.len()).unwrap_or_default() | 0x80;
        [&[count], short].concat()
    };
    [vec![tag], length, content.to_vec()].concat()
}
