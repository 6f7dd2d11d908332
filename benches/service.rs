//! The benchmark of Tessera's speed, compared with a minimal service on the same framework and with the bare password
//! hash.
//!
//! Run `cargo bench --bench service`. `benches/README.md` explains the tables.

use std::fmt::{Display, Write as _};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use poem::listener::{Acceptor, Listener};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;

/// The number of requests in flight at once, each on its own connection.
const CONNECTIONS: usize = 16;

/// The number of rounds. Every server is measured once in each round, so noise affects all of them in the same way.
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(350);
const WINDOW: Duration = Duration::from_millis(1400);

const BCRYPT_COST: u32 = 12;
const BCRYPT_WINDOW: Duration = Duration::from_millis(1200);
const LOGIN_WINDOW: Duration = Duration::from_millis(1500);

/// The number of sign-ins in flight at once in the flood.
const FLOOD: usize = 128;
const PROBE_WINDOW: Duration = Duration::from_secs(4);
/// The time between two requests of the probe. Both servers can answer many more requests.
const PROBE_EVERY: Duration = Duration::from_millis(1);

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432";
const QUIET: &str = "warn,tessera::serve=info";
const BARE: &str = "serve-bare-poem";
const SECRET: &str = "5e7d0c2b9a81f64637c5d2e80b19fa4c6e3d7081b2f59ac44d0e8f716a2b3c95";
const EMAIL: &str = "first@user.com";
const PASSWORD: &str = "correct-horse-battery";

const ME: &str = "/users/me";
const LOGIN: &str = "/auth/jwt/login";
const REFRESH: &str = "/auth/jwt/refresh";

type Outcome<T> = Result<T, String>;
type Call = Request<Full<Bytes>>;
type Sender = SendRequest<Full<Bytes>>;
type Targets = [(SocketAddr, Call); 2];

fn main() {
    let runtime = Runtime::new().expect("tokio starts");
    if std::env::args().nth(1).is_some_and(|argument| argument == BARE) {
        return runtime.block_on(serve_bare_poem());
    }
    let administrator = runtime.block_on(postgres());
    // The name contains the id of the process, so that two runs at the same time use different databases.
    let database = format!("tessera_bench_{}", std::process::id());
    let outcome = run(&runtime, administrator.as_ref(), &database);
    let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
    if let Some(administrator) = administrator
        && let Err(error) = runtime.block_on(administrator.execute_unprepared(&drop))
    {
        eprintln!("the database {database} could not be dropped: {error}");
    }
    if let Err(error) = outcome {
        eprintln!("the benchmark failed: {error}");
        std::process::exit(1);
    }
}

