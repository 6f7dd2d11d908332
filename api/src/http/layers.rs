//! The layers around every request and answer: an id, a deadline, a size limit, headers, one shape of errors, and one
//! log line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Request, Response};
use poem_openapi::error::ParseParamError;
use tokio::time::timeout;
use uuid::fmt::Hyphenated;

use super::cookie::Cookies;
use super::headers::{REQUEST_ID, REVOCATION_SEQ};
use super::host;
use super::metrics::UNKNOWN;
use super::page::{self, Frame};
use super::paths::Known;
use super::peer::peer_address;
use super::router::Router;
use super::server::Arrival;
use super::slash;
use super::trace::Traced;
use crate::app::App;
use crate::base::config::AllowedHeader;
use crate::base::error::{Cause, Code, Error, Face, Problem, Result};
use crate::base::request_context::{self, CallerNote, RequestContext};
use crate::base::{config, random};

/// The maximum size of a body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The time limit for a body to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The time limit for an answer after the body has arrived.
const ANSWER_WITHIN: Duration = Duration::from_secs(9);

/// The operations whose answer can wait for something to happen, and the time limit for it.
const WAITING: [&str; 2] = ["/auth/revocations", "/auth/revocations/snapshot"];
const WAITING_WITHIN: Duration = Duration::from_secs(40);

/// The headers of an answer whose handler does not set them: nobody may cache tokens and users, and the answer is not a
/// page.
const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// A function that recognises the user of a browser for a page that shows a refusal. Only a feature knows users.
pub(crate) type Recognise = for<'a> fn(Frame, &'a HeaderMap, &'a Error) -> BoxFuture<'a, Frame>;

/// The routes with all layers around them.
pub(crate) struct Layers {
    app: App,
    router: Arc<Router>,
    recognise: Recognise,
    cors_origins: Vec<config::Origin>,
    /// The request headers that pages of these origins can send.
    cors_headers: HeaderValue,
    https: bool,
}

impl Layers {
    pub(crate) fn new(router: Router, app: App, recognise: Recognise) -> Self {
        let config = &app.config;
        let cors_origins = config.cors_origins.clone();
        let cors_headers = cors_headers(&config.network.cors_allow_headers);
        let https = config.public_url.is_https();
        if config.monitor.metrics_listen.is_some() {
            app.requests.count_routes(router.paths.patterns());
        }
        Self { app, router: Arc::new(router), recognise, cors_origins, cors_headers, https }
    }

    async fn answer(
        &self,
        mut request: Request,
        known: Option<&Known>,
        id: &HeaderValue,
        caller: CallerNote,
    ) -> Result<Response, Arc<Error>> {
        take_body(&mut request).await?;
        // A handler that panics affects only its own request.
        let router = Arc::clone(&self.router);
        let reads = request.method().is_safe();
        let context = RequestContext {
            ip: peer_address(&request, &self.app.config),
            request_id: id.to_str().ok().map(ToOwned::to_owned),
        };
        // Both are boxed, because each layer around a future copies the whole of it.
        let waits = known.is_some_and(|known| WAITING.contains(&&*known.pattern));
        let within = if waits { WAITING_WITHIN } else { ANSWER_WITHIN };
        request.set_data(self.app.clone());
        let kind = known.map(|known| known.kind);
        let call = async move { timeout(within, router.call(kind, request)).await };
        let call = Box::pin(call);
        let call = request_context::within(context, request_context::noting(caller, call));
        // If a caller disconnects, a write must not stop between its commit and the update of memory.
        let called = if reads {
            AssertUnwindSafe(call).catch_unwind().await.map_err(drop)
        } else {
            tokio::spawn(call).await.map_err(drop)
        };
        match called {
            Ok(Ok(Ok(response))) => Ok(response.into_response()),
            Ok(Ok(Err(error))) => match error.data::<Arc<Error>>() {
                Some(error) => Err(Arc::clone(error)),
                None if error.is_from_response() => Ok(error.into_response()),
                None => Err(shaped(&error).into()),
            },
            Ok(Err(_)) => {
                Err(Error::because(Code::ServiceUnavailable, "an answer took too long").into())
            }
            Err(()) => Err(Error::because(Code::InternalServerError, "a handler panicked").into()),
        }
    }

