//! The formats of `tessera import`, and how they are recognised.

use clap::ValueEnum;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The table `user` of FastAPI Users
    FastapiUsers,
    /// `manage.py dumpdata auth.user`, or the table `auth_user`
    Django,
    /// An export of a realm with its users
    Keycloak,
    /// JSON lines, with `passwordHash` if the support exported them
    Auth0,
    /// The table `auth.users`
    Supabase,
    /// Users as CSV or JSON
    Okta,
    /// The table `users`
    Laravel,
    /// `firebase auth:export users.json`, without passwords
    Firebase,
    /// Lines of an address, a colon and a hash
    Htpasswd,
    /// Comma-separated values with columns such as email, hashed_password
    Csv,
    /// JSON with the same fields
    Jsonl,
    /// JSON or CSV with email, salt and hash: PBKDF2 with SHA-256
    Session,
}

/// The form of a file or a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Json,
    Csv,
    Htpasswd,
    Sqlite,
    Postgres,
}

impl Medium {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Csv => "comma-separated values",
            Self::Htpasswd => "a file of Apache",
            Self::Sqlite => "a SQLite database",
            Self::Postgres => "a PostgreSQL database",
        }
    }
}

/// The formats and their descriptions, for the help.
pub(super) fn described() -> String {
    let formats = Format::value_variants().iter().filter_map(Format::to_possible_value);
    let described = formats.map(|format| {
        let help = format.get_help().map(ToString::to_string).unwrap_or_default();
        format!("  {:<14}{help}\n", format.get_name())
    });
    std::iter::once("Formats:\n".to_owned()).chain(described).collect()
}

impl Format {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The table that usually has the users.
    pub(super) fn table(self) -> Option<&'static str> {
        match self {
            Self::FastapiUsers => Some("user"),
            Self::Django => Some("auth_user"),
            Self::Supabase => Some("auth.users"),
            Self::Laravel => Some("users"),
            _ => None,
        }
    }

    fn media(self) -> &'static [Medium] {
        use Medium::{Csv, Htpasswd, Json, Postgres, Sqlite};
        match self {
            Self::FastapiUsers | Self::Django | Self::Laravel => &[Json, Csv, Sqlite, Postgres],
            Self::Supabase => &[Json, Csv, Postgres],
            Self::Keycloak | Self::Firebase | Self::Jsonl => &[Json],
            Self::Auth0 | Self::Okta | Self::Session => &[Json, Csv],
            Self::Htpasswd => &[Htpasswd],
            Self::Csv => &[Csv, Sqlite, Postgres],
        }
    }

    /// Fails if users of this format never come in this form.
    ///
    /// # Errors
    ///
    /// A sentence that says in which form they come.
    pub(super) fn require(self, medium: Medium) -> Result<(), String> {
        if self.media().contains(&medium) {
            return Ok(());
        }
        let media: Vec<_> = self.media().iter().map(|medium| medium.name()).collect();
        let (name, has, is) = (self.name(), media.join(" or "), medium.name());
        Err(format!("the format {name} is {has}, but this is {is}: give --format another value"))
    }

    /// Recognises the format by the members of a record, or the columns of a table. Returns `None` if it is not clear.
    pub(super) fn of_record(members: &Map<String, Value>, medium: Medium) -> Option<Self> {
        let has = |names: &[&str]| names.iter().all(|name| members.contains_key(*name));
        let has_one = |names: &[&str]| names.iter().any(|name| members.contains_key(*name));
        let is_auth0 = |id: &Value| id.as_str().is_some_and(|id| id.starts_with("auth0|"));
        let plain = if medium == Medium::Csv { Self::Csv } else { Self::Jsonl };
        match () {
            () if has(&["model", "fields"]) => Some(Self::Django),
            () if has(&["password", "username"]) && has_one(&["is_staff", "date_joined"]) => {
                Some(Self::Django)
            }
            () if has_one(&["createdTimestamp", "requiredActions", "realmRoles"]) => {
                Some(Self::Keycloak)
            }
            () if has(&["localId"]) => Some(Self::Firebase),
            () if has(&["encrypted_password"])
                && has_one(&["instance_id", "raw_user_meta_data", "email_confirmed_at"]) =>
            {
                Some(Self::Supabase)
            }
            () if has(&["passwordHash.algorithm"]) || has(&["profile", "credentials"]) => {
                Some(Self::Okta)
            }
            () if members.get("_id").is_some_and(|id| id["$oid"].is_string())
                || members.get("user_id").is_some_and(is_auth0) =>
            {
                Some(Self::Auth0)
            }
            () if has(&["password"]) && has_one(&["email_verified_at", "remember_token"]) => {
                Some(Self::Laravel)
            }
            () if has(&["salt"]) && has_one(&["hash", "password_hash", "key"]) => {
                Some(Self::Session)
            }
            () if has(&["email"]) => Some(plain),
            () => None,
        }
    }
}
