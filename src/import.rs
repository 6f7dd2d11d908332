//! `tessera import`

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::base::config::Config;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use clap::{Args, ValueEnum};
use reqwest::Method;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};
use serde_json::{Map, Value, json};

use crate::operator::{Operator, Options};
use crate::{help, print};

/// The maximum number of users in one request.
const MAX_USERS: usize = 200;

/// The maximum number of bytes of users in one request.
const MAX_BYTES: usize = 48_000;

/// The maximum number of refused users that are printed.
const MAX_PRINTED: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = formats())]
pub(crate) struct Arguments {
    /// The file with the users
    file: PathBuf,
    /// The format of the file; the default is fastapi-users for a SQLite database, otherwise jsonl
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,
    /// Print what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The table `user` of a SQLite database of FastAPI Users
    FastapiUsers,
    /// JSON lines with email and hashed_password, and optionally id, is_active, is_superuser, is_verified, name,
    /// surname, website, scopes
    Jsonl,
    /// JSON lines of `auth_user` of Django: email or username, password, is_active, is_superuser, first_name, last_name
    Django,
    /// JSON lines from a sign-in page that you wrote yourself: email (or username), salt and hash (or password_hash),
    /// in hexadecimal or base64. The hash is PBKDF2 with HMAC-SHA-256, with 100,000 rounds or as many as `rounds` says
    Session,
}

/// The formats and their descriptions, for the help.
fn formats() -> String {
    let formats = Format::value_variants().iter().filter_map(Format::to_possible_value);
    let described = formats.map(|format| {
        let help = format.get_help().map(ToString::to_string).unwrap_or_default();
        let lines = help::wrapped(&help).join("\n      ");
        format!("  {}\n      {lines}\n", format.get_name())
    });
    std::iter::once("Formats:\n".to_owned()).chain(described).collect()
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    let Arguments { file, format, dry_run, options } = arguments;
    let fault = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut begin = [0; 16];
    let is_sqlite = File::open(&file).map_err(fault)?.read_exact(&mut begin).is_ok()
        && begin == *b"SQLite format 3\0";
    let format = format.unwrap_or(if is_sqlite { Format::FastapiUsers } else { Format::Jsonl });
    let operator = Operator::new(options, config).await?;
    let mut import = Import::new(&operator, dry_run);
    if format == Format::FastapiUsers {
        database(&mut import, &file).await.map_err(|error| {
            format!("{} is not a database of FastAPI Users ({error})", file.display())
        })??;
    } else {
        lines(&mut import, &file, format).await?;
    }
    import.send().await?;
    import.refused.sort();
    import.print();
    Ok(if import.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An import in progress.
struct Import<'a> {
    operator: &'a Operator,
    dry_run: bool,
    /// The users that were read but not sent yet.
    waiting: Vec<(Place, Value)>,
    /// The length of those users.
    bytes: usize,
    /// The number of users who were created, or would be.
    created: u64,
    /// The number of users who already exist.
    known: u64,
    /// The users who were refused, with the reasons.
    refused: Vec<(Place, String)>,
    /// The users in the file so far, by address and by id.
    seen: HashMap<String, Place>,
}

/// The place of a user in the file: the number of the line or row, and its name for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, String);

impl<'a> Import<'a> {
    fn new(operator: &'a Operator, dry_run: bool) -> Self {
        let (waiting, refused, seen) = (Vec::new(), Vec::new(), HashMap::new());
        Self { operator, dry_run, waiting, bytes: 0, created: 0, known: 0, refused, seen }
    }

    fn refuse(&mut self, place: Place, reason: impl Into<String>) {
        self.refused.push((place, reason.into()));
    }

    /// Adds a user to those that wait, and sends these if there are enough.
    async fn add(&mut self, place: Place, user: Value) -> Result<(), String> {
        for field in ["email", "id"] {
            let Some(value) = user[field].as_str().map(str::to_ascii_lowercase) else { continue };
            if let Some(Place(_, before)) = self.seen.get(&value) {
                let reason = format!("{field}: {before} has the same value");
                self.refuse(place, reason);
                return Ok(());
            }
            self.seen.insert(value, place.clone());
        }
        let length = user.to_string().len();
        if length > MAX_BYTES {
            self.refuse(place, format!("the record is longer than {MAX_BYTES} bytes"));
            return Ok(());
        }
        if self.waiting.len() >= MAX_USERS || self.bytes + length > MAX_BYTES {
            self.send().await?;
        }
        self.bytes += length + 1;
        self.waiting.push((place, user));
        Ok(())
    }

    /// Sends the users that wait.
    async fn send(&mut self) -> Result<(), String> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let users: Vec<_> = waiting.iter().map(|(_, user)| user).collect();
        let body = json!({ "users": users, "dry_run": self.dry_run });
        let answer = match self.operator.call(Method::POST, "/admin/import", Some(body)).await {
            // At least one record has a field that is not valid. To find it, the records are sent one by one.
            Err(refused) if refused.is_unprocessable() && waiting.len() > 1 => {
                for one in waiting {
                    self.waiting.push(one);
                    Box::pin(self.send()).await?;
                }
                return Ok(());
            }
            Err(refused) if refused.is_unprocessable() => {
                let reason = String::from(refused);
                waiting.into_iter().for_each(|(place, _)| self.refuse(place, reason.clone()));
                return Ok(());
            }
            answer => answer?,
        };
        let outcomes = answer["outcomes"].as_array().cloned().unwrap_or_default();
        if outcomes.len() != waiting.len() {
            return Err("the answer is not one of an import: is TESSERA_URL right?".to_owned());
        }
        for ((place, _), outcome) in waiting.into_iter().zip(outcomes) {
            match outcome["outcome"].as_str() {
                Some("created") => self.created += 1,
                Some("known") => self.known += 1,
                _ => self.refuse(place, print::text(&outcome["reason"])),
            }
        }
        Ok(())
    }

    /// Prints the refused users and the numbers.
    fn print(&self) {
        let Self { dry_run, created, known, refused, .. } = self;
        if self.operator.prints_json() {
            let refused: Vec<_> = refused
                .iter()
                .map(|(Place(_, place), reason)| json!({ "place": place, "reason": reason }))
                .collect();
            print::line(json!({
                "dry_run": dry_run, "created": created, "known": known, "refused": refused
            }));
            return;
        }
        for (Place(_, place), reason) in refused.iter().take(MAX_PRINTED) {
            eprintln!("{place}: {reason}");
        }
        if let Some(more) = refused.len().checked_sub(MAX_PRINTED).filter(|more| *more > 0) {
            eprintln!("and {more} more: --output json prints all of them");
        }
        let would = if *dry_run { "would be " } else { "" };
        let refused = refused.len();
        print::line(format!(
            "{created} {would}created, {known} already exist, {refused} {would}refused"
        ));
    }
}

