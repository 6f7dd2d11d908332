//! `tessera migrate`

use api::base::config::Config;
use clap::{Args, Subcommand};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Apply all pending migrations
    Up,
    /// List the migrations: exit status 0 if all are applied, otherwise 1
    Status,
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<(), String> {
    let database = api::connect(&config).await?;
    match arguments.action {
        Action::Up => database
            .migrate()
            .await
            .map_err(|error| format!("the migrations could not be applied: {error}"))?,
        Action::Status => {}
    }
    let migrations = database
        .migrations()
        .await
        .map_err(|error| format!("the list of migrations could not be read: {error}"))?;
    for (name, applied) in &migrations {
        print::line(format!("{}  {name}", if *applied { "applied" } else { "pending" }));
    }
    if migrations.iter().all(|(_, applied)| *applied) {
        Ok(())
    } else {
        Err("there are pending migrations: run `tessera migrate up`".to_owned())
    }
}
