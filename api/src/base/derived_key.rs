//! Keys that are derived from `APP_SECRET`, each for one purpose (RFC 5869). From one of them, nobody can compute the
//! secret or another key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::config::{Config, Secret};
use crate::base::hex::hex;

/// A key that encrypts data in the database, derived from one `APP_SECRET` for one purpose.
pub struct Seal(RandomizedNonceKey);

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal(…)")
    }
}

/// The purpose of the key that encrypts private signing keys.
pub(crate) const SIGNING_KEYS: &str = "tessera signing keys";

impl Seal {
    /// Derives the key from a secret, for a purpose.
    pub fn of(secret: &Secret, purpose: &str) -> Self {
        let key = derive(secret, &[purpose.as_bytes()]);
        Self(RandomizedNonceKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes"))
    }

    /// Encrypts content and binds it to a name.
    pub fn seal(&self, name: &str, content: Vec<u8>) -> String {
        STANDARD.encode(self.encrypt(name, content))
    }

    /// Decrypts content that was sealed under this name with the same secret and for the same purpose.
    pub fn open(&self, name: &str, sealed: &str) -> Option<Vec<u8>> {
        self.decrypt(name, STANDARD.decode(sealed).ok()?)
    }

    fn encrypt(&self, name: &str, mut content: Vec<u8>) -> Vec<u8> {
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut content)
            .expect("some kilobytes are not too long");
        [&nonce.as_ref()[..], &content].concat()
    }

    fn decrypt(&self, name: &str, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(..12)?).ok()?;
        let content =
            self.0.open_in_place(nonce, Aad::from(name.as_bytes()), sealed.get_mut(12..)?).ok()?;
        Some(content.to_vec())
    }
}

/// The secret that signs tokens for one audience. As with `APP_SECRET`, the bytes of its text are the key. A service
/// that has it can make tokens for itself, but for no other audience.
pub fn audience_secret(secret: &Secret, audience: &str) -> Secret {
    let key = derive(secret, &[b"tessera audience ", audience.as_bytes()]);
    Secret::new(&hex(key))
}

/// A key for digests that cannot be computed without the secret, for a purpose.
pub fn digest_key(secret: &Secret, purpose: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &derive(secret, &[purpose.as_bytes()]))
}

fn derive(secret: &Secret, purpose: &[&[u8]]) -> [u8; 32] {
    tessera_verify::derive(secret.expose().as_bytes(), purpose)
}

/// The seals for a purpose: first that of the current secret, then those of the previous secrets.
pub(crate) fn seals_of(secret: &Secret, config: &Config, purpose: &str) -> Vec<Seal> {
    let secrets = std::iter::once(secret).chain(&config.app_secret_previous);
    secrets.map(|secret| Seal::of(secret, purpose)).collect()
}

/// Seals content under a name with the current secret, in the alphabet of URLs. `None` if it cannot be written as JSON.
pub(crate) fn seal_for_url(seals: &[Seal], name: &str, content: &impl Serialize) -> Option<String> {
    let content = serde_json::to_vec(content).ok()?;
    Some(URL_SAFE_NO_PAD.encode(seals.first()?.encrypt(name, content)))
}

/// Opens content that [`seal_for_url`] sealed under the same name, with the current secret or a previous one.
pub(crate) fn open_from_url<T: DeserializeOwned>(
    seals: &[Seal],
    name: &str,
    sealed: &str,
) -> Option<T> {
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let content = seals.iter().find_map(|seal| seal.decrypt(name, sealed.clone()))?;
    serde_json::from_slice(&content).ok()
}

#[cfg(test)]
mod tests {
    use super::{Seal, audience_secret};
    use crate::base::config::Secret;

    #[test]
    fn sealed_content_opens_only_with_its_name_and_secret() {
        let secret = Secret::new("one secret");
        let seal = Seal::of(&secret, "one purpose");
        let sealed = seal.seal("name", b"private".to_vec());
        assert_eq!(seal.open("name", &sealed).as_deref(), Some(&b"private"[..]));
        assert_ne!(seal.seal("name", b"private".to_vec()), sealed);
        assert!(seal.open("another name", &sealed).is_none());
        assert!(Seal::of(&secret, "another").open("name", &sealed).is_none());
        let other = Seal::of(&Secret::new("another secret"), "one purpose");
        assert!(other.open("name", &sealed).is_none());
        assert!(seal.open("name", &sealed[..20]).is_none());
        assert!(seal.open("name", "").is_none());
    }

    /// Services store this secret, so it must always be the same. The expected value was computed with Python's `hmac`.
    #[test]
    fn an_audiences_secret_never_changes() {
        let secret =
            Secret::new("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        let billing = audience_secret(&secret, "billing");
        assert_eq!(
            billing.expose(),
            "0335159ad3242b8267b55e20fbae7572a8db372f66bd40d0c9d34205473e71d3"
        );
        assert_ne!(billing.expose(), audience_secret(&secret, "billings").expose());
    }
}
