//! Who visits the pages: somebody signed in, or anybody.
//!
//! Each browser has an id in a cookie before it is signed in as well, and every form repeats a value that
//! belongs to that id: no page of another site can know it, and signing in, which gives another id, makes
//! the one before worth nothing.

use std::collections::HashSet;
use std::ops::Deref;
use std::time::Duration;

use minijinja::context;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use poem::http::{HeaderMap, Method, header};
use poem::{FromRequest, Request, RequestBody, Response};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::body::FORM;
use super::cookie::{self, Cookies};
use super::page::Frame;
use crate::access::caller::http::device;
use crate::access::session::browser::{self, SignedIn};
use crate::base::error::{Cause, Code, Error, Result};
use crate::base::scope::Scope;

const NAME: &str = "tessera-browser";

/// What was done, for the page that is led to and says so once.
const DONE: &str = "tessera-done";

/// How long that is known, in seconds.
const DONE_LIVES: u64 = 60;

/// How long a page that refuses waits to know who reads it.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

/// What is written otherwise in a place that a query leads to.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'&').add(b'+').add(b'%');

/// An id of a browser, as no session's id is: what belongs to the one is nothing to the other.
fn browsers(id: &str) -> Vec<u8> {
    [b"browser ", id.as_bytes()].concat()
}

/// What shows that a browser was told by us that something was done, for a page to say it.
fn done(id: &str, page: &str, what: &str) -> Vec<u8> {
    let page = page.split('?').next().unwrap_or_default();
    format!("done {id} {page} {what}").into_bytes()
}

/// The page that a form stands on, by where it was sent to.
fn page_of_form(place: &str) -> &str {
    match place {
        "logout" | "account/export" => "account",
        place => place,
    }
}

/// Somebody's browser.
pub(crate) struct Visitor {
    /// Who is signed in with it, if somebody is.
    pub(crate) signed_in: Option<SignedIn>,
    frame: Frame,
    id: String,
    cookies: Cookies,
    /// Whether they send a form, rather than open a page.
    sends: bool,
}

/// What pages stand in.
impl Deref for Visitor {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl Visitor {
    async fn of(request: &Request, frame: Frame) -> Result<Self> {
        let app = &frame.app;
        let cookies = Cookies::of(request);
        let known = cookie::value(app, request.headers(), NAME).map(ToOwned::to_owned);
        let signed_in = match &known {
            Some(id) => browser::find(app, id).await?,
            None => None,
        };
        if let Some(signed_in) = &signed_in {
            browser::keep(app, signed_in, device(request));
        }
        let id = match known {
            Some(id) => id,
            None => {
                let id = browser::new_id();
                cookies.plant(app, NAME, &id);
                id
            }
        };
        let sends = request.method() != Method::GET;
        let mut visitor = Self { signed_in, id, cookies, frame, sends };
        visitor.show();
        visitor.hear(request.headers());
        Ok(visitor)
    }

    /// Lets the page say what was done before it was led to.
    fn hear(&mut self, headers: &HeaderMap) {
        let app = &self.frame.app;
        let Some(value) = cookie::value(app, headers, DONE).filter(|_| !self.sends) else { return };
        let Some((what, shown)) = value.rsplit_once('.') else { return };
        let Some((section, name)) = what.split_once('.') else { return };
        // Nobody else makes a page say what was not done.
        let expected = done(&self.id, self.frame.place(), what);
        if app.csrf.check_of(&expected, shown).is_ok() {
            self.cookies.lend(app, DONE, "", 0);
            self.frame.says(section, name);
        }
    }

    /// Leads to a page that says once, in a part of it, what was done: by the name of its text.
    pub(crate) fn has_done(&self, page: &str, section: &str, name: &str) -> Response {
        let (app, what) = (&self.frame.app, format!("{section}.{name}"));
        let shown = app.csrf.value_of(&done(&self.id, page, &what));
        self.cookies.lend(app, DONE, &format!("{what}.{shown}"), DONE_LIVES);
        let part = if section.is_empty() { String::new() } else { format!("#{section}-title") };
        self.leads_to(&format!("{page}{part}"))
    }

