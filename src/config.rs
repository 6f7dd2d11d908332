//! `tessera config`

use clap::{ArgMatches, Args, Subcommand};

use crate::print;

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
}

pub(crate) fn run(arguments: &Arguments, matches: &ArgMatches, from_file: &[String]) {
    let Action::Print { origin } = arguments.action;
    for setting in api::base::config::settings(matches, from_file) {
        if origin {
            print::line(format!("{:<26} {:<12} {}", setting.name, setting.origin, setting.value));
        } else {
            print::line(format!("{}={}", setting.name, setting.value));
        }
    }
}
