//! `/users/me`

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::ProfileUpdate;
use super::download::Download;
use crate::access::caller::UserCaller;
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::cookie::Cookies;
use crate::http::openapi::Note;
use crate::identity::factor::Password;
use crate::identity::user::Email;
use crate::identity::user::http::UserResponse;
use crate::identity::verification::client::CodeClient;
use crate::platform::audit;
use crate::self_service::api_token::http::ApiTokenResponse;
use crate::self_service::session::http::SessionResponse;

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("read_me", &[Code::Unauthorized, Code::Forbidden]),
    (
        "export_me",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshTokenRequired,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    ("cancel_pending_email", &[Code::Unauthorized, Code::Forbidden, Code::NotFound]),
    (
        "cancel_previous_emails",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshTokenRequired,
            Code::NotFound,
            Code::RestoreEmailBadToken,
            Code::EmailChangePending,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
        ],
    ),
    (
        "delete_me",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshTokenRequired,
            Code::LastSuperuser,
            Code::EmailChangePending,
        ],
    ),
    (
        "update_me",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshTokenRequired,
            Code::UpdateUserEmailAlreadyExists,
            Code::UpdateUserInvalidPassword,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
];

/// What else the documents say of operations.
pub(crate) const NOTES: &[(&str, Note)] = &[("update_me", Note::SendsCode)];

/// What a user changes of themself. What is missing stays; other members, the flags among them, are
/// ignored.
#[derive(Object)]
#[oai(example)]
struct UpdateMeRequest {
    /// A new e-mail address. It is not verified.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// A new password.
    #[oai(skip_serializing_if_is_none)]
    password: Option<String>,
    /// Their name: up to 100 characters; null or nothing takes it away.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// Their surname: up to 100 characters; null or nothing takes it away.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// Their page: a URL of up to 256 characters; null or nothing takes it away.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
}

impl Example for UpdateMeRequest {
    fn example() -> Self {
        Self {
            email: None,
            password: Some("battery staple correct".to_owned()),
            name: None,
            surname: None,
            website: None,
        }
    }
}

impl Input for UpdateMeRequest {
    type Parsed = ProfileUpdate;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<ProfileUpdate> {
        let email = fields.optional("email").map(|text| fields.email::<Email>("email", &text));
        let password = fields.optional("password").map(Password::new);
        let name = fields.person("name");
        let surname = fields.person("surname");
        let website = fields.maybe_parsed("website");
        let email = match email {
            Some(email) => Some(email?),
            None => None,
        };
        Some(ProfileUpdate { email, password, name: name?, surname: surname?, website: website? })
    }
}

/// The link that is cancelled.
#[derive(Object)]
#[oai(example)]
struct CancelRequest {
    /// The token that was mailed to the previous address.
    #[oai(skip_serializing_if_is_none)]
    token: Option<String>,
}

impl Example for CancelRequest {
    fn example() -> Self {
        Self { token: Some("0Qb5Xz1yPq7Tn3LkV9sRw2JmC6hF8gD4aE0uI5oY1tB".to_owned()) }
    }
}

impl Input for CancelRequest {
    type Parsed = Option<String>;
    const ACCEPTS: Accepts = Accepts::AnyOrNothing;

    fn read(fields: &mut Fields) -> Option<Option<String>> {
        Some(fields.optional("token"))
    }
}

/// Something that was done by a user or on them.
#[derive(Object)]
#[oai(rename = "Act", example)]
pub(crate) struct ActResponse {
    /// When, in milliseconds since the epoch.
    at: i64,
    /// What.
    act: String,
    /// Who did it.
    actor: String,
    /// On whom or what it was done.
    #[oai(skip_serializing_if_is_none)]
    subject: Option<String>,
    /// From where.
    #[oai(skip_serializing_if_is_none)]
    ip: Option<String>,
    /// What else there is to say: the text of a JSON object.
    detail: String,
}

impl Example for ActResponse {
    fn example() -> Self {
        let user = "user:56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2";
        Self {
            at: 1_795_306_672_123,
            act: "login".to_owned(),
            actor: user.to_owned(),
            subject: Some(user.to_owned()),
            ip: Some("192.0.2.7".to_owned()),
            detail: r#"{"session":"0a0a8bf6-9a0e-4d0c-8f0e-5f0f4f6a2f11"}"#.to_owned(),
        }
    }
}

impl From<audit::Row> for ActResponse {
    fn from(row: audit::Row) -> Self {
        let audit::Row { seq: _, at, act, actor, subject, ip, request: _, detail, digest: _ } = row;
        Self { at, act, actor, subject, ip, detail }
    }
}

/// Everything that is kept of a user.
#[derive(Object)]
#[oai(rename = "Export", example)]
pub(crate) struct ExportResponse {
    /// The user.
    user: UserResponse,
    /// Their sessions, those that ended too.
    sessions: Vec<SessionResponse>,
    /// Their API tokens, without their secrets.
    api_tokens: Vec<ApiTokenResponse>,
    /// The addresses they had, as long as they may take them back.
    former_emails: Vec<String>,
    /// What was done by them or on them, the oldest first.
    audit: Vec<ActResponse>,
}