    /// The frame of a page that shows a refusal, if a browser reads the answer.
    fn frame(&self, request: &Request, known: Option<&Known>) -> Option<(Frame, HeaderMap)> {
        let reads_pages = !known.is_some_and(Known::is_of_programs) && page::is_wanted(request);
        let frame = reads_pages.then(|| Frame::at(&self.app, request)).and_then(Result::ok);
        frame.map(|frame| (frame, request.headers().clone()))
    }

    /// The answer to a request that is refused: a page for a browser, and the error's own answer for a program.
    async fn refused(
        &self,
        error: &Error,
        known: Option<&Known>,
        frame: Option<(Frame, HeaderMap)>,
    ) -> Response {
        tracing::debug!(error.code = error.code().name(), error.reason = %error, "a request is refused");
        let mut response = match frame {
            Some((frame, headers)) => {
                let frame = (self.recognise)(frame, &headers, error).await;
                let title = match error.code() {
                    Code::NotFound => "page-not-found",
                    _ => "did-not-work",
                };
                let (title, text) = (frame.text(title), frame.message(error));
                frame.refusal_with(&title, &text, "", error)
            }
            None if known.is_some_and(|known| known.speaks_oauth) => {
                error.response_with(Face::Oauth)
            }
            None => error.response(),
        };
        if let (Some(known), Code::MethodNotAllowed) = (known, error.code()) {
            response.headers_mut().insert(header::ALLOW, known.methods.clone());
        }
        response
    }

    /// Removes the prefix of the settings from the path of a request.
    fn take_prefix(&self, request: &mut Request) {
        let Some(prefix) = &self.app.config.front_end.path_prefix else { return };
        let uri = request.uri();
        let Some(path) = prefix.strip(uri.path()) else { return };
        let rest = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        if let Ok(rest) = rest.parse() {
            *request.uri_mut() = rest;
        }
    }

    /// The origin of the page that sent the request, if it may call this server (CORS).
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?;
        self.cors_origins.iter().any(|allowed| allowed.is(text)).then(|| origin.clone())
    }

    /// The trace of a request, if it belongs to one.
    fn traced(&self, request: &Request) -> Option<Traced> {
        self.app.spans.begin(request.headers())
    }

    /// Counts a request that was answered, ends its span, and writes its log line.
    fn log(
        &self,
        method: &Method,
        known: Option<&Known>,
        response: &Response,
        id: &HeaderValue,
        (began, traced): (Instant, Option<Traced>),
        caller: &CallerNote,
    ) {
        log_cause(response, id, traced);
        let took = began.elapsed();
        self.app.requests.observe(known.map(|known| known.place), method, response.status(), took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let route = known.map(|known| &*known.pattern);
        if let Some(traced) = traced {
            self.app.spans.end(traced, route, method, response.status(), micros);
        }
        // A path that does not exist can be any text, even a token.
        let path = route.unwrap_or(UNKNOWN);
        let caller = caller.caller().unwrap_or_default();
        let mut texts = [[0; Hyphenated::LENGTH]; 3];
        let [user, session, token] = &mut texts;
        tracing::info!(
            http.method = method.as_str(),
            http.path = path,
            http.status = response.status().as_u16(),
            http.micros = micros,
            request.id = id.to_str().unwrap_or_default(),
            trace.id = traced.map(|traced| display(traced.trace)),
            span.id = traced.map(|traced| display(traced.span)),
            user.id = caller.user.map(|id| display(&*id.as_hyphenated().encode_lower(user))),
            session.id =
                caller.session.map(|id| display(&*id.as_hyphenated().encode_lower(session))),
            token.id = caller.token.map(|id| display(&*id.as_hyphenated().encode_lower(token))),
            "answered a request"
        );
    }

    fn decorate(&self, response: &mut Response, id: HeaderValue, origin: Option<HeaderValue>) {
        let headers = response.headers_mut();
        // JSON has no charset parameter (RFC 8259, section 11), but the framework writes one.
        if let Some(content_type) = headers.get_mut(header::CONTENT_TYPE)
            && content_type == "application/json; charset=utf-8"
        {
            *content_type = HeaderValue::from_static("application/json");
        }
        // Room for these and for the headers below, so that the map grows once.
        headers.reserve(DEFAULTS.len() + 3);
        for (name, value) in DEFAULTS {
            headers.entry(name).or_insert(value);
        }
        if self.https {
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static("max-age=31536000"),
            );
        }
        if !self.cors_origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        // Other origins must not read pages, because pages contain the CSRF values of their forms.
        let is_page = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if let Some(origin) = origin.filter(|_| !is_page) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers
                .insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(
                    "WWW-Authenticate, Retry-After, X-Request-Id, X-CSRF-Token, X-Code-Binding, \
                     Tessera-Revocation-Seq",
                ),
            );
        }
        headers.insert(REQUEST_ID, id);
    }
}

