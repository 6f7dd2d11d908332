//! The cost of waiting services for a server, how late they learn of a revocation, and the sign-ins beside them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::{
    EMAIL, Outcome, PASSWORD, Scene, Server, feed_token, in_scene, locked, quantile, register,
    sign_in, text,
};

/// The time for which each row is measured.
const WINDOW: Duration = Duration::from_secs(20);

/// The number of sign-ins in flight at once.
const SIGN_INS: usize = 2;

/// The sign-outs in a second, which every waiting service learns of.
const SIGN_OUTS: u64 = 10;

/// The owners of the tokens, and the addresses of this machine from which services wait: a server gives one owner half of
/// its places, and one address three quarters.
const OWNERS: [&str; 4] = ["one", "two", "three", "four"];
const ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
    Ipv4Addr::new(127, 0, 0, 5),
];

/// The open files that this program needs beside the streams.
const OTHER_FILES: u64 = 200;

/// The revocations that are followed one after another until every service knows them, and the time for each.
const FOLLOWED: usize = 20;
const KNOWN_WITHIN: Duration = Duration::from_secs(60);

/// The progress of the waiting services.
struct Waiting {
    bytes: AtomicU64,
    ended: AtomicUsize,
    /// The last number that each service knows, and when it learned of it.
    known: Vec<Mutex<(u64, Instant)>>,
}

pub(crate) async fn run(count: usize) -> Outcome<()> {
    let needed = u64::try_from(count).map_err(text)? + OTHER_FILES;
    let files = rlimit::increase_nofile_limit(needed).map_err(text)?;
    if files < needed {
        return Err(format!(
            "{count} streams need {needed} open files, and the limit is {files}: raise it (ulimit -Hn)"
        ));
    }
    in_scene(async |scene| measure(scene, count).await).await
}

async fn measure(scene: &Scene, count: usize) -> Outcome<()> {
    let (folder, issuer) = (tempfile::tempdir().map_err(text)?, "http://localhost:8000");
    let database = scene.url("");
    let server = Server::start(folder.path(), &database, issuer)?;
    let client = reqwest::Client::new();
    register(&client, &server.address).await?;
    let mut tokens = Vec::new();
    for service in OWNERS {
        tokens.push(feed_token(folder.path(), &database, issuer, service)?);
    }
    let number = usize::try_from(2 * SIGN_OUTS * WINDOW.as_secs()).map_err(text)?;
    let sessions = sign_in(&client, std::slice::from_ref(&server), number + FOLLOWED).await?;
    let (windows, followed) = sessions.split_at(number);
    let (first, second) = windows.split_at(number / 2);
    let alone = sign_ins(&client, &server).await?;

    println!(
        "| waiting services | memory of the server | for each | CPU, of one core | received |"
    );
    println!("|---|--:|--:|--:|--:|");
    let nobody = Arc::new(Waiting::of(0));
    let before = row(&client, &server, &nobody, ("none", &[]), None).await?;
    let (waiting, mut readers) = wait(&server, &tokens, count).await?;
    let name = format!("{count}, nothing happens");
    row(&client, &server, &waiting, (&name, &[]), Some(before)).await?;
    let name = format!("{count}, {SIGN_OUTS} sign-outs a second");
    row(&client, &server, &waiting, (&name, first), Some(before)).await?;

    follow(&client, &server, &waiting, followed).await?;
    let beside = sign_ins(&client, &server).await?;
    let (busy, signed_out) =
        tokio::join!(sign_ins(&client, &server), sign_out(&client, &server, second));
    signed_out?;
    println!("\n| sign-ins, {SIGN_INS} at once | number | p50 | p99 |\n|---|--:|--:|--:|");
    for (name, mut times) in [
        ("no waiting services".to_owned(), alone),
        (format!("{count} waiting services"), beside),
        (format!("{count} waiting services, and {SIGN_OUTS} sign-outs a second"), busy?),
    ] {
        times.sort_unstable();
        let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
        println!("| {name} | {} | {p50:.1} ms | {p99:.1} ms |", times.len());
    }
    waiting.all_wait()?;
    readers.shutdown().await;
    Ok(())
}

