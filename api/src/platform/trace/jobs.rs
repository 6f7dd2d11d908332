//! The job that sends spans to the collector.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::document;
use crate::app::App;
use crate::base::background::Background;
use crate::http::Span;
use crate::platform::fetch;

/// The most spans in one request.
const AT_ONCE: usize = 512;

/// The time for which spans gather after the first.
const GATHER_FOR: Duration = Duration::from_secs(1);

/// The time for the last spans when the server stops.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// The spans that were not sent yet. Those of a request to the collector stay here until it ends: if the server stops
/// before, they are sent again.
struct Unsent {
    queue: mpsc::Receiver<Span>,
    taken: Vec<Span>,
}

impl Unsent {
    /// Takes spans from the queue, until there are enough for a request.
    fn take(&mut self) {
        while self.taken.len() < AT_ONCE
            && let Ok(span) = self.queue.try_recv()
        {
            self.taken.push(span);
        }
    }
}

type Waiting = Arc<tokio::sync::Mutex<Unsent>>;

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    let Some(waiting) = app.spans.take() else { return };
    let unsent = Unsent { queue: waiting, taken: Vec::new() };
    let waiting: Waiting = Arc::new(tokio::sync::Mutex::new(unsent));
    let port = background.port();
    let instance = app.config.replica_name.clone();
    let instance = instance
        .unwrap_or_else(|| format!("{}:{port}", gethostname::gethostname().to_string_lossy()));
    let exporter = Arc::new(Exporter { app: app.clone(), instance, fault: Mutex::default() });
    background.start(keep_sending(Arc::clone(&exporter), Arc::clone(&waiting)));
    background.at_end(async move {
        let mut unsent = waiting.lock().await;
        unsent.take();
        let _ = timeout(LAST_WITHIN, exporter.send(&unsent.taken)).await;
    });
}

async fn keep_sending(exporter: Arc<Exporter>, waiting: Waiting) {
    let mut unsent = waiting.lock().await;
    while let Some(span) = unsent.queue.recv().await {
        unsent.taken.push(span);
        sleep(GATHER_FOR).await;
        unsent.take();
        exporter.send(&unsent.taken).await;
        unsent.taken.clear();
    }
}

struct Exporter {
    app: App,
    /// The name of this server.
    instance: String,
    /// The last reason why spans were not taken, which was logged.
    fault: Mutex<Option<String>>,
}

impl Exporter {
    /// Sends spans. Those that the collector does not take are lost. Each outage is logged once.
    async fn send(&self, spans: &[Span]) {
        if spans.is_empty() {
            return;
        }
        let fault = self.try_send(spans).await.err();
        let counter = if fault.is_none() { &self.app.spans.sent } else { &self.app.spans.dropped };
        spans.iter().for_each(|_| counter.count());
        let mut known = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &fault) {
            (None, Some(fault)) => tracing::warn!(
                error.cause = fault,
                "the collector of OTEL_EXPORTER_OTLP_ENDPOINT takes no spans; they are lost until it does"
            ),
            (Some(_), None) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        *known = fault;
    }

    async fn try_send(&self, spans: &[Span]) -> Result<(), String> {
        let settings = &self.app.config.monitor;
        let Some(url) = settings.traces_url() else { return Ok(()) };
        let headers = settings.headers()?;
        let scheme = self.app.config.public_url.scheme();
        let body = document(spans, &self.instance, scheme).to_string();
        let answer = fetch::post_json(&self.app, &url, &headers, body).await;
        let status = answer.map_err(|fault| fault.to_string())?.status;
        if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
    }
}
