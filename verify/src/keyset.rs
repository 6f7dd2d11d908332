//! Which key signs, and which verify.

use std::sync::Arc;

use crate::{Jwk, Key, Refusal};

/// The keys of an issuer, or of a service that trusts one.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    access: Vec<Arc<Key>>,
    refresh: Option<Arc<Key>>,
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// A set of one key, which signs access tokens.
    pub fn new(key: Key) -> Self {
        Self::default().with_access(key)
    }

    /// A set of keys that verify, such as an issuer's published ones.
    pub fn verifying(keys: impl IntoIterator<Item = Key>) -> Self {
        Self { access: Vec::new(), refresh: None, keys: keys.into_iter().map(Arc::new).collect() }
    }

    /// Adds a key that signs refresh tokens from now on: see [`Key::refresh`].
    #[must_use]
    pub fn with_refresh(mut self, key: Key) -> Self {
        let key = Arc::new(key);
        self.keys.push(Arc::clone(&key));
        self.refresh = Some(key);
        self
    }

    /// Adds a key that verifies and does not sign.
    #[must_use]
    pub fn with_previous(mut self, key: impl Into<Arc<Key>>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Adds a key that signs access tokens from now on: those of its audience, or those of every
    /// audience that has no key of its own.
    #[must_use]
    pub fn with_access(mut self, key: impl Into<Arc<Key>>) -> Self {
        let key = key.into();
        if !self.keys.iter().any(|known| known.id() == key.id()) {
            self.keys.push(Arc::clone(&key));
        }
        self.access.push(key);
        self
    }

    /// The key that signs refresh tokens, if this set signs. They are for their issuer alone, and
    /// come out the same however often they are made, which ES256 cannot do: so this one is always
    /// an HMAC key.
    pub fn refresh(&self) -> Option<&Key> {
        self.refresh.as_deref()
    }

    /// The key that signs access tokens for an audience, if this set signs.
    pub fn access(&self, audience: &str) -> Option<&Key> {
        let last = |of: &dyn Fn(&Key) -> bool| self.access.iter().rev().find(|key| of(key));
        last(&|key| key.audience() == Some(audience))
            .or_else(|| last(&|key| key.audience().is_none()))
            .map(Arc::as_ref)
    }

    /// The public keys (RFC 7517, section 5): never an HMAC key.
    pub fn public(&self) -> impl Iterator<Item = &Jwk> {
        self.keys.iter().filter_map(|key| key.public())
    }

    pub(crate) fn find(&self, id: Option<&str>) -> Result<&Key, Refusal> {
        let id = id.ok_or(Refusal::HeaderInvalid)?;
        self.keys.iter().find(|key| key.id() == id).map(Arc::as_ref).ok_or(Refusal::KeyUnknown)
    }
}
