//! `/users/me`

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::app::App;
use crate::error::{Code, Result};
use crate::factor::Password;
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::caller::Caller;
use crate::session::Device;
use crate::user::Email;
use crate::user::http::UserResponse;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("read_me", &[Code::Unauthorized]),
    (
        "update_me",
        &[
            Code::Unauthorized,
            Code::FreshTokenRequired,
            Code::UpdateUserEmailAlreadyExists,
            Code::UpdateUserInvalidPassword,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::ServiceBusy,
        ],
    ),
];

/// What a user changes of themself. What is missing or null stays; other members are ignored.
#[derive(Object)]
#[oai(example)]
struct UpdateMeRequest {
    /// A new e-mail address. It is not verified.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// A new password.
    #[oai(skip_serializing_if_is_none)]
    password: Option<String>,
}

impl Example for UpdateMeRequest {
    fn example() -> Self {
        Self { email: None, password: Some("battery staple correct".to_owned()) }
    }
}

impl Input for UpdateMeRequest {
    type Parsed = (Option<Email>, Option<Password>);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let email = fields.optional("email").map(|text| fields.email("email", &text));
        let password = fields.optional("password").map(Password::new);
        match email {
            Some(email) => Some((Some(email?), password)),
            None => Some((None, password)),
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

    /// Change me
    ///
    /// Changes the caller's e-mail address or password, which wants an access token from a sign-in.
    /// A new address is not verified. A new password ends every other session and every access
    /// token, this one included; the refresh token of this session goes on.
    #[oai(path = "/users/me", method = "patch", operation_id = "update_me")]
    async fn update_me(
        &self,
        app: Data<&App>,
        caller: Caller,
        device: Device,
        body: Body<UpdateMeRequest>,
    ) -> Result<Json<UserResponse>> {
        let (email, password) = body.0;
        let user = super::change(&app, &caller.claims, email, password, device).await?;
        Ok(Json(UserResponse::from(&user)))
    }
}
