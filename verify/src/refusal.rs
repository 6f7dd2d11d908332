//! The reasons why a token is refused.

use std::fmt;

/// The reason why a token is refused. Each has a stable name, its [`reason`](Refusal::reason). None reveals anything
/// about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The token is longer than [`MAX_TOKEN_LENGTH`](crate::MAX_TOKEN_LENGTH).
    TooLong,
    /// The token does not have three parts in canonical base64url (RFC 7515, section 3.1).
    Malformed,
    /// The header is not a JSON object with the required members.
    HeaderInvalid,
    /// The header has a `typ` or an extension that is not supported (RFC 7515, section 4.1.11), or it names a place
    /// of a key, which a token may not do.
    HeaderUnsupported,
    /// No key has this `kid`.
    KeyUnknown,
    /// `alg` is not the algorithm of the key (RFC 8725, section 3.1).
    AlgorithmMismatch,
    /// The signature does not match the header, the claims and the key.
    SignatureInvalid,
    /// The claims are not a JSON object with the required members.
    ClaimsInvalid,
    /// `iss` is another issuer.
    IssuerMismatch,
    /// `aud` is another audience.
    AudienceMismatch,
    /// The time in `exp` has passed.
    Expired,
    /// The time in `nbf` or `iat` is in the future.
    NotYetValid,
    /// The time from `iat` to `exp` is longer than the lifetime that this kind of token may have.
    LifetimeTooLong,
    /// A refresh token was used as an access token, or an access token as a refresh token.
    TypeMismatch,
    /// The token, its session or its key was revoked, or all tokens of its user that were issued up to a time.
    Revoked,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: &'static [Refusal] = &[
        Refusal::TooLong,
        Refusal::Malformed,
        Refusal::HeaderInvalid,
        Refusal::HeaderUnsupported,
        Refusal::KeyUnknown,
        Refusal::AlgorithmMismatch,
        Refusal::SignatureInvalid,
        Refusal::ClaimsInvalid,
        Refusal::IssuerMismatch,
        Refusal::AudienceMismatch,
        Refusal::Expired,
        Refusal::NotYetValid,
        Refusal::LifetimeTooLong,
        Refusal::TypeMismatch,
        Refusal::Revoked,
    ];

    /// Returns the stable name of the reason, in snake case.
    pub const fn reason(self) -> &'static str {
        self.words().0
    }

    /// Returns the reason as a sentence for people.
    pub const fn sentence(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Refusal::TooLong => ("token_too_long", "the token is longer than 8192 bytes"),
            Refusal::Malformed => (
                "token_malformed",
                "the token is not a JWT, which has three parts in canonical base64url, separated by dots",
            ),
            Refusal::HeaderInvalid => {
                ("header_invalid", "the header is not a JSON object with typ, alg and kid")
            }
            Refusal::HeaderUnsupported => {
                ("header_unsupported", "the header has a member that is not supported")
            }
            Refusal::KeyUnknown => ("key_unknown", "the token names a key that is not in use"),
            Refusal::AlgorithmMismatch => {
                ("algorithm_mismatch", "the algorithm in the header is not that of the key")
            }
            Refusal::SignatureInvalid => ("signature_invalid", "the signature does not match"),
            Refusal::ClaimsInvalid => {
                ("claims_invalid", "a claim is missing, appears twice or has the wrong type")
            }
            Refusal::IssuerMismatch => ("issuer_mismatch", "the token is from another issuer"),
            Refusal::AudienceMismatch => ("audience_mismatch", "the token is for another audience"),
            Refusal::Expired => ("token_expired", "the token has expired"),
            Refusal::NotYetValid => ("token_not_yet_valid", "the token is not valid yet"),
            Refusal::LifetimeTooLong => {
                ("lifetime_too_long", "the lifetime of the token is longer than allowed")
            }
            Refusal::TypeMismatch => ("type_mismatch", "this kind of token is not accepted here"),
            Refusal::Revoked => ("token_revoked", "the token was revoked"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.sentence())
    }
}

impl std::error::Error for Refusal {}
