//! `tessera token`

use api::admin;
use api::config::{Config, Migrate};
use clap::{Args, Subcommand};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say why a token is or is not accepted: exit status 0 when it is, else 1
    Explain {
        /// The token
        token: String,
    },
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<(), String> {
    let Action::Explain { token } = arguments.action;
    // Looking must not change the schema.
    let config = Config { migrate: Migrate::Check, ..config };
    let app = api::start(config).await?;
    let explained = admin::explain(&app, &token).await.map_err(|error| error.to_string())?;
    if explained.accepted {
        print::line(explained.sentence);
        Ok(())
    } else {
        Err(explained.sentence)
    }
}
