//! Passwords and their hashes.
//!
//! bcrypt reads 72 bytes and stops at a NUL. Tessera uses the whole password: it first digests a longer password, or
//! one with a NUL, as passlib's `bcrypt_sha256` (version 2) does.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::breach;
use super::foreign::Foreign;
use super::strength;
use crate::base::error::LocalizedMessage;
use crate::identity::user::PasswordHash;

/// The maximum number of bytes that bcrypt uses: 72 less the NUL at the end.
const BCRYPT_LENGTH: usize = 71;

const LONG_PREFIX: &str = "$bcrypt-sha256$v=2,t=2b,r=";

/// A password that somebody typed. It is never printed.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Takes a password as it was typed.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the number of characters.
    pub fn characters(&self) -> usize {
        self.0.chars().count()
    }

    pub(super) fn fault(&self, words: &[String], min_score: u8) -> Option<Vec<LocalizedMessage>> {
        strength::fault(&self.0, words, min_score)
    }

    /// Returns the SHA-1 digest, which lists of stolen passwords contain.
    pub(super) fn stolen_digest(&self) -> [u8; 20] {
        breach::digest_of(self.0.as_bytes())
    }

    fn is_long(&self) -> bool {
        self.0.len() > BCRYPT_LENGTH || self.0.contains('\0')
    }

    /// Hashes with a new salt. This takes a quarter of a second at cost 12.
    pub(super) fn hash(&self, cost: u32, salt: [u8; 16]) -> PasswordHash {
        PasswordHash::new(if self.is_long() {
            let salt = encode_salt(salt);
            let hashed = bcrypt_of_digest(&self.0, cost, &salt).expect("the salt is well-formed");
            format!("{LONG_PREFIX}{cost}${salt}${hashed}")
        } else {
            bcrypt::hash_with_salt(self.0.as_bytes(), cost, salt)
                .expect("the password has no NUL and the cost is in range")
                .to_string()
        })
    }

    /// Returns true if `hash` belongs to this password. With hashes of the same cost, every password takes the same
    /// time, whatever the result. A hash that cannot be read belongs to no password.
    pub(super) fn matches(&self, hash: &PasswordHash) -> bool {
        let hash = hash.expose();
        if let Some(foreign) = Foreign::read(hash) {
            return foreign.matches(&self.0);
        }
        if let Some(rest) = hash.strip_prefix(LONG_PREFIX) {
            let mut parts = rest.split('$');
            let (Some(cost), Some(salt), Some(expected), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return false;
            };
            let Ok(cost) = cost.parse() else { return false };
            return bcrypt_of_digest(&self.0, cost, salt).is_some_and(|hashed| {
                constant_time::verify_slices_are_equal(hashed.as_bytes(), expected.as_bytes())
                    .is_ok()
            });
        }
        // A plain hash contains only the beginning of a long password. The work is done in any case. Otherwise the time
        // would reveal the kind of hash, and so that there is a user.
        let read: Vec<u8> = self.0.bytes().filter(|byte| *byte != 0).take(BCRYPT_LENGTH).collect();
        bcrypt::verify(read, hash).unwrap_or(false) && !self.is_long()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

/// Returns true if a hash that has a cost is complete.
pub(super) fn is_well_formed(hash: &PasswordHash) -> bool {
    let hash = hash.expose();
    match hash.strip_prefix(LONG_PREFIX) {
        Some(rest) => {
            let lengths: Vec<_> = rest.split('$').map(str::len).collect();
            hash.is_ascii() && lengths.len() == 3 && lengths[1..] == [22, 31]
        }
        None => is_plain(hash),
    }
}

/// Returns true if a text has the form of bcrypt.
pub(super) fn is_plain(hash: &str) -> bool {
    let is_named = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
    is_named && hash.is_ascii() && hash.len() == 60
}

/// Does the work of checking a hash of this cost, without a result.
pub(super) fn work(cost: u32) {
    let _ = bcrypt::hash_with_salt("work", cost, [0; 16]);
}

/// Computes passlib's `bcrypt_sha256`, version 2: bcrypt of the base64 of an HMAC-SHA-256 that is keyed with the salt's
/// text.
fn bcrypt_of_digest(password: &str, cost: u32, salt: &str) -> Option<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
    let digest = STANDARD.encode(hmac::sign(&key, password.as_bytes()));
    let hashed = bcrypt::hash_with_salt(digest, cost, decode_salt(salt)?).ok()?.to_string();
    // `$2b$12$`, 22 characters of salt, and the hash.
    hashed.get(29..).map(ToOwned::to_owned)
}

fn encode_salt(salt: [u8; 16]) -> String {
    bcrypt::BASE_64.encode(salt)
}

fn decode_salt(salt: &str) -> Option<[u8; 16]> {
    bcrypt::BASE_64.decode(salt).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 16] = *b"sixteen of salt!";

    #[test]
    fn a_short_password_has_a_plain_hash() {
        let password = Password::new("blurp".into());
        let hash = password.hash(4, SALT);
        assert!(hash.expose().starts_with("$2b$04$"));
        assert!(password.matches(&hash));
        assert!(!Password::new("blurb".into()).matches(&hash));
    }

    #[test]
    fn no_byte_of_a_long_password_is_ignored() {
        let long = "p".repeat(72);
        let hash = Password::new(long.clone()).hash(4, SALT);
        assert!(hash.expose().starts_with("$bcrypt-sha256$v=2,t=2b,r=4$"));
        assert!(Password::new(long.clone()).matches(&hash));
        assert!(!Password::new(long.clone() + "q").matches(&hash));
        assert!(!Password::new("p".repeat(71)).matches(&hash));
    }

    #[test]
    fn a_plain_hash_never_matches_a_long_password() {
        let hash = Password::new("p".repeat(71)).hash(4, SALT);
        assert!(Password::new("p".repeat(71)).matches(&hash));
        assert!(!Password::new("p".repeat(72)).matches(&hash));
        assert!(!Password::new("p".repeat(200)).matches(&hash));
    }

    #[test]
    fn characters_after_a_nul_count() {
        let hash = Password::new("abcdefgh".into()).hash(4, SALT);
        assert!(!Password::new("abcdefgh\0".into()).matches(&hash));
        assert!(!Password::new("abcdefgh\0abcdefgh".into()).matches(&hash));
        let hash = Password::new("abcdefgh\0a".into()).hash(4, SALT);
        assert!(Password::new("abcdefgh\0a".into()).matches(&hash));
        assert!(!Password::new("abcdefgh\0b".into()).matches(&hash));
    }

    #[test]
    fn a_hash_that_cannot_be_read_belongs_to_no_password() {
        for hash in ["", "$2b$", "ü", "$2b$12$ü", "$bcrypt-sha256$v=2,t=2b,r=4$x$y", "plain"] {
            assert!(!Password::new("plain".into()).matches(&PasswordHash::new(hash.into())));
        }
    }

    /// From passlib's documentation.
    #[test]
    fn a_hash_that_passlib_made_matches() {
        let hash = PasswordHash::new(
            "$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2"
                .into(),
        );
        assert!(Password::new("password".into()).matches(&hash));
        assert!(!Password::new("passwords".into()).matches(&hash));
    }
}
