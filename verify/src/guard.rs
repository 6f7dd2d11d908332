//! Guards, which check the token at the start of a service's operation.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::compact::{Parts, TokenHeader};
use crate::{Claims, Refusal, TokenKind, TokenType, Verifier};

/// A check at the start of an operation, which accepts only requests with a valid token. It is cheap to clone.
///
/// ```
/// # fn user(secret: &str, token: Option<&str>, now: u64) -> Result<(), tessera_verify::Denied> {
/// use tessera_verify::{Guard, Key, KeySet, Verifier};
///
/// // The second is for a service that guards a path with refresh tokens: its key is derived from the secret.
/// let keys = KeySet::verifying([Key::hs256(secret.as_bytes()), Key::refresh(secret.as_bytes())]);
/// let guard = Guard::new(Verifier::new(keys, "https://id.example.com", "tessera"));
/// let claims = guard.required(token, now)?;
/// # Ok(drop(claims))
/// # }
/// # assert!(user("a secret of at least thirty-two bytes", None, 1_800_000_000).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Guard {
    verifier: Arc<Verifier>,
    fresh_for: u64,
    watch: Option<Arc<dyn Watch>>,
}

/// The work before a token is judged. See [`Watch::prepare`].
pub type Prepared<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The knowledge of a service about tokens after they were issued. A guard asks it about each token.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Returns the work that must be done before a token can be judged; `None` if there is none.
    fn prepare(&self) -> Option<Prepared<'_>> {
        None
    }

    /// Returns the time at which a token is judged, in seconds since the epoch: the given time of the clock, or a later
    /// one.
    fn time(&self, now: u64) -> u64;

    /// Decides about a token that the verifier accepts. `kid` is the id of its key. The claims can be marked.
    ///
    /// # Errors
    ///
    /// [`Denied::Refused`] for a token that was revoked, and [`Denied::Unavailable`] if the service knows too little.
    fn judge(&self, kid: &str, claims: Claims) -> Result<Claims, Denied>;

    /// Notes a token that the verifier refuses. Returns the refusal for the caller.
    fn refused(&self, refusal: Refusal) -> Denied {
        Denied::Refused(refusal)
    }
}

/// The reason why a guard refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// The request has no token.
    NoToken,
    /// The token is refused.
    Refused(Refusal),
    /// The token was not issued for a password, or the password was given too long ago.
    NotFresh {
        /// The time for which a token is fresh after a password, in seconds. See [`Guard::fresh_for`].
        max_age: u64,
    },
    /// The token does not have this scope.
    Scope(String),
    /// The service cannot tell now whether the token was revoked. This is for services that keep a revocation list
    /// and could not update it.
    Unavailable,
}

impl Guard {
    /// Creates a guard that accepts the tokens that `verifier` accepts. A token is fresh for 900 seconds after a
    /// password.
    pub fn new(verifier: impl Into<Arc<Verifier>>) -> Self {
        Self { verifier: verifier.into(), fresh_for: 900, watch: None }
    }

    /// Sets the time for which a token is fresh after its user gave a password, in seconds.
    #[must_use]
    pub fn fresh_for(mut self, seconds: u64) -> Self {
        self.fresh_for = seconds;
        self
    }

