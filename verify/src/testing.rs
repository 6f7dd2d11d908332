//! An issuer for the tests of services. It opens no port, and the service checks its tokens with the true verifier.
//!
//! ```
//! use tessera_verify::testing::FakeIssuer;
//!
//! let issuer = FakeIssuer::new("reports");
//! let guard = issuer.tessera().guard();
//! let token = issuer.token("56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2").scope("reports").sign();
//! assert!(guard.required(Some(&token), issuer.now()).is_ok());
//! issuer.revoke(&token);
//! assert!(guard.required(Some(&token), issuer.now()).is_err());
//! issuer.make_stale();
//! ```

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::Ed25519KeyPair;
use uuid::{Builder, Uuid};

use crate::client::Settings;
use crate::feed::{Follower, IdKind, Record, RecordKind};
use crate::{Claims, Key, KeySet, SigningAlgorithm, Subject, Tessera, TokenKind};

/// The issuer of the tokens.
const ISSUER: &str = "https://id.test";

/// An issuer for tests. Its tokens are accepted until they are revoked, expire, or their key is retired.
pub struct FakeIssuer {
    tessera: Tessera,
    audience: String,
    keys: Mutex<Keys>,
}

struct Keys {
    signing: Vec<u8>,
    kid: String,
}

impl fmt::Debug for FakeIssuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FakeIssuer").finish_non_exhaustive()
    }
}

/// A token to be signed.
#[derive(Debug)]
#[must_use = "a token is made by `sign`"]
pub struct FakeToken<'a> {
    issuer: &'a FakeIssuer,
    sub: Subject,
    fresh: bool,
    scope: String,
    expires_in: i64,
}

/// Makes a key pair, and returns its private key in PKCS #8.
fn new_key() -> Vec<u8> {
    let made = Ed25519KeyPair::generate().ok();
    let der = made.and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).ok());
    der.map(|der| der.as_ref().to_vec()).unwrap_or_default()
}

/// Returns a key with its private part, if it is one.
fn key_of(pkcs8: &[u8]) -> Option<Key> {
    Key::from_pkcs8(SigningAlgorithm::EdDsa, pkcs8).ok()
}

/// Returns the keys as a service reads them from an issuer.
fn published(key: &Key) -> KeySet {
    let jwks = serde_json::json!({ "keys": [key.public()] });
    KeySet::verifying(Key::from_jwks(&jwks.to_string()).unwrap_or_default())
}

impl FakeIssuer {
    /// Creates an issuer of tokens for an audience, which the service knows and follows.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    pub fn new(audience: &str) -> Self {
        let signing = new_key();
        let key = key_of(&signing).expect("a key that was just made");
        let settings = Settings::new(ISSUER, audience).expect("the issuer is a URL");
        let settings = settings.feed_token("of a test");
        let tessera = Tessera::without_tasks(&settings, published(&key), false);
        let kid = key.id().to_owned();
        let issuer = Self {
            tessera,
            audience: audience.to_owned(),
            keys: Mutex::new(Keys { signing, kid }),
        };
        issuer.make_fresh();
        issuer
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a service would get from `Tessera::from_env()?.start().await`.
    pub fn tessera(&self) -> &Tessera {
        &self.tessera
    }

    /// Returns the current time, in seconds since the epoch.
    pub fn now(&self) -> u64 {
        millis() / 1000
    }

    /// Returns a token of a user that is fresh and valid for 15 minutes, and has no scope. Change it, and then sign it.
    pub fn token(&self, sub: impl Into<Subject>) -> FakeToken<'_> {
        let (sub, scope) = (sub.into(), String::new());
        FakeToken { issuer: self, sub, fresh: true, scope, expires_in: 900 }
    }

    /// Revokes the token. Another text is ignored.
    pub fn revoke(&self, token: &str) {
        let (list, verifier) = self.tessera.parts();
        if let Ok(claims) = verifier.read(token) {
            let until = u32::try_from(claims.exp.saturating_add(60)).unwrap_or(u32::MAX);
            let hash = IdKind::Token.hash(claims.jti);
            list.apply(&[Record { kind: RecordKind::Deny, at: millis(), until, hash }]);
        }
    }

    /// Signs with a new key from now on, and retires the old one: its tokens are refused.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    pub fn rotate(&self) {
        let (list, verifier) = self.tessera.parts();
        let signing = new_key();
        let key = key_of(&signing).expect("a key that was just made");
        let mut keys = self.keys();
        let hash = IdKind::Key.hash(&keys.kid);
        list.apply(&[Record { kind: RecordKind::Key, at: millis(), until: u32::MAX, hash }]);
        verifier.replace_keys(published(&key));
        *keys = Keys { signing, kid: key.id().to_owned() };
    }

    /// Makes the knowledge about revocations too old, so that the service answers 503 to valid tokens.
    pub fn make_stale(&self) {
        self.tessera.replace_follower(|_, now| {
            let mut follower = Follower::new().max_age(Duration::ZERO);
            follower.exchanged(now, millis());
            follower.took_snapshot(millis() - 3_600_000, &now);
            follower
        });
    }

    /// Makes the knowledge about revocations new again, for the rest of the test.
    pub fn make_fresh(&self) {
        self.tessera.replace_follower(|_, now| {
            let mut follower = Follower::new().max_age(Duration::MAX);
            follower.exchanged(now, millis());
            follower.took_snapshot(millis(), &now);
            follower
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens are issued now")]
fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

impl FakeToken<'_> {
    /// Sets whether the user gave a password just now.
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Sets the scopes, separated by spaces.
    pub fn scope(mut self, scope: &str) -> Self {
        scope.clone_into(&mut self.scope);
        self
    }

    /// Sets the time until the token expires, in seconds. With a negative number it has expired.
    pub fn expires_in(mut self, seconds: i64) -> Self {
        self.expires_in = seconds;
        self
    }

    /// Signs the token.
    ///
    /// # Panics
    ///
    /// If it cannot be signed, which does not happen.
    #[expect(clippy::disallowed_methods, reason = "tests have no source of ids")]
    pub fn sign(self) -> String {
        let Self { issuer, sub, fresh, scope, expires_in } = self;
        let now = issuer.now();
        let expires = now.saturating_add_signed(expires_in);
        let issued = now.min(expires.saturating_sub(1));
        let kind = TokenKind::access(fresh, issued, scope);
        let random: [u8; 10] = Uuid::new_v4().as_bytes()[..10].try_into().unwrap_or_default();
        let jti = Builder::from_unix_timestamp_millis(millis(), &random).into_uuid();
        let claims = Claims::new(kind, ISSUER, sub, issuer.audience.clone(), jti)
            .with_iat(issued)
            .with_nbf(issued)
            .with_exp(expires)
            .with_sid(Uuid::new_v4());
        let key = key_of(&issuer.keys().signing).expect("a key that was used before");
        key.sign(&claims).expect("the claims can be signed")
    }
}
