//! The operation `/auth/accept-invitation`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::ChosenName;
use crate::access::session::Device;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::identity::factor::Password;
use crate::identity::user::http::UserResponse;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[(
    "accept_invitation",
    &[
        Code::InvitationBadToken,
        Code::RegisterUserAlreadyExists,
        Code::RegisterInvalidPassword,
        Code::UnsupportedMediaType,
        Code::UnprocessableContent,
        Code::ServiceBusy,
    ],
)];

/// The token of an invitation, and what the invited person chooses. Other members are ignored.
#[derive(Object)]
#[oai(example)]
struct AcceptRequest {
    /// The token of the link in the mail.
    token: String,
    /// The password, with which the user signs in.
    password: String,
    /// The name, up to 100 characters. Default: the name in the invitation. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The surname, up to 100 characters. Default: the surname in the invitation. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
}

impl Example for AcceptRequest {
    fn example() -> Self {
        Self {
            token: "q3zXc0m5bC4fQ9kP2vR7tY1uW8sD6gH3jK5lN0aEiOx".to_owned(),
            password: "correct horse battery".to_owned(),
            name: None,
            surname: None,
        }
    }
}

impl Input for AcceptRequest {
    type Parsed = (String, Password, ChosenName);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let (token, password) = (fields.required("token"), fields.required("password"));
        let (name, surname) = (fields.person("name"), fields.person("surname"));
        Some((token?, Password::new(password?), ChosenName { name: name?, surname: surname? }))
    }
}

#[derive(ApiResponse)]
enum Accepted {
    /// The new user, whose address is verified.
    #[oai(status = 201)]
    Created(Json<UserResponse>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// Accept an invitation
    ///
    /// Creates the user that a superuser invited, with the token of the mail's link, and returns the user. The address
    /// is verified, because the link was sent to it. The user has the scopes of the invitation. The token works once.
    /// Then sign in with `POST /auth/jwt/login`.
    ///
    /// If somebody registered the address but did not prove it, this takes that account over: it gets the new password,
    /// all of its sessions end, and its API tokens are deleted.
    #[oai(path = "/auth/accept-invitation", method = "post", operation_id = "accept_invitation")]
    async fn accept(
        &self,
        app: Data<&App>,
        device: Device,
        body: Body<AcceptRequest>,
    ) -> Result<Accepted> {
        let (token, password, chosen) = body.0;
        let (user, _) = super::accept(&app, &token, password, chosen, device).await?;
        Ok(Accepted::Created(Json(UserResponse::from(&user))))
    }
}
