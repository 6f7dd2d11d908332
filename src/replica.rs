//! `tessera replica`

use std::process::ExitCode;

use api::base::config::Config;
use clap::{Args, Subcommand};
use reqwest::Method;

use crate::operator::{Operator, Options};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the running servers, and the revocations that each has applied
    List {
        #[command(flatten)]
        options: Options,
    },
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    let Action::List { options } = arguments.action;
    let operator = Operator::new(options, config).await?;
    let answer = operator.call(Method::GET, "/admin/replicas", None).await?;
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    let last = answer["seq"].as_i64().unwrap_or_default();
    operator.print_items(&items, &["name", "applied", "seen"], |replica| {
        let seq = replica["seq"].as_i64().unwrap_or_default();
        vec![
            print::text(&replica["name"]),
            format!("{seq} of {last}"),
            print::time(&replica["seen"]),
        ]
    });
    Ok(ExitCode::SUCCESS)
}
