//! Places on other hosts that a sign-in leads to: those of `FORWARD_HOSTS`, and those of this server's own host.
//!
//! A place is the origin as the settings have it, and a path behind it. So however a URL is spelled, it leads to no other
//! host.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::browser_request::in_query;
use crate::app::App;
use crate::base::config::Origin;

/// The path, relative to the first page, of the page that leads on to another host.
pub(crate) const PLACE: &str = "forward";

/// The maximum length of a path. A longer one would be cut off by proxies, because it is encoded twice.
const MAX_LENGTH: usize = 1500;

/// A place that a sign-in leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination<'a> {
    /// The origin.
    pub(crate) origin: &'a Origin,
    /// The path and query. They begin with a slash.
    pub(crate) path: Cow<'a, str>,
}

impl<'a> Destination<'a> {
    /// The place on the host that a request names. `None` if the host is not listed. A path that cannot be kept becomes
    /// the first page.
    pub(crate) fn on_host(app: &'a App, host: &str, path: &'a str) -> Option<Self> {
        let origin = app.config.destinations().find(|origin| origin.has_host(host))?;
        let path = if is_path(path) { path } else { "/" };
        Some(Self { origin, path: path.into() })
    }

    /// The place with this URL. `None` unless it begins with a listed origin, letter for letter.
    pub(crate) fn parse(app: &'a App, url: &'a str) -> Option<Self> {
        let path = |origin: &Origin| url.strip_prefix(origin.as_str()).filter(|path| is_path(path));
        let mut origins = app.config.destinations();
        origins.find_map(|origin| Some(Self { origin, path: path(origin)?.into() }))
    }

    /// The place that a page leads on to, from its path and query, with or without a slash before them.
    pub(crate) fn of_place(app: &'a App, place: Option<&str>) -> Option<Self> {
        let query = place?.trim_start_matches('/').strip_prefix(PLACE)?.strip_prefix("?to=")?;
        let encoded = query.split('&').next().unwrap_or_default();
        let url = percent_decode_str(encoded).decode_utf8().ok()?;
        let Destination { origin, path } = Destination::parse(app, &url)?;
        let origin = app.config.destinations().find(|known| *known == origin)?;
        Some(Self { origin, path: Cow::Owned(path.into_owned()) })
    }

    /// The URL.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.origin.as_str(), self.path)
    }

    /// The page that leads on to this place, relative to the first page.
    pub(crate) fn place(&self) -> String {
        format!("{PLACE}?to={}", in_query(&self.url()))
    }

    /// Returns true if it is on the host of this server.
    pub(crate) fn is_own(&self, app: &App) -> bool {
        self.origin == app.config.public_url.origin()
    }
}

/// Returns true for a path, with or without a query, that every program reads as one.
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= MAX_LENGTH
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}
