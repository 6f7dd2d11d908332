//! The settings of a service that verifies tokens.

use std::fmt;
use std::time::Duration;

use super::warnings::Sink;
use crate::feed::{DEFAULT_MAX_AGE, DEFAULT_OPEN_FOR, WhenStale};

/// The sentence about a token that fits into no header.
pub(super) const TOKEN_FORM: &str =
    "TESSERA_FEED_TOKEN must be an API token of Tessera, which begins with tsr_";

/// The sentence about an issuer that is no URL.
const ISSUER_FORM: &str =
    "TESSERA_ISSUER must be a URL such as https://id.example.com: set it to PUBLIC_URL of Tessera";

/// The error for settings that cannot be used. Its sentence names the variable, and never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

/// The settings of a service that verifies tokens. [`Tessera::from_env`](super::Tessera::from_env) reads them from the
/// environment. `Debug` shows no secret.
#[derive(Clone)]
pub struct Settings {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) secret: Option<Vec<u8>>,
    pub(super) feed_token: Option<String>,
    pub(super) max_age: Duration,
    pub(super) when_stale: WhenStale,
    pub(super) open_for: Duration,
    pub(super) fresh_for: u64,
    pub(super) pulls: bool,
    pub(super) warn: Sink,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Creates settings for the tokens of an issuer for an audience. Without further settings, the public keys are read
    /// from the issuer, and no revocations are. The issuer can be written in capitals, with the default port, or with a
    /// slash at the end.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if the issuer is no URL, or if it is not `https` and not on this machine.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            issuer: normalized(&issuer.into())?,
            audiences: vec![audience.into()],
            secret: None,
            feed_token: None,
            max_age: DEFAULT_MAX_AGE,
            when_stale: WhenStale::Closed,
            open_for: DEFAULT_OPEN_FOR,
            fresh_for: 900,
            pulls: false,
            warn: Sink::default(),
        })
    }

    /// Adds an audience whose tokens are accepted too.
    #[must_use]
    pub fn and_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Verifies HS256 tokens with a secret. The public keys of the issuer are then neither read nor accepted.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Follows the revocations with an API token that has the scope `revocations:read`.
    #[must_use]
    pub fn feed_token(mut self, token: impl Into<String>) -> Self {
        self.feed_token = Some(token.into());
        self
    }

    /// Fetches revocations when a request needs them, instead of following them all the time. Choose this if the process
    /// of the service stands still between requests, as serverless functions do.
    #[must_use]
    pub fn pull(mut self) -> Self {
        self.pulls = true;
        self
    }

    /// Sets the function that gets warnings, such as that the issuer refuses the API token. Each reason comes once until it
    /// changes. By default, they go to the standard error.
    #[must_use]
    pub fn on_warning(mut self, take: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.warn = Sink::new(take);
        self
    }

    /// Sets the age from which the knowledge about revocations is stale. The default is 5 seconds.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets what happens to tokens while that knowledge is stale, and with [`WhenStale::Open`] for how long.
    #[must_use]
    pub fn when_stale(mut self, choice: WhenStale, open_for: Duration) -> Self {
        self.when_stale = choice;
        self.open_for = open_for;
        self
    }

    /// Sets the time for which a token is fresh after its user gave a password, in seconds. The default is 900.
    #[must_use]
    pub fn fresh_for(mut self, seconds: u64) -> Self {
        self.fresh_for = seconds;
        self
    }

    /// Returns true if the issuer is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let host = reqwest::Url::parse(&self.issuer).ok();
        host.as_ref().and_then(|url| url.host_str()).is_some_and(is_loopback)
    }

    /// Reads the settings. `look` returns the value of a variable, and `read` the text of a file.
    pub(super) fn read(
        look: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, SettingsError> {
        let value = |name: &str| value(name, &look, &read);
        let required = |name: &str, what: &str| {
            value(name)?.ok_or_else(|| fault(format!("{name} is not set: set it to {what}")))
        };
        let issuer = required(
            "TESSERA_ISSUER",
            "the issuer of the tokens, which is PUBLIC_URL of Tessera, such as https://id.example.com",
        )?;
        let audiences = required(
            "TESSERA_AUDIENCE",
            "the audience of the tokens, which is JWT_AUDIENCE of Tessera",
        )?;
        let mut audiences = audiences.split(',').map(str::trim).filter(|name| !name.is_empty());
        let first = audiences.next().ok_or_else(|| {
            fault("TESSERA_AUDIENCE names no audience: set it to JWT_AUDIENCE of Tessera")
        })?;
        let settings = Self::new(issuer, first)?;
        let mut settings = audiences.fold(settings, Self::and_audience);
        if let Some(secret) = value("TESSERA_SECRET")? {
            if secret.len() < 32 {
                return Err(fault(
                    "TESSERA_SECRET has fewer than 32 bytes: set it to the secret that `tessera keys derive` prints",
                ));
            }
            settings = settings.secret(secret);
        }
        settings.with_feed(value("TESSERA_FEED")?.as_deref(), value("TESSERA_FEED_TOKEN")?)
    }

    /// Adds the token for the feed, unless `TESSERA_FEED` is off.
    fn with_feed(self, feed: Option<&str>, token: Option<String>) -> Result<Self, SettingsError> {
        let pulls = match feed {
            Some("off") => return Ok(self),
            Some("pull") => true,
            None | Some("on") => false,
            Some(_) => {
                return Err(fault("TESSERA_FEED must be on, pull or off: set it to one of these"));
            }
        };
        match token {
            Some(token)
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Err(fault(TOKEN_FORM))
            }
            Some(token) if pulls => Ok(self.feed_token(token).pull()),
            Some(token) => Ok(self.feed_token(token)),
            // On the machine of a developer, a warning is enough.
            None if self.is_local() => Ok(self),
            None => Err(fault(
                "TESSERA_FEED_TOKEN is not set, so revoked tokens would be accepted until they expire: set it to an \
                 API token with the scope revocations:read, or set TESSERA_FEED=off",
            )),
        }
    }
}

