//! `tessera keys`

use std::process::ExitCode;

use api::base::config::Config;
use api::platform::key;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::operator::{self, Operator, Options, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the signing keys and the state of each
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Make the next signing key. It is published at once, and signs ten minutes later
    Rotate {
        /// RS256, ES256 or EdDSA; the default is JWT_ALGORITHM
        #[arg(long, value_name = "NAME")]
        algorithm: Option<String>,
        /// Sign with the key at once. Services that have cached the published keys refuse its tokens until they
        /// read the keys again
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Retire a key, so that its tokens are refused at once
    Retire {
        /// The name of the key, as `tessera keys list` prints it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Retire the key even if it is the last one of its algorithm. No server may have this JWT_ALGORITHM
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Encrypt the signing keys with APP_SECRET instead of a secret of APP_SECRET_PREVIOUS. Run this when every
    /// server knows both secrets, and before you remove the previous one
    Reseal,
    /// Print the secret that verifies HS256 tokens of one audience. Its holder can make tokens for that audience
    /// only
    Derive {
        /// An audience of JWT_AUDIENCES
        #[arg(long, value_name = "NAME")]
        audience: String,
    },
}

const COLUMNS: [&str; 5] = ["kid", "algorithm", "state", "created", "signs from"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::List { options } => {
            let operator = Operator::with_secret(options, config).await?;
            let keys = operator.call(Method::GET, "/admin/keys", None).await?;
            let items = keys["items"].as_array().cloned().unwrap_or_default();
            operator.print_items(&items, &COLUMNS, |key| {
                vec![
                    print::text(&key["kid"]),
                    print::text(&key["algorithm"]),
                    print::text(&key["state"]),
                    print::time(&key["created"]),
                    print::time(&key["active"]),
                ]
            });
        }
        Action::Rotate { algorithm, now, options } => {
            let operator = Operator::with_secret(options, config).await?;
            let body = json!({ "algorithm": algorithm, "now": now });
            let made = operator.call(Method::POST, "/admin/keys", Some(body)).await?;
            let sentence = format!(
                "{}  {}  {}, signs from {}",
                print::text(&made["kid"]),
                print::text(&made["algorithm"]),
                print::text(&made["state"]),
                print::time(&made["active"]),
            );
            operator.print_change(made, &sentence).await?;
        }
        Action::Retire { kid, force, options } => {
            let operator = Operator::with_secret(options, config).await?;
            let path = format!("/admin/keys/{}?force={force}", encoded(&kid));
            let none =
                || format!("there is no key {kid}, or it is retired: see `tessera keys list`");
            let answer = operator.call(Method::DELETE, &path, None).await;
            let answer = answer.map_err(|refused| refused.or_missing(none))?;
            operator.print_change(answer, "retired").await?;
        }
        Action::Reseal => {
            operator::require_no_server("keys reseal")?;
            let app = api::open_with_secret(config).await?;
            let resealed = key::reseal(&app).await.map_err(|error| error.to_string())?;
            print::line(format!("resealed: {resealed}"));
        }
        Action::Derive { audience } => {
            operator::require_no_server("keys derive")?;
            let config = config.with_kept_secret();
            let secret = config.signing_secret().map_err(|error| error.to_string())?;
            if audience == config.jwt_audience {
                return Err(format!(
                    "tokens for {audience} (JWT_AUDIENCE) are signed with APP_SECRET itself, not with a derived secret"
                ));
            }
            if !config.jwt_audiences.contains(&audience) {
                eprintln!(
                    "note: the server makes no tokens for {audience} until JWT_AUDIENCES contains it"
                );
            }
            print::line(api::base::derived_key::audience_secret(&secret, &audience).expose());
        }
    }
    Ok(ExitCode::SUCCESS)
}