impl Endpoint for Layers {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let began = (Instant::now(), self.traced(&request));
        let _running = self.app.requests.begin();
        self.take_prefix(&mut request);
        let id = request_id(request.headers());
        let origin = self.allowed_origin(request.headers());
        let method = request.method().clone();
        let redirect = slash::remove(&mut request, &self.router.paths);
        let known = self.router.paths.find(request.uri().path());
        let is_open = known.is_some_and(|known| known.is_open);
        let mut frame = self.frame(&request, known);

        let cookies = Cookies::default();
        request.extensions_mut().insert(cookies.clone());

        // A gateway that asks about a preflight must not take the answer to it for a permission.
        let takes_any_method = known.is_some_and(|known| known.takes_any_method);
        let asks = is_preflight(&request) && !takes_any_method;
        let caller = CallerNote::default();
        let answered = match (host::check(&request), redirect) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), _) if is_open && asks => Ok(open_preflight(&request)),
            (Ok(()), _) if origin.is_some() && asks => Ok(preflight(&self.cors_headers)),
            (Ok(()), Some(redirect)) => Ok(redirect),
            (Ok(()), None) => self.answer(request, known, &id, Arc::clone(&caller)).await,
        };
        let mut response = match answered {
            Ok(response) => response,
            // Boxed, so that requests that are not refused do not need the memory for it.
            Err(error) => Box::pin(self.refused(&error, known, frame.take())).await,
        };
        response.headers_mut().extend(cookies.take());
        response.headers_mut().extend(ended(&caller));
        self.decorate(&mut response, id.clone(), origin.filter(|_| !is_open));
        if is_open {
            open_to_all(&mut response);
        }

        self.log(&method, known, &response, &id, began, &caller);
        Ok(response)
    }
}

/// Converts an error of the framework to one of Tessera's.
fn shaped(error: &poem::Error) -> Error {
    if error.is::<MethodNotAllowedError>() {
        return Code::MethodNotAllowed.into();
    }
    if error.is::<NotFoundError>() {
        return Code::NotFound.into();
    }
    if let Some(ParseParamError { name, .. }) = error.downcast_ref() {
        return Error::query(name, "Input cannot be read");
    }
    match error.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType.into(),
        status if status.is_client_error() => Error::unprocessable(Vec::new()),
        _ => Error::because(Code::InternalServerError, error.to_string()),
    }
}

/// Writes the log line with the cause of a request that failed.
fn log_cause(response: &Response, id: &HeaderValue, traced: Option<Traced>) {
    if let Some(Cause(cause)) = response.extensions().get() {
        tracing::error!(
            request.id = id.to_str().unwrap_or_default(),
            trace.id = traced.map(|traced| display(traced.trace)),
            http.status = response.status().as_u16(),
            error.cause = %cause,
            "a request failed"
        );
    }
}

