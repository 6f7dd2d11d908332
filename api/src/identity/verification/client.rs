//! The browser or client that asked for a mail. The code in the mail works only there.
//!
//! It keeps a value that nobody can guess. A browser keeps it in a cookie. Another client reads it from a header of the
//! response and sends it with the code. A client that already has a value keeps it.

use poem::{FromRequest, Request, RequestBody};

use crate::app::App;
use crate::base::error::{Code, Error};
use crate::http::cookie::{self, Cookies};
use crate::http::headers::CODE_BINDING;
use crate::identity::verification::Binding;

const COOKIE: &str = "tessera-code";

/// The client that asks for a mail or sends its code.
pub(crate) struct CodeClient {
    app: App,
    cookies: Cookies,
    shown: Option<String>,
}

impl CodeClient {
    /// Returns the binding of the value that this client sent, if it sent a valid one.
    pub(crate) fn shown(&self) -> Option<Binding> {
        self.shown.as_deref().and_then(Binding::of)
    }

    /// Returns the binding for the code of a mail that this client asks for. The response gives the client the value to
    /// keep, whatever the outcome of the request.
    pub(crate) fn keep(&self) -> Option<Binding> {
        let known = self.shown.clone().filter(|kept| Binding::of(kept).is_some());
        let kept = known.unwrap_or_else(Binding::draw);
        let mail = &self.app.config.mail;
        let seconds = mail.verify_token_expires.max(mail.reset_token_expires);
        self.cookies.lend(&self.app, COOKIE, &kept, seconds);
        self.cookies.tell(CODE_BINDING, &kept);
        Binding::of(&kept)
    }
}

impl<'a> FromRequest<'a> for CodeClient {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let app = request.data::<App>().cloned();
        let app = app
            .ok_or_else(|| Error::because(Code::InternalServerError, "a route without its App"))?;
        // If the client sends the header, the header counts and its cookies do not.
        let shown = match request.headers().get(CODE_BINDING) {
            Some(value) => value.to_str().ok(),
            None => cookie::value(&app, request.headers(), COOKIE),
        };
        let shown = shown.map(ToOwned::to_owned);
        Ok(Self { app, cookies: Cookies::of(request), shown })
    }
}
