//! `/auth/verify`, `/auth/reset-password` and what leads there.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::{Ends, Evidence};
use crate::access::session::Device;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::http::null::Null;
use crate::http::openapi::Note;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::user::Email;
use crate::identity::user::http::UserResponse;
use crate::identity::verification::client::CodeClient;
use crate::identity::verification::{Proof, Purpose};
use crate::platform::audit::Actor;

const ASKING: &[Code] =
    &[Code::UnsupportedMediaType, Code::UnprocessableContent, Code::TooManyAttempts];

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("request_verify_token", ASKING),
    ("forgot_password", ASKING),
    (
        "verify",
        &[
            Code::VerifyUserBadToken,
            Code::VerifyUserAlreadyVerified,
            Code::UpdateUserEmailAlreadyExists,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    (
        "reset_password",
        &[
            Code::ResetPasswordBadToken,
            Code::ResetPasswordInvalidPassword,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    (
        "restore_email",
        &[Code::RestoreEmailBadToken, Code::UnsupportedMediaType, Code::UnprocessableContent],
    ),
];

/// What else the documents say of operations.
pub(crate) const NOTES: &[(&str, Note)] = &[
    ("request_verify_token", Note::SendsCode),
    ("forgot_password", Note::SendsCode),
    ("restore_email", Note::SendsCode),
    ("verify", Note::TakesCode),
    ("reset_password", Note::TakesCode),
];

/// Who wants a mail.
#[derive(Object)]
#[oai(example)]
struct MailRequest {
    /// The e-mail address of their account.
    email: String,
}

impl Example for MailRequest {
    fn example() -> Self {
        Self { email: "first@user.com".to_owned() }
    }
}

impl Input for MailRequest {
    type Parsed = Email;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Email> {
        let email = fields.required("email")?;
        fields.email("email", &email)
    }
}

/// What a mail brought: the token of its link; or its code, with the address it was sent to.
#[derive(Object)]
#[oai(example)]
struct VerifyRequest {
    /// The token of the link.
    #[oai(skip_serializing_if_is_none)]
    token: Option<String>,
    /// With `code`: the address the mail was sent to.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// The six digits.
    #[oai(skip_serializing_if_is_none)]
    code: Option<String>,
}

const EXAMPLE_TOKEN: &str = "0Qb5Xz1yPq7Tn3LkV9sRw2JmC6hF8gD4aE0uI5oY1tB";

impl Example for VerifyRequest {
    fn example() -> Self {
        Self { token: Some(EXAMPLE_TOKEN.to_owned()), email: None, code: None }
    }
}

impl Input for VerifyRequest {
    type Parsed = Proof;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Proof> {
        proof(fields)
    }
}

/// What a mail brought, and the password that is wanted.
#[derive(Object)]
#[oai(example)]
struct ResetPasswordRequest {
    /// The token of the link.
    #[oai(skip_serializing_if_is_none)]
    token: Option<String>,
    /// With `code`: the address the mail was sent to.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// The six digits.
    #[oai(skip_serializing_if_is_none)]
    code: Option<String>,
    /// The new password.
    password: String,
    /// Whether the user's API tokens are deleted as well; false if not given. If the address and the password were
    /// never proved together, they are deleted in any case.
    #[oai(skip_serializing_if_is_none)]
    delete_api_tokens: Option<bool>,
}

impl Example for ResetPasswordRequest {
    fn example() -> Self {
        Self {
            token: Some(EXAMPLE_TOKEN.to_owned()),
            email: None,
            code: None,
            password: "battery staple correct".to_owned(),
            delete_api_tokens: None,
        }
    }
}

impl Input for ResetPasswordRequest {
    type Parsed = (Proof, Password, Ends);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let proof = proof(fields);
        let password = fields.required("password");
        let too = fields.optional_flag("delete_api_tokens")?.unwrap_or(false);
        let ends = if too { Ends::ApiTokensToo } else { Ends::SessionsOnly };
        Some((proof?, Password::new(password?), ends))
    }
}

fn proof(fields: &mut Fields) -> Option<Proof> {
    if !fields.has("code") {
        return fields.required("token").map(Proof::Token);
    }
    let (email, code) = (fields.required("email"), fields.required("code"));
    Some(Proof::Code { email: email?, code: code?, binding: None })
}

/// What the mail to a former address brought.
#[derive(Object)]
#[oai(example)]
struct RestoreEmailRequest {
    /// The token of the link.
    token: String,
}

impl Example for RestoreEmailRequest {
    fn example() -> Self {
        Self { token: EXAMPLE_TOKEN.to_owned() }
    }
}

impl Input for RestoreEmailRequest {
    type Parsed = String;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<String> {
        fields.required("token")
    }
}

#[derive(ApiResponse)]
enum AcceptedResponse {
    /// If there is somebody it is for, a mail is on its way. Always null.
    #[oai(status = 202)]
    Accepted(Json<Null>),
}

#[derive(ApiResponse)]
enum DoneResponse {
    /// Done. Always null.
    #[oai(status = 200)]
    Done(Json<Null>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Auth")]
impl Api {
    /// Send me a mail to verify my address
    ///
    /// The answer is the same whoever has the address, and whether anybody does. Asking again with the
    /// same client ends what the mail before brought. The mail's code works only in this client: it
    /// repeats `X-Code-Binding`, or the cookie `tessera-code`. The link works anywhere.
    #[oai(
        path = "/auth/request-verify-token",
        method = "post",
        operation_id = "request_verify_token"
    )]
    async fn request_verify_token(
        &self,
        app: Data<&App>,
        ip: PeerAddress,
        client: CodeClient,
        body: Body<MailRequest>,
    ) -> Result<AcceptedResponse> {
        let (by, client) = (Actor::anybody(), client.keep());
        super::ask(&app, Purpose::Verify, body.0, by, ip.0, client).await?;
        Ok(AcceptedResponse::Accepted(Json(Null)))
    }

    /// Verify my address
    ///
    /// With the token of the mail's link; or with its code and the address it was sent to, in the client
    /// that asked for the mail. Each works once. A code may be tried five times.
    ///
    /// The token of a mail to a new address (`PATCH /users/me` if `REQUIRE_VERIFICATION` is on) has that address take over.
    ///
    /// Call this only for the person who registered: anybody can register an address of somebody else. Our page
    /// `/verify` requires the account's password or its signed-in browser, and otherwise offers to set a new password. What
    /// this operation verifies stays unclaimed: the next password that a mail sets deletes the API tokens too.
    #[oai(path = "/auth/verify", method = "post", operation_id = "verify")]
    async fn verify(
        &self,
        app: Data<&App>,
        ip: PeerAddress,
        client: CodeClient,
        body: Body<VerifyRequest>,
    ) -> Result<Json<UserResponse>> {
        let proof = body.0.shown_by(client.shown());
        let user = super::verify(&app, proof, Evidence::Nothing, ip.0).await?;
        Ok(Json(UserResponse::from(&user)))
    }

    /// Send me a mail to choose another password
    ///
    /// The answer is the same whoever has the address, and whether anybody does. Asking again with the
    /// same client ends what the mail before brought. The mail's code works only in this client: it
    /// repeats `X-Code-Binding`, or the cookie `tessera-code`. The link works anywhere.
    #[oai(path = "/auth/forgot-password", method = "post", operation_id = "forgot_password")]
    async fn forgot_password(
        &self,
        app: Data<&App>,
        ip: PeerAddress,
        client: CodeClient,
        body: Body<MailRequest>,
    ) -> Result<AcceptedResponse> {
        let (by, client) = (Actor::anybody(), client.keep());
        super::ask(&app, Purpose::ResetPassword, body.0, by, ip.0, client).await?;
        Ok(AcceptedResponse::Accepted(Json(Null)))
    }

    /// Choose another password
    ///
    /// With the token of the mail's link; or with its code and the address it was sent to, in the client
    /// that asked for the mail. Each works once, and a password that is refused does not use it up. A code
    /// may be tried five times. Every session and every access token of the user ends, and the address is
    /// verified. API tokens are deleted if `delete_api_tokens` says so, and in any
    /// case if this is the first time that the address is proved together with a password: somebody else may have
    /// registered it.
    #[oai(path = "/auth/reset-password", method = "post", operation_id = "reset_password")]
    async fn reset_password(
        &self,
        app: Data<&App>,
        device: Device,
        client: CodeClient,
        body: Body<ResetPasswordRequest>,
    ) -> Result<DoneResponse> {
        let (proof, password, ends) = body.0;
        let proof = proof.shown_by(client.shown());
        super::reset_password(&app, proof, password, ends, device).await?;
        Ok(DoneResponse::Done(Json(Null)))
    }

    /// Take back an address that was changed
    ///
    /// With the token that was mailed to the former address, within 72 hours. Ends every session,
    /// every access token and every API token of the user, and their password: a mail follows with which to
    /// choose another.
    #[oai(path = "/auth/restore-email", method = "post", operation_id = "restore_email")]
    async fn restore_email(
        &self,
        app: Data<&App>,
        device: Device,
        client: CodeClient,
        body: Body<RestoreEmailRequest>,
    ) -> Result<Json<UserResponse>> {
        let user = super::restore_email(&app, &body.0, device, client.keep()).await?;
        Ok(Json(UserResponse::from(&user)))
    }
}
