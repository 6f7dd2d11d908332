//! Requests that were not sent by a page of another site. Otherwise a form on another site could sign a browser in to
//! an attacker's account, and the attacker would see what the user does.

use poem::http::header;
use poem::{FromRequest, Request, RequestBody};

use crate::app::App;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::log_limit::{OnceAMinute, shown};

/// A request to an operation that no page of another site sent, unless `CORS_ORIGINS` lists its origin.
pub(crate) struct OwnPage;

impl<'a> FromRequest<'a> for OwnPage {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let listed = match (request.header(header::ORIGIN), request.data::<App>()) {
            (Some(origin), Some(app)) => {
                app.config.cors_origins.iter().any(|known| known.is(origin))
            }
            _ => false,
        };
        if listed || is_own(request) {
            return Ok(Self);
        }
        warn(request);
        Err(Error::from(Code::CsrfTokenMismatch).into())
    }
}

/// Fails if a page of another site or of another origin sent a form.
///
/// # Errors
///
/// [`Code::CsrfTokenMismatch`]. If the request names its origin, the error says what an operator must check.
pub(super) fn check(request: &Request) -> Result<()> {
    if is_own(request) {
        return Ok(());
    }
    warn(request);
    if !request.headers().contains_key(header::ORIGIN) {
        return Err(Code::CsrfTokenMismatch.into());
    }
    let sentence = "This form came from another address than this server expects, and nothing was changed. If you run \
                    this server: PUBLIC_URL must be the address that browsers show, with https:// if they show it";
    let message = LocalizedMessage::new("form-origin", sentence);
    Err(Error::with_messages(Code::CsrfTokenMismatch, vec![message]))
}

/// Returns true if the request was not sent by a page of another site or of another origin.
fn is_own(request: &Request) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        // Programs send no `Origin`. Browsers that send none send `Sec-Fetch-Site`.
        let site = request.header("sec-fetch-site");
        return matches!(site, None | Some("same-origin" | "none"));
    };
    let (Ok(origin), Some(app)) = (origin.to_str(), request.data::<App>()) else { return false };
    let url = &app.config.public_url;
    let host = request.header(header::HOST).unwrap_or_default();
    let of_host = match origin.split_once("://") {
        Some(("https", place)) => place == host,
        // If callers use TLS, anyone on the way could have made a page that was loaded without it.
        Some(("http", place)) => place == host && !url.is_https(),
        _ => false,
    };
    of_host || url.is_of(origin)
}

/// Logs the origin of a form and the origins that are accepted, at most once a minute.
fn warn(request: &Request) {
    static WARNED: OnceAMinute = OnceAMinute::new();
    let (Some(origin), Some(app)) = (request.headers().get(header::ORIGIN), request.data::<App>())
    else {
        return;
    };
    if WARNED.is_due() {
        tracing::warn!(
            request.origin = shown(origin.as_bytes()),
            request.host = shown(request.header(header::HOST).unwrap_or_default().as_bytes()),
            public_url = app.config.public_url.as_str(),
            "a form was refused, because its Origin is neither PUBLIC_URL nor the host of the request: if the origin \
             is this server's, set PUBLIC_URL to it; if it is another page of yours, add it to CORS_ORIGINS; \
             otherwise another site tried to send a form"
        );
    }
}
