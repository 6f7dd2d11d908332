//! The operation `/admin/import`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{Imported, MAX_AT_ONCE, Outcome};
use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::identity::user::{PasswordHash, Profile, Website};

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[(
    "import_users",
    &[
        Code::Unauthorized,
        Code::Forbidden,
        Code::FreshProofRequired,
        Code::UnsupportedMediaType,
        Code::UnprocessableContent,
        Code::TooManyAttempts,
    ],
)];

/// A user from elsewhere.
#[derive(Object)]
#[oai(rename = "ImportedUser", example)]
struct ImportedUser {
    /// The id of the user. Default: a new one.
    #[oai(skip_serializing_if_is_none)]
    id: Option<String>,
    /// The e-mail address.
    email: String,
    /// The hash of the password: bcrypt, argon2, PBKDF2 with SHA-256 or scrypt, in the format of FastAPI Users,
    /// passlib, Django or Werkzeug.
    hashed_password: String,
    /// `true` if the user may sign in. Default: `true`.
    #[oai(skip_serializing_if_is_none)]
    is_active: Option<bool>,
    /// `true` if the user becomes a superuser. Default: `false`.
    #[oai(skip_serializing_if_is_none)]
    is_superuser: Option<bool>,
    /// `true` if the address is verified. Default: `false`.
    #[oai(skip_serializing_if_is_none)]
    is_verified: Option<bool>,
    /// The name.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The surname.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// The web page.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
    /// The scopes. Default: `["authenticated"]`.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
}

impl Example for ImportedUser {
    fn example() -> Self {
        Self {
            id: Some("56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned()),
            email: "first@user.com".to_owned(),
            hashed_password: "$argon2id$v=19$m=65536,t=3,p=4$skAGFaiNtPdukRRgLHkrzA$\
                              xhOrHBuGeLvP2OkpN/BDiCfg+za5i9CUwjy6N+H4B2Q"
                .to_owned(),
            is_active: None,
            is_superuser: None,
            is_verified: Some(true),
            name: None,
            surname: None,
            website: None,
            scopes: None,
        }
    }
}

/// Users from elsewhere.
#[derive(Object)]
#[oai(example)]
struct ImportRequest {
    /// The users, at most 500.
    users: Vec<ImportedUser>,
    /// `true` to return the results and create nothing. Default: `false`.
    #[oai(skip_serializing_if_is_none)]
    dry_run: Option<bool>,
}

impl Example for ImportRequest {
    fn example() -> Self {
        Self { users: vec![ImportedUser::example()], dry_run: Some(true) }
    }
}

impl Input for ImportRequest {
    type Parsed = (Vec<Imported>, bool);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let dry_run = fields.flag("dry_run");
        let users = fields.objects("users", MAX_AT_ONCE)?;
        let mut imported = Vec::new();
        for (place, user) in users.into_iter().enumerate() {
            imported.push(fields.within("users", place, user, imported_of)?);
        }
        Some((imported, dry_run?))
    }
}

fn imported_of(fields: &mut Fields) -> Option<Imported> {
    let id = fields.optional("id").map(|id| fields.uuid("id", &id));
    let email = fields.required("email");
    let hash = fields.required("hashed_password");
    let is_active = fields.optional_flag("is_active");
    let is_superuser = fields.optional_flag("is_superuser");
    let is_verified = fields.optional_flag("is_verified");
    let (name, surname) = (fields.person("name"), fields.person("surname"));
    let website = fields.maybe_parsed::<Website>("website");
    let scopes = fields.scopes("scopes");
    let id = match id {
        Some(id) => Some(id?),
        None => None,
    };
    Some(Imported {
        id,
        email: email?,
        hash: PasswordHash::new(hash?),
        is_active: is_active?.unwrap_or(true),
        is_superuser: is_superuser?.unwrap_or(false),
        is_verified: is_verified?.unwrap_or(false),
        profile: Profile {
            name: name?.value(),
            surname: surname?.value(),
            website: website?.value(),
        },
        scopes: scopes?,
    })
}

/// The result for one user.
#[derive(Object)]
#[oai(rename = "ImportOutcome", example)]
struct OutcomeResponse {
    /// `created`; `known` if a user with this address or id existed already; or `refused`.
    outcome: String,
    /// The id of the user, if they were created.
    #[oai(skip_serializing_if_is_none)]
    id: Option<String>,
    /// The reason, if the user was refused.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
}

impl Example for OutcomeResponse {
    fn example() -> Self {
        let id = "56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned();
        Self { outcome: "created".to_owned(), id: Some(id), reason: None }
    }
}

impl From<Outcome> for OutcomeResponse {
    fn from(outcome: Outcome) -> Self {
        let (outcome, id, reason) = match outcome {
            Outcome::Created(id) => ("created", Some(id.to_string()), None),
            Outcome::Known => ("known", None, None),
            Outcome::Refused(reason) => ("refused", None, Some(reason.to_owned())),
        };
        Self { outcome: outcome.to_owned(), id, reason }
    }
}

/// The results of an import.
#[derive(Object)]
#[oai(rename = "ImportResult", example)]
struct ImportResponse {
    /// The result for each user, in the order of the request.
    outcomes: Vec<OutcomeResponse>,
}

impl Example for ImportResponse {
    fn example() -> Self {
        Self { outcomes: vec![OutcomeResponse::example()] }
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Import users
    ///
    /// Imports users with the hashes of their passwords. Each signs in with their previous password; then Tessera
    /// replaces the hash with one of its own. Users that exist already are not changed.
    ///
    /// Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`). This applies
    /// to a dry run too.
    #[oai(path = "/admin/import", method = "post", operation_id = "import_users")]
    async fn import(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<ImportRequest>,
    ) -> Result<Json<ImportResponse>> {
        let (users, dry_run) = body.0;
        let outcomes = super::import(&app, &superuser, users, dry_run).await?;
        Ok(Json(ImportResponse { outcomes: outcomes.into_iter().map(Into::into).collect() }))
    }
}
