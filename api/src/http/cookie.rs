//! Sessions in cookies, for browsers.
//!
//! The access token is in a cookie that scripts cannot read. The browser sends the cookie with every request, even if a
//! page of another site caused the request. So a request that changes something must repeat a CSRF value that only
//! pages of this origin can know. The value is a keyed digest of the session's id. The server stores nothing for it,
//! and it does not match a cookie that somebody else planted.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use poem::{FromRequest, Request, RequestBody};
use uuid::Uuid;

use super::headers::CSRF_TOKEN;
use super::own_page;
use crate::app::App;
use crate::base::config::{Config, ConfigError, CsrfCheck, Origin};
use crate::base::derived_key;
use crate::base::error::{Code, Result};

const NAME: &str = "tessera";
const CSRF_NAME: &str = "tessera-csrf";

/// The keys of CSRF values, one for each known secret.
#[derive(Debug)]
pub struct CsrfKeys(Vec<hmac::Key>);

impl CsrfKeys {
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigError> {
        let secret = config.signing_secret()?;
        let secrets = std::iter::once(&secret).chain(&config.app_secret_previous);
        // A separate key, so that no value made here is a valid signature elsewhere.
        let purpose = "tessera cross-site request forgery";
        Ok(Self(secrets.map(|secret| derived_key::digest_key(secret, purpose)).collect()))
    }

    fn value(&self, session: Uuid) -> String {
        self.value_of(session.as_bytes())
    }

    /// The CSRF value that belongs to an id.
    pub(crate) fn value_of(&self, id: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0[0], id))
    }

    /// Fails if a request does not repeat the CSRF value that belongs to its session.
    pub(crate) fn check(&self, headers: &HeaderMap, session: Uuid) -> Result<()> {
        let given = headers.get(CSRF_TOKEN).and_then(|value| value.to_str().ok());
        self.check_of(session.as_bytes(), given.unwrap_or_default())
    }

    /// Fails if a value is not the CSRF value that belongs to an id.
    pub(crate) fn check_of(&self, id: &[u8], given: &str) -> Result<()> {
        let given = URL_SAFE_NO_PAD.decode(given).unwrap_or_default();
        let known = |key: &hmac::Key| hmac::verify(key, id, &given).is_ok();
        if self.0.iter().any(known) { Ok(()) } else { Err(Code::CsrfTokenMismatch.into()) }
    }
}

/// The access token in the cookie, if there is one.
pub(crate) fn token<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    value(app, headers, NAME)
}

/// The value of the cookie with this name, if there is exactly one.
pub(crate) fn value<'a>(app: &App, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    named(headers, &full_name(app, name))
}

/// The value of a cookie that this server keeps for another host, if there is exactly one.
pub(crate) fn value_at<'a>(headers: &'a HeaderMap, at: &Origin, name: &str) -> Option<&'a str> {
    named(headers, &prefixed(at.is_https(), name))
}

fn named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        // Each cookie is read by itself, so that one of another site which is not text does not hide the rest.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            // Only the white space that browsers recognise can come before a name. For browsers, a name after an em
            // space does not begin with `__Host-`, so any host of the domain could plant such a cookie.
            let blanks = pair.iter().take_while(|byte| b" \t".contains(byte)).count();
            let value = pair[blanks..].strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        });
    // If there are two cookies with this name, one of them was planted, and it is not known which one.
    match (found.next(), found.next()) {
        (Some(token), None) if !token.is_empty() => Some(token),
        _ => None,
    }
}

/// The cookies and headers that an answer sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cookies(Arc<Mutex<Vec<(HeaderName, HeaderValue)>>>);

impl Cookies {
    /// The cookies of the answer to a request, if a layer added them.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Sets the cookies with an access token and with the CSRF value of its session, for this many seconds.
    pub(crate) fn keep(&self, app: &App, session: Uuid, token: &str, seconds: u64) {
        let value = app.csrf.value(session);
        self.set(app, NAME, token, seconds, "; HttpOnly");
        self.set(app, CSRF_NAME, &value, seconds, "");
        self.tell(CSRF_TOKEN, &value);
    }

    /// Deletes both cookies.
    pub(crate) fn forget(&self, app: &App) {
        self.lock().retain(|(name, _)| *name != CSRF_TOKEN);
        self.set(app, NAME, "", 0, "; HttpOnly");
        self.set(app, CSRF_NAME, "", 0, "");
    }

    /// Sets a cookie with an id until the browser is closed. The lifetime of the session itself is in the database.
    pub(crate) fn plant(&self, app: &App, name: &str, id: &str) {
        let name = full_name(app, name);
        let secure = if is_secure(app) { "; Secure" } else { "" };
        let text = format!("{name}={id}; Path=/; SameSite=Lax{secure}; HttpOnly");
        self.push_cookie(&name, &text);
    }

    /// Sets a header of the answer.
    pub(crate) fn tell(&self, name: HeaderName, value: &str) {
        self.lock().retain(|(known, _)| *known != name);
        self.push(name, value);
    }

    /// Sets a cookie for this many seconds. With 0 seconds, the browser deletes it.
    pub(crate) fn lend(&self, app: &App, name: &str, value: &str, seconds: u64) {
        self.set(app, name, value, seconds, "; HttpOnly");
    }

    /// Sets a cookie at another host, for which this answer is passed on. Without a number of seconds, the browser keeps
    /// it until it is closed. With 0 seconds, the browser deletes it.
    pub(crate) fn set_at(&self, at: &Origin, name: &str, value: &str, seconds: Option<u64>) {
        let name = prefixed(at.is_https(), name);
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if at.is_https() { "; Secure" } else { "" };
        self.push_cookie(
            &name,
            &format!("{name}={value}{age}; Path=/; SameSite=Lax{secure}; HttpOnly"),
        );
    }

    /// Returns the headers for the answer.
    pub(crate) fn take(&self) -> Vec<(HeaderName, HeaderValue)> {
        std::mem::take(&mut self.lock())
    }

    fn set(&self, app: &App, name: &str, value: &str, seconds: u64, more: &str) {
        let name = full_name(app, name);
        let secure = if is_secure(app) { "; Secure" } else { "" };
        let text = format!("{name}={value}; Max-Age={seconds}; Path=/; SameSite=Lax{secure}{more}");
        self.push_cookie(&name, &text);
    }

    /// Adds a cookie, or replaces the one with the same name.
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

/// Fails if a page of another site may have caused this request with the cookie of a session.
pub(crate) fn check_sender(app: &App, request: &Request, session: Uuid) -> Result<()> {
    match app.config.front_end.csrf_check {
        CsrfCheck::Token => app.csrf.check(request.headers(), session),
        CsrfCheck::Origin => own_page::check_listed(request),
    }
}

/// The full name of a cookie: for the session, the one in the settings if there is one. The prefix `__Host-` prevents
/// other hosts of the same domain from planting it.
fn full_name(app: &App, name: &str) -> String {
    if let (NAME, Some(own)) = (name, &app.config.front_end.cookie_name) {
        return own.as_str().to_owned();
    }
    prefixed(is_secure(app), name)
}

/// The name of a cookie with the prefix that only hosts with https can set.
fn prefixed(secure: bool, name: &str) -> String {
    if secure { format!("__Host-{name}") } else { name.to_owned() }
}

fn is_secure(app: &App) -> bool {
    !app.config.dev || app.config.public_url.is_https()
}
