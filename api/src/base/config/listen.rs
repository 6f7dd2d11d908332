//! The settings of listeners: addresses, TLS, and the proxies whose headers count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use ipnet::IpNet;

use super::{Config, ConfigError};

/// The longest path of a Unix socket that every system takes, in bytes.
const LONGEST_PATH: usize = 103;

const FORM: &str = "must be addresses, separated by commas, of the form 127.0.0.1:8000, [::1]:8000 or \
                    unix:/run/tessera/tessera.sock";

/// The settings of listeners.
#[derive(Debug, Clone, Args)]
pub struct ListenSettings {
    /// All addresses to listen on, in place of HOST and PORT, separated by commas:
    /// `127.0.0.1:8000,[::1]:8000,unix:/run/tessera/tessera.sock`. A Unix socket belongs to the user and the group of
    /// the process, and no one else can connect (mode 0660)
    #[arg(long, env = "LISTEN", global = true, value_name = "ADDRESSES", value_delimiter = ',')]
    pub listen: Vec<ListenAddress>,

    /// A PEM file with the certificate of this server and its chain. With it, every address except Unix sockets speaks
    /// TLS (1.2 and 1.3). Tessera notices within seconds that the file was replaced
    #[arg(long, env = "TLS_CERT", global = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// A PEM file with the private key of TLS_CERT
    #[arg(long, env = "TLS_KEY", global = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// The values of HOST and PORT, if they were given.
    #[arg(skip)]
    pub given: (Option<IpAddr>, Option<u16>),
}

impl ListenSettings {
    /// Treats an empty value as not set, and refuses half of a pair.
    pub(super) fn complete(&mut self) -> Result<(), ConfigError> {
        for file in [&mut self.tls_cert, &mut self.tls_key] {
            *file = file.take().filter(|path| !path.as_os_str().is_empty());
        }
        let (given, missing) = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => ("TLS_CERT", "TLS_KEY"),
            (None, Some(_)) => ("TLS_KEY", "TLS_CERT"),
            _ => return Ok(()),
        };
        Err(ConfigError::new(&format!(
            "{given} is set, but {missing} is not: TLS needs a certificate and its key; set both or neither"
        )))
    }

    /// The files of the certificate and the key, if the server speaks TLS.
    pub(crate) fn tls(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.tls_cert.as_ref().zip(self.tls_key.as_ref())
    }

    /// Returns true if the addresses that are not Unix sockets speak TLS.
    pub fn has_tls(&self) -> bool {
        self.tls_cert.as_ref().is_some_and(|path| !path.as_os_str().is_empty())
    }
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    /// A description of the error, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
                return Err(
                    "must have an absolute path after unix:, such as unix:/run/tessera/tessera.sock",
                );
            }
            if path.len() > LONGEST_PATH {
                return Err(
                    "must have a path of at most 103 bytes after unix:, as systems require",
                );
            }
            return Ok(Self::Unix(path.into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        // `::1` is an address without a port.
        if host.contains(':') && !host.starts_with('[') {
            return Err("must have IPv6 addresses in brackets, such as [::1]:8000");
        }
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number).ok_or(FORM)?;
        let host = super::value::parse_host(host).map_err(|_| FORM)?;
        Ok(Self::Tcp(SocketAddr::new(host, port)))
    }
}

/// A proxy whose header with the client's address counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Every proxy with an address in this network.
    Network(IpNet),
    /// Every proxy that connects to a Unix socket.
    Unix,
}

impl FromStr for TrustedProxy {
    /// A description of the error, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("unix") {
            return Ok(Self::Unix);
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let address = bare.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_| text.parse()).map(Self::Network).map_err(|_| {
            "must be IP addresses and networks, separated by commas, such as 10.0.0.0/8,::1, or unix for proxies \
             that use a Unix socket (a name such as nginx is not an address)"
        })
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// A program with this IP address.
    Address(IpAddr),
    /// A program that connected to a Unix socket.
    Unix,
}