impl Example for ExportResponse {
    fn example() -> Self {
        Self {
            user: UserResponse::example(),
            sessions: vec![SessionResponse::example()],
            api_tokens: vec![ApiTokenResponse::example()],
            former_emails: vec!["former@user.com".to_owned()],
            audit: vec![ActResponse::example()],
        }
    }
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Users")]
impl Api {
    /// Who am I
    ///
    /// The user the token speaks of, as the database has them: a flag that was changed a
    /// second ago shows here with an old token.
    #[oai(path = "/users/me", method = "get", operation_id = "read_me")]
    async fn read_me(&self, caller: UserCaller) -> Result<Json<UserResponse>> {
        Ok(Json(UserResponse::from(caller.user())))
    }

    /// Change me
    ///
    /// Changes what is said of the caller, or their e-mail address or password, which wants an access
    /// token from a sign-in. A new address is not verified. A new password ends every other session and every access
    /// token, this one included; the refresh token of this session goes on.
    ///
    /// If `REQUIRE_VERIFICATION` is on, a new address takes over once it is proved: the answer has the address that the
    /// user keeps until then, and the new one as `pending_email`. `POST /auth/verify` proves it, with the token of the
    /// mail to the new address; asking again replaces it.
    #[oai(path = "/users/me", method = "patch", operation_id = "update_me")]
    async fn update_me(
        &self,
        app: Data<&App>,
        caller: UserCaller,
        cookies: Cookies,
        device: Device,
        client: CodeClient,
        body: Body<UpdateMeRequest>,
    ) -> Result<Json<UserResponse>> {
        let update = body.0;
        let ends_token = update.password.is_some();
        // Whoever changes no address is sent no code.
        let client = update.email.as_ref().and_then(|_| client.keep());
        let (user, new) = super::change(&app, &caller, update, device.clone(), client).await?;
        // A browser has no refresh token to go on with.
        if let Some(claims) = caller.claims_in_cookie().filter(|_| ends_token) {
            match session::replace(&app, claims, device).await {
                Ok(access) => access.iter().for_each(|access| access.keep_in(&cookies, &app)),
                Err(error) => {
                    tracing::warn!(error.cause = %error, "a cookie could not be replaced")
                }
            }
        }
        let new = new.map(|email| email.as_str().to_owned());
        Ok(Json(UserResponse::with_pending(&user, new)))
    }

    /// Keep my address
    ///
    /// Cancels the new address that waits to be proved.
    #[oai(
        path = "/users/me/pending-email",
        method = "delete",
        operation_id = "cancel_pending_email"
    )]
    async fn cancel_pending_email(
        &self,
        app: Data<&App>,
        caller: UserCaller,
    ) -> Result<EmptyResponse> {
        super::cancel(&app, &caller).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// Cancel the links to previous addresses
    ///
    /// Cancels the links by which previous addresses of the caller take the account back within 72 hours, and tells those
    /// addresses. Requires an access token from a sign-in. With the `token` of a link, that link is cancelled at once.
    /// Without it, links are cancelled a day after their change at the earliest, from a session that began 72 hours
    /// before the change, if the address of the account is verified.
    #[oai(
        path = "/users/me/previous-emails",
        method = "delete",
        operation_id = "cancel_previous_emails"
    )]
    async fn cancel_previous_emails(
        &self,
        app: Data<&App>,
        caller: UserCaller,
        body: Body<CancelRequest>,
    ) -> Result<EmptyResponse> {
        super::cancel_links(&app, &caller, body.0).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// Delete me
    ///
    /// With sessions and API tokens. Wants an access token from a sign-in. The last superuser stays.
    #[oai(path = "/users/me", method = "delete", operation_id = "delete_me")]
    async fn delete_me(
        &self,
        app: Data<&App>,
        caller: UserCaller,
        cookies: Cookies,
        device: Device,
    ) -> Result<EmptyResponse> {
        super::delete(&app, &caller, device).await?;
        if caller.claims_in_cookie().is_some() {
            cookies.forget(&app);
        }
        Ok(EmptyResponse::NoContent)
    }

    /// What is kept of me
    ///
    /// Everything: what the user says of themself, sessions, those that ended too, API tokens, and what
    /// was done by them and on them. Requires an access token from a sign-in. One export of a user runs at a
    /// time, and a few an hour begin. The answer is sent as it is read: one that breaks off has no end.
    #[oai(path = "/users/me/export", method = "post", operation_id = "export_me")]
    async fn export_me(&self, app: Data<&App>, caller: UserCaller) -> Result<Download> {
        Ok(Download(super::export(&app, &caller).await?))
    }
}
