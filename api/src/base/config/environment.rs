//! The environment of the process, and the file `.env`.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use super::{ConfigError, definitions, dotenv};

/// The content of `.env` in the current folder.
#[derive(Debug, Clone, Default)]
pub struct EnvFile {
    /// The names of all variables in the file.
    pub names: Vec<String>,
    /// The names of the variables that were not set before, so that their values come from the file.
    pub applied: Vec<String>,
    /// The numbers of the lines that have no effect, because they are neither a setting nor a comment.
    pub faulty_lines: Vec<usize>,
}

/// Reads `.env` in the current folder. Returns `None` if it does not exist.
fn read_env_file() -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(".env") {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(ConfigError::new(".env is not UTF-8 text: save it in this encoding"))
        }
        Err(error) => {
            let fault = format!(".env cannot be read ({error}): check its permissions");
            Err(ConfigError::new(&fault))
        }
    }
}

/// Returns the value that `.env` has for a name now, unless it is empty. The environment of the process stays as it is.
///
/// # Errors
///
/// If the file cannot be read.
pub fn value_in_env_file(name: &str) -> Result<Option<String>, ConfigError> {
    let Some(text) = read_env_file()? else { return Ok(None) };
    let pairs = dotenv::resolve(dotenv::read(&text).pairs, variable);
    let last = pairs.into_iter().rev().find(|(known, _)| known == name);
    Ok(last.and_then(|(_, value)| value).filter(|value| !value.is_empty()))
}

/// Reads `.env` in the current folder as python-dotenv does, and sets the environment variables that are not set yet or
/// are empty. The result is empty if the file does not exist.
///
/// # Errors
///
/// If the file cannot be read, or if a value cannot be the value of a variable.
pub fn load_env_file() -> Result<EnvFile, ConfigError> {
    let Some(text) = read_env_file()? else { return Ok(EnvFile::default()) };
    let content = dotenv::read(&text);
    let mut file = EnvFile { faulty_lines: content.faulty_lines, ..EnvFile::default() };
    let pairs = dotenv::resolve(content.pairs, variable);
    let mut lines = String::new();
    for (place, (name, value)) in pairs.iter().enumerate() {
        let is_last = !pairs[place + 1..].iter().any(|(later, _)| later == name);
        let Some(value) = value.as_ref().filter(|_| is_last) else { continue };
        file.names.push(name.clone());
        if !is_name(name) || variable(name).is_some_and(|value| !value.is_empty()) {
            continue;
        }
        if value.contains('\0') {
            let fault = format!("{name} in .env contains a NUL character: remove it");
            return Err(ConfigError::new(&fault));
        }
        file.applied.push(name.clone());
        lines += &format!("{name}=\"{}\"\n", escaped(value));
    }
    // The function of the standard library that sets a variable is unsafe code, which this workspace forbids. dotenvy's
    // is safe here, because the process has one thread.
    dotenvy::from_read_override(lines.as_bytes())
        .map_err(|_| ConfigError::new(".env contains a value that cannot be set"))?;
    Ok(file)
}

/// A value in the double quotes of dotenvy.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for char in value.chars() {
        match char {
            '\n' => text.push_str("\\n"),
            '\\' | '"' | '$' => text.extend(['\\', char]),
            _ => text.push(char),
        }
    }
    text
}

/// Returns true for a name that a shell can set. Others are no settings.
fn is_name(name: &str) -> bool {
    !name.starts_with(|char: char| char.is_ascii_digit())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// Reads an environment variable. Returns nothing if it is not set, or is not UTF-8 text.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns true if a variable of the environment is set, but empty. Such a variable counts as not set: compose files
/// write `${NAME:-}` for it.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// Names that are probably misspelt settings, each as a sentence that says which setting it resembles: names in `.env`,
/// and names in the environment that differ from a setting by a letter or two.
pub fn misspelt(file: &EnvFile, known: &[String]) -> Vec<String> {
    let mut sentences = Vec::new();
    for name in &file.names {
        if let Some(near) = nearest(name, known, (name.len() / 4).max(1)) {
            sentences.push(format!(
                ".env sets {name}, which is not a setting of Tessera: did you mean {near}?"
            ));
        }
    }
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| !file.names.iter().any(|own| own == name))
        else {
            continue;
        };
        let within = if name.len() < 8 { 1 } else { 2 };
        if let Some(near) = nearest(name, known, within).filter(|_| name.len() > 4) {
            sentences.push(format!(
                "the environment sets {name}, which is not a setting of Tessera: did you mean {near}?"
            ));
        }
    }
    sentences.sort();
    sentences
}

/// The names in `.env` that Tessera does not read and that resemble no setting. Other programs may read them.
pub fn foreign_names(file: &EnvFile, known: &[String]) -> Vec<String> {
    let is_foreign = |name: &&String| {
        !known.contains(name) && nearest(name, known, (name.len() / 4).max(1)).is_none()
    };
    file.names.iter().filter(is_foreign).cloned().collect()
}

/// Returns the known name that a name resembles most, unless they differ by more than `within` letters.
fn nearest<'a>(name: &str, known: &'a [String], within: usize) -> Option<&'a str> {
    if known.iter().any(|known| known == name) {
        return None;
    }
    let typed = name.to_ascii_uppercase();
    let distance = |known: &&String| strsim::osa_distance(&typed, known);
    let near = known.iter().min_by_key(distance)?;
    (distance(&near) <= within).then_some(near.as_str())
}

/// The folder for the state of this user's programs (XDG base directories).
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn state_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    Some(state?.join("tessera"))
}

/// Returns true if the environment names a server for operators' commands (`TESSERA_URL`).
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn server_is_named() -> bool {
    std::env::var_os("TESSERA_URL").is_some_and(|url| !url.is_empty())
}

/// The names of the settings whose values in the environment are not UTF-8 text.
pub fn not_text() -> Vec<String> {
    definitions()
        .get_arguments()
        .filter_map(|argument| argument.get_env())
        .filter(|name| is_not_text(name))
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn is_not_text(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
}
