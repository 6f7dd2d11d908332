//! The way of a browser to an application at another host: the page `/forward` of this server, and
//! `/.tessera/callback` of that host, which its gateway passes on to this server.

use poem::http::{StatusCode, header};
use poem::{Request, Response, handler};
use serde::Deserialize;

use super::http::COOKIE;
use super::ticket;
use crate::access::caller::page::PageRequest;
use crate::app::App;
use crate::base::config::Origin;
use crate::base::error::{Code, Error, Result};
use crate::http::app;
use crate::http::browser_request::{PageQuery, in_query};
use crate::http::cookie::{self, Cookies};
use crate::http::destination::Destination;
use crate::http::paths::PageRoute;
use crate::http::peer::is_from_proxy;

/// The path at other hosts that their gateways pass on to this server.
const CALLBACK: &str = "/.tessera/callback";

/// The name of the cookie at another host that binds a code to the browser, and its lifetime in seconds.
const STATE: &str = "tessera_state";
const STATE_EXPIRES: u64 = 600;

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::get("/forward", lead_on), PageRoute::get(CALLBACK, arrive)]
}

/// The query of the page that leads on.
#[derive(Deserialize)]
struct Onward {
    #[serde(default)]
    to: String,
    /// The digest of the state that the browser keeps at the other host.
    state: Option<String>,
    /// Present if the other host refused the browser's code.
    failed: Option<String>,
}

#[handler]
fn lead_on(request: PageRequest, PageQuery(query): PageQuery<Onward>) -> poem::Result<Response> {
    let app = request.app.clone();
    let Some(destination) = Destination::parse(&app, &query.to) else {
        let (title, text) = (request.text("did-not-work"), request.text("forward-elsewhere"));
        return Ok(request.refusal_with(&title, &text, "account", &Code::Forbidden.into()));
    };
    if query.failed.is_some() {
        let (title, host) = (request.text("did-not-work"), destination.origin.host());
        let text = request.text_with("forward-failed", &[("host", host.to_owned().into())]);
        let error = Error::from(Code::CsrfTokenMismatch);
        return Ok(request.refusal_with(&title, &text, &destination.place(), &error));
    }
    let signed_in = request.signed_in()?;
    if destination.is_own(&app) {
        return Ok(redirect(&destination.url()));
    }
    let (origin, to) = (destination.origin, in_query(&destination.path));
    let state = query.state.filter(|state| ticket::is_digest(state));
    let code = match state {
        Some(state) => ticket::code(&app, &signed_in, origin, &state)?,
        None => None,
    };
    let code = code.map(|code| format!("code={code}&")).unwrap_or_default();
    Ok(redirect(&format!("{}{CALLBACK}?{code}to={to}", origin.as_str())))
}

/// The query of the path at the other host.
#[derive(Deserialize)]
struct Arrival {
    #[serde(default)]
    to: String,
    code: Option<String>,
}

#[handler]
async fn arrive(
    request: &Request,
    cookies: Cookies,
    PageQuery(query): PageQuery<Arrival>,
) -> Result<Response> {
    let app = app(request)?;
    let origin = host_of(request, app).ok_or(Code::NotFound)?;
    let to = Destination::on_host(app, origin.host(), &query.to).ok_or(Code::NotFound)?;
    let kept = cookie::value_at(request.headers(), origin, STATE);
    let kept = kept.filter(|state| ticket::is_state(state));
    let here = app.config.public_url.as_str();
    let back = |more: &str| redirect(&format!("{here}/{}&{more}", to.place()));
    let Some(code) = query.code else {
        // Several tabs can sign in at the same time with one state.
        let state = kept.map_or_else(ticket::new_state, ToOwned::to_owned);
        cookies.set_at(origin, STATE, &state, Some(STATE_EXPIRES));
        return Ok(back(&format!("state={}", ticket::digest_of(&state))));
    };
    let ticket = match kept {
        Some(state) => ticket::spend(app, &code, origin, state).await?,
        None => None,
    };
    let Some(ticket) = ticket else { return Ok(back("failed=1")) };
    cookies.set_at(origin, COOKIE, &ticket, None);
    Ok(redirect(&to.url()))
}

/// The application's host that a browser sent a request to.
fn host_of<'a>(request: &Request, app: &'a App) -> Option<&'a Origin> {
    let told = request.header("x-forwarded-host").filter(|_| is_from_proxy(request, &app.config));
    app.config.forward_host(told.or_else(|| request.header(header::HOST))?)
}

fn redirect(url: &str) -> Response {
    Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, url).finish()
}
