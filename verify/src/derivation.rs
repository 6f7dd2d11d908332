//! Keys that are derived from a secret, each for one use.

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

/// The use of the key that signs refresh tokens.
pub(crate) const REFRESH_TOKENS: &[u8] = b"tessera refresh tokens";

/// Derives 32 bytes from `secret` for the use that `info`, in one piece, names (HKDF with SHA-256 and
/// no salt, RFC 5869). The bytes for one use tell nothing of the secret, nor of those for another.
///
/// # Panics
///
/// Never: 32 bytes are what HKDF gives at once.
pub fn derive(secret: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut key = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, b"").extract(secret);
    extracted
        .expand(info, HKDF_SHA256)
        .and_then(|expanded| expanded.fill(&mut key))
        .expect("a key as long as the digest");
    key
}

#[cfg(test)]
mod tests {
    use super::{REFRESH_TOKENS, derive};

    /// Services that guard with refresh tokens derive it too: it must come out the same for ever.
    /// Computed with Python's `hmac`.
    #[test]
    fn the_key_of_refresh_tokens_never_changes() {
        let secret = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let key = derive(secret, &[REFRESH_TOKENS]);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0df321d7de50428792863699c4765a781e07b00a5616decde78f2b63bf53f326");
        assert_eq!(derive(secret, &[b"tessera ", b"refresh tokens"]), key);
        assert_ne!(derive(secret, &[b"tessera refresh token"]), key);
    }
}
