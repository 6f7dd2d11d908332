//! The settings with which a front end that was written for another identity provider works without changes.

use std::str::FromStr;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::ConfigError;

/// The settings for front ends.
#[derive(Debug, Clone, Args)]
pub struct FrontEndSettings {
    /// A path under which operations are also served, for example `/api`, for front ends that call them there. Web
    /// pages and mails do not use it
    #[arg(long, env = "PATH_PREFIX", global = true, value_name = "PATH")]
    pub path_prefix: Option<PathPrefix>,

    /// The full name of the cookie of a session. If this is not set, Tessera uses `__Host-tessera`, or `tessera` in
    /// development without https
    #[arg(long, env = "COOKIE_NAME", global = true, value_name = "NAME")]
    pub cookie_name: Option<CookieName>,

    /// The check that a request with the cookie of a session must pass if it changes something: it repeats the CSRF
    /// value (token), or its page is of this server or one of CORS_ORIGINS (origin)
    #[arg(
        long,
        env = "CSRF_CHECK",
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "CHECK",
        default_value = "token"
    )]
    pub csrf_check: CsrfCheck,

    /// Keep the access tokens of the session in which users change their own password. If this is false, a client
    /// must refresh after the change. Other sessions always end
    #[arg(long, env = "PASSWORD_CHANGE_KEEPS_TOKENS", global = true, value_name = "BOOL",
          num_args = 1, default_value = "false", value_parser = BoolishValueParser::new())]
    pub password_change_keeps_tokens: bool,
}

impl FrontEndSettings {
    /// Checks the settings against the scheme of the server.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if browsers would not accept the cookie.
    pub(super) fn check(&self, is_secure: bool) -> Result<(), ConfigError> {
        let Some(name) = self.cookie_name.as_ref().filter(|_| !is_secure) else { return Ok(()) };
        if !name.requires_https() {
            return Ok(());
        }
        Err(ConfigError::new(&format!(
            "COOKIE_NAME is {:?}: browsers accept this name only over https. Set another name, or PUBLIC_URL with https",
            name.as_str()
        )))
    }
}

/// A path before the paths of operations, such as `/api/v1`. It does not end with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// The rest of a path below the prefix. It begins with a slash.
    pub(crate) fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&self.0).filter(|rest| rest.starts_with('/'))
    }
}

impl FromStr for PathPrefix {
    /// A description of the error, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.trim_end_matches('/');
        let is_word = |word: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            !word.is_empty() && word != "." && word != ".." && word.bytes().all(plain)
        };
        match path.strip_prefix('/') {
            Some(words) if words.split('/').all(is_word) => Ok(Self(path.to_owned())),
            _ => Err("must be a path of letters, digits and -_.~, such as /api or /api/v1"),
        }
    }
}

/// The name of the cookie of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName(String);

impl CookieName {
    /// Returns the name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if browsers accept a cookie with this name only over https.
    pub(super) fn requires_https(&self) -> bool {
        let lower = self.0.to_ascii_lowercase();
        lower.starts_with("__host-") || lower.starts_with("__secure-")
    }
}

impl FromStr for CookieName {
    /// A description of the error, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        let bare = text.strip_prefix("__Host-").unwrap_or(text);
        // The other cookies of this server have such names.
        if !is_name || ["tessera-", "tessera_"].iter().any(|own| bare.starts_with(own)) {
            return Err(
                "must be 1 to 64 letters, digits and -_. and not begin with tessera- or tessera_, such as fastapiusersauth",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// The check that protects sessions in cookies from pages of other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CsrfCheck {
    /// The request repeats a value that only pages of this origin can read.
    Token,
    /// The browser says that the request comes from a page of this origin or a listed one.
    Origin,
}
