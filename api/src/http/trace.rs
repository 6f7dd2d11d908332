//! The trace of a request, for its log line, and its span, which waits for the collector.
//!
//! A span that finds no room is dropped: a collector that is away never delays a request.

use std::sync::{Mutex, PoisonError};

use poem::http::{HeaderMap, HeaderName, Method, StatusCode};
use tokio::sync::mpsc;

use crate::base::clock::{self, Timestamp};
use crate::base::config::Config;
use crate::base::metrics::Counter;
use crate::base::random;
use crate::base::trace_context::{SpanId, TraceId, TraceParent};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The maximum number of spans that wait for the collector.
const WAITING: usize = 2048;

/// A request, as the collector sees it. It has no ids of users, no addresses and no query.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent: Option<SpanId>,
    /// The pattern of the path; `None` for a path that does not exist.
    pub(crate) route: Option<String>,
    pub(crate) method: Method,
    pub(crate) status: StatusCode,
    pub(crate) began: Timestamp,
    pub(crate) micros: u64,
}

/// The spans that wait for the collector.
#[derive(Debug)]
pub struct Spans {
    queue: Option<mpsc::Sender<Span>>,
    waiting: Mutex<Option<mpsc::Receiver<Span>>>,
    share: f64,
    /// The spans that found no room, or that the collector did not take.
    pub(crate) dropped: Counter,
    /// The spans that the collector took.
    pub(crate) sent: Counter,
}

/// The place of a request in its trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traced {
    /// The trace.
    pub(super) trace: TraceId,
    /// The span of the request itself if it is recorded, and that of the caller otherwise.
    pub(super) span: SpanId,
    parent: Option<SpanId>,
    began: Option<Timestamp>,
}

impl Spans {
    /// Makes the queue, if there is a collector.
    pub(crate) fn of(config: &Config) -> Self {
        let has_collector = config.monitor.otlp_endpoint.is_some();
        let (queue, waiting) = mpsc::channel(WAITING);
        Self {
            queue: has_collector.then_some(queue),
            waiting: Mutex::new(has_collector.then_some(waiting)),
            share: config.monitor.otlp_sample,
            dropped: Counter::default(),
            sent: Counter::default(),
        }
    }

    /// Takes the spans that wait. Only the work that sends them calls this.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the trace of a request, if it has one. A request without one begins one if its span is recorded.
    ///
    /// Chance alone decides which spans are recorded, also if the caller records its own. Proxies pass on the headers of
    /// strangers, who could otherwise fill the queue or keep requests out of it.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Option<Traced> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        // Of two headers, neither counts.
        let parent = match (given.next(), given.next()) {
            (Some(value), None) => TraceParent::read(value.as_bytes()),
            _ => None,
        };
        if self.queue.is_none() || !self.is_drawn() {
            let TraceParent { trace, span } = parent?;
            return Some(Traced { trace, span, parent: None, began: None });
        }
        Some(Traced {
            trace: parent.map_or_else(TraceId::new, |parent| parent.trace),
            span: SpanId::new(),
            parent: parent.map(|parent| parent.span),
            began: Some(clock::now()),
        })
    }

    /// Draws whether a span is recorded.
    fn is_drawn(&self) -> bool {
        let drawn = u32::try_from(random::log_id().as_u64_pair().1 & 0xffff_ffff);
        drawn.is_ok_and(|drawn| f64::from(drawn) < self.share * 4_294_967_296.0)
    }

    /// Passes a span on, if the request is recorded and there is room.
    pub(super) fn end(
        &self,
        traced: Traced,
        route: Option<&str>,
        method: &Method,
        status: StatusCode,
        micros: u64,
    ) {
        let (Some(began), Some(queue)) = (traced.began, &self.queue) else { return };
        let Ok(place) = queue.try_reserve() else {
            self.dropped.count();
            return;
        };
        place.send(Span {
            trace: traced.trace,
            id: traced.span,
            parent: traced.parent,
            route: route.map(str::to_owned),
            method: method.clone(),
            status,
            began,
            micros,
        });
    }
}
