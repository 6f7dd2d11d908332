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
use poem::http::{HeaderMap, header};
use poem::{FromRequest, Request, RequestBody};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::caller::device;
use super::cookie::{self, Cookies};
use super::page::Frame;
use crate::error::{Cause, Code, Error, Result};
use crate::scope::Scope;
use crate::session::browser::{self, SignedIn};

const NAME: &str = "tessera-browser";

/// How long a page that refuses waits to know who reads it.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

/// What is written otherwise in a place that a query leads to.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'&').add(b'+').add(b'%');

/// An id of a browser, as no session's id is: what belongs to the one is nothing to the other.
fn browsers(id: &str) -> Vec<u8> {
    [b"browser ", id.as_bytes()].concat()
}

/// Somebody's browser.
pub(crate) struct Visitor {
    /// Who is signed in with it, if somebody is.
    pub(crate) signed_in: Option<SignedIn>,
    frame: Frame,
    id: String,
    cookies: Cookies,
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
        let mut visitor = Self { signed_in, id, cookies, frame };
        visitor.show();
        Ok(visitor)
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
        let mut visitor = Self { signed_in, id, cookies: Cookies::default(), frame };
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
        let lead = || {
            let next = utf8_percent_encode(self.place(), IN_QUERY);
            self.leads_to(&format!("login?next=/{next}"))
        };
        self.signed_in.clone().ok_or_else(|| poem::Error::from_response(lead()))
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
        let frame = Frame::of(request)?;
        let posted = async {
            if !cookie::is_own(request) {
                return Err(Error::from(Code::CsrfTokenMismatch));
            }
            let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
            if !kind.starts_with("application/x-www-form-urlencoded") {
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
            frame.app.csrf.check_of(&browsers(&visitor.id), given)?;
            let form = serde_urlencoded::from_bytes(&bytes).map_err(unreadable)?;
            Ok(Self { form, visitor })
        };
        match posted.await {
            Ok(posted) => Ok(posted),
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
            let place = match frame.place() {
                "logout" | "account/export" => "account",
                place => place,
            };
            frame.refusal_with(&title, &text, place, &error)
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
