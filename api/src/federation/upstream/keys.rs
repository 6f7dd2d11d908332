//! The keys that sign for a provider (RFC 7517), and the check of a signature.
//!
//! Only asymmetric algorithms are known here. With a symmetric one, everybody who knows the client secret could sign.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

/// The maximum number of keys that are used.
const MAX_KEYS: usize = 64;

/// An asymmetric algorithm (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    #[strum(serialize = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    /// The curve, its name in a key, and the number of bytes of a coordinate.
    fn curve(self) -> Option<(&'static dyn VerificationAlgorithm, &'static str, usize)> {
        Some(match self {
            Self::Es256 => (&ECDSA_P256_SHA256_FIXED, "P-256", 32),
            Self::Es384 => (&ECDSA_P384_SHA384_FIXED, "P-384", 48),
            Self::Es512 => (&ECDSA_P521_SHA512_FIXED, "P-521", 66),
            Self::EdDsa => (&ED25519, "Ed25519", 32),
            _ => return None,
        })
    }
}

/// The members of a key that are used.
#[derive(Debug, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a provider.
#[derive(Debug)]
pub(super) struct Keys(Vec<Jwk>);

impl Keys {
    /// Reads a set. Keys that are not for signatures are left out. `None` if it is no set or has no such key.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(body).ok()?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let signs = |key: &Jwk| {
            ["RSA", "EC", "OKP"].contains(&key.kty.as_str())
                && key.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
        };
        let keys: Vec<Jwk> = keys.filter(signs).take(MAX_KEYS).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Returns true if there is a key that a token with this header can be signed with.
    pub(super) fn have(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        self.fitting(algorithm, kid).next().is_some()
    }

    /// Returns true if one of the keys made the signature.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> bool {
        self.fitting(algorithm, kid).any(|key| key.verifies(algorithm, signed, signature).is_some())
    }

    fn fitting<'a>(
        &'a self,
        algorithm: Algorithm,
        kid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Jwk> {
        let name: &'static str = algorithm.into();
        self.0.iter().filter(move |key| {
            let is_named = kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
            is_named && key.alg.as_deref().is_none_or(|alg| alg == name)
        })
    }

    /// The names of the keys, for operators.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |key: &Jwk| key.kid.clone().unwrap_or_else(|| key.kty.clone());
        self.0.iter().map(name).collect()
    }
}

impl Jwk {
    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Option<()> {
        let bytes = |member: &Option<String>| URL_SAFE_NO_PAD.decode(member.as_deref()?).ok();
        if let Some(parameters) = algorithm.rsa().filter(|_| self.kty == "RSA") {
            let key = RsaPublicKeyComponents { n: bytes(&self.n)?, e: bytes(&self.e)? };
            return key.verify(parameters, signed, signature).ok();
        }
        let (verification, crv, length) = algorithm.curve()?;
        if self.crv.as_deref() != Some(crv) {
            return None;
        }
        let x = bytes(&self.x).filter(|x| x.len() == length)?;
        let point = match self.kty.as_str() {
            "OKP" if algorithm == Algorithm::EdDsa => x,
            "EC" if algorithm != Algorithm::EdDsa => {
                let y = bytes(&self.y).filter(|y| y.len() == length)?;
                [&[4][..], &x, &y].concat()
            }
            _ => return None,
        };
        UnparsedPublicKey::new(verification, point).verify(signed, signature).ok()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    };
    use serde_json::json;
    use tessera_verify::SigningAlgorithm;

    use super::*;
    use crate::base::random;

    /// A set with an ES256 key and an EdDSA key, and a signature of each over a text.
    fn signed(text: &[u8]) -> (Vec<Value>, Vec<u8>, Vec<u8>) {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let pkcs8 = random::private_key(SigningAlgorithm::Es256);
        let es = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
        let point = es.public_key().as_ref();
        let ed = Ed25519KeyPair::from_pkcs8(&random::private_key(SigningAlgorithm::EdDsa)).unwrap();
        let keys = vec![
            json!({ "kty": "EC", "crv": "P-256", "kid": "es", "use": "sig",
                    "x": encoded(&point[1..33]), "y": encoded(&point[33..]) }),
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed",
                    "x": encoded(ed.public_key().as_ref()) }),
        ];
        let signature = es.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec();
        (keys, signature, ed.sign(text).as_ref().to_vec())
    }

    fn read(keys: &[Value]) -> Option<Keys> {
        Keys::read(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_signature_verifies_only_with_its_key_algorithm_and_text() {
        let (keys, es, ed) = signed(b"text");
        let keys = read(&keys).unwrap();
        use Algorithm::{EdDsa, Es256, Es384, Rs256};
        for (algorithm, kid, text, signature, expected) in [
            (Es256, Some("es"), "text", &es, true),
            (Es256, None, "text", &es, true),
            (EdDsa, Some("ed"), "text", &ed, true),
            (Es256, Some("es"), "other", &es, false),
            (Es256, Some("ed"), "text", &es, false),
            (Es256, Some("unknown"), "text", &es, false),
            (Es384, Some("es"), "text", &es, false),
            (Rs256, Some("es"), "text", &es, false),
            (EdDsa, Some("es"), "text", &es, false),
            (EdDsa, Some("ed"), "text", &es, false),
            (Es256, Some("es"), "text", &Vec::new(), false),
        ] {
            let found = keys.verify(algorithm, kid, text.as_bytes(), signature);
            assert_eq!(found, expected, "{algorithm:?} {kid:?} {text}");
        }
    }

    #[test]
    fn keys_for_something_else_and_secrets_verify_nothing() {
        let (mut keys, es, _) = signed(b"text");
        for (member, value) in [("use", "enc"), ("kty", "oct"), ("alg", "ES384"), ("crv", "P-384")]
        {
            let mut key = keys[0].clone();
            key[member] = value.into();
            let verifies = read(&[key])
                .is_some_and(|keys| keys.verify(Algorithm::Es256, Some("es"), b"text", &es));
            assert!(!verifies, "{member} {value}");
        }
        assert!(read(&[]).is_none() && Keys::read(b"[]").is_none());
        keys.push(json!("no key"));
        assert!(read(&keys).is_some());
    }

    #[test]
    fn no_symmetric_algorithm_and_no_other_spelling_is_known() {
        for name in ["none", "None", "HS256", "HS512", "rs256", "RS1", "ES256K", "", "EDDSA"] {
            assert!(name.parse::<Algorithm>().is_err(), "{name}");
        }
        for name in ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"] {
            assert!(name.parse::<Algorithm>().is_ok(), "{name}");
        }
    }
}
