//! Spans of requests, as OTLP in JSON, for a collector of traces.

pub(crate) mod jobs;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http::Span;

/// The kind of a span that answers a request, and the status of one that failed.
const SERVER: u8 = 2;
const FAILED: u8 = 2;

/// The body of a request to the collector (OTLP 1.x, `ExportTraceServiceRequest`). `scheme` is the one that callers use.
fn document(spans: &[Span], instance: &str, scheme: &str) -> Value {
    let resource = [
        ("service.name", "tessera"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let resource: Vec<_> = resource.into_iter().map(|(key, text)| attribute(key, text)).collect();
    let spans: Vec<_> = spans.iter().map(|of| span(of, scheme)).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "tessera" }, "spans": spans }],
    }] })
}

fn attribute(key: &str, text: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": text } })
}

fn span(span: &Span, scheme: &str) -> Value {
    let Span { trace, id, parent, route, method, status, began, micros } = span;
    let began = began.millis().unsigned_abs().saturating_mul(1_000_000);
    let ended = began.saturating_add(micros.saturating_mul(1000));
    let method = known(method);
    let mut attributes = vec![
        attribute("http.request.method", method),
        attribute("url.scheme", scheme),
        json!({
            "key": "http.response.status_code",
            "value": { "intValue": status.as_u16().to_string() },
        }),
    ];
    if let Some(route) = route {
        attributes.push(attribute("http.route", route));
    }
    let has_failed = *status >= StatusCode::INTERNAL_SERVER_ERROR;
    if has_failed {
        attributes.push(attribute("error.type", status.as_str()));
    }
    json!({
        "traceId": trace.to_string(),
        "spanId": id.to_string(),
        "parentSpanId": parent.map(|parent| parent.to_string()).unwrap_or_default(),
        "name": route.as_ref().map_or(method.to_owned(), |route| format!("{method} {route}")),
        "kind": SERVER,
        "startTimeUnixNano": began.to_string(),
        "endTimeUnixNano": ended.to_string(),
        "attributes": attributes,
        "status": if has_failed { json!({ "code": FAILED }) } else { json!({}) },
    })
}

/// The name of a method. A caller can invent methods, so others have one name, as OpenTelemetry says.
fn known(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => name,
        _ => "_OTHER",
    }
}
