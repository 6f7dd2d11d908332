//! `tessera client`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::base::config::Config;
use api::provider::client::document::{self, Sources, Step};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use crate::client_definition::Definition;
use crate::client_explain::explain;
use crate::client_preset::Preset;
use crate::client_show::show;
use crate::operator::{Operator, Options, encoded};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Register an application, and print its client id, its secret (this once) and the issuer
    Create {
        /// The client id: 1 to 64 characters of a-z, 0-9, '-', '_' and '.'. The first is a letter or a digit
        client_id: String,
        /// Print the configuration of this application too
        #[arg(long, value_enum, value_name = "NAME")]
        preset: Option<Preset>,
        /// The URL of the application, from which the preset makes the redirect URI
        #[arg(long, value_name = "URL", requires = "preset")]
        app: Option<String>,
        /// A file that contains a secret of at least 32 characters, instead of one that Tessera makes
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        #[command(flatten)]
        definition: Box<Definition>,
        #[command(flatten)]
        options: Options,
    },
    /// List applications
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Show an application with its settings, and when its secrets were last used
    Show {
        /// The client id
        client_id: String,
        #[command(flatten)]
        options: Options,
    },
    /// Change an application. Options that are left out stay as they are
    Update {
        /// The client id
        client_id: String,
        /// Accept the application again
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Refuse the application
        #[arg(long)]
        disable: bool,
        #[command(flatten)]
        definition: Box<Definition>,
        #[command(flatten)]
        options: Options,
    },
    /// Give an application another secret, and print it (this once)
    RotateSecret {
        /// The client id
        client_id: String,
        /// The time for which the previous secrets are still accepted, such as 30m, 12h or 7d
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = seconds)]
        overlap: u64,
        /// A file that contains a secret of at least 32 characters, instead of one that Tessera makes
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        #[command(flatten)]
        options: Options,
    },
    /// Delete an application, and refuse the tokens that it has
    Delete {
        /// The client id
        client_id: String,
        #[command(flatten)]
        options: Options,
    },
    /// Print the claims about a user that an application gets with all its scopes
    Claims {
        /// The client id
        client_id: String,
        /// The address of the user
        #[arg(long, value_name = "ADDRESS")]
        user: String,
        #[command(flatten)]
        options: Options,
    },
    /// Say why requests of an application were refused, and what to do: its last refusals, counted
    Explain {
        /// The client id, or the reference that the application or the page shows. Without it, the refusals of
        /// unknown applications
        name: Option<String>,
        /// A URL of /oauth2/authorize that the application sends browsers to: run its checks without effect. If
        /// the command works on the database, `--url` takes it too
        #[arg(long = "request", value_name = "URL")]
        request: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Check a file of applications: print what is wrong by line, and what would change
    Check {
        /// The file, in YAML
        file: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Apply a file of applications: make and change what it declares, and disable what left it
    Apply {
        /// The file, in YAML
        file: PathBuf,
        #[command(flatten)]
        options: Options,
    },
}

/// Reads a time such as 30m or 7d.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let fault = || {
        format!("{text} must be a number of seconds, or a number with s, m, h, d or w, such as 12h")
    };
    let unit = text.chars().last().ok_or_else(fault)?;
    if unit.is_ascii_digit() {
        return text.parse().map_err(|_| fault());
    }
    let length = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(fault()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| fault())?;
    number.checked_mul(length).ok_or_else(fault)
}

