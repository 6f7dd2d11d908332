//! A strict parser for tokens in compact form (RFC 7515, section 7.1).

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::de::MapAccess;

use crate::object::{self, Ignored, Members, Text, once};
use crate::{Refusal, TokenType};

/// The `typ` of a token that is known (RFC 8725, section 3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typ {
    /// `JWT`: the access token of a session, or an ID token.
    Jwt,
    /// `rt+jwt`: the refresh token of a session.
    Refresh,
    /// `at+jwt`: the access token of a grant (RFC 9068, section 2.1).
    Grant,
}

impl Typ {
    /// The value in a header.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Typ::Jwt => TokenType::Access.header(),
            Typ::Refresh => TokenType::Refresh.header(),
            Typ::Grant => "at+jwt",
        }
    }

    /// Returns the one with this value, in upper or lower case: it is a media type (RFC 7515, section 4.1.9).
    fn of(typ: &str) -> Option<Self> {
        let known = [Typ::Jwt, Typ::Refresh, Typ::Grant];
        known.into_iter().find(|known| typ.eq_ignore_ascii_case(known.name()))
    }
}

/// The maximum length of a token, in bytes.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// The three segments of a token.
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a str,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// The signature as the token contains it.
    pub(crate) encoded_signature: &'a str,
    /// The text that the signature covers.
    pub(crate) signed: &'a str,
}

impl<'a> Parts<'a> {
    pub(crate) fn split(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(Refusal::TooLong);
        }
        let (signed, encoded_signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        // The engine refuses padding, spaces and unused bits that are not zero, so each token has one spelling. With
        // a second spelling, a revoked token could pass a service that lists revoked tokens as text.
        let signature = decode(encoded_signature)?;
        Ok(Self { header, payload: decode(payload)?, signature, encoded_signature, signed })
    }
}

pub(crate) fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| Refusal::Malformed)
}

/// The members of a token's header that are used.
#[derive(Clone)]
pub(crate) struct TokenHeader {
    pub(crate) typ: Typ,
    /// `None` if this library does not know the algorithm.
    pub(crate) alg: Option<Algorithm>,
    pub(crate) kid: Option<String>,
}

impl TokenHeader {
    /// Reads the first segment of a token.
    pub(crate) fn parse(segment: &str) -> Result<Self, Refusal> {
        let json = decode(segment)?;
        let read = object::read::<ReadHeader<'_>>(&json).ok_or(Refusal::HeaderInvalid)?;
        if read.unsupported {
            return Err(Refusal::HeaderUnsupported);
        }
        let typ = match read.typ {
            Some(typ) => Typ::of(&typ).ok_or(Refusal::HeaderUnsupported)?,
            None => Typ::Jwt,
        };
        // The name is case-sensitive (RFC 7515, section 4.1.1).
        let alg = Algorithm::from_str(&read.alg.ok_or(Refusal::HeaderInvalid)?).ok();
        Ok(Self { typ, alg, kid: read.kid })
    }
}

#[derive(Default)]
struct ReadHeader<'de> {
    typ: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    unsupported: bool,
    others: Ignored<'de>,
}

impl<'de> Members<'de> for ReadHeader<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: Text<'de>, map: &mut A) -> Result<(), A::Error> {
        match &*name.0 {
            "typ" => once(&mut self.typ, map),
            "alg" => once(&mut self.alg, map),
            "kid" => once(&mut self.kid, map),
            "crit" | "b64" | "cty" | "zip" | "jku" | "jwk" | "x5u" | "x5c" | "x5t" | "x5t#S256" => {
                self.unsupported = true;
                self.others.take(name, map)
            }
            _ => self.others.take(name, map),
        }
    }
}
