//! The command line.

use std::process::ExitCode;

use api::base::config::Config;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

/// A JWT identity provider in one binary: it registers people, proves who they are, issues the
/// tokens that other services trust, and takes them back.
#[derive(Debug, Parser)]
#[command(
    name = "tessera",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Start with `tessera serve --dev`, and open http://localhost:8000/docs. Settings are listed by `--help`."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: Config,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve, until told to stop
    Serve,
    /// Bring the database schema up to date, or say how far it is
    Migrate(crate::migrate::Arguments),
    /// Make, list, change, export and delete users
    User(crate::user::Arguments),
    /// Make, list, delete and check API tokens, and look into JWTs
    Token(crate::token::Arguments),
    /// List and end sessions
    Session(crate::session::Arguments),
    /// Revoke by hand, list what was revoked, and take that back
    Revocation(crate::revocation::Arguments),
    /// List, rotate and retire the keys that sign, and derive those of audiences
    Keys(crate::keys::Arguments),
    /// Make services, which only API tokens act as
    Service(crate::service::Arguments),
    /// Bring users from elsewhere, with the passwords they have
    Import(crate::import::Arguments),
    /// Make a filter of stolen passwords
    Breach(crate::breach::Arguments),
    /// List what happened, and find out whether that was altered
    Audit(crate::audit::Arguments),
    /// Say which servers are on line
    Replica(crate::replica::Arguments),
    /// Print the OpenAPI document, in YAML
    Openapi,
    /// Show the settings
    Config(crate::config::Arguments),
    /// Make secrets
    Secret(crate::secret::Arguments),
    /// Ask a running server whether it can answer: exit status 0 if so, else 1
    Health,
    /// Take these commands at a prompt, with completion and history
    Shell,
    /// Print what makes a shell complete these commands
    Completions(crate::manual::Completions),
    /// Print the manual page, or write one for every command
    Man(crate::manual::Man),
    /// Print help of a command, or the tree of all of them
    Help(crate::help::Arguments),
}

/// The status of a command line that cannot be understood.
pub(crate) fn not_understood() -> ExitCode {
    ExitCode::from(2)
}

/// The command line, with help that does not show what the environment holds, and shows settings
/// only where all of it is asked for.
pub(crate) fn definition() -> clap::Command {
    let root = Cli::command();
    root.mut_args(|argument| argument.hide_env_values(true).hide_short_help(true))
        .mut_subcommands(|below| below.disable_help_subcommand(true))
}

/// Prints help, or what cannot be understood of a command line. A setting that cannot be is named
/// and its value is not shown: it may be a secret in the wrong place.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    let value_is_at_fault =
        matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    let not_text = api::base::config::not_text();
    if error.kind() == ErrorKind::InvalidUtf8 && !not_text.is_empty() {
        eprintln!("error: {} must be UTF-8 text", not_text.join(", "));
        return ExitCode::from(2);
    }
    let settings = api::base::config::definitions();
    let is_setting = |argument: &str| {
        let name = argument.split([' ', '[', '=']).next().unwrap_or_default();
        settings
            .get_arguments()
            .any(|known| known.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long)))
    };
    match error.get(ContextKind::InvalidArg) {
        // A secret in the wrong place, likely: what begins with dashes is an option mistyped.
        Some(ContextValue::String(argument))
            if error.kind() == ErrorKind::UnknownArgument && !argument.starts_with('-') =>
        {
            eprintln!(
                "error: a word too many, which is not shown: see --help for what is expected"
            );
        }
        Some(ContextValue::String(argument)) if value_is_at_fault && is_setting(argument) => {
            let name =
                argument.split([' ', '[', '=']).next().unwrap_or_default().trim_start_matches('-');
            let variable = if name == "dev" { "tessera-dev" } else { name };
            let variable = variable.to_ascii_uppercase().replace('-', "_");
            let help = api::base::config::definitions()
                .get_arguments()
                .find(|argument| argument.get_long() == Some(name))
                .and_then(|argument| argument.get_help().map(ToString::to_string))
                .unwrap_or_default();
            eprintln!("error: {variable} (flag, environment or .env) cannot be what it is. It is:");
            eprintln!("  {}", help.split_whitespace().collect::<Vec<_>>().join(" "));
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
