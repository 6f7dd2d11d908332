//! The routes that gateways ask: `/auth/forward`, and `/auth/forward/for/AUD/SCOPE/…` for those that append the path of
//! the original request.

use std::borrow::Cow;
use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use poem::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response, handler};

use super::{Known, MAX_FRESH, Wanted, check_audience};
use crate::access::caller::Caller;
use crate::access::caller::http::{Credential, device, of_api_token};
use crate::access::session::browser::{self, SignedIn};
use crate::app::App;
use crate::base::claims::session_of;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error, Result};
use crate::base::log_limit::{OnceAMinute, shown};
use crate::base::request_context::{CallerIds, note_caller};
use crate::base::scope::Scope;
use crate::http::app;
use crate::http::browser_request::{in_query, known_id};
use crate::http::cookie;
use crate::http::destination::Destination;
use crate::http::page::is_wanted;
use crate::http::paths::PageRoute;
use crate::http::peer::is_from_proxy;
use crate::identity::service::Principal;
use crate::platform::revocation;

/// The name of the cookie of a browser at another host.
pub(super) const COOKIE: &str = "tessera_forward";

/// The beginning of paths with the requirements of the gateway.
const BELOW: &str = "/auth/forward/for/";

/// The headers of an answer. All are always set, so that they replace those of the caller.
const USER: HeaderName = HeaderName::from_static("x-auth-user");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const EMAIL_VERIFIED: HeaderName = HeaderName::from_static("x-auth-email-verified");
const SCOPES: HeaderName = HeaderName::from_static("x-auth-scopes");

/// The header with the page where a browser signs in, for gateways that pass on no redirects.
const REDIRECT: HeaderName = HeaderName::from_static("x-auth-redirect");

/// The header with the whole URL of the original request.
const ORIGINAL_URL: &str = "x-original-url";

/// The routes of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::any("/auth/forward", ask), PageRoute::any("/auth/forward/for/*rest", ask_below)]
}

#[handler]
async fn ask(request: &Request) -> Result<Response> {
    let app = app(request)?;
    let (wanted, in_header) = of_query(app, request.uri().query().unwrap_or_default())?;
    let original = Original::of(request, app, None)?;
    answer(app, request, &wanted, &original, in_header).await
}

#[handler]
async fn ask_below(request: &Request) -> Result<Response> {
    let app = app(request)?;
    let (wanted, path) = of_path(app, request.uri().path())?;
    // The query is the caller's.
    let path = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let original = Original::of(request, app, Some(&path))?;
    answer(app, request, &wanted, &original, false).await
}

/// Reads the requirements in the query that the operator wrote into the gateway's configuration. The second is `true` if
/// the page where a browser signs in must be in a header.
fn of_query(app: &App, query: &str) -> Result<(Wanted, bool)> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
        .map_err(|_| Error::query("query", "Input cannot be read"))?;
    let (mut wanted, mut in_header, mut known) = (Wanted::default(), false, HashSet::new());
    for (name, value) in pairs {
        if !known.insert(name.clone()) {
            return Err(Error::query(&name, "Input is given twice, but should be given once"));
        }
        match (name.as_str(), value.as_str()) {
            ("aud" | "scope" | "fresh", "") => {}
            ("aud", audience) => wanted.audience = Some(audience.to_owned()),
            ("scope", scopes) => wanted.scopes = scopes.split(' ').map(ToOwned::to_owned).collect(),
            ("fresh", seconds) => wanted.fresh = Some(fresh(seconds)?),
            ("redirect", "header") => in_header = true,
            ("redirect", _) => {
                let sentence = format!("Input is {value:?}, but should be header");
                return Err(Error::query("redirect", sentence));
            }
            // A caller could have added it.
            _ => return Err(Error::query(&name, "This parameter is not known")),
        }
    }
    check(app, wanted).map(|wanted| (wanted, in_header))
}

fn fresh(text: &str) -> Result<u64> {
    let seconds = text.parse().ok().filter(|seconds| (1..=MAX_FRESH).contains(seconds));
    let sentence =
        || format!("Input is {text:?}, but should be a number of seconds from 1 to {MAX_FRESH}");
    seconds.ok_or_else(|| Error::query("fresh", sentence()))
}

