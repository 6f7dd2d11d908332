//! A relay between services and a server, with the faults of proxies and networks: it loses whole events, passes them on
//! late, and answers requests for keys itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The answer to requests for the public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Keys {
    /// That of the server.
    #[default]
    Whole,
    /// A list without keys.
    Empty,
    /// Something else than a list.
    Garbled,
    /// An answer that takes longer than any service waits.
    Slow,
    /// None: the connection is closed.
    Away,
}

/// The faults, which a test can change at any time.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The number of events with records that get lost.
    pub(crate) lost: usize,
    /// The time by which events arrive late.
    pub(crate) late: Duration,
    pub(crate) keys: Keys,
    /// `true` if requests wait for a server that is not there, so that each service asks once.
    pub(crate) waits: bool,
    /// A path whose requests the relay answers itself, and the head of the answer.
    pub(crate) refused: Option<(&'static str, &'static str)>,
}

/// A relay. It knows the requests that it passed on.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<(String, Instant)>>,
    /// The paths and times of answers with `Retry-After`, and its value.
    put_off: Mutex<Vec<(String, Instant, Duration)>>,
}

impl Relay {
    /// Listens on a free port and forwards requests to `target`.
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, seen, put_off) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { target, faults, seen, put_off });
        let kept = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let shared = Arc::clone(&kept);
                // An error means that a side is gone, and then the connection is closed.
                tokio::spawn(async move { shared.serve(near).await.ok() });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap()
    }

    /// The times of the requests for a path.
    pub(crate) fn seen(&self, path: &str) -> Vec<Instant> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|(known, _)| known == path).map(|(_, when)| *when).collect()
    }

    /// The times of the answers to a path that asked to come again later, and after which time.
    pub(crate) fn put_off(&self, path: &str) -> Vec<(Instant, Duration)> {
        let put_off = self.shared.put_off.lock().unwrap();
        let of_path = put_off.iter().filter(|(known, ..)| known == path);
        of_path.map(|(_, when, wait)| (*when, *wait)).collect()
    }
}

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Shared {
    async fn serve(&self, mut near: TcpStream) -> Done {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            near.read_exact(&mut byte).await?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head)?;
        let target = head.split(' ').nth(1).ok_or("no path")?.to_owned();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        self.seen.lock().unwrap().push((path.clone(), Instant::now()));
        let refused = self.faults.lock().unwrap().refused;
        if let Some((_, head)) = refused.filter(|(refused, _)| *refused == path) {
            let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            return Ok(near.write_all(head.as_bytes()).await?);
        }
        let keys = self.faults.lock().unwrap().keys;
        match keys {
            _ if !path.ends_with("/jwks.json") => {}
            Keys::Whole => {}
            Keys::Empty => return answer(near, "{\"keys\":[]}").await,
            Keys::Garbled => return answer(near, "<html>maintenance</html>").await,
            Keys::Slow => {
                // The service gives up long before.
                tokio::time::sleep(Duration::from_secs(60)).await;
                return Ok(());
            }
            Keys::Away => return Ok(()),
        }
        let mut request = reqwest::Client::new().get(format!("http://{}{target}", self.target));
        for line in head.lines().skip(1) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if ["authorization", "accept-encoding", "if-none-match"]
                .contains(&&*name.to_lowercase())
            {
                request = request.header(name, value);
            }
        }
        loop {
            let again = request.try_clone().ok_or("the request has a body")?;
            match again.send().await {
                Ok(answer) => {
                    self.note_put_off(&path, &answer);
                    return self.pass_on(answer, near).await;
                }
                Err(error) if !self.faults.lock().unwrap().waits => return Err(error.into()),
                // The server starts meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn note_put_off(&self, path: &str, answer: &reqwest::Response) {
        let Some(seconds) = answer.headers().get("retry-after") else { return };
        let wait = Duration::from_secs(seconds.to_str().unwrap().parse().unwrap());
        self.put_off.lock().unwrap().push((path.to_owned(), Instant::now(), wait));
    }

    async fn pass_on(&self, mut answer: reqwest::Response, mut near: TcpStream) -> Done {
        let mut head = format!("HTTP/1.1 {}\r\nconnection: close\r\n", answer.status());
        for name in ["content-type", "content-encoding", "etag", "retry-after"] {
            if let Some(value) = answer.headers().get(name) {
                head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
            }
        }
        near.write_all(format!("{head}\r\n").as_bytes()).await?;
        let is_stream = head.contains("text/event-stream");
        let mut rest = Vec::new();
        while let Some(part) = answer.chunk().await? {
            if !is_stream {
                near.write_all(&part).await?;
                continue;
            }
            let arrived = tokio::time::Instant::now();
            rest.extend_from_slice(&part);
            while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = rest.drain(..end + 2).collect();
                let late = self.faults.lock().unwrap().late;
                // The delay is the fault.
                tokio::time::sleep_until(arrived + late).await;
                if !self.loses(&event) {
                    near.write_all(&event).await?;
                }
            }
        }
        Ok(())
    }

    /// Returns true if an event gets lost.
    fn loses(&self, event: &[u8]) -> bool {
        let event = String::from_utf8_lossy(event);
        let has_records = event.contains("\"records\":\"") && !event.contains("\"records\":\"\"");
        let mut faults = self.faults.lock().unwrap();
        let loses = has_records && faults.lost > 0;
        faults.lost -= usize::from(loses);
        loses
    }
}

async fn answer(mut near: TcpStream, body: &str) -> Done {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
    near.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).await?;
    Ok(())
}
