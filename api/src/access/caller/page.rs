//! Extractors for pages: the browser's request, with the user who is signed in, if there is one.

use std::ops::Deref;
use std::time::Duration;

use minijinja::context;
use poem::http::HeaderMap;
use poem::{FromRequest, Request, RequestBody, Response};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::http::device;
use crate::access::session::browser::{self, SignedIn};
use crate::base::error::{Code, Error, Result};
use crate::base::request_context::{CallerIds, note_caller};
use crate::base::scope::Scope;
use crate::http::browser_request::{
    BrowserRequest, check_form, in_query, known_id, page_of_form, refuse,
};
use crate::http::destination::Destination;
use crate::http::flow::Flow;
use crate::http::page::Frame;

/// The maximum time that an error page waits for the lookup of its reader.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

/// A browser's request for a page, with the user who is signed in.
pub(crate) struct PageRequest {
    /// The user who is signed in, if there is one.
    pub(crate) signed_in: Option<SignedIn>,
    browser: BrowserRequest,
}

impl Deref for PageRequest {
    type Target = BrowserRequest;

    fn deref(&self) -> &BrowserRequest {
        &self.browser
    }
}

impl PageRequest {
    async fn of(request: &Request, frame: Frame) -> Result<Self> {
        let known = known_id(&frame.app, request.headers()).map(ToOwned::to_owned);
        let signed_in = match &known {
            Some(id) => browser::find(&frame.app, id).await?,
            None => None,
        };
        if let Some(signed_in) = &signed_in {
            let (user, session) = (Some(signed_in.user.id.0), Some(signed_in.session.0));
            note_caller(CallerIds { user, session, token: None });
            browser::keep(&frame.app, signed_in, device(request));
        }
        let is_new = known.is_none();
        let id = known.unwrap_or_else(browser::new_id);
        let mut browser = BrowserRequest::new(request, frame, id.clone());
        if is_new {
            browser.change_id(&id);
        }
        let mut page = Self { signed_in, browser };
        page.speak_to_reader();
        page.browser.take_flash(request.headers());
        page.show();
        Ok(page)
    }

    /// Chooses the language of the user who is signed in, if they have one.
    fn speak_to_reader(&mut self) {
        let language =
            self.signed_in.as_ref().and_then(|known| known.user.profile.language.clone());
        if let Some(language) = language {
            self.speak(language.as_str());
        }
    }

    /// Lets pages show the user who is signed in.
    fn show(&mut self) {
        let signed_in = self.signed_in.as_ref().map(|signed_in| {
            let scopes = signed_in.user.scopes();
            context! {
                email => &signed_in.user.email,
                admin => scopes.contains(Scope::ADMIN) || scopes.contains(Scope::SUPER),
                superuser => scopes.contains(Scope::SUPER),
            }
        });
        self.browser.show_reader(signed_in.into());
    }

    /// Looks up the signed-in user again, after an action that may have ended their session.
    pub(crate) async fn find_again(&mut self) -> Result<()> {
        self.signed_in = browser::find(&self.app, self.id()).await?;
        self.show();
        Ok(())
    }

    /// Makes the page part of a flow.
    pub(crate) fn join(&mut self, flow: &Flow) {
        self.browser.join(flow);
    }

    /// Makes the page part of what its forms lead to in the end: the request of an application, or an application behind
    /// a gateway. Returns the address that the application expects.
    pub(crate) fn join_next(&mut self, next: Option<&str>) -> Option<String> {
        let app = self.app.clone();
        if let Some(destination) = Destination::of_place(&app, next) {
            self.browser.lead_to(destination.origin.as_str().to_owned());
        }
        let flow = Flow::of_place(&app, next)?;
        self.browser.join(&flow);
        flow.login_hint
    }

    /// Chooses the first of these languages that the pages have.
    pub(crate) fn speak(&mut self, languages: &str) {
        self.browser.speak(languages);
    }

    /// Gives the browser another id, after a sign-in, a sign-out or a change of the password.
    pub(crate) fn change_id(&mut self, id: &str) {
        self.browser.change_id(id);
        self.show();
    }

    /// Returns the signed-in user if they have a scope. Otherwise returns the redirect to the sign-in, or a page that
    /// names the missing scope and the contact.
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

    /// Returns the signed-in user, or else the redirect to the sign-in, which leads back here.
    pub(crate) fn signed_in(&self) -> poem::Result<SignedIn> {
        let flash = Some("signed-out-meanwhile").filter(|_| self.sends_form());
        let redirect = || poem::Error::from_response(self.redirect_to_login(flash));
        self.signed_in.clone().ok_or_else(redirect)
    }

    /// The redirect to the sign-in, which leads back here. It can carry a flash message.
    pub(crate) fn redirect_to_login(&self, flash: Option<&str>) -> Response {
        let next = in_query(page_of_form(self.place()));
        let login = format!("login?next=/{next}");
        match flash {
            Some(name) => self.redirect_with_flash(&login, "", name),
            None => self.redirect(&login),
        }
    }

    /// Returns true if the session still lives, after an action that may have ended it.
    pub(crate) async fn is_still_signed_in(&self) -> Result<bool> {
        Ok(browser::find(&self.app, self.id()).await?.is_some())
    }
}

/// Adds the signed-in user to the frame of an error page, if they can be found. After an error of the server itself, no
/// user is looked up, because the lookup may be the cause.
pub(crate) async fn recognise(frame: Frame, headers: &HeaderMap, error: &Error) -> Frame {
    let id = known_id(&frame.app, headers).map(ToOwned::to_owned);
    let Some(id) = id.filter(|_| error.code().status().is_client_error()) else {
        return frame;
    };
    let Ok(Ok(signed_in)) = timeout(FOUND_WITHIN, browser::find(&frame.app, &id)).await else {
        return frame;
    };
    let mut page = PageRequest { signed_in, browser: BrowserRequest::refused(frame, id) };
    page.speak_to_reader();
    page.show();
    page.browser.into_frame()
}

impl<'a> FromRequest<'a> for PageRequest {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let frame = Frame::of(request)?;
        Self::of(request, frame.clone()).await.map_err(|error| refuse(&frame, error))
    }
}

/// A form of one of our own pages that everyone can use. If the form does not repeat the CSRF value of its browser, it
/// does nothing and is shown again with its input.
pub(crate) struct Form<T> {
    /// The values of its fields.
    pub(crate) form: T,
    /// The browser's request.
    pub(crate) request: PageRequest,
    /// The error if it does nothing.
    pub(crate) stale: Option<Error>,
}

impl<'a, T: DeserializeOwned + Send> FromRequest<'a> for Form<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let frame = Frame::of(request)?;
        let read = async {
            check_form(request)?;
            let page = PageRequest::of(request, frame.clone()).await?;
            let (form, stale) = page.read_form(body).await?;
            Ok(Self { form, request: page, stale })
        };
        match read.await {
            Ok(form) => Ok(form),
            Err(error) => {
                let frame = recognise(frame.clone(), request.headers(), &error).await;
                Err(refuse(&frame, error))
            }
        }
    }
}

/// A form of one of our own pages that repeats the CSRF value of its browser.
pub(crate) struct CheckedForm<T> {
    /// The values of its fields.
    pub(crate) form: T,
    /// The browser's request.
    pub(crate) request: PageRequest,
}

impl<'a, T: DeserializeOwned + Send> FromRequest<'a> for CheckedForm<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let Form { form, request, stale } = Form::from_request(request, body).await?;
        match stale {
            Some(error) => Err(refuse(&request, error)),
            None => Ok(Self { form, request }),
        }
    }
}