/// Reads the requirements in a path, and returns the rest of it: the path of the original request. `-` stands for none.
fn of_path<'a>(app: &App, path: &'a str) -> Result<(Wanted, &'a str)> {
    let rest = path.strip_prefix(BELOW).ok_or(Code::NotFound)?;
    let (audience, rest) = rest.split_once('/').ok_or(Code::NotFound)?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (scopes, original) = rest.split_at(end);
    let decoded = |part: &str| -> Result<Option<String>> {
        let text = percent_decode_str(part).decode_utf8().map_err(|_| Code::NotFound)?;
        if text.is_empty() {
            return Err(Code::NotFound.into());
        }
        Ok(Some(text.into_owned()).filter(|text| text != "-"))
    };
    let scopes = decoded(scopes)?.unwrap_or_default();
    let scopes = scopes.split(' ').filter(|scope| !scope.is_empty()).map(ToOwned::to_owned);
    let (audience, scopes) = (decoded(audience)?, scopes.collect());
    let wanted = check(app, Wanted { audience, scopes, fresh: None })?;
    Ok((wanted, if original.is_empty() { "/" } else { original }))
}

fn check(app: &App, wanted: Wanted) -> Result<Wanted> {
    if let Some(audience) = &wanted.audience {
        check_audience(app, audience)?;
    }
    for scope in &wanted.scopes {
        let parsed = scope.parse::<Scope>();
        parsed.map_err(|fault| Error::query("scope", format!("Input is {scope:?}. {fault}")))?;
    }
    Ok(wanted)
}

/// The request that a gateway asks about.
struct Original<'a> {
    method: Method,
    /// `false` if the request changes something, or if nobody said its method.
    is_safe: bool,
    /// The host; `None` if no trusted proxy said it.
    host: Option<Cow<'a, str>>,
    /// The path and query.
    path: Cow<'a, str>,
}

/// The headers of a gateway about the original request.
struct Told<'a> {
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    path: Option<&'a str>,
}

impl<'a> Original<'a> {
    /// Reads the original request from the headers of a trusted proxy. `below` is the path and query that a gateway
    /// appended to its own.
    fn of(request: &'a Request, app: &App, below: Option<&str>) -> Result<Self> {
        let path = || Cow::Owned(below.unwrap_or("/").to_owned());
        if !is_from_proxy(request, &app.config) {
            warn_of_stranger(request);
            let method = request.method().clone();
            let is_safe = is_safe(request, &method);
            return Ok(Self { method, is_safe, host: None, path: path() });
        }
        let told = Told::of(request)?;
        let said = method(request)?;
        // Gateways that send this header ask with a method of their own.
        let is_known = said.is_some() || given(request, ORIGINAL_URL)?.is_none();
        let method = said.unwrap_or_else(|| request.method().clone());
        let is_safe = is_known && is_safe(request, &method);
        let host = told.host.or_else(|| below.and_then(|_| request.header(header::HOST)));
        let path = told.path.map_or_else(path, Cow::Borrowed);
        Ok(Self { method, is_safe, host: host.map(Cow::Borrowed), path })
    }

    /// Returns true if a page with this origin belongs to the request's own host.
    fn is_sent_by(&self, app: &App, origin: &str) -> bool {
        match self.host.as_deref() {
            Some(host) => {
                let mut known = app.config.destinations();
                known.any(|known| known.has_host(host) && known.is(origin))
            }
            None => app.config.public_url.is_of(origin),
        }
    }

    fn destination<'b>(&'b self, app: &'b App) -> Option<Destination<'b>> {
        Destination::on_host(app, self.host.as_deref()?, &self.path)
    }

    /// Returns true if a person in a browser waits for a page.
    fn is_of_person(&self, request: &Request) -> bool {
        let mode = request.headers().get("sec-fetch-mode");
        self.method == Method::GET
            && is_wanted(request)
            && mode.is_none_or(|mode| mode == "navigate")
            && !request.headers().contains_key(header::AUTHORIZATION)
    }
}

impl<'a> Told<'a> {
    fn of(request: &'a Request) -> Result<Self> {
        let (scheme, host) =
            (single(request, "x-forwarded-proto")?, single(request, "x-forwarded-host")?);
        let path = given(request, "x-forwarded-uri")?;
        if scheme.is_some_and(|scheme| !["http", "https"].contains(&scheme)) {
            return Err(invalid("X-Forwarded-Proto", "is neither http nor https"));
        }
        if path.is_some_and(|path| !path.starts_with('/')) {
            return Err(invalid("X-Forwarded-Uri", "does not begin with a slash"));
        }
        let told = Self { scheme, host, path };
        match given(request, ORIGINAL_URL)? {
            Some(url) => told.and(Self::of_url(url)?),
            None => Ok(told),
        }
    }

    fn of_url(url: &'a str) -> Result<Self> {
        let fault = || invalid("X-Original-URL", "is no URL with http or https");
        let (scheme, rest) = url.split_once("://").ok_or_else(fault)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let is_known = ["http", "https"].contains(&scheme) && !host.is_empty();
        if !is_known || host.contains(['?', '#', '@']) {
            return Err(fault());
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { scheme: Some(scheme), host: Some(host), path: Some(path) })
    }