const COLUMNS: [&str; 6] = ["client id", "name", "type", "origin", "enabled", "redirect URIs"];

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    match arguments.action {
        Action::Create { client_id, preset, app, secret_file, definition, options } => {
            let body = defined(client_id, *definition, preset, app, secret_file.as_deref())?;
            let operator = Operator::new(options, config).await?;
            create(&operator, body, preset).await?;
        }
        Action::List { options } => {
            let operator = Operator::new(options, config).await?;
            list(&operator).await?;
        }
        Action::Show { client_id, options } => {
            let operator = Operator::new(options, config).await?;
            show(&operator, &client_id).await?;
        }
        Action::Update { client_id, enable, disable, definition, options } => {
            let mut body = definition.members();
            if enable || disable {
                body.insert("enabled".to_owned(), enable.into());
            }
            let operator = Operator::new(options, config).await?;
            update(&operator, &client_id, body).await?;
        }
        Action::RotateSecret { client_id, overlap, secret_file, options } => {
            let operator = Operator::new(options, config).await?;
            rotate(&operator, &client_id, overlap, secret_file.as_deref()).await?;
        }
        Action::Delete { client_id, options } => {
            let operator = Operator::new(options, config).await?;
            let answer = operator.call(Method::DELETE, &path(&client_id), None).await;
            let answer = answer.map_err(|refused| refused.or_missing(|| missing(&client_id)))?;
            operator.print_change(answer, "deleted").await?;
        }
        Action::Claims { client_id, user, options } => {
            let operator = Operator::new(options, config).await?;
            claims(&operator, &client_id, &user).await?;
        }
        Action::Explain { name, request, mut options } => {
            let request = request.or_else(|| options.take_request());
            let operator = Operator::new(options, config).await?;
            explain(&operator, name.as_deref(), request).await?;
        }
        Action::Check { file, options } => return declared(options, config, &file, true).await,
        Action::Apply { file, options } => return declared(options, config, &file, false).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(operator: &Operator) -> Result<(), String> {
    let items = operator.list("/admin/clients").await?;
    operator.print_items(&items, &COLUMNS, |client| {
        let members =
            ["client_id", "name", "application_type", "origin", "enabled", "redirect_uris"];
        members.map(|member| print::text(&client[member])).to_vec()
    });
    Ok(())
}

/// The body that creates a client.
fn defined(
    client_id: String,
    definition: Definition,
    preset: Option<Preset>,
    app: Option<String>,
    secret_file: Option<&Path>,
) -> Result<Map<String, Value>, String> {
    let mut body = definition.members();
    body.insert("client_id".to_owned(), client_id.into());
    insert_secret(&mut body, secret_file)?;
    if let Some(preset) = preset {
        preset.complete(&mut body, app.as_deref())?;
    }
    Ok(body)
}

pub(crate) fn path(client_id: &str) -> String {
    format!("/admin/clients/{}", encoded(client_id))
}

pub(crate) fn missing(client_id: &str) -> String {
    format!("there is no client {client_id}: see `tessera client list`")
}

/// Adds the secret in a file to a body.
fn insert_secret(body: &mut Map<String, Value>, file: Option<&Path>) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    let secret = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    body.insert("secret".to_owned(), secret.trim().into());
    Ok(())
}

async fn create(
    operator: &Operator,
    body: Map<String, Value>,
    preset: Option<Preset>,
) -> Result<(), String> {
    let mut made = operator.call(Method::POST, "/admin/clients", Some(body.into())).await?;
    let configuration = preset.map(|preset| preset.configuration(&made));
    if operator.prints_json() {
        if let Some(configuration) = configuration {
            made["configuration"] = configuration.into();
        }
        print::line(made);
        return Ok(());
    }
    print::line(format!("client id: {}", print::text(&made["client"]["client_id"])));
    if made["client_secret"].is_string() {
        print::line(format!(
            "client secret (shown only now): {}",
            print::text(&made["client_secret"])
        ));
    }
    print::line(format!("issuer: {}", print::text(&made["issuer"])));
    if operator.is_local() {
        eprintln!(
            "note: the issuer is PUBLIC_URL of this command, so the server must have the same"
        );
    }
    if let Some(configuration) = configuration {
        print::line(format!("\n{configuration}"));
    }
    Ok(())
}

async fn update(
    operator: &Operator,
    client_id: &str,
    body: Map<String, Value>,
) -> Result<(), String> {
    let has_method = body.contains_key("auth_method");
    let answer = operator.call(Method::PATCH, &path(client_id), Some(body.into())).await;
    let answer = answer.map_err(|refused| refused.or_missing(|| missing(client_id)))?;
    let needs_secret = has_method && answer["auth_method"] != "none";
    operator.print_change(answer, "changed").await?;
    if needs_secret {
        let shown = operator.call(Method::GET, &path(client_id), None).await?;
        let now = api::base::clock::now().seconds();
        let mut secrets = shown["secrets"].as_array().into_iter().flatten();
        if !secrets.any(|secret| secret["expires"].as_u64().is_none_or(|at| at > now)) {
            eprintln!(
                "note: the application has no secret yet, so it is refused. Make one: tessera client rotate-secret \
                 {client_id}"
            );
        }
    }
    Ok(())
}

