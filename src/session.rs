//! `tessera session`

use std::process::ExitCode;

use api::base::config::Config;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{Operator, Options, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the sessions of a user
    List {
        /// The user's e-mail address
        #[arg(long, value_name = "NAME")]
        username: String,
        /// List the sessions that have ended, with the reasons
        #[arg(long)]
        ended: bool,
        #[command(flatten)]
        options: Options,
    },
    /// End a session, or all sessions of a user
    End {
        #[command(flatten)]
        chosen: Chosen,
        /// The reason, for the list of revocations
        #[arg(long, value_name = "TEXT", default_value = "ended by an operator")]
        why: String,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// The id of one session
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The e-mail address of a user, for all of their sessions
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
}

const COLUMNS: [&str; 7] =
    ["id", "created", "last used", "refreshed", "address", "program", "expires or ended"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::List { username, ended, options } => {
            let operator = Operator::new(options, config).await?;
            let path = format!("/admin/sessions?ended={ended}&username={}", encoded(&username));
            let none = || format!("there is no user {username}");
            let items = operator.list(&path).await;
            let items = items.map_err(|refused| refused.or_missing(none))?;
            operator.print_items(&items, &COLUMNS, |session| {
                vec![
                    print::text(&session["id"]),
                    print::time(&session["created"]),
                    print::time(&session["last_used"]),
                    print::text(&session["generation"]),
                    print::text(&session["ip"]),
                    print::text(&session["user_agent"]),
                    end(session),
                ]
            });
        }
        Action::End { chosen, why, options } => {
            let operator = Operator::new(options, config).await?;
            let named = chosen.username.clone().or(chosen.id.clone()).unwrap_or_default();
            let (path, body) = match chosen.username {
                Some(name) => ("/admin/sessions/end", json!({ "username": name, "why": why })),
                None => {
                    let body = json!({ "kind": "sid", "subject": chosen.id, "why": why });
                    ("/admin/revocations", body)
                }
            };
            let none = || format!("there is no user or session {named}");
            let answer = operator.call(Method::POST, path, Some(body)).await;
            let answer = answer.map_err(|refused| refused.or_missing(none))?;
            operator.print_change(answer, "ended").await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn end(session: &Value) -> String {
    if session["ended"].is_null() {
        return print::time(&session["expires"]);
    }
    let ip = print::text(&session["ended_ip"]);
    let ip = if ip.is_empty() { ip } else { format!(" from {ip}") };
    format!("{}, {}{ip}", print::time(&session["ended"]), print::text(&session["ended_why"]))
}
