//! Why a token is not accepted.

use std::fmt;

/// The check that refused a token. Each has a stable [`reason`](Refusal::reason); none says
/// anything of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Longer than [`MAX_TOKEN_LENGTH`](crate::MAX_TOKEN_LENGTH).
    TooLong,
    /// Not three segments of canonical base64url (RFC 7515, section 3.1).
    Malformed,
    /// The header is not a JSON object with the members a token of ours has.
    HeaderInvalid,
    /// The header names something that must be understood and is not (RFC 7515, section 4.1.11),
    /// or where to find a key, which a token may not say.
    HeaderUnsupported,
    /// No key has this `kid`.
    KeyUnknown,
    /// `alg` is not the algorithm of the key (RFC 8725, section 3.1).
    AlgorithmMismatch,
    /// The signature is not the key's over this header and these claims.
    SignatureInvalid,
    /// The claims are not a JSON object with the members a token of ours has.
    ClaimsInvalid,
    /// `iss` is somebody else.
    IssuerMismatch,
    /// `aud` is somebody else.
    AudienceMismatch,
    /// `exp` has come.
    Expired,
    /// `nbf` or `iat` lies ahead.
    NotYetValid,
    /// `exp` is further from `iat` than this kind of token may live.
    LifetimeTooLong,
    /// A refresh token where an access token belongs, or the other way round.
    TypeMismatch,
    /// This token, its session, its key, or every token of its user issued so early was revoked.
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

    /// The stable name of the reason, in snake case.
    pub const fn reason(self) -> &'static str {
        self.words().0
    }

    /// The reason, for people.
    pub const fn sentence(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Refusal::TooLong => ("token_too_long", "the token is longer than 8192 bytes"),
            Refusal::Malformed => {
                ("token_malformed", "the token is not three segments of canonical base64url")
            }
            Refusal::HeaderInvalid => {
                ("header_invalid", "the header is not a JSON object with typ, alg and kid")
            }
            Refusal::HeaderUnsupported => {
                ("header_unsupported", "the header has a member that is not supported")
            }
            Refusal::KeyUnknown => ("key_unknown", "the token names a key that is not in use"),
            Refusal::AlgorithmMismatch => {
                ("algorithm_mismatch", "the token names an algorithm that its key does not have")
            }
            Refusal::SignatureInvalid => ("signature_invalid", "the signature does not match"),
            Refusal::ClaimsInvalid => {
                ("claims_invalid", "a claim is missing, doubled or of the wrong type")
            }
            Refusal::IssuerMismatch => ("issuer_mismatch", "the token is from another issuer"),
            Refusal::AudienceMismatch => ("audience_mismatch", "the token is for another audience"),
            Refusal::Expired => ("token_expired", "the token has expired"),
            Refusal::NotYetValid => ("token_not_yet_valid", "the token is not valid yet"),
            Refusal::LifetimeTooLong => {
                ("lifetime_too_long", "the token lives longer than its kind may")
            }
            Refusal::TypeMismatch => {
                ("type_mismatch", "the token is of a kind that is not accepted here")
            }
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
