//! `tessera health`, and the same check that a server does of itself for its service manager.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use api::base::config::{Config, ListenAddress};
use reqwest::{Client, StatusCode, redirect};

use crate::print;

/// The time within which a server must answer the command.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: &Config) -> Result<(), String> {
    let addresses = config.listeners().map_err(|fault| fault.to_string())?;
    let first = addresses.first().ok_or("LISTEN has no address")?;
    let place = match first {
        ListenAddress::Tcp(address) => format!("port {}", address.port()),
        ListenAddress::Unix(path) => path.display().to_string(),
    };
    match Probe::new(first, config.listening.has_tls())?.ask("/health/ready", ANSWERS_WITHIN).await
    {
        Ok(StatusCode::OK) => {
            print::line("ready");
            Ok(())
        }
        Ok(status) => {
            Err(format!("the server on {place} is not ready (it answers {status}): see its log"))
        }
        Err(error) if error.is_timeout() => Err(format!(
            "the server on {place} does not answer within {} seconds: see its log",
            ANSWERS_WITHIN.as_secs()
        )),
        Err(error) => Err(format!(
            "no server answers on {place} ({}): is it running? It must have the same HOST, PORT and LISTEN",
            innermost(&error)
        )),
    }
}

fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// A client for the health checks of one server on this machine.
pub(crate) struct Probe {
    client: Client,
    root: String,
}

impl Probe {
    /// Makes a client for the server that listens on an address.
    ///
    /// # Errors
    ///
    /// If the library for requests cannot be set up.
    pub(crate) fn new(address: &ListenAddress, has_tls: bool) -> Result<Self, String> {
        // The check sends no secret and believes nothing but the status, and the certificate is for another name.
        let client = Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .no_proxy()
            .redirect(redirect::Policy::none());
        let (client, root) = match address {
            ListenAddress::Unix(path) => {
                (client.unix_socket(path.as_path()), "http://localhost".to_owned())
            }
            ListenAddress::Tcp(address) => {
                let scheme = if has_tls { "https" } else { "http" };
                let address = SocketAddr::new(reachable(address.ip()), address.port());
                (client, format!("{scheme}://{address}"))
            }
        };
        let client =
            client.build().map_err(|error| format!("requests cannot be sent ({error})"))?;
        Ok(Self { client, root })
    }

    /// Asks for the status of a path. Each time, this is a new connection.
    pub(crate) async fn ask(
        &self,
        path: &str,
        within: Duration,
    ) -> Result<StatusCode, reqwest::Error> {
        let url = format!("{}{path}", self.root);
        let request = self.client.get(url).timeout(within).header("connection", "close");
        Ok(request.send().await?.status())
    }
}

/// The address at which this machine reaches a server that listens on an address.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}
