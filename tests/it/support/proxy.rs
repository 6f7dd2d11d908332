//! A proxy to the database that can be interrupted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The state of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Connections break, and new ones are refused.
    Cut,
    /// Connections stay open, but no data passes.
    Silent,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    round_trips: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port and forwards connections to `target`.
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::Open));
        let states = Arc::clone(&state);
        let round_trips = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&round_trips);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let counter = Counter::of(Arc::clone(&counted));
                tokio::spawn(forward(near, target.clone(), states.subscribe(), counter));
            }
        });
        Self { address, state, round_trips }
    }

    /// The round trips to PostgreSQL so far: the messages that PostgreSQL answers when it is done with what came before.
    pub(crate) fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::SeqCst)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn forward(
    mut near: TcpStream,
    target: String,
    mut state: watch::Receiver<State>,
    mut counter: Counter,
) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
    loop {
        let now = *state.borrow_and_update();
        match now {
            State::Cut => return,
            State::Silent => {
                let _ = state.changed().await;
                // Data was lost meanwhile, so the connection ends.
                return;
            }
            State::Open => tokio::select! {
                _ = pump(&mut from_near, &mut to_far, &mut counter) => return,
                _ = copy(&mut from_far, &mut to_near) => return,
                _ = state.changed() => {}
            },
        }
    }
}

/// Copies what a client sends, and counts it.
async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    counter: &mut Counter,
) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => {
                counter.see(&buffer[..length]);
                to.write_all(&buffer[..length]).await?;
            }
        }
    }
}

/// Follows the messages of a client of PostgreSQL, and counts those that end a round trip: `Sync` and `Query`.
struct Counter {
    round_trips: Arc<AtomicU64>,
    has_started: bool,
    head: Vec<u8>,
    /// The bytes of the message that are still to come.
    rest: usize,
}

impl Counter {
    /// The protocol's version in the message that starts a session.
    const VERSION: [u8; 4] = [0, 3, 0, 0];

    fn of(round_trips: Arc<AtomicU64>) -> Self {
        Self { round_trips, has_started: false, head: Vec::new(), rest: 0 }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            // Before the session starts, a message is a length and a number; after that a letter and a length.
            let length_at = usize::from(self.has_started);
            let head_length = if self.has_started { 5 } else { 8 };
            if self.head.len() < head_length {
                continue;
            }
            let length = &self.head[length_at..length_at + 4];
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            self.rest = length + length_at - head_length;
            if self.has_started {
                let ends = [b'S', b'Q'].contains(&self.head[0]);
                self.round_trips.fetch_add(u64::from(ends), Ordering::SeqCst);
            } else {
                self.has_started = self.head[4..8] == Self::VERSION;
            }
            self.head.clear();
        }
    }
}
