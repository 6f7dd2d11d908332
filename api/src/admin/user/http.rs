//! `/users` and `/users/{id}`

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

/// The refusals of each operation, for the documents.
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

/// What a superuser changes of a user. What is missing stays.
#[derive(Object)]
#[oai(example)]
struct UpdateUserRequest {
    /// A new e-mail address. It is not verified, unless `is_verified` says so.
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// A new password: it ends every session of theirs.
    #[oai(skip_serializing_if_is_none)]
    password: Option<String>,
    /// Whether they may sign in; being made inactive ends every session of theirs.
    #[oai(skip_serializing_if_is_none)]
    is_active: Option<bool>,
    /// Whether they may do what superusers may.
    #[oai(skip_serializing_if_is_none)]
    is_superuser: Option<bool>,
    /// Whether the address was shown to be theirs.
    #[oai(skip_serializing_if_is_none)]
    is_verified: Option<bool>,
    /// What they may do, beside what superusers may: `["authenticated"]` for most.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
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

/// Some users.
#[derive(Object)]
#[oai(rename = "Users", example)]
struct UsersResponse {
    /// By e-mail address.
    items: Vec<UserResponse>,
    /// What to give as `after` for more; null when there are none.
    next: Option<String>,
}

impl Example for UsersResponse {
    fn example() -> Self {
        Self { items: vec![UserResponse::example()], next: None }
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
    /// Who is registered
    ///
    /// By e-mail address; with `q`, those whose address, name or surname contains it, without case.
    #[oai(path = "/users", method = "get", operation_id = "list_users")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// What to look for.
        q: Query<Option<String>>,
        /// At most so many, 20 if not given; less than 1 is taken for 1, more than 100 for 100.
        limit: Query<Option<u64>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// Those who may sign in, or may not.
        is_active: Query<Option<bool>>,
        /// Superusers, or the others.
        is_superuser: Query<Option<bool>>,
        /// Those whose address was shown to be theirs, or was not.
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

    /// Who is this
    #[oai(path = "/users/:id", method = "get", operation_id = "read_user")]
    async fn read(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The user's id.
        id: Path<String>,
    ) -> Result<Json<UserResponse>> {
        Ok(Json(UserResponse::from(&super::read(&app, &id).await?)))
    }

    /// What is kept of a user
    ///
    /// Everything: what they say of themself, sessions, those that ended too, API tokens, and what was
    /// done by them and on them. A superuser has one export running at a time. The answer is sent as it is
    /// read: one that breaks off has no end.
    #[oai(path = "/users/:id/export", method = "post", operation_id = "export_user")]
    async fn export(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The user's id.
        id: Path<String>,
    ) -> Result<Download> {
        Ok(Download(super::export(&app, &superuser, &id).await?))
    }

    /// Change a user
    ///
    /// Also their flags and scopes. A session requires that its password was given a short time ago: otherwise it
    /// gets 403 `FRESH_TOKEN_REQUIRED`, and its user gives the password to `/auth/jwt/fresh`. API tokens with the scope
    /// `super` do not, but for the address and the password of their own owner. It takes effect with the user's next
    /// request, whatever token they have. Whoever loses a scope or a flag gets new access tokens by a refresh: the
    /// old ones are revoked. The last superuser who may sign in stays one.
    #[oai(path = "/users/:id", method = "patch", operation_id = "update_user")]
    async fn update(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The user's id.
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
    /// With their sessions and API tokens. A session requires that its password was given a short time ago. The last
    /// superuser who may sign in stays.
    #[oai(path = "/users/:id", method = "delete", operation_id = "delete_user")]
    async fn delete(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The user's id.
        id: Path<String>,
    ) -> Result<EmptyResponse> {
        super::delete(&app, &superuser, &id).await?;
        Ok(EmptyResponse::NoContent)
    }
}
