//! `tessera serve`

use std::io::ErrorKind;
use std::net::SocketAddr;

use api::base::config::Config;
use api::http::Bound;
use tokio::signal::unix::{SignalKind, signal};

use crate::print;

/// Descriptors that are left for everything but connections: database, files, standard streams.
const RESERVED_DESCRIPTORS: u64 = 128;

/// The most connections, where the operating system would allow more.
const MAX_CONNECTIONS: u64 = 20_000;

pub(crate) async fn run(config: Config) -> Result<(), String> {
    let address = SocketAddr::new(config.host, config.port);
    let bound = Bound::listen(address, connections()).await.map_err(|error| {
        let setting = if error.kind() == ErrorKind::AddrInUse { "PORT" } else { "HOST" };
        format!("cannot listen on {address} ({error}): choose another {setting}")
    })?;
    let address = bound.address().map_err(|error| error.to_string())?;
    let shutdown = shutdown()?;
    let dev = config.dev;
    let public_url = config.public_url.as_str().to_owned();

    let mut shutdown = Box::pin(shutdown);
    let app = tokio::select! {
        started = api::start(config) => started?,
        () = &mut shutdown => return Ok(()),
    };
    tracing::info!(
        address = %address,
        version = env!("CARGO_PKG_VERSION"),
        profile = if dev { "development" } else { "production" },
        "listening"
    );
    greet(address, &public_url, dev);
    if public_url == "http://localhost:8000" && address.port() != 8000 {
        let url = format!("http://localhost:{}", address.port());
        tracing::warn!("links in mails lead to {public_url}: set PUBLIC_URL={url}");
    }
    api::serve(app, bound, shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

/// What somebody who just started it wants to know.
fn greet(address: SocketAddr, public_url: &str, dev: bool) {
    let version = env!("CARGO_PKG_VERSION");
    let port = address.port();
    print::line(format!(
        "Tessera {version} listens on http://localhost:{port}, docs at http://localhost:{port}/docs"
    ));
    print::line(format!("Its tokens are issued by {public_url}"));
    if dev {
        print::line(format!(
            "
This is the development profile: start without --dev where it matters.

Paste these (HTTPie 3, with the plugin httpie-jwt-auth, and jq):

  http POST :{port}/auth/register email=first@user.com password=blurp
  http --form POST :{port}/auth/jwt/login username=first@user.com password=blurp
  token=$(http --form POST :{port}/auth/jwt/login username=first@user.com password=blurp | jq --raw-output '.access_token')
  http :{port}/users/me --auth-type=jwt --auth=$token
"
        ));
    }
}

/// As many connections as descriptors allow, with some left.
fn connections() -> usize {
    let descriptors = rlimit::increase_nofile_limit(MAX_CONNECTIONS + RESERVED_DESCRIPTORS)
        .unwrap_or(1024)
        .saturating_sub(RESERVED_DESCRIPTORS)
        .clamp(16, MAX_CONNECTIONS);
    usize::try_from(descriptors).unwrap_or(16)
}

/// Resolves when the process is asked to stop.
fn shutdown() -> Result<impl Future<Output = ()>, String> {
    let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be heard: {error}"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop: requests in flight are answered first");
    })
}
