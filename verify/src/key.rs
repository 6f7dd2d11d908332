//! The keys that sign and verify tokens, each with one algorithm.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{self, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto};
use serde::Serialize;

use crate::compact::{Parts, TokenHeader, Typ};
use crate::derivation::{REFRESH_TOKENS, derive};
use crate::{Claims, GrantClaims, Refusal, TokenType};

/// The error for a key that is not valid, or that cannot sign a token. It has no details, because they could reveal
/// something about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the key cannot be used")
    }
}

impl std::error::Error for KeyError {}

/// The algorithms that tokens are signed with (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SigningAlgorithm {
    /// HMAC with SHA-256. Anyone who can verify can also sign.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// Returns the name of the algorithm, as in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            SigningAlgorithm::Hs256 => "HS256",
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Es256 => "ES256",
            SigningAlgorithm::EdDsa => "EdDSA",
        }
    }
}

impl FromStr for SigningAlgorithm {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        let all = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];
        all.into_iter().find(|algorithm| algorithm.name() == name).ok_or(KeyError)
    }
}

/// A public key (RFC 7517, section 4), which serializes to JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Jwk(jwk::Jwk);

/// A key for one algorithm (RFC 8725, section 3.1) and one purpose, with a public name.
pub struct Key {
    id: String,
    header: Header,
    head: Head,
    decoding: DecodingKey,
    signer: Option<Signer>,
    public: Option<Jwk>,
    audience: Option<String>,
    purpose: Purpose,
}

/// The header that a key writes into tokens of sessions, or into ID tokens. Access tokens of grants have another `typ`.
struct Head {
    /// The first segment of these tokens.
    segment: String,
    /// The same, as it is read.
    read: TokenHeader,
}

impl Head {
    fn of(header: &Header) -> Self {
        let segment = encoded(header);
        let read = TokenHeader::parse(&segment).expect("a header of our own can be read");
        Self { segment, read }
    }
}

/// The tokens that a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Access tokens of sessions.
    Access,
    /// Refresh tokens of sessions.
    Refresh,
    /// The tokens of clients: their access tokens and ID tokens.
    Clients,
    /// Those of the issuer that published the key, which does not say which they are. The kind of a token then follows
    /// from its header and its claims alone.
    Published,
}

impl Purpose {
    /// Returns true if a key of this purpose can verify a token with this `typ`.
    const fn allows(self, typ: Typ) -> bool {
        match self {
            Purpose::Access => matches!(typ, Typ::Jwt),
            Purpose::Refresh => matches!(typ, Typ::Refresh),
            Purpose::Clients | Purpose::Published => matches!(typ, Typ::Jwt | Typ::Grant),
        }
    }
}

