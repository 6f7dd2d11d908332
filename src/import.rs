//! `tessera import`

mod database;
mod format;
mod json;
mod lines;
mod record;
mod report;
mod source;
mod systems;
mod values;

use std::collections::HashMap;
use std::process::ExitCode;

use api::base::config::Config;
use clap::Args;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesOrdered;
use reqwest::Method;
use serde_json::{Value, json};

use self::format::Format;
use self::record::{Mapping, Reader, User};
use self::report::Report;
use self::source::{Piece, Source};
use crate::operator::{Operator, Options, Refused};
use crate::print;

/// The maximum number of users in one request.
const MAX_USERS: usize = 400;

/// The maximum number of bytes of users in one request.
const MAX_BYTES: usize = 60_000;

/// The number of requests that are answered at the same time, because the database is waited for most of the time.
const AT_ONCE: usize = 4;

/// A request with some users, which gives them back with its answer.
type Sent<'a> = LocalBoxFuture<'a, (Vec<(Place, User)>, Result<Value, Refused>)>;

#[derive(Debug, Args)]
#[command(after_help = format::described())]
pub(crate) struct Arguments {
    /// The file with the users, or the URL of a PostgreSQL database
    #[arg(value_name = "FILE")]
    file: String,
    /// The system that the users come from; the default is what the content looks like
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,
    /// Read a field from another column, such as --map mail=email; a dot leads into an object
    #[arg(long, value_name = "COLUMN=FIELD")]
    map: Vec<Mapping>,
    /// The table of a database, if it has another name than usual
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// The name of the system, which tells its ids from those of another; the default is the format
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Send a mail to the users without a password, in which they choose one
    #[arg(long)]
    invite: bool,
    /// Print what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    let Arguments { file, format, map, table, source, invite, dry_run, options } = arguments;
    let (mut pieces, format) = Source::open(&file, format, table.as_deref()).await?;
    // A mail is stored encrypted until it is sent, and the key comes from APP_SECRET.
    let operator = match invite {
        true => Operator::with_secret(options, config).await?,
        false => Operator::new(options, config).await?,
    };
    let source = source.unwrap_or_else(|| format.name());
    let mut import = Import {
        operator: &operator,
        source,
        invite,
        waiting: Vec::new(),
        bytes: 0,
        sent: FuturesOrdered::new(),
        seen: HashMap::new(),
        report: Report::new(dry_run, format, pieces.is_guessed()),
    };
    let mut reader = Reader::new(format, map, pieces.is_table());
    let taken = import.take(&mut pieces, &mut reader).await;
    let done = import.settle_all().await;
    pieces.finish();
    import.report.ignored = reader.ignored();
    import.report.print(&operator);
    taken.and(done)?;
    match import.report.read {
        0 => Err(format!("{} has no users", source::shown(&file))),
        _ if import.report.is_complete() => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// An import in progress.
struct Import<'a> {
    operator: &'a Operator,
    source: String,
    invite: bool,
    /// The users that were read but not sent yet.
    waiting: Vec<(Place, User)>,
    /// The length of those users.
    bytes: usize,
    /// The requests without an answer, in the order of the file.
    sent: FuturesOrdered<Sent<'a>>,
    /// The lines or rows of the users so far, by address and by id.
    seen: HashMap<Box<str>, u64>,
    report: Report,
}

/// The place of a user in the file: the number of the line or row, and its name for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, String);

impl<'a> Import<'a> {
    /// Reads and sends all users.
    async fn take(&mut self, pieces: &mut Source, reader: &mut Reader) -> Result<(), String> {
        while let Some(Piece { place, content }) = pieces.next().await? {
            let user = match content {
                Ok(members) => reader.read(members),
                Err(reason) => Some(Err(reason)),
            };
            match user {
                Some(Ok(user)) => self.add(place, user).await?,
                Some(Err(reason)) => self.refuse(place, reason),
                None => {}
            }
        }
        self.send().await
    }

