//! The cost of waiting services for a server, and for the sign-ins beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::{
    EMAIL, Outcome, PASSWORD, Scene, Server, feed_token, in_scene, quantile, register, sign_in,
    text,
};

/// The time for which each row is measured.
const WINDOW: Duration = Duration::from_secs(20);

/// The number of sign-ins in flight at once.
const SIGN_INS: usize = 2;

/// The sign-outs in a second, which every waiting service learns of.
const SIGN_OUTS: u64 = 10;

pub(crate) async fn run(count: usize) -> Outcome<()> {
    rlimit::increase_nofile_limit(u64::MAX).map_err(text)?;
    in_scene(async |scene| measure(scene, count).await).await
}

async fn measure(scene: &Scene, count: usize) -> Outcome<()> {
    let (folder, issuer) = (tempfile::tempdir().map_err(text)?, "http://localhost:8000");
    let database = scene.url("");
    let server = Server::start(folder.path(), &database, issuer)?;
    let client = reqwest::Client::new();
    register(&client, &server.address).await?;
    let mut tokens = Vec::new();
    for service in ["one", "two", "three", "four"] {
        tokens.push(feed_token(folder.path(), &database, issuer, service)?);
    }
    let alone = sign_ins(&client, &server).await?;
    let (before, _) = server.cost()?;
    let bytes = Arc::new(AtomicUsize::new(0));
    let mut readers = wait(&server, &tokens, count, &bytes).await?;
    let number = usize::try_from(2 * SIGN_OUTS * WINDOW.as_secs()).map_err(text)?;
    let sessions = sign_in(&client, std::slice::from_ref(&server), number).await?;
    println!(
        "| {count} waiting services | memory of the server | for each | CPU, of one core | received |"
    );
    println!("|---|---|---|---|---|");
    let (first, second) = sessions.split_at(number / 2);
    for (name, sessions) in [("nothing happens", &[][..]), ("10 sign-outs a second", first)] {
        let (began, received) = (server.cost()?.1, bytes.load(Ordering::Relaxed));
        let since = Instant::now();
        sign_out(&client, &server, sessions).await?;
        let (memory, used) = server.cost()?;
        let part = (used - began) / since.elapsed().as_secs_f64() * 100.0;
        let rate =
            (bytes.load(Ordering::Relaxed) - received) as f64 / since.elapsed().as_secs_f64() / 1e6;
        let each = (memory - before) * 1024.0 / count as f64;
        println!("| {name} | {memory:.0} MiB | {each:.1} KiB | {part:.0} % | {rate:.1} MB/s |");
    }
    let beside = sign_ins(&client, &server).await?;
    let (busy, signed_out) =
        tokio::join!(sign_ins(&client, &server), sign_out(&client, &server, second));
    signed_out?;
    println!("\n| sign-ins, {SIGN_INS} at once | number | p50 | p99 |\n|---|--:|--:|--:|");
    for (name, mut times) in [
        ("no waiting services".to_owned(), alone),
        (format!("{count} waiting services"), beside),
        (format!("{count} waiting services, and 10 sign-outs a second"), busy?),
    ] {
        times.sort_unstable();
        let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
        println!("| {name} | {} | {p50:.1} ms | {p99:.1} ms |", times.len());
    }
    readers.shutdown().await;
    Ok(())
}

/// Opens streams, and counts the bytes that they receive.
async fn wait(
    server: &Server,
    tokens: &[String],
    count: usize,
    bytes: &Arc<AtomicUsize>,
) -> Outcome<JoinSet<()>> {
    let mut readers = JoinSet::new();
    for turn in 0..count {
        let mut stream = TcpStream::connect(&server.address).await.map_err(text)?;
        let token = &tokens[turn % tokens.len()];
        let request = format!(
            "GET /auth/revocations/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(text)?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.map_err(text)?;
        if !head.ends_with(b"200") {
            return Err(format!("waiter {turn} was refused: raise the limit of open files"));
        }
        let bytes = Arc::clone(bytes);
        readers.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                bytes.fetch_add(length, Ordering::Relaxed);
            }
        });
    }
    Ok(readers)
}

/// Signs these sessions out, one after another, until the window has passed.
async fn sign_out(client: &reqwest::Client, server: &Server, sessions: &[String]) -> Outcome<()> {
    let (since, mut sessions) = (Instant::now(), sessions.iter());
    while since.elapsed() < WINDOW {
        if let Some(token) = sessions.next() {
            let url = format!("http://{}/auth/jwt/logout", server.address);
            client.post(url).bearer_auth(token).send().await.map_err(text)?;
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
