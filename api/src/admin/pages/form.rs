//! Forms of the administration: the password that confirms an action, and fields that several forms have.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::admin::user::UserUpdate;
use crate::base::change::Change;
use crate::base::error::{Error, Result};
use crate::base::scope::{MAX_SCOPES, Scope, Scopes};
use crate::http::body::is_line;
use crate::http::form::Field;
use crate::identity::user::{Changes, Email, Website};
use crate::self_service::account::pages::form::line;
use crate::self_service::registration::pages::{invalid, invalid_email, language};

/// The maximum number of characters of a name.
pub(super) const MAX_NAME: usize = 100;

/// The maximum number of characters of the address of a web page.
const MAX_WEBSITE: usize = 256;

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

/// The form that changes the address and the profile of a user. It contains the values that it showed when it was
/// loaded, and changes only the others.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct PersonForm {
    was_email: String,
    was_name: String,
    was_surname: String,
    was_website: String,
    was_language: String,
    email: Field<Email>,
    name: String,
    surname: String,
    website: String,
    language: String,
}

impl PersonForm {
    /// The changes that the form makes.
    pub(super) fn update(self) -> Result<UserUpdate> {
        let email = match self.email.text.trim() == self.was_email.trim() {
            true => None,
            false => Some(self.email.value.map_err(invalid_email)?.into()),
        };
        let website = changed("website", &self.was_website, &self.website, MAX_WEBSITE)?;
        let website = match website {
            Change::Keep => Change::Keep,
            Change::Clear => Change::Clear,
            Change::Set(text) => {
                let parsed = text.parse::<Website>();
                Change::Set(parsed.map_err(|fault| invalid("website", "website-wrong", fault))?)
            }
        };
        let changes = Changes {
            name: changed("name", &self.was_name, &self.name, MAX_NAME)?,
            surname: changed("surname", &self.was_surname, &self.surname, MAX_NAME)?,
            website,
            language: match self.language == self.was_language {
                true => Change::Keep,
                false => language(&self.language)?.into(),
            },
            ..Changes::default()
        };
        Ok(UserUpdate { email, changes, ..UserUpdate::default() })
    }
}

/// The change of a field that may be empty.
fn changed(field: &'static str, was: &str, is: &str, max: usize) -> Result<Change<String>> {
    let (was, is) = (was.trim(), is.trim());
    if was == is { Ok(Change::Keep) } else { Ok(line(field, is.to_owned(), max)?.into()) }
}