    fn refuse(&mut self, place: Place, reason: impl Into<String>) {
        self.report.read += 1;
        self.report.refused.push((place, reason.into()));
    }

    /// Adds a user to those that wait, and sends these if there are enough.
    async fn add(&mut self, place: Place, user: User) -> Result<(), String> {
        for (field, key) in user.keys() {
            if let Some(before) = self.seen.get(key.as_str()) {
                let reason = format!("{field}: {} {before} has the same value", place.unit());
                self.refuse(place, reason);
                return Ok(());
            }
        }
        let keys = user.keys().map(|(_, key)| (key.into_boxed_str(), place.0));
        self.seen.extend(keys.collect::<Vec<_>>());
        let length = user.body.to_string().len();
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
        if self.sent.len() >= AT_ONCE {
            self.settle_next().await?;
        }
        let sent = self.request(waiting);
        self.sent.push_back(sent);
        Ok(())
    }

    fn request(&self, users: Vec<(Place, User)>) -> Sent<'a> {
        let bodies: Vec<_> = users.iter().map(|(_, user)| &user.body).collect();
        let (dry_run, source, invite) = (self.report.dry_run, &self.source, self.invite);
        let body =
            json!({ "users": bodies, "dry_run": dry_run, "source": source, "invite": invite });
        let operator = self.operator;
        Box::pin(async move {
            let answer = operator.call(Method::POST, "/admin/import", Some(body)).await;
            (users, answer)
        })
    }

    /// Waits for all answers. After an error, what the others did is still reported.
    async fn settle_all(&mut self) -> Result<(), String> {
        let mut done = Ok(());
        while !self.sent.is_empty() {
            let settled = self.settle_next().await;
            done = done.and(settled);
        }
        done
    }

    /// Waits for the answer to the first request.
    async fn settle_next(&mut self) -> Result<(), String> {
        let Some((users, answer)) = self.sent.next().await else { return Ok(()) };
        match answer {
            // At least one record has a field that is not valid. To find it, the records are sent one by one.
            Err(refused) if refused.is_unprocessable() && users.len() > 1 => {
                for one in users {
                    let (one, answer) = self.request(vec![one]).await;
                    self.settle(one, answer)?;
                }
                Ok(())
            }
            answer => self.settle(users, answer),
        }
    }

    /// Counts the outcomes of the users of one request.
    fn settle(
        &mut self,
        users: Vec<(Place, User)>,
        answer: Result<Value, Refused>,
    ) -> Result<(), String> {
        let answer = match answer {
            Err(refused) if refused.is_unprocessable() => {
                let reason = String::from(refused);
                users.into_iter().for_each(|(place, _)| self.refuse(place, reason.clone()));
                return Ok(());
            }
            answer => answer?,
        };
        let outcomes = answer["outcomes"].as_array().cloned().unwrap_or_default();
        if outcomes.len() != users.len() {
            return Err("the answer is not one of an import: is TESSERA_URL right?".to_owned());
        }
        self.report.not_invited += answer["not_invited"].as_u64().unwrap_or(0);
        for ((place, user), outcome) in users.into_iter().zip(outcomes) {
            self.note(place, user, &outcome);
        }
        Ok(())
    }

    /// Counts the outcome of a user.
    fn note(&mut self, place: Place, user: User, outcome: &Value) {
        self.report.invited += u64::from(outcome["invited"] == true);
        match outcome["outcome"].as_str() {
            Some("created") => self.report.note_created(user),
            Some("known") => self.report.note_known(),
            _ => self.refuse(place, print::text(&outcome["reason"])),
        }
    }
}

impl Place {
    fn line(number: u64) -> Self {
        Self(number, format!("line {number}"))
    }

    fn row(number: u64) -> Self {
        Self(number, format!("row {number}"))
    }

    /// The unit that the places of this file are counted in.
    fn unit(&self) -> &str {
        self.1.split(' ').next().unwrap_or("line")
    }
}
