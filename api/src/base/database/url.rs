//! `DATABASE_URL`, as operators write it and as providers hand it out.
//!
//! Each parameter of a URL is understood, passed over because it changes nothing that Tessera promises, or refused by
//! its name. A parameter that is silently ignored could be the one that asks for encryption.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Host, Url};

use super::pooler::{advice_for_file, slashes};

/// A parsed `DATABASE_URL`. Several spellings are accepted.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PostgresUrl>),
}

/// The parsed URL of a PostgreSQL server.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) options: PgConnectOptions,
    /// The certificate of the authority, or the name of its file, if the URL names one.
    pub(super) authority: Option<String>,
    /// `true` with the parameter `pgbouncer=true`: a pooler gives each transaction another connection.
    pub(super) behind_pooler: bool,
    /// The schema that the URL names, unless it is the usual one.
    pub(super) schema: Option<String>,
    /// The parameters that have no effect, each as a sentence.
    notes: Vec<String>,
}

impl PostgresUrl {
    /// Returns true if the URL leads to a pooler that gives each transaction another connection.
    pub fn is_behind_pooler(&self) -> bool {
        self.behind_pooler
    }
}

impl DatabaseUrl {
    /// Fails if the file of a SQLite database does not exist. A command that only looks must not create an empty
    /// database in the wrong folder.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if the file does not exist.
    pub fn require_there(&self) -> Result<(), String> {
        match self {
            Self::Sqlite(path) if !path.exists() => {
                let tried = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                Err(format!(
                    "there is no database {}: set DATABASE_URL as for the server, or run this in the server's folder{}",
                    tried.display(),
                    slashes(path)
                ))
            }
            _ => Ok(()),
        }
    }

    /// Fails if the folder of a SQLite file does not exist.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, with the path that was tried.
    pub fn require_folder(&self) -> Result<(), String> {
        let Self::Sqlite(path) = self else { return Ok(()) };
        let tried = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        if tried.parent().is_none_or(Path::is_dir) {
            return Ok(());
        }
        Err(format!("the database cannot be opened: {}", advice_for_file(path)))
    }

    /// The file for the secret that a development server makes for this database.
    pub fn secret_path(&self) -> PathBuf {
        match self {
            Self::Sqlite(path) => path.with_extension("secret"),
            Self::Postgres(..) => PathBuf::from("tessera.secret"),
        }
    }

    /// The requests of the URL that have no effect, each as a sentence.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Sqlite(_) => &[],
            Self::Postgres(server) => &server.notes,
        }
    }
}

impl FromStr for DatabaseUrl {
    /// The end of a sentence that begins with the name of the setting. It contains no part of the URL that can be secret.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form =
            "must be of the form sqlite:///./file.db or postgres://user:password@host/database";
        if text.trim().starts_with(['"', '\'']) {
            return Err(
                "must not be in quotation marks: `docker run --env-file` and others keep them"
                    .into(),
            );
        }
        let (scheme, rest) = text.trim().split_once(':').ok_or(form)?;
        // URLs of SQLAlchemy also name a driver: `sqlite+aiosqlite`, `postgresql+asyncpg`.
        match scheme.split('+').next().unwrap_or_default() {
            "sqlite" => parse_sqlite(rest),
            "postgres" | "postgresql" => parse_postgres(rest),
            _ => Err("must begin with sqlite: or postgres:, such as sqlite:///./tessera.db".into()),
        }
    }
}

fn parse_sqlite(rest: &str) -> Result<DatabaseUrl, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("mode", "rw" | "rwc") | ("cache" | "timeout" | "check_same_thread" | "uri", _) => {}
            ("mode", _) => {
                return Err(
                    "must not have this mode: Tessera writes to a file (remove mode)".into()
                );
            }
            (name, _) => return Err(unknown(name)),
        }
    }
    let path = match path.strip_prefix("//") {
        // As in SQLAlchemy, three slashes begin a relative path and four an absolute one.
        Some(path) => path.strip_prefix('/').unwrap_or(path),
        None => path,
    };
    if path.is_empty() || path.contains(":memory:") {
        return Err("must name a file, such as sqlite:///./tessera.db".into());
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
}