fn run(
    runtime: &Runtime,
    administrator: Option<&DatabaseConnection>,
    database: &str,
) -> Outcome<()> {
    let began = Instant::now();
    println!("{}\n", machine());
    // The folder is in the build folder. The folder for temporary files may be in memory, but commits to a disk are
    // measured.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(text)?;
    let folder = folder.path();
    let file = |name| format!("sqlite:///{}/{name}.db", folder.display());
    let bare = start(folder, Command::new(std::env::current_exe().map_err(text)?).arg(BARE))?;
    let sqlite = start_tessera(folder, &file("quiet"), QUIET)?;
    let logging = start_tessera(folder, &file("logging"), "info")?;
    let mut tesseras = vec![("SQLite", &sqlite), ("SQLite, request logs on", &logging)];
    let postgres;
    if let Some(administrator) = administrator {
        let create = format!("CREATE DATABASE {database}");
        runtime.block_on(administrator.execute_unprepared(&create)).map_err(text)?;
        postgres = start_tessera(folder, &format!("{POSTGRES}/{database}"), QUIET)?;
        tesseras.push(("PostgreSQL", &postgres));
    } else {
        println!("PostgreSQL does not answer at {POSTGRES}: ITS ROWS ARE MISSING.\n");
    }

    eprintln!("signing in");
    let hello = request(Method::GET, "/", None);
    let mut rows = vec![row("bare poem endpoint", &bare, vec![hello.clone(); CONNECTIONS])];
    let mut refreshes = Vec::new();
    for (kind, server) in tesseras {
        let sessions = runtime.block_on(sign_in(server.address))?;
        let calls = sessions.iter().map(me).collect::<Outcome<_>>()?;
        rows.push(row(format!("`GET {ME}`, {kind}"), server, calls));
        if !kind.contains("logs") {
            let calls = sessions.iter().map(refresh).collect::<Outcome<_>>()?;
            refreshes.push(row(format!("`POST {REFRESH}`, {kind}"), server, calls));
        }
    }
    rows.append(&mut refreshes);
    let me = rows[1].calls[0].clone();
    for round in 1..=ROUNDS {
        eprintln!("requests, round {round} of {ROUNDS}");
        for row in &mut rows {
            measure(runtime, row, WARM_UP, WINDOW, OVER)?;
        }
    }
    println!("{}", table("bare poem", &rows));

    eprintln!("sign-ins");
    // The number for each core is the same on all machines, and less than the queue of the hashing threads holds.
    let parallel = CONNECTIONS / 2 * cores();
    let name = format!("`POST {LOGIN}`, SQLite, {parallel} at once");
    let mut hashes = row(format!("bare bcrypt, {} at once", cores()), &sqlite, Vec::new());
    let mut logins = row(name, &sqlite, vec![login(); parallel]);
    for _ in 0..ROUNDS {
        hashes.samples.push(bare_bcrypt()?);
        measure(runtime, &mut logins, Duration::ZERO, LOGIN_WINDOW, DRAINING)?;
    }
    println!("{}", table("bare bcrypt", &[hashes, logins]));

    eprintln!("requests in a flood of sign-ins");
    let targets = [(bare.address, hello), (sqlite.address, me)];
    println!("{}", floods(runtime, sqlite.address, &targets)?);
    eprintln!("took {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// A row of a table.
struct Row {
    name: String,
    address: SocketAddr,
    pid: u32,
    /// The requests, one for each connection.
    calls: Vec<Call>,
    samples: Vec<Sample>,
}

fn row(name: impl Into<String>, server: &Server, calls: Vec<Call>) -> Row {
    let (address, pid) = (server.address, server.child.id());
    Row { name: name.into(), address, pid, calls, samples: Vec::new() }
}

/// The requests a second, the server's CPU time for 1,000 of them in milliseconds, and p50 and p99 in milliseconds.
type Sample = [f64; 4];

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
/// The end of a window whose last requests, those in flight, are counted. Sign-ins are few, so none is left out.
const DRAINING: u8 = 2;
/// The end of a window whose last requests, those in flight, are not counted.
const OVER: u8 = 3;

/// Sends requests on all connections, and counts the answers within the window.
fn measure(
    runtime: &Runtime,
    row: &mut Row,
    warm_up: Duration,
    window: Duration,
    end: u8,
) -> Outcome<()> {
    let fault = |error: String| format!("{}: {error}", row.name);
    let phase = Arc::new(AtomicU8::new(WARMING));
    let begin = |call| runtime.spawn(keep_calling(row.address, call, Arc::clone(&phase)));
    let tasks: Vec<_> = row.calls.drain(..).map(begin).collect();
    // This thread does nothing else, so each phase begins at the time that is taken for it.
    thread::sleep(warm_up);
    let (began, cpu_before) = (Instant::now(), cpu_seconds(row.pid)?);
    phase.store(COUNTING, Relaxed);
    thread::sleep(window);
    phase.store(end, Relaxed);
    let (mut elapsed, mut cpu) = (began.elapsed(), cpu_seconds(row.pid)?);

    let mut latencies = Vec::new();
    for task in tasks {
        let (call, counted) = joined(runtime, task).map_err(fault)?;
        row.calls.push(call);
        latencies.extend(counted);
    }
    if end == DRAINING {
        (elapsed, cpu) = (began.elapsed(), cpu_seconds(row.pid)?);
    }
    row.samples.push(sample(latencies, elapsed, cpu - cpu_before).map_err(fault)?);
    Ok(())
}

/// Sends a request again and again, until the window ends. Returns the last request, because it contains the refresh
/// token that was not exchanged yet.
async fn keep_calling(
    address: SocketAddr,
    mut call: Call,
    phase: Arc<AtomicU8>,
) -> Outcome<(Call, Vec<Duration>)> {
    let rotates = call.uri().path() == REFRESH;
    on_connection(address, |mut connection| async move {
        let mut latencies = Vec::new();
        while phase.load(Relaxed) < DRAINING {
            let began = Instant::now();
            let body = expect(StatusCode::OK, send(&mut connection, &call).await?)?;
            if matches!(phase.load(Relaxed), COUNTING | DRAINING) {
                latencies.push(began.elapsed());
            }
            if rotates {
                call = refresh(&serde_json::from_slice(&body).map_err(text)?)?;
            }
        }
        Ok((call, latencies))
    })
    .await
}

/// Measures the hash alone, on every core.
fn bare_bcrypt() -> Outcome<Sample> {
    let (began, cpu_before) = (Instant::now(), cpu_seconds(std::process::id())?);
    let hash = move || {
        let mut latencies = Vec::new();
        while began.elapsed() < BCRYPT_WINDOW {
            let began = Instant::now();
            bcrypt::hash_with_salt(PASSWORD, BCRYPT_COST, [7; 16]).expect("the cost is in range");
            latencies.push(began.elapsed());
        }
        latencies
    };
    let threads: Vec<_> = (0..cores()).map(|_| thread::spawn(hash)).collect();
    let join = |thread: thread::JoinHandle<_>| thread.join().expect("it hashes");
    let latencies = threads.into_iter().flat_map(join).collect();
    let cpu = cpu_seconds(std::process::id())? - cpu_before;
    sample(latencies, began.elapsed(), cpu)
}

/// Measures cheap requests without sign-ins and during a flood of sign-ins.
fn floods(runtime: &Runtime, address: SocketAddr, targets: &Targets) -> Outcome<String> {
    let mut lines = format!(
        "| load | sign-ins/s: answered | refused | `{ME}`, ms: p50 | p99 | bare poem, ms: p50 | \
         p99 | p99: x quiet | x bare poem |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    let mut quiet = None;
    for (name, parallel, pause) in [
        ("no sign-ins", 0, None),
        ("flood, refused clients wait", FLOOD, Some(Duration::from_secs(2))),
        ("flood, refused clients retry at once", FLOOD, None),
    ] {
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counted = || [counts[0].load(Relaxed), counts[1].load(Relaxed)];
        let begin = |_| runtime.spawn(keep_signing_in(address, pause, Arc::clone(&counts)));
        let flood: Vec<_> = (0..parallel).map(begin).collect();
        // Until every hashing thread is busy and their queue is full.
        thread::sleep(Duration::from_secs(1));
        let (began, before) = (Instant::now(), counted());
        let [(bare_p50, bare_p99), (p50, p99)] = probe(runtime, targets)?;
        let (seconds, after) = (began.elapsed().as_secs_f64(), counted());
        for task in flood {
            if task.is_finished() {
                joined(runtime, task)?;
            } else {
                task.abort();
            }
        }
        let [answered, refused] = [0, 1].map(|kind| (after[kind] - before[kind]) as f64 / seconds);
        let (of_quiet, of_bare) = (p99 / *quiet.get_or_insert(p99), p99 / bare_p99);
        let _ = writeln!(
            lines,
            "| {name} | {answered:.1} | {refused:.0} | {p50:.2} | {p99:.2} | {bare_p50:.2} | \
             {bare_p99:.2} | {of_quiet:.1} | {of_bare:.2} |"
        );
    }
    Ok(lines)
}

/// Signs in again and again, and counts the answers and the refusals because the server is busy.
async fn keep_signing_in(
    address: SocketAddr,
    pause: Option<Duration>,
    counts: Arc<[AtomicU64; 2]>,
) -> Outcome<()> {
    on_connection(address, |mut connection| async move {
        loop {
            let (status, body) = send(&mut connection, &login()).await?;
            let busy = status == StatusCode::SERVICE_UNAVAILABLE
                && String::from_utf8_lossy(&body).contains("SERVICE_BUSY");
            if !busy {
                expect(StatusCode::OK, (status, body))?;
            }
            counts[usize::from(busy)].fetch_add(1, Relaxed);
            if let (true, Some(pause)) = (busy, pause) {
                tokio::time::sleep(pause).await;
            }
        }
    })
    .await
}

/// Sends requests to the targets in turn, at a constant rate. Returns p50 and p99 of each target in milliseconds.
///
/// The latency of a request counts from the time when it was due, so it includes the wait for earlier requests.
fn probe(runtime: &Runtime, targets: &Targets) -> Outcome<[(f64, f64); 2]> {
    let mut queues = Vec::new();
    let mut tasks = [Vec::new(), Vec::new()];
    for turn in 0..2 * CONNECTIONS {
        let (address, call) = targets[turn % 2].clone();
        let (queue, mut dues) = unbounded_channel::<Instant>();
        queues.push(queue);
        let calling = on_connection(address, |mut connection| async move {
            let mut latencies = Vec::new();
            while let Some(due) = dues.recv().await {
                expect(StatusCode::OK, send(&mut connection, &call).await?)?;
                latencies.push(due.elapsed());
            }
            Ok(latencies)
        });
        tasks[turn % 2].push(runtime.spawn(calling));
    }
    let mut due = Instant::now();
    let end = due + PROBE_WINDOW;
    for queue in queues.iter().cycle() {
        due += PROBE_EVERY;
        if due > end {
            break;
        }
        // The timer of tokio has a resolution of only a millisecond.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // If a task has ended, its error is returned below.
        let _ = queue.send(due);
    }
    drop(queues);
    let figures = |tasks: Vec<JoinHandle<_>>| {
        let answers = tasks.into_iter().map(|task| joined(runtime, task));
        let mut latencies = answers.collect::<Outcome<Vec<Vec<_>>>>()?.concat();
        latencies.sort_unstable();
        Ok::<_, String>((quantile(&latencies, 0.5), quantile(&latencies, 0.99)))
    };
    let [first, second] = tasks;
    Ok([figures(first)?, figures(second)?])
}

/// A server in its own process, which ends when this value is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_tessera(folder: &Path, database: &str, log: &str) -> Outcome<Server> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
    command.args(["serve", "--port", "0"]).env_clear();
    command.env("APP_SECRET", SECRET).env("DATABASE_URL", database);
    command.env("BCRYPT_COST", BCRYPT_COST.to_string());
    command.env("LOG_FORMAT", "json").env("RUST_LOG", log).env("RATE_LIMIT", "off");
    start(folder, &mut command)
}

/// Starts a server in a folder without `.env`, and waits until it logs its address.
fn start(folder: &Path, command: &mut Command) -> Outcome<Server> {
    let command = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(text)?;
    let stderr = child.stderr.take().ok_or("a server has no standard error")?;
    let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(find_address(stderr)));
    let found = receiver.recv_timeout(Duration::from_secs(20));
    server.address = found.map_err(|_| "a server did not start within 20 s")??;
    Ok(server)
}

/// Reads the log up to the line with the address. A thread reads the rest, because a full pipe would stop the server.
fn find_address(stderr: ChildStderr) -> Outcome<SocketAddr> {
    let mut lines = BufReader::with_capacity(64 * 1024, stderr);
    let mut seen = String::new();
    let mut from = 0;
    while lines.read_line(&mut seen).map_err(text)? > 0 {
        let line: Value = serde_json::from_str(&seen[from..]).unwrap_or_default();
        if line["message"] == "listening" {
            thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
            return line["address"].as_str().unwrap_or_default().parse().map_err(text);
        }
        from = seen.len();
    }
    Err(format!("a server did not start: {seen}"))
}

/// Runs a minimal service on the framework: its own loop, one handler, one small answer.
async fn serve_bare_poem() {
    #[poem::handler]
    fn hello() -> poem::web::Json<Value> {
        poem::web::Json(json!({ "email": EMAIL, "is_active": true }))
    }

    let listener = poem::listener::TcpListener::bind("127.0.0.1:0");
    let acceptor = listener.into_acceptor().await.expect("a port is free");
    let address = acceptor.local_addr()[0].as_socket_addr().map(ToString::to_string);
    eprintln!("{}", json!({ "message": "listening", "address": address }));
    let routes = poem::Route::new().at("/", poem::get(hello));
    poem::Server::new_with_acceptor(acceptor).run(routes).await.expect("it serves");
}

/// Connects to PostgreSQL as an administrator, if it answers.
async fn postgres() -> Option<DatabaseConnection> {
    let mut options = ConnectOptions::new(format!("{POSTGRES}/postgres"));
    options.max_connections(1).sqlx_logging(false);
    options.connect_timeout(Duration::from_secs(2)).acquire_timeout(Duration::from_secs(2));
    sea_orm::Database::connect(options).await.ok()
}

/// Does `work` on a new connection. One task drives the work and the connection, because passing answers between tasks
/// would cost more than the answers themselves.
async fn on_connection<T, F: Future<Output = Outcome<T>>>(
    address: SocketAddr,
    work: impl FnOnce(Sender) -> F,
) -> Outcome<T> {
    let stream = TcpStream::connect(address).await.map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    tokio::select! {
        outcome = work(sender) => outcome,
        ended = connection => Err(format!("the server closed a connection: {ended:?}")),
    }
}

async fn send(connection: &mut Sender, call: &Call) -> Outcome<(StatusCode, Bytes)> {
    connection.ready().await.map_err(text)?;
    let response = connection.send_request(call.clone()).await.map_err(text)?;
    let status = response.status();
    Ok((status, response.into_body().collect().await.map_err(text)?.to_bytes()))
}

fn expect(expected: StatusCode, (status, body): (StatusCode, Bytes)) -> Outcome<Bytes> {
    if status == expected {
        return Ok(body);
    }
    Err(format!("the answer is {status} instead of {expected}: {}", String::from_utf8_lossy(&body)))
}

fn request(method: Method, path: &str, body: Option<(&str, String)>) -> Call {
    let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
    match body {
        Some((kind, body)) => request.header(CONTENT_TYPE, kind).body(body.into()),
        None => request.body(Full::default()),
    }
    .expect("the request is well-formed")
}

fn login() -> Call {
    let form = format!("username={EMAIL}&password={PASSWORD}").replace('@', "%40");
    request(Method::POST, LOGIN, Some(("application/x-www-form-urlencoded", form)))
}

fn me(session: &Value) -> Outcome<Call> {
    with_bearer(request(Method::GET, ME, None), &session["access_token"])
}

fn refresh(session: &Value) -> Outcome<Call> {
    with_bearer(request(Method::POST, REFRESH, None), &session["refresh_token"])
}

fn with_bearer(mut request: Call, token: &Value) -> Outcome<Call> {
    let token = token.as_str().ok_or("an answer has no token")?;
    let header = format!("Bearer {token}").try_into().map_err(text)?;
    request.headers_mut().insert(AUTHORIZATION, header);
    Ok(request)
}

/// Registers a user, and signs in once for each connection.
async fn sign_in(address: SocketAddr) -> Outcome<Vec<Value>> {
    let once = |expected, call| {
        on_connection(address, move |mut connection| async move {
            let body = expect(expected, send(&mut connection, &call).await?)?;
            serde_json::from_slice(&body).map_err(text)
        })
    };
    let user = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
    let register = request(Method::POST, "/auth/register", Some(("application/json", user)));
    let _: Value = once(StatusCode::CREATED, register).await?;
    let begin = |_| tokio::spawn(once(StatusCode::OK, login()));
    let mut sessions = Vec::new();
    for task in (0..CONNECTIONS).map(begin).collect::<Vec<JoinHandle<Outcome<_>>>>() {
        sessions.push(task.await.map_err(text)??);
    }
    Ok(sessions)
}

fn joined<T>(runtime: &Runtime, task: JoinHandle<Outcome<T>>) -> Outcome<T> {
    runtime.block_on(task).map_err(text)?
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Returns the CPU time of a process in seconds. Linux always reports it in hundredths of a second.
fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|error| format!("the CPU time of a process cannot be read: {error}"))?;
    // The fields are read after the name of the program, which can contain spaces.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok());
    let (user, system) = ticks(12).zip(ticks(13)).ok_or("/proc has an unknown format")?;
    Ok((user + system) / 100.0)
}

