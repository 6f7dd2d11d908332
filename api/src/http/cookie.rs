//! Sessions in cookies, for browsers.
//!
//! The access token is in a cookie that scripts cannot read; the browser sends it along whoever's
//! page asks. So what changes something must repeat a value that only pages of this origin can
//! know. It is a keyed digest of the session's id: nothing is kept for it, and a cookie that somebody
//! else planted does not go with it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use poem::{FromRequest, Request, RequestBody};
use uuid::Uuid;

use super::headers::CSRF_TOKEN;
use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key;
use crate::base::error::{Code, Error, Result};

const NAME: &str = "tessera";
const CSRF_NAME: &str = "tessera-csrf";

/// The keys of those values, one for each secret that is known.
#[derive(Debug)]
pub struct CsrfKeys(Vec<hmac::Key>);

impl CsrfKeys {
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigError> {
        let secret = config.signing_secret()?;
        let secrets = std::iter::once(&secret).chain(&config.app_secret_previous);
        // A key of its own, so that no value made here is a signature of anything.
        let purpose = "tessera cross-site request forgery";
        Ok(Self(secrets.map(|secret| derived_key::digest_key(secret, purpose)).collect()))
    }

    fn value(&self, session: Uuid) -> String {
        self.value_of(session.as_bytes())
    }

    /// What belongs to an id.
    pub(crate) fn value_of(&self, id: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0[0], id))
    }

    /// Fails where a request does not repeat the value that belongs to its session.
    pub(crate) fn check(&self, headers: &HeaderMap, session: Uuid) -> Result<()> {
        let given = headers.get(CSRF_TOKEN).and_then(|value| value.to_str().ok());
        self.check_of(session.as_bytes(), given.unwrap_or_default())
    }

    /// Fails where something is not what belongs to an id.
    pub(crate) fn check_of(&self, id: &[u8], given: &str) -> Result<()> {
        let given = URL_SAFE_NO_PAD.decode(given).unwrap_or_default();
        let known = |key: &hmac::Key| hmac::verify(key, id, &given).is_ok();
        if self.0.iter().any(known) { Ok(()) } else { Err(Code::CsrfTokenMismatch.into()) }
    }
}

/// The access token in the cookie, where there is one.
pub(crate) fn token<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    value(app, headers, NAME)
}

/// What a cookie holds, where there is one of its name.
pub(crate) fn value<'a>(app: &App, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let name = full_name(app, name);
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        // Each by itself: one that is not text, of another site's making, must not hide the rest.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            // No other white space goes before a name than what browsers know as such: to them, a name after an em
            // space does not begin with `__Host-`, and any host of the domain may plant it.
            let blanks = pair.iter().take_while(|byte| b" \t".contains(byte)).count();
            let value = pair[blanks..].strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        });
    // Two of one name: one of them was planted, and which is not known.
    match (found.next(), found.next()) {
        (Some(token), None) if !token.is_empty() => Some(token),
        _ => None,
    }
}

/// The cookies that an answer takes along.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cookies(Arc<Mutex<Vec<(HeaderName, HeaderValue)>>>);

impl Cookies {
    /// Those of a request's answer, if a layer gave it some.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Lets the browser keep an access token for so many seconds, with the value that belongs to its session.
    pub(crate) fn keep(&self, app: &App, session: Uuid, token: &str, seconds: u64) {
        let value = app.csrf.value(session);
        self.set(app, NAME, token, seconds, "; HttpOnly");
        self.set(app, CSRF_NAME, &value, seconds, "");
        self.tell(CSRF_TOKEN, &value);
    }

    /// Takes back what the browser keeps.
    pub(crate) fn forget(&self, app: &App) {
        self.lock().retain(|(name, _)| *name != CSRF_TOKEN);
        self.set(app, NAME, "", 0, "; HttpOnly");
        self.set(app, CSRF_NAME, "", 0, "");
    }

    /// Lets the browser keep an id until it is closed; how long it opens anything, the table says.
    pub(crate) fn plant(&self, app: &App, name: &str, id: &str) {
        let name = full_name(app, name);
        let secure = if is_secure(app) { "; Secure" } else { "" };
        let text = format!("{name}={id}; Path=/; SameSite=Lax{secure}; HttpOnly");
        self.push_cookie(&name, &text);
    }

    /// Tells the client something in a header of the answer.
    pub(crate) fn tell(&self, name: HeaderName, value: &str) {
        self.lock().retain(|(known, _)| *known != name);
        self.push(name, value);
    }

    /// Lets the browser keep something for so many seconds; for none, it forgets it.
    pub(crate) fn lend(&self, app: &App, name: &str, value: &str, seconds: u64) {
        self.set(app, name, value, seconds, "; HttpOnly");
    }

    /// The headers, for the answer.
    pub(crate) fn take(&self) -> Vec<(HeaderName, HeaderValue)> {
        std::mem::take(&mut self.lock())
    }

    fn set(&self, app: &App, name: &str, value: &str, seconds: u64, more: &str) {
        let name = full_name(app, name);
        let secure = if is_secure(app) { "; Secure" } else { "" };
        let text = format!("{name}={value}; Max-Age={seconds}; Path=/; SameSite=Lax{secure}{more}");
        self.push_cookie(&name, &text);
    }

    /// Adds a cookie, in the place of one of the same name.
    fn push_cookie(&self, name: &str, text: &str) {
        let begin = format!("{name}=");
        self.lock().retain(|(_, known)| !known.as_bytes().starts_with(begin.as_bytes()));
        self.push(header::SET_COOKIE, text);
    }

    fn push(&self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.lock().push((name, value));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(HeaderName, HeaderValue)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> FromRequest<'a> for Cookies {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self::of(request))
    }
}

/// A request that no other site's page sent: a form there must not sign a browser in as somebody
/// else, who would then be told what its user does.
pub(crate) struct OwnPage;

impl<'a> FromRequest<'a> for OwnPage {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let listed = match (request.header(header::ORIGIN), request.data::<App>()) {
            (Some(origin), Some(app)) => {
                app.config.cors_origins.iter().any(|known| known.is(origin))
            }
            _ => false,
        };
        let own = listed || is_own(request);
        if own { Ok(Self) } else { Err(Error::from(Code::CsrfTokenMismatch).into()) }
    }
}

/// Whether a request is not one that another site's page sent, nor another origin's of the same site.
pub(super) fn is_own(request: &Request) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        // Programs send no origin; browsers that send none say this.
        let site = request.header("sec-fetch-site");
        return matches!(site, None | Some("same-origin" | "none"));
    };
    let (Ok(origin), Some(app)) = (origin.to_str(), request.data::<App>()) else { return false };
    let url = &app.config.public_url;
    let host = request.header(header::HOST).unwrap_or_default();
    let of_host = match origin.split_once("://") {
        Some(("https", place)) => place == host,
        // Where callers come over TLS, a page that did not is whoever's is on the way.
        Some(("http", place)) => place == host && !url.is_https(),
        _ => false,
    };
    of_host || url.is_of(origin)
}

/// `__Host-` keeps other hosts of the same domain from planting a cookie of this name.
fn full_name(app: &App, name: &str) -> String {
    if is_secure(app) { format!("__Host-{name}") } else { name.to_owned() }
}

fn is_secure(app: &App) -> bool {
    !app.config.dev || app.config.public_url.is_https()
}
