//! `tessera revocation`

use std::process::ExitCode;

use api::base::config::Config;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::json;

use crate::operator::{Operator, Options};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Revoke a token, a session, or everything of a user
    Add {
        /// The kind of the subject: jti (a token), sid (a session) or sub (everything of a user)
        #[arg(long, value_enum, hide_possible_values = true)]
        kind: Kind,
        /// The id of the token, the session or the user
        #[arg(long, value_name = "ID")]
        subject: String,
        /// The reason, for the list of revocations
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        options: Options,
    },
    /// List revocations, the latest first
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Lift a revocation. A session that has ended does not start again
    Lift {
        /// The number of the revocation, as `tessera revocation list` prints it
        seq: u64,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// One token
    Jti,
    /// A session
    Sid,
    /// Everything of a user
    Sub,
}

const COLUMNS: [&str; 6] = ["seq", "kind", "subject", "why", "at", "until"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Add { kind, subject, why, options } => {
            let operator = Operator::new(options, config).await?;
            let kind = match kind {
                Kind::Jti => "jti",
                Kind::Sid => "sid",
                Kind::Sub => "sub",
            };
            let body = json!({ "kind": kind, "subject": subject, "why": why });
            let none = || format!("there is no user or session {subject}");
            let answer = operator.call(Method::POST, "/admin/revocations", Some(body)).await;
            let answer = answer.map_err(|refused| refused.or_missing(none))?;
            operator.print_change(answer, "revoked").await?;
        }
        Action::List { options } => {
            let operator = Operator::new(options, config).await?;
            let items = operator.list("/admin/revocations").await?;
            operator.print_items(&items, &COLUMNS, |entry| {
                vec![
                    print::text(&entry["seq"]),
                    print::text(&entry["kind"]),
                    print::text(&entry["subject"]),
                    print::text(&entry["why"]),
                    print::time(&entry["at"]),
                    print::time(&entry["until"]),
                ]
            });
        }
        Action::Lift { seq, options } => {
            let operator = Operator::new(options, config).await?;
            let path = format!("/admin/revocations/{seq}");
            let none = || format!("there is no revocation {seq}: see `tessera revocation list`");
            let answer = operator.call(Method::DELETE, &path, None).await;
            let answer = answer.map_err(|refused| refused.or_missing(none))?;
            operator.print_change(answer, "lifted").await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
