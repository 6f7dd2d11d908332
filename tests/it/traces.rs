//! Traces: the headers of callers, log lines, and spans for a collector.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::{Body, EndpointExt, Request, Route, Server as PoemServer, handler, post, web::Data};
use serde_json::{Value, json};

use crate::support::{Server, Setup, awaited, eventually, free_port};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A collector on a free port, and what it received.
struct Collector {
    port: u16,
    received: Arc<Mutex<Vec<(Value, String)>>>,
    answers: Arc<Mutex<StatusCode>>,
}

type Shared = (Arc<Mutex<Vec<(Value, String)>>>, Arc<Mutex<StatusCode>>);

#[handler]
async fn collect(
    request: &Request,
    body: Body,
    Data((received, answers)): Data<&Shared>,
) -> StatusCode {
    let body: Value = serde_json::from_slice(&body.into_bytes().await.unwrap()).unwrap();
    let key = request.header("x-key").unwrap_or_default().to_owned();
    let status = *answers.lock().unwrap();
    if status.is_success() {
        received.lock().unwrap().push((body, key));
    }
    status
}

impl Collector {
    async fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(StatusCode::OK));
        let shared: Shared = (Arc::clone(&received), Arc::clone(&answers));
        let routes = Route::new().at("/v1/traces", post(collect)).data(shared);
        let acceptor = TcpAcceptor::from_std(listener).unwrap();
        tokio::spawn(PoemServer::new_with_acceptor(acceptor).run(routes));
        Self { port, received, answers }
    }

    /// The spans so far.
    fn spans(&self) -> Vec<Value> {
        let received = self.received.lock().unwrap();
        let spans = received.iter().flat_map(|(body, _)| {
            body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned().unwrap()
        });
        spans.collect()
    }

    async fn span(&self, name: &str) -> Value {
        awaited(&format!("a span {name}"), async || {
            self.spans().into_iter().find(|span| span["name"] == name)
        })
        .await
    }
}

fn setup(port: u16) -> Setup {
    Server::setup()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}/"))
        .set("OTEL_TRACES_SAMPLER_ARG", 1)
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    found.map(|attribute| attribute["value"].clone()).unwrap_or_default()
}

#[tokio::test]
async fn log_lines_have_the_trace_of_a_caller_and_ignore_what_is_none() {
    let server = Server::start().await;
    let line = async |header: Option<&str>, id: &str| {
        let mut request = server.get("/health/live").header("X-Request-Id", id);
        if let Some(header) = header {
            request = request.header("traceparent", header);
        }
        request.send().await.expect_status(200);
        server.log.wait_for_line(id, |line| line["request.id"] == id).await
    };
    let valid = line(Some(&format!("00-{TRACE}-{SPAN}-01")), "valid").await;
    assert_eq!((&valid["trace.id"], &valid["span.id"]), (&json!(TRACE), &json!(SPAN)));
    for (place, header) in [
        None,
        Some(format!("ff-{TRACE}-{SPAN}-01")),
        Some(format!("00-{}-{SPAN}-01", "0".repeat(32))),
        Some(format!("00-{TRACE}-{SPAN}")),
        Some("x".repeat(5000)),
    ]
    .into_iter()
    .enumerate()
    {
        let line = line(header.as_deref(), &format!("other-{place}")).await;
        assert!(line.get("trace.id").is_none(), "{line}");
    }
    let twice = format!(
        "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: twice\r\nConnection: close\r\n\
         traceparent: 00-{TRACE}-{SPAN}-01\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\n\r\n"
    );
    server.raw(&twice);
    let line = server.log.wait_for_line("twice", |line| line["request.id"] == "twice").await;
    assert!(line.get("trace.id").is_none(), "{line}");
}

#[tokio::test]
async fn spans_reach_a_collector_with_their_trace_and_without_anything_personal() {
    let collector = Collector::start().await;
    let headers = "x-key=a%20secret%20key, x-other=1";
    let server = setup(collector.port).set("OTEL_EXPORTER_OTLP_HEADERS", headers).start().await;
    let person = server.person("first").await;
    let parent = format!("00-{TRACE}-{SPAN}-00");
    let me = server.get("/users/me?email=first@user.com").bearer(&person.access);
    me.header("traceparent", &parent).header("X-Request-Id", "me").send().await.expect_status(200);
    server.get("/no/such/path").send().await.expect_status(404);
    let span = collector.span("GET /users/me").await;
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!(SPAN)));
    assert_eq!(span["kind"], 2);
    assert_eq!(attribute(&span, "http.route"), json!({ "stringValue": "/users/me" }));
    assert_eq!(attribute(&span, "http.response.status_code"), json!({ "intValue": "200" }));
    let nanos = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("endTimeUnixNano") >= nanos("startTimeUnixNano"));
    // The log line names the span itself.
    let line = server.log.wait_for_line("me", |line| line["request.id"] == "me").await;
    assert_eq!((&line["trace.id"], &line["span.id"]), (&span["traceId"], &span["spanId"]));
    let unknown = collector.span("GET").await;
    assert!(attribute(&unknown, "http.route").is_null());
    assert_eq!(unknown["parentSpanId"], "");
    let all = format!("{:?}", collector.received.lock().unwrap());
    for personal in ["first", "user.com", &person.id, &person.access, "such", "127.0.0.1"] {
        assert!(!all.contains(personal), "{personal}: {all}");
    }
    assert!(collector.received.lock().unwrap().iter().all(|(_, key)| key == "a secret key"));
    let log = server.log_so_far().await;
    assert!(!log.contains("secret key"), "{log}");
}

