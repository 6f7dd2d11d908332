//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

use api::base::config::{Config, EnvFile, SettingFault, definitions, is_empty};
use clap::builder::{OsStringValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

/// An identity provider in one binary. It registers users, signs them in, and issues and revokes the tokens
/// that other services trust.
#[derive(Debug, Parser)]
#[command(
    name = "tessera",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Start with `tessera serve --dev`, and open http://localhost:8000/docs."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: Config,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server until it gets a signal to stop
    Serve,
    /// Apply database migrations, or list them
    Migrate(crate::migrate::Arguments),
    /// Copy a SQLite database into a file while servers run; for PostgreSQL, print the command that does it
    Backup(crate::backup::Arguments),
    /// Restore a backup, and end everything that it would bring back to life
    Restore(crate::restore::Arguments),
    /// Create, list, change, export and delete users
    User(crate::user::Arguments),
    /// Create, list, delete and check API tokens, and explain tokens
    Token(crate::token::Arguments),
    /// List and end sessions
    Session(crate::session::Arguments),
    /// Revoke access, list revocations and lift them
    Revocation(crate::revocation::Arguments),
    /// Print the state of the revocation feed, and begin it anew after a restore
    Feed(crate::feed::Arguments),
    /// List, rotate and retire signing keys, and derive the keys of audiences
    Keys(crate::keys::Arguments),
    /// Create, list and delete services: accounts for programs
    Service(crate::service::Arguments),
    /// Register applications that sign people in here, and list, check, change and delete them
    Client(crate::client::Arguments),
    /// Register APIs that accept tokens of applications, and list and delete them
    Resource(crate::resource::Arguments),
    /// Manage the providers with which people sign in (`UPSTREAMS_FILE`)
    Upstream(crate::upstream::Arguments),
    /// Import users of another system with their existing passwords
    Import(crate::import::Arguments),
    /// Build a filter of stolen passwords
    Breach(crate::breach::Arguments),
    /// List the audit, and verify that it was not altered
    Audit(crate::audit::Arguments),
    /// List the running servers
    Replica(crate::replica::Arguments),
    /// Print the OpenAPI document in YAML
    Openapi,
    /// Print and check the current settings
    Config(crate::config::Arguments),
    /// Generate secrets
    Secret(crate::secret::Arguments),
    /// Check what a server needs, and print what to do: exit status 0 if it can run, otherwise 1
    Doctor(crate::doctor::Arguments),
    /// Check that a running server can answer: exit status 0 if it can, otherwise 1
    Health,
    /// Enter commands at a prompt, with completion and a history
    Shell,
    /// Print a script with which a shell completes these commands
    Completions(crate::manual::Completions),
    /// Print the manual page, or write a page for every command
    Man(crate::manual::Man),
    /// Print the help of a command, the settings, or the tree of all commands
    Help(crate::help::Arguments),
}

/// The line in the help of each command that names the page of the settings.
const SETTINGS: &str = "Settings are also options: see `tessera help settings`.";

/// The exit status for a command line that Tessera does not understand.
pub(crate) fn not_understood() -> ExitCode {
    ExitCode::from(2)
}

/// The definition of the command line. Settings are options of every command, but its help does not list them,
/// and it never shows values from the environment. A variable that is empty counts as not set.
pub(crate) fn definition() -> clap::Command {
    let root = Cli::command();
    without_empty_variables(with_settings_line(
        root.mut_args(|setting| setting.hide(true).hide_env_values(true))
            .mut_subcommands(|below| below.disable_help_subcommand(true)),
    ))
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| match argument.get_env() {
        Some(name) if is_empty(name) => argument.env(Resettable::Reset),
        _ => argument,
    });
    command.mut_subcommands(without_empty_variables)
}

/// The names of all variables that Tessera reads.
pub(crate) fn variables() -> Vec<String> {
    fn add(command: &clap::Command, names: &mut Vec<String>) {
        let variables = command.get_arguments().filter_map(|argument| argument.get_env());
        names.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|below| add(below, names));
    }
    let mut names = Vec::new();
    add(&Cli::command(), &mut names);
    names.sort();
    names.dedup();
    names
}

