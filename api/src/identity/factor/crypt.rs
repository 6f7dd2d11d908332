//! Two old kinds of hashes that repeat MD5: md5_crypt of Unix and Apache, and the portable hashes of WordPress and phpBB.
//! Both have a salt. They are checked only until the first sign-in.

use md5::{Digest, Md5};

use super::foreign::Foreign;

/// The digits of both encodings.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The order in which md5_crypt writes the bytes of its digest.
const ORDER: [usize; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

/// Reads the salt and the hash of md5_crypt.
pub(super) fn md5_crypt_of(magic: &'static str, salt: &str, hash: &str) -> Option<Foreign> {
    let decoded = decoded(hash)?;
    let mut bytes = [0; 16];
    for (byte, place) in decoded.into_iter().zip(ORDER) {
        bytes[place] = byte;
    }
    let salt = salt.to_owned();
    (salt.len() <= 8).then_some(Foreign::Md5Crypt { magic, salt, hash: bytes })
}

/// Reads a portable hash without its prefix: the number of rounds, eight characters of salt and the hash.
pub(super) fn phpass_of(rest: &str, max_rounds: u32) -> Option<Foreign> {
    let (head, hash) = rest.split_at_checked(9)?;
    let (count, salt) = head.split_at_checked(1)?;
    let count = DIGITS.iter().position(|digit| count.as_bytes() == [*digit])?;
    let rounds = 1_u32.checked_shl(u32::try_from(count).ok()?)?;
    let hash = decoded(hash)?;
    let is_bounded = (7..=30).contains(&count) && rounds <= max_rounds;
    is_bounded.then(|| Foreign::Phpass { rounds, salt: salt.to_owned(), hash })
}

/// Decodes 16 bytes: digits of six bits, the lowest first.
fn decoded(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for char in text.bytes() {
        let digit = DIGITS.iter().position(|known| *known == char)?;
        bits |= u32::try_from(digit).ok()? << count;
        count += 6;
        if count >= 8 {
            bytes.push((bits & 0xff) as u8);
            bits >>= 8;
            count -= 8;
        }
    }
    bytes.try_into().ok()
}

/// Computes md5_crypt.
pub(super) fn md5_crypt(password: &[u8], salt: &[u8], magic: &str) -> [u8; 16] {
    let inner = md5(&[password, salt, password]);
    let mut first = Md5::new();
    first.update([password, magic.as_bytes(), salt].concat());
    for begin in (0..password.len()).step_by(16) {
        first.update(&inner[..(password.len() - begin).min(16)]);
    }
    let mut length = password.len();
    while length > 0 {
        let bit: &[u8] = if length & 1 == 1 { &[0] } else { &password[..1] };
        first.update(bit);
        length >>= 1;
    }
    let mut hash: [u8; 16] = first.finalize().into();
    for round in 0..1000 {
        let is_odd = round % 2 == 1;
        let (before, after): (&[u8], &[u8]) =
            if is_odd { (password, &hash) } else { (&hash, password) };
        let salt: &[u8] = if round % 3 == 0 { &[] } else { salt };
        let again: &[u8] = if round % 7 == 0 { &[] } else { password };
        hash = md5(&[before, salt, again, after]);
    }
    hash
}

/// Computes a portable hash.
pub(super) fn phpass(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 16] {
    let mut hash = md5(&[salt, password]);
    for _ in 0..rounds {
        hash = md5(&[&hash, password]);
    }
    hash
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}
