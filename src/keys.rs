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
    /// List the keys of the database, and what each is for now
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Make the next key: published at once, it signs ten minutes later
    Rotate {
        /// RS256, ES256 or EdDSA; that of JWT_ALGORITHM if not given
        #[arg(long, value_name = "NAME")]
        algorithm: Option<String>,
        /// Sign with it at once: services that keep published keys refuse its tokens until they read
        /// them again
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Refuse what a key signed, at once
    Retire {
        /// The key's name, as the list shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Also where it would sign if JWT_ALGORITHM were its own: no server's may be
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Keep under APP_SECRET what is kept under a secret of APP_SECRET_PREVIOUS, once every server knows
    /// both, and before the previous one is dropped
    Reseal,
    /// Print the secret that verifies HS256 tokens for one audience of JWT_AUDIENCES: who has it can
    /// make tokens for itself, and for nobody else
    Derive {
        /// The audience
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
            let said = format!(
                "{}  {}  {}, signs from {}",
                print::text(&made["kid"]),
                print::text(&made["algorithm"]),
                print::text(&made["state"]),
                print::time(&made["active"]),
            );
            operator.print_change(made, &said).await?;
        }
        Action::Retire { kid, force, options } => {
            let operator = Operator::with_secret(options, config).await?;
            let path = format!("/admin/keys/{}?force={force}", encoded(&kid));
            let none =
                || format!("there is no key {kid} that is not retired: see `tessera keys list`");
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
                return Err("JWT_AUDIENCE itself is signed with APP_SECRET as it is".to_owned());
            }
            if !config.jwt_audiences.contains(&audience) {
                eprintln!("note: no tokens are made for {audience} until JWT_AUDIENCES names it");
            }
            print::line(api::base::derived_key::audience_secret(&secret, &audience).expose());
        }
    }
    Ok(ExitCode::SUCCESS)
}
