//! `tessera keys`

use std::process::ExitCode;

use api::base::config::{Config, Secret};
use api::platform::key;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{self, Operator, Options, encoded};
use crate::{pem, print};

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
    /// Print what a service needs to verify tokens: the public keys, or the HS256 secret of one audience
    Export {
        /// pem, one key after the other; or jwk, a JWK set
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "jwk")]
        format: Format,
        /// Only the key with this name, as `tessera keys list` prints it
        #[arg(long, value_name = "KID", allow_hyphen_values = true, conflicts_with = "audience")]
        kid: Option<String>,
        /// The secret of this audience of JWT_AUDIENCES instead, as a JWK. Its holder can make tokens for that audience
        /// only
        #[arg(long, value_name = "NAME")]
        audience: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Print the secret that verifies HS256 tokens of one audience. Its holder can make tokens for that audience
    /// only
    Derive {
        /// An audience of JWT_AUDIENCES
        #[arg(long, value_name = "NAME")]
        audience: String,
    },
}

/// A sentence about what the servers sign with.
fn signs_with(keys: &Value) -> String {
    let algorithms: Vec<_> = keys["signs_with"].as_array().into_iter().flatten().collect();
    let named = |algorithm: &&Value| match algorithm.as_str() {
        Some("HS256") => "HS256 and APP_SECRET".to_owned(),
        name => format!("{} and the active key", name.unwrap_or_default()),
    };
    match algorithms.iter().map(named).collect::<Vec<_>>().join("; some of them with ") {
        none if none.is_empty() => {
            "no server runs on this database; the states follow from the settings here".to_owned()
        }
        signs => format!("the servers sign with {signs}"),
    }
}

const COLUMNS: [&str; 5] = ["kid", "algorithm", "state", "created", "signs from"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::List { options } => {
            let operator = Operator::with_secret(options, config).await?;
            let keys = operator.call(Method::GET, "/admin/keys", None).await?;
            let items = keys["items"].as_array().cloned().unwrap_or_default();
            if !operator.prints_json() {
                print::line(signs_with(&keys));
            }
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
        Action::Export { format, audience: Some(audience), kid: _, options: _ } => {
            let secret = derived("keys export --audience", &audience, config)?;
            if format == Format::Pem {
                return Err("a secret has no PEM form: leave out --format pem".to_owned());
            }
            let secret = URL_SAFE_NO_PAD.encode(secret.expose());
            print::line(json!({ "kty": "oct", "alg": "HS256", "use": "sig", "k": secret }));
        }
        Action::Export { format, kid, audience: None, options } => {
            let operator = Operator::with_secret(options, config).await?;
            print::line(exported(&operator, format, kid.as_deref()).await?);
        }
        Action::Derive { audience } => {
            print::line(derived("keys derive", &audience, config)?.expose());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The forms in which public keys are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text blocks with the key in base64
    Pem,
    /// JSON (RFC 7517)
    Jwk,
}

/// The secret of an audience. Only an operator who has `APP_SECRET` can derive it.
fn derived(command: &str, audience: &str, config: Config) -> Result<Secret, String> {
    operator::require_no_server(command)?;
    let config = config.with_kept_secret();
    let secret = config.signing_secret().map_err(|error| error.to_string())?;
    if audience == config.jwt_audience {
        return Err(format!(
            "tokens for {audience} (JWT_AUDIENCE) are signed with APP_SECRET itself, not with a derived secret"
        ));
    }
    if !config.jwt_audiences.iter().any(|known| known == audience) {
        eprintln!(
            "note: the server makes no tokens for {audience} until JWT_AUDIENCES contains it"
        );
    }
    Ok(api::base::derived_key::audience_secret(&secret, audience))
}

/// The published keys, or one of them.
async fn exported(
    operator: &Operator,
    format: Format,
    kid: Option<&str>,
) -> Result<String, String> {
    let set = operator.call(Method::GET, "/.well-known/jwks.json", None).await?;
    let keys = set["keys"].as_array().into_iter().flatten();
    let keys: Vec<_> =
        keys.filter(|key| kid.is_none_or(|kid| key["kid"] == kid)).cloned().collect();
    if let (true, Some(kid)) = (keys.is_empty(), kid) {
        return Err(format!("no key {kid} is published: see `tessera keys list`"));
    }
    if keys.is_empty() {
        return Err("no key is published, because the servers sign with HS256: export the secret of an audience with \
                    --audience, or set JWT_ALGORITHM"
            .to_owned());
    }
    match format {
        Format::Jwk => Ok(json!({ "keys": keys }).to_string()),
        Format::Pem => {
            let pem = |key: &Value| {
                pem::of_jwk(key).ok_or_else(|| format!("the key {} has no PEM form", key["kid"]))
            };
            Ok(keys.iter().map(pem).collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
    }
}
