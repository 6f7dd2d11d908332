//! The operations `/admin/invitations…`.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Listed;
use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::identity::invitation::Invitation;
use crate::identity::user::Profile;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("list_invitations", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent]),
    (
        "resend_invitation",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::NotFound,
            Code::RegisterUserAlreadyExists,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    (
        "withdraw_invitation",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::NotFound,
            Code::TooManyAttempts,
        ],
    ),
];

/// An invitation that was not accepted yet. Its link is only in the mail.
#[derive(Object)]
#[oai(rename = "Invitation", example)]
pub(crate) struct InvitationResponse {
    /// The id of the invitation.
    id: String,
    /// The e-mail address that is invited.
    email: String,
    /// `pending`; `expired`; `inviter-left` if the inviter is no superuser any more; or `has-account` if the address
    /// has an account. Only the link of a pending invitation works.
    state: String,
    /// The name that the account gets, if there is one. The person can change it.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The surname that the account gets, if there is one. The person can change it.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// The web page that the account gets, if there is one.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
    /// The language of the mail and of the account, if one was chosen.
    #[oai(skip_serializing_if_is_none)]
    language: Option<String>,
    /// The scopes that the account gets.
    scopes: Vec<String>,
    /// `true` if the account becomes a superuser's.
    is_superuser: bool,
    /// The e-mail address of the superuser who sent the mail last, or `operator`.
    invited_by: String,
    /// The time of creation, in seconds since the epoch.
    created: u64,
    /// The time when the mail was sent last, in seconds since the epoch.
    sent: u64,
    /// The time when the link expires, in seconds since the epoch.
    expires: u64,
}

impl Example for InvitationResponse {
    fn example() -> Self {
        Self {
            id: "0b9a3f5e-5a1d-4f0a-9a51-5d2f7c1f3a11".to_owned(),
            email: "second@user.com".to_owned(),
            state: "pending".to_owned(),
            name: None,
            surname: None,
            website: None,
            language: None,
            scopes: vec!["authenticated".to_owned()],
            is_superuser: false,
            invited_by: "first@user.com".to_owned(),
            created: 1_795_306_672,
            sent: 1_795_306_672,
            expires: 1_795_911_472,
        }
    }
}

impl From<&Listed> for InvitationResponse {
    fn from(listed: &Listed) -> Self {
        let Listed { invitation, state, by } = listed;
        let Invitation {
            id,
            email,
            profile: Profile { name, surname, website, language },
            granted,
            is_superuser,
            inviter: _,
            invited_by: _,
            created,
            sent,
            expires,
        } = invitation;
        Self {
            id: id.to_string(),
            email: email.clone(),
            state: state.name().to_owned(),
            name: name.clone(),
            surname: surname.clone(),
            website: website.as_ref().map(|website| website.as_str().to_owned()),
            language: language.clone().map(String::from),
            scopes: granted.words(),
            is_superuser: *is_superuser,
            invited_by: by.clone(),
            created: created.seconds(),
            sent: sent.seconds(),
            expires: expires.seconds(),
        }
    }
}

/// A page of invitations.
#[derive(Object)]
#[oai(rename = "Invitations", example)]
struct InvitationsResponse {
    /// The invitations, ordered by e-mail address.
    items: Vec<InvitationResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
    next: Option<String>,
}

impl Example for InvitationsResponse {
    fn example() -> Self {
        Self { items: vec![InvitationResponse::example()], next: None }
    }
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// List invitations
    ///
    /// Returns the invitations that were not accepted, ordered by e-mail address. Expired ones are listed for 30 days.
    /// `POST /users` without a password makes an invitation. Requires the scope `super`.
    #[oai(path = "/admin/invitations", method = "get", operation_id = "list_invitations")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
        after: Query<Option<String>>,
    ) -> Result<Json<InvitationsResponse>> {
        let listed = super::list(&app, after.0.as_deref(), limit.0.unwrap_or(20)).await?;
        let next = listed.next(|last| last.invitation.email.clone());
        let items = listed.items.iter().map(InvitationResponse::from).collect();
        Ok(Json(InvitationsResponse { items, next }))
    }

    /// Send an invitation again
    ///
    /// Sends the mail again, with a new link that works for a week. The earlier link does not work any more. You become
    /// the inviter. Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(
        path = "/admin/invitations/:id/resend",
        method = "post",
        operation_id = "resend_invitation"
    )]
    async fn resend(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The id of the invitation.
        id: Path<String>,
    ) -> Result<Json<InvitationResponse>> {
        let sent = super::resend(&app, &superuser, &id).await?;
        Ok(Json(InvitationResponse::from(&sent)))
    }

    /// Withdraw an invitation
    ///
    /// Withdraws an invitation. Its link does not work any more. Requires the scope `super`, and for sessions a fresh
    /// token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/invitations/:id", method = "delete", operation_id = "withdraw_invitation")]
    async fn withdraw(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The id of the invitation.
        id: Path<String>,
    ) -> Result<EmptyResponse> {
        super::withdraw(&app, &superuser, &id).await?;
        Ok(EmptyResponse::NoContent)
    }
}
