//! The format of a client's secret. The database stores only its digest.

use std::fmt;
use std::str::FromStr;

use entity::client_secret::Model;
use entity::{ClientId, ClientSecretId};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::access::api_token::{CLIENT_SECRET, Digest};
use crate::base::clock::Timestamp;
use crate::base::config::secret::guessable;
use crate::base::random;

/// The beginning of a secret that Tessera makes.
const PREFIX: &str = CLIENT_SECRET;
const BODY: usize = 43;

/// The allowed lengths of a secret that an operator chooses, in characters.
const LENGTHS: std::ops::RangeInclusive<usize> = 32..=256;

/// The secret of a client. The answer that creates it shows it once; it is never logged.
#[derive(Clone)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Makes a secret of 256 random bits.
    pub(crate) fn make() -> Self {
        Self(format!("{PREFIX}{}", random::letters_and_digits(BODY)))
    }

    /// The secret as text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest that the database stores.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// The first characters, by which an operator recognises the secret. They reveal nothing about the rest.
    pub(crate) fn prefix(&self) -> &str {
        let length = if self.0.starts_with(PREFIX) { PREFIX.len() + 4 } else { 4 };
        &self.0[..length]
    }
}

impl PartialEq for ClientSecret {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

/// Reads a secret that an operator chose. An error does not contain it.
impl<'de> Deserialize<'de> for ClientSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientSecret(…)")
    }
}

impl FromStr for ClientSecret {
    /// A sentence that says what is wrong, without the secret.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let made_here = text.strip_prefix(PREFIX);
        if made_here.is_some_and(|body| {
            body.len() == BODY && body.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }) {
            return Ok(Self(text.to_owned()));
        }
        let least = *LENGTHS.start();
        if !LENGTHS.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "A client secret must have {least} to {} visible ASCII characters; `openssl rand -hex 32` makes one",
                LENGTHS.end()
            ));
        }
        match guessable(text, least) {
            Some(fault) => {
                Err(format!("The client secret {fault}; `openssl rand -hex 32` makes a good one"))
            }
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// A secret of a client as the table has it, without its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its id.
    pub id: ClientSecretId,
    /// The client.
    pub client: ClientId,
    /// The time when it was made.
    pub created: Timestamp,
    /// The time from which it is refused, if it was replaced.
    pub expires: Option<Timestamp>,
    /// The time of its last use, to the minute.
    pub last_used: Option<Timestamp>,
}

impl From<&Model> for StoredSecret {
    fn from(row: &Model) -> Self {
        let Model { id, client_id, prefix: _, digest: _, created_at, expires_at, last_used_at } =
            row;
        Self {
            id: *id,
            client: *client_id,
            created: Timestamp::from_millis(*created_at),
            expires: expires_at.map(Timestamp::from_millis),
            last_used: last_used_at.map(Timestamp::from_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ClientSecret;

    #[test]
    fn secrets_that_were_made_here_and_long_random_ones_are_accepted() {
        let made = ClientSecret::make();
        assert_eq!(made.expose().len(), 50);
        assert!(made.expose().parse::<ClientSecret>().is_ok());
        assert_eq!(made.prefix().len(), 11);
        let hex = crate::base::random::secret();
        assert!(hex.parse::<ClientSecret>().is_ok());
        for easy in ["", "secret", &"a".repeat(32), &"ab".repeat(30), &"x".repeat(300), &hex[..31]]
        {
            let fault = easy.parse::<ClientSecret>().unwrap_err();
            assert!(easy.is_empty() || !fault.contains(&format!("{easy:?}")), "{fault}");
        }
        assert_eq!(format!("{made:?}"), "ClientSecret(…)");
    }
}
