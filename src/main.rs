//! The command `tessera`, with one file for each subcommand.
//!
//! Exit status: 0 for success, 1 for a failure, 2 for a command line that Tessera does not understand.

mod audit;
mod backup;
mod breach;
mod cli;
mod client;
mod client_definition;
mod client_explain;
mod client_preset;
mod client_show;
mod config;
mod doctor;
mod feed;
mod finding;
mod health;
mod help;
mod import;
mod invitation;
mod keys;
mod log;
mod manual;
mod migrate;
mod notify;
mod openapi;
mod operator;
mod pem;
mod print;
mod replica;
mod resource;
mod restore;
mod revocation;
mod secret;
mod serve;
mod service;
mod session;
mod shell;
mod token;
mod upstream;
mod user;
mod user_list;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Once;

use api::base::config::{Config, ConfigError, EnvFile};
use clap::{ArgMatches, FromArgMatches};
use cli::{Cli, Command, Refusal};
use tikv_jemallocator::Jemalloc;

/// It saves CPU time of each request (docs/decisions/0037).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let run = || {
        let file = api::base::config::load_env_file().map_err(|error| error.to_string())?;
        execute(std::env::args_os(), &file)
    };
    run().unwrap_or_else(|fault: String| {
        eprintln!("error: {fault}");
        ExitCode::FAILURE
    })
}

/// Executes a command line. `file` says what `.env` contains.
fn execute(words: impl IntoIterator<Item = OsString>, file: &EnvFile) -> Result<ExitCode, String> {
    let words: Vec<_> = words.into_iter().collect();
    let matches = match cli::parse(&words) {
        Ok(matches) => matches,
        Err(Refusal::Usage(error)) => return Ok(cli::refuse(&error)),
        Err(Refusal::Settings(faults)) => {
            let checked = config::check_anyway(&faults, file);
            return Ok(checked.unwrap_or_else(|| cli::refuse_settings(&faults)));
        }
    };
    let Cli { mut config, command } = Cli::from_arg_matches(&matches).map_err(|e| e.to_string())?;
    config.follow_port(&matches);
    match &command {
        Command::Serve => log::to_stderr(&config)?,
        _ => log::faults_to_stderr(),
    }
    warn_of_env_file(&command, file);
    run(config, command, words, &matches, file)
}

/// Warns of lines and names in `.env` that have no effect. `tessera config check` lists them itself.
fn warn_of_env_file(command: &Command, file: &EnvFile) {
    if matches!(command, Command::Config(_) | Command::Doctor(_) | Command::Help(_)) {
        return;
    }
    // Once, not again for each command at the prompt.
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        let known = cli::variables();
        let misspelt = api::base::config::misspelt(file, &known);
        for sentence in cli::faulty_lines(file).into_iter().chain(misspelt) {
            tracing::warn!("{sentence}");
        }
        let foreign = api::base::config::foreign_names(file, &known);
        if !foreign.is_empty() {
            tracing::info!(
                names = foreign.join(", "),
                ".env sets names that Tessera does not read"
            );
        }
    });
}

fn run(
    config: Config,
    command: Command,
    words: Vec<OsString>,
    matches: &ArgMatches,
    file: &EnvFile,
) -> Result<ExitCode, String> {
    let settings = config.clone();
    let complete = || config.complete().map_err(|faults| joined(&faults));
    match command {
        Command::Serve => {
            let shown = api::base::config::settings(matches, &file.applied);
            let source = log::Source::of(matches, file);
            block_on(serve::run(Config { shown, ..complete()? }, source))??;
        }
        Command::Migrate(arguments) => block_on(migrate::run(arguments, complete()?))??,
        Command::Backup(arguments) => return block_on(backup::run(arguments, complete()?))?,
        Command::Restore(arguments) => return block_on(restore::run(arguments, complete()?))?,
        Command::User(arguments) => return block_on(user::run(arguments, complete()?))?,
        Command::Token(arguments) => return block_on(token::run(arguments, complete()?))?,
        Command::Session(arguments) => return block_on(session::run(arguments, complete()?))?,
        Command::Revocation(arguments) => {
            return block_on(revocation::run(arguments, complete()?))?;
        }
        Command::Service(arguments) => return block_on(service::run(arguments, complete()?))?,
        Command::Client(arguments) => return block_on(client::run(arguments, complete()?))?,
        Command::Resource(arguments) => return block_on(resource::run(arguments, complete()?))?,
        Command::Upstream(arguments) => return block_on(upstream::run(arguments, complete()?))?,
        Command::Audit(arguments) => return block_on(audit::run(arguments, complete()?))?,
        Command::Import(arguments) => return block_on(import::run(arguments, complete()?))?,
        Command::Breach(arguments) => breach::run(arguments)?,
        Command::Replica(arguments) => return block_on(replica::run(arguments, complete()?))?,
        Command::Feed(arguments) => return block_on(feed::run(arguments, complete()?))?,
        Command::Keys(arguments) => return block_on(keys::run(arguments, complete()?))?,
        Command::Doctor(arguments) => return block_on(doctor::run(&arguments, settings, file)),
        Command::Health => block_on(health::run(&complete()?))??,
        Command::Shell => return shell::run(&words[1..], file),
        Command::Openapi => openapi::run(),
        Command::Secret(arguments) => secret::run(&arguments),
        Command::Config(arguments) => {
            return Ok(config::run(&arguments, matches, settings, file));
        }
        Command::Completions(arguments) => manual::completions(&arguments, cli::definition()),
        Command::Man(arguments) => manual::man(&arguments, cli::definition())?,
        Command::Help(arguments) => help::run(&arguments, cli::definition())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// All faults, each on a line of its own.
fn joined(faults: &[ConfigError]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: ")
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the server's threads could not be started: {error}"))?;
    Ok(runtime.block_on(future))
}
