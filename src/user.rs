//! `tessera user`

use std::io::{IsTerminal, stdin};

use api::config::Config;
use api::factor::{self, Hasher, Maker, Password};
use api::user::{self, Email, Profile};
use clap::{Args, Subcommand};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a user, whose address counts as verified; the password is asked for, or read from
    /// standard input
    Create {
        /// The e-mail address to sign in with
        email: String,
        /// Let the user do what superusers may: revoke anybody's sessions and tokens
        #[arg(long)]
        superuser: bool,
    },
    /// Let a user do what superusers may: revoke anybody's sessions and tokens
    Promote {
        /// The user's e-mail address
        email: String,
    },
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<(), String> {
    match arguments.action {
        Action::Create { email, superuser } => create(config, &email, superuser).await,
        Action::Promote { email } => promote(&config, &email).await,
    }
}

async fn create(config: Config, email: &str, superuser: bool) -> Result<(), String> {
    let email: Email = email.parse().map_err(str::to_owned)?;
    let password = read_password()?;
    let database = api::connect(&config).await?;
    database.prepare(config.migrate).await?;
    let hasher = Hasher::start(config.bcrypt_cost);
    let maker = Maker::Operator { superuser };
    let user =
        factor::create(&config, &hasher, &database, email, password, Profile::default(), maker)
            .await
            .map_err(|error| error.to_string())?;
    print::line(format!(
        "{}  {}{}",
        user.id,
        user.email,
        if superuser { "  superuser" } else { "" }
    ));
    Ok(())
}

async fn promote(config: &Config, email: &str) -> Result<(), String> {
    let database = api::connect(config).await?;
    database.prepare(config.migrate).await?;
    if user::promote(&database, email).await.map_err(|error| error.to_string())? {
        print::line(format!("{email} is a superuser"));
        Ok(())
    } else {
        Err(format!("there is no user {email}: make one with `tessera user create`"))
    }
}

fn read_password() -> Result<Password, String> {
    let unreadable = |error: std::io::Error| format!("the password could not be read: {error}");
    if !stdin().is_terminal() {
        let mut line = String::new();
        stdin().read_line(&mut line).map_err(unreadable)?;
        return Ok(Password::new(line.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let first = rpassword::prompt_password("Password: ").map_err(unreadable)?;
    let second = rpassword::prompt_password("Once more: ").map_err(unreadable)?;
    if first == second {
        Ok(Password::new(first))
    } else {
        Err("the two passwords differ: try again".to_owned())
    }
}
