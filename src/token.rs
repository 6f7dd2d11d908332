//! `tessera token`

use std::io::Read;
use std::process::ExitCode;

use api::base::config::{Config, Migrate, Secret};
use api::base::error::Code;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{Operator, Options, Refused, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create an API token and print its secret, which is never shown again
    Create {
        /// The owner: the e-mail address of a user or the name of a service
        #[arg(long, value_name = "NAME")]
        username: String,
        /// A secret that was made elsewhere, or - to read it from standard input; by default, Tessera makes a new
        /// one. If the owner already has a token with this secret, the token gets the new expiry
        #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
        token: Option<Secret>,
        /// The lifetime in seconds; the default is API_TOKEN_EXPIRES, and without that the token never expires
        #[arg(long, value_name = "SECONDS")]
        expire: Option<u64>,
        /// A name for the token
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The scopes of the token, separated by commas; the owner must have them
        #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
        scope: Vec<String>,
        /// Create a service with this name and these scopes, if there is no such owner
        #[arg(long)]
        create_service: bool,
        #[command(flatten)]
        options: Options,
    },
    /// List API tokens, without their secrets
    List {
        /// Only the tokens of this owner: the e-mail address of a user or the name of a service
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
    /// Check an API token: print true with exit status 0 if it is accepted, otherwise false with 1
    Check {
        /// The secret of the token, or - to read it from standard input
        #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
        token: Secret,
        #[command(flatten)]
        options: Options,
    },
    /// Explain why a JWT or an API token is accepted or refused: exit status 0 if accepted, otherwise 1
    Explain {
        /// The token, or - to read it from standard input. It can stand in quotes or after Bearer, and over several lines
        token: Secret,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// The secret of one token, or - to read it from standard input
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    token: Option<Secret>,
    /// The id of one token
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The owner of the tokens, to delete all of them: the e-mail address of a user or the name of a service
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
}

const COLUMNS: [&str; 9] =
    ["username", "token", "name", "scopes", "age", "created", "expires", "last used", "id"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Create { username, token, expire, name, scope, create_service, options } => {
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
            let made = create(&operator, body, create_service).await?;
            let lines = format!(
                "{}\nowner: {}, scopes: {}, expires: {}, id: {}",
                print::text(&made["token"]),
                print::text(&made["username"]),
                print::text(&made["scopes"]),
                print::time(&made["expires"]),
                print::text(&made["id"]),
            );
            operator.print_change(made, &lines).await?;
        }
        Action::List { username, options } => {
            let operator = Operator::new(options, config).await?;
            let items = match username {
                Some(name) => {
                    operator.list(&format!("/auth/tokens?username={}", encoded(&name))).await?
                }
                None => match operator.list("/auth/tokens?all=true").await {
                    // Callers who may not list all tokens get their own.
                    Err(refused) if refused.is_forbidden() && operator.calls_a_server() => {
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
            let sentence = format!("removed: {}", removed["removed"]);
            if removed["removed"] == 0 && !operator.prints_json() {
                print::line(sentence);
            } else {
                operator.print_change(removed, &sentence).await?;
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
            // This command only reads, so it must not migrate the schema.
            let config = Config { migrate: Migrate::Check, ..config };
            let operator = Operator::with_revocations(options, config).await?;
            let body = json!({ "token": pasted(&token)? });
            let answer = operator.call(Method::POST, "/admin/tokens/explain", Some(body)).await?;
            let accepted = answer["accepted"] == true;
            let sentence = print::text(&answer["sentence"]);
            if operator.prints_json() {
                print::line(answer);
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

/// Creates an API token, and its owner first if that is a service that does not exist and `create_service` is true.
async fn create(operator: &Operator, body: Value, create_service: bool) -> Result<Value, Refused> {
    let send = || operator.call(Method::POST, "/auth/tokens", Some(body.clone()));
    let owner = print::text(&body["username"]);
    let refused = match send().await {
        Err(refused) if refused.has(Code::ApiTokenUserUnknown) => refused,
        answer => return answer,
    };
    if create_service && !owner.contains('@') {
        let service = json!({ "name": owner, "scopes": body["scopes"] });
        operator.call(Method::POST, "/admin/services", Some(service)).await?;
        return send().await;
    }
    let sentence = if owner.contains('@') {
        format!(
            "there is no user {owner}: create the user with `tessera user create {owner}`, or invite them with \
             `tessera user invite {owner}`"
        )
    } else {
        format!(
            "there is no service {owner}: create it with `tessera service create {owner}`, or add --create-service. \
             The name of a user is an e-mail address: see `tessera user list`"
        )
    };
    Err(refused.or_for(Code::ApiTokenUserUnknown, || sentence))
}

/// Returns a token as somebody pasted it. From standard input it takes several lines.
fn pasted(typed: &Secret) -> Result<String, String> {
    if typed.expose() != "-" {
        return Ok(typed.expose().to_owned());
    }
    let mut text = String::new();
    // A token has at most 8 KiB.
    let read = std::io::stdin().take(64 * 1024).read_to_string(&mut text);
    read.map_err(|error| format!("standard input could not be read: {error}"))?;
    Ok(text)
}

/// Returns a secret from the command line, or reads it from standard input if it is `-`. A secret that is read is not
/// in the history of the shell.
fn secret(typed: &Secret) -> Result<String, String> {
    if typed.expose() != "-" {
        return Ok(typed.expose().to_owned());
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|error| format!("standard input could not be read: {error}"))?;
    Ok(line.trim().to_owned())
}
