//! A browser's request for a page, and the forms that a browser sends.
//!
//! Each browser has an id in a cookie, even before a user signs in. Every form repeats a CSRF value that belongs to
//! this id, and pages of other sites cannot know it. A sign-in gives the browser another id, which makes the previous
//! value useless.

use std::collections::HashSet;
use std::ops::Deref;

use minijinja::Value;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use poem::http::{HeaderMap, Method, header};
use poem::{FromRequest, Request, RequestBody, Response};
use serde::de::DeserializeOwned;

use super::body::FORM;
use super::cookie::{self, Cookies};
use super::flow::Flow;
use super::own_page;
use super::page::Frame;
use crate::app::App;
use crate::base::error::{Cause, Code, Error, Result};

const NAME: &str = "tessera-browser";

/// The name of the cookie with a flash message, which the next page shows once.
const FLASH: &str = "tessera-done";

/// The lifetime of a flash message, in seconds.
const FLASH_EXPIRES: u64 = 60;

/// The input for the CSRF value of a browser's id. It differs from that of a session, so that the values differ too.
fn browsers(id: &str) -> Vec<u8> {
    [b"browser ", id.as_bytes()].concat()
}

/// The input for the value that proves that Tessera gave this flash message to this browser, for this page.
fn flashed(id: &str, page: &str, message: &str) -> Vec<u8> {
    let page = page.split('?').next().unwrap_or_default();
    format!("done {id} {page} {message}").into_bytes()
}

/// The page that contains a form, from the path that the form was sent to.
pub(crate) fn page_of_form(place: &str) -> &str {
    match place {
        "logout" => "account",
        "account/export" => "account/data",
        place => place,
    }
}

/// The characters that are percent-encoded when a path becomes a parameter of a query.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'&').add(b'+').add(b'%');

/// A path as the value of a parameter.
pub(crate) fn in_query(place: &str) -> String {
    utf8_percent_encode(place, IN_QUERY).to_string()
}

/// The id of a browser, if it has one.
pub(crate) fn known_id<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    cookie::value(app, headers, NAME)
}

/// A browser's request: it opens a page or sends a form.
pub(crate) struct BrowserRequest {
    frame: Frame,
    id: String,
    cookies: Cookies,
    /// `true` if the browser sends a form, `false` if it opens a page.
    sends: bool,
}

/// Gives access to the frame of the page.
impl Deref for BrowserRequest {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl BrowserRequest {
    /// Makes the request of the browser with this id.
    pub(crate) fn new(request: &Request, frame: Frame, id: String) -> Self {
        let cookies = Cookies::of(request);
        let sends = request.method() != Method::GET;
        let mut browser = Self { frame, id, cookies, sends };
        browser.show_csrf();
        browser
    }

    /// Makes the request for a page that shows a refusal to the browser with this id. It sets no cookie.
    pub(crate) fn refused(frame: Frame, id: String) -> Self {
        let mut browser = Self { frame, id, cookies: Cookies::default(), sends: false };
        browser.show_csrf();
        browser
    }

    /// The id of the browser.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns true if the browser sends a form, and false if it opens a page.
    pub(crate) fn sends_form(&self) -> bool {
        self.sends
    }

    /// Sets the signed-in user that pages show.
    pub(crate) fn show_reader(&mut self, signed_in: Value) {
        self.frame.read_by(signed_in);
    }

    /// Makes the page part of a flow.
    pub(crate) fn join(&mut self, flow: &Flow) {
        self.frame.join(flow);
    }

    /// Lets the forms of the page lead to this place too.
    pub(crate) fn lead_to(&mut self, target: String) {
        self.frame.lead_to(target);
    }

    /// Chooses the first of these languages that the pages have.
    pub(crate) fn speak(&mut self, languages: &str) {
        self.frame.speak(languages);
    }

    /// Returns the frame of the page.
    pub(crate) fn into_frame(self) -> Frame {
        self.frame
    }

    /// Gives the browser this id.
    pub(crate) fn change_id(&mut self, id: &str) {
        self.cookies.plant(&self.frame.app, NAME, id);
        id.clone_into(&mut self.id);
        self.show_csrf();
    }

    /// Sets the CSRF value of the id, which forms repeat.
    fn show_csrf(&mut self) {
        let csrf = self.frame.app.csrf.value_of(&browsers(&self.id));
        self.frame.repeat_in_forms(csrf);
    }

    /// Shows the flash message of the browser's cookie on the page, and deletes the cookie.
    pub(crate) fn take_flash(&mut self, headers: &HeaderMap) {
        let app = &self.frame.app;
        let Some(value) = cookie::value(app, headers, FLASH).filter(|_| !self.sends) else {
            return;
        };
        let Some((message, shown)) = value.rsplit_once('.') else { return };
        let Some((section, name)) = message.split_once('.') else { return };
        // Other sites must not be able to make a page show a message.
        let expected = flashed(&self.id, self.frame.place(), message);
        if app.csrf.check_of(&expected, shown).is_ok() {
            self.cookies.lend(app, FLASH, "", 0);
            self.frame.flash(section, name);
        }
    }

