//! Tokens that tests build member by member, and verifiers for them.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tessera_verify::{
    Claims, Key, KeySet, Refusal, RevocationList, TokenKind, TokenType, Verifier, derive,
};
use uuid::{Builder, Uuid};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const AUDIENCE: &str = "reports";
pub(crate) const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

pub(crate) fn user() -> Uuid {
    Uuid::from_u128(0x1111)
}

pub(crate) fn session() -> Uuid {
    Uuid::from_u128(0x2222)
}

/// Creates a version 7 UUID with this time.
pub(crate) fn id_at(millis: u64) -> Uuid {
    Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid()
}

pub(crate) fn access_claims() -> Claims {
    let kind = TokenKind::access(true, NOW - 10, "read write");
    Claims::new(kind, ISSUER, user(), AUDIENCE, id_at(NOW * 1000 + 5))
        .with_iat(NOW)
        .with_nbf(NOW - 5)
        .with_exp(NOW + 900)
        .with_sid(session())
}

pub(crate) fn refresh_claims() -> Claims {
    Claims::new(TokenKind::refresh(3), ISSUER, user(), ISSUER, Uuid::from_u128(0x3333))
        .with_iat(NOW)
        .with_nbf(NOW)
        .with_exp(NOW + 90_000)
        .with_sid(session())
}

pub(crate) fn access_token() -> String {
    Key::hs256(SECRET).sign(&access_claims()).unwrap()
}

pub(crate) fn refresh_token() -> String {
    Key::refresh(SECRET).sign(&refresh_claims()).unwrap()
}

pub(crate) fn keys() -> KeySet {
    KeySet::verifying([Key::hs256(SECRET), Key::refresh(SECRET)])
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new(keys(), ISSUER, AUDIENCE)
}

pub(crate) fn verifier_with(list: RevocationList) -> Verifier {
    verifier().revocations(list.into())
}

/// Verifies a token as an access token, now.
pub(crate) fn judge(token: &str) -> Result<Claims, Refusal> {
    verifier().verify(token, TokenType::Access, NOW)
}

pub(crate) fn segment(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the JSON of one segment of a token.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The members of an object in their order, with the JSON text of each value.
#[derive(Debug, Clone)]
struct Object(Vec<(String, String)>);

impl Object {
    fn of(value: Value) -> Self {
        let members = value.as_object().unwrap().clone();
        Self(members.into_iter().map(|(name, value)| (name, value.to_string())).collect())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    fn text(&self) -> String {
        let members: Vec<_> =
            self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A token with any header and claims, and a valid signature.
#[derive(Clone)]
pub(crate) struct Forgery {
    header: Object,
    claims: Object,
    secret: Vec<u8>,
}

/// Writes the header and the claims, without the secret.
impl std::fmt::Debug for Forgery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}.{:?}", self.header, self.claims)
    }
}

impl Forgery {
    pub(crate) fn access() -> Self {
        Self::of(&access_token(), SECRET)
    }

    pub(crate) fn refresh() -> Self {
        Self::of(&refresh_token(), &derive(SECRET, &[b"tessera refresh tokens"]))
    }

    pub(crate) fn of(token: &str, secret: &[u8]) -> Self {
        let [header, claims] = [0, 1].map(|index| Object::of(part(token, index)));
        Self { header, claims, secret: secret.to_vec() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.set(name, &value.into().to_string());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Adds a member after the others. `value` is its JSON text.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.claims.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.set(name, &value.into().to_string());
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    pub(crate) fn and_header(mut self, name: &str, value: &str) -> Self {
        self.header.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn signed_with(mut self, secret: &[u8]) -> Self {
        self.secret = secret.to_vec();
        self
    }

    pub(crate) fn sign(&self) -> String {
        self.sign_texts(&self.header.text(), &self.claims.text())
    }

    pub(crate) fn sign_header(&self, header: &str) -> String {
        self.sign_texts(header, &self.claims.text())
    }

    pub(crate) fn sign_claims(&self, claims: &str) -> String {
        self.sign_texts(&self.header.text(), claims)
    }

    fn sign_texts(&self, header: &str, claims: &str) -> String {
        sign_hs256(&format!("{}.{}", segment(header), segment(claims)), &self.secret)
    }
}

pub(crate) fn sign_hs256(signed: &str, secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{signed}.{}", segment(hmac::sign(&key, signed.as_bytes())))
}

/// Returns the names of these claims.
pub(crate) fn names(of: &Claims) -> Vec<String> {
    let Value::Object(members) = json!(of) else { panic!("claims are an object") };
    members.keys().cloned().collect()
}
