//! Sets of keys, with the keys that sign and those that verify.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::compact::{Parts, TokenHeader, Typ};
use crate::key::Purpose;
use crate::object::{self, StrictObject};
use crate::{Jwk, Key, Refusal};

/// The keys of an issuer, or of a service that accepts its tokens.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    access: Vec<Arc<Key>>,
    refresh: Option<Arc<Key>>,
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// Creates a set of one key, which signs access tokens.
    pub fn new(key: Key) -> Self {
        Self::default().with_access(key)
    }

    /// Creates a set of keys that only verify, such as the published keys of an issuer.
    pub fn verifying(keys: impl IntoIterator<Item = Key>) -> Self {
        Self { access: Vec::new(), refresh: None, keys: keys.into_iter().map(Arc::new).collect() }
    }

    /// Adds a key that signs refresh tokens from now on. See [`Key::refresh`].
    #[must_use]
    pub fn with_refresh(mut self, key: Key) -> Self {
        let key = Arc::new(key);
        self.keys.push(Arc::clone(&key));
        self.refresh = Some(key);
        self
    }

    /// Adds a key that only verifies.
    #[must_use]
    pub fn with_previous(mut self, key: impl Into<Arc<Key>>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Adds a key that signs access tokens from now on: those for its audience, or those for all audiences that have no
    /// key of their own.
    #[must_use]
    pub fn with_access(mut self, key: impl Into<Arc<Key>>) -> Self {
        let key = key.into();
        if !self.keys.iter().any(|known| known.id() == key.id()) {
            self.keys.push(Arc::clone(&key));
        }
        self.access.push(key);
        self
    }

    /// Returns the key that signs refresh tokens, if this set signs. It is always an HMAC key, because only the issuer
    /// reads refresh tokens, and because the same claims must always give the same token, which ES256 cannot do.
    pub fn refresh(&self) -> Option<&Key> {
        self.refresh.as_deref()
    }

    /// Returns the key that signs access tokens for an audience, if this set signs.
    pub fn access(&self, audience: &str) -> Option<&Key> {
        let last = |of: &dyn Fn(&Key) -> bool| self.access.iter().rev().find(|key| of(key));
        last(&|key| key.audience() == Some(audience))
            .or_else(|| last(&|key| key.audience().is_none()))
            .map(Arc::as_ref)
    }

    /// Returns the public keys (RFC 7517, section 5), without HMAC keys.
    pub fn public(&self) -> impl Iterator<Item = &Jwk> {
        self.keys.iter().filter_map(|key| key.public())
    }

    /// Verifies that a key for clients signed an ID token, and returns its claims. It checks none of them: the issuer
    /// reads its own ID tokens only as hints about a user, also after they have expired.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn read_id_token(&self, token: &str) -> Result<Map<String, Value>, Refusal> {
        let parts = Parts::split(token)?;
        let header = self.header(parts.header)?;
        let key = self.find(header.kid.as_deref())?;
        if header.typ != Typ::Jwt {
            return Err(Refusal::TypeMismatch);
        }
        if key.purpose() != Purpose::Clients {
            return Err(Refusal::KeyUnknown);
        }
        key.check(&header, &parts)?;
        let StrictObject(claims) = object::read(&parts.payload).ok_or(Refusal::ClaimsInvalid)?;
        Ok(claims.into_iter().collect())
    }

    /// Reads the first segment of a token. A segment that a key of this set writes was read when the key was made.
    pub(crate) fn header(&self, segment: &str) -> Result<TokenHeader, Refusal> {
        match self.keys.iter().find_map(|key| key.header_in(segment)) {
            Some(header) => Ok(header.clone()),
            None => TokenHeader::parse(segment),
        }
    }

    pub(crate) fn find(&self, id: Option<&str>) -> Result<&Key, Refusal> {
        let id = id.ok_or(Refusal::HeaderInvalid)?;
        self.keys.iter().find(|key| key.id() == id).map(Arc::as_ref).ok_or(Refusal::KeyUnknown)
    }
}
