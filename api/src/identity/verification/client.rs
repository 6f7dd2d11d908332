//! The browser or client that asked for a mail, in which alone the mail's code works.
//!
//! It keeps a value nobody can guess: browsers in a cookie, other clients from the header of the answer, which they
//! repeat with the code. A client that has one already keeps it.

use poem::{FromRequest, Request, RequestBody};

use crate::app::App;
use crate::base::error::{Code, Error};
use crate::http::cookie::{self, Cookies};
use crate::http::headers::CODE_BINDING;
use crate::identity::verification::Binding;

const COOKIE: &str = "tessera-code";

/// Who asks for a mail, or types its code.
pub(crate) struct CodeClient {
    app: App,
    cookies: Cookies,
    shown: Option<String>,
}

impl CodeClient {
    /// What binds codes to this client, if it keeps something of ours.
    pub(crate) fn shown(&self) -> Option<Binding> {
        self.shown.as_deref().and_then(Binding::of)
    }

    /// What binds the code of a mail that this client asks for. The answer brings what the client must keep for it,
    /// whatever comes of what was asked.
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
        // A header that is there is what the client means, whatever its cookies say.
        let shown = match request.headers().get(CODE_BINDING) {
            Some(value) => value.to_str().ok(),
            None => cookie::value(&app, request.headers(), COOKIE),
        };
        let shown = shown.map(ToOwned::to_owned);
        Ok(Self { app, cookies: Cookies::of(request), shown })
    }
}