/// Reads the users of a file with JSON lines.
async fn lines(import: &mut Import<'_>, file: &Path, format: Format) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("{}: {error}", file.display());
    let source = File::open(file).map_err(fault)?;
    let bar = print::bytes_bar(source.metadata().map_err(fault)?.len());
    let mut lines = BufReader::new(bar.wrap_read(source));
    let (mut line, mut number) = (Vec::new(), 0_u64);
    while lines.read_until(b'\n', &mut line).map_err(fault)? > 0 {
        number += 1;
        let place = Place(number, format!("line {number}"));
        let line_of = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if !line.trim_ascii().is_empty() {
            match serde_json::from_slice::<Map<String, Value>>(line_of) {
                Ok(members) => match read(members, format) {
                    Ok(user) => import.add(place, user).await?,
                    Err(reason) => import.refuse(place, reason),
                },
                Err(_) => import.refuse(place, "the line is not a JSON object"),
            }
        }
        line.clear();
    }
    bar.finish_and_clear();
    Ok(())
}

/// Converts a record of this format into a user of the operation `POST /admin/import`.
///
/// # Errors
///
/// If the record has no password hash, or one that cannot be read.
fn read(members: Map<String, Value>, format: Format) -> Result<Value, &'static str> {
    match format {
        Format::Django => {
            let text = |name: &str| members.get(name).filter(|value| **value != "").cloned();
            if text("password").is_none() {
                return Err("password: this field is missing");
            }
            Ok(without_nulls(json!({
                "email": text("email").or_else(|| text("username")),
                "hashed_password": text("password"),
                "is_active": text("is_active"),
                "is_superuser": text("is_superuser"),
                "name": text("first_name"),
                "surname": text("last_name"),
            })))
        }
        Format::Session => {
            let text = |names: &[&str]| {
                names.iter().find_map(|name| members.get(*name)?.as_str()).map(str::to_owned)
            };
            let salt = text(&["salt"]).and_then(|salt| bytes(&salt));
            let hash = text(&["hash", "password_hash", "key"]).and_then(|hash| bytes(&hash));
            let (Some(salt), Some(hash)) = (salt, hash) else {
                return Err("salt, hash: these fields must be in hexadecimal or base64");
            };
            let rounds = members.get("rounds").map_or(Some(100_000), Value::as_u64);
            let rounds = rounds.ok_or("rounds: this must be a number")?;
            let adapted = |bytes: Vec<u8>| STANDARD_NO_PAD.encode(bytes).replace('+', ".");
            let hash = format!("$pbkdf2-sha256${rounds}${}${}", adapted(salt), adapted(hash));
            let mut user = members;
            for name in ["salt", "hash", "password_hash", "key", "rounds"] {
                user.remove(name);
            }
            if let Some(email) = user.remove("username") {
                user.entry("email").or_insert(email);
            }
            user.insert("hashed_password".to_owned(), hash.into());
            Ok(Value::Object(user))
        }
        Format::Jsonl | Format::FastapiUsers => match members.contains_key("hashed_password") {
            true => Ok(Value::Object(members)),
            false if members.contains_key("salt") => Err(
                "hashed_password: this field is missing. For a record with salt, use --format session",
            ),
            false => Err(
                "hashed_password: this field is missing. For a record of Django, use --format django",
            ),
        },
    }
}

