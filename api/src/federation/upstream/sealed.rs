//! The sealed text that a browser carries while its person is at a provider. Only this server can make and read it.
//!
//! The server stores nothing for a sign-in that began. The sealed text is the parameter `state`, so it comes back with
//! the answer. It is bound to the browser, to the provider, and to what the sign-in is for.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::{SessionId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key::{Seal, open_from_url, seal_for_url, seals_of};

/// The maximum length of a sealed text, in bytes.
pub const MAX_LENGTH: usize = 6 * 1024;

/// The time within which a person must come back from a provider, in seconds.
pub const EXPIRES: u64 = 3600;

/// The keys that seal.
#[derive(Debug)]
pub(super) struct Seals(Vec<Seal>);

impl Seals {
    pub(super) fn of(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self(seals_of(&config.signing_secret()?, config, "tessera federation")))
    }
}

/// The purpose of a sign-in with a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Signing in.
    SignIn,
    /// Proving again who is signed in, in this session.
    Again {
        /// The session.
        session: Uuid,
        /// Its user.
        user: Uuid,
    },
    /// Linking the identity to the account of this user.
    Link {
        /// The session that asked.
        session: Uuid,
        /// Its user.
        user: Uuid,
    },
}

impl Purpose {
    /// To prove again who is signed in.
    pub fn again(session: SessionId, user: UserId) -> Self {
        Self::Again { session: session.0, user: user.0 }
    }

    /// To link an identity.
    pub fn link(session: SessionId, user: UserId) -> Self {
        Self::Link { session: session.0, user: user.0 }
    }
}

/// The receiver of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// A person, on a page.
    Page,
    /// A program.
    Program,
}

/// A sign-in that began.
#[derive(Clone, Serialize, Deserialize)]
pub struct Begun {
    /// The name of the provider.
    #[serde(rename = "u")]
    pub upstream: String,
    /// The verifier of PKCE.
    #[serde(rename = "v")]
    pub verifier: String,
    /// The nonce of the ID token.
    #[serde(rename = "n")]
    pub nonce: String,
    /// The digest of the browser's id.
    #[serde(rename = "b")]
    pub browser: String,
    /// Its purpose.
    #[serde(rename = "p")]
    pub purpose: Purpose,
    /// The receiver of the answer.
    #[serde(rename = "d")]
    pub door: Door,
    /// The redirect URI that was sent.
    #[serde(rename = "r")]
    pub redirect_uri: String,
    /// The place to go to in the end, relative to the first page.
    #[serde(rename = "x", default, skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// `true` if the person must sign in there again.
    #[serde(rename = "a", default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The time when it began, in milliseconds since the epoch.
    #[serde(rename = "t")]
    pub at: i64,
}

impl Begun {
    /// The time when it began.
    pub fn began(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }

    /// The time until which it works.
    pub fn until(&self) -> Timestamp {
        self.began().plus_seconds(EXPIRES)
    }

    /// Seals it. `None` if it would be too long.
    pub fn seal(&self, app: &App) -> Option<String> {
        seal(app, "state", self)
    }

    /// Opens a state. `None` if this server did not seal it.
    pub fn open(app: &App, sealed: &str) -> Option<Self> {
        open(app, "state", sealed)
    }
}

/// Seals content under a name. `None` if it would be too long.
pub(crate) fn seal(app: &App, name: &str, content: &impl Serialize) -> Option<String> {
    let sealed = seal_for_url(&app.upstream.seals.0, name, content)?;
    (sealed.len() <= MAX_LENGTH).then_some(sealed)
}

/// Opens content that this server sealed under a name.
pub(crate) fn open<T: DeserializeOwned>(app: &App, name: &str, sealed: &str) -> Option<T> {
    if sealed.len() > MAX_LENGTH {
        return None;
    }
    open_from_url(&app.upstream.seals.0, name, sealed)
}

/// The digest of a browser's id. The id itself would be a credential in a URL, although sealed.
pub fn digest_of_browser(id: &str) -> String {
    let digest = digest(&SHA256, format!("browser\0{id}").as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
}
