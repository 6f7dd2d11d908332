//! The forms of the account pages.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Section;
use crate::base::change::Change;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::http::body::{SECONDS, is_line};
use crate::http::form::{Field, PageForm, Placement, placed};
use crate::identity::user::Email;
use crate::self_service::account::ProfileUpdate;
use crate::self_service::api_token::NewApiToken;
use crate::self_service::registration;
use crate::self_service::registration::pages::invalid;

/// The number of seconds in a day.
const DAY: u64 = 86_400;

/// A form, with the account's current password if the form asks for it.
#[derive(Deserialize)]
pub(super) struct Posted {
    pub(super) current: Option<String>,
    #[serde(flatten)]
    pub(super) form: AccountForm,
}

/// A form of the pages.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub(super) enum AccountForm {
    Profile(ProfileForm),
    Email {
        #[serde(default)]
        email: Field<Email>,
    },
    CancelEmail,
    CancelLinks,
    Password {
        #[serde(default, skip_serializing)]
        password: String,
    },
    EndSession {
        #[serde(default)]
        id: String,
    },
    NotMe {
        /// The session of the sign-in that the user does not recognise.
        #[serde(default)]
        id: String,
    },
    EndOthers,
    CreateToken(TokenForm),
    DeleteToken {
        #[serde(default)]
        id: String,
    },
    Unlink {
        #[serde(default)]
        id: String,
    },
    Delete,
    #[serde(other)]
    Unknown,
}

/// The form of names and website.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ProfileForm {
    name: String,
    surname: String,
    website: String,
    /// Pages of earlier versions do not have it.
    language: Option<String>,
}

/// The form that makes an API token.
#[derive(Deserialize, Serialize)]
pub(super) struct TokenForm {
    /// The token's id, so that a form that is sent twice makes one token.
    id: Option<Field<Uuid>>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    days: Field<Days>,
}

/// The form that exports the account.
#[derive(Deserialize, Serialize)]
pub(super) struct ExportForm {
    #[serde(skip_serializing)]
    pub(super) current: Option<String>,
}

impl PageForm for AccountForm {
    fn placement(&self) -> Placement {
        match self {
            AccountForm::Profile(_) => {
                placed("profile", "profile", &["name", "surname", "website", "language"])
            }
            AccountForm::Email { .. } => placed("email", "email", &["email", "current"]),
            AccountForm::CancelEmail => placed("cancel-email", "email", &[]),
            AccountForm::CancelLinks => placed("cancel-links", "email", &["current"]),
            AccountForm::Password { .. } => {
                placed("password", "password", &["current", "password"])
            }
            AccountForm::EndSession { .. } => placed("end-session", "sessions", &[]),
            AccountForm::NotMe { .. } => placed("not-me", "password", &[]),
            AccountForm::EndOthers => placed("end-others", "sessions", &[]),
            AccountForm::CreateToken(_) => {
                placed("create-token", "tokens", &["name", "days", "current"])
            }
            AccountForm::DeleteToken { .. } => placed("delete-token", "tokens", &[]),
            AccountForm::Unlink { .. } => placed("unlink", "ways", &["current"]),
            AccountForm::Delete => placed("delete", "leave", &["current"]),
            AccountForm::Unknown => Placement::default(),
        }
    }
}

impl AccountForm {
    /// The page that shows the result.
    pub(super) fn section(&self) -> Section {
        match self {
            AccountForm::Profile(_) | AccountForm::Unknown => Section::Profile,
            AccountForm::Email { .. } | AccountForm::CancelEmail | AccountForm::CancelLinks => {
                Section::Email
            }
            // A sign-in of somebody else asks for a new password.
            AccountForm::Password { .. }
            | AccountForm::NotMe { .. }
            | AccountForm::Unlink { .. } => Section::Password,
            AccountForm::EndSession { .. } | AccountForm::EndOthers => Section::Sessions,
            AccountForm::CreateToken(_) | AccountForm::DeleteToken { .. } => Section::Tokens,
            AccountForm::Delete => Section::Data,
        }
    }

    /// Returns true if a password in the form counts for the other forms too. After a new password it does not, because the
    /// previous one proves nothing then, and after a deletion there is nothing left.
    pub(super) fn keeps_proof(&self) -> bool {
        !matches!(self, AccountForm::Password { .. } | AccountForm::Delete)
    }
}

impl PageForm for ExportForm {
    fn placement(&self) -> Placement {
        placed("export", "export", &["current"])
    }
}

impl ProfileForm {
    pub(super) fn update(self) -> Result<ProfileUpdate> {
        let name = line("name", self.name, 100)?;
        let surname = line("surname", self.surname, 100)?;
        let website = line("website", self.website, 256)?.map(|website| website.parse());
        let website = website.transpose();
        let website = website.map_err(|fault| invalid("website", "website-wrong", fault))?;
        Ok(ProfileUpdate {
            name: name.into(),
            surname: surname.into(),
            website: website.into(),
            language: match self.language {
                Some(language) => registration::pages::language(&language)?.into(),
                None => Change::Keep,
            },
            ..ProfileUpdate::default()
        })
    }
}

impl TokenForm {
    pub(super) fn new_token(self) -> Result<NewApiToken> {
        Ok(NewApiToken {
            id: once(self.id)?,
            name: line("name", self.name, 64)?,
            expire: self.days.value?.seconds(),
            ..NewApiToken::default()
        })
    }
}

/// Reads a field of one line, which may be empty.
pub(crate) fn line(field: &'static str, text: String, max: usize) -> Result<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    if is_line(&text, max) {
        return Ok(Some(text));
    }
    let sentence = format!("Input should be one line of at most {max} characters");
    let message = LocalizedMessage::with_number("line-too-long", sentence, max).about(field);
    Err(Error::with_messages(Code::UnprocessableContent, vec![message]))
}

/// Reads the id in a form for an API token, so that a form that is sent twice makes one token.
pub(crate) fn once(id: Option<Field<Uuid>>) -> Result<Option<Uuid>> {
    id.map(|id| id.value).transpose().map_err(|_| Code::UnprocessableContent.into())
}

/// A number of days, or none.
pub(crate) struct Days(Option<u64>);

impl Days {
    /// The number of seconds in the days.
    pub(crate) fn seconds(&self) -> Option<u64> {
        self.0.map(|days| days * DAY)
    }
}

impl FromStr for Days {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let days = text.parse::<u32>().ok().map(u64::from);
        let days = days.filter(|days| SECONDS.contains(&(days * DAY)));
        let wrong =
            || invalid("days", "days-wrong", "Input should be a number of days from 1 to 3650");
        days.map(|days| Self(Some(days))).ok_or_else(wrong)
    }
}
