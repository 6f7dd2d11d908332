//! The loop that accepts connections. The loop of the framework sets no deadline for the head of a request, runs in a
//! busy loop if file descriptors run out, and delays small answers by Nagle's algorithm.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::places::{PATIENCE, Place, Places, Progress};

/// The time limit for the head of a request, and for an idle connection.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The time limit for a pause in which the client reads nothing of an answer.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// The maximum size of the head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The time limit for discarding the rest of a request that was refused before it had arrived (RFC 9112, section 9.6).
const DISCARD_WITHIN: Duration = Duration::from_secs(2);

/// The maximum size of the rest of a request that is discarded, in bytes.
const MAX_DISCARDED: usize = 4 * 1024 * 1024;

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

/// Serves until `shutdown` resolves, and then finishes the running requests. Connections from `proxies` carry the
/// requests of many clients.
pub(crate) async fn serve(
    service: impl Endpoint<Output = Response> + 'static,
    bound: Bound,
    proxies: Vec<IpNet>,
    shutdown: impl Future<Output = ()>,
) {
    let service = Arc::new(service);
    let (stop, stopping) = watch::channel(());
    let places = Places::new(bound.connections, proxies);
    {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                (stream, peer, place) = accept(&bound.listener, &places) => {
                    let service = Arc::clone(&service);
                    tokio::spawn(connection(stream, peer, place, service, stopping.clone()));
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

/// Accepts the next connection that gets a place. If file descriptors run out, this waits for a moment before it tries
/// again.
async fn accept(listener: &TcpListener, places: &Arc<Places>) -> (TcpStream, SocketAddr, Place) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(place) = places.admit(peer.ip()).await {
                    return (stream, peer, place);
                }
            }
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
    place: Place,
    service: Arc<impl Endpoint<Output = Response> + 'static>,
    mut stopping: watch::Receiver<()>,
) {
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let progress = place.progress();
    let noted = Arc::clone(progress);
    let answer = service_fn(move |request| {
        let (service, progress) = (Arc::clone(&service), Arc::clone(&noted));
        let local = LocalAddr(poem::Addr::SocketAddr(local));
        let remote = RemoteAddr(poem::Addr::SocketAddr(peer));
        let request = with_arrival(request, &progress);
        // Boxed, because hyper would copy the whole future.
        Box::pin(async move {
            let request = (request, local, remote, Scheme::HTTP).into();
            let response = service.get_response(request).await;
            Ok::<_, Infallible>(answering(response, progress))
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(progress))), answer);
    let first = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
        () = progress.left() => return,
        _ = stopping.changed() => None,
    };
    let ended = match first {
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            finished(poll_fn(|context| connection.poll_without_shutdown(context)), progress).await
        }
        ended => ended,
    };
    let Some(ended) = ended else { return };
    // An error is the client's: a head that cannot be read, which was answered, or a broken connection.
    if progress.is_unread() && !ended.is_err_and(|error| error.is_timeout()) {
        let stream = connection.into_parts().io.into_inner();
        tokio::select! {
            _ = timeout(DISCARD_WITHIN, discard(stream)) => {}
            () = progress.left() => {}
        }
    }
}

/// Waits until a connection of a server that stops has ended. A running request is answered, but half a head is not
/// waited for; then this returns `None`.
async fn finished<T>(mut run: impl Future<Output = T> + Unpin, progress: &Progress) -> Option<T> {
    loop {
        match timeout(PATIENCE, &mut run).await {
            Ok(ended) => return Some(ended),
            Err(_) if progress.is_in_flight() => {}
            Err(_) => return None,
        }
    }
}

/// Notes that the head of a request has arrived. If a body follows, its reader must note that it has arrived too.
fn with_arrival(
    mut request: hyper::Request<Incoming>,
    progress: &Arc<Progress>,
) -> hyper::Request<Incoming> {
    if request.body().is_end_stream() {
        progress.arrived();
    } else {
        progress.expects_body();
        request.extensions_mut().insert(Arrival(Arc::clone(progress)));
    }
    request
}

/// The answer, which notes when it has been passed on. If the request has not arrived, it is the last answer of the
/// connection.
fn answering(
    response: Response,
    progress: Arc<Progress>,
) -> hyper::Response<Answer<impl Body<Data = Bytes, Error = io::Error> + Unpin>> {
    let arrived = progress.answers();
    let mut response = hyper::Response::from(response).map(|body| Answer { body, progress });
    if !arrived {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Ends the server's side of a connection and discards what the client still sends. If the connection were closed
/// before the client has sent everything, its system could discard the answer.
async fn discard(mut stream: Watched) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut buffer = vec![0; 16 * 1024];
    let mut rest = MAX_DISCARDED;
    while let Ok(read) = stream.read(&mut buffer).await {
        match rest.checked_sub(read) {
            Some(left) if read > 0 => rest = left,
            _ => return,
        }
    }
}

/// In the extensions of a request whose body was not there when its head had arrived.
#[derive(Clone)]
pub(super) struct Arrival(Arc<Progress>);

impl Arrival {
    /// Notes that the body has arrived. Returns false if the connection is being closed; then the request must not be
    /// executed.
    pub(super) fn is_complete(&self) -> bool {
        self.0.arrived()
    }
}

/// The body of an answer, which notes its end.
struct Answer<B> {
    body: B,
    progress: Arc<Progress>,
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.progress.answered();
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that notes when bytes arrive and when the client takes some.
struct Watched {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    progress: Arc<Progress>,
}

impl Watched {
    fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_WITHIN));
        Self { stream: Box::pin(stream), progress }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.progress.sent();
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.stream.as_mut().poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress.received();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.as_mut().poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.as_mut().poll_write_vectored(context, parts);
        self.note(written)
    }
}