    /// Redirects to a page that shows a flash message once, in one of its sections. `name` is the name of the message's
    /// text.
    pub(crate) fn redirect_with_flash(&self, page: &str, section: &str, name: &str) -> Response {
        let (app, message) = (&self.frame.app, format!("{section}.{name}"));
        let shown = app.csrf.value_of(&flashed(&self.id, page, &message));
        self.cookies.lend(app, FLASH, &format!("{message}.{shown}"), FLASH_EXPIRES);
        let part = if section.is_empty() { String::new() } else { format!("#{section}-title") };
        self.redirect(&format!("{page}{part}"))
    }

    /// Reads the form that the browser sends. If the form does not repeat the browser's CSRF value, the result has an
    /// error, and the form must have no effect.
    ///
    /// # Errors
    ///
    /// [`Code::RequestTimeout`]; [`Code::UnprocessableContent`] for a form that cannot be read, or
    /// [`Code::CsrfTokenMismatch`] if it does not repeat the CSRF value either.
    pub(crate) async fn read_form<T: DeserializeOwned>(
        &self,
        body: &mut RequestBody,
    ) -> Result<(T, Option<Error>)> {
        let bytes = body.take().map_err(|_| Code::RequestTimeout)?.into_bytes().await;
        let bytes = bytes.map_err(|_| Code::RequestTimeout)?;
        let unreadable = |_| Error::from(Code::UnprocessableContent);
        let fields: Vec<(String, String)> =
            serde_urlencoded::from_bytes(&bytes).map_err(unreadable)?;
        let csrf = fields.iter().find(|(name, _)| name == "csrf");
        let given = csrf.map(|(_, value)| value.as_str()).unwrap_or_default();
        let stale = self.frame.app.csrf.check_of(&browsers(&self.id), given).err();
        let form = serde_urlencoded::from_bytes(&bytes).map_err(unreadable);
        // A form of another site may be unreadable: then the CSRF error is the right one.
        let form =
            form.map_err(|error| stale.as_ref().map_or(error, |_| Code::CsrfTokenMismatch.into()))?;
        Ok((form, stale))
    }
}

/// Fails if a page of another site sent the request, or if the body is not a form.
pub(crate) fn check_form(request: &Request) -> Result<()> {
    own_page::check(request)?;
    let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        return Err(Code::UnsupportedMediaType.into());
    }
    Ok(())
}

/// The query of a page. If a parameter is given twice, the first one counts. A query that cannot be read is answered
/// with a page that shows the error.
pub(crate) struct PageQuery<T>(pub(crate) T);

impl<'a, T: DeserializeOwned> FromRequest<'a> for PageQuery<T> {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let query = request.uri().query().unwrap_or_default();
        let parsed = || {
            let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).ok()?;
            let mut known = HashSet::new();
            pairs.retain(|(name, _)| known.insert(name.clone()));
            serde_urlencoded::from_str(&serde_urlencoded::to_string(pairs).ok()?).ok()
        };
        match parsed() {
            Some(query) => Ok(Self(query)),
            None => Err(refuse(&Frame::of(request)?, Code::UnprocessableContent.into())),
        }
    }
}

/// Makes the page that shows why the requested page is refused.
pub(crate) fn refuse(frame: &Frame, error: Error) -> poem::Error {
    let response = match error.code() {
        // A page that was open for too long links to its current version.
        Code::CsrfTokenMismatch => {
            let (title, text) = (frame.text("load-again"), frame.message(&error));
            frame.refusal_with(&title, &text, page_of_form(frame.place()), &error)
        }
        _ => frame.refusal(&frame.text("did-not-work"), error),
    };
    let cause = response.extensions().get::<Cause>().cloned();
    let mut error = poem::Error::from_response(response);
    if let Some(cause) = cause {
        error.set_data(cause);
    }
    error
}

/// The page to go to next, as a path from the first page; empty if it is not a page of this server. It refuses every
/// path that a browser or a proxy could read as another host or as a path above the first page.
pub(crate) fn next_place(next: Option<&str>) -> &str {
    let place = next.and_then(|next| next.strip_prefix('/')).unwrap_or_default();
    let path = place.split(['?', '#']).next().unwrap_or_default();
    let leads_away =
        |part: &str| matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    let plain = place.bytes().all(|byte| byte.is_ascii_graphic())
        && !path.contains('\\')
        && !path.starts_with('/')
        && !path.contains("//")
        && !path.split('/').any(leads_away);
    if plain { place } else { "" }
}
