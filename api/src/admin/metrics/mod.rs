//! The numbers of this server, for monitoring. No label has a value that callers choose.

use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::base::database::PoolSize;
use crate::base::metrics::Exposition;
use crate::platform::{audit, job, revocation};

/// The time for the numbers that are in the database. Without them, the others are shown.
const DATABASE_WITHIN: Duration = Duration::from_secs(2);

/// Returns all numbers, in the text format of Prometheus.
pub(crate) async fn text(app: &App) -> String {
    let mut text = Exposition::default();
    let version = [("service_name", "tessera"), ("service_version", env!("CARGO_PKG_VERSION"))];
    text.begin("target_info", "gauge", "The program and its version.");
    text.sample("target_info", &version, 1);
    app.requests.write(&mut text, app.config.public_url.scheme());
    app.factor.write_metrics(&mut text);
    write_database(app, &mut text);
    write_revocation(app, &mut text);
    write_caches(app, &mut text);
    write_feed(app, &mut text);
    if timeout(DATABASE_WITHIN, write_waiting(app, &mut text)).await.is_err() {
        tracing::debug!("the numbers in the database are missing from the metrics");
    }
    process::write(&mut text);
    text.into_text()
}

fn write_database(app: &App, text: &mut Exposition) {
    let pools = app.database.pools();
    let name = "db_client_connection_count";
    text.begin(name, "gauge", "The connections to the database.");
    for PoolSize { name: pool, used, idle, .. } in &pools {
        for (state, count) in [("used", used), ("idle", idle)] {
            let labels =
                [("db_client_connection_pool_name", *pool), ("db_client_connection_state", state)];
            text.sample(name, &labels, count);
        }
    }
    let name = "db_client_connection_max";
    text.begin(name, "gauge", "The most connections that a pool opens.");
    for PoolSize { name: pool, most, .. } in &pools {
        text.sample(name, &[("db_client_connection_pool_name", *pool)], most);
    }
}

fn write_revocation(app: &App, text: &mut Exposition) {
    let name = "tessera_revocation_age_seconds";
    let help = "The time since this server last read the revocations.";
    text.begin(name, "gauge", help);
    // Without a sample, the age is not known.
    if let Some(age) = app.revocation.age() {
        text.sample(name, &[], age.as_secs_f64());
    }
    let known = u8::from(revocation::require_known(app).is_ok());
    let help = "1 if this server knows the revocations and accepts tokens, otherwise 0.";
    text.single("tessera_revocation_known", "gauge", help, known);
    let help = "The revocations in memory.";
    text.single("tessera_revocation_entries", "gauge", help, app.revocation.list().len());
    let help = "The number of the last revocation that this server has applied.";
    text.single("tessera_revocation_seq", "gauge", help, app.revocation.applied());
    let behind = u8::from(app.audit.is_behind());
    let help = "1 if entries of the audit have waited for more than five seconds, otherwise 0.";
    text.single("tessera_audit_behind", "gauge", help, behind);
}

fn write_caches(app: &App, text: &mut Exposition) {
    let name = "tessera_cache_requests_total";
    text.begin(name, "counter", "Look-ups of rows in memory.");
    let (clients, resources) = app.client.looked_up();
    for (cache, [hits, misses]) in [
        ("user", app.user.cache.looked_up()),
        ("service", app.service.looked_up()),
        ("api_token", app.api_token.looked_up()),
        ("client", clients),
        ("resource", resources),
    ] {
        for (result, count) in [("hit", hits), ("miss", misses)] {
            text.sample(name, &[("cache", cache), ("result", result)], count);
        }
    }
}

fn write_feed(app: &App, text: &mut Exposition) {
    let help = "The services that wait for revocations at this server.";
    text.single("tessera_feed_waiters", "gauge", help, app.feed.count());
    let help = "The most services that can wait at this server.";
    text.single("tessera_feed_waiters_max", "gauge", help, app.feed.most());
    let name = "tessera_trace_spans_total";
    text.begin(name, "counter", "Spans of requests, by what became of them.");
    for (outcome, counter) in [("sent", &app.spans.sent), ("dropped", &app.spans.dropped)] {
        text.sample(name, &[("outcome", outcome)], counter.get());
    }
}

/// Writes the numbers of rows that wait.
async fn write_waiting(app: &App, text: &mut Exposition) {
    if let Ok(lag) = audit::lag(app).await {
        let help = "The age of the oldest entry of the audit that is not sealed yet.";
        let lag = Duration::from_millis(lag).as_secs_f64();
        text.single("tessera_audit_seal_lag_seconds", "gauge", help, lag);
    }
    let name = "tessera_jobs_waiting";
    text.begin(name, "gauge", "Mails, and requests for mails, that wait in the database.");
    for (kind, label) in [(job::Kind::Mail, "mail"), (job::Kind::Request, "request")] {
        if let Ok(count) = job::count(app, kind).await {
            text.sample(name, &[("kind", label)], count);
        }
    }
}

/// The numbers of the process, from Linux. Their names are those of every Prometheus client.
mod process {
    use std::fs;
    use std::sync::OnceLock;

    use crate::base::clock;
    use crate::base::metrics::Exposition;

    /// Linux counts CPU time in hundredths of a second on every machine.
    const TICKS: f64 = 100.0;

    /// Notes when the process started.
    pub(crate) fn started() -> u64 {
        static STARTED: OnceLock<u64> = OnceLock::new();
        *STARTED.get_or_init(|| clock::now().seconds())
    }

    pub(super) fn write(text: &mut Exposition) {
        let help = "The time when the server started, in seconds since the epoch.";
        text.single("process_start_time_seconds", "gauge", help, started());
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<_> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
        if let (Some(user), Some(system)) = (ticks(11), ticks(12)) {
            let help = "The CPU time that the process has used.";
            let name = "process_cpu_seconds_total";
            text.single(name, "counter", help, (user + system) / TICKS);
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
        if let Some(kibibytes) = resident {
            let help = "The memory that the process has in RAM.";
            text.single("process_resident_memory_bytes", "gauge", help, kibibytes * 1024);
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            let help = "The open file descriptors.";
            text.single("process_open_fds", "gauge", help, descriptors.count());
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let limit = limit.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(limit) = limit {
            let help = "The most file descriptors that can be open.";
            text.single("process_max_fds", "gauge", help, limit);
        }
    }
}

pub(crate) use process::started;
