//! The loop that accepts connections. The loop of the framework sets no deadline for the head of a request, runs in a
//! busy loop if file descriptors run out, and delays small answers by Nagle's algorithm.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

/// The time limit for the head of a request, and for an idle connection.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The time limit for a pause in which the client reads nothing of an answer.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// The maximum size of the head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The time that a connection without a request stays open if the server needs its place or stops.
const LINGER: Duration = Duration::from_secs(1);

/// The time that the server waits for running requests when it stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

/// A listener, and the maximum number of its connections.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    connections: usize,
}

impl Bound {
    /// Listens on an address. At most `connections` are open at once; further ones wait.
    ///
    /// # Errors
    ///
    /// If the address is in use or does not belong to this machine.
    pub async fn listen(address: SocketAddr, connections: usize) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, connections })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// If the operating system does not return it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Serves until `shutdown` resolves, and then finishes the running requests.
pub(crate) async fn serve(
    service: impl Endpoint<Output = Response> + 'static,
    bound: Bound,
    shutdown: impl Future<Output = ()>,
) {
    let service = Arc::new(service);
    let (stop, stopping) = watch::channel(());
    let wanted = Arc::new(watch::Sender::new(()));
    let permits = Arc::new(Semaphore::new(bound.connections));
    {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&bound.listener, &permits, &wanted) => {
                    let (stream, peer, permit) = accepted;
                    let service = Arc::clone(&service);
                    let ends = Ends { stopping: stopping.clone(), wanted: wanted.subscribe() };
                    tokio::spawn(async move {
                        connection(stream, peer, service, ends).await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(bound.listener);
    drop(stopping);
    let _ = stop.send(());
    if timeout(DRAIN_WITHIN, stop.closed()).await.is_err() {
        tracing::warn!("some requests were not finished when the server stopped");
    }
}

/// The signals that end a connection without a request.
struct Ends {
    stopping: watch::Receiver<()>,
    wanted: watch::Receiver<()>,
}

impl Ends {
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.stopping.changed() => {}
            _ = self.wanted.changed() => {}
        }
    }
}

/// Accepts the next connection. If the maximum number is reached, connections without a request are closed, so that
/// silent callers do not lock out others. If file descriptors run out, this waits for a moment before it tries again.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    wanted: &watch::Sender<()>,
) -> (TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    let permit = loop {
        match timeout(LINGER, Arc::clone(permits).acquire_owned()).await {
            Ok(permit) => break permit.ok(),
            Err(_) => wanted.send_replace(()),
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::warn!(error.cause = %error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    service: Arc<impl Endpoint<Output = Response> + 'static>,
    mut ends: Ends,
) {
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_WITHIN));
    let busy = Arc::new(AtomicBool::new(false));
    let is_busy = Arc::clone(&busy);
    let answer = service_fn(move |request| {
        let (service, busy) = (Arc::clone(&service), Arc::clone(&busy));
        let local = LocalAddr(poem::Addr::SocketAddr(local));
        let remote = RemoteAddr(poem::Addr::SocketAddr(peer));
        async move {
            busy.store(true, Ordering::Relaxed);
            let response =
                service.get_response((request, local, remote, Scheme::HTTP).into()).await;
            busy.store(false, Ordering::Relaxed);
            Ok::<_, Infallible>(hyper::Response::from(response))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer);
    let mut connection = pin!(connection);
    // An error is the client's: a head that cannot be read, or a broken connection.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = ends.wait() => connection.as_mut().graceful_shutdown(),
    }
    // A running request is answered, but half a head is not waited for.
    while timeout(LINGER, connection.as_mut()).await.is_err() && is_busy.load(Ordering::Relaxed) {}
}
