//! Every setting, once: flag, environment variable, `.env` line, help text and `.env.example`.

mod document;
mod mail;
mod origin;
mod page;
pub(crate) mod secret;
mod value;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use document::{Setting, definitions, example, settings};
pub use mail::MailSettings;
pub use origin::{Origin, PublicUrl};
pub use page::{Color, Contact, PageSettings};
pub use value::{LogFormat, Migrate, Registration, Secret, SqliteSynchronous};

use clap::Args;
use clap::builder::BoolishValueParser;
use ipnet::IpNet;
use tessera_verify::SigningAlgorithm;

use crate::base::database::DatabaseUrl;
use crate::base::random;

/// The shortest secret that signs tokens outside development, in bytes (RFC 7518, section 3.2).
pub const MIN_SECRET_LENGTH: usize = 32;

/// The secret in `.env.example`, which everybody knows.
pub const EXAMPLE_SECRET: &str = "an-example-known-to-everybody-made-for-development-only";

const MAKE_SECRET: &str = "run `openssl rand -hex 32` (or `tessera secret generate`)";

/// The settings of a Tessera.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub struct Config {
    /// Development profile: weak secrets and passwords pass with a warning, and a missing
    /// APP_SECRET is made and kept beside the database
    #[arg(long = "dev", env = "TESSERA_DEV", global = true, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_value = "false", default_missing_value = "true",
          value_parser = BoolishValueParser::new())]
    pub dev: bool,

    /// The address to listen on
    #[arg(long, env = "HOST", global = true, default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// The port to listen on; 0 for any free one
    #[arg(long, env = "PORT", global = true, default_value = "8000")]
    pub port: u16,

    /// Where callers find this service: the issuer of its tokens and the base of its links. It is
    /// used in its normal form: scheme and host in lower case, without the usual port and without a slash at the end
    #[arg(
        long,
        env = "PUBLIC_URL",
        global = true,
        value_name = "URL",
        default_value = "http://localhost:8000"
    )]
    pub public_url: PublicUrl,

    /// Where users are kept: sqlite:///./relative.db, sqlite:////absolute.db or
    /// postgres://user:password@host/database
    #[arg(
        long,
        env = "DATABASE_URL",
        global = true,
        value_name = "URL",
        default_value = "sqlite:///./tessera.db"
    )]
    pub database_url: DatabaseUrl,

    /// A file that holds DATABASE_URL, and goes before it
    #[arg(long, env = "DATABASE_URL_FILE", global = true, value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,

    /// When to bring the schema up to date: at the start, never but refuse to start without, or
    /// never
    #[arg(
        long,
        env = "MIGRATE",
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub migrate: Migrate,

    /// SQLite only: full keeps every acknowledged write through a power cut; normal is faster and
    /// keeps them through a crash of the process only
    #[arg(
        long,
        env = "SQLITE_SYNCHRONOUS",
        global = true,
        value_enum,
        value_name = "HOW",
        default_value = "full"
    )]
    pub sqlite_synchronous: SqliteSynchronous,

    /// The secret that signs tokens, as raw UTF-8: outside development at least 32 bytes, and not one
    /// that is easy to guess
    #[arg(long, env = "APP_SECRET", global = true, value_name = "SECRET")]
    pub app_secret: Option<Secret>,

    /// A file that holds APP_SECRET, and goes before it
    #[arg(long, env = "APP_SECRET_FILE", global = true, value_name = "FILE")]
    pub app_secret_file: Option<PathBuf>,

    /// Former secrets, separated by commas: they still verify, and never sign
    #[arg(
        long,
        env = "APP_SECRET_PREVIOUS",
        global = true,
        value_name = "SECRETS",
        value_delimiter = ','
    )]
    pub app_secret_previous: Vec<Secret>,

    /// A file that holds APP_SECRET_PREVIOUS; those of both verify
    #[arg(long, env = "APP_SECRET_PREVIOUS_FILE", global = true, value_name = "FILE")]
    pub app_secret_previous_file: Option<PathBuf>,

    /// What access tokens are signed with: APP_SECRET itself (HS256), or keys of the database whose
    /// public part anybody may read (RS256, ES256, EdDSA)
    #[arg(
        long,
        env = "JWT_ALGORITHM",
        global = true,
        value_name = "NAME",
        default_value = "HS256",
        value_parser = value::parse_algorithm
    )]
    pub jwt_algorithm: SigningAlgorithm,

    /// The services that tokens are for: the aud claim
    #[arg(
        long,
        env = "JWT_AUDIENCE",
        global = true,
        value_name = "NAME",
        default_value = "tessera", value_parser = value::parse_audience)]
    pub jwt_audience: String,

    /// Further audiences that access tokens may be asked for, separated by commas; with HS256 each has
    /// a secret of its own, which `tessera keys derive` prints
    #[arg(
        long,
        env = "JWT_AUDIENCES",
        global = true,
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = value::parse_audience
    )]
    pub jwt_audiences: Vec<String>,

    /// How far ahead a token's iat and nbf may lie, in seconds (0 to 60): how far the clocks of
    /// replicas may differ. No leeway makes a token live longer than its exp
    #[arg(long, env = "JWT_LEEWAY", global = true, value_name = "SECONDS", default_value = "2",
          value_parser = clap::value_parser!(u64).range(0..=tessera_verify::MAX_LEEWAY))]
    pub jwt_leeway: u64,

    /// How long an access token lives, in seconds (1 to 86400)
    #[arg(long, env = "ACCESS_TOKEN_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "900", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub access_token_expires: u64,

    /// How long a refresh token lives, in seconds (1 to 31622400)
    #[arg(long, env = "REFRESH_TOKEN_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "2592000", value_parser = clap::value_parser!(u64).range(1..=31_622_400))]
    pub refresh_token_expires: u64,

    /// How long a session may last, however often it is refreshed, in seconds (1 to 315360000)
    #[arg(long, env = "SESSION_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "31622400", value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    pub session_expires: u64,

    /// How long a browser that is signed in on the pages may do nothing, in seconds (60 to 2592000)
    #[arg(long, env = "BROWSER_SESSION_IDLE_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "3600", value_parser = clap::value_parser!(u64).range(60..=2_592_000))]
    pub browser_session_idle_expires: u64,

    /// How long a browser may stay signed in on the pages, however often it is used, in seconds
    /// (60 to 31622400)
    #[arg(long, env = "BROWSER_SESSION_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "604800", value_parser = clap::value_parser!(u64).range(60..=31_622_400))]
    pub browser_session_expires: u64,

    /// How long after a password was given its access token counts as fresh, in seconds
    /// (1 to 86400)
    #[arg(long, env = "FRESH_TOKEN_EXPIRES", global = true, value_name = "SECONDS",
          default_value = "900", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub fresh_token_expires: u64,

    /// How long a spent refresh token gets its successor again, for answers that were lost, in
    /// seconds (0 to 300)
    #[arg(long, env = "REFRESH_REUSE_LEEWAY", global = true, value_name = "SECONDS",
          default_value = "10", value_parser = clap::value_parser!(u64).range(0..=300))]
    pub refresh_reuse_leeway: u64,

    /// How long an API token lives that is made without an expiry, in seconds (1 to 315360000); for
    /// ever by default
    #[arg(long, env = "API_TOKEN_EXPIRES", global = true, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    pub api_token_expires: Option<u64>,

    /// Whether revoked tokens are refused before they expire
    #[arg(long, env = "BLACKLIST_ENABLED", global = true, value_name = "BOOL", num_args = 1,
          default_value = "true", value_parser = BoolishValueParser::new())]
    pub blacklist_enabled: bool,

    /// How old the knowledge of revocations may be before every token is refused, in seconds
    /// (2 to 300)
    #[arg(long, env = "REVOCATION_MAX_STALENESS", global = true, value_name = "SECONDS",
          default_value = "5", value_parser = clap::value_parser!(u64).range(2..=300))]
    pub revocation_max_staleness: u64,

    /// The cost of a password hash, as a power of two (10 to 31; from 4 in development)
    #[arg(long, env = "BCRYPT_COST", global = true, value_name = "COST", default_value = "12",
          value_parser = clap::value_parser!(u32).range(4..=31))]
    pub bcrypt_cost: u32,

    /// The fewest characters of a password; in development fewer pass with a warning
    #[arg(long, env = "PASSWORD_MIN_LENGTH", global = true, value_name = "CHARACTERS",
          default_value = "8", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub password_min_length: u16,

    /// How hard a password must be to guess, as zxcvbn has it: 0 for any, 4 for the hardest; in
    /// development any passes
    #[arg(long, env = "PASSWORD_MIN_SCORE", global = true, value_name = "SCORE",
          default_value = "2", value_parser = clap::value_parser!(u8).range(0..=4))]
    pub password_min_score: u8,

    /// A file with stolen passwords, which nobody may choose: `tessera breach build` makes it of a list; in
    /// development they pass with a warning
    #[arg(long, env = "BREACH_FILTER", global = true, value_name = "FILE")]
    pub breach_filter: Option<PathBuf>,

    /// Whether attempts to sign in and to register, and acts of accounts, are limited; off for benchmarks
    #[arg(long, env = "RATE_LIMIT", global = true, value_name = "BOOL", num_args = 1,
          default_value = "true", value_parser = BoolishValueParser::new())]
    pub rate_limit: bool,

    /// The proxies that are believed when they say who asks (X-Forwarded-For): addresses and networks,
    /// as 10.0.0.0/8, separated by commas
    #[arg(long, env = "TRUSTED_PROXIES", global = true, value_name = "NETWORKS",
          value_delimiter = ',', value_parser = value::parse_network)]
    pub trusted_proxies: Vec<IpNet>,

    /// How mail is sent.
    #[command(flatten)]
    pub mail: MailSettings,

    /// How pages look, and what they say.
    #[command(flatten)]
    pub pages: PageSettings,

    /// Whether people may register themselves
    #[arg(
        long,
        env = "REGISTRATION",
        global = true,
        value_enum,
        value_name = "WHO",
        default_value = "open"
    )]
    pub registration: Registration,

    /// Whether only users with a verified address may sign in and act
    #[arg(long, env = "REQUIRE_VERIFICATION", global = true, value_name = "BOOL", num_args = 1,
          default_value = "false", value_parser = BoolishValueParser::new())]
    pub require_verification: bool,

    /// The origins whose pages may call this service, separated by commas, each a scheme and a
    /// host, and a port unless it is the usual one; none by default
    #[arg(
        long,
        env = "CORS_ORIGINS",
        global = true,
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<Origin>,

    /// What this replica is called among those on its database; its host and port by default
    #[arg(long, env = "REPLICA_NAME", global = true, value_name = "NAME",
          value_parser = value::parse_replica_name)]
    pub replica_name: Option<String>,

    /// A file with the milliseconds by which the clock of this process is moved: for tests, in development
    /// alone
    #[arg(long, env = "TESSERA_CLOCK_FILE", global = true, value_name = "FILE", hide = true)]
    pub clock_file: Option<PathBuf>,

    /// How log lines look: auto is pretty on a terminal and json elsewhere
    #[arg(
        long,
        env = "LOG_FORMAT",
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "auto"
    )]
    pub log_format: LogFormat,

    /// Which log lines there are: a level (error, warn, info, debug) or target=level pairs
    #[arg(long, env = "RUST_LOG", global = true, value_name = "FILTER", default_value = "info")]
    pub rust_log: String,

    /// The settings as they are shown, with where each came from; none where nobody shows them.
    #[arg(skip)]
    pub shown: Vec<Setting>,
}