/// Measures the server for a while, and prints a row. Returns its memory. `before` is that without waiting services.
async fn row(
    client: &reqwest::Client,
    server: &Server,
    waiting: &Waiting,
    (name, sessions): (&str, &[String]),
    before: Option<f64>,
) -> Outcome<f64> {
    let (began, received) = (server.cost()?.1, waiting.bytes.load(Ordering::Relaxed));
    let since = Instant::now();
    sign_out(client, server, sessions).await?;
    let (seconds, (memory, used)) = (since.elapsed().as_secs_f64(), server.cost()?);
    waiting.all_wait()?;
    let part = (used - began) / seconds * 100.0;
    let rate = (waiting.bytes.load(Ordering::Relaxed) - received) as f64 / seconds / 1e6;
    let each = before.map_or_else(
        || "–".to_owned(),
        |before| format!("{:.1} KiB", (memory - before) * 1024.0 / waiting.known.len() as f64),
    );
    println!("| {name} | {memory:.0} MiB | {each} | {part:.1} % | {rate:.1} MB/s |");
    Ok(memory)
}

impl Waiting {
    fn of(count: usize) -> Self {
        let known = (0..count).map(|_| Mutex::new((0, Instant::now()))).collect();
        Self { bytes: AtomicU64::new(0), ended: AtomicUsize::new(0), known }
    }

    /// Fails if a stream has ended.
    fn all_wait(&self) -> Outcome<()> {
        match self.ended.load(Ordering::Relaxed) {
            0 => Ok(()),
            ended => Err(format!("{ended} of {} streams have ended", self.known.len())),
        }
    }

    /// The number of services that know this revocation.
    fn that_know(&self, seq: u64) -> usize {
        self.known.iter().filter(|known| locked(known).0 >= seq).count()
    }
}

