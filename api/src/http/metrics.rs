//! The numbers of requests, and the listener that shows all numbers of this server to a monitoring program.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::base::metrics::{Counter, Exposition, Histogram, REQUEST};

/// The label of a path that does not exist. A path can be any text, so it is no label.
pub(super) const UNKNOWN: &str = "(unknown)";

/// The methods that have a label of their own. Others have the last label, as OpenTelemetry says.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"];

/// The statuses that have a label of their own. Others are counted as the last.
const STATUSES: [u16; 30] = [
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409,
    410, 411, 413, 415, 421, 422, 429, 431, 503, 504, 500,
];

/// The durations of the requests of a route and a method, by status.
type ByStatus = Box<[OnceLock<Box<Histogram>>; STATUSES.len()]>;

/// The durations of requests. They are counted only if somebody can read them.
#[derive(Debug, Default)]
pub struct Requests(OnceLock<Routes>);

#[derive(Debug)]
struct Routes {
    /// The patterns of the routes, and [`UNKNOWN`] as the last.
    patterns: Vec<String>,
    durations: Vec<[OnceLock<ByStatus>; METHODS.len()]>,
    begun: Counter,
    ended: Counter,
}

/// A request that is being answered. It ends with this value, also if its caller gives up.
pub(super) struct Running<'a>(Option<&'a Routes>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(routes) = self.0 {
            routes.ended.count();
        }
    }
}

impl Requests {
    /// Begins to count the requests of these routes.
    pub(super) fn count_routes<'a>(&self, patterns: impl Iterator<Item = &'a str>) {
        self.0.get_or_init(|| {
            let patterns: Vec<_> = patterns.chain([UNKNOWN]).map(str::to_owned).collect();
            let durations = patterns.iter().map(|_| Default::default()).collect();
            Routes { patterns, durations, begun: Counter::default(), ended: Counter::default() }
        });
    }

    /// Notes that a request arrived.
    pub(super) fn begin(&self) -> Running<'_> {
        let routes = self.0.get();
        if let Some(routes) = routes {
            routes.begun.count();
        }
        Running(routes)
    }

    /// Counts a request that was answered. `route` is the place of its route, if the path exists.
    pub(super) fn observe(
        &self,
        route: Option<usize>,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let Some(routes) = self.0.get() else { return };
        let route = route.unwrap_or(routes.patterns.len() - 1);
        let known = METHODS.iter().position(|known| *known == method.as_str());
        let status = STATUSES.iter().position(|known| *known == status.as_u16());
        let of_route = routes.durations.get(route).or(routes.durations.last());
        let Some(of_route) = of_route else { return };
        let of_method = of_route[known.unwrap_or(METHODS.len() - 1)].get_or_init(Box::default);
        let histogram = &of_method[status.unwrap_or(STATUSES.len() - 1)];
        histogram.get_or_init(|| Box::new(Histogram::new(REQUEST))).observe(took);
    }

    /// Writes the durations, and the number of requests that are being answered. `scheme` is the one that callers use.
    pub(crate) fn write(&self, text: &mut Exposition, scheme: &str) {
        let Some(routes) = self.0.get() else { return };
        let name = "http_server_request_duration_seconds";
        text.begin(name, "histogram", "The time to answer a request.");
        for (pattern, by_method) in routes.patterns.iter().zip(&routes.durations) {
            for (method, by_status) in METHODS.iter().zip(by_method) {
                let by_status = by_status.get().into_iter().flat_map(|by_status| by_status.iter());
                for (status, histogram) in STATUSES.iter().zip(by_status) {
                    let Some(histogram) = histogram.get() else { continue };
                    let status = status.to_string();
                    let labels = [
                        ("http_request_method", *method),
                        ("http_route", pattern.as_str()),
                        ("http_response_status_code", status.as_str()),
                        ("url_scheme", scheme),
                    ];
                    text.histogram(name, &labels, histogram);
                }
            }
        }
        // The number of requests that began is read last, so that the difference is not negative.
        let ended = routes.ended.get();
        let active = routes.begun.get().saturating_sub(ended);
        text.single(
            "http_server_active_requests",
            "gauge",
            "The requests that are being answered.",
            active,
        );
    }
}

/// The time limit for the head of a request, and for an answer.
const WITHIN: Duration = Duration::from_secs(5);

/// The maximum number of connections. Monitoring programs need one each.
const CONNECTIONS: usize = 16;

/// Makes the text of all numbers.
pub(crate) type Render = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// A listener for monitoring programs.
#[derive(Debug)]
pub struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Listens on an address.
    ///
    /// # Errors
    ///
    /// If the address is in use or does not belong to this machine.
    pub async fn listen(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// If the operating system does not return it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers `/metrics`, and nothing else, until this is dropped.
    pub(crate) async fn serve(self, render: Render) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let is_local = self.address().is_ok_and(|address| address.ip().is_loopback());
        loop {
            // Further connections wait in the queue of the operating system.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = self.0.accept().await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let render = Arc::clone(&render);
            tokio::spawn(async move {
                let answer = service_fn(move |request: hyper::Request<Incoming>| {
                    let render = Arc::clone(&render);
                    let is_for_here = !is_local || is_for_here(request.headers());
                    let (method, path) =
                        (request.method().clone(), request.uri().path().to_owned());
                    async move {
                        let answer = match is_for_here {
                            true => answer(method, path, &render).await,
                            false => plain(StatusCode::MISDIRECTED_REQUEST, ELSEWHERE.to_owned()),
                        };
                        Ok::<_, Infallible>(answer)
                    }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(WITHIN)
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(stream), answer);
                // A connection that is not closed by its client ends here, so that it keeps no place for ever.
                let _ = timeout(Duration::from_secs(120), connection).await;
                drop(place);
            });
        }
    }
}

type Answer = hyper::Response<String>;

async fn answer(method: Method, path: String, render: &Render) -> Answer {
    let (status, body) = match (method.as_str(), path.as_str()) {
        ("GET" | "HEAD", "/metrics") => match timeout(WITHIN, render()).await {
            Ok(text) => (StatusCode::OK, text),
            Err(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the numbers could not be read\n".to_owned())
            }
        },
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
    };
    plain(status, body)
}

const ELSEWHERE: &str = "the metrics are at an IP address, localhost or a name without a dot\n";

/// Returns false if a request to a loopback address names a host of the internet. The owner of such a name can let it lead
/// to this machine, so that a page in a browser here reads the answer (DNS rebinding). Names without a dot have no such
/// owner. Monitoring programs reach other addresses by any name.
fn is_for_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let has_port =
        host.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']'));
    let name = has_port.map_or(host, |(name, _)| name);
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    v6.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok())
        || name.parse::<Ipv4Addr>().is_ok()
        || !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn plain(status: StatusCode, body: String) -> Answer {
    let mut answer = hyper::Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
