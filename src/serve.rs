//! `tessera serve`

use std::io::{self, ErrorKind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use api::app::App;
use api::base::config::{Config, ListenAddress};
use api::http::{Bound, MetricsListener, Tls};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::health::Probe;
use crate::{log, notify, print};

/// The number of descriptors that are kept for the database, files and standard streams.
const RESERVED_DESCRIPTORS: u64 = 128;

/// The maximum number of connections, even if the operating system allows more.
const MAX_CONNECTIONS: u64 = 20_000;

/// The time between two looks at the files of the certificate.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(config: Config, log_source: log::Source) -> Result<(), String> {
    let tls = read_tls(&config)?;
    let bound = listen(&config, tls.clone())?;
    let addresses = bound.addresses().map_err(|error| error.to_string())?;
    let metrics = metrics_listener(&config).await?;
    let mut shutdown = Box::pin(shutdown()?);
    // From here on, the signal does not end the process.
    let hangup = listen_to(SignalKind::hangup())?;
    let dev = config.dev;
    let public_url = config.public_url.as_str().to_owned();

    let app = tokio::select! {
        started = api::start(config) => started?,
        () = &mut shutdown => return Ok(()),
    };
    for address in &addresses {
        let has_tls = tls.is_some() && matches!(address, ListenAddress::Tcp(_));
        tracing::info!(
            address = %address,
            tls = has_tls,
            version = env!("CARGO_PKG_VERSION"),
            profile = if dev { "development" } else { "production" },
            "listening"
        );
    }
    greet(&addresses, tls.is_some(), &public_url, dev);
    warn_of_links(&addresses, tls.is_some(), &public_url);
    tokio::spawn(reload_on(hangup, app.clone(), tls.clone(), log_source));
    if let (Some(within), Some(first)) = (notify::watchdog(), addresses.first()) {
        tokio::spawn(notify::keep_watch(Probe::new(first, tls.is_some())?, within));
    }
    if let Some(tls) = &tls {
        look_for_certificates(Arc::downgrade(tls))?;
    }
    notify::ready(&status(&addresses));
    api::serve(app, bound, metrics, async {
        shutdown.await;
        notify::stopping();
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

fn read_tls(config: &Config) -> Result<Option<Arc<Tls>>, String> {
    let Some((tls, warnings)) = Tls::read(config).map_err(|fault| fault.to_string())? else {
        return Ok(None);
    };
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(Some(tls))
}

fn listen(config: &Config, tls: Option<Arc<Tls>>) -> Result<Bound, String> {
    let addresses = config.listeners().map_err(|fault| fault.to_string())?;
    let is_listed = !config.listening.listen.is_empty();
    Bound::listen(&addresses, tls, connections()).map_err(|(address, error)| {
        let advice = advice(&address, &error, is_listed);
        format!("cannot listen on {address} ({error}): {advice}")
    })
}

/// Says what to do if the server cannot listen on an address.
fn advice(address: &ListenAddress, error: &io::Error, is_listed: bool) -> String {
    match (address, error.kind()) {
        (ListenAddress::Tcp(address), ErrorKind::PermissionDenied) if address.port() < 1024 => {
            "give the process the capability CAP_NET_BIND_SERVICE, or choose a port from 1024 on"
                .to_owned()
        }
        (ListenAddress::Tcp(_), ErrorKind::AddrInUse) if !is_listed => {
            "choose another PORT".to_owned()
        }
        (ListenAddress::Tcp(_), _) if !is_listed => "choose another HOST".to_owned(),
        (ListenAddress::Tcp(_), _) => "choose another address in LISTEN".to_owned(),
        (ListenAddress::Unix(_), ErrorKind::AddrInUse) => {
            "end the other server first, or choose another path in LISTEN".to_owned()
        }
        (ListenAddress::Unix(path), ErrorKind::NotFound | ErrorKind::PermissionDenied) => format!(
            "the folder {} must exist, and the user of this process must be able to write it",
            path.parent().unwrap_or(path).display()
        ),
        (ListenAddress::Unix(_), _) => "choose another path in LISTEN".to_owned(),
    }
}

/// Reads the files that can change again whenever the signal arrives.
async fn reload_on(mut hangup: Signal, app: App, tls: Option<Arc<Tls>>, log_source: log::Source) {
    while hangup.recv().await.is_some() {
        notify::reloading();
        let (app, tls) = (app.clone(), tls.clone());
        let (done, ended) = oneshot::channel();
        // Files can be slow, so this does not run on a thread that serves requests.
        thread::spawn(move || {
            reload(&app, tls.as_deref(), log_source);
            let _ = done.send(());
        });
        let _ = ended.await;
        notify::ready("files were read again");
    }
}

fn reload(app: &App, tls: Option<&Tls>, log_source: log::Source) {
    if log_source == log::Source::File
        && let Err(fault) = log::follow_env_file()
    {
        tracing::warn!("the server keeps the log filter that it has, because {fault}");
    }
    for fault in api::reload(app) {
        tracing::warn!("the server keeps the templates that it has, because {fault}");
    }
    if let Some(tls) = tls {
        tls.look(true);
    }
    tracing::info!("certificates, templates and the log filter were read again");
}

/// Looks at the files of the certificate from time to time, on a thread of its own.
fn look_for_certificates(tls: Weak<Tls>) -> Result<(), String> {
    let looks = move || {
        loop {
            thread::sleep(LOOK_EVERY);
            let Some(tls) = tls.upgrade() else { return };
            tls.look(false);
        }
    };
    let thread = thread::Builder::new().name("certificates".to_owned()).spawn(looks);
    thread.map(drop).map_err(|error| format!("a thread could not be started: {error}"))
}

fn status(addresses: &[ListenAddress]) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!("listening on {}", all.join(", "))
}

/// The URL that leads to the first port from this machine.
fn local_url(addresses: &[ListenAddress], has_tls: bool) -> Option<String> {
    let scheme = if has_tls { "https" } else { "http" };
    addresses.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(format!("{scheme}://localhost:{}", address.port())),
        ListenAddress::Unix(_) => None,
    })
}