/// What is wrong with the settings, and what to do about it. Never says a setting's value.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    pub(crate) fn new(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}

impl Config {
    /// Reads the files that hold secrets, and checks what settings must not be together.
    ///
    /// # Errors
    ///
    /// Names the setting that a server cannot start with, and what to do.
    pub fn complete(mut self) -> Result<Self, ConfigError> {
        // `APP_SECRET=` in an environment file means that there is none.
        self.app_secret = self.app_secret.filter(|secret| !secret.expose().is_empty());
        if let Some(file) = &self.database_url_file {
            self.database_url = read_secret_file("DATABASE_URL_FILE", file)?
                .parse()
                .map_err(|error| ConfigError(format!("DATABASE_URL_FILE: {error}")))?;
        }
        if let Some(file) = &self.app_secret_file {
            self.app_secret = Some(Secret::new(&read_secret_file("APP_SECRET_FILE", file)?));
        }
        if let Some(file) = &self.app_secret_previous_file {
            let secrets = read_secret_file("APP_SECRET_PREVIOUS_FILE", file)?;
            self.app_secret_previous.extend(secrets.split(',').map(Secret::new));
        }
        self.mail.complete()?;
        self.pages.complete();
        self.app_secret_previous.retain(|secret| !secret.expose().is_empty());
        if self.jwt_audiences.contains(&self.jwt_audience) {
            let fault =
                "JWT_AUDIENCES names JWT_AUDIENCE, whose tokens APP_SECRET signs: leave it out";
            return Err(ConfigError(fault.to_owned()));
        }
        if !self.dev && self.clock_file.is_some() {
            let fault = "TESSERA_CLOCK_FILE is set, which moves the clock for tests: unset it";
            return Err(ConfigError(fault.to_owned()));
        }
        if !self.dev && self.bcrypt_cost < 10 {
            return Err(ConfigError("BCRYPT_COST is below 10: set it to 12".to_owned()));
        }
        Ok(self)
    }

