//! The benchmark of the revocation feed: how late services refuse a token after its sign-out, and what waiting services
//! and many revocations cost.
//!
//! Run `cargo bench --bench feed -- logouts`, `-- waiters` or `-- entries`. `benches/README.md` explains the tables.

mod entries;
mod logouts;
mod programs;
mod waiters;

use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432";
const SECRET: &str = "5e7d0c2b9a81f64637c5d2e80b19fa4c6e3d7081b2f59ac44d0e8f716a2b3c95";
const EMAIL: &str = "first@user.com";
const PASSWORD: &str = "correct-horse-battery";

/// The time within which every service must refuse a token after its sign-out, or answer 503.
const BOUND: Duration = Duration::from_secs(1);

/// The number of requests in flight at once.
const AT_ONCE: usize = 16;

type Outcome<T> = Result<T, String>;

fn text(error: impl Display) -> String {
    error.to_string()
}

#[tokio::main]
async fn main() {
    // Cargo passes `--bench` too.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let what = arguments.next().unwrap_or_default();
    let mut number =
        |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let outcome = match what.as_str() {
        "logouts" => logouts::run(number(10_000), number(200)).await,
        "waiters" => waiters::run(number(10_000)).await,
        "entries" => entries::run(number(1_000_000)).await,
        _ => Err("say which: logouts [number] [services], waiters [number], or entries [number]"
            .to_owned()),
    };
    if let Err(error) = outcome {
        eprintln!("the benchmark failed: {error}");
        std::process::exit(1);
    }
}

/// A PostgreSQL database, which is dropped at the end.
struct Scene {
    name: String,
}

impl Scene {
    async fn begin() -> Outcome<Self> {
        let name = format!("tessera_feed_bench_{}", std::process::id());
        execute("postgres", &format!("CREATE DATABASE {name}")).await?;
        Ok(Self { name })
    }

    fn url(&self, parameters: &str) -> String {
        format!("{POSTGRES}/{}{parameters}", self.name)
    }

    async fn end(self) -> Outcome<()> {
        execute("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).await
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time below which this part of the times is, in milliseconds. The times are sorted.
fn quantile(times: &[Duration], part: f64) -> f64 {
    let place = times.len().saturating_sub(1) as f64 * part;
    times.get(place as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

async fn execute(database: &str, sql: &str) -> Outcome<()> {
    let options = ConnectOptions::new(format!("{POSTGRES}/{database}"));
    let connection = Database::connect(options).await.map_err(text)?;
    connection.execute_unprepared(sql).await.map_err(text)?;
    connection.close().await.map_err(text)
}

/// A running server.
struct Server {
    child: Child,
    address: String,
    took: Duration,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, database: &str, issuer: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
    command.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin");
    command.env("TESSERA_DEV", "true").env("BCRYPT_COST", "4").env("RATE_LIMIT", "off");
    command.env("APP_SECRET", SECRET).env("DATABASE_URL", database).env("PUBLIC_URL", issuer);
    command.env("FEED_WAITERS", "40000").env("RUST_LOG", "warn,tessera::serve=info");
    command
}

impl Server {
    fn start(folder: &Path, database: &str, issuer: &str) -> Outcome<Self> {
        let began = Instant::now();
        let mut command = command(folder, database, issuer);
        command.args(["serve", "--port=0"]).env("LOG_FORMAT", "json");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(text)?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { return Err(format!("no server: {said}")) };
            let object: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) =
                object["address"].as_str().filter(|_| object["message"] == "listening")
            {
                break address.to_owned();
            }
            said.push_str(&line);
        };
        // A full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address, took: began.elapsed() })
    }

    /// Its memory in MiB, and the CPU time that it used in seconds.
    fn cost(&self) -> Outcome<(f64, f64)> {
        cost(self.child.id())
    }
}

fn cost(process: u32) -> Outcome<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).map_err(text)?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 =
        resident.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or("no VmRSS")?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).map_err(text)?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 =
        [11, 12].iter().filter_map(|place| fields.get(*place)?.parse::<f64>().ok()).sum();
    Ok((kib / 1024.0, ticks / 100.0))
}

/// Spreads connections over servers, like a load balancer. Returns its URL before the servers are known.
async fn balancer() -> Outcome<(String, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(text)?;
    let url = format!("http://{}", listener.local_addr().map_err(text)?);
    let targets: Arc<Mutex<Vec<String>>> = Arc::default();
    let known = Arc::clone(&targets);
    tokio::spawn(async move {
        for turn in 0.. {
            let Ok((mut near, _)) = listener.accept().await else { return };
            let target = {
                let known = locked(&known);
                known.get(turn % known.len().max(1)).cloned()
            };
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(target.unwrap_or_default()).await else {
                    return;
                };
                let _ = near.set_nodelay(true);
                let _ = far.set_nodelay(true);
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    Ok((url, targets))
}

/// Makes an API token for the feed, of a service with this name.
fn feed_token(folder: &Path, database: &str, issuer: &str, service: &str) -> Outcome<String> {
    let mut command = command(folder, database, issuer);
    let arguments = [
        "token",
        "create",
        "--username",
        service,
        "--create-service",
        "--scope",
        "revocations:read",
    ];
    let made = command.args(arguments).output().map_err(text)?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    said.lines().next().map(ToOwned::to_owned).ok_or_else(|| "no token".to_owned())
}

async fn register(client: &reqwest::Client, address: &str) -> Outcome<()> {
    let body = serde_json::json!({ "email": EMAIL, "password": PASSWORD });
    let sent = client.post(format!("http://{address}/auth/register")).json(&body).send();
    sent.await.map_err(text)?.error_for_status().map_err(text).map(drop)
}

/// Signs a user in many times.
async fn sign_in(
    client: &reqwest::Client,
    servers: &[Server],
    count: usize,
) -> Outcome<Vec<String>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, next) = (client.clone(), Arc::clone(&next));
        let addresses: Vec<_> = servers.iter().map(|server| server.address.clone()).collect();
        workers.spawn(async move {
            let mut tokens = Vec::new();
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= count {
                    return Ok(tokens);
                }
                let url = format!("http://{}/auth/jwt/login", addresses[turn % addresses.len()]);
                let form = [("username", EMAIL), ("password", PASSWORD)];
                let answer = client.post(url).form(&form).send().await.map_err(text)?;
                let answer: Value = answer.json().await.map_err(text)?;
                tokens.push(answer["access_token"].as_str().ok_or("no token")?.to_owned());
            }
        });
    }
    let mut tokens = Vec::new();
    while let Some(worker) = workers.join_next().await {
        tokens.extend(worker.map_err(text)?.map_err(|error: String| error)?);
    }
    Ok(tokens)
}

/// The time since the epoch.
#[expect(clippy::disallowed_methods, reason = "the benchmark is a service, and has a clock")]
fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Runs a measurement in a database of its own.
async fn in_scene<T>(measure: impl AsyncFnOnce(&Scene) -> Outcome<T>) -> Outcome<T> {
    let scene = Scene::begin().await?;
    let outcome = measure(&scene).await;
    scene.end().await?;
    outcome
}
