//! The format of an API token's secret, and the digest that the database stores.
//!
//! A secret that Tessera makes is `tsr_`, 43 random letters and digits, and six that are a checksum of them. So a
//! secret scanner can recognise one in a repository, and Tessera can tell a typing error from an unknown token without
//! a query.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

use crate::access::grant;
use crate::base::config::secret::guessable;
use crate::base::error::TokenRefusal;
use crate::base::hex::hex;
use crate::base::random;

const PREFIX: &str = "tsr_";
const BODY: usize = 43;

/// The beginning of the secret of a client.
pub(crate) const CLIENT_SECRET: &str = "tsr_cs_";

const CHECKSUM: usize = 6;

/// The allowed lengths of a secret that was made elsewhere, in characters.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// A token in a request, classified by its format. It may still be invalid.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// The secret of an API token.
    ApiToken(&'a str),
    /// A JWT.
    Jwt(&'a str),
    /// Something that belongs to a client of the provider, which no operation of users and services accepts.
    OfClient(OfClient),
}

/// A secret or a token of a client, recognised by its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfClient {
    /// The secret of a client.
    Secret,
    /// The refresh token of a client.
    RefreshToken,
}

impl OfClient {
    /// The beginnings. Those of API tokens are different, because letters and digits follow `tsr_` there.
    pub const PREFIXES: [(&'static str, Self); 2] =
        [(CLIENT_SECRET, Self::Secret), (grant::client::PREFIX, Self::RefreshToken)];

    fn of(token: &str) -> Option<Self> {
        let mut kinds = Self::PREFIXES.into_iter();
        kinds.find_map(|(prefix, kind)| token.starts_with(prefix).then_some(kind))
    }

    /// The reason why it is refused wherever a token of a user or a service is expected.
    pub fn refusal(self) -> TokenRefusal {
        match self {
            Self::Secret => TokenRefusal::CLIENT_SECRET,
            Self::RefreshToken => TokenRefusal::CLIENT_REFRESH_TOKEN,
        }
    }
}

impl<'a> Presented<'a> {
    /// Classifies a token. What belongs to a client begins with `tsr_cs_` or `tsr_gr_`. An API token begins with
    /// `tsr_` or has no dot. Anything else is treated as a JWT.
    pub fn of(token: &'a str) -> Self {
        if let Some(kind) = OfClient::of(token) {
            Self::OfClient(kind)
        } else if token.starts_with(PREFIX) || !token.contains('.') {
            Self::ApiToken(token)
        } else {
            Self::Jwt(token)
        }
    }
}

/// The secret of an API token. The answer that creates it shows it once; it is never logged.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret of 256 random bits.
    pub(crate) fn make() -> Self {
        let body = random::letters_and_digits(BODY);
        let checksum = checksum(&body);
        Self(format!("{PREFIX}{body}{checksum}"))
    }

    /// The secret as text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns what is wrong with a secret that was made elsewhere, if it is easy to guess for its length. The text is
    /// the end of a sentence and never contains the secret.
    pub(crate) fn fault(&self) -> Option<String> {
        let made_here = self.0.starts_with(PREFIX);
        if made_here { None } else { guessable(&self.0, *LENGTHS.start()) }
    }

    /// The digest that the database stores.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// The first characters, by which a user recognises the token. They reveal nothing about the rest.
    pub(super) fn prefix(&self) -> &str {
        let length = if self.0.starts_with(PREFIX) { PREFIX.len() + 4 } else { 4 };
        &self.0[..length]
    }
}

impl FromStr for Secret {
    /// A sentence that says what is wrong.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix(PREFIX) {
            let alphanumeric = rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !alphanumeric || rest.len() != BODY + CHECKSUM {
                return Err("After tsr_, a token must have 49 letters and digits");
            }
            let (body, end) = rest.split_at(BODY);
            if checksum(body) != end {
                return Err("The checksum of the token is wrong. Check for a typing error");
            }
            return Ok(Self(text.to_owned()));
        }
        // Dots are not allowed, so that no secret is taken for a JWT. The other characters are those of RFC 6750.
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~+/=".contains(&byte);
        if LENGTHS.contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err("A token must consist of 16 to 256 letters, digits and -_~+/=")
        }
    }
}

/// The digest of a secret. Anyone who reads the table cannot get the secret from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a secret of any kind.
    pub(crate) fn of(secret: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(self.0))
    }
}

fn checksum(body: &str) -> String {
    let digest = digest(&SHA256, body.as_bytes());
    let number = digest.as_ref()[..4].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    random::in_letters_and_digits(number, CHECKSUM)
}

#[cfg(test)]
mod tests {
    use super::{OfClient, Presented, Secret};

    #[test]
    fn what_belongs_to_a_client_is_no_api_token() {
        for (prefix, kind) in OfClient::PREFIXES {
            for rest in ["", "x", "a.b.c", &"a".repeat(49)] {
                let text = format!("{prefix}{rest}");
                assert!(
                    matches!(Presented::of(&text), Presented::OfClient(found) if found == kind)
                );
                assert!(text.parse::<Secret>().is_err(), "{text}");
            }
        }
        let made = Secret::make();
        assert!(matches!(Presented::of(made.expose()), Presented::ApiToken(_)));
        assert!(matches!(Presented::of("a.b.c"), Presented::Jwt(_)));
        assert!(matches!(Presented::of("tsr_cs"), Presented::ApiToken(_)));
    }

    #[test]
    fn a_secret_is_parsed_and_one_with_a_typing_error_is_refused() {
        let secret = Secret::make();
        assert!(secret.expose().parse::<Secret>().is_ok());
        assert_eq!(secret.expose().len(), 53);
        for position in 4..53 {
            let mut typed: Vec<u8> = secret.expose().bytes().collect();
            typed[position] = if typed[position] == b'a' { b'b' } else { b'a' };
            let typed = String::from_utf8(typed).unwrap_or_default();
            assert!(typed.parse::<Secret>().is_err(), "{position}");
            assert!(typed[..position].parse::<Secret>().is_err(), "cut off at {position}");
        }
    }

    #[test]
    fn long_secrets_that_are_easy_to_guess_are_recognised() {
        let easy = [
            "a".repeat(16),
            "=".repeat(256),
            "ab".repeat(32),
            "secret-".repeat(6),
            "0123456789abcdef0123456789abcdef".to_owned(),
            "abcdefghijklmnopqrstuvwxyz".to_owned(),
            "f343ff34r3fg4g5g34gf34g34g3g34g4".to_owned(),
        ];
        for text in easy {
            let secret = text.parse::<Secret>();
            assert!(secret.is_ok_and(|secret| secret.fault().is_some()), "{text}");
        }
        for (hex, letters) in crate::base::random::samples() {
            for text in [&hex, &hex[..24], &letters[..16]] {
                let secret = text.parse::<Secret>();
                assert!(secret.is_ok_and(|secret| secret.fault().is_none()), "{text}");
            }
            assert_eq!(Secret::make().fault(), None);
        }
    }

    /// Secret scanners rely on the checksum. This value was computed with Python's `hashlib`.
    #[test]
    fn the_checksum_never_changes() {
        let known = "tsr_0000000000000000000000000000000000000000000";
        assert_eq!(super::checksum(&known[4..]), "3O9xIA");
    }
}
