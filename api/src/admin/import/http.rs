//! `/admin/import`

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

/// The refusals of each operation, for the documents.
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

/// Somebody who is to be a user, as they were elsewhere.
#[derive(Object)]
#[oai(rename = "ImportedUser", example)]
struct ImportedUser {
    /// Their id; a new one if not given.
    #[oai(skip_serializing_if_is_none)]
    id: Option<String>,
    /// Their e-mail address.
    email: String,
    /// Their password's hash: bcrypt, argon2, PBKDF2 with SHA-256 or scrypt, as FastAPI Users, passlib,
    /// Django and Werkzeug write them.
    hashed_password: String,
    /// Whether they may sign in; true if not given.
    #[oai(skip_serializing_if_is_none)]
    is_active: Option<bool>,
    /// Whether they may do what superusers may; false if not given.
    #[oai(skip_serializing_if_is_none)]
    is_superuser: Option<bool>,
    /// Whether the address was shown to be theirs; false if not given.
    #[oai(skip_serializing_if_is_none)]
    is_verified: Option<bool>,
    /// Their name.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// Their surname.
    #[oai(skip_serializing_if_is_none)]
    surname: Option<String>,
    /// Their page.
    #[oai(skip_serializing_if_is_none)]
    website: Option<String>,
    /// What they may do; `["authenticated"]` if not given.
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

/// Some users from elsewhere.
#[derive(Object)]
#[oai(example)]
struct ImportRequest {
    /// At most 500.
    users: Vec<ImportedUser>,
    /// Whether to say what would become of them, and change nothing.
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

/// What became of somebody.
#[derive(Object)]
#[oai(rename = "ImportOutcome", example)]
struct OutcomeResponse {
    /// `created`, `known` where there was a user with this address or id, or `refused`.
    outcome: String,
    /// The id of who was created.
    #[oai(skip_serializing_if_is_none)]
    id: Option<String>,
    /// Why somebody was refused.
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

/// What became of them.
#[derive(Object)]
#[oai(rename = "Import", example)]
struct ImportResponse {
    /// Of each, in the order they were given in.
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
    /// With the hashes of their passwords: each signs in with the password they had, and gets a hash of
    /// this service's own. Who is here already stays as they are. A session requires that its password was given a
    /// short time ago, for a dry run too.
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
