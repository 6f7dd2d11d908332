//! `tessera config`

use std::process::ExitCode;

use api::base::config::{Config, EnvFile};
use clap::{ArgMatches, Args, Subcommand};

use crate::cli::{self, Faults};
use crate::finding::{self, Finding};
use crate::{log, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the current value of each setting, without secrets
    Print {
        /// Also print where each value comes from: flag, environment, .env or default
        #[arg(long)]
        origin: bool,
    },
    /// List everything that is wrong with the settings: exit status 0 if a server can start with them, otherwise 1
    Check {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(
    arguments: &Arguments,
    matches: &ArgMatches,
    config: Config,
    file: &EnvFile,
) -> ExitCode {
    match arguments.action {
        Action::Print { origin } => {
            print_settings(matches, file, origin);
            ExitCode::SUCCESS
        }
        Action::Check { json } => report(&findings(config, Vec::new(), file), json),
    }
}

/// Runs `tessera config check` if the command line asks for it, although settings have values that they cannot have.
/// Returns `None` for another command.
pub(crate) fn check_anyway(faults: &Faults, file: &EnvFile) -> Option<ExitCode> {
    let (_, below) = faults.matches.subcommand().filter(|(name, _)| *name == "config")?;
    let (_, below) = below.subcommand().filter(|(name, _)| *name == "check")?;
    let sentences = faults.found.iter().map(|fault| fault.sentence.clone()).collect();
    let found = match faults.others() {
        Some(config) => findings(config, sentences, file),
        None => sentences.into_iter().map(Finding::fault).collect(),
    };
    Some(report(&found, below.get_flag("json")))
}

/// Everything that is wrong with the settings. `faults` are those that were found before.
pub(crate) fn findings(config: Config, faults: Vec<String>, file: &EnvFile) -> Vec<Finding> {
    let first = |sentence: &str| sentence.split(' ').next().unwrap_or_default().to_owned();
    let faulty: Vec<_> = faults.iter().map(|fault| first(fault)).collect();
    let mut found: Vec<_> = faults.into_iter().map(Finding::fault).collect();
    found.extend(log::filter(&config).err().map(Finding::fault));
    let (mut faults, mut warnings) = api::check_settings(config);
    // A faulty setting was replaced by its default, which nobody chose.
    let is_about = |sentence: &str, name: &String| {
        sentence
            .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
            .any(|word| word == name)
    };
    faults.retain(|fault| !faulty.iter().any(|name| is_about(fault, name)));
    warnings.retain(|warning| !faulty.contains(&first(warning)));
    found.extend(faults.into_iter().map(Finding::fault));
    found.extend(warnings.into_iter().map(Finding::warning));
    found.extend(cli::faulty_lines(file).into_iter().map(Finding::warning));
    let known = cli::variables();
    found.extend(api::base::config::misspelt(file, &known).into_iter().map(Finding::warning));
    let foreign = api::base::config::foreign_names(file, &known);
    if !foreign.is_empty() {
        found.push(Finding::ok(format!(
            ".env also sets {}, which Tessera does not read; other programs may",
            foreign.join(", ")
        )));
    }
    found
}

fn report(found: &[Finding], json: bool) -> ExitCode {
    if json {
        finding::print_json(found);
    } else {
        finding::print(found);
        print::line(finding::sum(found, "The settings are valid"));
    }
    finding::status(found)
}

fn print_settings(matches: &ArgMatches, file: &EnvFile, origin: bool) {
    for setting in api::base::config::settings(matches, &file.applied) {
        if origin {
            print::line(format!("{:<26} {:<12} {}", setting.name, setting.origin, setting.value));
        } else {
            print::line(format!("{}={}", setting.name, setting.value));
        }
    }
}