    /// The same request, in the other way too. One of both may come from the caller, so they must not differ.
    fn and(self, other: Self) -> Result<Self> {
        let differ = |one: Option<&str>, other: Option<&str>| {
            one.zip(other).is_some_and(|(one, other)| !one.eq_ignore_ascii_case(other))
        };
        let paths_differ = self.path.zip(other.path).is_some_and(|(one, other)| one != other);
        if differ(self.scheme, other.scheme) || differ(self.host, other.host) || paths_differ {
            return Err(invalid(
                "X-Original-URL",
                "says another request than the X-Forwarded headers",
            ));
        }
        let Self { scheme, host, path } = self;
        Ok(Self {
            scheme: scheme.or(other.scheme),
            host: host.or(other.host),
            path: path.or(other.path),
        })
    }
}

/// The method that a gateway says. One of both headers may come from the caller, so they must not differ.
fn method(request: &Request) -> Result<Option<Method>> {
    let read = |name: &'static str| {
        let text = single(request, name)?;
        let method = text.map(|text| Method::from_bytes(text.as_bytes())).transpose();
        method.map_err(|_| invalid(name, "is not a method"))
    };
    let (forwarded, original) = (read("x-forwarded-method")?, read("x-original-method")?);
    if forwarded.as_ref().zip(original.as_ref()).is_some_and(|(one, other)| one != other) {
        return Err(invalid("X-Original-Method", "says another method than X-Forwarded-Method"));
    }
    Ok(forwarded.or(original))
}

/// Returns false if an original request can change something. The handshake of a WebSocket can: pages of every site can
/// cause one with the cookies of its host, and read its answers.
fn is_safe(request: &Request, method: &Method) -> bool {
    let headers = request.headers();
    let named = |name: HeaderName| {
        let values =
            headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        values.map(<[u8]>::trim_ascii).any(|value| value.eq_ignore_ascii_case(b"websocket"))
    };
    let opens = named(header::UPGRADE)
        || named(HeaderName::from_static("sec-fetch-mode"))
        || headers.contains_key(header::SEC_WEBSOCKET_KEY);
    method.is_safe() && !opens
}

fn invalid(name: &str, fault: &str) -> Error {
    Error::with_reason(Code::ForwardedRequestInvalid, format!("{name} {fault}"))
}

