//! The claims of a token (RFC 7519, section 4).

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::object::{self, Members, Others, Text, once, other};
use crate::subject::WrittenAudiences;
use crate::{Audiences, Refusal, Subject};

/// The kind of a JWT, as in its claim `type`. A token of one kind is never accepted as one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TokenType {
    /// A token that gives access to protected operations.
    Access,
    /// A token that is exchanged for the next pair of tokens.
    Refresh,
}

impl TokenType {
    /// The value of `typ` in the header of tokens of this kind (RFC 8725, section 3.11).
    pub const fn header(self) -> &'static str {
        match self {
            TokenType::Access => "JWT",
            TokenType::Refresh => "rt+jwt",
        }
    }
}

/// The kind of a token, with the claims that only this kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// A token that gives access to protected operations. See [`TokenKind::access`].
    #[non_exhaustive]
    Access {
        /// `true` if the token was issued for a password, `false` if it was issued for a refresh token.
        fresh: bool,
        /// The time when its user last gave a password, in seconds since the epoch.
        auth_time: u64,
        /// The scopes of the token, separated by spaces (RFC 6749, section 3.3).
        scope: String,
    },
    /// A token that is exchanged for the next pair of tokens. See [`TokenKind::refresh`].
    #[non_exhaustive]
    Refresh {
        /// The number of the token among the refresh tokens of its session, counted from 0.
        generation: u64,
    },
}

impl TokenKind {
    /// Creates the kind of an access token. `fresh` is `true` for a token that was issued for a password, and
    /// `auth_time` is the time when the password was given.
    pub fn access(fresh: bool, auth_time: u64, scope: impl Into<String>) -> Self {
        Self::Access { fresh, auth_time, scope: scope.into() }
    }

    /// Creates the kind of a refresh token with this generation.
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
    /// The subject: a user by their id, or another party by its name.
    pub sub: Subject,
    /// The audience. For an access token these are services; for a refresh token it is the issuer only.
    pub aud: Audiences,
    /// The time when the token was issued.
    pub iat: u64,
    /// The time from which the token is valid.
    pub nbf: u64,
    /// The time when the token expires. It is refused from this second on.
    pub exp: u64,
    /// The id of the token. For an access token this is a version 7 UUID, which contains the time of issue (see
    /// [`Claims::issued_at_millis`]). For a refresh token it is a version 8 UUID, which can only be computed from the
    /// row of its session.
    pub jti: Uuid,
    /// The session of the token, if it belongs to one.
    pub sid: Option<Uuid>,
    /// The kind of the token, with the claims that only this kind has.
    pub kind: TokenKind,
    /// All other claims, by their names.
    pub extra: BTreeMap<String, Value>,
}

