//! Messages to the service manager (`sd_notify`). Without one, they are not sent.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::health::Probe;

/// Says that the server listens, or that it has read its files again.
pub(crate) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the server reads its files again.
pub(crate) fn reloading() {
    let now = NotifyState::monotonic_usec_now();
    match now {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Says that the server stops.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(
            "the service manager cannot be told the state of the server ({error}): check NOTIFY_SOCKET"
        );
    }
}

/// The time within which the service manager expects a sign of life, if it does.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| !within.is_zero())
}

/// Tells the service manager twice in each period that the server answers. It asks the server over its own listener, so
/// that a server whose requests get stuck is ended and started again. A database that is away is no reason: a new
/// process would not have it either.
pub(crate) async fn keep_watch(probe: Probe, within: Duration) {
    let half = within / 2;
    loop {
        match probe.ask("/health/live", half).await {
            Ok(status) if status.is_success() => send(&[NotifyState::Watchdog]),
            Ok(status) => tracing::warn!("the server answers {status} to its own health check"),
            Err(error) => tracing::warn!(
                error.cause = %error,
                "the server does not answer its own health check: the service manager ends it if this lasts"
            ),
        }
        tokio::time::sleep(half).await;
    }
}
