//! The one place that decides whether a token is valid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::claims::ClaimsForm;
use crate::compact::{Parts, TokenHeader};
use crate::{Claims, KeySet, Refusal, RevocationList, TokenType};

/// The leeway of a verifier that is told of none, in seconds.
pub const DEFAULT_LEEWAY: u64 = 2;

/// The largest leeway there is, in seconds.
pub const MAX_LEEWAY: u64 = 60;

/// Decides whether a token is valid (RFC 8725), by the checks of [`Verifier::verify`].
#[derive(Debug)]
pub struct Verifier {
    keys: RwLock<Arc<KeySet>>,
    issuer: String,
    audience: String,
    more_audiences: Vec<String>,
    leeway: u64,
    max_access_lifetime: AtomicU64,
    revocations: Option<Arc<RevocationList>>,
    form: ClaimsForm,
}

impl Verifier {
    /// Accepts the tokens of `issuer` that one of `keys` signed, access tokens for `audience` and
    /// refresh tokens for the issuer: a leeway of [`DEFAULT_LEEWAY`], access tokens of at most a day,
    /// nothing revoked.
    pub fn new(keys: KeySet, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            keys: RwLock::new(Arc::new(keys)),
            issuer: issuer.into(),
            audience: audience.into(),
            more_audiences: Vec::new(),
            leeway: DEFAULT_LEEWAY,
            max_access_lifetime: AtomicU64::new(86_400),
            revocations: None,
            form: ClaimsForm::Any,
        }
    }

    /// Allows the issuer's clock to be ahead by up to `seconds`: `iat` and `nbf` may lie that far ahead.
    /// More than [`MAX_LEEWAY`] is taken for that. No leeway lets a token live longer than `exp` says.
    #[must_use]
    pub fn leeway(mut self, seconds: u64) -> Self {
        self.leeway = seconds.min(MAX_LEEWAY);
        self
    }

    /// How long an access token may live, in seconds from `iat` to `exp`.
    #[must_use]
    pub fn max_access_lifetime(self, seconds: u64) -> Self {
        self.replace_max_access_lifetime(seconds);
        self
    }

    /// Accepts access tokens of another life from now on, in seconds from `iat` to `exp`: the longest of
    /// those that may still be valid.
    pub fn replace_max_access_lifetime(&self, seconds: u64) {
        self.max_access_lifetime.store(seconds, Ordering::SeqCst);
    }

    /// Refuses what this list holds.
    #[must_use]
    pub fn revocations(mut self, list: Arc<RevocationList>) -> Self {
        self.revocations = Some(list);
        self
    }

    /// Knows tokens for these audiences too, for whoever asks about tokens rather than takes them.
    #[must_use]
    pub fn more_audiences(mut self, audiences: Vec<String>) -> Self {
        self.more_audiences = audiences;
        self
    }

    /// Refuses tokens that are not of a user's session ([`Refusal::ClaimsInvalid`]): `sub` must be a UUID,
    /// `sid` must be there, and `aud` must be one text.
    #[must_use]
    pub fn of_sessions_alone(mut self) -> Self {
        self.form = ClaimsForm::OfSession;
        self
    }

    /// The keys tokens are checked with.
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks tokens with other keys from now on.
    pub fn replace_keys(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// The claims of `token`, if it is valid as a token of type `expected` at the time `now`
    /// (seconds since the epoch).
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that did not pass.
    pub fn verify(&self, token: &str, expected: TokenType, now: u64) -> Result<Claims, Refusal> {
        let claims = self.verify_own(token, now)?;
        check_type(&claims, expected)?;
        self.check_not_revoked(&claims)?;
        Ok(claims)
    }

    /// The claims of `token`, if it is valid at the time `now` as an access token or as a refresh
    /// token: for ending what it belongs to.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that did not pass.
    pub fn verify_either(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let claims = self.verify_own(token, now)?;
        self.check_not_revoked(&claims)?;
        Ok(claims)
    }

    /// As [`verify_either`](Self::verify_either), for any audience that is known: for telling others
    /// about tokens.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that did not pass.
    pub fn verify_any(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let claims = self.read(token)?;
        self.check_times(&claims, now)?;
        self.check_not_revoked(&claims)?;
        Ok(claims)
    }

    /// The claims of `token` if its signature is its key's, for any audience that is known, whatever
    /// its times say: for revoking it.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that did not pass.
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

    /// As [`read`](Self::read), of a token that may have expired, and otherwise could be: not one that
    /// is yet to begin, or lives longer than its kind may.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that did not pass.
    pub fn read_past(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let claims = self.read(token)?;
        self.check_start(&claims, now)?;
        self.check_lifetime(&claims)?;
        Ok(claims)
    }

    /// Whether a token that was accepted has been revoked since.
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
        let header = TokenHeader::parse(&parts.header)?;
        let keys = self.keys();
        let key = keys.find(header.kid.as_deref())?;
        key.check(&header, &parts)?;
        let claims = Claims::parse(&parts.payload, self.form)?;
        check_type(&claims, key.token_type())?;
        // The holder of one audience's key makes no token that another takes as well.
        let is_its_own = key.audience().is_none_or(|own| claims.aud.is_only(own));
        require(is_its_own, Refusal::AudienceMismatch)?;
        Ok(claims)
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Refusal> {
        require(claims.iss == self.issuer, Refusal::IssuerMismatch)
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let is_ours = match claims.token_type() {
            TokenType::Access => claims.aud.contains(&self.audience),
            TokenType::Refresh => claims.aud.is_only(&self.issuer),
        };
        require(is_ours, Refusal::AudienceMismatch)
    }

    /// RFC 7519, section 4.1.4: not accepted on or after `exp`, whatever the leeway is.
    fn check_expiry(&self, claims: &Claims, now: u64) -> Result<(), Refusal> {
        require(now < claims.exp, Refusal::Expired)
    }

    fn check_start(&self, claims: &Claims, now: u64) -> Result<(), Refusal> {
        let latest = now.saturating_add(self.leeway);
        require(claims.nbf <= latest && claims.iat <= latest, Refusal::NotYetValid)
    }

    /// A key that leaked for a minute must not sign tokens for ever; refresh tokens are also held
    /// against their session's row.
    fn check_lifetime(&self, claims: &Claims) -> Result<(), Refusal> {
        let lifetime = claims.exp.saturating_sub(claims.iat);
        let most = match claims.token_type() {
            TokenType::Access => self.max_access_lifetime.load(Ordering::SeqCst),
            TokenType::Refresh => 10 * 366 * 86_400,
        };
        require(lifetime <= most, Refusal::LifetimeTooLong)
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
