//! `/users/me`, read.

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::User;
use crate::error::{Code, Result};
use crate::http::Tag;
use crate::http::caller::Caller;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[("read_me", &[Code::Unauthorized])];

/// A user, as they and superusers see them.
#[derive(Debug, Object)]
#[oai(rename = "User")]
pub(crate) struct UserResponse {
    /// Their id: the `sub` of their tokens.
    #[oai(validator(max_length = 36))]
    id: String,
    /// Their e-mail address: the local part as typed, the domain in lower case.
    email: String,
    /// Whether they may sign in and their tokens are accepted.
    is_active: bool,
    /// Whether they may manage other users.
    is_superuser: bool,
    /// Whether the address was shown to be theirs.
    is_verified: bool,
}

impl From<&User> for UserResponse {
    fn from(user: &User) -> Self {
        let User { id, email, is_active, is_superuser, is_verified } = user;
        Self {
            id: id.to_string(),
            email: email.clone(),
            is_active: *is_active,
            is_superuser: *is_superuser,
            is_verified: *is_verified,
        }
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Users")]
impl Api {
    /// Who am I
    ///
    /// The user the access token speaks of, as the database has them: a flag that was changed a
    /// second ago shows here with an old token.
    #[oai(path = "/users/me", method = "get", operation_id = "read_me")]
    async fn read_me(&self, caller: Caller) -> Result<Json<UserResponse>> {
        Ok(Json(UserResponse::from(caller.user.as_ref())))
    }
}
