//! The loop that accepts connections. The loop of the framework sets no deadline for the head of a request, runs in a
//! busy loop if file descriptors run out, and delays small answers by Nagle's algorithm.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::listener::{Accepted, Bound, Listener};
use super::places::{PATIENCE, Place, Places, Progress};
use super::stream::{Either, Socket, Watched, Wire, timed};
use super::tls::Tls;
use crate::base::config::TrustedProxy;

/// The time limit for the head of a request, for an idle connection, and for the handshake of TLS.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The maximum size of the head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The time limit for discarding the rest of a request that was refused before it had arrived (RFC 9112, section 9.6).
const DISCARD_WITHIN: Duration = Duration::from_secs(2);

/// The maximum size of the rest of a request that is discarded, in bytes.
const MAX_DISCARDED: usize = 4 * 1024 * 1024;

/// The time that the server waits for running requests when it stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

/// The first byte of a client that speaks TLS (RFC 8446, section 5.1: a handshake).
const HANDSHAKE: u8 = 22;

/// The answer to a client that does not speak TLS on a port that does.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 68\r\n\
    Connection: close\r\n\r\nThis port speaks TLS only: use a URL that begins with https:// here.";

/// Serves until `shutdown` resolves, and then finishes the running requests. Connections from `proxies` carry the
/// requests of many clients.
pub(crate) async fn serve(
    service: impl Endpoint<Output = Response> + 'static,
    bound: Bound,
    proxies: Vec<TrustedProxy>,
    shutdown: impl Future<Output = ()>,
) {
    let service = Arc::new(service);
    let (stop, stopping) = watch::channel(());
    let places = Places::new(bound.connections(), proxies);
    let mut loops = JoinSet::new();
    for listener in bound.listeners {
        let tls = matches!(listener, Listener::Tcp(_)).then(|| bound.tls.clone()).flatten();
        let (service, places) = (Arc::clone(&service), Arc::clone(&places));
        let stopping = stopping.clone();
        loops.spawn(async move {
            loop {
                let (accepted, place) = accept(&listener, &places).await;
                let (service, tls) = (Arc::clone(&service), tls.clone());
                tokio::spawn(connection(accepted, tls, place, service, stopping.clone()));
            }
        });
    }
    shutdown.await;
    // The listeners end with the loops.
    loops.shutdown().await;
    drop(stopping);
    let _ = stop.send(());
    if timeout(DRAIN_WITHIN, stop.closed()).await.is_err() {
        tracing::warn!("some requests were not finished when the server stopped");
    }
}

/// Accepts the next connection that gets a place. If file descriptors run out, this waits for a moment before it tries
/// again.
async fn accept(listener: &Listener, places: &Arc<Places>) -> (Accepted, Place) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if let Some(place) = places.admit(accepted.peer).await {
                    return (accepted, place);
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
    accepted: Accepted,
    tls: Option<Arc<Tls>>,
    place: Place,
    service: Arc<impl Endpoint<Output = Response> + 'static>,
    mut stopping: watch::Receiver<()>,
) {
    let Accepted { socket, local, remote, .. } = accepted;
    let progress = place.progress();
    let has_tls = tls.is_some();
    let Some(wire) = begin(socket, tls, progress, &mut stopping).await else { return };
    let noted = Arc::clone(progress);
    let answer = service_fn(move |request| {
        let (service, progress) = (Arc::clone(&service), Arc::clone(&noted));
        let (local, remote) = (LocalAddr(local.clone()), RemoteAddr(remote.clone()));
        let request = with_arrival(request, &progress);
        let scheme = if has_tls { Scheme::HTTPS } else { Scheme::HTTP };
        // Boxed, because hyper would copy the whole future.
        Box::pin(async move {
            let response = service.get_response((request, local, remote, scheme).into()).await;
            Ok::<_, Infallible>(answering(response, progress))
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Watched::new(wire, Arc::clone(progress))), answer);
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
    let is_unread = progress.is_unread() && !ended.is_err_and(|error| error.is_timeout());
    let stream = connection.into_parts().io.into_inner();
    tokio::select! {
        () = leave(stream, is_unread, has_tls) => {}
        () = progress.left() => {}
    }
}

/// Ends the server's side of a connection after its last answer.
async fn leave(mut stream: Watched, is_unread: bool, has_tls: bool) {
    if is_unread {
        let _ = timeout(DISCARD_WITHIN, discard(stream)).await;
    } else if has_tls {
        // The client must be able to tell the end from an attack that cuts the connection (RFC 8446, section 6.1).
        let _ = timeout(DISCARD_WITHIN, stream.shutdown()).await;
    }
}

/// Makes a connection ready for requests. Returns `None` if the handshake of TLS fails or takes too long, or if the
/// connection must leave its place.
async fn begin(
    socket: Socket,
    tls: Option<Arc<Tls>>,
    progress: &Arc<Progress>,
    stopping: &mut watch::Receiver<()>,
) -> Option<Wire> {
    let Some(tls) = tls else { return Some(Either::Left(timed(socket))) };
    progress.received();
    // Boxed, so that connections do not need the memory for it after the handshake.
    let greeted = Box::pin(timeout(HEAD_WITHIN, greet(socket, &tls, progress)));
    let wire = tokio::select! {
        greeted = greeted => greeted.ok()??,
        () = progress.left() => return None,
        _ = stopping.changed() => return None,
    };
    progress.greeted();
    Some(wire)
}

/// Does the handshake of TLS. Returns `None` if it fails, and tells a client that does not speak TLS so.
async fn greet(socket: Socket, tls: &Tls, progress: &Arc<Progress>) -> Option<Wire> {
    let mut first = [0];
    if let Either::Left(stream) = &socket
        && stream.peek(&mut first).await.ok()? == 0
    {
        return None;
    }
    if first[0] != HANDSHAKE {
        let mut stream = timed(socket);
        stream.write_all(NOT_TLS).await.ok()?;
        let watched = Watched::new(Either::Left(stream), Arc::clone(progress));
        let _ = timeout(DISCARD_WITHIN, discard(watched)).await;
        return None;
    }
    match tls.acceptor().accept(timed(socket)).await {
        Ok(stream) => Some(Either::Right(Box::new(stream))),
        Err(error) => {
            tracing::debug!(error.cause = %error, "a handshake of TLS failed");
            None
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

/// Notes that the head of a request has arrived, and gives the request its connection. If a body follows, its reader must note that it has arrived too.
fn with_arrival(
    mut request: hyper::Request<Incoming>,
    progress: &Arc<Progress>,
) -> hyper::Request<Incoming> {
    request.extensions_mut().insert(Line(Arc::clone(progress)));
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

/// In the extensions of every request: its connection, which an endless answer can close.
#[derive(Clone)]
pub(crate) struct Line(Arc<Progress>);

impl Line {
    /// Closes the connection, because its client takes nothing of an answer.
    pub(crate) fn hang_up(&self) {
        self.0.hang_up();
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
