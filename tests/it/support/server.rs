//! The real binary on a free port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::token::SECRET;
use super::wait::Waiting;
use super::{Kind, PATIENCE, Request, TestDatabase, awaited};

/// Returns the binary as a command in a folder, without the environment of this process.
pub(crate) fn command(folder: &Path) -> Command {
    command_of(env!("CARGO_BIN_EXE_tessera").as_ref(), folder)
}

fn command_of(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// The settings with which a server is started.
pub(crate) struct Setup {
    settings: Vec<(String, String)>,
    database: Option<TestDatabase>,
    url: Option<String>,
    dev: bool,
    limits: Option<&'static str>,
    clock: Option<Clock>,
    binary: PathBuf,
    files: Vec<(String, String)>,
}

/// The clock of servers, which a test can move while they run.
#[derive(Clone)]
pub(crate) struct Clock(Arc<tempfile::NamedTempFile>);

impl Clock {
    /// A clock that is this many milliseconds ahead of the true time, or behind it if the number is negative.
    pub(crate) fn ahead_by(millis: i64) -> Self {
        let clock = Self(Arc::new(tempfile::NamedTempFile::new().unwrap()));
        clock.set(millis);
        clock
    }

    /// Sets the clock this many milliseconds ahead of the true time.
    pub(crate) fn set(&self, millis: i64) {
        // A new file replaces the old one, so a server reads either the old value or the new one.
        let folder = self.0.path().parent().unwrap();
        let mut new = tempfile::NamedTempFile::new_in(folder).unwrap();
        write!(new, "{millis}").unwrap();
        std::fs::rename(new.path(), self.0.path()).unwrap();
        let _ = new.keep();
    }
}

impl Clock {
    /// Moves the clock forward.
    pub(crate) fn advance(&self, time: Duration) {
        self.set(self.ahead() + i64::try_from(time.as_millis()).unwrap());
    }

    /// The number of milliseconds by which this clock is ahead of the true time.
    pub(crate) fn ahead(&self) -> i64 {
        std::fs::read_to_string(self.path()).unwrap().parse().unwrap()
    }

    /// The file that a development server reads (`TESSERA_CLOCK_FILE`).
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Setup {
    pub(crate) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Writes a file into the folder in which the server starts.
    pub(crate) fn file(mut self, name: &str, text: impl ToString) -> Self {
        self.files.push((name.to_owned(), text.to_string()));
        self
    }

    /// Starts the server without `--dev`.
    pub(crate) fn production(mut self) -> Self {
        self.dev = false;
        self
    }

    /// Uses an existing database.
    pub(crate) fn on(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self
    }

    /// The server reaches its database at another address than the test.
    pub(crate) fn reach_database_at(mut self, url: String) -> Self {
        self.url = Some(url);
        self
    }

    /// Gives the server a clock of its own.
    pub(crate) fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Starts another binary, such as another release.
    pub(crate) fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// A shell runs this first, for example `ulimit`.
    pub(crate) fn with_shell_limits(mut self, limits: &'static str) -> Self {
        self.limits = Some(limits);
        self
    }

    pub(crate) async fn start(self) -> Server {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &self.files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let database = match self.database {
            Some(database) => database,
            None => TestDatabase::prepared(Kind::from_environment()).await,
        };
        let mut command = match self.limits {
            Some(limits) => {
                let mut limited = Command::new("/bin/sh");
                limited
                    .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
                    .arg(&self.binary)
                    .current_dir(folder.path())
                    .env_clear()
                    .env("PATH", "/usr/bin:/bin")
                    .stdin(Stdio::null());
                limited
            }
            None => command_of(&self.binary, folder.path()),
        };
        command.arg("serve");
        if !self.settings.iter().any(|(name, _)| ["PORT", "LISTEN"].contains(&name.as_str())) {
            command.arg("--port=0");
        }
        let clock = self.clock.unwrap_or_else(|| database.clock().clone());
        if self.dev {
            command.arg("--dev").env("BCRYPT_COST", "4").env("TESSERA_CLOCK_FILE", clock.path());
        }
        command
            // Tests make more attempts than users do. Tests of limits turn this on.
            .env("RATE_LIMIT", "off")
            // Several tests share a PostgreSQL server, which allows 100 connections.
            .env("DATABASE_CONNECTIONS", "8")
            // A server refuses what waits four seconds for the disk. Tests end processes, but never the power.
            .env("SQLITE_SYNCHRONOUS", "normal")
            .env("APP_SECRET", SECRET)
            .env("DATABASE_URL", self.url.as_deref().unwrap_or(database.url()))
            .envs(self.settings)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Log::default();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.0.lock().unwrap().push(line);
            }
        });
        let waiting = Waiting::begin();
        let (address, has_tls) = loop {
            if let Some(listening) = log.objects().iter().find_map(listening) {
                break listening;
            }
            if let Some(status) = child.try_wait().unwrap() {
                // Its last line has the reason.
                reader.join().unwrap();
                panic!("the server did not start: {status}\n{}", log.text());
            }
            waiting.pause("the server listens").await;
        };
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            // A server closes a connection that was idle for ten seconds. It could do so while a request is on its way.
            .pool_idle_timeout(Duration::from_secs(4))
            .redirect(reqwest::redirect::Policy::none())
            // Tests of certificates have clients of their own.
            .tls_danger_accept_invalid_certs(has_tls)
            .build()
            .unwrap();
        Server { child, address, has_tls, client, database, log, folder, clock, dev: self.dev }
    }
}

