//! `tessera serve`

use std::io::ErrorKind;
use std::net::SocketAddr;

use api::base::config::Config;
use api::http::Bound;
use tokio::signal::unix::{SignalKind, signal};

use crate::print;

/// The number of descriptors that are kept for the database, files and standard streams.
const RESERVED_DESCRIPTORS: u64 = 128;

/// The maximum number of connections, even if the operating system allows more.
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
        tracing::warn!(
            "links in mails lead to {public_url}, not to this server: set PUBLIC_URL={url}"
        );
    }
    api::serve(app, bound, shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

/// Prints where the server listens, and examples for a development server.
fn greet(address: SocketAddr, public_url: &str, dev: bool) {
    let version = env!("CARGO_PKG_VERSION");
    let port = address.port();
    print::line(format!(
        "Tessera {version} listens on http://localhost:{port}. Documentation: http://localhost:{port}/docs"
    ));
    print::line(format!("Issuer of the tokens (PUBLIC_URL): {public_url}"));
    if dev {
        print::line(format!(
            "
This is a development server. In production, start it without --dev.

To try it, paste these commands. They need HTTPie 3 with the plugin httpie-jwt-auth, and jq:

  http POST :{port}/auth/register email=first@user.com password=blurp
  http --form POST :{port}/auth/jwt/login username=first@user.com password=blurp
  token=$(http --form POST :{port}/auth/jwt/login username=first@user.com password=blurp | jq --raw-output '.access_token')
  http :{port}/users/me --auth-type=jwt --auth=$token
"
        ));
    }
}

/// Returns the number of connections that the limit of descriptors allows. Raises that limit if it can.
fn connections() -> usize {
    let descriptors = rlimit::increase_nofile_limit(MAX_CONNECTIONS + RESERVED_DESCRIPTORS)
        .unwrap_or(1024)
        .saturating_sub(RESERVED_DESCRIPTORS)
        .clamp(16, MAX_CONNECTIONS);
    usize::try_from(descriptors).unwrap_or(16)
}

/// Returns a future that resolves when the process gets SIGTERM or SIGINT.
///
/// # Errors
///
/// If no handler for these signals can be installed.
fn shutdown() -> Result<impl Future<Output = ()>, String> {
    let listen =
        |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping after the requests in flight are answered");
    })
}
