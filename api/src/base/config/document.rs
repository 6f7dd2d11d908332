//! The settings as operators see them, and as `.env.example` contains them.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{Config, EXAMPLE_SECRET};
use crate::base::database::DatabaseUrl;

/// A setting with its value and its origin, to show to people.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The environment variable's name.
    pub name: String,
    /// The value. For a secret it is `(secret)`.
    pub value: String,
    /// The origin of the value: `flag`, `environment`, `.env`, `default` or `unset`.
    pub origin: &'static str,
}

/// The ids of the settings that contain secrets.
pub(super) const SECRETS: [&str; 4] =
    ["app_secret", "app_secret_previous", "database_url", "mail_url"];

/// The settings that `matches` contains, in the order of their definition. `from_file` contains the names of the
/// environment variables that `.env` set.
pub fn settings(matches: &ArgMatches, from_file: &[String]) -> Vec<Setting> {
    definitions()
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter_map(|argument| {
            let id = argument.get_id().as_str();
            let name = argument.get_env()?.to_string_lossy().into_owned();
            let values = matches.get_raw(id).map(|values| {
                values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
            });
            let origin = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) if from_file.contains(&name) => ".env",
                Some(ValueSource::EnvVariable) => "environment",
                Some(_) => "default",
                None => "unset",
            };
            let value = match values {
                Some(url) if id == "database_url" => {
                    url.parse::<DatabaseUrl>().map_or("(secret)".to_owned(), |url| url.to_string())
                }
                Some(value) if SECRETS.contains(&id) && !value.is_empty() => "(secret)".to_owned(),
                Some(_) if id == "public_url" => followed_url(matches).unwrap_or_default(),
                Some(value) => value,
                None => String::new(),
            };
            Some(Setting { name, value, origin })
        })
        .collect()
}

/// Returns PUBLIC_URL. In development, its default has the port of the server.
fn followed_url(matches: &ArgMatches) -> Option<String> {
    let mut config = Config::from_arg_matches(matches).ok()?;
    config.follow_port(matches);
    Some(config.public_url.as_str().to_owned())
}

impl Config {
    /// In development, makes the default of PUBLIC_URL lead to the port of the server.
    pub fn follow_port(&mut self, matches: &ArgMatches) {
        let is_default = matches.value_source("public_url") == Some(ValueSource::DefaultValue);
        // With port 0, the port is known only later, and other servers on the database have others.
        if !is_default || !self.dev || self.port == 0 {
            return;
        }
        if let Ok(url) = format!("http://localhost:{}", self.port).parse() {
            self.public_url = url;
        }
    }
}

/// The definitions of all settings, as arguments of clap.
pub fn definitions() -> Command {
    Config::augment_args(Command::new("settings"))
}

/// The text of `.env.example`: every setting with its help and its default.
pub fn example() -> String {
    let mut text = "# All settings of Tessera. `cp .env.example .env` gives you a working configuration \
                    for development.\n# Flags take precedence over the environment, the environment \
                    over this file, and this file over the defaults.\n# Tessera \
                    reads this file as python-dotenv does. An empty value counts as not set. A TIME is a \
                    number of seconds,\n# or a number with a unit: 45s, 15m, 2h or 30d.\n"
        .to_owned();
    for argument in definitions().get_arguments().filter(|argument| !argument.is_hide_set()) {
        let Some(name) = argument.get_env().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        text.push('\n');
        for line in wrap(&argument.get_help().map(ToString::to_string).unwrap_or_default()) {
            text += &format!("# {line}\n");
        }
        let choices = argument.get_possible_values();
        if choices.iter().any(|choice| choice.get_name() != "true" && choice.get_name() != "false")
        {
            let names: Vec<_> = choices.iter().map(|choice| choice.get_name()).collect();
            text += &format!("# One of: {}\n", names.join(", "));
        }
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy());
        text += &match argument.get_id().as_str() {
            "dev" => format!("{name}=true\n"),
            "app_secret" => format!("{name}={EXAMPLE_SECRET}\n"),
            _ => format!("# {name}={}\n", default.unwrap_or_default()),
        };
    }
    text
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if !line.is_empty() && line.len() + word.len() >= 96 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
