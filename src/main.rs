//! The command `tessera`, with one file for each subcommand.
//!
//! Exit status: 0 for success, 1 for a failure, 2 for a command line that Tessera does not understand.

mod audit;
mod breach;
mod cli;
mod config;
mod health;
mod help;
mod import;
mod invitation;
mod keys;
mod log;
mod manual;
mod migrate;
mod openapi;
mod operator;
mod pem;
mod print;
mod replica;
mod revocation;
mod secret;
mod serve;
mod service;
mod session;
mod shell;
mod token;
mod user;

use std::ffi::OsString;
use std::process::ExitCode;

use api::base::config::Config;
use clap::FromArgMatches;
use cli::{Cli, Command};

fn main() -> ExitCode {
    let run = || {
        let from_file = api::base::config::load_env_file().map_err(|error| error.to_string())?;
        execute(std::env::args_os(), &from_file)
    };
    run().unwrap_or_else(|fault: String| {
        eprintln!("error: {fault}");
        ExitCode::FAILURE
    })
}

/// Executes a command line. `from_file` names the environment variables that `.env` set.
fn execute(
    words: impl IntoIterator<Item = OsString>,
    from_file: &[String],
) -> Result<ExitCode, String> {
    let words: Vec<_> = words.into_iter().collect();
    let matches = match cli::definition().try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => return Ok(cli::refuse(&error)),
    };
    let Cli { config, command } = Cli::from_arg_matches(&matches).map_err(|e| e.to_string())?;
    match &command {
        Command::Serve => log::to_stderr(&config)?,
        _ => log::faults_to_stderr(),
    }
    let complete = || config.complete().map_err(|error| error.to_string());
    match command {
        Command::Serve => {
            let shown = api::base::config::settings(&matches, from_file);
            block_on(serve::run(Config { shown, ..complete()? }))??;
        }
        Command::Migrate(arguments) => block_on(migrate::run(arguments, complete()?))??,
        Command::User(arguments) => return block_on(user::run(arguments, complete()?))?,
        Command::Token(arguments) => return block_on(token::run(arguments, complete()?))?,
        Command::Session(arguments) => return block_on(session::run(arguments, complete()?))?,
        Command::Revocation(arguments) => {
            return block_on(revocation::run(arguments, complete()?))?;
        }
        Command::Service(arguments) => return block_on(service::run(arguments, complete()?))?,
        Command::Audit(arguments) => return block_on(audit::run(arguments, complete()?))?,
        Command::Import(arguments) => return block_on(import::run(arguments, complete()?))?,
        Command::Breach(arguments) => breach::run(arguments)?,
        Command::Replica(arguments) => return block_on(replica::run(arguments, complete()?))?,
        Command::Keys(arguments) => return block_on(keys::run(arguments, complete()?))?,
        Command::Health => block_on(health::run(&complete()?))??,
        Command::Shell => {
            let settings: Vec<_> =
                words.into_iter().skip(1).filter(|word| word != "shell").collect();
            return shell::run(&settings, from_file);
        }
        Command::Openapi => openapi::run(),
        Command::Secret(arguments) => secret::run(&arguments),
        Command::Config(arguments) => config::run(&arguments, &matches, from_file),
        Command::Completions(arguments) => manual::completions(&arguments, cli::definition()),
        Command::Man(arguments) => manual::man(&arguments, cli::definition())?,
        Command::Help(arguments) => help::run(&arguments, cli::definition())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the server's threads could not be started: {error}"))?;
    Ok(runtime.block_on(future))
}
