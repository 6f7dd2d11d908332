//! The derivation of keys from a secret, each for one purpose.

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

/// The purpose of the key that signs refresh tokens.
pub(crate) const REFRESH_TOKENS: &[u8] = b"tessera refresh tokens";

/// Derives 32 bytes from `secret` for one purpose (HKDF with SHA-256 and no salt, RFC 5869). The parts of `info`,
/// joined together, name the purpose. The derived bytes reveal neither the secret nor the bytes for other purposes.
///
/// # Panics
///
/// Never. HKDF can derive 32 bytes, the length of its digest.
pub fn derive(secret: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut key = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, b"").extract(secret);
    extracted
        .expand(info, HKDF_SHA256)
        .and_then(|expanded| expanded.fill(&mut key))
        .expect("HKDF can derive a key that is as long as its digest");
    key
}

#[cfg(test)]
mod tests {
    use super::{REFRESH_TOKENS, derive};

    /// Services that accept refresh tokens derive this key too, so it must never change. The expected value was
    /// computed with Python's `hmac`.
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
