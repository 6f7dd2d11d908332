//! `tessera token`

use std::process::ExitCode;

use api::base::config::{Config, Migrate, Secret};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::operator::{Operator, Options, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an API token; its secret is printed this once
    Create {
        /// Whose it is: an e-mail address, or a service's name
        #[arg(long, value_name = "NAME")]
        username: String,
        /// A secret that was made elsewhere, or - to read it from standard input; a new one if not
        /// given. One that its owner has already takes the new expiry
        #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
        token: Option<Secret>,
        /// How long it lives, in seconds; as API_TOKEN_EXPIRES says if not given, else for ever
        #[arg(long, value_name = "SECONDS")]
        expire: Option<u64>,
        /// What to call it
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// What it may do, no more than its owner; several are separated by commas
        #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
        scope: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// List API tokens, without their secrets
    List {
        /// Whose: an e-mail address, or a service's name; everybody's if not given
        #[arg(long, value_name = "NAME")]
        username: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Delete API tokens
    Delete {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        options: Options,
    },
    /// Say whether an API token is accepted: true and exit status 0, or false and 1
    Check {
        /// Its secret, or - to read it from standard input
        #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
        token: Secret,
        #[command(flatten)]
        options: Options,
    },
    /// Say why a token, JWT or API token, is or is not accepted: exit status 0 when it is, else 1
    Explain {
        /// The token, or - to read it from standard input
        token: Secret,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// One, by its secret, or - to read it from standard input
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    token: Option<Secret>,
    /// One, by its id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// All of somebody's: an e-mail address, or a service's name
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
}

const COLUMNS: [&str; 9] =
    ["username", "token", "name", "scopes", "age", "created", "expires", "last used", "id"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Create { username, token, expire, name, scope, options } => {
            let operator = Operator::new(options, config).await?;
            let scopes = Some(scope).filter(|scope| !scope.is_empty());
            let token = token.as_ref().map(secret).transpose()?;
            let body = json!({
                "username": username,
                "token": token,
                "expire": expire,
                "name": name,
                "scopes": scopes,
            });
            let made = operator.call(Method::POST, "/auth/tokens", Some(body)).await?;
            let said = format!(
                "{}\nof {}, may {}, expires {}, id {}",
                print::text(&made["token"]),
                print::text(&made["username"]),
                print::text(&made["scopes"]),
                print::time(&made["expires"]),
                print::text(&made["id"]),
            );
            operator.print_change(made, &said).await?;
        }
        Action::List { username, options } => {
            let operator = Operator::new(options, config).await?;
            let items = match username {
                Some(name) => {
                    operator.list(&format!("/auth/tokens?username={}", encoded(&name))).await?
                }
                None => match operator.list("/auth/tokens?all=true").await {
                    // Who may not see everybody's sees their own.
                    Err(refused) if refused.is_forbidden() && operator.asks_a_server() => {
                        operator.list("/auth/tokens").await?
                    }
                    items => items?,
                },
            };
            operator.print_items(&items, &COLUMNS, |token| {
                vec![
                    print::text(&token["username"]),
                    format!("{}…", print::text(&token["prefix"])),
                    print::text(&token["name"]),
                    print::text(&token["scopes"]),
                    print::age(&token["age"]),
                    print::time(&token["created"]),
                    print::time(&token["expires"]),
                    print::time(&token["last_used"]),
                    print::text(&token["id"]),
                ]
            });
        }
        Action::Delete { chosen, options } => {
            let operator = Operator::new(options, config).await?;
            let Chosen { token, id, username } = chosen;
            let path = match (&id, &username) {
                (Some(id), _) => format!("/auth/tokens/{}", encoded(id)),
                (_, Some(name)) => format!("/auth/tokens?username={}", encoded(name)),
                _ => "/auth/tokens".to_owned(),
            };
            let token = token.as_ref().map(secret).transpose()?;
            let body = token.map(|token| json!({ "token": token }));
            let removed = operator.call(Method::DELETE, &path, body).await?;
            let said = format!("removed: {}", removed["removed"]);
            if removed["removed"] == 0 && !operator.prints_json() {
                print::line(said);
            } else {
                operator.print_change(removed, &said).await?;
            }
        }
        Action::Check { token, options } => {
            let operator = Operator::new(options, config).await?;
            let body = json!({ "token": secret(&token)? });
            let checked = operator.call(Method::POST, "/auth/tokens/check", Some(body)).await?;
            let valid = checked["valid"] == true;
            print::line(if operator.prints_json() { checked } else { valid.into() });
            return Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::Explain { token, options } => {
            // Looking must not change the schema.
            let config = Config { migrate: Migrate::Check, ..config };
            let operator = Operator::with_secret(options, config).await?;
            let body = json!({ "token": secret(&token)? });
            let told = operator.call(Method::POST, "/admin/tokens/explain", Some(body)).await?;
            let accepted = told["accepted"] == true;
            let sentence = print::text(&told["sentence"]);
            if operator.prints_json() {
                print::line(told);
            } else if accepted {
                print::line(sentence);
            } else {
                return Err(sentence);
            }
            return Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A secret as it was typed; - is not in the shell's history.
fn secret(typed: &Secret) -> Result<String, String> {
    if typed.expose() != "-" {
        return Ok(typed.expose().to_owned());
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|error| format!("standard input could not be read: {error}"))?;
    Ok(line.trim().to_owned())
}
