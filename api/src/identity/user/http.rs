//! The JSON form of a user.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;

use super::{Profile, User};
use crate::platform::audit::Dates;

/// A user.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "User", example)]
pub(crate) struct UserResponse {
    /// The id of the user: the `sub` of their tokens.
    id: String,
    /// The e-mail address: the local part as typed, the domain in lower case.
    email: String,
    /// `true` if the user can sign in and their tokens are accepted.
    is_active: bool,
    /// `true` if the user is a superuser, who can manage users, tokens and keys.
    is_superuser: bool,
    /// `true` if the user has proved that the address is theirs.
    is_verified: bool,
    /// The new address that takes effect when it is confirmed. Only the answer to the request for it and the export of
    /// the user contain it.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_email: Option<String>,
    /// The name of the user, if there is one.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The surname of the user, if there is one.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    surname: Option<String>,
    /// The web page of the user, if there is one.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    website: Option<String>,
    /// The language of the user's mails and pages, if one was chosen: a tag, such as `de` or `pt-BR`.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    /// The scopes of the user, if they are not just `authenticated`.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
    /// The id that the user had in the system that they were imported from, if it is not `id`. Only superusers get it.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// The time when the account was made, in seconds since the epoch. Only superusers get it, if it is known.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    /// The time of the last sign-in, in seconds since the epoch. Only superusers get it, if there was one.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sign_in: Option<u64>,
}

impl Example for UserResponse {
    fn example() -> Self {
        Self {
            id: "56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned(),
            email: "first@user.com".to_owned(),
            is_active: true,
            is_superuser: false,
            is_verified: false,
            pending_email: None,
            name: None,
            surname: None,
            website: None,
            language: None,
            scopes: None,
            external_id: None,
            created: None,
            last_sign_in: None,
        }
    }
}

impl UserResponse {
    /// Creates a response with the user's pending address, if there is one.
    pub(crate) fn with_pending(user: &User, pending_email: Option<String>) -> Self {
        Self { pending_email, ..Self::from(user) }
    }

    /// Adds the id that the user had elsewhere.
    pub(crate) fn with_external_id(self, external_id: Option<String>) -> Self {
        Self { external_id, ..self }
    }

    /// Creates a response for a superuser, with the dates of the account.
    pub(crate) fn with_dates(user: &User, dates: Dates) -> Self {
        let Dates { created, last_sign_in } = dates;
        Self {
            created: created.map(|at| at.seconds()),
            last_sign_in: last_sign_in.map(|at| at.seconds()),
            ..Self::from(user)
        }
    }
}

impl From<&User> for UserResponse {
    fn from(user: &User) -> Self {
        let User { id, email, is_active, is_superuser, is_verified, profile, granted } = user;
        let Profile { name, surname, website, language } = profile;
        let words = granted.iter().map(|scope| scope.as_str().to_owned()).collect();
        Self {
            id: id.to_string(),
            email: email.clone(),
            is_active: *is_active,
            is_superuser: *is_superuser,
            is_verified: *is_verified,
            pending_email: None,
            name: name.clone(),
            surname: surname.clone(),
            website: website.as_ref().map(|website| website.as_str().to_owned()),
            language: language.clone().map(String::from),
            scopes: Some(words).filter(|_| *granted != User::default_scopes()),
            external_id: None,
            created: None,
            last_sign_in: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::ToJSON;

    use super::*;

    #[test]
    fn both_ways_of_writing_a_user_agree() {
        let text = || Some("text".to_owned());
        let full = UserResponse {
            pending_email: text(),
            name: text(),
            surname: text(),
            website: text(),
            language: text(),
            scopes: Some(vec!["one".to_owned(), "two".to_owned()]),
            external_id: text(),
            created: Some(1),
            last_sign_in: Some(2),
            ..UserResponse::example()
        };
        for user in [full, UserResponse::example()] {
            assert_eq!(serde_json::to_value(&user).ok(), user.to_json());
        }
    }
}
