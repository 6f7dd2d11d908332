//! The settings. Each is defined once; its flag, environment variable, help text and line in `.env.example` follow.

mod document;
mod dotenv;
mod environment;
mod fault;
mod feed;
mod forward;
mod front_end;
mod listen;
mod mail;
mod monitor;
mod network;
mod origin;
mod page;
mod provider;
pub(crate) mod secret;
mod signing;
mod upstream;
mod value;
mod yaml;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub use document::{Setting, definitions, example, settings};
pub use environment::{
    EnvFile, foreign_names, is_empty, load_env_file, misspelt, not_text, server_is_named,
    state_folder, value_in_env_file, variable,
};
pub use fault::{ConfigError, SettingFault};
pub use feed::FeedSettings;
pub use forward::{ForwardHost, ForwardSettings};
pub use front_end::{CookieName, CsrfCheck, FrontEndSettings, PathPrefix};
pub use listen::{ListenAddress, ListenSettings, Peer, TrustedProxy};
pub use mail::MailSettings;
pub use monitor::MonitorSettings;
pub use network::{AllowedHeader, ForwardedHeader, NetworkSettings};
pub use origin::{Origin, PublicUrl};
pub use page::{Color, Contact, PageSettings};
pub use provider::{Declared, ProviderSettings};
pub use upstream::{FederationSettings, OwnEndpoints, Preset, UpstreamSettings};
pub use value::{LogFormat, Migrate, Registration, Secret, SqliteSynchronous};

use clap::Args;
use clap::builder::BoolishValueParser;
use tessera_verify::SigningAlgorithm;

use crate::base::database::DatabaseUrl;

/// The minimum length of the secret that signs tokens outside development, in bytes (RFC 7518, section 3.2).
pub const MIN_SECRET_LENGTH: usize = 32;

/// The secret in `.env.example`, which everybody knows.
pub const EXAMPLE_SECRET: &str = "an-example-known-to-everybody-made-for-development-only";

const MAKE_SECRET: &str = "run `openssl rand -hex 32` (or `tessera secret generate`)";