/// The names of the claims that have a field in [`Claims`] or [`TokenKind`].
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
    /// Creates claims without a session and without further claims. All times are 0, so the token has expired
    /// until you set them.
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

    /// Sets the time when the token is issued.
    #[must_use]
    pub const fn with_iat(mut self, seconds: u64) -> Self {
        self.iat = seconds;
        self
    }

    /// Sets the time from which the token is valid.
    #[must_use]
    pub const fn with_nbf(mut self, seconds: u64) -> Self {
        self.nbf = seconds;
        self
    }

    /// Sets the time when the token expires.
    #[must_use]
    pub const fn with_exp(mut self, seconds: u64) -> Self {
        self.exp = seconds;
        self
    }

    /// Sets the session of the token.
    #[must_use]
    pub const fn with_sid(mut self, sid: Uuid) -> Self {
        self.sid = Some(sid);
        self
    }

    /// Adds a claim. If its name is one of those that have a field, such as `exp`, the claims cannot be signed.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Returns the value of the claim `type`.
    pub const fn token_type(&self) -> TokenType {
        match self.kind {
            TokenKind::Access { .. } => TokenType::Access,
            TokenKind::Refresh { .. } => TokenType::Refresh,
        }
    }

    /// Returns true if the token was issued for a password, and the password was given at most `max_age` seconds
    /// before `now` (seconds since the epoch).
    pub const fn is_fresh(&self, max_age: u64, now: u64) -> bool {
        match self.kind {
            TokenKind::Access { fresh: true, auth_time, .. } => {
                now.saturating_sub(auth_time) <= max_age
            }
            _ => false,
        }
    }

    /// Returns the time of issue in milliseconds since the epoch, which orders the tokens of a user. It is the time
    /// in `jti` if that is a version 7 UUID, otherwise the start of the second in `iat`.
    ///
    /// `iat` cannot order tokens: a password change and the next sign-in can happen in the same second, and the
    /// clocks of replicas differ. The issuer takes the time in `jti` from its clock, or a later time. So every token
    /// of a session is younger than the tokens before it, and younger than each cut-off of a revocation
    /// ([`Revocation::user`](crate::Revocation::user)) before it.
    pub fn issued_at_millis(&self) -> u64 {
        issued_at_millis(self.jti, self.iat)
    }

    /// Parses the payload of a token whose signature was checked.
    pub(crate) fn parse(payload: &[u8], form: ClaimsForm) -> Result<Self, Refusal> {
        let read = object::read::<Read<'_>>(payload).ok_or(Refusal::ClaimsInvalid)?;
        read.into_claims(form).ok_or(Refusal::ClaimsInvalid)
    }
}

/// The time in a version 7 UUID, otherwise the start of the second in `iat`, in milliseconds since the epoch.
pub(crate) fn issued_at_millis(jti: Uuid, iat: u64) -> u64 {
    let timestamp = jti.get_timestamp().filter(|_| jti.get_version_num() == 7);
    timestamp.map_or(iat.saturating_mul(1000), |timestamp| {
        let (seconds, nanos) = timestamp.to_unix();
        seconds.saturating_mul(1000).saturating_add(u64::from(nanos / 1_000_000))
    })
}

/// The form that claims must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimsForm {
    /// Any subject, any audiences, with or without a session.
    Any,
    /// The id of a user as the subject, a session, and one audience as a text.
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
            return Err(S::Error::custom("a claim would appear twice"));
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

/// The claims as a token contains them. Each can be missing.
#[derive(Default)]
struct Read<'de> {
    iss: Option<String>,
    sub: Option<Text<'de>>,
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
    extra: Others,
}

impl<'de> Members<'de> for Read<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: Text<'de>, map: &mut A) -> Result<(), A::Error> {
        match &*name.0 {
            "iss" => once(&mut self.iss, map),
            "sub" => once(&mut self.sub, map),
            "aud" => once(&mut self.aud, map),
            "iat" => once(&mut self.iat, map),
            "nbf" => once(&mut self.nbf, map),
            "exp" => once(&mut self.exp, map),
            "jti" => once(&mut self.jti, map),
            "sid" => once(&mut self.sid, map),
            "type" => once(&mut self.token_type, map),
            "fresh" => once(&mut self.fresh, map),
            "auth_time" => once(&mut self.auth_time, map),
            "scope" => once(&mut self.scope, map),
            "gen" => once(&mut self.generation, map),
            _ => other(&mut self.extra, name, map),
        }
    }
}

impl Read<'_> {
    fn into_claims(self, form: ClaimsForm) -> Option<Claims> {
        let kind = match self.token_type? {
            TokenType::Access => TokenKind::Access {
                fresh: self.fresh?,
                auth_time: self.auth_time?,
                scope: self.scope?,
            },
            TokenType::Refresh => TokenKind::Refresh { generation: self.generation? },
        };
        let (Text(sub), aud) = (self.sub?, self.aud?);
        let (sub, aud, sid) = match form {
            ClaimsForm::Any => {
                (Some(sub.into_owned()).filter(|sub| !sub.is_empty())?.into(), aud.any()?, self.sid)
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
