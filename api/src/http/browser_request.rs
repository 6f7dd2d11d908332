//! The request of a browser for a page, and the forms that it sends.
//!
//! Each browser has an id in a cookie before somebody signs in with it as well, and every form repeats a value that
//! belongs to that id: no page of another site can know it, and signing in, which gives another id, makes the one
//! before worth nothing.

use std::collections::HashSet;
use std::ops::Deref;

use minijinja::Value;
use poem::http::{HeaderMap, Method, header};
use poem::{FromRequest, Request, RequestBody, Response};
use serde::de::DeserializeOwned;

use super::body::FORM;
use super::cookie::{self, Cookies};
use super::page::Frame;
use crate::app::App;
use crate::base::error::{Cause, Code, Error, Result};

const NAME: &str = "tessera-browser";

/// The flash message: what was done, for the page that the browser is redirected to, which says so once.
const FLASH: &str = "tessera-done";

/// How long a flash message waits for its page, in seconds.
const FLASH_EXPIRES: u64 = 60;

/// An id of a browser, as no session's id is: what belongs to the one is nothing to the other.
fn browsers(id: &str) -> Vec<u8> {
    [b"browser ", id.as_bytes()].concat()
}

/// What shows that we gave this flash message to this browser, for this page.
fn flashed(id: &str, page: &str, message: &str) -> Vec<u8> {
    let page = page.split('?').next().unwrap_or_default();
    format!("done {id} {page} {message}").into_bytes()
}

/// The page that a form stands on, by where it was sent to.
pub(crate) fn page_of_form(place: &str) -> &str {
    match place {
        "logout" | "account/export" => "account",
        place => place,
    }
}

/// The id that a browser has, if it has one.
pub(crate) fn known_id<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    cookie::value(app, headers, NAME)
}

/// What a browser asks for: a page, or what a form on one does.
pub(crate) struct BrowserRequest {
    frame: Frame,
    id: String,
    cookies: Cookies,
    /// Whether it sends a form, rather than opens a page.
    sends: bool,
}

/// What pages stand in.
impl Deref for BrowserRequest {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl BrowserRequest {
    /// A request of the browser with this id.
    pub(crate) fn new(request: &Request, frame: Frame, id: String) -> Self {
        let cookies = Cookies::of(request);
        let sends = request.method() != Method::GET;
        let mut browser = Self { frame, id, cookies, sends };
        browser.show_csrf();
        browser
    }

    /// What stands on a page that refuses something to the browser with this id: no cookie is sent.
    pub(crate) fn refused(frame: Frame, id: String) -> Self {
        let mut browser = Self { frame, id, cookies: Cookies::default(), sends: false };
        browser.show_csrf();
        browser
    }

    /// The id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether the browser sends a form, rather than opens a page.
    pub(crate) fn sends_form(&self) -> bool {
        self.sends
    }

    /// Lets pages show who reads them.
    pub(crate) fn show_reader(&mut self, signed_in: Value) {
        self.frame.read_by(signed_in);
    }

    /// What the page stands in.
    pub(crate) fn into_frame(self) -> Frame {
        self.frame
    }

    /// Gives the browser this id from now on.
    pub(crate) fn change_id(&mut self, id: &str) {
        self.cookies.plant(&self.frame.app, NAME, id);
        id.clone_into(&mut self.id);
        self.show_csrf();
    }

    /// Lets forms repeat what belongs to the id.
    fn show_csrf(&mut self) {
        let csrf = self.frame.app.csrf.value_of(&browsers(&self.id));
        self.frame.repeat_in_forms(csrf);
    }

    /// Lets the page say what was done before the browser was redirected to it.
    pub(crate) fn take_flash(&mut self, headers: &HeaderMap) {
        let app = &self.frame.app;
        let Some(value) = cookie::value(app, headers, FLASH).filter(|_| !self.sends) else {
            return;
        };
        let Some((message, shown)) = value.rsplit_once('.') else { return };
        let Some((section, name)) = message.split_once('.') else { return };
        // Nobody else makes a page say what was not done.
        let expected = flashed(&self.id, self.frame.place(), message);
        if app.csrf.check_of(&expected, shown).is_ok() {
            self.cookies.lend(app, FLASH, "", 0);
            self.frame.flash(section, name);
        }
    }

    /// Redirects to a page that says once, in a part of it, what was done: by the name of its text.
    pub(crate) fn redirect_with_flash(&self, page: &str, section: &str, name: &str) -> Response {
        let (app, message) = (&self.frame.app, format!("{section}.{name}"));
        let shown = app.csrf.value_of(&flashed(&self.id, page, &message));
        self.cookies.lend(app, FLASH, &format!("{message}.{shown}"), FLASH_EXPIRES);
        let part = if section.is_empty() { String::new() } else { format!("#{section}-title") };
        self.redirect(&format!("{page}{part}"))
    }

    /// Reads the form that the browser sends, and says why it must do nothing, if so: it does not repeat what belongs to
    /// the browser.
    ///
    /// # Errors
    ///
    /// [`Code::RequestTimeout`]; [`Code::UnprocessableContent`], or [`Code::CsrfTokenMismatch`] for a form that cannot be
    /// read and is not ours.
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
        // What is not ours need not be readable.
        let form =
            form.map_err(|error| stale.as_ref().map_or(error, |_| Code::CsrfTokenMismatch.into()))?;
        Ok((form, stale))
    }
}

/// Fails for a form that another site's page sent, and for what is no form.
pub(crate) fn check_form(request: &Request) -> Result<()> {
    if !cookie::is_own(request) {
        return Err(Code::CsrfTokenMismatch.into());
    }
    let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        return Err(Code::UnsupportedMediaType.into());
    }
    Ok(())
}

/// The query of a page. Of what is said twice the first counts, and a query that cannot be read is answered with a page
/// that says so.
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

/// The page that says why there is not the one that was asked for.
pub(crate) fn refuse(frame: &Frame, error: Error) -> poem::Error {
    let response = match error.code() {
        // A page that was open for too long leads to itself, as it is now.
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

/// The place that a page asks to be led to, if it is one of ours: a path, from the first page. What a program on the
/// way might take for another host's, or for a place above the first page, is none.
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