/// The value of a header that a proxy sets once. `None` if it is missing or empty.
fn given<'a>(request: &'a Request, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = request.headers().get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(name, "is given twice"));
    }
    let text = std::str::from_utf8(value.as_bytes()).ok();
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    let text = text.ok_or_else(|| invalid(name, "has characters other than visible ASCII"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Like [`given`], for a header whose value is no list.
fn single<'a>(request: &'a Request, name: &'static str) -> Result<Option<&'a str>> {
    match given(request, name)? {
        Some(value) if value.contains(',') => Err(invalid(name, "is a list")),
        value => Ok(value),
    }
}

/// Answers a gateway.
async fn answer(
    app: &App,
    request: &Request,
    wanted: &Wanted,
    original: &Original<'_>,
    in_header: bool,
) -> Result<Response> {
    let admitted = async {
        let known = caller(app, request, wanted, original).await?;
        known.require(wanted)?;
        Ok::<_, Error>(known)
    };
    let error = match admitted.await {
        Ok(known) => return Ok(granted(&known)),
        Err(error) => error,
    };
    let is_for_sign_in = error.code().status() == StatusCode::UNAUTHORIZED;
    if !is_for_sign_in || !original.is_of_person(request) {
        return Err(error);
    }
    let Some(destination) = original.destination(app) else {
        warn_of_host(original);
        return Err(error);
    };
    let again = if error.code() == Code::FreshTokenRequired { "again=1&" } else { "" };
    let next = in_query(&format!("/{}", destination.place()));
    let place = format!("{}/login?{again}next={next}", app.config.public_url.as_str());
    let place = HeaderValue::try_from(place).map_err(|_| Code::InternalServerError)?;
    if in_header {
        let mut response = error.response();
        response.headers_mut().insert(REDIRECT, place);
        return Ok(response);
    }
    Ok(Response::builder().status(StatusCode::FOUND).header(header::LOCATION, place).finish())
}

/// Returns the caller of the original request.
async fn caller(
    app: &App,
    request: &Request,
    wanted: &Wanted,
    original: &Original<'_>,
) -> Result<Known> {
    let audience = wanted.audience.as_deref();
    let known = match Credential::of(app, request) {
        Some(Credential::ApiToken(secret)) => Known::of_api_token(of_api_token(app, secret).await?),
        Some(Credential::OfClient(kind)) => {
            return Err(Error::token(Code::Unauthorized, kind.refusal()));
        }
        Some(Credential::Jwt(token)) => super::holder(app, token, audience, false).await?,
        None if request.headers().contains_key(header::AUTHORIZATION) => {
            return Err(Code::Unauthorized.into());
        }
        of_cookie @ (Some(Credential::Cookie(_)) | None) => {
            let known = in_browser(app, request, of_cookie, original).await?;
            check_sender(app, request, original)?;
            known
        }
    };
    note(&known);
    Ok(known)
}

/// Returns the user of a browser: with the cookie of its host, or with those that this server sets at its own.
async fn in_browser(
    app: &App,
    request: &Request,
    credential: Option<Credential<'_>>,
    original: &Original<'_>,
) -> Result<Known> {
    let origin = original.host.as_deref().and_then(|host| app.config.forward_host(host));
    if let Some(origin) = origin
        && let Some(value) = cookie::value_at(request.headers(), origin, COOKIE)
        && let Some((signed_in, proved)) = super::with_ticket(app, value, origin).await?
    {
        return Ok(kept(app, request, &signed_in, proved));
    }
    if let Some(id) = known_id(app, request.headers()) {
        revocation::require_known(app)?;
        if let Some(signed_in) = browser::find_recent(app, id).await? {
            let proved = signed_in.auth_time;
            return Ok(kept(app, request, &signed_in, proved));
        }
    }
    match credential {
        // It is for this server's own audience, whatever the gateway asks for.
        Some(Credential::Cookie(token)) => super::holder(app, token, None, true).await,
        _ => Err(Code::Unauthorized.into()),
    }
}

/// Notes that the session is in use.
fn kept(app: &App, request: &Request, signed_in: &SignedIn, proved: Timestamp) -> Known {
    browser::keep(app, signed_in, device(request));
    Known::in_browser(signed_in, proved)
}

/// Fails if a page of another site may have caused an original request that changes something with a cookie.
fn check_sender(app: &App, request: &Request, original: &Original<'_>) -> Result<()> {
    if original.is_safe {
        return Ok(());
    }
    let is_listed = |origin: &str| {
        original.is_sent_by(app, origin)
            || app.config.cors_origins.iter().any(|known| known.is(origin))
    };
    let is_own = match request.headers().get(header::ORIGIN) {
        Some(origin) => origin.to_str().is_ok_and(is_listed),
        None => matches!(request.header("sec-fetch-site"), None | Some("same-origin" | "none")),
    };
    if is_own { Ok(()) } else { Err(Code::CsrfTokenMismatch.into()) }
}

/// Adds the caller to the request's log line.
fn note(known: &Known) {
    let user = known.principal().map(|principal| principal.id().uuid());
    let (session, token) = match &known.caller {
        Caller::Session { claims, .. } => (Some(session_of(claims).0), Some(claims.jti)),
        caller => (caller.session().map(|session| session.0), None),
    };
    note_caller(CallerIds { user, session, token });
}

/// The answer that lets a request pass, with its caller.
fn granted(known: &Known) -> Response {
    let principal = known.principal();
    let id = principal.as_ref().map(|principal| principal.id().to_string()).unwrap_or_default();
    // Anybody can register with the address of another person. So an address counts only after its owner proved it.
    let (email, is_verified) = match &principal {
        Some(Principal::User(user)) if user.is_verified => (user.email.as_str(), "true"),
        Some(Principal::User(_)) => ("", "false"),
        _ => ("", ""),
    };
    Response::builder()
        .header(USER, plain(&id))
        .header(EMAIL, plain(email))
        .header(EMAIL_VERIFIED, is_verified)
        .header(SCOPES, plain(&known.scopes.to_string()))
        .finish()
}

/// A value of a header. A text with other characters than visible ASCII and spaces becomes an empty one: no encoding of it
/// could be told from another user's text.
fn plain(text: &str) -> HeaderValue {
    let is_plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let value = HeaderValue::try_from(text).ok().filter(|_| is_plain);
    value.unwrap_or(HeaderValue::from_static(""))
}

fn warn_of_stranger(request: &Request) {
    static WARNED: OnceAMinute = OnceAMinute::new();
    let told = ["x-forwarded-host", "x-original-url"];
    if told.iter().any(|name| request.headers().contains_key(*name)) && WARNED.is_due() {
        tracing::warn!(
            "a gateway asked about a request, but its address is not in TRUSTED_PROXIES, so its X-Forwarded headers do \
             not count: name it there"
        );
    }
}

fn warn_of_host(original: &Original<'_>) {
    static WARNED: OnceAMinute = OnceAMinute::new();
    if WARNED.is_due() {
        let host = original.host.as_deref().unwrap_or("(none)");
        tracing::warn!(
            host = shown(host.as_bytes()),
            "a browser was not led to the sign-in, because FORWARD_HOSTS does not contain the host of its request: if \
             the host is yours, add it there; if there is none, let the gateway send X-Forwarded-Host"
        );
    }
}