async fn rotate(
    operator: &Operator,
    client_id: &str,
    overlap: u64,
    secret_file: Option<&Path>,
) -> Result<(), String> {
    let mut body = Map::new();
    if overlap > 0 {
        body.insert("overlap".to_owned(), overlap.into());
    }
    insert_secret(&mut body, secret_file)?;
    let path = format!("{}/secrets", path(client_id));
    let answer = operator.call(Method::POST, &path, Some(body.into())).await;
    let answer = answer.map_err(|refused| refused.or_missing(|| missing(client_id)))?;
    if operator.prints_json() {
        print::line(answer);
        return Ok(());
    }
    print::line(format!(
        "client secret (shown only now): {}",
        print::text(&answer["client_secret"])
    ));
    let until = print::time(&answer["previous_until"]);
    print::line(match overlap {
        0 => "The previous secrets are refused.".to_owned(),
        _ => format!(
            "The previous secrets are accepted until {until}. `tessera client show {client_id}` says if they are still used."
        ),
    });
    Ok(())
}

async fn claims(operator: &Operator, client_id: &str, user: &str) -> Result<(), String> {
    let path = format!("{}/claims?username={}", path(client_id), encoded(user));
    let none = || {
        format!(
            "the client {client_id} or the user {user} does not exist: see `tessera client list` and `tessera user list`"
        )
    };
    let answer = operator.call(Method::GET, &path, None).await;
    let answer = answer.map_err(|refused| refused.or_missing(none))?;
    if operator.prints_json() {
        print::line(answer);
        return Ok(());
    }
    for (title, member) in
        [("ID token", "id_token"), ("userinfo", "userinfo"), ("access token", "access_token")]
    {
        print::line(format!("{title}:"));
        let claims = answer[member].as_object().cloned().unwrap_or_default();
        if claims.is_empty() {
            print::line("  none");
        }
        for (name, value) in claims {
            print::line(format!("  {name}: {value}"));
        }
    }
    Ok(())
}

/// Checks or applies a file.
async fn declared(
    options: Options,
    config: Config,
    file: &Path,
    check: bool,
) -> Result<ExitCode, String> {
    let name = file.display();
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let variable = |name: &str| api::base::config::variable(name);
    let read = |path: &Path| std::fs::read_to_string(folder.join(path));
    let sources = Sources { variable: &variable, file: &read };
    let document = match document::read(&text, &sources) {
        Ok(document) => document,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{name}: {fault}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut body = document;
    body.insert("check".to_owned(), check.into());
    let operator = Operator::new(options, config).await?;
    let outcome = operator.call(Method::POST, "/admin/clients-document", Some(body.into())).await?;
    let faults = outcome["faults"].as_array().cloned().unwrap_or_default();
    if operator.prints_json() {
        print::line(&outcome);
    } else {
        for fault in &faults {
            let line = document::line_of(&text, &steps(&fault["path"]));
            eprintln!("{name}: line {line}: {}", print::text(&fault["sentence"]));
        }
        let changes = outcome["changes"].as_array().cloned().unwrap_or_default();
        let rows = changes.iter().map(|change| {
            ["action", "list", "id"].map(|member| print::text(&change[member])).to_vec()
        });
        if faults.is_empty() {
            print::table(&["change", "list", "id"], rows);
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The steps of a path in an answer.
fn steps(path: &Value) -> Vec<Step> {
    let step = |step: &Value| match step.as_u64() {
        Some(place) => Step::Item(usize::try_from(place).unwrap_or_default()),
        None => Step::Member(step.as_str().unwrap_or_default().to_owned()),
    };
    path.as_array().into_iter().flatten().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_is_a_number_of_seconds_or_has_a_unit() {
        for (text, expected) in [
            ("0s", 0),
            ("90s", 90),
            ("30m", 1800),
            ("12h", 43_200),
            ("7d", 604_800),
            ("1w", 604_800),
            ("600", 600),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "d", "-1d", "-1", "1.5h", "7 d", "7y", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
