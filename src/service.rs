//! `tessera service`

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
    /// Create a service. It acts only with API tokens: see `tessera token create --username NAME`
    Create {
        /// The name: 1 to 64 characters of a-z, 0-9, '-', '_' and '.'. The first is a letter or a digit
        name: String,
        /// The scopes that its tokens can have; for example tokens:check,tokens:introspect
        #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
        scope: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// List services
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Delete a service and its API tokens
    Delete {
        /// The name of the service
        name: String,
        #[command(flatten)]
        options: Options,
    },
}

const COLUMNS: [&str; 5] = ["name", "scopes", "active", "created", "id"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Create { name, scope, options } => {
            let operator = Operator::new(options, config).await?;
            let body = json!({ "name": name, "scopes": scope });
            let made = operator.call(Method::POST, "/admin/services", Some(body)).await?;
            let id = print::text(&made["id"]);
            operator.print_change(made, &format!("{name}  {id}")).await?;
        }
        Action::List { options } => {
            let operator = Operator::new(options, config).await?;
            let items = operator.list("/admin/services").await?;
            operator.print_items(&items, &COLUMNS, |service| {
                vec![
                    print::text(&service["name"]),
                    print::text(&service["scopes"]),
                    print::text(&service["is_active"]),
                    print::time(&service["created"]),
                    print::text(&service["id"]),
                ]
            });
        }
        Action::Delete { name, options } => {
            let operator = Operator::new(options, config).await?;
            let path = format!("/admin/services/{}", encoded(&name));
            let none = || format!("there is no service {name}: see `tessera service list`");
            let answer = operator.call(Method::DELETE, &path, None).await;
            let answer = answer.map_err(|refused| refused.or_missing(none))?;
            operator.print_change(answer, "deleted").await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
