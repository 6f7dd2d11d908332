//! The operations `/users/me…`.

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
use crate::federation::federated_identity::Identity;
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::cookie::Cookies;
use crate::http::json::Written;
use crate::http::openapi::Note;
use crate::identity::factor::Password;
use crate::identity::user::SoughtEmail;
use crate::identity::user::http::UserResponse;
use crate::identity::verification::client::CodeClient;
use crate::platform::audit;
use crate::self_service::api_token::http::ApiTokenResponse;
use crate::self_service::session::http::SessionResponse;

/// The errors of each operation, for the OpenAPI document.
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

/// Further notes on operations, for the OpenAPI document.
pub(crate) const NOTES: &[(&str, Note)] = &[("update_me", Note::SendsCode)];

/// Changes to the caller's own account. Members that are missing keep their value. Unknown members and flags are
/// ignored.
#[derive(Object)]
#[oai(example)]
struct UpdateMeRequest {
    /// The new e-mail address. It is not verified. Requires a fresh token.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// The new password. Requires a fresh token.
    #[oai(skip_serializing_if_is_none)]
    password: Option<String>,
    /// The name, up to 100 characters. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The surname, up to 100 characters. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// The web page: a URL of up to 256 characters. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
    /// The language of mails and pages: a tag, such as `de` or `pt-BR`. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    language: Option<String>,
}

impl Example for UpdateMeRequest {
    fn example() -> Self {
        Self {
            email: None,
            password: Some("battery staple correct".to_owned()),
            name: None,
            surname: None,
            website: None,
            language: None,
        }
    }
}

impl Input for UpdateMeRequest {
    type Parsed = ProfileUpdate;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<ProfileUpdate> {
        let email =
            fields.optional("email").map(|text| fields.email::<SoughtEmail>("email", &text));
        let password = fields.optional("password").map(Password::new);
        let name = fields.person("name");
        let surname = fields.person("surname");
        let website = fields.maybe_parsed("website");
        let language = fields.maybe_parsed("language");
        let email = match email {
            Some(email) => Some(email?),
            None => None,
        };
        let (name, surname, website, language) = (name?, surname?, website?, language?);
        Some(ProfileUpdate { email, password, name, surname, website, language })
    }
}

/// The link to cancel.
#[derive(Object)]
#[oai(example)]
struct CancelRequest {
    /// The token in the mail to the previous address. Without it, all links are cancelled whose conditions are met.
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

/// An audit entry by or about the user.
#[derive(Object)]
#[oai(rename = "Act", example)]
pub(crate) struct ActResponse {
    /// The time, in milliseconds since the epoch.
    at: i64,
    /// The action, for example `login`.
    act: String,
    /// The actor: `user:…`, `api_token:…`, `operator` or `anybody`.
    actor: String,
    /// The object of the action, for example `user:…`.
    #[oai(skip_serializing_if_is_none)]
    subject: Option<String>,
    /// The IP address that the request came from.
    #[oai(skip_serializing_if_is_none)]
    ip: Option<String>,
    /// Details: a JSON object as text.
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

/// An identity of a user at another provider.
#[derive(Object)]
#[oai(rename = "Identity", example)]
pub(crate) struct IdentityResponse {
    /// The name of the provider.
    provider: String,
    /// The subject at the provider.
    subject: String,
    /// The address at the provider, if it says one.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// The time when it was linked, in seconds since the epoch.
    created: u64,
    /// The time of the last sign-in with it, in seconds since the epoch.
    used: u64,
}

impl Example for IdentityResponse {
    fn example() -> Self {
        Self {
            provider: "google".to_owned(),
            subject: "110169484474386276334".to_owned(),
            email: Some("first@user.com".to_owned()),
            created: 1_795_000_000,
            used: 1_795_003_600,
        }
    }
}

impl From<Identity> for IdentityResponse {
    fn from(identity: Identity) -> Self {
        let Identity { id: _, upstream, label: _, subject, email, created, used } = identity;
        let (created, used) = (created.seconds(), used.seconds());
        Self { provider: upstream, subject, email, created, used }
    }
}

/// Everything that is stored about a user.
#[derive(Object)]
#[oai(rename = "Export", example)]
pub(crate) struct ExportResponse {
    /// The user.
    user: UserResponse,
    /// The sessions, including those that have ended.
    sessions: Vec<SessionResponse>,
    /// The API tokens, without their secrets.
    api_tokens: Vec<ApiTokenResponse>,
    /// Previous e-mail addresses that can still take the account back.
    former_emails: Vec<String>,
    /// The identities at other providers.
    identities: Vec<IdentityResponse>,
    /// The audit entries by or about the user, oldest first.
    audit: Vec<ActResponse>,
}

impl Example for ExportResponse {
    fn example() -> Self {
        Self {
            user: UserResponse::example(),
            sessions: vec![SessionResponse::example()],
            api_tokens: vec![ApiTokenResponse::example()],
            former_emails: vec!["former@user.com".to_owned()],
            identities: Vec::new(),
            audit: vec![ActResponse::example()],
        }
    }
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Me")]
impl Api {
    /// Read your account
    ///
    /// Returns the user that the credential belongs to. The flags are those in the database, so a change within the
    /// last second shows even with an old token.
    #[oai(path = "/users/me", method = "get", operation_id = "read_me")]
    async fn read_me(&self, caller: UserCaller) -> Result<Written<UserResponse>> {
        Ok(Written(UserResponse::from(caller.user())))
    }

    /// Change your account
    ///
    /// Changes the name, surname, web page, language, e-mail address or password of the caller and returns the user. A new
    /// address or password requires a fresh token. A new address is not verified. A new password ends all other
    /// sessions and revokes all access tokens, including the one in this request. The current session continues with
    /// its refresh token.
    ///
    /// With `REQUIRE_VERIFICATION`, a new address takes effect when it is confirmed. Until then the user keeps the
    /// present address, and the answer has the new one as `pending_email`. To confirm it, send the token in the mail to
    /// the new address to `POST /auth/verify`. Another new address replaces it.
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
        // Without a new address there is no mail and so no code.
        let client = update.email.as_ref().and_then(|_| client.keep());
        let (user, new) = super::change(&app, &caller, update, device.clone(), client).await?;
        // A browser has no refresh token to continue with.
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

    /// Cancel your new address
    ///
    /// Cancels a new e-mail address that is not confirmed yet.
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

    /// Cancel links to previous addresses
    ///
    /// Cancels the links with which previous addresses of the caller can take the account back within 72 hours, and
    /// informs those addresses. Requires a fresh token.
    ///
    /// With the `token` of a link, that link is cancelled at once. Without it, links are cancelled whose change was at
    /// least a day ago. The session must have begun 72 hours before the change, and the address of the account must be
    /// verified.
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

    /// Delete your account
    ///
    /// Deletes the caller with all sessions and API tokens. Requires a fresh token. The last superuser cannot be
    /// deleted.
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

    /// Export your account
    ///
    /// Returns everything that is stored about the caller: profile, sessions, API tokens, previous addresses and audit
    /// entries. Requires a fresh token. A caller can run one export at a time and begin a few in an hour. The answer is
    /// sent while it is read. If it breaks off, the last chunk is missing.
    #[oai(path = "/users/me/export", method = "post", operation_id = "export_me")]
    async fn export_me(&self, app: Data<&App>, caller: UserCaller) -> Result<Download> {
        Ok(Download(super::export(&app, &caller).await?))
    }
}
