//! The operation `/auth/register`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::openapi::Note;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::user::http::UserResponse;
use crate::identity::user::{Email, Language, Profile, Website};
use crate::identity::verification::client::CodeClient;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[(
    "register",
    &[
        Code::RegisterUserAlreadyExists,
        Code::RegisterInvalidPassword,
        Code::RegistrationClosed,
        Code::RegistrationByInvitation,
        Code::UnsupportedMediaType,
        Code::UnprocessableContent,
        Code::TooManyAttempts,
        Code::ServiceBusy,
    ],
)];

/// Further notes on operations, for the OpenAPI document.
pub(crate) const NOTES: &[(&str, Note)] = &[("register", Note::SendsCode)];

/// A user to register. Unknown members and flags are ignored.
#[derive(Object)]
#[oai(example)]
struct RegisterRequest {
    /// The e-mail address, with which the user signs in.
    email: String,
    /// The password, with which the user signs in.
    password: String,
    /// The name, up to 100 characters.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The surname, up to 100 characters.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// The web page: a URL of up to 256 characters.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
    /// The language of mails and pages: a tag, such as `de` or `pt-BR`.
    #[oai(skip_serializing_if_is_none)]
    language: Option<String>,
}

impl poem_openapi::types::Example for RegisterRequest {
    fn example() -> Self {
        Self {
            email: "first@user.com".to_owned(),
            password: "correct horse battery".to_owned(),
            name: None,
            surname: None,
            website: None,
            language: None,
        }
    }
}

impl Input for RegisterRequest {
    type Parsed = (Email, Password, Profile);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let email = fields.required("email");
        let password = fields.required("password");
        let name = fields.person("name");
        let surname = fields.person("surname");
        let website = fields.maybe_parsed::<Website>("website");
        let language = fields.maybe_parsed::<Language>("language");
        let email = email.and_then(|email| fields.email("email", &email));
        let profile = Profile {
            name: name?.value(),
            surname: surname?.value(),
            website: website?.value(),
            language: language?.value(),
        };
        Some((email?, Password::new(password?), profile))
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
    /// Register a user
    ///
    /// Creates a user with an e-mail address and a password, and sends a mail to verify the address. Returns the user.
    /// Upper and lower case make no difference in addresses. Anyone can call this operation, unless
    /// `REGISTRATION` is `invite` or `closed`.
    ///
    /// The code in the mail works only in the client that registered: send it with the header `X-Code-Binding` of this
    /// answer, or with the cookie `tessera-code`. The link works anywhere.
    #[oai(path = "/auth/register", method = "post", operation_id = "register")]
    async fn register(
        &self,
        app: Data<&App>,
        ip: PeerAddress,
        client: CodeClient,
        body: Body<RegisterRequest>,
    ) -> Result<Registered> {
        let (email, password, profile) = body.0;
        let client = client.keep();
        let user = super::register(&app, email, password, profile, ip.0, client).await?;
        Ok(Registered::Created(Json(UserResponse::from(&user))))
    }
}
