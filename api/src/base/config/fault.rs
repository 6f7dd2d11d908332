//! Errors in settings.

use std::fmt;

/// An error in the settings: a sentence with what is wrong and what to do. It never contains the value of a setting.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    pub(crate) fn new(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}
