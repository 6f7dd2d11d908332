//! The settings of the provider: declared applications.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::ConfigError;
use super::value::Secret;

/// The settings of the provider.
#[derive(Debug, Clone, Args)]
pub struct ProviderSettings {
    /// A file in YAML that declares applications and APIs. Tessera applies it when it starts: it makes and changes what
    /// the file declares, and disables what left it. `tessera client apply` does the same without a restart
    #[arg(long, env = "CLIENTS_FILE", global = true, value_name = "FILE")]
    pub clients_file: Option<PathBuf>,

    /// The content of CLIENTS_FILE, if there is no such file
    #[arg(long, env = "CLIENTS", global = true, value_name = "YAML")]
    pub clients: Option<Secret>,

    /// Claims about the user in access tokens of sessions, with their sources, separated by commas. For example
    /// `email,username=email,role=authenticated,groups=words(group:)`. The sources are those of `tessera client`
    #[arg(
        long,
        env = "ACCESS_TOKEN_CLAIMS",
        global = true,
        value_name = "CLAIMS",
        value_delimiter = ','
    )]
    pub access_token_claims: Vec<String>,
}

/// The text of declared applications, with its name for sentences and the folder of the files that it names.
#[derive(Clone)]
pub struct Declared {
    /// The name of the file, or of the setting.
    pub name: String,
    /// The text, in YAML.
    pub text: String,
    /// The folder.
    pub folder: PathBuf,
}

impl ProviderSettings {
    /// Reads the declared applications, if a setting names some.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn declared(&self) -> Result<Option<Declared>, ConfigError> {
        let file = self.clients_file.as_ref().filter(|file| !file.as_os_str().is_empty());
        if let Some(file) = file {
            let name = file.display().to_string();
            let text = fs::read_to_string(file).map_err(|error| {
                ConfigError::new(&format!(
                    "CLIENTS_FILE is \"{name}\": it cannot be read ({error})"
                ))
            })?;
            let folder = file.parent().unwrap_or(Path::new("")).to_owned();
            return Ok(Some(Declared { name, text, folder }));
        }
        let inline =
            self.clients.as_ref().map(Secret::expose).filter(|text| !text.trim().is_empty());
        Ok(inline.map(|text| Declared {
            name: "CLIENTS".to_owned(),
            text: text.to_owned(),
            folder: PathBuf::new(),
        }))
    }
}
