//! The operations `/users` and `/users/{id}…`.

use poem::http::header;
use poem::web::Data;
use poem::{IntoResponse, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::{Listed, NewUser, UserUpdate, UsersTable};
use crate::access::caller::Superuser;
use crate::admin::invitation;
use crate::admin::invitation::http::InvitationResponse;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::identity::factor::Password;
use crate::identity::invitation::Prepared;
use crate::identity::user::http::UserResponse;
use crate::identity::user::{Changes, Email, Filter, Language, Profile, User, Website};
use crate::self_service::account::download::{Download, Writer, written};

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("list_users", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent]),
    (
        "export_users",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
    (
        "create_user",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::RegisterUserAlreadyExists,
            Code::RegisterInvalidPassword,
            Code::InvitationAlreadyExists,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
            Code::ServiceBusy,
        ],
    ),
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

/// The type of the body with a table.
const TABLE: &str = "text/csv; charset=utf-8";

/// A user to create or to invite. Unknown members are ignored.
#[derive(Object)]
#[oai(example)]
struct CreateUserRequest {
    /// The e-mail address, with which the user signs in.
    email: String,
    /// The password. Without it, the person gets an invitation by mail and chooses the password.
    #[oai(skip_serializing_if_is_none)]
    password: Option<String>,
    /// `true` for a superuser. Default: `false`.
    #[oai(skip_serializing_if_is_none)]
    is_superuser: Option<bool>,
    /// `false` if the user must still verify the address, with a mail. Default: `true`. It has no effect on an
    /// invitation, whose link verifies the address.
    #[oai(skip_serializing_if_is_none)]
    is_verified: Option<bool>,
    /// The scopes, without those that superusers have in any case. Default: `["authenticated"]`.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
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

impl Example for CreateUserRequest {
    fn example() -> Self {
        Self {
            email: "second@user.com".to_owned(),
            password: None,
            is_superuser: None,
            is_verified: None,
            scopes: Some(vec!["authenticated".to_owned()]),
            name: None,
            surname: None,
            website: None,
            language: None,
        }
    }
}

impl Input for CreateUserRequest {
    type Parsed = (Prepared, Option<Password>, bool);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let email = fields.required("email").and_then(|text| fields.email::<Email>("email", &text));
        let password = fields.optional("password").map(Password::new);
        let superuser = fields.optional_flag("is_superuser");
        let verified = fields.optional_flag("is_verified");
        let scopes = fields.scopes("scopes");
        let (name, surname) = (fields.person("name"), fields.person("surname"));
        let website = fields.maybe_parsed::<Website>("website");
        let language = fields.maybe_parsed::<Language>("language");
        let profile = Profile {
            name: name?.value(),
            surname: surname?.value(),
            website: website?.value(),
            language: language?.value(),
        };
        let prepared = Prepared {
            email: email?,
            profile,
            granted: scopes?.unwrap_or_else(User::default_scopes),
            is_superuser: superuser?.unwrap_or(false),
        };
        Some((prepared, password, verified?.unwrap_or(true)))
    }
}

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
    /// The language of mails and pages: a tag, such as `de` or `pt-BR`. `null` or an empty text removes it.
    #[oai(skip_serializing_if_is_none)]
    language: Option<String>,
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
            language: None,
        }
    }
}