/// The address in a log line that says that the server listens on a port, and whether the port speaks TLS.
fn listening(line: &Value) -> Option<(SocketAddr, bool)> {
    (line["message"] == "listening").then_some(())?;
    Some((line["address"].as_str()?.parse().ok()?, line["tls"] == true))
}

/// A running server. It is killed at the end of its test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    has_tls: bool,
    client: reqwest::Client,
    pub(crate) database: TestDatabase,
    pub(crate) log: Log,
    folder: TempDir,
    pub(super) clock: Clock,
    pub(super) dev: bool,
}

impl Server {
    pub(crate) fn setup() -> Setup {
        Setup {
            settings: Vec::new(),
            database: None,
            url: None,
            dev: true,
            limits: None,
            clock: None,
            binary: env!("CARGO_BIN_EXE_tessera").into(),
            files: Vec::new(),
        }
    }

    /// Starts a development server on a new database.
    pub(crate) async fn start() -> Self {
        Self::setup().start().await
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a development command on the database and with the clock of this server.
    pub(crate) fn beside(&self) -> Command {
        let mut command = command(self.folder());
        command.env("DATABASE_URL", self.database.url()).env("TESSERA_DEV", "true");
        command.env("TESSERA_CLOCK_FILE", self.clock.path());
        command
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server (`kill -9`) and returns its database.
    pub(crate) fn kill(mut self) -> TestDatabase {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.database.clone()
    }

    /// Kills the server (`kill -9`) while others still use it, without the time in which another program starts.
    pub(crate) fn kill_at_once(&self) {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(process, Signal::KILL).unwrap();
    }

    /// Sends SIGHUP, and waits until the server has read its files again.
    pub(crate) async fn hang_up(&self) {
        let read = "certificates, templates and the log filter were read again";
        let before = self.log.text().matches(read).count();
        self.signal("-HUP");
        let is_done = async || self.log.text().matches(read).count() > before;
        super::eventually("the server has read its files again", is_done).await;
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Stops the process (SIGSTOP), and waits until it stands still. It keeps its locks and connections.
    pub(crate) fn freeze(&self) {
        super::process::freeze(self.child.id());
    }

    /// Continues the process (SIGCONT).
    pub(crate) fn thaw(&self) {
        super::process::thaw(self.child.id());
    }

    fn signal(&self, signal: &str) {
        super::process::signal(self.child.id(), signal);
    }

    /// Waits until the process has ended, and returns its exit status.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        awaited("the server ends", async || self.child.try_wait().unwrap()).await
    }

    /// The CPU time that the process has used, in clock ticks.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Sends raw text, and returns the answer up to the end of the connection.
    pub(crate) fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let _ = stream.write_all(text.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A number of the metrics, which the server must serve (`METRICS_LISTEN`).
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let is_served = |line: &Value| line["message"] == "metrics are served";
        let line = self.log.wait_for_line("where metrics are", is_served).await;
        let url = format!("http://{}/metrics", line["address"].as_str().unwrap());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Returns the log with all lines of earlier requests. A line that is not in it will not be written later.
    pub(crate) async fn log_so_far(&self) -> String {
        let last = self.get("/health/live").send().await.expect_status(200);
        self.log.wait_for(&last.header("x-request-id")).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let parsed = method.parse().unwrap();
        Request::new(self.client.request(parsed, self.url(path)), method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    pub(crate) fn patch(&self, path: &str) -> Request {
        self.request("PATCH", path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.text());
        }
    }
}

/// The lines that a server wrote to standard error. An answer can arrive before its line.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Waits for a text in the log, and returns the whole log.
    pub(crate) async fn wait_for(&self, text: &str) -> String {
        self.until(text, |log| log.text().contains(text).then(|| log.text())).await
    }

    /// Waits for the first line that matches, and returns it.
    pub(crate) async fn wait_for_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(what, |log| log.objects().into_iter().find(&wanted)).await
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        awaited(&format!("the log contains {what:?}"), async || look(self)).await
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    fn objects(&self) -> Vec<Value> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