fn fault(sentence: impl Into<String>) -> SettingsError {
    SettingsError(sentence.into())
}

/// Returns the value of a variable, or of the file that the variable with `_FILE` names. Empty ones count as not set.
fn value(
    name: &str,
    look: impl Fn(&str) -> Option<String>,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<Option<String>, SettingsError> {
    let given = |name: &str| look(name).filter(|text| !text.trim().is_empty());
    let file = format!("{name}_FILE");
    let Some(path) = given(&file) else { return Ok(given(name)) };
    let text = read(&path).map_err(|error| {
        fault(format!(
            "the file that {file} names cannot be read ({error}): name a file that this process can read"
        ))
    })?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty()))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Returns an issuer as tokens write it: scheme and host in lower case, without a default port and without a slash at the
/// end.
fn normalized(issuer: &str) -> Result<String, SettingsError> {
    let url = reqwest::Url::parse(issuer.trim()).map_err(|_| fault(ISSUER_FORM))?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let host = url.host_str().filter(|_| is_plain).ok_or_else(|| fault(ISSUER_FORM))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => {
            return Err(fault(
                "TESSERA_ISSUER begins with http, so anybody on the network path could hide revocations and send false \
                 keys: set it to a URL with https",
            ));
        }
        _ => return Err(fault(ISSUER_FORM)),
    }
    let path = url.path().trim_end_matches('/');
    Ok(format!("{}{path}", url.origin().ascii_serialization()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: (&str, &str) = ("TESSERA_ISSUER", "https://id.example.com/");
    const AUDIENCE: (&str, &str) = ("TESSERA_AUDIENCE", "reports, billing");
    const TOKEN: (&str, &str) = ("TESSERA_FEED_TOKEN", "tsr_a_token_that_nobody_may_see");
    const SHORT: (&str, &str) = ("TESSERA_SECRET", "a_short_secret");

    fn settings(set: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let look = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::read(look, |path| match path {
            "/token" => Ok("tsr_of_a_file\n".to_owned()),
            _ => Err("no such file".to_owned()),
        })
    }

    #[test]
    fn settings_are_read_and_each_fault_names_its_variable_and_no_value() {
        let read = settings(&[ISSUER, AUDIENCE, TOKEN]).unwrap();
        assert_eq!(read.issuer, "https://id.example.com");
        assert_eq!(read.audiences, ["reports", "billing"]);
        assert_eq!(read.feed_token.as_deref(), Some(TOKEN.1));
        assert!(!format!("{read:?}").contains(TOKEN.1));
        let file = settings(&[ISSUER, AUDIENCE, TOKEN, ("TESSERA_FEED_TOKEN_FILE", "/token")]);
        assert_eq!(file.unwrap().feed_token.as_deref(), Some("tsr_of_a_file"));
        let local = ("TESSERA_ISSUER", "http://localhost:8000");
        for fine in [
            vec![ISSUER, AUDIENCE, ("TESSERA_FEED", "off")],
            vec![local, AUDIENCE],
            vec![("TESSERA_ISSUER", "http://[::1]:8000"), AUDIENCE],
        ] {
            assert_eq!(settings(&fine).unwrap().feed_token, None);
        }
        for (named, set) in [
            ("TESSERA_ISSUER", vec![AUDIENCE, TOKEN]),
            ("TESSERA_ISSUER", vec![("TESSERA_ISSUER", "id.example.com"), AUDIENCE, TOKEN]),
            ("TESSERA_ISSUER", vec![("TESSERA_ISSUER", "http://id.example.com"), AUDIENCE, TOKEN]),
            ("TESSERA_ISSUER", vec![("TESSERA_ISSUER", "ftp://localhost"), AUDIENCE, TOKEN]),
            ("TESSERA_FEED_TOKEN", vec![ISSUER, AUDIENCE, ("TESSERA_FEED_TOKEN", "tsr_a\nX: y")]),
            ("TESSERA_AUDIENCE", vec![ISSUER, TOKEN]),
            ("TESSERA_AUDIENCE", vec![ISSUER, TOKEN, ("TESSERA_AUDIENCE", " , ")]),
            ("TESSERA_FEED_TOKEN", vec![ISSUER, AUDIENCE]),
            ("TESSERA_FEED", vec![ISSUER, AUDIENCE, TOKEN, ("TESSERA_FEED", "no")]),
            ("TESSERA_SECRET", vec![ISSUER, AUDIENCE, TOKEN, SHORT]),
            ("TESSERA_SECRET_FILE", vec![ISSUER, AUDIENCE, TOKEN, ("TESSERA_SECRET_FILE", "/x")]),
        ] {
            let fault = settings(&set).unwrap_err().to_string();
            assert!(fault.contains(named), "{fault}");
            assert!(!fault.contains(TOKEN.1) && !fault.contains(SHORT.1), "{fault}");
        }
    }
}
