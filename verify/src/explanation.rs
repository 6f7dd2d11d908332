//! Why a token is or is not accepted, in a sentence.

use std::fmt;

use crate::{Claims, Refusal, TokenType, Verifier};

/// What became of a token. Made by the checks that decide, so it cannot disagree with them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The check that refused it, if one did.
    pub refusal: Option<Refusal>,
    /// What it says, if its signature is a known key's, its issuer and its audience ours.
    pub claims: Option<Claims>,
    now: u64,
}

impl Verifier {
    /// Explains what becomes of `token` at the time `now` (seconds since the epoch), as an access
    /// token or as a refresh token, whichever it is.
    pub fn explain(&self, token: &str, now: u64) -> Explanation {
        match self.verify_either(token, now) {
            Ok(claims) => Explanation { refusal: None, claims: Some(claims), now },
            Err(refusal) => {
                Explanation { refusal: Some(refusal), claims: self.read(token).ok(), now }
            }
        }
    }
}

/// One sentence, with the times that matter.
impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.now;
        match (&self.refusal, &self.claims) {
            (None, Some(claims)) => {
                let kind = match claims.token_type() {
                    TokenType::Access => "an access token",
                    TokenType::Refresh => "a refresh token",
                };
                write!(
                    formatter,
                    "accepted: {kind} of user {}, issued {} and good for another {}",
                    claims.sub,
                    Ago(now, claims.iat),
                    Span(claims.exp.saturating_sub(now))
                )
            }
            (Some(refusal), Some(claims)) => {
                write!(formatter, "refused ({}): {refusal}", refusal.reason())?;
                match refusal {
                    Refusal::Expired => write!(formatter, ", {}", Ago(now, claims.exp)),
                    Refusal::NotYetValid => {
                        let start = claims.nbf.max(claims.iat);
                        write!(formatter, ": it begins {}", Ago(now, start))
                    }
                    Refusal::LifetimeTooLong => {
                        let life = Span(claims.exp.saturating_sub(claims.iat));
                        write!(formatter, ": it says {life}")
                    }
                    _ => write!(formatter, "; it was issued {}", Ago(now, claims.iat)),
                }
            }
            (Some(refusal), None) => {
                write!(formatter, "refused ({}): {refusal}", refusal.reason())
            }
            (None, None) => formatter.write_str("not looked at"),
        }
    }
}

/// How far an instant is from now, and which it is.
struct Ago(u64, u64);

impl fmt::Display for Ago {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ago(now, then) = *self;
        match now.checked_sub(then) {
            Some(past) => write!(formatter, "{} ago (at {then})", Span(past)),
            None => write!(formatter, "in {} (at {then})", Span(then - now)),
        }
    }
}

/// A span of seconds, in the largest unit that is not zero.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            seconds @ 0..120 => (seconds, "seconds"),
            seconds @ 120..7_200 => (seconds / 60, "minutes"),
            seconds @ 7_200..172_800 => (seconds / 3_600, "hours"),
            seconds => (seconds / 86_400, "days"),
        };
        write!(formatter, "{count} {unit}")
    }
}