/// The treatment of a parameter.
enum Meaning {
    /// The driver knows it, perhaps by another name.
    Driver(&'static str, String),
    /// The tables are in this schema.
    Schema(String),
    /// The URL leads to a pooler in transaction mode, or does not.
    Pooler(bool),
    /// It has no effect. The text says why, if that may surprise.
    None(&'static str),
}

/// Says why a parameter has no effect.
const OWN_CONNECTIONS: &str = "Tessera decides this itself";

fn meaning(name: &str, value: &str) -> Result<Meaning, String> {
    let driver = |name, value: &str| Ok(Meaning::Driver(name, value.to_owned()));
    match (name, value) {
        ("sslmode" | "ssl-mode", "no-verify") => driver("sslmode", "require"),
        ("sslmode" | "ssl-mode", mode) if mode.parse::<PgSslMode>().is_err() => {
            Err("must have an sslmode that PostgreSQL knows: disable, allow, prefer, require, \
             verify-ca or verify-full"
                .into())
        }
        ("sslmode" | "ssl-mode", mode) => driver("sslmode", mode),
        ("ssl", "true" | "1" | "require" | "no-verify") => driver("sslmode", "require"),
        ("ssl", "false" | "0" | "disable") => driver("sslmode", "disable"),
        ("ssl", mode @ ("prefer" | "verify-ca" | "verify-full")) => driver("sslmode", mode),
        ("sslaccept", "strict") => driver("sslmode", "verify-full"),
        ("sslaccept", "accept_invalid_certs") => Ok(Meaning::None("")),
        ("sslrootcert" | "ssl-root-cert" | "ssl-ca", file) => driver("sslrootcert", file),
        ("sslcert" | "ssl-cert", file) => driver("sslcert", file),
        ("sslkey" | "ssl-key", file) => driver("sslkey", file),
        ("application_name", text) => driver("application_name", text),
        ("dbname", text) => driver("dbname", text),
        ("host" | "hostaddr" | "port", list) if list.contains(',') => Err(SEVERAL.into()),
        ("host", text) => driver("host", text.trim_matches(['[', ']'])),
        ("hostaddr", text) if text.parse::<std::net::IpAddr>().is_err() => {
            Err("must have an IP address as its parameter hostaddr".into())
        }
        ("hostaddr", text) => driver("hostaddr", text),
        ("port", text) if text.parse::<u16>().is_err() => {
            Err("must have a number from 0 to 65535 as its parameter port".into())
        }
        ("port", text) => driver("port", text),
        ("user", text) => driver("user", text),
        ("password", text) => driver("password", text),
        ("options", text) => driver("options", text),
        ("statement-cache-capacity", text) if text.parse::<usize>().is_ok() => {
            driver("statement-cache-capacity", text)
        }
        ("schema" | "currentSchema" | "search_path", text) => Ok(Meaning::Schema(text.to_owned())),
        ("pgbouncer", "true") => Ok(Meaning::Pooler(true)),
        ("pgbouncer", "false") => Ok(Meaning::Pooler(false)),
        ("pgbouncer", _) => Err("must have pgbouncer=true (the URL leads to a pooler in \
                                 transaction mode), pgbouncer=false, or no parameter pgbouncer"
            .into()),
        _ => passed_over(name, value).map(Meaning::None),
    }
}

/// Says why a parameter that the driver does not know has no effect, if it asks for nothing that Tessera cannot do.
fn passed_over(name: &str, value: &str) -> Result<&'static str, String> {
    match (name, value) {
        ("target_session_attrs", "any" | "read-write" | "primary")
        | ("channel_binding", "disable" | "prefer")
        | ("gssencmode", "disable" | "prefer" | "allow")
        | ("sslnegotiation", "postgres")
        | ("replication", "false" | "0" | "off" | "no")
        | ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2")
        | ("client_encoding", "utf8" | "UTF8" | "utf-8" | "UTF-8" | "auto")
        | ("sslcompression" | "sslsni" | "uselibpqcompat" | "supa" | "workaround", _)
        | ("krbsrvname" | "gsslib" | "load_balance_hosts" | "fallback_application_name", _) => {
            Ok("")
        }
        ("channel_binding", "require") => Ok("Tessera cannot bind the password to the TLS \
             connection; with sslmode=verify-full, it checks the server's certificate instead"),
        ("connect_timeout" | "tcp_user_timeout" | "socket_timeout" | "pool_timeout", _)
        | ("connection_limit" | "pool_size" | "max_overflow" | "pool_mode", _)
        | ("statement_cache_size" | "prepared_statement_cache_size" | "prepared_statements", _)
        | ("prepareThreshold" | "async_fallback" | "max_idle_connection_lifetime", _) => {
            Ok(OWN_CONNECTIONS)
        }
        (name, _) if name.starts_with("keepalives") => Ok(OWN_CONNECTIONS),
        ("target_session_attrs", _) => Err("must not have this target_session_attrs: Tessera \
                                            writes, so set it to read-write or remove it"
            .into()),
        ("client_encoding", _) => Err("must not have another client_encoding than utf8".into()),
        (name, _) => Err(unknown(name)),
    }
}

/// The refusal of a parameter that Tessera does not know. What looks like a name can be a part of a password.
fn unknown(name: &str) -> String {
    let is_name = (2..=40).contains(&name.len())
        && name.chars().all(|char| char.is_ascii_alphabetic() || char == '_');
    if is_name {
        return format!(
            "must not have the parameter {name}: Tessera does not know it and cannot do what it asks for (remove it)"
        );
    }
    "must not have a question mark before its parameters: write a question mark in a password as %3F"
        .into()
}

const SEVERAL: &str = "must name one host: name the server that can be written, or a proxy that \
                       leads to it";

const FORM: &str = "must be of the form postgres://user:password@host/database, where characters \
                    of user and password that are not letters or digits are percent-encoded (@ is \
                    %40, / is %2F, ? is %3F, # is %23)";

fn parse_postgres(rest: &str) -> Result<DatabaseUrl, String> {
    let place = rest.strip_prefix("//").ok_or(FORM)?;
    let (server, query) = place.split_once('?').unwrap_or((place, ""));
    let (authority, _) = server.split_once('/').unwrap_or((server, ""));
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if hosts.contains(',') {
        return Err(SEVERAL.into());
    }
    let mut url = Url::parse(&format!("postgres://{server}")).map_err(|_| FORM)?;
    if url.fragment().is_some() {
        return Err(FORM.into());
    }
    let Parameters { known, authority, behind_pooler, schema, notes } = Parameters::parse(query)?;
    if !known.is_empty() {
        url.query_pairs_mut().extend_pairs(known);
    }
    let mut options: PgConnectOptions = url.as_str().parse().map_err(|_| FORM)?;
    if let Some(address) = bracketed(&url) {
        options = options.host(&address);
    }
    if let Some(schema) = &schema {
        options = options.options([("search_path", schema)]);
    }
    let server = PostgresUrl { options, authority, behind_pooler, schema, notes };
    Ok(DatabaseUrl::Postgres(Box::new(server)))
}

/// The parameters of a URL.
#[derive(Default)]
struct Parameters {
    /// Those that the driver knows.
    known: Vec<(&'static str, String)>,
    /// See [`PostgresUrl`].
    authority: Option<String>,
    behind_pooler: bool,
    /// The schema, unless it is the usual one.
    schema: Option<String>,
    notes: Vec<String>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match meaning(&name, &value)? {
                // libpq's word for the authorities that the system trusts.
                Meaning::Driver("sslrootcert", file) if file == "system" => {
                    found.known.push(("sslmode", "verify-full".to_owned()));
                    found.notes.push(MOZILLA.to_owned());
                }
                Meaning::Driver(name, value) => {
                    if name == "sslrootcert" {
                        found.authority = Some(value.clone());
                    }
                    found.known.push((name, value));
                }
                Meaning::Schema(name) => found.schema = Some(name).filter(|name| name != "public"),
                Meaning::Pooler(is_one) => found.behind_pooler = is_one,
                Meaning::None(why) => {
                    let colon = if why.is_empty() { "" } else { ": " };
                    found.notes.push(format!("{name} in DATABASE_URL has no effect{colon}{why}"));
                }
            }
        }
        Ok(found)
    }
}

