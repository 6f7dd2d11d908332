//! The operations for verifying an address, resetting a password and restoring an address.

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
use crate::identity::user::SoughtEmail;
use crate::identity::user::http::UserResponse;
use crate::identity::verification::client::CodeClient;
use crate::identity::verification::{Proof, Purpose};
use crate::platform::audit::Actor;

const ASKING: &[Code] = &[
    Code::MailNotSetUp,
    Code::UnsupportedMediaType,
    Code::UnprocessableContent,
    Code::TooManyAttempts,
];

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("request_verify_token", ASKING),
    ("forgot_password", ASKING),
    (
        "verify_email",
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

/// Further notes on operations, for the OpenAPI document.
pub(crate) const NOTES: &[(&str, Note)] = &[
    ("request_verify_token", Note::SendsCode),
    ("forgot_password", Note::SendsCode),
    ("restore_email", Note::SendsCode),
    ("verify_email", Note::TakesCode),
    ("reset_password", Note::TakesCode),
];

/// A request for a mail.
#[derive(Object)]
#[oai(example)]
struct MailRequest {
    /// The e-mail address of the account.
    email: String,
}

impl Example for MailRequest {
    fn example() -> Self {
        Self { email: "first@user.com".to_owned() }
    }
}

impl Input for MailRequest {
    type Parsed = SoughtEmail;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<SoughtEmail> {
        let email = fields.required("email")?;
        fields.email("email", &email)
    }
}

/// The proof from a mail: the token of its link, or its code with the address that the mail was sent to.
#[derive(Object)]
#[oai(example)]
struct VerifyRequest {
    /// The token of the link. Send either this, or `email` and `code`.
    #[oai(skip_serializing_if_is_none)]
    token: Option<String>,
    /// The e-mail address that the mail was sent to. Required with `code`.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// The code in the mail: six digits. Requires the client that asked for the mail.
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

/// The proof from a mail, and the new password.
#[derive(Object)]
#[oai(example)]
struct ResetPasswordRequest {
    /// The token of the link. Send either this, or `email` and `code`.
    #[oai(skip_serializing_if_is_none)]
    token: Option<String>,
    /// The e-mail address that the mail was sent to. Required with `code`.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// The code in the mail: six digits. Requires the client that asked for the mail.
    #[oai(skip_serializing_if_is_none)]
    code: Option<String>,
    /// The new password.
    password: String,
    /// `true` to delete the user's API tokens too. Default: `false`. They are deleted in any case if the address and a
    /// password of the account were never proved together.
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
        return fields.required("token").map(|token| Proof::of_token(&token));
    }
    let (email, code) = (fields.required("email"), fields.required("code"));
    Some(Proof::of_code(email?, &code?))
}

/// The proof from the mail to a previous address.
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
    /// If the mail is for an existing account, it is sent soon. The body is always `null`.
    #[oai(status = 202)]
    Accepted(Json<Null>),
}

#[derive(ApiResponse)]
enum DoneResponse {
    /// Done. The body is always `null`.
    #[oai(status = 200)]
    Done(Json<Null>),
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Recovery")]
impl Api {
    /// Request a verification e-mail
    ///
    /// Sends a mail with a link and a code that verify the address. The answer is the same whether the address has an
    /// account or not. Another request of the same client ends the link and the code of the previous mail.
    ///
    /// The code works only in the client that asked for it: send it with the header `X-Code-Binding` of this answer, or
    /// with the cookie `tessera-code`. The link works anywhere.
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

    /// Verify an e-mail address
    ///
    /// Verifies the address with the token of the mail's link, or with the mail's code and its address. Returns the
    /// user. A code works only in the client that asked for the mail, and can be tried five times. Links and codes work
    /// once.
    ///
    /// The token of a mail to a new address (`PATCH /users/me` with `REQUIRE_VERIFICATION`) makes the new address take
    /// effect.
    ///
    /// Call this operation only for the user who registered, because anybody can register the address of another
    /// person. The page `/verify` requires the account's password or a browser that is signed in to it, or it sets a
    /// new password. An account that this operation verifies stays unclaimed: the next password that is set by mail
    /// deletes its API tokens too.
    #[oai(path = "/auth/verify", method = "post", operation_id = "verify_email")]
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

    /// Request a mail to reset the password
    ///
    /// Sends a mail with a link and a code to choose a new password. The answer is the same whether the address has an
    /// account or not. Another request of the same client ends the link and the code of the previous mail.
    ///
    /// The code works only in the client that asked for it: send it with the header `X-Code-Binding` of this answer, or
    /// with the cookie `tessera-code`. The link works anywhere.
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

    /// Reset the password
    ///
    /// Sets a new password with the token of the mail's link, or with the mail's code and its address. A code works
    /// only in the client that asked for the mail, and can be tried five times. Links and codes work once; a password
    /// that is refused does not use them up.
    ///
    /// All sessions and access tokens of the user end. API tokens are deleted if `delete_api_tokens` is `true`. They
    /// are deleted in any case if the address and a password of the account are proved together for the first time,
    /// because somebody else may have registered the address. The address is not verified by this.
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

    /// Restore a previous address
    ///
    /// Restores the e-mail address that an account had before, with the token in the mail to that address, within 72
    /// hours of the change. Returns the user. All sessions, access tokens and API tokens of the user end, and the
    /// password too. A mail follows to choose a new password.
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