/// A sentence for each line of `.env` that has no effect.
pub(crate) fn faulty_lines(file: &EnvFile) -> Vec<String> {
    let sentence = |line: &usize| {
        format!(
            "line {line} of .env is not of the form NAME=value, so it has no effect: close each quote, and \
             begin comments with #"
        )
    };
    file.faulty_lines.iter().map(sentence).collect()
}

/// The reason why a command line is refused.
pub(crate) enum Refusal {
    /// Settings have values that they cannot have.
    Settings(Box<Faults>),
    /// Another error, or the help that was asked for.
    Usage(clap::Error),
}

/// All settings with values that they cannot have.
pub(crate) struct Faults {
    /// The faults, in the order of the settings.
    pub(crate) found: Vec<SettingFault>,
    /// The rest of the command line.
    pub(crate) matches: ArgMatches,
}

impl Faults {
    /// The settings without the faulty ones, which have their defaults.
    pub(crate) fn others(&self) -> Option<Config> {
        let mut words = vec![OsString::from("settings")];
        let settings = definitions();
        let is_given = |argument: &&clap::Arg| {
            let id = argument.get_id().as_str();
            let source = self.matches.value_source(id);
            source.is_some_and(|source| source != ValueSource::DefaultValue)
                && !self.found.iter().any(|fault| fault.id == id)
        };
        for argument in settings.get_arguments().filter(is_given) {
            let (id, long) = (argument.get_id().as_str(), argument.get_long()?);
            for value in self.matches.get_raw(id).into_iter().flatten() {
                let mut word = OsString::from(format!("--{long}="));
                word.push(value);
                words.push(word);
            }
        }
        let settings = settings.mut_args(|argument| {
            // The words repeat a list's option for each of its values.
            let is_list = matches!(argument.get_action(), ArgAction::Append);
            let argument = argument.env(Resettable::Reset);
            if is_list { argument.value_delimiter(None) } else { argument }
        });
        let matches = settings.try_get_matches_from(words).ok()?;
        let mut config = Config::from_arg_matches(&matches).ok()?;
        config.follow_port(&matches);
        Some(config)
    }
}

/// Reads a command line. All settings with faulty values are found, not only the first.
pub(crate) fn parse(words: &[OsString]) -> Result<ArgMatches, Refusal> {
    let mut command = definition();
    let mut found: Vec<SettingFault> = Vec::new();
    loop {
        let error = match command.clone().try_get_matches_from(words) {
            Ok(matches) if found.is_empty() => return Ok(matches),
            Ok(matches) => return Err(Refusal::Settings(Box::new(Faults { found, matches }))),
            Err(error) => error,
        };
        match SettingFault::of(&error) {
            Some(fault) if !found.iter().any(|known| known.id == fault.id) => {
                // With a parser that takes every value, the next attempt finds the next fault.
                command = command.mut_arg(fault.id.clone(), |argument| {
                    argument.value_parser(OsStringValueParser::new())
                });
                found.push(fault);
            }
            _ => return Err(Refusal::Usage(error)),
        }
    }
}

/// Adds the line that names the page of the settings to the help of a command and of all its subcommands.
fn with_settings_line(command: clap::Command) -> clap::Command {
    let more = command.get_after_help().map(|more| format!("{more}\n")).unwrap_or_default();
    command.after_help(format!("{more}{SETTINGS}")).mut_subcommands(with_settings_line)
}

/// Prints the faults of settings.
pub(crate) fn refuse_settings(faults: &Faults) -> ExitCode {
    for fault in &faults.found {
        eprintln!("error: {}", fault.sentence);
    }
    not_understood()
}

/// Prints the help that was asked for, or the fault in a command line. A word in the wrong place is not shown, because
/// it may be a secret.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    let not_text = api::base::config::not_text();
    match error.get(ContextKind::InvalidArg) {
        _ if error.kind() == ErrorKind::InvalidUtf8 && !not_text.is_empty() => {
            eprintln!("error: {} must be UTF-8 text", not_text.join(", "));
        }
        // Probably a secret in the wrong place. A word that begins with a dash is a mistyped option.
        Some(ContextValue::String(argument))
            if error.kind() == ErrorKind::UnknownArgument && !argument.starts_with('-') =>
        {
            eprintln!(
                "error: there is one argument too many. It is not shown, because it may be a secret: see --help"
            );
        }
        _ => {
            let _ = error.print();
        }
    }
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ => not_understood(),
    }
}
