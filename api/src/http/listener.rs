//! The addresses that a server listens on: ports and Unix sockets.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use poem::Addr;
use rustix::fs::Mode;
use rustix::process::umask;
use socket2::{Domain, Protocol, Socket as Options, Type};
use tokio::net::{TcpListener, UnixListener};

use super::peer::UNIX;
use super::stream::{Either, Socket};
use super::tls::Tls;
use crate::base::config::{ListenAddress, Peer};

/// The number of connections that wait until the server accepts them.
const BACKLOG: i32 = 1024;

/// The listeners of a server, and the maximum number of its connections.
#[derive(Debug)]
pub struct Bound {
    pub(super) listeners: Vec<Listener>,
    pub(super) tls: Option<Arc<Tls>>,
    connections: usize,
}

impl Bound {
    /// Listens on addresses. At most `connections` are open at once; further ones wait. With `tls`, ports speak TLS, and
    /// Unix sockets do not.
    ///
    /// # Errors
    ///
    /// The address that is in use or cannot be listened on, and the reason.
    pub fn listen(
        addresses: &[ListenAddress],
        tls: Option<Arc<Tls>>,
        connections: usize,
    ) -> Result<Self, (ListenAddress, io::Error)> {
        let bind = |address: &ListenAddress| {
            Listener::bind(address, addresses).map_err(|error| (address.clone(), error))
        };
        let listeners = addresses.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { listeners, tls, connections })
    }

    /// The maximum number of its connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// The addresses that it listens on, with the ports that the operating system chose.
    ///
    /// # Errors
    ///
    /// If the operating system does not return them.
    pub fn addresses(&self) -> io::Result<Vec<ListenAddress>> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// The first of its ports, or 0 if it listens on none.
    pub(crate) fn port(&self) -> u16 {
        let addresses = self.addresses().unwrap_or_default().into_iter();
        let mut ports = addresses.filter_map(|address| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        });
        ports.next().unwrap_or_default()
    }
}

/// A listener on one address.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) peer: Peer,
    pub(super) local: Addr,
    pub(super) remote: Addr,
}

impl Listener {
    fn bind(address: &ListenAddress, all: &[ListenAddress]) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => bind_port(*address, all).map(Self::Tcp),
            ListenAddress::Unix(path) => {
                let (listener, file) = bind_socket(path)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, file) => Ok(ListenAddress::Unix(file.path.clone())),
        }
    }

    /// Accepts the next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                let local = Addr::SocketAddr(stream.local_addr()?);
                let peer = Peer::Address(remote.ip());
                let remote = Addr::SocketAddr(remote);
                Ok(Accepted { socket: Either::Left(stream), peer, local, remote })
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let address = || Addr::custom(UNIX, "");
                let (local, remote) = (address(), address());
                Ok(Accepted { socket: Either::Right(stream), peer: Peer::Unix, local, remote })
            }
        }
    }
}

/// Listens on a port. `[::]` means all addresses, unless an address of IPv4 has the same port: then it means those of IPv6.
fn bind_port(address: SocketAddr, all: &[ListenAddress]) -> io::Result<TcpListener> {
    let socket = Options::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    let is_other = |other: &ListenAddress| matches!(other, ListenAddress::Tcp(other) if other.is_ipv4() && other.port() == address.port());
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified() || all.iter().any(is_other))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Listens on a Unix socket that only the user and the group of this process can use. A file that a server left behind
/// is replaced, and a socket that somebody listens on is not.
fn bind_socket(path: &PathBuf) -> io::Result<(UnixListener, SocketFile)> {
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "there is a file that is no socket",
            ));
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
            Ok(_) => {
                return Err(io::Error::new(ErrorKind::AddrInUse, "a server listens on it"));
            }
        }
    }
    // The mode is right from the beginning, so that nobody else can connect before it is set.
    let before = umask(Mode::from_raw_mode(0o117));
    let bound = UnixListener::bind(path);
    umask(before);
    let listener = bound?;
    let made = fs::symlink_metadata(path)?;
    Ok((listener, SocketFile { path: path.clone(), file: (made.dev(), made.ino()) }))
}

/// The file of a Unix socket. It is removed at the end, unless another server has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    file: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