/// The settings of a server or a command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub struct Config {
    /// Development profile, never for production: Tessera accepts weak secrets and passwords, writes mails to
    /// ./outbox unless MAIL_URL is set, and creates a missing APP_SECRET in a file beside the SQLite database (with
    /// PostgreSQL: ./tessera.secret)
    #[arg(long = "dev", env = "TESSERA_DEV", global = true, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_value = "false", default_missing_value = "true",
          value_parser = BoolishValueParser::new())]
    pub dev: bool,

    /// The IP address to listen on, or localhost. 0.0.0.0 means all IPv4 addresses, as in a container. `[::]` means all
    /// addresses
    #[arg(long, env = "HOST", global = true, default_value = "127.0.0.1",
          value_parser = value::parse_host)]
    pub host: IpAddr,

    /// The port to listen on. 0 means any free port
    #[arg(long, env = "PORT", global = true, default_value = "8000",
          value_parser = value::number(0..=65_535_u16))]
    pub port: u16,

    /// The settings of listeners.
    #[command(flatten)]
    pub listening: ListenSettings,

    /// The URL under which browsers and services reach Tessera, for example `https://id.example.com`. It is the
    /// issuer of tokens and the beginning of links. Tessera puts scheme and host into lower case, and removes a
    /// default port and slashes at the end. In development, the default has the port of PORT
    #[arg(
        long,
        env = "PUBLIC_URL",
        global = true,
        value_name = "URL",
        default_value = "http://localhost:8000"
    )]
    pub public_url: PublicUrl,

    /// The database: `sqlite:///./relative.db`, `sqlite:////absolute.db` or
    /// `postgres://user:password@host/database`
    #[arg(
        long,
        env = "DATABASE_URL",
        global = true,
        value_name = "URL",
        default_value = "sqlite:///./tessera.db"
    )]
    pub database_url: DatabaseUrl,

    /// A file that contains DATABASE_URL. It takes precedence over DATABASE_URL itself
    #[arg(long, env = "DATABASE_URL_FILE", global = true, value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,

    /// PostgreSQL only: maximum number of connections of this server to the database (2 to 1000). All servers together
    /// must have fewer than PostgreSQL's `max_connections`. The default is four for each core, and at least 16
    #[arg(long, env = "DATABASE_CONNECTIONS", global = true, value_name = "NUMBER",
          value_parser = value::number(2..=1000_u32))]
    pub database_connections: Option<u32>,

    /// When to apply migrations: at start (auto); never, and refuse to start if some are missing (check); or never,
    /// without checking (off)
    #[arg(
        long,
        env = "MIGRATE",
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub migrate: Migrate,

    /// SQLite only: with full, every acknowledged write survives a power failure. normal is faster, and acknowledged
    /// writes survive a crash of the process, but a power failure can lose the latest ones
    #[arg(
        long,
        env = "SQLITE_SYNCHRONOUS",
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "HOW",
        default_value = "full"
    )]
    pub sqlite_synchronous: SqliteSynchronous,

    /// The secret that signs tokens. Tessera uses the bytes of its text (UTF-8), without decoding. Outside
    /// development it must have at least 32 bytes and must not be easy to guess. `tessera secret generate` makes one
    #[arg(long, env = "APP_SECRET", global = true, value_name = "SECRET")]
    pub app_secret: Option<Secret>,

    /// A file that contains APP_SECRET. It takes precedence over APP_SECRET itself
    #[arg(long, env = "APP_SECRET_FILE", global = true, value_name = "FILE")]
    pub app_secret_file: Option<PathBuf>,

    /// Previous secrets, separated by commas, for a rotation. Tessera still verifies and decrypts with them, but
    /// signs and encrypts only with APP_SECRET
    #[arg(
        long,
        env = "APP_SECRET_PREVIOUS",
        global = true,
        value_name = "SECRETS",
        value_delimiter = ','
    )]
    pub app_secret_previous: Vec<Secret>,

    /// A file that contains previous secrets, separated by commas. Tessera uses them in addition to
    /// APP_SECRET_PREVIOUS
    #[arg(long, env = "APP_SECRET_PREVIOUS_FILE", global = true, value_name = "FILE")]
    pub app_secret_previous_file: Option<PathBuf>,

    /// The algorithm that signs access tokens: HS256 (with APP_SECRET), or RS256, ES256 or EdDSA (with private keys
    /// in the database, whose public keys are at /.well-known/jwks.json)
    #[arg(
        long,
        env = "JWT_ALGORITHM",
        global = true,
        value_name = "NAME",
        default_value = "HS256",
        value_parser = value::parse_algorithm
    )]
    pub jwt_algorithm: SigningAlgorithm,

    /// The audience of access tokens (the claim aud): a name for the services that they are for
    #[arg(
        long,
        env = "JWT_AUDIENCE",
        global = true,
        value_name = "NAME",
        default_value = "tessera", value_parser = value::parse_name)]
    pub jwt_audience: String,

    /// Further audiences that clients can request access tokens for, separated by commas. With HS256, each has its
    /// own secret, which `tessera keys derive` prints
    #[arg(
        long,
        env = "JWT_AUDIENCES",
        global = true,
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = value::parse_name
    )]
    pub jwt_audiences: Vec<String>,

    /// The largest difference between the clocks of replicas, in seconds (0 to 60). The times iat and nbf of a token
    /// can be this far in the future. The leeway does not extend exp
    #[arg(long, env = "JWT_LEEWAY", global = true, value_name = "TIME", default_value = "2",
          value_parser = value::seconds(0..=tessera_verify::MAX_LEEWAY))]
    pub jwt_leeway: u64,

    /// Lifetime of an access token, in seconds (1 to 86400)
    #[arg(long, env = "ACCESS_TOKEN_EXPIRES", global = true, value_name = "TIME",
          default_value = "900", value_parser = value::seconds(1..=86_400))]
    pub access_token_expires: u64,

    /// Lifetime of each refresh token, in seconds (1 to 31622400)
    #[arg(long, env = "REFRESH_TOKEN_EXPIRES", global = true, value_name = "TIME",
          default_value = "2592000", value_parser = value::seconds(1..=31_622_400))]
    pub refresh_token_expires: u64,

    /// Maximum lifetime of a session, however often it is refreshed, in seconds (1 to 315360000)
    #[arg(long, env = "SESSION_EXPIRES", global = true, value_name = "TIME",
          default_value = "31622400", value_parser = value::seconds(1..=315_360_000))]
    pub session_expires: u64,

    /// Time without a request after which a browser is signed out of the web pages, in seconds (60 to 2592000)
    #[arg(long, env = "BROWSER_SESSION_IDLE_EXPIRES", global = true, value_name = "TIME",
          default_value = "3600", value_parser = value::seconds(60..=2_592_000))]
    pub browser_session_idle_expires: u64,

    /// Maximum lifetime of what an application got for a sign-in, however often it is refreshed, in seconds
    /// (60 to 315360000). Without `offline_access`, it ends with the session of the browser, at the latest after
    /// BROWSER_SESSION_EXPIRES
    #[arg(long, env = "GRANT_EXPIRES", global = true, value_name = "TIME",
          default_value = "31536000", value_parser = value::seconds(60..=315_360_000))]
    pub grant_expires: u64,

    /// Maximum time that a browser stays signed in to the web pages, however often it is used, in seconds
    /// (60 to 31622400)
    #[arg(long, env = "BROWSER_SESSION_EXPIRES", global = true, value_name = "TIME",
          default_value = "604800", value_parser = value::seconds(60..=31_622_400))]
    pub browser_session_expires: u64,

    /// Time after the password was given during which an access token is fresh, in seconds (1 to 86400). Important
    /// changes require a fresh token
    #[arg(long, env = "FRESH_TOKEN_EXPIRES", global = true, value_name = "TIME",
          default_value = "900", value_parser = value::seconds(1..=86_400))]
    pub fresh_token_expires: u64,

    /// Time during which a client can repeat a refresh whose answer was lost, and gets the same refresh token again,
    /// in seconds (0 to 300). A later repetition ends the session
    #[arg(long, env = "REFRESH_REUSE_LEEWAY", global = true, value_name = "TIME",
          default_value = "10", value_parser = value::seconds(0..=300))]
    pub refresh_reuse_leeway: u64,

    /// Lifetime of an API token that is made without an expiry, in seconds (1 to 315360000). If this is not set, such
    /// a token never expires
    #[arg(long, env = "API_TOKEN_EXPIRES", global = true, value_name = "TIME",
          value_parser = value::seconds(1..=315_360_000))]
    pub api_token_expires: Option<u64>,

    /// Refuse revoked access tokens before they expire. If this is false, revoking still ends sessions and deletes
    /// API tokens, but access tokens are accepted until they expire
    #[arg(long, env = "BLACKLIST_ENABLED", global = true, value_name = "BOOL", num_args = 1,
          default_value = "true", value_parser = BoolishValueParser::new())]
    pub blacklist_enabled: bool,

    /// Maximum age of a server's copy of the revocation list, in seconds (2 to 300). If the copy is older, the server
    /// refuses every token with 503
    #[arg(long, env = "REVOCATION_MAX_STALENESS", global = true, value_name = "TIME",
          default_value = "5", value_parser = value::seconds(2..=300))]
    pub revocation_max_staleness: u64,

    /// Cost of a password hash, as a power of two (10 to 31; in development from 4). Each step doubles the time
    #[arg(long, env = "BCRYPT_COST", global = true, value_name = "COST", default_value = "12",
          value_parser = value::number(4..=31_u32))]
    pub bcrypt_cost: u32,

    /// Minimum length of a password, in characters (1 to 1024). In development, shorter passwords are accepted with a
    /// warning
    #[arg(long, env = "PASSWORD_MIN_LENGTH", global = true, value_name = "CHARACTERS",
          default_value = "8", value_parser = value::number(1..=1024_u16))]
    pub password_min_length: u16,

    /// Minimum strength of a password: its zxcvbn score, from 0 (every password) to 4 (very hard to guess). In
    /// development, every password is accepted
    #[arg(long, env = "PASSWORD_MIN_SCORE", global = true, value_name = "SCORE",
          default_value = "2", value_parser = value::number(0..=4_u8))]
    pub password_min_score: u8,

    /// A file with stolen passwords, which users cannot choose. `tessera breach build` makes it from a list. In
    /// development, stolen passwords are accepted with a warning
    #[arg(long, env = "BREACH_FILTER", global = true, value_name = "FILE")]
    pub breach_filter: Option<PathBuf>,

    /// Limit sign-in attempts, registrations and the actions of accounts. Turn this off only for benchmarks
    #[arg(long, env = "RATE_LIMIT", global = true, value_name = "BOOL", num_args = 1,
          default_value = "true", value_parser = BoolishValueParser::new())]
    pub rate_limit: bool,

    /// Proxies from which Tessera accepts the client's address in FORWARDED_HEADER: IP addresses and networks,
    /// separated by commas, for example `10.0.0.0/8,::1`, and `unix` for proxies that use a Unix socket
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        global = true,
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<TrustedProxy>,

    /// The settings of requests that come through proxies or from pages of other origins.
    #[command(flatten)]
    pub network: NetworkSettings,

    /// The settings of the revocation feed.
    #[command(flatten)]
    pub feed: FeedSettings,

    /// The settings of gateways.
    #[command(flatten)]
    pub forward: ForwardSettings,

    /// The settings of mail.
    #[command(flatten)]
    pub mail: MailSettings,

    /// The settings of web pages.
    #[command(flatten)]
    pub pages: PageSettings,

    /// The settings of the provider.
    #[command(flatten)]
    pub provider: ProviderSettings,

    /// The settings of other providers.
    #[command(flatten)]
    pub federation: FederationSettings,

    /// The settings for front ends.
    #[command(flatten)]
    pub front_end: FrontEndSettings,

    /// The people who can register: anyone (open), only invited people (invite), or nobody (closed). Superusers can
    /// always create and invite users
    #[arg(
        long,
        env = "REGISTRATION",
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "WHO",
        default_value = "open"
    )]
    pub registration: Registration,

    /// Refuse users whose e-mail address is not verified: they cannot sign in, and their tokens are not accepted
    #[arg(long, env = "REQUIRE_VERIFICATION", global = true, value_name = "BOOL", num_args = 1,
          default_value = "false", value_parser = BoolishValueParser::new())]
    pub require_verification: bool,

    /// Other origins whose pages can call Tessera, separated by commas, for example `https://app.example.com`. An
    /// origin is a scheme and a host, and a port unless it is the default
    #[arg(
        long,
        env = "CORS_ORIGINS",
        global = true,
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<Origin>,

    /// Name of this server among the replicas on its database. If this is not set, Tessera uses the host name and the
    /// port
    #[arg(long, env = "REPLICA_NAME", global = true, value_name = "NAME",
          value_parser = value::parse_replica_name)]
    pub replica_name: Option<String>,

    /// A file with the number of milliseconds by which to move the clock of this process. Only for tests, in
    /// development
    #[arg(long, env = "TESSERA_CLOCK_FILE", global = true, value_name = "FILE", hide = true)]
    pub clock_file: Option<PathBuf>,

    /// Format of log lines: pretty (text), json, or auto (pretty on a terminal, json elsewhere)
    #[arg(
        long,
        env = "LOG_FORMAT",
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "FORMAT",
        default_value = "auto"
    )]
    pub log_format: LogFormat,

    /// The log lines to write: a level (error, warn, info or debug), or pairs of target and level, for example
    /// `info,api::platform=debug`
    #[arg(long, env = "RUST_LOG", global = true, value_name = "FILTER", default_value = "info")]
    pub rust_log: String,

    /// The settings of monitoring.
    #[command(flatten)]
    pub monitor: MonitorSettings,

    /// The settings as pages and commands show them, each with its origin. Empty if nothing shows them.
    #[arg(skip)]
    pub shown: Vec<Setting>,
}