/// Opens streams, and reads them. Fails if the server has no place for all of them.
async fn wait(
    server: &Server,
    tokens: &[String],
    count: usize,
) -> Outcome<(Arc<Waiting>, JoinSet<()>)> {
    let (waiting, mut readers) = (Arc::new(Waiting::of(count)), JoinSet::new());
    let address: SocketAddr = server.address.parse().map_err(text)?;
    for turn in 0..count {
        let socket = TcpSocket::new_v4().map_err(text)?;
        socket.bind((ADDRESSES[turn % ADDRESSES.len()], 0).into()).map_err(text)?;
        let mut stream = socket.connect(address).await.map_err(text)?;
        // Each owner waits from each address.
        let token = &tokens[turn / ADDRESSES.len() % tokens.len()];
        let request = format!(
            "GET /auth/revocations/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(text)?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.map_err(text)?;
        if !head.ends_with(b"200") {
            return Err(format!(
                "only {turn} of {count} services can wait, and the next one got {}: a server lets three fifths of its \
                 connections wait, so raise its limit of open files (ulimit -Hn)",
                String::from_utf8_lossy(&head[9..])
            ));
        }
        readers.spawn(read(stream, turn, Arc::clone(&waiting)));
    }
    Ok((waiting, readers))
}

/// Reads a stream until it ends, and notes the last number that it told of.
async fn read(mut stream: TcpStream, turn: usize, waiting: Arc<Waiting>) {
    let (mut events, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let at = Instant::now();
        waiting.bytes.fetch_add(length as u64, Ordering::Relaxed);
        events.extend_from_slice(&buffer[..length]);
        let Some(seq) = last_seq(&mut events) else { continue };
        let mut known = locked(&waiting.known[turn]);
        if seq > known.0 {
            *known = (seq, at);
        }
    }
    waiting.ended.fetch_add(1, Ordering::Relaxed);
}

/// Takes the whole events away, and returns the number in the cursor of the last one.
fn last_seq(events: &mut Vec<u8>) -> Option<u64> {
    let end = events.windows(2).rposition(|pair| pair == b"\n\n")?;
    let whole: Vec<_> = events.drain(..end + 2).collect();
    let whole = String::from_utf8_lossy(&whole);
    let (_, cursor) = whole.rsplit_once("\"cursor\":\"")?;
    cursor.split('.').nth(1)?.parse().ok()
}

/// Signs sessions out, each after every service knows the one before, and prints how long the services took.
async fn follow(
    client: &reqwest::Client,
    server: &Server,
    waiting: &Waiting,
    sessions: &[String],
) -> Outcome<()> {
    let mut rounds = Vec::new();
    for token in sessions {
        sleep(Duration::from_millis(1000 / SIGN_OUTS)).await;
        let place = end(client, server, token).await?;
        let ended = Instant::now();
        let seq: u64 = place.split('.').nth(1).and_then(|seq| seq.parse().ok()).ok_or(place)?;
        while waiting.that_know(seq) < waiting.known.len() {
            if ended.elapsed() > KNOWN_WITHIN {
                let (know, all) = (waiting.that_know(seq), waiting.known.len());
                return Err(format!("only {know} of {all} services learned of a revocation"));
            }
            sleep(Duration::from_millis(5)).await;
        }
        let late = |known: &Mutex<(u64, Instant)>| locked(known).1.saturating_duration_since(ended);
        let mut late: Vec<_> = waiting.known.iter().map(late).collect();
        late.sort_unstable();
        rounds.push([0.5, 0.99, 1.0].map(|part| quantile(&late, part)));
    }
    waiting.all_wait()?;
    println!("\n| {} revocations in turn | half know it | 99 % | all |", rounds.len());
    println!("|---|--:|--:|--:|");
    for (name, part) in [("median", 0.5), ("slowest", 1.0)] {
        let cells = [0, 1, 2].map(|column| {
            let mut cells: Vec<_> = rounds.iter().map(|round| round[column]).collect();
            cells.sort_unstable_by(f64::total_cmp);
            cells[((cells.len() - 1) as f64 * part) as usize]
        });
        println!("| {name} | {:.0} ms | {:.0} ms | {:.0} ms |", cells[0], cells[1], cells[2]);
    }
    Ok(())
}

/// Signs a session out. Returns the place of the revocation.
async fn end(client: &reqwest::Client, server: &Server, token: &str) -> Outcome<String> {
    let url = format!("http://{}/auth/jwt/logout", server.address);
    let answer = client.post(url).bearer_auth(token).send().await.map_err(text)?;
    if answer.status() != 204 {
        return Err(format!("a sign-out was answered with {}", answer.status()));
    }
    let place = answer.headers().get("tessera-revocation-seq").ok_or("no place")?;
    place.to_str().map(ToOwned::to_owned).map_err(text)
}

/// Signs these sessions out, one after another, until the window has passed.
async fn sign_out(client: &reqwest::Client, server: &Server, sessions: &[String]) -> Outcome<()> {
    let (since, mut sessions) = (Instant::now(), sessions.iter());
    while since.elapsed() < WINDOW {
        if let Some(token) = sessions.next() {
            end(client, server, token).await?;
        }
        sleep(Duration::from_millis(1000 / SIGN_OUTS)).await;
    }
    Ok(())
}

/// Signs in, again and again, until the window has passed. Returns how long each sign-in took.
async fn sign_ins(client: &reqwest::Client, server: &Server) -> Outcome<Vec<Duration>> {
    let (since, mut workers) = (Instant::now(), JoinSet::new());
    for _ in 0..SIGN_INS {
        let (client, url) = (client.clone(), format!("http://{}/auth/jwt/login", server.address));
        workers.spawn(async move {
            let mut times = Vec::new();
            while since.elapsed() < WINDOW {
                let (began, form) = (Instant::now(), [("username", EMAIL), ("password", PASSWORD)]);
                let answer = client.post(&url).form(&form).send().await.map_err(text)?;
                answer.error_for_status().map_err(text)?.bytes().await.map_err(text)?;
                times.push(began.elapsed());
            }
            Ok::<_, String>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(worker) = workers.join_next().await {
        times.extend(worker.map_err(text)??);
    }
    Ok(times)
}
