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
use crate::print;

/// The most users, and bytes, that are sent at once.
const MAX_USERS: usize = 200;
const MAX_BYTES: usize = 48_000;

/// The most that are named who were refused.
const MAX_TOLD: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What has the users
    file: PathBuf,
    /// How they are written; what begins as a SQLite database is one of FastAPI Users
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Say what would become of them, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A SQLite database of FastAPI Users: its table `user`
    FastapiUsers,
    /// JSON lines with `email`, `hashed_password` and whatever else the operation takes: id, is_active,
    /// is_superuser, is_verified, name, surname, website, scopes
    Jsonl,
    /// JSON lines of Django's `auth_user`: `username` or `email`, `password`, is_active, is_superuser,
    /// first_name, last_name
    Django,
    /// JSON lines of sign-in pages written by hand: `email`, and PBKDF2 with SHA-256 of 100000 rounds as
    /// `salt` and `hash` (or `password_hash`), both in hexadecimal or base64; `rounds` if there were others
    Session,
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
            format!("{} is no database of FastAPI Users ({error})", file.display())
        })??;
    } else {
        lines(&mut import, &file, format).await?;
    }
    import.send().await?;
    import.refused.sort();
    import.tell();
    Ok(if import.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Users on their way.
struct Import<'a> {
    operator: &'a Operator,
    dry_run: bool,
    /// Each with where it stands in the file.
    waiting: Vec<(Place, Value)>,
    bytes: usize,
    created: u64,
    known: u64,
    refused: Vec<(Place, String)>,
    /// Who was in the file so far, by address and id.
    seen: HashMap<String, Place>,
}

/// Where somebody stands in the file: the number of the line, or of the row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, String);

impl<'a> Import<'a> {
    fn new(operator: &'a Operator, dry_run: bool) -> Self {
        let (waiting, refused, seen) = (Vec::new(), Vec::new(), HashMap::new());
        Self { operator, dry_run, waiting, bytes: 0, created: 0, known: 0, refused, seen }
    }

    fn refuse(&mut self, place: Place, why: impl Into<String>) {
        self.refused.push((place, why.into()));
    }

    async fn add(&mut self, place: Place, user: Value) -> Result<(), String> {
        let names = ["email", "id"].map(|name| user[name].as_str().map(str::to_ascii_lowercase));
        for name in names.into_iter().flatten() {
            if let Some(Place(_, before)) = self.seen.get(&name) {
                let why = format!("{before} has the same address or id");
                self.refuse(place, why);
                return Ok(());
            }
            self.seen.insert(name, place.clone());
        }
        let length = user.to_string().len();
        if length > MAX_BYTES {
            self.refuse(place, "it is too long");
            return Ok(());
        }
        if self.waiting.len() >= MAX_USERS || self.bytes + length > MAX_BYTES {
            self.send().await?;
        }
        self.bytes += length + 1;
        self.waiting.push((place, user));
        Ok(())
    }

    async fn send(&mut self) -> Result<(), String> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let users: Vec<_> = waiting.iter().map(|(_, user)| user).collect();
        let body = json!({ "users": users, "dry_run": self.dry_run });
        let answer = match self.operator.call(Method::POST, "/admin/import", Some(body)).await {
            // One of them is not what it should be: which, is found out one by one.
            Err(refused) if refused.is_unprocessable() && waiting.len() > 1 => {
                for one in waiting {
                    self.waiting.push(one);
                    Box::pin(self.send()).await?;
                }
                return Ok(());
            }
            Err(refused) if refused.is_unprocessable() => {
                let why = String::from(refused);
                waiting.into_iter().for_each(|(place, _)| self.refuse(place, why.clone()));
                return Ok(());
            }
            answer => answer?,
        };
        let outcomes = answer["outcomes"].as_array().cloned().unwrap_or_default();
        if outcomes.len() != waiting.len() {
            return Err("the answer is not of an import: is TESSERA_URL right?".to_owned());
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

    fn tell(&self) {
        let Self { dry_run, created, known, refused, .. } = self;
        if self.operator.prints_json() {
            let refused: Vec<_> = refused
                .iter()
                .map(|(Place(_, place), why)| json!({ "place": place, "reason": why }))
                .collect();
            print::line(json!({
                "dry_run": dry_run, "created": created, "known": known, "refused": refused
            }));
            return;
        }
        for (Place(_, place), why) in refused.iter().take(MAX_TOLD) {
            eprintln!("{place}: {why}");
        }
        if let Some(more) = refused.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
            eprintln!("and {more} more: --output json has them all");
        }
        let would = if *dry_run { "would be " } else { "" };
        let refused = refused.len();
        print::line(format!(
            "{created} {would}created, {known} known before, {refused} {would}refused"
        ));
    }
}

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
                    Err(why) => import.refuse(place, why),
                },
                Err(_) => import.refuse(place, "it is no JSON object"),
            }
        }
        line.clear();
    }
    bar.finish_and_clear();
    Ok(())
}

/// A user as the operation takes them.
fn read(members: Map<String, Value>, format: Format) -> Result<Value, &'static str> {
    match format {
        Format::Django => {
            let text = |name: &str| members.get(name).filter(|value| **value != "").cloned();
            if text("password").is_none() {
                return Err("it has no password");
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
                return Err("salt and hash are wanted, both in hexadecimal or base64");
            };
            let rounds = members.get("rounds").map_or(Some(100_000), Value::as_u64);
            let rounds = rounds.ok_or("rounds is no number")?;
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
            false if members.contains_key("salt") => {
                Err("it has no hashed_password, but a salt: say --format session")
            }
            false => Err("it has no hashed_password: of Django, say --format django"),
        },
    }
}

fn without_nulls(mut user: Value) -> Value {
    if let Some(members) = user.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    user
}

/// What hexadecimal or base64 stands for.
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

/// The users of a database, some at a time.
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
        // It may be in use: nothing is written, not even beside it.
        options.filename(&file).read_only(true).create_if_missing(false)
    });
    Database::connect(options).await
}
