//! `tessera user list`

use api::admin::user::COLUMNS as TABLE;
use api::base::config::Config;
use api::base::csv;
use chrono::{DateTime, SecondsFormat};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::operator::{Operator, Output, Server, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only users whose address, name or surname contains this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    query: Option<String>,
    /// Only users with all of these, separated by commas: active, inactive, superuser, ordinary, verified, not-verified
    #[arg(
        long,
        value_enum,
        value_name = "STATES",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    state: Vec<State>,
    /// The format of the output: table (for people), json (for programs) or csv (for spreadsheets)
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    output: Format,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Active,
    Inactive,
    Superuser,
    Ordinary,
    Verified,
    NotVerified,
}

impl State {
    /// The parameter of the operation, with its value.
    fn parameter(self) -> (&'static str, bool) {
        match self {
            Self::Active => ("is_active", true),
            Self::Inactive => ("is_active", false),
            Self::Superuser => ("is_superuser", true),
            Self::Ordinary => ("is_superuser", false),
            Self::Verified => ("is_verified", true),
            Self::NotVerified => ("is_verified", false),
        }
    }
}

/// The columns of the table for people.
pub(crate) const COLUMNS: [&str; 7] =
    ["email", "name", "state", "scopes", "created", "last sign-in", "id"];

pub(crate) async fn run(list: List, config: Config) -> Result<(), String> {
    let List { query, state, output, server } = list;
    let mut path = format!("/users?q={}", encoded(query.as_deref().unwrap_or_default()));
    let mut asked = Vec::new();
    for (name, value) in state.into_iter().map(State::parameter) {
        if asked.contains(&(name, !value)) {
            return Err(format!(
                "no user is found with both values of {name}: give --state one of them, or none to list both"
            ));
        }
        if !asked.contains(&(name, value)) {
            path.push_str(&format!("&{name}={value}"));
            asked.push((name, value));
        }
    }
    let operator = Operator::new(server.printing(Output::Table), config).await?;
    let users = operator.list(&path).await?;
    match output {
        Format::Table => operator.print_items(&users, &COLUMNS, row),
        Format::Json => print::line(json!(users)),
        Format::Csv => {
            print::text_as_is(&csv::line_of(&TABLE.map(str::to_owned)));
            for user in &users {
                let cells: Vec<_> = TABLE.iter().map(|column| cell(user, column)).collect();
                print::text_as_is(&csv::line_of(&cells));
            }
        }
    }
    Ok(())
}

/// Adds the dates of the account, which only the list has.
pub(crate) async fn with_dates(operator: &Operator, user: Value) -> Result<Value, String> {
    let email = encoded(&print::text(&user["email"]));
    let users = operator.list(&format!("/users?q={email}")).await?;
    Ok(users.into_iter().find(|listed| listed["id"] == user["id"]).unwrap_or(user))
}

/// The row of a user in the table for people.
pub(crate) fn row(user: &Value) -> Vec<String> {
    let is = |flag: &str| user[flag] == true;
    let words = [
        (true, if is("is_active") { "active" } else { "inactive" }),
        (is("is_superuser"), "superuser"),
        (true, if is("is_verified") { "verified" } else { "not-verified" }),
    ];
    let words: Vec<_> = words.iter().filter(|(shown, _)| *shown).map(|(_, word)| *word).collect();
    let name = format!("{} {}", print::text(&user["name"]), print::text(&user["surname"]));
    let created = &user["created"];
    vec![
        print::text(&user["email"]),
        name.trim().to_owned(),
        words.join(" "),
        scopes(user),
        if created.is_null() { "unknown".to_owned() } else { print::time(created) },
        print::time(&user["last_sign_in"]),
        print::text(&user["id"]),
    ]
}

/// A cell of the table for spreadsheets. It has the same columns and values as `POST /users/export`.
fn cell(user: &Value, column: &str) -> String {
    match column {
        "scopes" => scopes(user),
        "created" | "last_sign_in" => {
            let at = user[column].as_i64().and_then(|at| DateTime::from_timestamp(at, 0));
            at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
        }
        _ => print::text(&user[column]),
    }
}

fn scopes(user: &Value) -> String {
    let scopes = print::text(&user["scopes"]);
    if scopes.is_empty() { "authenticated".to_owned() } else { scopes }
}
