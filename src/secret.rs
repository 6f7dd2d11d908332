//! `tessera secret`

use clap::{Args, Subcommand};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a new secret for APP_SECRET (like `openssl rand -hex 32`)
    Generate,
}

pub(crate) fn run(arguments: &Arguments) {
    match arguments.action {
        Action::Generate => print::line(api::base::random::secret()),
    }
}