/// The header that says up to which revocation a service must have read to know what a request ended.
fn ended(caller: &CallerNote) -> Option<(HeaderName, HeaderValue)> {
    let place = HeaderValue::try_from(caller.ended()?).ok()?;
    Some((REVOCATION_SEQ, place))
}

/// Reads the body before anything else is done, so that a slow or endless body occupies only its connection.
async fn take_body(request: &mut Request) -> Result<()> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(Code::ContentTooLarge.into());
    }
    let has_body = announced.is_some_and(|length| length > 0)
        || request.headers().contains_key(header::TRANSFER_ENCODING);
    // Boxed, so that requests without a body do not need the memory for it.
    if has_body { Box::pin(read_body(request)).await } else { Ok(()) }
}

async fn read_body(request: &mut Request) -> Result<()> {
    let body = request.take_body();
    match timeout(BODY_WITHIN, body.into_bytes_limit(MAX_BODY)).await {
        Ok(Ok(bytes)) => {
            // The connection may have been told to make room while the body arrived.
            if request.extensions().get::<Arrival>().is_some_and(|body| !body.is_complete()) {
                return Err(Code::RequestTimeout.into());
            }
            request.set_body(Body::from_bytes(bytes));
            Ok(())
        }
        Ok(Err(poem::error::ReadBodyError::PayloadTooLarge)) => Err(Code::ContentTooLarge.into()),
        Ok(Err(_)) => Err(Error::unprocessable(vec![Problem {
            kind: "body_invalid",
            part: "body",
            location: Vec::new(),
            message: "The body ended too early".to_owned(),
        }])),
        Err(_) => Err(Code::RequestTimeout.into()),
    }
}

/// The id of the request: the caller's own if it is a plain word, so that logs can be joined, else a random one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=64).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    });
    match given {
        Some(given) => given.clone(),
        None => {
            let mut text = [0; Hyphenated::LENGTH];
            let text = random::log_id().as_hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
        }
    }
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight for a path that pages of every origin can call. It allows the headers that are asked for.
fn open_preflight(request: &Request) -> Response {
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let asked = asked.unwrap_or(HeaderValue::from_static("Authorization, Content-Type"));
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST")
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, asked)
        .header(header::ACCESS_CONTROL_MAX_AGE, "600")
        .finish()
}

/// Lets pages of every origin read an answer. It never allows cookies, so an origin has no authority.
fn open_to_all(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("WWW-Authenticate, DPoP-Nonce, Retry-After, X-Request-Id"),
    );
}

fn preflight(allowed: &HeaderValue) -> Response {
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, PUT, DELETE")
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed)
        .header(header::ACCESS_CONTROL_MAX_AGE, "600")
        .finish()
}

/// The request headers that pages of other origins can send: those of Tessera, of tracing programs and of HTTP clients,
/// and those of `CORS_ALLOW_HEADERS`.
fn cors_headers(further: &[AllowedHeader]) -> HeaderValue {
    let own =
        "authorization, content-type, token, x-api-key, x-code-binding, x-csrf-token, x-request-id";
    let clients = "accept-language, cache-control, if-match, if-none-match, pragma, x-correlation-id, \
                   x-requested-with";
    // W3C Trace Context and Baggage, Sentry, Zipkin, Jaeger, Datadog, New Relic, AWS and Google Cloud.
    let tracing = "traceparent, tracestate, baggage, sentry-trace, b3, x-b3-traceid, x-b3-spanid, x-b3-parentspanid, \
                   x-b3-sampled, x-b3-flags, uber-trace-id, x-datadog-trace-id, x-datadog-parent-id, \
                   x-datadog-origin, x-datadog-sampling-priority, x-datadog-tags, newrelic, x-amzn-trace-id, \
                   x-cloud-trace-context, request-id, request-context";
    let further = further.iter().map(AllowedHeader::as_str);
    let all: Vec<_> = [own, clients, tracing].into_iter().chain(further).collect();
    HeaderValue::try_from(all.join(", ")).unwrap_or(HeaderValue::from_static("authorization"))
}
