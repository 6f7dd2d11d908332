//! A user, as the wire shows them.

use poem_openapi::Object;
use poem_openapi::types::Example;

use super::{Profile, User};

/// A user, as they and superusers see them.
#[derive(Debug, Object)]
#[oai(rename = "User", example)]
pub(crate) struct UserResponse {
    /// Their id: the `sub` of their tokens.
    id: String,
    /// Their e-mail address: the local part as typed, the domain in lower case.
    email: String,
    /// Whether they may sign in and their tokens are accepted.
    is_active: bool,
    /// Whether they may do what superusers may.
    is_superuser: bool,
    /// Whether the address was shown to be theirs.
    is_verified: bool,
    /// The new address that takes over once it is proved. It is in the answer to the request for it, and in an export.
    #[oai(skip_serializing_if_is_none)]
    pending_email: Option<String>,
    /// Their name, if they gave one.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// Their surname, if they gave one.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// Their page, if they gave one.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
    /// What they may do, where that is other than `authenticated`.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
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
            scopes: None,
        }
    }
}

impl UserResponse {
    /// A user with the new address that they wait for, if they do.
    pub(crate) fn with_pending(user: &User, pending_email: Option<String>) -> Self {
        Self { pending_email, ..Self::from(user) }
    }
}

impl From<&User> for UserResponse {
    fn from(user: &User) -> Self {
        let User { id, email, is_active, is_superuser, is_verified, profile, granted } = user;
        let Profile { name, surname, website } = profile;
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
            scopes: Some(words).filter(|_| *granted != User::default_scopes()),
        }
    }
}
