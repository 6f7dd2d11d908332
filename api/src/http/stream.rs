//! The bytes of a connection: through TCP or a Unix socket, and with TLS or without.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;

use super::places::Progress;

/// The time limit for a pause in which the client reads nothing of an answer.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// The size of a head and a body that are copied to be written at once, in bytes.
const SHORT: usize = 2 * 1024;

/// One of two streams.
pub(super) enum Either<A, B> {
    Left(A),
    Right(B),
}

/// A connection of the operating system.
pub(super) type Socket = Either<TcpStream, UnixStream>;

/// A connection that ends if the client takes nothing for too long.
pub(super) type Timed = Pin<Box<TimeoutStream<Socket>>>;

/// A connection without TLS or with it.
pub(super) type Wire = Either<Timed, Box<TlsStream<Timed>>>;

/// Gives a connection its time limit.
pub(super) fn timed(socket: Socket) -> Timed {
    let mut stream = TimeoutStream::new(socket);
    stream.set_write_timeout(Some(WRITE_WITHIN));
    Box::pin(stream)
}

macro_rules! each {
    ($this:expr, $stream:ident => $call:expr) => {
        match $this {
            Either::Left($stream) => $call,
            Either::Right($stream) => $call,
        }
    };
}

impl<A: AsyncRead + Unpin, B: AsyncRead + Unpin> AsyncRead for Either<A, B> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl<A: AsyncWrite + Unpin, B: AsyncWrite + Unpin> AsyncWrite for Either<A, B> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, parts))
    }
}

/// A connection that notes when bytes of a request arrive and when the client takes some of an answer.
pub(super) struct Watched {
    stream: Wire,
    progress: Arc<Progress>,
}

impl Watched {
    pub(super) fn new(stream: Wire, progress: Arc<Progress>) -> Self {
        Self { stream, progress }
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
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // The kernel takes one text sooner than a list of two.
        let written = if length <= SHORT {
            let mut text = [0; SHORT];
            let mut end = 0;
            for part in parts {
                text[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            Pin::new(&mut self.stream).poll_write(context, &text[..end])
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(context, parts)
        };
        self.note(written)
    }
}
