//! The claims of a grant's access token (RFC 9068).

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::claims::issued_at_millis;
use crate::object::{self, Members, Others, Text, once, other};
use crate::subject::WrittenAudiences;
use crate::{Audiences, Refusal, Subject};

/// The claims of an access token that an OAuth client got. Times are in seconds since the epoch (NumericDate).
///
/// [`Claims`](crate::Claims) are those of a session of the issuer itself. No token has both kinds: a session's has the
/// claim `type`, and a grant's has `client_id` and `grant_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantClaims {
    /// The issuer.
    pub iss: String,
    /// The subject: a user by their id, or the client itself by its name.
    pub sub: Subject,
    /// The audiences: the services that the token is for.
    pub aud: Audiences,
    /// The client that got the token.
    pub client_id: String,
    /// The time when the token was issued.
    pub iat: u64,
    /// The time from which the token is valid.
    pub nbf: u64,
    /// The time when the token expires. It is refused from this second on.
    pub exp: u64,
    /// The id of the token: a version 7 UUID, which contains the time of issue.
    pub jti: Uuid,
    /// The scopes of the token, separated by spaces (RFC 6749, section 3.3).
    pub scope: String,
    /// The grant of the token. A revocation of all its tokens names it.
    pub grant_id: Uuid,
    /// The time when the user gave a proof of identity. Absent if the client acts for itself.
    pub auth_time: Option<u64>,
    /// The class of that proof. Absent if the client acts for itself.
    pub acr: Option<String>,
    /// The methods of that proof (RFC 8176). Empty if the client acts for itself.
    pub amr: Vec<String>,
    /// All other claims, by their names.
    pub extra: BTreeMap<String, Value>,
}

/// The names of the claims that have a field in [`GrantClaims`], and of those that no token of a grant may have.
const NAMES: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "client_id",
    "iat",
    "nbf",
    "exp",
    "jti",
    "scope",
    "grant_id",
    "auth_time",
    "acr",
    "amr",
    "cnf",
    "type",
];

impl GrantClaims {
    /// Creates claims without a scope and without further claims. All times are 0, so the token has expired until you
    /// set them.
    pub fn new(
        iss: impl Into<String>,
        sub: impl Into<Subject>,
        aud: impl Into<Audiences>,
        client_id: impl Into<String>,
        grant_id: Uuid,
        jti: Uuid,
    ) -> Self {
        Self {
            iss: iss.into(),
            sub: sub.into(),
            aud: aud.into(),
            client_id: client_id.into(),
            iat: 0,
            nbf: 0,
            exp: 0,
            jti,
            scope: String::new(),
            grant_id,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
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

    /// Sets the scopes, separated by spaces.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets the time, the class and the methods of the user's proof of identity.
    #[must_use]
    pub fn with_proof(mut self, time: u64, acr: &str, amr: &[&str]) -> Self {
        self.auth_time = Some(time);
        self.acr = Some(acr.to_owned());
        self.amr = amr.iter().map(|method| (*method).to_owned()).collect();
        self
    }

    /// Adds a claim. If its name is one of those that have a field, such as `exp`, the claims cannot be signed.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Returns the time of issue in milliseconds since the epoch, which orders the tokens of a user. See
    /// [`Claims::issued_at_millis`](crate::Claims::issued_at_millis).
    pub fn issued_at_millis(&self) -> u64 {
        issued_at_millis(self.jti, self.iat)
    }

    /// Parses the payload of a token whose signature was checked.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let read: Read = object::read(payload).ok_or(Refusal::ClaimsInvalid)?;
        read.into_claims().ok_or(Refusal::ClaimsInvalid)
    }
}

impl Serialize for GrantClaims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            iss: &'a str,
            sub: &'a Subject,
            aud: &'a Audiences,
            client_id: &'a str,
            iat: u64,
            nbf: u64,
            exp: u64,
            jti: Uuid,
            scope: &'a str,
            grant_id: Uuid,
            #[serde(skip_serializing_if = "Option::is_none")]
            auth_time: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            acr: Option<&'a str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            amr: &'a [String],
            #[serde(flatten)]
            extra: &'a BTreeMap<String, Value>,
        }
        if NAMES.iter().any(|name| self.extra.contains_key(*name)) {
            return Err(S::Error::custom("a claim would appear twice"));
        }
        Written {
            iss: &self.iss,
            sub: &self.sub,
            aud: &self.aud,
            client_id: &self.client_id,
            iat: self.iat,
            nbf: self.nbf,
            exp: self.exp,
            jti: self.jti,
            scope: &self.scope,
            grant_id: self.grant_id,
            auth_time: self.auth_time,
            acr: self.acr.as_deref(),
            amr: &self.amr,
            extra: &self.extra,
        }
        .serialize(serializer)
    }
}

/// The claims as a token contains them. Each can be missing.
#[derive(Default)]
struct Read {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<WrittenAudiences>,
    client_id: Option<String>,
    iat: Option<u64>,
    nbf: Option<u64>,
    exp: Option<u64>,
    jti: Option<Uuid>,
    scope: Option<String>,
    grant_id: Option<Uuid>,
    auth_time: Option<u64>,
    acr: Option<String>,
    amr: Option<Vec<String>>,
    /// `true` if there is a claim that a token of a grant may not have.
    is_other: bool,
    extra: Others,
}

impl<'de> Members<'de> for Read {
    fn take<A: MapAccess<'de>>(&mut self, name: Text<'de>, map: &mut A) -> Result<(), A::Error> {
        match &*name.0 {
            "iss" => once(&mut self.iss, map),
            "sub" => once(&mut self.sub, map),
            "aud" => once(&mut self.aud, map),
            "client_id" => once(&mut self.client_id, map),
            "iat" => once(&mut self.iat, map),
            "nbf" => once(&mut self.nbf, map),
            "exp" => once(&mut self.exp, map),
            "jti" => once(&mut self.jti, map),
            "scope" => once(&mut self.scope, map),
            "grant_id" => once(&mut self.grant_id, map),
            "auth_time" => once(&mut self.auth_time, map),
            "acr" => once(&mut self.acr, map),
            "amr" => once(&mut self.amr, map),
            known => {
                // A token with `cnf` is bound to a key (RFC 7800). Without a proof of that key, nobody may accept it.
                self.is_other |= matches!(known, "cnf" | "type");
                other(&mut self.extra, name, map)
            }
        }
    }
}

impl Read {
    fn into_claims(self) -> Option<GrantClaims> {
        if self.is_other {
            return None;
        }
        let named = |text: &String| !text.is_empty();
        Some(GrantClaims {
            iss: self.iss?,
            sub: self.sub.filter(named)?.into(),
            aud: self.aud?.any()?,
            client_id: self.client_id.filter(named)?,
            iat: self.iat?,
            nbf: self.nbf?,
            exp: self.exp?,
            jti: self.jti?,
            scope: self.scope?,
            grant_id: self.grant_id?,
            auth_time: self.auth_time,
            acr: self.acr,
            amr: self.amr.unwrap_or_default(),
            extra: self.extra,
        })
    }
}