    /// The secret that signs tokens; in development one is made, and kept beside the database,
    /// where there is none.
    ///
    /// # Errors
    ///
    /// Says how to make a good secret where there is none, or a weak one outside development.
    pub fn signing_secret(&self) -> Result<Secret, ConfigError> {
        self.checked_secret(false)
    }

    /// With the secret that a development server keeps beside the database, where none is given.
    pub fn with_kept_secret(self) -> Self {
        let kept = || {
            let text = fs::read_to_string(self.database_url.secret_path()).ok()?;
            Some(Secret::new(text.trim()))
                .filter(|secret| secret.expose().len() >= MIN_SECRET_LENGTH)
        };
        let app_secret = self.app_secret.clone().or_else(kept);
        Self { app_secret, ..self }
    }

    /// With a secret, whatever it is.
    pub(crate) fn with_some_secret(self) -> Self {
        let config = self.with_kept_secret();
        if config.app_secret.is_some() {
            return config;
        }
        let mail = MailSettings { off: true, ..config.mail };
        Self { app_secret: Some(Secret::new(&random::secret())), mail, ..config }
    }

    /// Checks the secrets, and warns of what passes in development only.
    ///
    /// # Errors
    ///
    /// As [`Config::signing_secret`].
    pub fn check_secrets(&self) -> Result<(), ConfigError> {
        if !self.dev && self.public_url.is_loopback() {
            tracing::warn!("PUBLIC_URL is on localhost: set it to what callers see");
        } else if !self.dev && !self.public_url.is_https() {
            tracing::warn!(
                "PUBLIC_URL begins with http://: passwords and tokens can be read on the way; use https://"
            );
        }
        self.warn_of_mail();
        self.checked_secret(true).map(drop)
    }