    /// Sets the knowledge of the service about tokens after they were issued.
    #[must_use]
    pub fn watch(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Brings the knowledge of the service up to date, if it fetches it on demand. Await this before you check a token. The
    /// arguments of axum's and poem's handlers do.
    pub async fn prepare(&self) {
        if let Some(work) = self.watch.as_ref().and_then(|watch| watch.prepare()) {
            work.await;
        }
    }

    /// Returns the verifier, which decides whether a token is valid.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Verifies an access token at the time `now` (seconds since the epoch) and returns its claims.
    ///
    /// # Errors
    ///
    /// [`Denied::NoToken`] if there is no token, and [`Denied::Refused`] if the verifier refuses it.
    pub fn required(&self, token: Option<&str>, now: u64) -> Result<Claims, Denied> {
        self.of_type(token, TokenType::Access, now)
    }

    /// Verifies an access token if there is one, and returns its claims. Without a token it returns `None`. A token
    /// that is not valid is an error.
    ///
    /// # Errors
    ///
    /// [`Denied::Refused`] if the verifier refuses the token.
    pub fn optional(&self, token: Option<&str>, now: u64) -> Result<Option<Claims>, Denied> {
        match self.required(token, now) {
            Err(Denied::NoToken) => Ok(None),
            claims => claims.map(Some),
        }
    }

    /// Verifies that an access token is valid and fresh, and returns its claims.
    ///
    /// # Errors
    ///
    /// The errors of [`required`](Self::required), and [`Denied::NotFresh`] if the token is not fresh.
    pub fn fresh(&self, token: Option<&str>, now: u64) -> Result<Claims, Denied> {
        let claims = self.required(token, now)?;
        self.require_fresh(&claims, self.time(now))?;
        Ok(claims)
    }

    /// Checks that claims are those of a fresh token.
    ///
    /// # Errors
    ///
    /// [`Denied::NotFresh`] if they are not.
    pub fn require_fresh(&self, claims: &Claims, now: u64) -> Result<(), Denied> {
        let max_age = self.fresh_for;
        if claims.is_fresh(max_age, now) { Ok(()) } else { Err(Denied::NotFresh { max_age }) }
    }

    /// Verifies a refresh token and returns its claims. Only the issuer knows whether the token was already exchanged.
    ///
    /// # Errors
    ///
    /// [`Denied::NoToken`] if there is no token, and [`Denied::Refused`] if the verifier refuses it.
    pub fn refresh(&self, token: Option<&str>, now: u64) -> Result<Claims, Denied> {
        self.of_type(token, TokenType::Refresh, now)
    }

    /// Verifies that an access token is valid and has `scope`, and returns its claims.
    ///
    /// # Errors
    ///
    /// The errors of [`required`](Self::required), and [`Denied::Scope`] if the token does not have the scope.
    pub fn scoped(&self, token: Option<&str>, scope: &str, now: u64) -> Result<Claims, Denied> {
        let claims = self.required(token, now)?;
        match &claims.kind {
            TokenKind::Access { scope: own, .. } if own.split(' ').any(|own| own == scope) => {
                Ok(claims)
            }
            _ => Err(Denied::Scope(scope.to_owned())),
        }
    }

    fn of_type(&self, token: Option<&str>, of: TokenType, now: u64) -> Result<Claims, Denied> {
        let token = token.ok_or(Denied::NoToken)?;
        let verified = self.verifier.verify(token, of, self.time(now));
        match &self.watch {
            None => verified.map_err(Denied::Refused),
            Some(watch) => {
                let claims = verified.map_err(|refusal| watch.refused(refusal))?;
                watch.judge(&key_of(token).unwrap_or_default(), claims)
            }
        }
    }

    fn time(&self, now: u64) -> u64 {
        self.watch.as_ref().map_or(now, |watch| watch.time(now))
    }
}

/// A scope, as a type: `struct Reports; impl Scope for Reports { const NAME: &'static str = "reports"; }`
pub trait Scope {
    /// The name of the scope.
    const NAME: &'static str;
}

/// Returns the token in the value of a header `Authorization`.
#[cfg(any(feature = "poem", feature = "axum"))]
pub(crate) fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Returns the id of the key that a token names.
fn key_of(token: &str) -> Option<String> {
    let parts = Parts::split(token).ok()?;
    TokenHeader::parse(parts.header).ok()?.kid
}

impl Denied {
    /// Returns the status of the answer: 403 for a missing scope, 503 for [`Denied::Unavailable`], otherwise 401.
    pub const fn status(&self) -> u16 {
        match self {
            Denied::Scope(_) => 403,
            Denied::Unavailable => 503,
            _ => 401,
        }
    }

    /// Returns the code for the body of the answer, `{"detail": …}`. Tessera's own answers have the same codes.
    pub const fn detail(&self) -> &'static str {
        match self {
            Denied::NoToken | Denied::Refused(_) => "Unauthorized",
            Denied::NotFresh { .. } => "FRESH_TOKEN_REQUIRED",
            Denied::Scope(_) => "INSUFFICIENT_SCOPE",
            Denied::Unavailable => "SERVICE_UNAVAILABLE",
        }
    }

    /// Returns the value of `WWW-Authenticate` (RFC 6750, section 3; RFC 9470), if another token could be accepted.
    pub fn challenge(&self) -> Option<String> {
        match self {
            Denied::NoToken => Some("Bearer".to_owned()),
            Denied::Refused(refusal) => Some(format!(
                "Bearer error=\"invalid_token\", error_description=\"{refusal}\", reason=\"{}\"",
                refusal.reason()
            )),
            Denied::NotFresh { max_age } => Some(format!(
                "Bearer error=\"insufficient_user_authentication\", error_description=\"{self}\", \
                 max_age=\"{max_age}\""
            )),
            Denied::Scope(scope) => {
                Some(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            Denied::Unavailable => None,
        }
    }

    /// Returns the value of `Retry-After` in seconds, if the same token may be accepted after that time.
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Denied::Unavailable => Some(1),
            _ => None,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denied::NoToken => formatter.write_str("the request has no token"),
            Denied::Refused(refusal) => refusal.fmt(formatter),
            Denied::NotFresh { .. } => formatter.write_str("the password was given too long ago"),
            Denied::Scope(scope) => write!(formatter, "the token does not have the scope {scope}"),
            Denied::Unavailable => {
                formatter.write_str("the service cannot tell now whether the token was revoked")
            }
        }
    }
}

impl std::error::Error for Denied {}
