//! The operation `/admin/import`.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{Import, Imported, MAX_AT_ONCE, Outcome, Results};
use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::identity::user::imported::{MAX_EXTERNAL_ID, MAX_SOURCE};
use crate::identity::user::{Language, PasswordHash, Profile, Website};

/// The source of an import that names none.
const DEFAULT_SOURCE: &str = "import";

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
    /// The id that the user had elsewhere, if it is no UUID. Administrators see it and find the user by it.
    #[oai(skip_serializing_if_is_none)]
    external_id: Option<String>,
    /// The e-mail address.
    email: String,
    /// The hash of the password, such as bcrypt, argon2, PBKDF2 or scrypt, in the format of the program that made it.
    /// Without it, the account has no password.
    #[oai(skip_serializing_if_is_none)]
    hashed_password: Option<String>,
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
    /// The language: a tag, such as `de` or `pt-BR`.
    #[oai(skip_serializing_if_is_none)]
    language: Option<String>,
    /// The scopes. Default: `["authenticated"]`.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
    /// The time when the account was made elsewhere, in seconds since the epoch.
    #[oai(skip_serializing_if_is_none)]
    created: Option<u64>,
}

impl Example for ImportedUser {
    fn example() -> Self {
        Self {
            id: Some("56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned()),
            external_id: None,
            email: "first@user.com".to_owned(),
            hashed_password: Some(
                "$argon2id$v=19$m=65536,t=3,p=4$skAGFaiNtPdukRRgLHkrzA$\
                 xhOrHBuGeLvP2OkpN/BDiCfg+za5i9CUwjy6N+H4B2Q"
                    .to_owned(),
            ),
            is_active: None,
            is_superuser: None,
            is_verified: Some(true),
            name: None,
            surname: None,
            website: None,
            language: None,
            scopes: None,
            created: None,
        }
    }
}

/// Users from elsewhere.
#[derive(Object)]
#[oai(example)]
struct ImportRequest {
    /// The users, at most 500.
    users: Vec<ImportedUser>,
    /// The name of the system that the users come from, up to 64 characters. Ids of one system are different from ids of
    /// another. Default: `import`.
    #[oai(skip_serializing_if_is_none)]
    source: Option<String>,
    /// `true` to send a mail to the users without a password, in which they choose one. Users who were asked before get
    /// no other. Default: `false`.
    #[oai(skip_serializing_if_is_none)]
    invite: Option<bool>,
    /// `true` to return the results and create nothing. Default: `false`.
    #[oai(skip_serializing_if_is_none)]
    dry_run: Option<bool>,
}

impl Example for ImportRequest {
    fn example() -> Self {
        Self {
            users: vec![ImportedUser::example()],
            source: Some("django".to_owned()),
            invite: None,
            dry_run: Some(true),
        }
    }
}

impl Input for ImportRequest {
    type Parsed = Import;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let (dry_run, invite) = (fields.flag("dry_run"), fields.flag("invite"));
        let source = fields.optional("source").filter(|source| !source.is_empty());
        let source = source.unwrap_or_else(|| DEFAULT_SOURCE.to_owned());
        let source = fields.line("source", source, MAX_SOURCE);
        let users = fields.objects("users", MAX_AT_ONCE)?;
        let mut imported = Vec::new();
        for (place, user) in users.into_iter().enumerate() {
            imported.push(fields.within("users", place, user, imported_of)?);
        }
        Some(Import { users: imported, source: source?, invite: invite?, dry_run: dry_run? })
    }
}

fn imported_of(fields: &mut Fields) -> Option<Imported> {
    let id = fields.optional("id").map(|id| fields.uuid("id", &id));
    let email = fields.required("email");
    let external_id = fields.optional("external_id").filter(|id| !id.is_empty());
    let external_id = external_id.map(|id| fields.line("external_id", id, MAX_EXTERNAL_ID));
    let hash = fields.optional("hashed_password").filter(|hash| !hash.is_empty());
    let is_active = fields.optional_flag("is_active");
    let is_superuser = fields.optional_flag("is_superuser");
    let is_verified = fields.optional_flag("is_verified");
    let (name, surname) = (fields.person("name"), fields.person("surname"));
    let website = fields.maybe_parsed::<Website>("website");
    let language = fields.maybe_parsed::<Language>("language");
    let scopes = fields.scopes("scopes");
    let created = fields.time("created");
    let id = match id {
        Some(id) => Some(id?),
        None => None,
    };
    let external_id = match external_id {
        Some(id) => Some(id?),
        None => None,
    };
    Some(Imported {
        id,
        external_id,
        email: email?,
        hash: hash.map(PasswordHash::new),
        is_active: is_active?.unwrap_or(true),
        is_superuser: is_superuser?.unwrap_or(false),
        is_verified: is_verified?.unwrap_or(false),
        profile: Profile {
            name: name?.value(),
            surname: surname?.value(),
            website: website?.value(),
            language: language?.value(),
        },
        scopes: scopes?,
        created: created?.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000))),
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
    /// `true` if a mail asks the user to choose a password.
    #[oai(skip_serializing_if_is_none)]
    invited: Option<bool>,
    /// The reason, if the user was refused.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
}

impl Example for OutcomeResponse {
    fn example() -> Self {
        let id = "56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2".to_owned();
        Self { outcome: "created".to_owned(), id: Some(id), invited: None, reason: None }
    }
}

impl From<Outcome> for OutcomeResponse {
    fn from(outcome: Outcome) -> Self {
        let (outcome, id, invited, reason) = match outcome {
            Outcome::Created { id, invited } => ("created", Some(id.to_string()), invited, None),
            Outcome::Known { invited } => ("known", None, invited, None),
            Outcome::Refused(reason) => ("refused", None, false, Some(reason.to_owned())),
        };
        Self { outcome: outcome.to_owned(), id, invited: invited.then_some(true), reason }
    }
}

/// The results of an import.
#[derive(Object)]
#[oai(rename = "ImportResult", example)]
struct ImportResponse {
    /// The result for each user, in the order of the request.
    outcomes: Vec<OutcomeResponse>,
    /// The number of users who get no mail, because a limit of mails is reached. To ask them, send the request again
    /// later: it asks nobody twice.
    #[oai(skip_serializing_if_is_none)]
    not_invited: Option<u64>,
}

impl Example for ImportResponse {
    fn example() -> Self {
        Self { outcomes: vec![OutcomeResponse::example()], not_invited: None }
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Import users
    ///
    /// Imports users with the hashes of their passwords. Each signs in with their previous password; then Tessera
    /// replaces the hash with one of its own. A user without a hash has no password, and sets one with a mail. Users that
    /// exist already are not changed.
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
        let Results { outcomes, not_invited } = super::import(&app, &superuser, body.0).await?;
        let outcomes = outcomes.into_iter().map(Into::into).collect();
        let not_invited = (not_invited > 0).then_some(not_invited);
        Ok(Json(ImportResponse { outcomes, not_invited }))
    }
}