impl Input for UpdateUserRequest {
    type Parsed = UserUpdate;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let email = fields.optional("email").map(|text| fields.email("email", &text));
        let password = fields.optional("password").map(Password::new);
        let (active, superuser) =
            (fields.optional_flag("is_active"), fields.optional_flag("is_superuser"));
        let verified = fields.optional_flag("is_verified");
        let scopes = fields.scopes("scopes");
        let (name, surname) = (fields.person("name"), fields.person("surname"));
        let website = fields.maybe_parsed("website");
        let language = fields.maybe_parsed("language");
        let email = match email {
            Some(email) => Some(email?),
            None => None,
        };
        let changes = Changes {
            email: None,
            hash: None,
            name: name?,
            surname: surname?,
            website: website?,
            language: language?,
            is_active: active?,
            is_superuser: superuser?,
            is_verified: verified?,
            granted: scopes?,
        };
        Some(UserUpdate { email, changes, password, regrant: None })
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

/// A table of users that is sent while it is read.
pub(crate) struct TableResponse(pub(crate) UsersTable);

impl IntoResponse for TableResponse {
    fn into_response(self) -> Response {
        let Self(mut table) = self;
        let body = written(String::new(), async move |mut writer: Writer| {
            while let Some(lines) = table.read().await.map_err(|error| error.to_string())? {
                writer.put(&lines).await?;
            }
            writer.end().await
        });
        Response::builder()
            .header(header::CONTENT_TYPE, TABLE)
            .header(header::CONTENT_DISPOSITION, "attachment; filename=\"users.csv\"")
            .body(body)
    }
}

impl ApiResponse for TableResponse {
    fn meta() -> MetaResponses {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let content = vec![MetaMediaType { content_type: TABLE, schema }];
        let response = MetaResponse {
            description: "The users, with the names of the columns in the first line.",
            status: Some(200),
            status_range: None,
            content,
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(_: &mut Registry) {}
}

#[derive(ApiResponse)]
enum CreateResponse {
    /// The user, who can sign in with the password.
    #[oai(status = 201)]
    Created(Json<UserResponse>),
    /// The invitation. The user exists after the person accepts it.
    #[oai(status = 202)]
    Invited(Json<InvitationResponse>),
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
    /// case, and users who had this id in the system that they were imported from. The three flags are filters. Requires the scope `super`.
    #[oai(path = "/users", method = "get", operation_id = "list_users")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// A part of the e-mail address, name or surname, or the id that a user had elsewhere.
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
        let next = users.next(|last| last.user.email.clone());
        let items = users.items.into_iter().map(|Listed { user, dates, external_id }| {
            UserResponse::with_dates(&user, dates).with_external_id(external_id)
        });
        Ok(Json(UsersResponse { items: items.collect(), next }))
    }

    /// Export the list of users
    ///
    /// Returns all users as comma-separated values (RFC 4180), ordered by e-mail address. The parameters are the filters
    /// of `GET /users`. A cell that a spreadsheet would take for a formula begins with an apostrophe. The answer is sent
    /// while it is read, and the audit records the export. A superuser can run one export at a time.
    ///
    /// Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/users/export", method = "post", operation_id = "export_users")]
    async fn table(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// A part of the e-mail address, name or surname, or the id that a user had elsewhere.
        q: Query<Option<String>>,
        /// `true` for users who may sign in, `false` for those who may not. Default: both.
        is_active: Query<Option<bool>>,
        /// `true` for superusers, `false` for other users. Default: both.
        is_superuser: Query<Option<bool>>,
        /// `true` for users whose address is verified, `false` for the others. Default: both.
        is_verified: Query<Option<bool>>,
    ) -> Result<TableResponse> {
        let filter = Filter {
            contains: q.0,
            is_active: is_active.0,
            is_superuser: is_superuser.0,
            is_verified: is_verified.0,
        };
        Ok(TableResponse(super::table(&app, &superuser, filter).await?))
    }

    /// Create or invite a user
    ///
    /// With a password, creates the user, who can sign in with it. Without a password, invites the person: a mail with a
    /// link is sent to the address, and the person chooses the password on the page of the link. The link works once,
    /// within a week. The person gets the scopes of the invitation, if the inviter is still a superuser then. An
    /// account that somebody registered with the address without proving it does not prevent an invitation.
    ///
    /// Works with every value of `REGISTRATION`. One account can send 100 invitations, and then one after another with
    /// pauses. Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/users", method = "post", operation_id = "create_user")]
    async fn create(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<CreateUserRequest>,
    ) -> Result<CreateResponse> {
        let (prepared, password, is_verified) = body.0;
        Ok(match password {
            Some(password) => {
                let new = NewUser { prepared, password, is_verified };
                let user = super::create(&app, &superuser, new).await?;
                CreateResponse::Created(Json(UserResponse::from(&user)))
            }
            None => {
                let listed = invitation::invite(&app, &superuser, prepared).await?;
                CreateResponse::Invited(Json(InvitationResponse::from(&listed)))
            }
        })
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
        let user = super::read(&app, &id).await?;
        let external_id = super::external_id(&app, user.id).await?;
        Ok(Json(UserResponse::from(&user).with_external_id(external_id)))
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
        let user = super::change(&app, &superuser, &id, body.0).await?;
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
