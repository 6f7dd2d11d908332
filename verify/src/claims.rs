//! What a token says (RFC 7519, section 4).

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::object::{Members, Strict, StrictValue};
use crate::subject::WrittenAudiences;
use crate::{Audiences, Refusal, Subject};

/// The kinds of JWT, as their `type` claim says it. One is never accepted in the other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
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

/// What one kind of token says and the others do not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// Opens protected operations: see [`TokenKind::access`].
    #[non_exhaustive]
    Access {
        /// Whether it was issued for a password rather than for a refresh token.
        fresh: bool,
        /// When its user last gave a password, in seconds since the epoch.
        auth_time: u64,
        /// What it may be used for: words separated by spaces (RFC 6749, section 3.3).
        scope: String,
    },
    /// Is exchanged for the next pair of tokens: see [`TokenKind::refresh`].
    #[non_exhaustive]
    Refresh {
        /// Which of its session's refresh tokens it is, counted from 0.
        generation: u64,
    },
}

impl TokenKind {
    /// An access token: whether it was issued for a password, when the password was given, and its scope.
    pub fn access(fresh: bool, auth_time: u64, scope: impl Into<String>) -> Self {
        Self::Access { fresh, auth_time, scope: scope.into() }
    }

    /// A refresh token of a generation.
    pub const fn refresh(generation: u64) -> Self {
        Self::Refresh { generation }
    }
}

/// The claims of a token. Times are in seconds since the epoch (NumericDate).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The user it speaks of, or somebody else.
    pub sub: Subject,
    /// Whom it is for: services, of an access token; of a refresh token, its issuer alone.
    pub aud: Audiences,
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
    /// The session it belongs to, if it belongs to one.
    pub sid: Option<Uuid>,
    /// What only tokens of its kind say.
    pub kind: TokenKind,
    /// The claims that have no place above, by their names.
    pub extra: BTreeMap<String, Value>,
}

/// The names of the claims that have a place of their own.
const NAMES: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "iat",
    "nbf",
    "exp",
    "jti",
    "sid",
    "type",
    "fresh",
    "auth_time",
    "scope",
    "gen",
];

impl Claims {
    /// The claims of a token of this kind, by its issuer, of this subject, for these audiences, with this
    /// id. Until its times are set they are 0, so that it has expired; it belongs to no session.
    pub fn new(
        kind: TokenKind,
        iss: impl Into<String>,
        sub: impl Into<Subject>,
        aud: impl Into<Audiences>,
        jti: Uuid,
    ) -> Self {
        Self {
            iss: iss.into(),
            sub: sub.into(),
            aud: aud.into(),
            iat: 0,
            nbf: 0,
            exp: 0,
            jti,
            sid: None,
            kind,
            extra: BTreeMap::new(),
        }
    }

    /// Sets when the token is issued.
    #[must_use]
    pub const fn with_iat(mut self, seconds: u64) -> Self {
        self.iat = seconds;
        self
    }

    /// Sets when the token begins to be valid.
    #[must_use]
    pub const fn with_nbf(mut self, seconds: u64) -> Self {
        self.nbf = seconds;
        self
    }

    /// Sets when the token ends to be valid.
    #[must_use]
    pub const fn with_exp(mut self, seconds: u64) -> Self {
        self.exp = seconds;
        self
    }

    /// Sets the session that the token belongs to.
    #[must_use]
    pub const fn with_sid(mut self, sid: Uuid) -> Self {
        self.sid = Some(sid);
        self
    }

    /// Adds a claim. Claims that hold one under a name with a place of its own, such as `exp`, cannot be
    /// signed.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

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
    pub(crate) fn parse(payload: &[u8], form: ClaimsForm) -> Result<Self, Refusal> {
        let Strict(read) =
            serde_json::from_slice::<Strict<Read>>(payload).map_err(|_| Refusal::ClaimsInvalid)?;
        read.into_claims(form).ok_or(Refusal::ClaimsInvalid)
    }
}

/// Which claims are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimsForm {
    /// Those of every token.
    Any,
    /// Those that name a user by id, a session, and one audience as a text.
    OfSession,
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            iss: &'a str,
            sub: &'a Subject,
            aud: &'a Audiences,
            iat: u64,
            nbf: u64,
            exp: u64,
            jti: Uuid,
            #[serde(skip_serializing_if = "Option::is_none")]
            sid: Option<Uuid>,
            r#type: TokenType,
            #[serde(flatten)]
            kind: WrittenKind<'a>,
            #[serde(flatten)]
            extra: &'a BTreeMap<String, Value>,
        }
        #[derive(Serialize)]
        #[serde(untagged)]
        enum WrittenKind<'a> {
            Access { fresh: bool, auth_time: u64, scope: &'a str },
            Refresh { r#gen: u64 },
        }
        if NAMES.iter().any(|name| self.extra.contains_key(*name)) {
            return Err(S::Error::custom("a claim would stand twice"));
        }
        Written {
            iss: &self.iss,
            sub: &self.sub,
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
            extra: &self.extra,
        }
        .serialize(serializer)
    }
}

/// The claims as they stand in a token: each may be missing.
#[derive(Default)]
struct Read {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<WrittenAudiences>,
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
    extra: BTreeMap<String, Value>,
}

impl<'de> Members<'de> for Read {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
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
            _ => {
                let StrictValue(value) = map.next_value()?;
                self.extra.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }
}

impl Read {
    fn into_claims(self, form: ClaimsForm) -> Option<Claims> {
        let kind = match self.token_type? {
            TokenType::Access => TokenKind::Access {
                fresh: self.fresh?,
                auth_time: self.auth_time?,
                scope: self.scope?,
            },
            TokenType::Refresh => TokenKind::Refresh { generation: self.generation? },
        };
        let (sub, aud) = (self.sub?, self.aud?);
        let (sub, aud, sid) = match form {
            ClaimsForm::Any => {
                (Some(sub).filter(|sub| !sub.is_empty())?.into(), aud.any()?, self.sid)
            }
            ClaimsForm::OfSession => {
                (Uuid::try_parse(&sub).ok()?.into(), aud.one()?, Some(self.sid?))
            }
        };
        Some(Claims {
            iss: self.iss?,
            sub,
            aud,
            iat: self.iat?,
            nbf: self.nbf?,
            exp: self.exp?,
            jti: self.jti?,
            sid,
            kind,
            extra: self.extra,
        })
    }
}
