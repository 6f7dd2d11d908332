//! `tessera resource`

use std::process::ExitCode;

use api::base::config::Config;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::operator::{Operator, Options, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Register an API that accepts access tokens of applications
    Create {
        /// The URI of the API, which is the `aud` of its tokens; for example `https://api.example.com`
        uri: String,
        /// The name that people see
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// The scopes that it has; for example orders:read,orders:write
        #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
        scope: Vec<String>,
        /// Let applications that registered themselves ask for it
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        options: Options,
    },
    /// List APIs
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Delete an API. Tokens for it stay valid until they expire
    Delete {
        /// The URI of the API
        uri: String,
        #[command(flatten)]
        options: Options,
    },
}

const COLUMNS: [&str; 6] = ["uri", "name", "scopes", "origin", "open", "enabled"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Create { uri, name, scope, open, options } => {
            let operator = Operator::new(options, config).await?;
            let body = json!({ "uri": uri, "name": name, "scopes": scope, "open": open });
            let made = operator.call(Method::POST, "/admin/resources", Some(body)).await?;
            operator.print_change(made, &uri).await?;
        }
        Action::List { options } => {
            let operator = Operator::new(options, config).await?;
            let items = operator.list("/admin/resources").await?;
            operator.print_items(&items, &COLUMNS, |resource| {
                COLUMNS.map(|column| print::text(&resource[column])).to_vec()
            });
        }
        Action::Delete { uri, options } => {
            let operator = Operator::new(options, config).await?;
            let path = format!("/admin/resources?uri={}", encoded(&uri));
            let none = || format!("there is no resource {uri}: see `tessera resource list`");
            let answer = operator.call(Method::DELETE, &path, None).await;
            let answer = answer.map_err(|refused| refused.or_missing(none))?;
            operator.print_change(answer, "deleted").await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
