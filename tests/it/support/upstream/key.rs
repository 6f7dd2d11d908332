//! The keys of a provider, and those of forgers.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::CLIENT_SECRET;

/// The key that signs a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Key {
    /// The provider's own RSA key.
    #[default]
    Own,
    /// The provider's own elliptic key.
    Elliptic,
    /// An RSA key that the provider does not publish.
    Strange,
    /// None: the header says `none`.
    Unsigned,
    /// The client's secret (HS256).
    Secret,
    /// The provider's public key as a secret (HS256).
    Public,
}

static OWN: LazyLock<RsaKeyPair> = LazyLock::new(rsa);
static STRANGE: LazyLock<RsaKeyPair> = LazyLock::new(rsa);
static ELLIPTIC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

fn rsa() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

/// The modulus of a key of 2048 bits: the first integer of its DER, after two headers and a zero.
fn modulus(key: &RsaKeyPair) -> &[u8] {
    let der = key.public_key().as_ref();
    assert_eq!(&der[..9], [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]);
    assert_eq!(&der[265..], [0x02, 0x03, 0x01, 0x00, 0x01]);
    &der[9..265]
}

impl Key {
    /// The public keys of the provider, with the name of its RSA key.
    pub(super) fn published(kid: &str) -> Value {
        let point = ELLIPTIC.public_key().as_ref();
        json!([
            {
                "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
                "n": BASE64.encode(modulus(&OWN)), "e": "AQAB",
            },
            {
                "kty": "EC", "kid": "elliptic", "use": "sig", "alg": "ES256", "crv": "P-256",
                "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]),
            },
            // Keys that are no signing keys of ours are ignored.
            { "kty": "RSA", "kid": "for-encryption", "use": "enc", "n": BASE64.encode(modulus(&STRANGE)), "e": "AQAB" },
            { "kty": "unknown", "kid": "of-the-future" },
        ])
    }

    pub(super) fn algorithm(self) -> &'static str {
        match self {
            Key::Own | Key::Strange => "RS256",
            Key::Elliptic => "ES256",
            Key::Unsigned => "none",
            Key::Secret | Key::Public => "HS256",
        }
    }

    /// The name in the header of a token.
    pub(super) fn kid(self, own: &str) -> &str {
        if self == Key::Elliptic { "elliptic" } else { own }
    }

    pub(super) fn sign(self, header: &Value, claims: &Value) -> String {
        let signed =
            format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(signature))
    }

    fn signature(self, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let with_rsa = |key: &RsaKeyPair| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).unwrap();
            signature
        };
        let with_hmac = |key: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed).as_ref().to_vec()
        };
        match self {
            Key::Own => with_rsa(&OWN),
            Key::Strange => with_rsa(&STRANGE),
            Key::Elliptic => ELLIPTIC.sign(&random, signed).unwrap().as_ref().to_vec(),
            Key::Unsigned => Vec::new(),
            Key::Secret => with_hmac(CLIENT_SECRET.as_bytes()),
            Key::Public => with_hmac(OWN.public_key().as_ref()),
        }
    }
}