/// The private part of a key. The keys of `jsonwebtoken` would be set up again for each signature, which for RSA takes
/// three times as long as the signature itself.
enum Signer {
    Hmac(Box<hmac::Key>),
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Key {
    /// Creates an HMAC-SHA-256 key from the raw bytes of `secret`, for access tokens.
    ///
    /// Its `kid` is a keyed digest of the secret, so it is the same on every server with this secret. Guessing the
    /// secret from the `kid` is as hard as guessing it from a token.
    pub fn hs256(secret: &[u8]) -> Self {
        install_library();
        let prepared = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut id = URL_SAFE_NO_PAD.encode(hmac::sign(&prepared, b"tessera key id"));
        id.truncate(16);
        let signer = Some(Signer::Hmac(Box::new(prepared)));
        Self::new(id, Algorithm::HS256, DecodingKey::from_secret(secret), signer, None)
    }

    /// Creates the key for the refresh tokens of an issuer whose `APP_SECRET` is `secret`. It is an HMAC-SHA-256 key
    /// that is derived from the secret for this purpose only (RFC 5869). A library that has only the secret cannot
    /// verify a refresh token, so it cannot mistake one for an access token.
    pub fn refresh(secret: &[u8]) -> Self {
        let mut key = Self::hs256(&derive(secret, &[REFRESH_TOKENS]));
        key.purpose = Purpose::Refresh;
        key.header.typ = Some(TokenType::Refresh.header().to_owned());
        key.head = Head::of(&key.header);
        key
    }

    /// Creates a key from a private key in PKCS #8, for access tokens. Its `kid` is the thumbprint of the public key
    /// (RFC 7638).
    ///
    /// # Errors
    ///
    /// [`KeyError`] if this is not a private key of the algorithm, or if the algorithm is HS256, which has none.
    pub fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        install_library();
        let (algorithm, decoding, signer) = match algorithm {
            SigningAlgorithm::Hs256 => return Err(KeyError),
            SigningAlgorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError)?;
                let RsaPublicKeyComponents { n, e } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let decoding = DecodingKey::from_rsa_raw_components(&n, &e);
                (Algorithm::RS256, decoding, Signer::Rsa(Box::new(pair)))
            }
            SigningAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| KeyError)?;
                let decoding = DecodingKey::from_ec_der(pair.public_key().as_ref());
                (Algorithm::ES256, decoding, Signer::Ecdsa(Box::new(pair)))
            }
            SigningAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError)?;
                let decoding = DecodingKey::from_ed_der(pair.public_key().as_ref());
                (Algorithm::EdDSA, decoding, Signer::Ed25519(Box::new(pair)))
            }
        };
        let mut public =
            jwk::Jwk::from_decoding_key(&decoding, Some(algorithm)).map_err(|_| KeyError)?;
        let id = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError)?;
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self::new(id, algorithm, decoding, Some(signer), Some(Jwk(public))))
    }

    /// Creates a key that verifies and cannot sign.
    pub(crate) fn verifying(id: String, algorithm: Algorithm, decoding: DecodingKey) -> Self {
        install_library();
        let mut key = Self::new(id, algorithm, decoding, None, None);
        // A secret never signs for clients: everyone who can verify with it can also sign.
        let is_public =
            !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        if is_public {
            key.purpose = Purpose::Published;
        }
        key
    }

    fn new(
        id: String,
        algorithm: Algorithm,
        decoding: DecodingKey,
        signer: Option<Signer>,
        public: Option<Jwk>,
    ) -> Self {
        let mut header = Header::new(algorithm);
        header.kid = Some(id.clone());
        let (head, audience, purpose) = (Head::of(&header), None, Purpose::Access);
        Self { id, header, head, decoding, signer, public, audience, purpose }
    }

    /// Limits the key to tokens for this audience, so that its holder cannot make tokens for other audiences.
    #[must_use]
    pub fn for_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Limits a private key to the tokens of clients: their access tokens and ID tokens. It then signs and verifies no
    /// token of a session.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for an HMAC key. Clients verify tokens, and must not be able to sign them.
    pub fn for_clients(mut self) -> Result<Self, KeyError> {
        if self.public.is_none() {
            return Err(KeyError);
        }
        self.purpose = Purpose::Clients;
        Ok(self)
    }

    /// Returns the name of the key, as in `kid`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the public key as a JWK (RFC 7517), which may be published. An HMAC key has none.
    pub fn public(&self) -> Option<&Jwk> {
        self.public.as_ref()
    }

    /// Returns the audience that the key is limited to, if any.
    pub(crate) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Signs `claims` and returns the token in compact form (RFC 7515, section 7.1). The same claims give the same
    /// token, except with ES256.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the key only verifies, or if it is for the other type of token.
    pub fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let purpose = match claims.token_type() {
            TokenType::Access => Purpose::Access,
            TokenType::Refresh => Purpose::Refresh,
        };
        if purpose != self.purpose {
            return Err(KeyError);
        }
        self.sign_as(&self.head.segment, claims)
    }

    /// Signs the claims of a grant's access token (RFC 9068), and returns the token in compact form.
    ///
    /// # Errors
    ///
    /// [`KeyError`] unless this is a private key for clients: see [`Key::for_clients`].
    pub fn sign_grant(&self, claims: &GrantClaims) -> Result<String, KeyError> {
        self.sign_for_clients(Typ::Grant, claims)
    }

    /// Signs the claims of an ID token (OpenID Connect Core, section 2), and returns the token in compact form.
    ///
    /// # Errors
    ///
    /// [`KeyError`] unless this is a private key for clients: see [`Key::for_clients`].
    pub fn sign_id_token(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        self.sign_for_clients(Typ::Jwt, claims)
    }

    fn sign_for_clients(&self, typ: Typ, claims: &impl Serialize) -> Result<String, KeyError> {
        if self.purpose != Purpose::Clients {
            return Err(KeyError);
        }
        let header = Header { typ: Some(typ.name().to_owned()), ..self.header.clone() };
        self.sign_as(&encoded(&header), claims)
    }

    fn sign_as(&self, head: &str, claims: &impl Serialize) -> Result<String, KeyError> {
        let signer = self.signer.as_ref().ok_or(KeyError)?;
        let claims = serde_json::to_vec(claims).map_err(|_| KeyError)?;
        let mut token = format!("{head}.");
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = signer.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Verifies that this key signed a token in compact form, and returns the payload. It uses the algorithm of the
    /// key, never one that the token chooses. It does not check the payload.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn verify(&self, token: &str) -> Result<Vec<u8>, Refusal> {
        let parts = Parts::split(token)?;
        let header = TokenHeader::parse(parts.header)?;
        if header.kid.as_ref().is_some_and(|kid| *kid != self.id) {
            return Err(Refusal::KeyUnknown);
        }
        self.check(&header, &parts)?;
        Ok(parts.payload)
    }

    pub(crate) fn check(&self, header: &TokenHeader, parts: &Parts<'_>) -> Result<(), Refusal> {
        // A key for other tokens counts as unknown.
        if !self.purpose.allows(header.typ) {
            return Err(Refusal::KeyUnknown);
        }
        let algorithm = self.header.alg;
        if header.alg != Some(algorithm) {
            return Err(Refusal::AlgorithmMismatch);
        }
        let signed = parts.signed.as_bytes();
        if let Some(Signer::Hmac(key)) = &self.signer {
            return hmac::verify(key, signed, &parts.signature)
                .map_err(|_| Refusal::SignatureInvalid);
        }
        match crypto::verify(parts.encoded_signature, signed, &self.decoding, algorithm) {
            Ok(true) => Ok(()),
            _ => Err(Refusal::SignatureInvalid),
        }
    }

    /// Returns the header, if this is the first segment that this key writes into its tokens.
    pub(crate) fn header_in(&self, segment: &str) -> Option<&TokenHeader> {
        (self.head.segment == segment).then_some(&self.head.read)
    }

    /// Returns the tokens that the key is for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }
}

impl Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match self {
            Signer::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| KeyError)?;
                Ok(signature)
            }
            Signer::Ecdsa(pair) => {
                Ok(pair.sign(&random, message).map_err(|_| KeyError)?.as_ref().to_vec())
            }
            Signer::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

fn encoded(header: &Header) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(header).expect("a header is an object of texts"))
}

/// Installs the library for cryptography. If another crate of the program has already installed one, that one stays:
/// both provide what is needed here.
fn install_library() {
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}