    /// Checks the secrets.
    ///
    /// # Errors
    ///
    /// As [`Config::signing_secret`].
    pub(crate) fn check_secrets_quietly(&self) -> Result<(), ConfigError> {
        self.checked_secret(false).map(drop)
    }

    fn checked_secret(&self, warn: bool) -> Result<Secret, ConfigError> {
        let Some(secret) = &self.app_secret else {
            return if self.dev {
                self.kept_secret()
            } else {
                Err(ConfigError(format!(
                    "APP_SECRET is not set: {MAKE_SECRET} and set it to that, or start with --dev"
                )))
            };
        };
        for (name, secret) in std::iter::once(("APP_SECRET", secret))
            .chain(self.app_secret_previous.iter().map(|secret| ("APP_SECRET_PREVIOUS", secret)))
        {
            let unusable = secret::unusable(secret.expose());
            // A former secret that is easy to guess must be named while tokens move on to a better one.
            let may_be_named = unusable.is_none() && name == "APP_SECRET_PREVIOUS";
            let Some(fault) =
                unusable.or_else(|| secret::guessable(secret.expose(), MIN_SECRET_LENGTH))
            else {
                continue;
            };
            if !self.dev && !may_be_named {
                return Err(ConfigError(format!("{name} {fault}: {MAKE_SECRET}")));
            }
            if warn && !self.dev {
                tracing::warn!(
                    "{name} {fault}: whoever guesses it makes tokens; leave it out as soon as you can"
                );
            } else if warn {
                tracing::warn!("{name} {fault}: good enough for development only; {MAKE_SECRET}");
            }
        }
        Ok(secret.clone())
    }

