//! `/auth/register`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Password;
use crate::app::App;
use crate::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::user::Email;
use crate::user::http::UserResponse;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[(
    "register",
    &[
        Code::RegisterUserAlreadyExists,
        Code::RegisterInvalidPassword,
        Code::RegistrationClosed,
        Code::UnsupportedMediaType,
        Code::UnprocessableContent,
        Code::ServiceBusy,
    ],
)];

/// Who wants to be a user. Other members, the flags among them, are ignored.
#[derive(Object)]
#[oai(example)]
struct RegisterRequest {
    /// The e-mail address to sign in with.
    email: String,
    /// The password to sign in with.
    password: String,
}

impl poem_openapi::types::Example for RegisterRequest {
    fn example() -> Self {
        Self { email: "first@user.com".to_owned(), password: "correct horse battery".to_owned() }
    }
}

impl Input for RegisterRequest {
    type Parsed = (Email, Password);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let email = fields.required("email");
        let password = fields.required("password");
        Some((fields.email("email", &email?)?, Password::new(password?)))
    }
}

#[derive(ApiResponse)]
enum Registered {
    /// The new user.
    #[oai(status = 201)]
    Created(Json<UserResponse>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// Register
    ///
    /// Makes a user of an e-mail address and a password. Addresses are compared without case.
    #[oai(path = "/auth/register", method = "post", operation_id = "register")]
    async fn register(&self, app: Data<&App>, body: Body<RegisterRequest>) -> Result<Registered> {
        let (email, password) = body.0;
        let user = super::register(&app, email, password).await?;
        Ok(Registered::Created(Json(UserResponse::from(&user))))
    }
}
