//! The secret that signs tokens: which one a server uses, whether it is good enough, and the one that a development
//! server makes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::{Config, ConfigError, MAKE_SECRET, MIN_SECRET_LENGTH, MailSettings, Secret, secret};
use crate::base::random;

impl Config {
    /// Returns the secret that signs tokens. If it is not set, a development server creates one and stores it in a
    /// file beside the database.
    ///
    /// # Errors
    ///
    /// If the secret is missing or weak and this is not development. The error says how to make a good one.
    pub fn signing_secret(&self) -> Result<Secret, ConfigError> {
        self.judged_secret().1
    }

    /// Adds the secret that a development server stored beside the database, if no secret is set.
    pub fn with_kept_secret(self) -> Self {
        let kept = || {
            let text = fs::read_to_string(self.database_url.secret_path()).ok()?;
            Some(Secret::new(text.trim()))
                .filter(|secret| secret.expose().len() >= MIN_SECRET_LENGTH)
        };
        let app_secret = self.app_secret.clone().or_else(kept);
        Self { app_secret, ..self }
    }

    /// Adds a random secret if there is no other. Mail is then off, because no server could decrypt it.
    pub(crate) fn with_some_secret(self) -> Self {
        let config = self.with_kept_secret();
        if config.app_secret.is_some() {
            return config;
        }
        let mail = MailSettings { off: true, ..config.mail };
        Self { app_secret: Some(Secret::new(&random::secret())), mail, ..config }
    }

    /// Checks the secrets, and logs the settings that are accepted but not good for production.
    ///
    /// # Errors
    ///
    /// As [`Config::signing_secret`].
    pub fn check_secrets(&self) -> Result<(), ConfigError> {
        let (warnings, secret) = self.judged_secret();
        for warning in self.warnings().into_iter().chain(warnings) {
            tracing::warn!("{warning}");
        }
        for note in self.database_url.notes() {
            tracing::info!("{note}");
        }
        secret.map(drop)
    }

    /// Checks the secrets without creating one. Returns a fault and warnings.
    pub(crate) fn judge_secrets(&self) -> (Vec<String>, Option<ConfigError>) {
        if self.dev && self.app_secret.is_none() {
            return (Vec::new(), None);
        }
        let (warnings, secret) = self.judged_secret();
        (warnings, secret.err())
    }

    /// The settings, other than secrets, that are accepted but not good for production.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.listening.has_tls() && !self.public_url.is_https() {
            warnings.push(format!(
                "PUBLIC_URL is {}, but TLS_CERT is set, so callers need https://: set PUBLIC_URL to a URL that begins \
                 with it",
                self.public_url.as_str()
            ));
        } else if !self.dev && self.public_url.is_loopback() {
            warnings
                .push("PUBLIC_URL is on localhost: set it to the URL that callers use".to_owned());
        } else if !self.dev && !self.public_url.is_https() {
            let warning = "PUBLIC_URL begins with http://: anyone on the network path can read passwords and \
                           tokens; use https://";
            warnings.push(warning.to_owned());
        }
        warnings.extend(self.warning_of_mail().map(str::to_owned));
        warnings
    }

    /// Checks the secrets without a warning.
    ///
    /// # Errors
    ///
    /// As [`Config::signing_secret`].
    pub(crate) fn check_secrets_quietly(&self) -> Result<(), ConfigError> {
        self.judged_secret().1.map(drop)
    }

    /// Returns the secret, and a warning for each secret that is only accepted.
    fn judged_secret(&self) -> (Vec<String>, Result<Secret, ConfigError>) {
        let mut warnings = Vec::new();
        let Some(secret) = &self.app_secret else {
            let missing = || {
                ConfigError::new(&format!(
                    "APP_SECRET is not set: {MAKE_SECRET} and set it to the output, or start with --dev"
                ))
            };
            return (warnings, if self.dev { self.kept_secret() } else { Err(missing()) });
        };
        for (name, secret) in std::iter::once(("APP_SECRET", secret))
            .chain(self.app_secret_previous.iter().map(|secret| ("APP_SECRET_PREVIOUS", secret)))
        {
            let unusable = secret::unusable(secret.expose());
            // A previous secret that is easy to guess is accepted, so that an operator can rotate it.
            let may_be_named = unusable.is_none() && name == "APP_SECRET_PREVIOUS";
            let Some(fault) =
                unusable.or_else(|| secret::guessable(secret.expose(), MIN_SECRET_LENGTH))
            else {
                continue;
            };
            if !self.dev && !may_be_named {
                let fault = ConfigError::new(&format!("{name} {fault}: {MAKE_SECRET}"));
                return (warnings, Err(fault));
            }
            warnings.push(if self.dev {
                format!("{name} {fault}: good enough for development only; {MAKE_SECRET}")
            } else {
                format!(
                    "{name} {fault}: anyone who guesses it can make tokens; remove it as soon as you can"
                )
            });
        }
        (warnings, Ok(secret.clone()))
    }

    fn kept_secret(&self) -> Result<Secret, ConfigError> {
        self.database_url.require_folder().map_err(|fault| ConfigError::new(&fault))?;
        let path = self.database_url.secret_path();
        let fault = |error: io::Error| {
            ConfigError::new(&format!(
                "APP_SECRET is not set, and none can be stored in {} ({error}): {MAKE_SECRET}",
                path.display()
            ))
        };
        // The secret is written to a draft and linked into place, so that several first starts agree on one secret.
        let draft = path.with_extension(format!("secret.{}", random::id()));
        let kept = || -> io::Result<String> {
            if !path.exists() {
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
                file.write_all(random::secret().as_bytes())?;
                file.sync_all()?;
                let linked = fs::hard_link(&draft, &path);
                fs::remove_file(&draft)?;
                match linked {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            fs::read_to_string(&path)
        };
        let secret = Secret::new(kept().map_err(fault)?.trim());
        if secret.expose().len() < MIN_SECRET_LENGTH {
            return Err(ConfigError::new(&format!(
                "{} does not contain a secret: delete the file, and the next start makes one",
                path.display()
            )));
        }
        Ok(secret)
    }
}