    /// Finds out again who is signed in, after what may have ended that.
    pub(crate) async fn look_again(&mut self) -> Result<()> {
        self.signed_in = browser::find(&self.frame.app, &self.id).await?;
        self.show();
        Ok(())
    }

    /// What a page stands in that says why it is not another: for whose browser it is, where that can be told. Of a
    /// fault of ours nobody is asked, who may be the fault.
    pub(super) async fn lost(frame: Frame, headers: &HeaderMap, error: &Error) -> Frame {
        let app = &frame.app;
        let id = cookie::value(app, headers, NAME).map(ToOwned::to_owned);
        let Some(id) = id.filter(|_| error.code().status().is_client_error()) else {
            return frame;
        };
        let Ok(Ok(signed_in)) = timeout(FOUND_WITHIN, browser::find(app, &id)).await else {
            return frame;
        };
        let cookies = Cookies::default();
        let mut visitor = Self { signed_in, id, cookies, frame, sends: false };
        visitor.show();
        visitor.frame
    }

    /// Lets pages show who is signed in, and their forms repeat what belongs to the id.
    fn show(&mut self) {
        let signed_in = self.signed_in.as_ref().map(|signed_in| {
            let scopes = signed_in.user.scopes();
            context! {
                email => &signed_in.user.email,
                admin => scopes.contains(Scope::ADMIN) || scopes.contains(Scope::SUPER),
                superuser => scopes.contains(Scope::SUPER),
            }
        });
        let csrf = self.frame.app.csrf.value_of(&browsers(&self.id));
        self.frame.read_by(signed_in.into(), &csrf);
    }

    /// Lets the browser have another id: somebody has just signed in by it, or out, or has another
    /// password.
    pub(crate) fn moves_to(&mut self, id: &str) {
        self.cookies.plant(&self.frame.app, NAME, id);
        id.clone_into(&mut self.id);
        self.show();
    }

    /// Who is signed in and may do what a scope stands for; otherwise the answer that leads to the sign-in,
    /// or says what is missing and whom to ask.
    pub(crate) fn allowed(&self, scope: &'static str) -> poem::Result<SignedIn> {
        let signed_in = self.signed_in()?;
        let scopes = signed_in.user.scopes();
        if scopes.contains(scope) || scopes.contains(Scope::SUPER) {
            return Ok(signed_in);
        }
        let contact = self.app.config.pages.brand_contact.as_ref();
        let contact =
            contact.map_or_else(|| self.text("superuser"), |contact| contact.name.clone());
        let values = [("scope", scope.into()), ("contact", contact.into())];
        let text = self.text_with("scope-missing", &values);
        let title = self.text("not-allowed");
        let refusal = self.refusal_with(&title, &text, "account", &Code::Forbidden.into());
        Err(poem::Error::from_response(refusal))
    }

    /// Who is signed in; where nobody is, the answer that leads to the sign-in and back.
    pub(crate) fn signed_in(&self) -> poem::Result<SignedIn> {
        let said = Some("signed-out-meanwhile").filter(|_| self.sends);
        let lead = || poem::Error::from_response(self.leads_to_login(said));
        self.signed_in.clone().ok_or_else(lead)
    }

    /// The answer that leads to the sign-in and back, where something may be said.
    pub(crate) fn leads_to_login(&self, said: Option<&str>) -> Response {
        let next = utf8_percent_encode(page_of_form(self.place()), IN_QUERY);
        let login = format!("login?next=/{next}");
        match said {
            Some(name) => self.has_done(&login, "", name),
            None => self.leads_to(&login),
        }
    }