/// Proxies pass on the header of their callers.
#[tokio::test]
async fn no_flag_of_a_caller_decides_what_is_recorded() {
    let collector = Collector::start().await;
    let sharing = |share: u8| {
        let setup = setup(collector.port).set("OTEL_TRACES_SAMPLER_ARG", share);
        setup.set("TRUSTED_PROXIES", "127.0.0.1").start()
    };
    let (none, all) = (sharing(0).await, sharing(1).await);
    for (server, path) in [(&none, "/health/live"), (&all, "/health/ready")] {
        for flag in ["00", "01"] {
            let parent = format!("00-{TRACE}-{SPAN}-{flag}");
            let request = server.get(path).header("traceparent", &parent);
            request.header("X-Forwarded-For", "203.0.113.1").send().await.expect_status(200);
        }
    }
    // A span can come twice if the server stops before it has the collector's answer.
    let found = || {
        let spans = collector.spans().into_iter().filter(|span| span["traceId"] == TRACE);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        spans.map(|span| (text(&span["spanId"]), text(&span["name"]))).collect::<BTreeMap<_, _>>()
    };
    eventually("both spans are there", async || found().len() >= 2).await;
    // A server that stops sends what it has, so that nothing comes later.
    for mut server in [none, all] {
        server.terminate();
        server.ended().await;
    }
    assert_eq!(Vec::from_iter(found().into_values()), ["GET /health/ready"; 2]);
}

/// The server gives the collector two seconds then, so on a busy machine one of several spans must arrive.
#[tokio::test]
async fn a_server_that_stops_sends_the_spans_that_still_wait() {
    let collector = Collector::start().await;
    for _ in 0..10 {
        let mut server = setup(collector.port).start().await;
        server.get("/health/ready").send().await.expect_status(200);
        server.terminate();
        assert!(server.ended().await.success());
        if collector.spans().iter().any(|span| span["name"] == "GET /health/ready") {
            return;
        }
    }
    panic!("no span arrived");
}

#[tokio::test]
async fn a_collector_that_is_away_or_refuses_fails_no_request_and_is_logged_once() {
    let collector = Collector::start().await;
    *collector.answers.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let away = setup(free_port()).set("METRICS_LISTEN", "127.0.0.1:0").start().await;
    let refusing = setup(collector.port).start().await;
    for server in [&away, &refusing] {
        server.person("first").await;
        server.log.wait_for("takes no spans").await;
    }
    *collector.answers.lock().unwrap() = StatusCode::OK;
    refusing.get("/health/live").send().await.expect_status(200);
    refusing.log.wait_for("the collector takes spans again").await;
    let metrics = away.log.wait_for_line("metrics", |line| line["message"] == "metrics are served");
    let metrics = metrics.await["address"].as_str().unwrap().to_owned();
    eventually("the lost spans are counted", async || {
        let text = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap();
        let text = text.text().await.unwrap();
        text.contains("outcome=\"dropped\"}") && !text.contains("outcome=\"dropped\"} 0")
    })
    .await;
    let log = away.log_so_far().await;
    assert_eq!(log.matches("takes no spans").count(), 1, "{log}");
}

/// More requests than the 2048 spans that can wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_collector_holds_up_no_request() {
    // It accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = setup(silent.local_addr().unwrap().port()).set("METRICS_LISTEN", "127.0.0.1:0");
    let mut server = setup.start().await;
    let line = server.log.wait_for_line("metrics", |line| line["message"] == "metrics are served");
    let metrics = line.await["address"].as_str().unwrap().to_owned();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, url) = (reqwest::Client::new(), server.url("/health/live"));
        asking.spawn(async move {
            for _ in 0..375 {
                assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
            }
        });
    }
    asking.join_all().await;
    eventually("spans that found no room are counted", async || {
        let text = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap();
        let text = text.text().await.unwrap();
        text.contains("outcome=\"dropped\"}") && !text.contains("outcome=\"dropped\"} 0")
    })
    .await;
    server.terminate();
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn spans_and_durations_have_the_scheme_that_callers_use() {
    for (url, scheme) in [("http://localhost:8000", "http"), ("https://id.example.com", "https")] {
        let collector = Collector::start().await;
        let setup = setup(collector.port).set("PUBLIC_URL", url);
        let server = setup.set("METRICS_LISTEN", "127.0.0.1:0").start().await;
        server.get("/health/live").send().await.expect_status(200);
        let span = collector.span("GET /health/live").await;
        assert_eq!(attribute(&span, "url.scheme"), json!({ "stringValue": scheme }));
        let is_served = |line: &Value| line["message"] == "metrics are served";
        let line = server.log.wait_for_line("metrics", is_served).await;
        let metrics = format!("http://{}/metrics", line["address"].as_str().unwrap());
        let text = reqwest::get(metrics).await.unwrap().text().await.unwrap();
        assert!(text.contains(&format!("url_scheme=\"{scheme}\"")), "{text}");
    }
}
