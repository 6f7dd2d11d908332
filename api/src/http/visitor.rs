//! Who visits the pages: somebody signed in, or anybody.
//!
//! Each browser has an id in a cookie before it is signed in as well, and every form repeats a value that
//! belongs to that id: no page of another site can know it, and signing in, which gives another id, makes
//! the one before worth nothing.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{FromRequest, Request, RequestBody, Response};
use serde::de::DeserializeOwned;

use super::caller::device;
use super::cookie::{self, Cookies};
use super::page::refusal;
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::session::browser::{self, SignedIn};

const NAME: &str = "tessera-browser";

/// Somebody's browser.
pub(crate) struct Visitor {
    /// Who is signed in with it, if somebody is.
    pub(crate) signed_in: Option<SignedIn>,
    /// What its forms repeat.
    pub(crate) csrf: String,
    id: String,
    cookies: Cookies,
}

impl Visitor {
    async fn of(request: &Request) -> Result<Self> {
        let app = request.data::<App>().ok_or(Code::InternalServerError)?;
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
        let csrf = app.csrf.value_of(id.as_bytes());
        Ok(Self { signed_in, csrf, id, cookies })
    }

    /// Lets the browser have another id: somebody has just signed in by it, or out.
    pub(crate) fn moves_to(&self, app: &App, id: &str) {
        self.cookies.plant(app, NAME, id);
    }
}

impl<'a> FromRequest<'a> for Visitor {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Self::of(request).await.map_err(page_of)
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
        let posted = async {
            if !cookie::is_own(request) {
                return Err(Error::from(Code::CsrfTokenMismatch));
            }
            let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
            if !kind.starts_with("application/x-www-form-urlencoded") {
                return Err(Code::UnsupportedMediaType.into());
            }
            let visitor = Visitor::of(request).await?;
            let bytes = body.take().map_err(|_| Code::RequestTimeout)?.into_bytes().await;
            let bytes = bytes.map_err(|_| Code::RequestTimeout)?;
            let unreadable = |_| Error::from(Code::UnprocessableContent);
            let fields: Vec<(String, String)> =
                serde_urlencoded::from_bytes(&bytes).map_err(unreadable)?;
            let csrf = fields.iter().find(|(name, _)| name == "csrf");
            let app = request.data::<App>().ok_or(Code::InternalServerError)?;
            let given = csrf.map(|(_, value)| value.as_str()).unwrap_or_default();
            app.csrf.check_of(visitor.id.as_bytes(), given)?;
            let form = serde_urlencoded::from_bytes(&bytes).map_err(unreadable)?;
            Ok(Self { form, visitor })
        };
        posted.await.map_err(page_of)
    }
}

fn page_of(error: Error) -> poem::Error {
    let title = match error.code() {
        Code::CsrfTokenMismatch => "Go back, load the page again, and send it once more",
        _ => "That did not work",
    };
    let response = refusal(title, error);
    let cause = response.extensions().get::<crate::error::Cause>().cloned();
    let mut error = poem::Error::from_response(response);
    if let Some(cause) = cause {
        error.set_data(cause);
    }
    error
}

/// An answer that leads to another page, beside this one: `PUBLIC_URL` may have a path, and what begins with
/// a dot leads to no other site.
pub(crate) fn see_other(place: &str) -> Response {
    let place = HeaderValue::try_from(place).unwrap_or(HeaderValue::from_static("./"));
    Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, place).finish()
}

/// The place that a page asks to be led to, if it is one of ours: a path.
pub(crate) fn next_place(next: Option<&str>) -> String {
    let path = next.filter(|next| next.starts_with('/') && next.is_ascii()).unwrap_or("/");
    format!(".{path}")
}
