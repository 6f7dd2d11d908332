//! `tessera feed`

use std::process::ExitCode;

use api::base::config::Config;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use crate::operator::{Operator, Options};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print where the feed of revocations is
    Status {
        #[command(flatten)]
        options: Options,
    },
    /// Begin the feed anew, after the database was restored from a backup
    Reset {
        #[command(flatten)]
        options: Options,
    },
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    let (method, path, options) = match arguments.action {
        Action::Status { options } => (Method::GET, "/admin/feed", options),
        Action::Reset { options } => (Method::POST, "/admin/feed/reset", options),
    };
    let operator = Operator::new(options, config).await?;
    let status: Value = operator.call(method, path, None).await?;
    operator.print_items(&[status], &["epoch", "seq", "low", "longest"], |status| {
        ["epoch", "seq", "low", "longest"].map(|name| print::text(&status[name])).to_vec()
    });
    Ok(ExitCode::SUCCESS)
}
