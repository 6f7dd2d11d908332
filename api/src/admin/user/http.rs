//! The operations `/users` and `/users/{id}…`.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::UserUpdate;
use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::identity::factor::Password;
use crate::identity::user::http::UserResponse;
use crate::identity::user::{Changes, Email, Filter};
use crate::self_service::account::download::Download;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("list_users", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent]),
    ("read_user", &[Code::Unauthorized, Code::Forbidden, Code::NotFound]),
    (
        "export_user",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::NotFound,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    (
        "update_user",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::NotFound,
            Code::UpdateUserEmailAlreadyExists,
            Code::UpdateUserInvalidPassword,
            Code::LastSuperuser,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    (
        "delete_user",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::NotFound,
            Code::LastSuperuser,
            Code::TooManyAttempts,
        ],
    ),
];

/// Changes to a user. Members that are missing keep their value.
#[derive(Object)]
#[oai(example)]
struct UpdateUserRequest {
    /// The new e-mail address. It is not verified, unless `is_verified` is `true`.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// The new password. It ends every session of the user.
    #[oai(skip_serializing_if_is_none)]
    password: Option<String>,
    /// `true` if the user may sign in. `false` ends every session of the user.
    #[oai(skip_serializing_if_is_none)]
    is_active: Option<bool>,
    /// `true` if the user is a superuser.
    #[oai(skip_serializing_if_is_none)]
    is_superuser: Option<bool>,
    /// `true` if the address is verified.
    #[oai(skip_serializing_if_is_none)]
    is_verified: Option<bool>,
    /// The scopes, without those that superusers have in any case. `["authenticated"]` for most users.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
    /// The name, up to 100 characters. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The surname, up to 100 characters. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// The web page: a URL of up to 256 characters. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
}

impl Example for UpdateUserRequest {
    fn example() -> Self {
        Self {
            email: None,
            password: None,
            is_active: Some(false),
            is_superuser: None,
            is_verified: None,
            scopes: None,
            name: None,
            surname: None,
            website: None,
        }
    }
}

impl Input for UpdateUserRequest {
    type Parsed = (Changes, Option<Password>);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let email = fields.optional("email").map(|text| fields.email::<Email>("email", &text));
        let password = fields.optional("password").map(Password::new);
        let (active, superuser) =
            (fields.optional_flag("is_active"), fields.optional_flag("is_superuser"));
        let verified = fields.optional_flag("is_verified");
        let scopes = fields.scopes("scopes");
        let (name, surname) = (fields.person("name"), fields.person("surname"));
        let website = fields.maybe_parsed("website");
        let email = match email {
            Some(email) => Some(email?),
            None => None,
        };
        let changes = Changes {
            email,
            hash: None,
            name: name?,
            surname: surname?,
            website: website?,
            is_active: active?,
            is_superuser: superuser?,
            is_verified: verified?,
            granted: scopes?,
        };
        Some((changes, password))
    }
}

/// A page of users.
#[derive(Object)]
#[oai(rename = "Users", example)]
struct UsersResponse {
    /// The users, ordered by e-mail address.
    items: Vec<UserResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
    next: Option<String>,
}

impl Example for UsersResponse {
    fn example() -> Self {
        Self { items: vec![UserResponse::example()], next: None }
    }
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Users")]
impl Api {
    /// List users
    ///
    /// Returns users, ordered by e-mail address. `q` finds a part of the address, name or surname, in upper or lower
    /// case. The three flags are filters. Requires the scope `super`.
    #[oai(path = "/users", method = "get", operation_id = "list_users")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// A part of the e-mail address, name or surname.
        q: Query<Option<String>>,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
        after: Query<Option<String>>,
        /// `true` for users who may sign in, `false` for those who may not. Default: both.
        is_active: Query<Option<bool>>,
        /// `true` for superusers, `false` for other users. Default: both.
        is_superuser: Query<Option<bool>>,
        /// `true` for users whose address is verified, `false` for the others. Default: both.
        is_verified: Query<Option<bool>>,
    ) -> Result<Json<UsersResponse>> {
        let (after, limit) = (after.0.as_deref(), limit.0.unwrap_or(20));
        let filter = Filter {
            contains: q.0,
            is_active: is_active.0,
            is_superuser: is_superuser.0,
            is_verified: is_verified.0,
        };
        let users = super::list(&app, filter, after, limit).await?;
        let next = users.next(|last| last.email.clone());
        Ok(Json(UsersResponse {
            items: users.items.iter().map(UserResponse::from).collect(),
            next,
        }))
    }

    /// Read a user
    ///
    /// Returns the user with this id. Requires the scope `super`.
    #[oai(path = "/users/:id", method = "get", operation_id = "read_user")]
    async fn read(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The id of the user.
        id: Path<String>,
    ) -> Result<Json<UserResponse>> {
        Ok(Json(UserResponse::from(&super::read(&app, &id).await?)))
    }

    /// Export a user
    ///
    /// Returns everything that is stored about a user: profile, sessions, API tokens, previous addresses and audit
    /// entries. A superuser can run one export at a time. The answer is sent while it is read. If it breaks off, the
    /// last chunk is missing.
    ///
    /// Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/users/:id/export", method = "post", operation_id = "export_user")]
    async fn export(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The id of the user.
        id: Path<String>,
    ) -> Result<Download> {
        Ok(Download(super::export(&app, &superuser, &id).await?))
    }

    /// Change a user
    ///
    /// Changes a user, including their flags and scopes, and returns the user. The change takes effect within a second,
    /// for all tokens of the user. If the user loses a scope or stops being a superuser, their access tokens are
    /// revoked; a refresh returns new ones. The last superuser who can sign in cannot be demoted or deactivated.
    ///
    /// Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`): send the
    /// password to `POST /auth/jwt/fresh` to get one. API tokens with the scope `super` need none, but cannot change
    /// the address or the password of their own owner.
    #[oai(path = "/users/:id", method = "patch", operation_id = "update_user")]
    async fn update(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The id of the user.
        id: Path<String>,
        body: Body<UpdateUserRequest>,
    ) -> Result<Json<UserResponse>> {
        let (changes, password) = body.0;
        let update = UserUpdate { changes, password, ..UserUpdate::default() };
        let user = super::change(&app, &superuser, &id, update).await?;
        Ok(Json(UserResponse::from(&user)))
    }

    /// Delete a user
    ///
    /// Deletes a user with all sessions and API tokens. The last superuser who can sign in cannot be deleted. Requires
    /// the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`). An API token cannot
    /// delete its own owner.
    #[oai(path = "/users/:id", method = "delete", operation_id = "delete_user")]
    async fn delete(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The id of the user.
        id: Path<String>,
    ) -> Result<EmptyResponse> {
        super::delete(&app, &superuser, &id).await?;
        Ok(EmptyResponse::NoContent)
    }
}
