//! The keys that sign and verify, and how a token's header chooses one.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::crypto;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::de::{IgnoredAny, MapAccess};

use crate::object::{Members, Strict};
use crate::{Claims, Refusal};

/// A token could not be signed. Has no details: they could tell of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignError;

impl fmt::Display for SignError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the token could not be signed")
    }
}

impl std::error::Error for SignError {}

/// A key with the one algorithm it is used with (RFC 8725, section 3.1), and its public name.
pub struct Key {
    header: Header,
    algorithm: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
    id: String,
}

impl Key {
    /// An HMAC-SHA-256 key over the raw bytes of `secret`.
    ///
    /// Its `kid` is a keyed digest of the secret: the same wherever the secret is known, and no
    /// easier to guess the secret from than any token it signed.
    pub fn hs256(secret: &[u8]) -> Self {
        // Another crate of the program may have chosen already; both know HMAC.
        let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let encoding = EncodingKey::from_secret(secret);
        let mut id = crypto::sign(b"tessera key id", &encoding, Algorithm::HS256)
            .expect("HMAC signs with any key");
        id.truncate(16);
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(id.clone());
        Self {
            header,
            algorithm: Algorithm::HS256,
            encoding,
            decoding: DecodingKey::from_secret(secret),
            id,
        }
    }

    /// The key's name, as `kid` says it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Signs `claims` into a token in compact form (RFC 7515, section 7.1). The same claims give
    /// the same bytes.
    ///
    /// # Errors
    ///
    /// [`SignError`] when the library refuses the key.
    pub fn sign(&self, claims: &Claims) -> Result<String, SignError> {
        jsonwebtoken::encode(&self.header, claims, &self.encoding).map_err(|_| SignError)
    }

    pub(crate) fn check_algorithm(&self, header: &TokenHeader) -> Result<(), Refusal> {
        // RFC 7515, section 4.1.1: case-sensitive.
        match Algorithm::from_str(&header.alg) {
            Ok(algorithm) if algorithm == self.algorithm => Ok(()),
            _ => Err(Refusal::AlgorithmMismatch),
        }
    }

    pub(crate) fn check_signature(&self, signature: &str, signed: &str) -> Result<(), Refusal> {
        match crypto::verify(signature, signed.as_bytes(), &self.decoding, self.algorithm) {
            Ok(true) => Ok(()),
            _ => Err(Refusal::SignatureInvalid),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key that signs, and the ones that still verify.
#[derive(Debug)]
pub struct KeySet {
    active: Key,
    previous: Vec<Key>,
}

impl KeySet {
    /// A set of one key.
    pub fn new(active: Key) -> Self {
        Self { active, previous: Vec::new() }
    }

    /// Adds a key that verifies and never signs.
    #[must_use]
    pub fn with_previous(mut self, key: Key) -> Self {
        self.previous.push(key);
        self
    }

    /// The key that signs.
    pub fn active(&self) -> &Key {
        &self.active
    }

    pub(crate) fn find(&self, id: &str) -> Result<&Key, Refusal> {
        std::iter::once(&self.active)
            .chain(&self.previous)
            .find(|key| key.id == id)
            .ok_or(Refusal::KeyUnknown)
    }
}

/// The header of a token, as far as it is of use.
pub(crate) struct TokenHeader {
    alg: String,
    pub(crate) kid: String,
}

impl TokenHeader {
    pub(crate) fn parse(header: &[u8]) -> Result<Self, Refusal> {
        let Strict(read) = serde_json::from_slice::<Strict<ReadHeader>>(header)
            .map_err(|_| Refusal::HeaderInvalid)?;
        if read.unsupported {
            return Err(Refusal::HeaderUnsupported);
        }
        // RFC 7515, section 4.1.9: a media type, so without case.
        if read.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(Refusal::HeaderUnsupported);
        }
        match (read.alg, read.kid) {
            (Some(alg), Some(kid)) => Ok(Self { alg, kid }),
            _ => Err(Refusal::HeaderInvalid),
        }
    }
}

#[derive(Default)]
struct ReadHeader {
    typ: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    unsupported: bool,
}

impl<'de> Members<'de> for ReadHeader {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "typ" => self.typ = Some(map.next_value()?),
            "alg" => self.alg = Some(map.next_value()?),
            "kid" => self.kid = Some(map.next_value()?),
            "crit" | "b64" | "cty" | "zip" | "jku" | "jwk" | "x5u" | "x5c" | "x5t" | "x5t#S256" => {
                map.next_value::<IgnoredAny>()?;
                self.unsupported = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
