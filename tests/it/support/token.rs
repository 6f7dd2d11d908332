//! Tokens that an attacker makes: any header, any claims, any key.

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;

/// The `APP_SECRET` of servers in tests.
pub(crate) const SECRET: &str = "5f2c9e8b71d40a36c4e7918f0b6d2a53e1f87c094b5ad6328e70c1f49d3b6a52";

pub(crate) fn header_of(token: &str) -> Value {
    part(token, 0)
}

pub(crate) fn claims_of(token: &str) -> Value {
    part(token, 1)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

/// A forged token that is made from a valid one.
#[derive(Debug, Clone)]
pub(crate) struct Forgery {
    header: String,
    claims: String,
    secret: Vec<u8>,
}

/// Derives a key from `APP_SECRET` for one purpose (HKDF with SHA-256, RFC 5869).
fn derived(secret: &str, info: &str) -> Vec<u8> {
    let mut key = [0; 32];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(secret.as_bytes());
    let info = [info.as_bytes()];
    extracted.expand(&info, hkdf::HKDF_SHA256).unwrap().fill(&mut key).unwrap();
    key.to_vec()
}

/// The key that signs refresh tokens with this `APP_SECRET`.
pub(crate) fn refresh_key(secret: &str) -> Vec<u8> {
    derived(secret, "tessera refresh tokens")
}

/// The `kid` of an HMAC key.
pub(crate) fn kid_of(key: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"tessera key id");
    BASE64.encode(tag)[..16].to_owned()
}

impl Forgery {
    /// A copy of a token, signed by an attacker who holds `APP_SECRET`. For a refresh token, the key is derived from
    /// the secret.
    pub(crate) fn of(token: &str) -> Self {
        let header = header_of(token);
        let is_refresh = header["typ"] == "rt+jwt";
        Self {
            header: header.to_string(),
            claims: claims_of(token).to_string(),
            secret: if is_refresh { refresh_key(SECRET) } else { SECRET.into() },
        }
    }

    pub(crate) fn header(self, header: impl ToString) -> Self {
        Self { header: header.to_string(), ..self }
    }

    pub(crate) fn claims(self, claims: impl ToString) -> Self {
        Self { claims: claims.to_string(), ..self }
    }

    /// Sets a member of the header.
    pub(crate) fn with_header(self, name: &str, value: impl Into<Value>) -> Self {
        let mut header: Value = serde_json::from_str(&self.header).unwrap();
        header[name] = value.into();
        self.header(header)
    }

    /// Sets a claim.
    pub(crate) fn with(self, name: &str, value: impl Into<Value>) -> Self {
        let mut claims: Value = serde_json::from_str(&self.claims).unwrap();
        claims[name] = value.into();
        self.claims(claims)
    }

    pub(crate) fn without(self, name: &str) -> Self {
        let mut claims: Value = serde_json::from_str(&self.claims).unwrap();
        claims.as_object_mut().unwrap().remove(name);
        self.claims(claims)
    }

    pub(crate) fn without_header(self, name: &str) -> Self {
        let mut header: Value = serde_json::from_str(&self.header).unwrap();
        header.as_object_mut().unwrap().remove(name);
        self.header(header)
    }

    /// Writes a claim a second time, before the first.
    pub(crate) fn doubled(self, name: &str, value: &str) -> Self {
        let claims = self.claims.replacen('{', &format!("{{\"{name}\":{value},"), 1);
        Self { claims, ..self }
    }

    pub(crate) fn doubled_header(self, name: &str, value: &str) -> Self {
        let header = self.header.replacen('{', &format!("{{\"{name}\":{value},"), 1);
        Self { header, ..self }
    }

    pub(crate) fn secret(self, secret: &[u8]) -> Self {
        Self { secret: secret.to_vec(), ..self }
    }

    fn signed(&self) -> String {
        format!("{}.{}", BASE64.encode(&self.header), BASE64.encode(&self.claims))
    }

    /// Signs the token with HMAC-SHA-256, whatever algorithm the header names.
    pub(crate) fn sign(&self) -> String {
        self.sign_with(hmac::HMAC_SHA256)
    }

    pub(crate) fn sign_with(&self, algorithm: hmac::Algorithm) -> String {
        let signed = self.signed();
        let tag = hmac::sign(&hmac::Key::new(algorithm, &self.secret), signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(tag))
    }

    pub(crate) fn unsigned(&self) -> String {
        format!("{}.", self.signed())
    }
}