/// Warns if the default of PUBLIC_URL leads to another port.
fn warn_of_links(addresses: &[ListenAddress], has_tls: bool, public_url: &str) {
    let Some(url) = local_url(addresses, has_tls) else { return };
    let is_default = ["http://localhost:8000", "https://localhost:8000"].contains(&public_url);
    if is_default && url != public_url {
        tracing::warn!(
            "links in mails lead to {public_url}, not to this server: set PUBLIC_URL={url}"
        );
    }
}

/// Listens for monitoring programs, if the settings name an address for them.
async fn metrics_listener(config: &Config) -> Result<Option<MetricsListener>, String> {
    let Some(address) = config.monitor.metrics_listen else { return Ok(None) };
    let listener = MetricsListener::listen(address).await.map_err(|error| {
        format!("cannot listen on {address} ({error}): choose another METRICS_LISTEN")
    })?;
    let address = listener.address().map_err(|error| error.to_string())?;
    tracing::info!(address = %address, "metrics are served");
    Ok(Some(listener))
}

/// Prints where the server listens, and examples for a development server.
fn greet(addresses: &[ListenAddress], has_tls: bool, public_url: &str, dev: bool) {
    let version = env!("CARGO_PKG_VERSION");
    match local_url(addresses, has_tls) {
        Some(url) => {
            print::line(format!("Tessera {version} listens on {url}. Documentation: {url}/docs"))
        }
        None => print::line(format!("Tessera {version} is {}.", status(addresses))),
    }
    print::line(format!("Issuer of the tokens (PUBLIC_URL): {public_url}"));
    let port = addresses.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    });
    let Some(port) = port.filter(|_| dev) else { return };
    // HTTPie reads `:8000` as an address without TLS.
    let (begin, option) = match has_tls {
        true => (format!("https://localhost:{port}"), " --verify=no"),
        false => (format!(":{port}"), ""),
    };
    print::line(format!(
        "
This is a development server. In production, start it without --dev.

To try it, paste these commands. They need HTTPie 3 with the plugin httpie-jwt-auth, and jq:

  http{option} POST {begin}/auth/register email=first@user.com password=blurp
  http{option} --form POST {begin}/auth/jwt/login username=first@user.com password=blurp
  token=$(http{option} --form POST {begin}/auth/jwt/login username=first@user.com password=blurp | jq --raw-output '.access_token')
  http{option} {begin}/users/me --auth-type=jwt --auth=$token
"
    ));
}

/// Returns the number of connections that the limit of descriptors allows. Raises that limit if it can.
fn connections() -> usize {
    let descriptors = rlimit::increase_nofile_limit(MAX_CONNECTIONS + RESERVED_DESCRIPTORS)
        .unwrap_or(1024)
        .saturating_sub(RESERVED_DESCRIPTORS)
        .clamp(16, MAX_CONNECTIONS);
    usize::try_from(descriptors).unwrap_or(16)
}

fn listen_to(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("signals cannot be received: {error}"))
}

/// Returns a future that resolves when the process gets SIGTERM or SIGINT.
///
/// # Errors
///
/// If no handler for these signals can be installed.
fn shutdown() -> Result<impl Future<Output = ()>, String> {
    let mut terminate = listen_to(SignalKind::terminate())?;
    let mut interrupt = listen_to(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping after the requests in flight are answered");
    })
}