const MOZILLA: &str = "sslrootcert=system in DATABASE_URL stands for the authorities that Mozilla \
                       lists, not for those of this machine";

/// Returns the IPv6 address of a URL without its brackets, unless a parameter names another host. The driver would look
/// the brackets up as a part of a name.
fn bracketed(url: &Url) -> Option<String> {
    if url.query_pairs().any(|(name, _)| name == "host" || name == "hostaddr") {
        return None;
    }
    // The scheme is unknown to the standard, so its parser keeps an IPv6 address only in brackets.
    match url.host()? {
        Host::Ipv6(address) => Some(address.to_string()),
        _ => None,
    }
}

/// Writes the URL without its password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:///{}", path.display()),
            Self::Postgres(server) => {
                let host = server.options.get_host();
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                write!(
                    formatter,
                    "postgres://{}:(secret)@{host}:{}/{}{}",
                    server.options.get_username(),
                    server.options.get_port(),
                    server.options.get_database().unwrap_or_default(),
                    if server.behind_pooler { "?pgbouncer=true" } else { "" }
                )
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "Sqlite({})", path.display()),
            Self::Postgres(..) => formatter.write_str("Postgres(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Box<PostgresUrl>, String> {
        match url.parse()? {
            DatabaseUrl::Postgres(server) => Ok(server),
            DatabaseUrl::Sqlite(_) => Err("not PostgreSQL".to_owned()),
        }
    }

    fn options(parameters: &str) -> PgConnectOptions {
        let url = format!("postgres://user:pass@host/database{parameters}");
        parsed(&url).unwrap_or_else(|fault| panic!("{url}: {fault}")).options
    }

    #[test]
    fn a_url_says_whether_it_leads_to_a_pooler_in_transaction_mode() {
        let url = "postgres://user@host/database";
        for (parameters, behind_pooler) in [
            ("", false),
            ("?pgbouncer=true", true),
            ("?pgbouncer=false", false),
            ("?pgbouncer=true&sslmode=require", true),
            ("?sslmode=require&pgbouncer=true", true),
        ] {
            let server = parsed(&format!("{url}{parameters}")).unwrap();
            assert_eq!(server.behind_pooler, behind_pooler, "{parameters}");
        }
        for parameters in ["?pgbouncer=yes", "?pgbouncer", "?pgbouncer="] {
            let error = parsed(&format!("{url}{parameters}")).err().unwrap_or_default();
            assert!(error.contains("pgbouncer=true"), "{error}");
        }
    }

    #[test]
    fn parameters_are_understood_or_passed_over_with_a_note() {
        for (parameters, mode) in [
            ("?sslmode=require&channel_binding=require", PgSslMode::Require),
            ("?ssl=true", PgSslMode::Require),
            ("?sslmode=no-verify", PgSslMode::Require),
            ("?sslaccept=strict", PgSslMode::VerifyFull),
            ("?sslrootcert=system", PgSslMode::VerifyFull),
        ] {
            let found = options(parameters).get_ssl_mode();
            assert_eq!(format!("{found:?}"), format!("{mode:?}"), "{parameters}");
        }
        assert_eq!(options("?schema=own").get_options(), Some("-c search_path=own"));
        assert_eq!(options("?schema=public").get_options(), None);
        assert_eq!(options("?options=endpoint%3Dcool").get_options(), Some("endpoint=cool"));
        assert_eq!(options("?application_name=x").get_application_name(), Some("x"));
        let url = "postgres://u@h/d?connect_timeout=10&keepalives=1&keepalives_idle=30\
                   &target_session_attrs=read-write&connection_limit=5&channel_binding=require";
        let notes = parsed(url).unwrap().notes;
        assert_eq!(notes.len(), 6, "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("in DATABASE_URL has no effect")));
    }

    #[test]
    fn a_host_can_be_an_ipv6_address() {
        for url in ["postgres://user@[::1]/database", "postgres://user@[::1]:5433/database"] {
            let server = parsed(url).unwrap();
            assert_eq!(server.options.get_host(), "::1", "{url}");
            assert!(DatabaseUrl::Postgres(server).to_string().contains("@[::1]:"));
        }
        let server = parsed("postgres://user@ignored/database?host=%5B::1%5D").unwrap();
        assert_eq!(server.options.get_host(), "::1");
    }

    #[test]
    fn what_tessera_cannot_do_is_refused_by_its_name_and_shows_no_secret() {
        for (url, said) in [
            ("postgres://u:hush@h/d?sslcrl=x", "sslcrl"),
            ("postgres://u:hush@h/d?frobnicate=hush", "frobnicate"),
            ("postgres://u:hush@h/d?target_session_attrs=standby", "target_session_attrs"),
            ("postgres://u:hush@h/d?sslmode=sometimes", "verify-full"),
            ("postgres://u:hush@h/d?client_encoding=latin1", "utf8"),
            ("postgres://u:hush@one,two/d", "one host"),
            ("postgres://u:hush@one:5432,two:5432/d?target_session_attrs=any", "one host"),
            ("postgres://u@h/d?host=one,two", "one host"),
            ("postgres://u:pa?hush@h/d", "%3F"),
            ("postgres://u:pa#hush@h/d", "%23"),
            ("postgres:u:hush@h/d", "postgres://user"),
            ("sqlite:///x.db?mode=ro", "mode"),
            ("sqlite:///x.db?vfs=hush", "vfs"),
        ] {
            let fault = url.parse::<DatabaseUrl>().err().unwrap_or_default();
            assert!(fault.contains(said) && fault.starts_with("must "), "{url}: {fault}");
            assert!(!fault.contains("hush"), "{url}: {fault}");
        }
    }
}
