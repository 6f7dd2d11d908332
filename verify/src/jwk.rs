//! A strict parser for published keys (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess};
use serde_json::value::RawValue;

use crate::key::{Key, KeyError};
use crate::object::{self, Ignored, Members, Text, once};

impl Key {
    /// Creates a key that verifies from a JWK. The key has one algorithm: the one in `alg`, or the only one for its
    /// curve. If `use` or `key_ops` is present, it must allow verifying signatures.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the text is not such a key, or if its algorithm is not known.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        object::read::<Read<'_>>(json.as_bytes()).ok_or(KeyError)?.into_key()
    }

    /// Creates the keys of a JWK set (RFC 7517, section 5). It skips keys that cannot be used.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the text is not a set, if two keys have the same name, or if the set contains both public keys
    /// and secrets. A set with public keys is published, so the secrets would be published too.
    pub fn from_jwks(json: &str) -> Result<Vec<Self>, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Box<RawValue>>,
        }
        #[derive(Deserialize)]
        struct Named {
            kty: String,
            kid: Option<String>,
        }
        let set: Set = serde_json::from_str(json).map_err(|_| KeyError)?;
        // This check includes the keys that cannot be used.
        let named = set.keys.iter().map(|key| serde_json::from_str(key.get()));
        let named: Vec<Named> = named.collect::<Result<_, _>>().map_err(|_| KeyError)?;
        let mut names: Vec<_> = named.iter().filter_map(|key| key.kid.as_deref()).collect();
        names.sort_unstable();
        let doubled = names.windows(2).any(|pair| pair[0] == pair[1]);
        let secrets = named.iter().filter(|key| key.kty == "oct").count();
        if doubled || ![0, named.len()].contains(&secrets) {
            return Err(KeyError);
        }
        Ok(set.keys.iter().filter_map(|key| Self::from_jwk(key.get()).ok()).collect())
    }
}

/// The members of a JWK that are used.
#[derive(Default)]
struct Read<'de> {
    kty: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    k: Option<Bytes>,
    n: Option<Bytes>,
    e: Option<Bytes>,
    x: Option<Bytes>,
    y: Option<Bytes>,
    others: Ignored<'de>,
}

struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD.decode(text).map(Bytes).map_err(serde::de::Error::custom)
    }
}

impl<'de> Members<'de> for Read<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: Text<'de>, map: &mut A) -> Result<(), A::Error> {
        match &*name.0 {
            "kty" => once(&mut self.kty, map),
            "alg" => once(&mut self.alg, map),
            "kid" => once(&mut self.kid, map),
            "use" => once(&mut self.purpose, map),
            "key_ops" => once(&mut self.key_ops, map),
            "crv" => once(&mut self.crv, map),
            "k" => once(&mut self.k, map),
            "n" => once(&mut self.n, map),
            "e" => once(&mut self.e, map),
            "x" => once(&mut self.x, map),
            "y" => once(&mut self.y, map),
            _ => self.others.take(name, map),
        }
    }
}

impl Read<'_> {
    fn is_for_signatures(&self) -> bool {
        let purpose = self.purpose.as_ref().is_none_or(|purpose| purpose == "sig");
        let verifies = |ops: &Vec<String>| ops.iter().any(|operation| operation == "verify");
        purpose && self.key_ops.as_ref().is_none_or(verifies)
    }

    fn into_key(self) -> Result<Key, KeyError> {
        if !self.is_for_signatures() {
            return Err(KeyError);
        }
        let kty = self.kty.as_deref().ok_or(KeyError)?;
        let forced = match (kty, self.crv.as_deref()) {
            ("EC", Some("P-256")) => Some(Algorithm::ES256),
            ("EC", Some("P-384")) => Some(Algorithm::ES384),
            ("OKP", Some("Ed25519")) => Some(Algorithm::EdDSA),
            ("RSA" | "oct", None) => None,
            _ => return Err(KeyError),
        };
        let named = match self.alg.as_deref() {
            Some(name) => Some(name.parse::<Algorithm>().map_err(|_| KeyError)?),
            None => None,
        };
        let algorithm = match (forced, named) {
            (Some(forced), Some(named)) if forced != named => return Err(KeyError),
            (forced, named) => forced.or(named).ok_or(KeyError)?,
        };
        let bytes = |member: Option<Bytes>| member.map(|bytes| bytes.0).ok_or(KeyError);
        use Algorithm as A;
        let decoding = match algorithm {
            A::HS256 | A::HS384 | A::HS512 if kty == "oct" => {
                let secret = bytes(self.k)?;
                // RFC 7518, section 3.2: the secret must be at least as long as the digest.
                let min_length = match algorithm {
                    A::HS256 => 32,
                    A::HS384 => 48,
                    _ => 64,
                };
                if secret.len() < min_length {
                    return Err(KeyError);
                }
                DecodingKey::from_secret(&secret)
            }
            A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512 if kty == "RSA" => {
                let modulus = bytes(self.n)?;
                if has_roca_fingerprint(&modulus) {
                    return Err(KeyError);
                }
                DecodingKey::from_rsa_raw_components(&modulus, &bytes(self.e)?)
            }
            A::ES256 | A::ES384 if kty == "EC" => {
                let (x, y) = (bytes(self.x)?, bytes(self.y)?);
                let length = if algorithm == A::ES256 { 32 } else { 48 };
                if x.len() != length || y.len() != length {
                    return Err(KeyError);
                }
                DecodingKey::from_ec_der(&[&[4], &*x, &*y].concat())
            }
            A::EdDSA if kty == "OKP" => {
                let x = bytes(self.x)?;
                if x.len() != 32 {
                    return Err(KeyError);
                }
                DecodingKey::from_ed_der(&x)
            }
            _ => return Err(KeyError),
        };
        Ok(Key::verifying(self.kid.unwrap_or_default(), algorithm, decoding))
    }
}

/// Returns true if an RSA modulus has the fingerprint of the faulty generator of CVE-2017-15361: modulo each small
/// prime it is a power of 65537. Anybody can factor such a key. Of other keys, only one in many millions has this
/// fingerprint.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 17] =
        [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * 65_537 % prime));
        powers.take(*prime as usize).any(|power| power == rest)
    })
}
