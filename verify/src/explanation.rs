//! Explanations, in a sentence, of why a token is accepted or refused.

use std::fmt;

use serde::Deserialize;

use crate::compact::{Parts, decode};
use crate::{Claims, Refusal, TokenType, Verifier};

/// The longest name of an issuer that an explanation repeats, in bytes.
const MAX_ISSUER: usize = 200;

/// The result of checking a token, with a sentence for people. It comes from the checks themselves, so it always
/// agrees with them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The refusal, if the token is refused.
    pub refusal: Option<Refusal>,
    /// The claims of the token, if a known key signed it and its issuer and audience are right.
    pub claims: Option<Claims>,
    /// The issuer that a refused token names, if that is another one. No signature proves it.
    pub other_issuer: Option<String>,
    now: u64,
    issuer: String,
}

impl Verifier {
    /// Explains whether `token` is accepted at the time `now` (seconds since the epoch). The token can be an access
    /// token or a refresh token.
    pub fn explain(&self, token: &str, now: u64) -> Explanation {
        let issuer = self.issuer().to_owned();
        match self.verify_either(token, now) {
            Ok(claims) => {
                Explanation { refusal: None, claims: Some(claims), other_issuer: None, now, issuer }
            }
            Err(refusal) => {
                let other_issuer = issuer_named_in(token).filter(|named| *named != issuer);
                let claims = self.read(token).ok();
                Explanation { refusal: Some(refusal), claims, other_issuer, now, issuer }
            }
        }
    }
}

/// The issuer that a token names, if it is a short text without control characters.
fn issuer_named_in(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        iss: String,
    }
    let parts = Parts::split(token).ok()?;
    decode(parts.header).ok()?;
    let Named { iss } = serde_json::from_slice(&parts.payload).ok()?;
    let is_plain = iss.chars().all(|char| char.is_ascii_graphic());
    Some(iss).filter(|iss| is_plain && (1..=MAX_ISSUER).contains(&iss.len()))
}

/// Writes one sentence, with the relevant times.
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
                    "accepted: {kind} of user {}, issued {}, valid for another {}",
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
                        write!(formatter, ": it becomes valid {}", Ago(now, start))
                    }
                    Refusal::LifetimeTooLong => {
                        let life = Span(claims.exp.saturating_sub(claims.iat));
                        write!(formatter, ": it is {life}")
                    }
                    _ => write!(formatter, "; it was issued {}", Ago(now, claims.iat)),
                }
            }
            (Some(refusal), None) => {
                write!(formatter, "refused ({}): {refusal}", refusal.reason())?;
                match &self.other_issuer {
                    Some(named) => write!(
                        formatter,
                        ". The token is another issuer's: it names {named}, and this issuer is {}",
                        self.issuer
                    ),
                    None => Ok(()),
                }
            }
            (None, None) => formatter.write_str("the token was not checked"),
        }
    }
}

/// A time relative to now, with the time itself. The first number is now.
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

/// A number of seconds, written in the largest unit of which it contains at least two.
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
