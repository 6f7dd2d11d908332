//! What a token says (RFC 7519, section 4).

use serde::de::MapAccess;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::Refusal;
use crate::object::{Members, Strict};

/// The kinds of JWT, as their `type` claim says it. One is never accepted in the other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Opens protected operations.
    Access,
    /// Is exchanged for the next pair of tokens.
    Refresh,
}

impl TokenType {
    /// The value of `typ` in the header of such a token (RFC 8725, section 3.11).
    pub const fn header(self) -> &'static str {
        match self {
            TokenType::Access => "JWT",
            TokenType::Refresh => "rt+jwt",
        }
    }

    /// The type whose tokens have this `typ`, in any case.
    pub(crate) fn of_header(typ: &str) -> Option<Self> {
        let types = [TokenType::Access, TokenType::Refresh];
        types.into_iter().find(|token_type| typ.eq_ignore_ascii_case(token_type.header()))
    }
}

/// What one kind of token says and the other does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// Opens protected operations.
    Access {
        /// Whether it was issued for a password rather than for a refresh token.
        fresh: bool,
        /// When its user last gave a password, in seconds since the epoch.
        auth_time: u64,
        /// What it may be used for: words separated by spaces (RFC 6749, section 3.3).
        scope: String,
    },
    /// Is exchanged for the next pair of tokens.
    Refresh {
        /// Which of its session's refresh tokens it is, counted from 0.
        generation: u64,
    },
}

/// The claims of a token. Times are in seconds since the epoch (NumericDate).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// The user it speaks of.
    pub sub: Uuid,
    /// Whom it is for: services, of an access token; of a refresh token, its issuer alone.
    pub aud: String,
    /// When it was issued.
    pub iat: u64,
    /// When it begins to be valid.
    pub nbf: u64,
    /// When it ends to be valid: at this second it is refused.
    pub exp: u64,
    /// Its own id. An access token's is a version 7 UUID, which holds its place in the order of issue:
    /// see [`Claims::issued_at_millis`]; a refresh token's is a version 8 UUID, which only its session's
    /// row can give.
    pub jti: Uuid,
    /// The session it belongs to.
    pub sid: Uuid,
    /// What only tokens of its kind say.
    pub kind: TokenKind,
}

impl Claims {
    /// The value of the `type` claim.
    pub const fn token_type(&self) -> TokenType {
        match self.kind {
            TokenKind::Access { .. } => TokenType::Access,
            TokenKind::Refresh { .. } => TokenType::Refresh,
        }
    }

    /// Whether the token says it is fresh, and the password was given no longer than `max_age`
    /// seconds before `now` (seconds since the epoch).
    pub const fn is_fresh(&self, max_age: u64, now: u64) -> bool {
        match self.kind {
            TokenKind::Access { fresh: true, auth_time, .. } => {
                now.saturating_sub(auth_time) <= max_age
            }
            _ => false,
        }
    }

    /// Where the token stands in the order of its user's, in milliseconds since the epoch: the instant
    /// in a `jti` that has one, else the start of the second of `iat`.
    ///
    /// A password change and the sign-in after it may share a second, and clocks of replicas differ:
    /// `iat` cannot order them. The instant in `jti` is the clock's, or later, so that every token of a
    /// session is younger than those before it, and than the cut-offs that it comes after.
    pub fn issued_at_millis(&self) -> u64 {
        let timestamp = self.jti.get_timestamp().filter(|_| self.jti.get_version_num() == 7);
        timestamp.map_or(self.iat.saturating_mul(1000), |timestamp| {
            let (seconds, nanos) = timestamp.to_unix();
            seconds.saturating_mul(1000).saturating_add(u64::from(nanos / 1_000_000))
        })
    }

    /// Reads the payload of a token whose signature was checked.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let Strict(read) =
            serde_json::from_slice::<Strict<Read>>(payload).map_err(|_| Refusal::ClaimsInvalid)?;
        read.into_claims().ok_or(Refusal::ClaimsInvalid)
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            iss: &'a str,
            sub: Uuid,
            aud: &'a str,
            iat: u64,
            nbf: u64,
            exp: u64,
            jti: Uuid,
            sid: Uuid,
            r#type: TokenType,
            #[serde(flatten)]
            kind: WrittenKind<'a>,
        }
        #[derive(Serialize)]
        #[serde(untagged)]
        enum WrittenKind<'a> {
            Access { fresh: bool, auth_time: u64, scope: &'a str },
            Refresh { r#gen: u64 },
        }
        Written {
            iss: &self.iss,
            sub: self.sub,
            aud: &self.aud,
            iat: self.iat,
            nbf: self.nbf,
            exp: self.exp,
            jti: self.jti,
            sid: self.sid,
            r#type: self.token_type(),
            kind: match &self.kind {
                TokenKind::Access { fresh, auth_time, scope } => {
                    WrittenKind::Access { fresh: *fresh, auth_time: *auth_time, scope }
                }
                TokenKind::Refresh { generation } => WrittenKind::Refresh { r#gen: *generation },
            },
        }
        .serialize(serializer)
    }
}

/// The claims as they stand in a token: each may be missing.
#[derive(Default)]
struct Read {
    iss: Option<String>,
    sub: Option<Uuid>,
    aud: Option<String>,
    iat: Option<u64>,
    nbf: Option<u64>,
    exp: Option<u64>,
    jti: Option<Uuid>,
    sid: Option<Uuid>,
    token_type: Option<TokenType>,
    fresh: Option<bool>,
    auth_time: Option<u64>,
    scope: Option<String>,
    generation: Option<u64>,
}

impl<'de> Members<'de> for Read {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "iss" => self.iss = Some(map.next_value()?),
            "sub" => self.sub = Some(map.next_value()?),
            "aud" => self.aud = Some(map.next_value()?),
            "iat" => self.iat = Some(map.next_value()?),
            "nbf" => self.nbf = Some(map.next_value()?),
            "exp" => self.exp = Some(map.next_value()?),
            "jti" => self.jti = Some(map.next_value()?),
            "sid" => self.sid = Some(map.next_value()?),
            "type" => self.token_type = Some(map.next_value()?),
            "fresh" => self.fresh = Some(map.next_value()?),
            "auth_time" => self.auth_time = Some(map.next_value()?),
            "scope" => self.scope = Some(map.next_value()?),
            "gen" => self.generation = Some(map.next_value()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Read {
    fn into_claims(self) -> Option<Claims> {
        let kind = match self.token_type? {
            TokenType::Access => TokenKind::Access {
                fresh: self.fresh?,
                auth_time: self.auth_time?,
                scope: self.scope?,
            },
            TokenType::Refresh => TokenKind::Refresh { generation: self.generation? },
        };
        Some(Claims {
            iss: self.iss?,
            sub: self.sub?,
            aud: self.aud?,
            iat: self.iat?,
            nbf: self.nbf?,
            exp: self.exp?,
            jti: self.jti?,
            sid: self.sid?,
            kind,
        })
    }
}
