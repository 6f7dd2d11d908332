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
    /// The origin of the value: `flag`, `environment`, `.env`, `default` or `unset`; `file` if another setting names the
    /// file that contains it.
    pub origin: &'static str,
}

/// The ids of the settings that contain secrets.
pub(super) const SECRETS: [&str; 7] = [
    "app_secret",
    "app_secret_previous",
    "clients",
    "database_url",
    "database_listen_url",
    "mail_url",
    "otlp_headers",
];

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
            let is_in_file = |id: &str| {
                let raw = matches.try_get_raw(&format!("{id}_file"));
                raw.is_ok_and(|raw| raw.is_some_and(|mut values| values.next().is_some()))
            };
            let origin = match matches.value_source(id) {
                None | Some(ValueSource::DefaultValue) if is_in_file(id) => "file",
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) if from_file.contains(&name) => ".env",
                Some(ValueSource::EnvVariable) => "environment",
                Some(_) => "default",
                None => "unset",
            };
            let value = match values {
                _ if origin == "file" => "(secret)".to_owned(),
                Some(url) if ["database_url", "database_listen_url"].contains(&id) => {
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
    /// Notes which of HOST and PORT were given. In development, makes the default of PUBLIC_URL lead to the first port
    /// of the server.
    pub fn follow_port(&mut self, matches: &ArgMatches) {
        let is_default = |id: &str| matches.value_source(id) == Some(ValueSource::DefaultValue);
        self.listening.given = (
            Some(self.host).filter(|_| !is_default("host")),
            Some(self.port).filter(|_| !is_default("port")),
        );
        // With port 0, the port is known only later, and other servers on the database have others.
        let Some(port) = self.first_port().filter(|port| *port != 0) else { return };
        if !is_default("public_url") || !self.dev {
            return;
        }
        let scheme = if self.listening.has_tls() { "https" } else { "http" };
        if let Ok(url) = format!("{scheme}://localhost:{port}").parse() {
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