    /// Whether their session lives, after what may have ended it.
    pub(crate) async fn is_still_signed_in(&self) -> Result<bool> {
        Ok(browser::find(&self.frame.app, &self.id).await?.is_some())
    }
}

impl<'a> FromRequest<'a> for Visitor {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let frame = Frame::of(request)?;
        Self::of(request, frame.clone()).await.map_err(|error| page_of(&frame, error))
    }
}

/// A form that one of our own pages sent.
pub(crate) struct Posted<T> {
    /// What was filled in.
    pub(crate) form: T,
    /// Whose browser it is.
    pub(crate) visitor: Visitor,
}

impl<'a, T: DeserializeOwned + Send> FromRequest<'a> for Posted<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let Sent { form, visitor, stale } = Sent::from_request(request, body).await?;
        match stale {
            Some(error) => Err(page_of(&visitor, error)),
            None => Ok(Self { form, visitor }),
        }
    }
}

/// A form that one of our own pages sent, for pages that anybody may use: one that does not repeat what belongs to
/// its browser does nothing, and is shown again with what was typed.
pub(crate) struct Sent<T> {
    /// What was filled in.
    pub(crate) form: T,
    /// Whose browser it is.
    pub(crate) visitor: Visitor,
    /// Why it does nothing, if so.
    pub(crate) stale: Option<Error>,
}

impl<'a, T: DeserializeOwned + Send> FromRequest<'a> for Sent<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let frame = Frame::of(request)?;
        let sent = async {
            if !cookie::is_own(request) {
                return Err(Error::from(Code::CsrfTokenMismatch));
            }
            let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case(FORM) {
                return Err(Code::UnsupportedMediaType.into());
            }
            let visitor = Visitor::of(request, frame.clone()).await?;
            let bytes = body.take().map_err(|_| Code::RequestTimeout)?.into_bytes().await;
            let bytes = bytes.map_err(|_| Code::RequestTimeout)?;
            let unreadable = |_| Error::from(Code::UnprocessableContent);
            let fields: Vec<(String, String)> =
                serde_urlencoded::from_bytes(&bytes).map_err(unreadable)?;
            let csrf = fields.iter().find(|(name, _)| name == "csrf");
            let given = csrf.map(|(_, value)| value.as_str()).unwrap_or_default();
            let stale = frame.app.csrf.check_of(&browsers(&visitor.id), given).err();
            let form = serde_urlencoded::from_bytes(&bytes).map_err(unreadable);
            // What is not ours need not be readable.
            let form = form.map_err(|error| {
                stale.as_ref().map_or(error, |_| Code::CsrfTokenMismatch.into())
            })?;
            Ok(Self { form, visitor, stale })
        };
        match sent.await {
            Ok(sent) => Ok(sent),
            Err(error) => {
                let frame = Visitor::lost(frame.clone(), request.headers(), &error).await;
                Err(page_of(&frame, error))
            }
        }
    }
}

/// What the query of a page asks for. Of what is said twice the first counts, and a page that cannot be told
/// says so as one.
pub(crate) struct Asked<T>(pub(crate) T);

impl<'a, T: DeserializeOwned> FromRequest<'a> for Asked<T> {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let query = request.uri().query().unwrap_or_default();
        let parsed = || {
            let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).ok()?;
            let mut known = HashSet::new();
            pairs.retain(|(name, _)| known.insert(name.clone()));
            serde_urlencoded::from_str(&serde_urlencoded::to_string(pairs).ok()?).ok()
        };
        match parsed() {
            Some(asked) => Ok(Self(asked)),
            None => Err(page_of(&Frame::of(request)?, Code::UnprocessableContent.into())),
        }
    }
}

fn page_of(frame: &Frame, error: Error) -> poem::Error {
    let response = match error.code() {
        // A page that was open for too long leads to itself, as it is now.
        Code::CsrfTokenMismatch => {
            let (title, text) = (frame.text("load-again"), frame.told(&error));
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
