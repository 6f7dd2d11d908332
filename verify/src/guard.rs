//! Guards: what a service asks of a token before it does something.

use std::fmt;
use std::sync::Arc;

use crate::{Claims, Refusal, TokenKind, TokenType, Verifier};

/// What stands before an operation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    verifier: Arc<Verifier>,
    fresh_for: u64,
}

/// Why a guard lets nobody pass.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// No token was shown.
    NoToken,
    /// The token is not accepted.
    Refused(Refusal),
    /// The token was not issued for a password, or the password was given too long ago.
    NotFresh {
        /// How long a password counts, in seconds: see [`Guard::fresh_for`].
        max_age: u64,
    },
    /// The token may not be used for this.
    Scope(String),
    /// Nobody can tell now whether the token was revoked: for services that keep a list of revocations, and
    /// could not bring it up to date.
    Unavailable,
}

impl Guard {
    /// Lets those pass whose tokens `verifier` accepts; a password counts for 900 seconds.
    pub fn new(verifier: impl Into<Arc<Verifier>>) -> Self {
        Self { verifier: verifier.into(), fresh_for: 900 }
    }

    /// How long a token counts as fresh after its user gave a password, in seconds.
    #[must_use]
    pub fn fresh_for(mut self, seconds: u64) -> Self {
        self.fresh_for = seconds;
        self
    }

    /// What decides whether a token is valid.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The claims of an access token, at the time `now` (seconds since the epoch).
    ///
    /// # Errors
    ///
    /// [`Denied::NoToken`], [`Denied::Refused`].
    pub fn required(&self, token: Option<&str>, now: u64) -> Result<Claims, Denied> {
        self.of_type(token, TokenType::Access, now)
    }

    /// As [`required`](Self::required); nothing where no token was shown. One that was shown and is
    /// not accepted is not as good as none.
    ///
    /// # Errors
    ///
    /// [`Denied::Refused`].
    pub fn optional(&self, token: Option<&str>, now: u64) -> Result<Option<Claims>, Denied> {
        match self.required(token, now) {
            Err(Denied::NoToken) => Ok(None),
            claims => claims.map(Some),
        }
    }

    /// The claims of a fresh access token.
    ///
    /// # Errors
    ///
    /// As [`required`](Self::required), and [`Denied::NotFresh`].
    pub fn fresh(&self, token: Option<&str>, now: u64) -> Result<Claims, Denied> {
        let claims = self.required(token, now)?;
        self.require_fresh(&claims, now)?;
        Ok(claims)
    }

    /// Fails for claims that are not fresh.
    ///
    /// # Errors
    ///
    /// [`Denied::NotFresh`].
    pub fn require_fresh(&self, claims: &Claims, now: u64) -> Result<(), Denied> {
        let max_age = self.fresh_for;
        if claims.is_fresh(max_age, now) { Ok(()) } else { Err(Denied::NotFresh { max_age }) }
    }

    /// The claims of a refresh token. Whether it was spent, only its issuer knows.
    ///
    /// # Errors
    ///
    /// [`Denied::NoToken`], [`Denied::Refused`].
    pub fn refresh(&self, token: Option<&str>, now: u64) -> Result<Claims, Denied> {
        self.of_type(token, TokenType::Refresh, now)
    }

    /// The claims of an access token that may be used for `scope`.
    ///
    /// # Errors
    ///
    /// As [`required`](Self::required), and [`Denied::Scope`].
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
        self.verifier.verify(token, of, now).map_err(Denied::Refused)
    }
}

impl Denied {
    /// The status of the answer: 401, 403 for a scope that is lacking, 503 if nobody can tell now.
    pub const fn status(&self) -> u16 {
        match self {
            Denied::Scope(_) => 403,
            Denied::Unavailable => 503,
            _ => 401,
        }
    }

    /// The text of the answer, as Tessera's own answers give it: `{"detail": …}`.
    pub const fn detail(&self) -> &'static str {
        match self {
            Denied::NoToken | Denied::Refused(_) => "Unauthorized",
            Denied::NotFresh { .. } => "FRESH_TOKEN_REQUIRED",
            Denied::Scope(_) => "INSUFFICIENT_SCOPE",
            Denied::Unavailable => "SERVICE_UNAVAILABLE",
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3; RFC 9470), if another token would do.
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

    /// The value of `Retry-After`, in seconds, if the same token may do then.
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
            Denied::NoToken => formatter.write_str("no token was shown"),
            Denied::Refused(refusal) => refusal.fmt(formatter),
            Denied::NotFresh { .. } => formatter.write_str("the password was given too long ago"),
            Denied::Scope(scope) => write!(formatter, "the token lacks the scope {scope}"),
            Denied::Unavailable => {
                formatter.write_str("nobody can tell now whether the token was revoked")
            }
        }
    }
}

impl std::error::Error for Denied {}
