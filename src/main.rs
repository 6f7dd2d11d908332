//! The `tessera` command: one file per subcommand.
//!
//! Exit status: 0 for done, 1 for a failure, 2 for a command line that cannot be understood.

mod cli;
mod config;
mod health;
mod log;
mod migrate;
mod openapi;
mod print;
mod secret;
mod serve;
mod token;
mod user;

use std::process::ExitCode;

use clap::FromArgMatches;
use cli::{Cli, Command};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let from_file = api::config::load_env_file().map_err(|error| error.to_string())?;
    let matches = match cli::definition().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return Ok(cli::refuse(&error)),
    };
    let Cli { config, command } = Cli::from_arg_matches(&matches).map_err(|e| e.to_string())?;
    if let Command::Config(arguments) = &command {
        config::run(arguments, &matches, &from_file);
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Serve = command {
        log::to_stderr(&config)?;
    } else {
        log::faults_to_stderr();
    }
    let config = config.complete().map_err(|error| error.to_string())?;
    match command {
        Command::Serve => block_on(serve::run(config))??,
        Command::Migrate(arguments) => block_on(migrate::run(arguments, config))??,
        Command::User(arguments) => block_on(user::run(arguments, config))??,
        Command::Token(arguments) => block_on(token::run(arguments, config))??,
        Command::Health => block_on(health::run(&config))??,
        Command::Openapi => openapi::run(),
        Command::Secret(arguments) => secret::run(&arguments),
        Command::Config(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the threads that serve could not be started: {error}"))?;
    Ok(runtime.block_on(future))
}
