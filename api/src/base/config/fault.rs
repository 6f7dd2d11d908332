//! Errors in settings.

use std::error::Error;
use std::fmt;

use clap::Arg;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{definitions, document::SECRETS};

/// An error in the settings: a sentence with what is wrong and what to do. It never contains a secret.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for ConfigError {}

impl ConfigError {
    pub(crate) fn new(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}

/// A setting with a value that it cannot have.
#[derive(Debug)]
pub struct SettingFault {
    /// The id of the argument.
    pub id: String,
    /// A sentence with the name of the setting, its value unless it may be a secret, and what it must be.
    pub sentence: String,
}

impl SettingFault {
    /// Returns the fault of a command line, if it is the value of a setting.
    pub fn of(error: &clap::Error) -> Option<Self> {
        if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            return None;
        }
        let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else {
            return None;
        };
        let long = named.split([' ', '[', '=']).next()?.strip_prefix("--")?;
        let settings = definitions();
        let argument = settings.get_arguments().find(|known| known.get_long() == Some(long))?;
        let name = argument.get_env()?.to_string_lossy();
        let value = match error.get(ContextKind::InvalidValue) {
            Some(ContextValue::String(value)) => value.as_str(),
            _ => "",
        };
        let id = argument.get_id().to_string();
        let must = requirement(argument, error);
        let sentence = match value {
            _ if SECRETS.contains(&id.as_str()) => format!("{name} {must}"),
            "" => format!("{name} is empty: it {must}"),
            value => match shown(value) {
                Some(value) => format!("{name} is {value}: it {must}"),
                None => format!(
                    "{name} has a value that is not shown, because it may be a secret: it {must}"
                ),
            },
        };
        Some(Self { id, sentence })
    }
}

/// Returns what the value must be, with an example.
fn requirement(argument: &Arg, error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(choices)) = error.get(ContextKind::ValidValue)
        && let Some((last, others)) = choices.split_last()
    {
        let others = others.join(", ");
        return format!("must be {}{}{last}", others, if others.is_empty() { "" } else { " or " });
    }
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    let must = match reason.as_str() {
        reason if reason.starts_with("must ") => reason.to_owned(),
        reason if reason.contains("boolean") => return "must be true or false".to_owned(),
        reason => format!("must have another value ({reason})"),
    };
    let default = argument.get_default_values().first().and_then(|value| value.to_str());
    // A form is an example itself, and the default can have another one.
    let has_example = must.contains("such as") || must.contains("of the form");
    match default.filter(|_| must.starts_with("must be ") && !has_example) {
        Some(default) => format!("{must}, such as {default}"),
        None => must,
    }
}

/// Returns a value as an error shows it. Returns `None` if it may be a secret that is in the wrong place, or a URL with a
/// password.
fn shown(value: &str) -> Option<String> {
    let has_password = value.contains('@') && (value.contains(':') || value.contains("//"));
    let is_token = value.contains("tsr_") || value.contains("eyJ");
    let is_path = value.starts_with(['/', '.']) || value.contains("://");
    let is_of_key = |char: char| {
        char.is_ascii_alphanumeric() || "+_=-".contains(char) || (char == '/' && !is_path)
    };
    let is_key = value.split(|char| !is_of_key(char)).any(|word| {
        word.len() >= 24
            && word.contains(|char: char| char.is_ascii_digit())
            && word.contains(|char: char| char.is_ascii_alphabetic())
    });
    if has_password || is_token || is_key {
        return None;
    }
    let short: String = value.chars().take(80).collect();
    let cut = if short.len() < value.len() { "…" } else { "" };
    Some(format!("{:?}", short + cut))
}