fn sample(mut latencies: Vec<Duration>, elapsed: Duration, cpu: f64) -> Outcome<Sample> {
    if latencies.is_empty() {
        return Err("there was no answer in time".to_owned());
    }
    latencies.sort_unstable();
    let (p50, p99) = (quantile(&latencies, 0.5), quantile(&latencies, 0.99));
    let answered = latencies.len() as f64;
    Ok([answered / elapsed.as_secs_f64(), cpu * 1e6 / answered, p50, p99])
}

/// Returns a quantile in milliseconds.
fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let place = sorted.len().saturating_sub(1) as f64 * part;
    sorted.get(place.round() as usize).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

/// Writes the rows as a table, with each row compared with the first.
fn table(of: &str, rows: &[Row]) -> String {
    let head = format!("| | requests/s | x {of} | CPU ms/1,000 | x {of} | p50 ms | p99 ms |");
    let mut lines = head + "\n|---|--:|--:|--:|--:|--:|--:|\n";
    let base = median(&rows[0].samples);
    for row in rows {
        let [rate, cpu, p50, p99] = median(&row.samples);
        let [of_rate, of_cpu] = [rate / base[0], cpu / base[1]];
        let digits = if rate < 100.0 { 2 } else { 0 };
        let _ = writeln!(
            lines,
            "| {} | {rate:.digits$} | {of_rate:.3} | {cpu:.1} | {of_cpu:.2} | {p50:.2} | {p99:.2} |",
            row.name
        );
    }
    lines
}

/// Returns the median of each figure.
fn median(samples: &[Sample]) -> Sample {
    [0, 1, 2, 3].map(|which| {
        let mut figures: Vec<_> = samples.iter().map(|sample| sample[which]).collect();
        figures.sort_by(f64::total_cmp);
        f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2])
    })
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let information = read("/proc/cpuinfo");
    let model = information.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let rustc = Command::new("rustc").arg("--version").output().map(|output| output.stdout);
    let rustc = String::from_utf8(rustc.unwrap_or_default()).unwrap_or_default();
    // Cargo gives the folder the name of the profile.
    let profile = Path::new(env!("CARGO_BIN_EXE_tessera")).parent().and_then(Path::file_name);
    format!(
        "{} cores of {}; load before the run {}; {}; profile {}; {CONNECTIONS} connections",
        cores(),
        model.unwrap_or("an unknown processor"),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        rustc.split(" (").next().unwrap_or_default(),
        profile.unwrap_or_default().display(),
    )
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
