//! The environment of the process, and the file `.env`.

use std::path::{Path, PathBuf};

use super::{ConfigError, definitions};

/// Reads `.env` in the current folder, and sets the environment variables that are not set yet. Returns their names;
/// none if the file does not exist.
///
/// # Errors
///
/// If the file cannot be read, or if a line is not a setting.
pub fn load_env_file() -> Result<Vec<String>, ConfigError> {
    let path = Path::new(".env");
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(Vec::new()),
        Err(_) => return Err(ConfigError::new(".env cannot be read: check its permissions")),
    };
    let mut names = Vec::new();
    for line in lines {
        let (name, _) = line.map_err(|_| {
            ConfigError::new(
                ".env has a line that is not NAME=value: put values with spaces in quotes",
            )
        })?;
        if is_unset(&name) {
            names.push(name);
        }
    }
    dotenvy::from_path(path)
        .map_err(|_| ConfigError::new(".env changed while it was being read: start again"))?;
    Ok(names)
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

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn is_unset(name: &str) -> bool {
    std::env::var_os(name).is_none()
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
fn is_not_text(name: &std::ffi::OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
}