impl Peer {
    /// The address that stands for the peer. Programs at a Unix socket run on this machine.
    pub fn address(self) -> IpAddr {
        match self {
            Self::Address(address) => address.to_canonical(),
            Self::Unix => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Returns true if this is one of the proxies.
    pub fn is_of(self, proxies: &[TrustedProxy]) -> bool {
        proxies.iter().any(|proxy| match (self, proxy) {
            (Self::Address(address), TrustedProxy::Network(network)) => {
                network.contains(&address.to_canonical())
            }
            (Self::Unix, TrustedProxy::Unix) => true,
            _ => false,
        })
    }
}

impl Config {
    /// The addresses to listen on.
    ///
    /// # Errors
    ///
    /// If an address is named twice, or if HOST or PORT names an address that LISTEN does not have.
    pub fn listeners(&self) -> Result<Vec<ListenAddress>, ConfigError> {
        let listed = &self.listening.listen;
        if listed.is_empty() {
            return Ok(vec![ListenAddress::Tcp(SocketAddr::new(self.host, self.port))]);
        }
        let all = listed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let is_repeated = |(place, address): (usize, &ListenAddress)| {
            let takes_any = matches!(address, ListenAddress::Tcp(address) if address.port() == 0);
            !takes_any && listed[..place].contains(address)
        };
        if listed.iter().enumerate().any(is_repeated) {
            let fault = format!("LISTEN is {all}: it names an address twice; remove one of them");
            return Err(ConfigError::new(&fault));
        }
        let (host, port) = self.listening.given;
        let is_named = listed.iter().any(|address| match address {
            ListenAddress::Tcp(address) => {
                host.is_none_or(|host| host == address.ip())
                    && port.is_none_or(|port| port == address.port())
            }
            ListenAddress::Unix(_) => host.is_none() && port.is_none(),
        });
        if is_named {
            return Ok(listed.clone());
        }
        let host = host.map(|host| ("HOST", host.to_string()));
        let given = host.into_iter().chain(port.map(|port| ("PORT", port.to_string())));
        let (names, values): (Vec<_>, Vec<_>) =
            given.map(|(name, value)| (name, format!("{name} is {value}"))).unzip();
        let (names, values) = (names.join(" and "), values.join(" and "));
        Err(ConfigError::new(&format!(
            "LISTEN is {all}, but {values}: LISTEN names every address, so remove {names} (or leave it empty), or remove \
             LISTEN"
        )))
    }

    /// The port of the first address that has one.
    pub(super) fn first_port(&self) -> Option<u16> {
        let listed = &self.listening.listen;
        if listed.is_empty() {
            return Some(self.port);
        }
        listed.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_has_a_port_or_is_a_socket() {
        for (text, shown) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            (" localhost:0 ", "127.0.0.1:0"),
            ("[::1]:8000", "[::1]:8000"),
            ("[::]:65535", "[::]:65535"),
            ("unix:/run/tessera.sock", "unix:/run/tessera.sock"),
            ("unix:/a b", "unix:/a b"),
        ] {
            let read = text.parse::<ListenAddress>().map(|address| address.to_string());
            assert_eq!(read.as_deref(), Ok(shown), "{text}");
        }
        for text in [
            "",
            "8000",
            ":8000",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:+80",
            "::1",
            "::1:8000",
            "[::1]",
            "id.example.com:443",
            "http://127.0.0.1:8000",
            "unix:",
            "unix:tessera.sock",
            "unix:@tessera",
            "unix:/run/",
            "/run/tessera.sock",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        assert!(format!("unix:/{}", "x".repeat(102)).parse::<ListenAddress>().is_ok());
        assert!(format!("unix:/{}", "x".repeat(103)).parse::<ListenAddress>().is_err());
    }

    #[test]
    fn a_unix_socket_is_a_proxy_only_by_its_word() {
        let proxies = |text: &str| -> Vec<TrustedProxy> {
            text.split(',').map(|one| one.parse().unwrap()).collect()
        };
        let loopback = Peer::Address(Ipv4Addr::LOCALHOST.into());
        for (text, unix, address) in [
            ("unix", true, false),
            ("UNIX,10.0.0.0/8", true, false),
            ("127.0.0.1", false, true),
            ("127.0.0.0/8,::1", false, true),
            ("0.0.0.0/0", false, true),
        ] {
            assert_eq!(Peer::Unix.is_of(&proxies(text)), unix, "{text}");
            assert_eq!(loopback.is_of(&proxies(text)), address, "{text}");
        }
        assert!("unix:/run/x".parse::<TrustedProxy>().is_err());
    }
}
