//! Flows: requests of applications that a browser carries while its user signs in, registers or decides.
//!
//! The request is sealed into the URL that the pages lead back to. So the server keeps nothing for it, several tabs do
//! not disturb each other, and a page that was open overnight still leads home. The sealed text authorises nothing: it
//! is the request again, and everything is checked again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key::{Seal, open_from_url, seal_for_url, seals_of};

/// The path, relative to the first page, of the page that flows lead back to.
pub(crate) const PLACE: &str = "oauth2/authorize";

/// The parameter with the sealed text.
pub(crate) const PARAMETER: &str = "continue";

/// The maximum length of the URL with the sealed text, in bytes. Proxies and browsers accept it everywhere.
pub(crate) const MAX_LENGTH: usize = 3 * 1024;

/// The name that the sealed text is bound to.
const NAME: &str = "flow";

/// The keys that seal flows.
#[derive(Debug)]
pub struct FlowSeals(Vec<Seal>);

impl FlowSeals {
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self(seals_of(&config.signing_secret()?, config, "tessera flows")))
    }
}

/// A flow, as it is sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// The time when it began, in milliseconds since the epoch.
    #[serde(rename = "b")]
    pub(crate) began: i64,
    /// The source expression for Content-Security-Policy of the place where the browser goes in the end: an origin, or
    /// a scheme. Browsers apply `form-action` to the redirects that follow a form too.
    #[serde(rename = "t")]
    pub(crate) target: String,
    /// The languages that the application asks for, in the order of its preference (BCP 47).
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) languages: Option<String>,
    /// The address that the application expects the user to have.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub(crate) login_hint: Option<String>,
    /// The request of the application.
    #[serde(rename = "r")]
    pub(crate) request: Value,
}

impl Flow {
    /// Seals the flow into a place, relative to the first page. `None` if it would be longer than [`MAX_LENGTH`].
    pub(crate) fn place(&self, app: &App) -> Option<String> {
        let place = format!("{PLACE}?{PARAMETER}={}", self.seal(app)?);
        let issuer = app.config.public_url.as_str().len();
        (issuer + 1 + place.len() <= MAX_LENGTH).then_some(place)
    }

    fn seal(&self, app: &App) -> Option<String> {
        seal_for_url(&app.flow.0, NAME, self)
    }

    /// Opens a sealed text. `None` if this server did not seal it, or sealed it with a secret that is not known any
    /// more.
    pub(crate) fn open(app: &App, sealed: &str) -> Option<Self> {
        if sealed.len() > MAX_LENGTH {
            return None;
        }
        open_from_url(&app.flow.0, NAME, sealed)
    }

    /// The flow that a place leads back to, if it leads to one. The place is relative to the first page, with or
    /// without a slash before it.
    pub(crate) fn of_place(app: &App, place: Option<&str>) -> Option<Self> {
        let query = place?.trim_start_matches('/').strip_prefix(PLACE)?.strip_prefix('?')?;
        Self::open(app, query.strip_prefix(PARAMETER)?.strip_prefix('=')?)
    }
}

/// Returns the source expression for a URI that a browser is sent to: its origin, or its scheme if it is an app's own.
pub(crate) fn target_of(uri: &str) -> String {
    let web = ["https://", "http://"].into_iter().find_map(|scheme| {
        let rest = uri.strip_prefix(scheme)?;
        let host = rest.split(['/', '?', '#']).next()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        host.bytes().all(plain).then(|| format!("{scheme}{host}"))
    });
    let scheme = || {
        let scheme = uri.split(':').next().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte);
        let plain = !scheme.is_empty() && scheme.bytes().all(plain);
        if plain { format!("{scheme}:") } else { "'none'".to_owned() }
    };
    web.unwrap_or_else(scheme)
}

#[cfg(test)]
mod tests {
    use super::target_of;

    #[test]
    fn the_target_of_a_uri_is_its_origin_or_its_scheme() {
        for (uri, target) in [
            ("https://app.example.com/cb?a=b", "https://app.example.com"),
            ("http://127.0.0.1:4000/cb", "http://127.0.0.1:4000"),
            ("http://[::1]:4000/cb", "http://[::1]:4000"),
            ("https://app.example.com", "https://app.example.com"),
            ("com.example.app:/cb", "com.example.app:"),
            ("https://app.example.com; script-src *", "https:"),
            ("a b:/", "'none'"),
            ("", "'none'"),
        ] {
            assert_eq!(target_of(uri), target, "{uri}");
        }
    }
}
