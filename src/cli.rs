//! The command line.

use std::process::ExitCode;

use api::base::config::Config;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

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
    /// Create, list, change, export and delete users
    User(crate::user::Arguments),
    /// Create, list, delete and check API tokens, and explain tokens
    Token(crate::token::Arguments),
    /// List and end sessions
    Session(crate::session::Arguments),
    /// Revoke access, list revocations and lift them
    Revocation(crate::revocation::Arguments),
    /// List, rotate and retire signing keys, and derive the keys of audiences
    Keys(crate::keys::Arguments),
    /// Create, list and delete services: accounts for programs
    Service(crate::service::Arguments),
    /// Register applications that sign people in here, and list, check, change and delete them
    Client(crate::client::Arguments),
    /// Register APIs that accept tokens of applications, and list and delete them
    Resource(crate::resource::Arguments),
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
    /// Print the current settings
    Config(crate::config::Arguments),
    /// Generate secrets
    Secret(crate::secret::Arguments),
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
/// and it never shows values from the environment.
pub(crate) fn definition() -> clap::Command {
    let root = Cli::command();
    with_settings_line(
        root.mut_args(|setting| setting.hide(true).hide_env_values(true))
            .mut_subcommands(|below| below.disable_help_subcommand(true)),
    )
}

/// Adds the line that names the page of the settings to the help of a command and of all its subcommands.
fn with_settings_line(command: clap::Command) -> clap::Command {
    let more = command.get_after_help().map(|more| format!("{more}\n")).unwrap_or_default();
    command.after_help(format!("{more}{SETTINGS}")).mut_subcommands(with_settings_line)
}

/// Prints the help that was asked for, or the fault in a command line. The value of a setting is not shown,
/// because it may be a secret in the wrong place.
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
        // Probably a secret in the wrong place. A word that begins with a dash is a mistyped option.
        Some(ContextValue::String(argument))
            if error.kind() == ErrorKind::UnknownArgument && !argument.starts_with('-') =>
        {
            eprintln!(
                "error: there is one argument too many. It is not shown, because it may be a secret: see --help"
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
            eprintln!(
                "error: the value of {variable} is not valid (option --{name}, environment or .env). The setting is:"
            );
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
