//! The verifier, which decides whether a token is valid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::claims::ClaimsForm;
use crate::compact::{Parts, Typ};
use crate::key::Purpose;
use crate::{Audiences, Claims, GrantClaims, KeySet, Refusal, RevocationList, TokenType};

/// The default leeway of a verifier, in seconds.
pub const DEFAULT_LEEWAY: u64 = 2;

/// The maximum leeway, in seconds.
pub const MAX_LEEWAY: u64 = 60;

/// A verifier, which decides whether a token is valid (RFC 8725). See [`Verifier::verify`].
#[derive(Debug)]
pub struct Verifier {
    keys: RwLock<Arc<KeySet>>,
    issuer: String,
    audience: String,
    other_audiences: Vec<String>,
    more_audiences: Vec<String>,
    leeway: u64,
    max_access_lifetime: AtomicU64,
    revocations: Option<Arc<RevocationList>>,
    form: ClaimsForm,
}

impl Verifier {
    /// Creates a verifier that accepts tokens of `issuer` that one of `keys` signed: access tokens for `audience`, and
    /// refresh tokens for the issuer. The leeway is [`DEFAULT_LEEWAY`], the longest lifetime of an access token is a
    /// day, and there is no revocation list.
    pub fn new(keys: KeySet, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            keys: RwLock::new(Arc::new(keys)),
            issuer: issuer.into(),
            audience: audience.into(),
            other_audiences: Vec::new(),
            more_audiences: Vec::new(),
            leeway: DEFAULT_LEEWAY,
            max_access_lifetime: AtomicU64::new(86_400),
            revocations: None,
            form: ClaimsForm::Any,
        }
    }

    /// Sets the leeway: the number of seconds by which the issuer's clock can be ahead, so that `iat` and `nbf` are in
    /// the future. The maximum is [`MAX_LEEWAY`]. A token always expires at `exp`, whatever the leeway is.
    #[must_use]
    pub fn leeway(mut self, seconds: u64) -> Self {
        self.leeway = seconds.min(MAX_LEEWAY);
        self
    }

    /// Sets the longest lifetime of an access token, in seconds from `iat` to `exp`.
    #[must_use]
    pub fn max_access_lifetime(self, seconds: u64) -> Self {
        self.replace_max_access_lifetime(seconds);
        self
    }

    /// Replaces the longest lifetime of an access token, in seconds from `iat` to `exp`. Pass the longest lifetime of
    /// all tokens that can still be valid.
    pub fn replace_max_access_lifetime(&self, seconds: u64) {
        self.max_access_lifetime.store(seconds, Ordering::SeqCst);
    }

    /// Sets the revocation list. The verifier refuses the tokens that it covers.
    #[must_use]
    pub fn revocations(mut self, list: Arc<RevocationList>) -> Self {
        self.revocations = Some(list);
        self
    }

    /// Sets further audiences whose access tokens are accepted too, for a service that has several names.
    #[must_use]
    pub fn also_for(mut self, audiences: Vec<String>) -> Self {
        self.other_audiences = audiences;
        self
    }

    /// Sets further audiences whose tokens can be read, verified for others and revoked, but are not accepted here: see
    /// [`read`](Self::read) and [`verify_any`](Self::verify_any).
    #[must_use]
    pub fn more_audiences(mut self, audiences: Vec<String>) -> Self {
        self.more_audiences = audiences;
        self
    }

    /// Accepts only tokens of a user's session: `sub` must be a UUID, `sid` must be present, and `aud` must be one
    /// text. Other tokens are refused with [`Refusal::ClaimsInvalid`].
    #[must_use]
    pub fn of_sessions_alone(mut self) -> Self {
        self.form = ClaimsForm::OfSession;
        self
    }

    /// Returns the issuer whose tokens are accepted.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the keys that verify tokens.
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the keys that verify tokens.
    pub fn replace_keys(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Verifies a token of the type `expected` at the time `now` (seconds since the epoch), and returns its claims.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn verify(&self, token: &str, expected: TokenType, now: u64) -> Result<Claims, Refusal> {
        let claims = self.verify_own(token, now)?;
        check_type(&claims, expected)?;
        self.check_not_revoked(&claims)?;
        Ok(claims)
    }

    /// Verifies an access token or a refresh token at the time `now`, and returns its claims. Use it to end the session
    /// of the token.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn verify_either(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let claims = self.verify_own(token, now)?;
        self.check_not_revoked(&claims)?;
        Ok(claims)
    }

    /// Like [`verify_either`](Self::verify_either), but also for the further audiences. Use it to answer others'
    /// questions about tokens (introspection).
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn verify_any(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let claims = self.read(token)?;
        self.check_times(&claims, now)?;
        self.check_not_revoked(&claims)?;
        Ok(claims)
    }

    /// Verifies the signature, the issuer and the audience of a token, but not its times, and returns its claims. It
    /// also reads tokens for the further audiences. Use it to revoke a token.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn read(&self, token: &str) -> Result<Claims, Refusal> {
        let claims = self.verify_signed(token)?;
        self.check_issuer(&claims)?;
        let is_access = claims.token_type() == TokenType::Access;
        let is_known = self.more_audiences.iter().any(|known| claims.aud.contains(known));
        if !(is_access && is_known) {
            self.check_audience(&claims)?;
        }
        Ok(claims)
    }

    /// Like [`read`](Self::read), but refuses tokens that are not valid yet, and tokens whose lifetime is too long. The
    /// token may have expired.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn read_past(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let claims = self.read(token)?;
        self.check_start(&claims, now)?;
        self.check_lifetime(&claims)?;
        Ok(claims)
    }

    /// Verifies the access token of a grant at the time `now` (seconds since the epoch), and returns its claims
    /// (RFC 9068, section 4). A user gave the grant to a client, or the client has it for itself.
    ///
    /// A token of a session is never accepted here, and a token of a grant is never accepted by
    /// [`verify`](Self::verify). Each of four differences is enough for that: `typ`, the required claims, the keys of
    /// the issuer, and the audience.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn verify_grant(&self, token: &str, now: u64) -> Result<GrantClaims, Refusal> {
        let claims = self.read_grant(token)?;
        require(self.is_for_us(&claims.aud), Refusal::AudienceMismatch)?;
        self.check_grant(&claims, now)?;
        Ok(claims)
    }

    /// Like [`verify_grant`](Self::verify_grant), but for every audience. Use it to answer others' questions about
    /// tokens (introspection).
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn verify_any_grant(&self, token: &str, now: u64) -> Result<GrantClaims, Refusal> {
        let claims = self.read_grant(token)?;
        self.check_grant(&claims, now)?;
        Ok(claims)
    }

    /// Verifies the signature and the issuer of a grant's access token, but neither its audience nor its times, and
    /// returns its claims. Use it to revoke a token.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails.
    pub fn read_grant(&self, token: &str) -> Result<GrantClaims, Refusal> {
        let parts = Parts::split(token)?;
        let keys = self.keys();
        let header = keys.header(parts.header)?;
        require(header.typ == Typ::Grant, Refusal::TypeMismatch)?;
        let key = keys.find(header.kid.as_deref())?;
        let is_for_clients = matches!(key.purpose(), Purpose::Clients | Purpose::Published);
        require(is_for_clients, Refusal::KeyUnknown)?;
        key.check(&header, &parts)?;
        let claims = GrantClaims::parse(&parts.payload)?;
        require(claims.iss == self.issuer, Refusal::IssuerMismatch)?;
        Ok(claims)
    }

    fn check_grant(&self, claims: &GrantClaims, now: u64) -> Result<(), Refusal> {
        require(now < claims.exp, Refusal::Expired)?;
        let latest = now.saturating_add(self.leeway);
        require(claims.nbf <= latest && claims.iat <= latest, Refusal::NotYetValid)?;
        let lifetime = claims.exp.saturating_sub(claims.iat);
        let longest = self.max_access_lifetime.load(Ordering::SeqCst);
        require(lifetime <= longest, Refusal::LifetimeTooLong)?;
        let list = self.revocations.as_ref();
        require(!list.is_some_and(|list| list.covers_grant(claims)), Refusal::Revoked)
    }

    /// Returns true if a token that was accepted has been revoked since.
    pub fn is_revoked(&self, claims: &Claims) -> bool {
        self.revocations.as_ref().is_some_and(|list| list.covers(claims))
    }

    fn verify_own(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let claims = self.verify_signed(token)?;
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        self.check_times(&claims, now)?;
        Ok(claims)
    }

    fn check_times(&self, claims: &Claims, now: u64) -> Result<(), Refusal> {
        self.check_expiry(claims, now)?;
        self.check_start(claims, now)?;
        self.check_lifetime(claims)
    }

    fn verify_signed(&self, token: &str) -> Result<Claims, Refusal> {
        let parts = Parts::split(token)?;
        let keys = self.keys();
        let header = keys.header(parts.header)?;
        require(header.typ != Typ::Grant, Refusal::HeaderUnsupported)?;
        let key = keys.find(header.kid.as_deref())?;
        require(key.purpose() != Purpose::Clients, Refusal::KeyUnknown)?;
        key.check(&header, &parts)?;
        let claims = Claims::parse(&parts.payload, self.form)?;
        let expected = match header.typ {
            Typ::Refresh => TokenType::Refresh,
            Typ::Jwt | Typ::Grant => TokenType::Access,
        };
        check_type(&claims, expected)?;
        // A key of one audience must not sign a token that another audience accepts too.
        let is_its_own = key.audience().is_none_or(|own| claims.aud.is_only(own));
        require(is_its_own, Refusal::AudienceMismatch)?;
        Ok(claims)
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Refusal> {
        require(claims.iss == self.issuer, Refusal::IssuerMismatch)
    }

    fn is_for_us(&self, audiences: &Audiences) -> bool {
        let mut own = std::iter::once(&self.audience).chain(&self.other_audiences);
        own.any(|own| audiences.contains(own))
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let is_ours = match claims.token_type() {
            TokenType::Access => self.is_for_us(&claims.aud),
            TokenType::Refresh => claims.aud.is_only(&self.issuer),
        };
        require(is_ours, Refusal::AudienceMismatch)
    }

    /// Checks `exp`. A token must not be accepted on or after it (RFC 7519, section 4.1.4), whatever the leeway is.
    fn check_expiry(&self, claims: &Claims, now: u64) -> Result<(), Refusal> {
        require(now < claims.exp, Refusal::Expired)
    }

    fn check_start(&self, claims: &Claims, now: u64) -> Result<(), Refusal> {
        let latest = now.saturating_add(self.leeway);
        require(claims.nbf <= latest && claims.iat <= latest, Refusal::NotYetValid)
    }

    /// Checks the lifetime, so that nobody can sign tokens that are valid forever with a key that leaked for a minute.
    /// The issuer also compares refresh tokens with the row of their session.
    fn check_lifetime(&self, claims: &Claims) -> Result<(), Refusal> {
        let lifetime = claims.exp.saturating_sub(claims.iat);
        let longest = match claims.token_type() {
            TokenType::Access => self.max_access_lifetime.load(Ordering::SeqCst),
            TokenType::Refresh => 10 * 366 * 86_400,
        };
        require(lifetime <= longest, Refusal::LifetimeTooLong)
    }

    fn check_not_revoked(&self, claims: &Claims) -> Result<(), Refusal> {
        require(!self.is_revoked(claims), Refusal::Revoked)
    }
}

fn check_type(claims: &Claims, expected: TokenType) -> Result<(), Refusal> {
    require(claims.token_type() == expected, Refusal::TypeMismatch)
}

fn require(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}