fn without_nulls(mut user: Value) -> Value {
    if let Some(members) = user.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    user
}

/// Decodes hexadecimal or base64.
fn bytes(text: &str) -> Option<Vec<u8>> {
    if text.len().is_multiple_of(2)
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        let pairs = (0..text.len()).step_by(2);
        return pairs.map(|place| u8::from_str_radix(&text[place..place + 2], 16).ok()).collect();
    }
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

/// Reads the users of a database, 500 at a time.
///
/// # Errors
///
/// The outer error if the database cannot be read; the inner one if the users cannot be sent.
async fn database(import: &mut Import<'_>, file: &Path) -> Result<Result<(), String>, DbErr> {
    let connection = open(file).await?;
    let backend = connection.get_database_backend();
    let count = "select count(*) as count from user";
    let count = connection.query_one_raw(Statement::from_string(backend, count)).await?;
    let count: i64 = count.map_or(Ok(0), |row| row.try_get("", "count"))?;
    let bar = print::count_bar(count.unsigned_abs());
    let mut after = String::new();
    loop {
        let sql = "select id, email, hashed_password, is_active, is_superuser, is_verified \
                   from user where id > ? order by id limit 500";
        let some = Statement::from_sql_and_values(backend, sql, [after.clone().into()]);
        let rows = connection.query_all_raw(some).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            after = row.try_get("", "id")?;
            let user = json!({
                "id": after,
                "email": row.try_get::<String>("", "email")?,
                "hashed_password": row.try_get::<String>("", "hashed_password")?,
                "is_active": row.try_get::<bool>("", "is_active")?,
                "is_superuser": row.try_get::<bool>("", "is_superuser")?,
                "is_verified": row.try_get::<bool>("", "is_verified")?,
            });
            if let Err(fault) =
                import.add(Place(bar.position(), format!("user {after}")), user).await
            {
                return Ok(Err(fault));
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Ok(()))
}

async fn open(file: &Path) -> Result<DatabaseConnection, DbErr> {
    let file = file.to_owned();
    let mut options = ConnectOptions::new("sqlite://file-is-set-below.db");
    options.max_connections(1).sqlx_logging(false).map_sqlx_sqlite_opts(move |options| {
        // The database may be in use, so nothing is written: neither to it nor to files beside it.
        options.filename(&file).read_only(true).create_if_missing(false)
    });
    Database::connect(options).await
}
