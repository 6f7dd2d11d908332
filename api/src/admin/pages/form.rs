//! Forms of the administration: the password that confirms an action, and fields that several forms have.

use std::str::FromStr;

use serde::Deserialize;

use crate::base::error::{Error, Result};
use crate::base::scope::{MAX_SCOPES, Scope, Scopes};
use crate::http::body::is_line;
use crate::self_service::registration::pages::invalid;

/// A form of the administration. It has a password if its page had to ask for one.
#[derive(Deserialize)]
pub(super) struct Posted<F> {
    /// The password.
    pub(super) proof: Option<String>,
    /// The form.
    #[serde(flatten)]
    pub(super) form: F,
}

/// The reason of an action, for people who read it later: one line.
pub(super) struct Reason(pub(super) String);

impl FromStr for Reason {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || !is_line(text, 256) {
            return Err(invalid(
                "why",
                "why-wrong",
                "Give a reason, in one line of up to 256 characters",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Scopes, separated by spaces. An invalid scope is an error.
pub(super) struct ScopeList(pub(super) Scopes);

impl FromStr for ScopeList {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let scopes: Vec<Scope> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| scopes_wrong())?;
        if scopes.len() > MAX_SCOPES {
            return Err(scopes_wrong());
        }
        Ok(Self(scopes.into_iter().collect()))
    }
}

/// The error for invalid scopes.
pub(super) fn scopes_wrong() -> Error {
    invalid("scopes", "scopes-wrong", "Scopes must be words with spaces between them")
}