impl Config {
    /// Reads the files that contain secrets, and refuses settings that do not fit together.
    ///
    /// # Errors
    ///
    /// All reasons why a server cannot start with these settings. A file that cannot be read is one.
    pub fn complete(mut self) -> Result<Self, Vec<ConfigError>> {
        let faults = self.complete_all();
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// Completes the settings as far as possible, and returns what is wrong with them.
    pub(crate) fn complete_all(&mut self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let mut note = |outcome: Result<(), ConfigError>| faults.extend(outcome.err());
        note(self.read_secrets());
        note(self.listening.complete());
        note(self.listeners().map(drop));
        note(self.mail.complete());
        note(self.feed.complete());
        note(self.monitor.complete());
        note(self.forward.check(self.dev));
        self.federation.complete(self.registration).into_iter().for_each(|fault| note(Err(fault)));
        self.pages.complete();
        self.app_secret = self.app_secret.take().filter(|secret| !secret.expose().is_empty());
        self.app_secret_previous.retain(|secret| !secret.expose().is_empty());
        let is_secure = !self.dev || self.public_url.is_https();
        note(self.front_end.check(is_secure));
        let mut refuse = |is_wrong: bool, sentence: &str| {
            note(if is_wrong { Err(ConfigError::new(sentence)) } else { Ok(()) });
        };
        refuse(
            self.jwt_audiences.contains(&self.jwt_audience),
            "JWT_AUDIENCES contains JWT_AUDIENCE, whose tokens APP_SECRET signs: remove it there",
        );
        refuse(
            !self.dev && self.clock_file.is_some(),
            "TESSERA_CLOCK_FILE is set, but it is only for tests: unset it",
        );
        let public = SocketAddr::new(self.host, self.port);
        refuse(
            self.monitor
                .metrics_listen
                .is_some_and(|address| address == public && address.port() != 0),
            "METRICS_LISTEN is the address of HOST and PORT, but metrics are not for the public: choose another port",
        );
        refuse(!self.dev && self.bcrypt_cost < 10, "BCRYPT_COST is below 10: set it to 12");
        faults
    }

    fn read_secrets(&mut self) -> Result<(), ConfigError> {
        if let Some(file) = &self.database_url_file {
            self.database_url =
                read_secret_file("DATABASE_URL_FILE", file)?.parse().map_err(|fault| {
                    ConfigError::new(&format!("the URL in DATABASE_URL_FILE {fault}"))
                })?;
        }
        if let Some(file) = &self.app_secret_file {
            self.app_secret = Some(Secret::new(&read_secret_file("APP_SECRET_FILE", file)?));
        }
        if let Some(file) = &self.app_secret_previous_file {
            let secrets = read_secret_file("APP_SECRET_PREVIOUS_FILE", file)?;
            self.app_secret_previous.extend(secrets.split(',').map(Secret::new));
        }
        Ok(())
    }
}

fn read_secret_file(name: &str, file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map(|text| text.trim_end_matches(['\r', '\n']).to_owned()).map_err(
        |error| {
            let file = file.display();
            ConfigError::new(&format!(
                "{name} is \"{file}\", and this file cannot be read ({error}): name a file that \
                 the user of this process can read"
            ))
        },
    )
}