    fn kept_secret(&self) -> Result<Secret, ConfigError> {
        let path = self.database_url.secret_path();
        let fault = |error: io::Error| {
            ConfigError(format!(
                "APP_SECRET is not set, and {} cannot hold one ({error}): {MAKE_SECRET}",
                path.display()
            ))
        };
        // Written aside and linked into place, so that of several first starts one wins whole.
        let draft = path.with_extension(format!("secret.{}", random::id()));
        let kept = || -> io::Result<String> {
            if !path.exists() {
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
                file.write_all(random::secret().as_bytes())?;
                file.sync_all()?;
                let linked = fs::hard_link(&draft, &path);
                fs::remove_file(&draft)?;
                match linked {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            fs::read_to_string(&path)
        };
        let secret = Secret::new(kept().map_err(fault)?.trim());
        if secret.expose().len() < MIN_SECRET_LENGTH {
            return Err(ConfigError(format!(
                "{} does not hold a secret: remove it, and the next start makes one",
                path.display()
            )));
        }
        Ok(secret)
    }
}

fn read_secret_file(name: &str, file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|error| ConfigError(format!("{name}: the file cannot be read: {error}")))
}

/// Sets the environment variables that `.env` in this folder gives and the environment does not;
/// says which. No file is no fault.
///
/// # Errors
///
/// When the file cannot be read or has a line that is no setting.
pub fn load_env_file() -> Result<Vec<String>, ConfigError> {
    let path = Path::new(".env");
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(Vec::new()),
        Err(_) => return Err(ConfigError(".env cannot be read: check its permissions".to_owned())),
    };
    let mut names = Vec::new();
    for line in lines {
        let (name, _) = line.map_err(|_| {
            ConfigError(".env has a line that is not NAME=value: quote values with spaces".into())
        })?;
        if is_unset(&name) {
            names.push(name);
        }
    }
    dotenvy::from_path(path)
        .map_err(|_| ConfigError(".env changed while it was being read: start again".to_owned()))?;
    Ok(names)
}

/// Where programs of this user keep what they remember (the XDG base directories).
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn state_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    Some(state?.join("tessera"))
}

/// Whether the environment names a server that operators' commands are to ask.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn server_is_named() -> bool {
    std::env::var_os("TESSERA_URL").is_some_and(|url| !url.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn is_unset(name: &str) -> bool {
    std::env::var_os(name).is_none()
}

/// The settings whose values are not text.
pub fn not_text() -> Vec<String> {
    definitions()
        .get_arguments()
        .filter_map(|argument| argument.get_env())
        .filter(|name| is_not_text(name))
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn is_not_text(name: &std::ffi::OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
}
